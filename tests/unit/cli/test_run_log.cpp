// Lines of a run's log, as people read them.

#include "catch.hpp"
#include "run_log.hpp"

using namespace vflbus;

TEST_CASE("a line that was written as JSON is shown as text", "[cli]") {
    CHECK(
        cli::plain_line(R"({"time": "2026-02-03T04:05:06.789Z", "level": "info", "part": "run", )"
                        R"("node": "member-0", "run": "1f0c9a3300000000aabbccddeeff0011", )"
                        R"("step": 120, "text": "committed digest=ab12"})") ==
        "2026-02-03T04:05:06.789Z info node=member-0 run=1f0c9a33 step=120 committed digest=ab12");
    CHECK(
        cli::plain_line(R"({"time": "2026-02-03T04:05:06.789Z", "level": "warn", "text": "a"})") ==
        "2026-02-03T04:05:06.789Z warn a");
}

TEST_CASE("any other line is shown as it is", "[cli]") {
    for (const char* line :
         {"", "2026-02-03T04:05:06.789Z info node=member-0 {", R"({"time": 7})", R"({"time": ")",
          R"({"time": "", "text": "a"})", R"({"text": "a"})", "what():  std::bad_alloc"})
        CHECK(cli::plain_line(line) == line);
}
