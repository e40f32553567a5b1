// The line of a long job: when there is one, what it says, and that it goes.

#include "catch.hpp"
#include "observe/job_progress.hpp"
#include "recorder.hpp"

using namespace vflbus;
using namespace vflbus::observe;
using namespace std::chrono_literals;

namespace {
const TimePoint begun_at{std::chrono::hours(5)};

JobState reads(std::uint64_t done) {
    return {"master: reads bank.csv", done, 4'000'000'000, JobState::Unit::bytes};
}
}  // namespace

TEST_CASE("the line of a job has how far it is and the time left") {
    CHECK(job_line(reads(1'000'000'000), 10s) ==
          "master: reads bank.csv  25%  954 MiB of 3.7 GiB  30 s left");
    CHECK(job_line({"psi", 0, 4000, JobState::Unit::count}, 10s) == "psi  0%  0 of 4,000");
    CHECK(job_line({"psi", 1000, 4000, JobState::Unit::count}, 100s) ==
          "psi  25%  1,000 of 4,000  5 min 0 s left");
    CHECK(job_line({"psi", 3999, 4000, JobState::Unit::count}, 100s).starts_with("psi  99%"));
    CHECK(job_line({"psi", 1000, 0, JobState::Unit::count}, 100s) == "psi  1,000");
}

TEST_CASE("a short job says nothing, a long one has a line that goes with it") {
    Recorder recorder;
    Console console(recorder.output(true));
    JobProgress job(console);
    for (int ms = 0; ms < 900; ms += 10)
        job.update(reads(1'000'000 * static_cast<std::uint64_t>(ms)), begun_at + ms * 1ms);
    CHECK(recorder.writes == 0);
    job.update(reads(1'000'000'000), begun_at + 1s);
    CHECK(recorder.writes == 1);
    job.update(reads(1'050'000'000), begun_at + 1050ms);
    CHECK(recorder.writes == 1);
    job.update(reads(2'000'000'000), begun_at + 2s);
    CHECK(recorder.writes == 2);
    REQUIRE(screen(recorder.text).size() == 1);
    CHECK(screen(recorder.text)[0].ends_with("2 s left"));
    job.update(reads(4'000'000'000), begun_at + 4s);
    CHECK(screen(recorder.text)[0].empty());
    // another one begins with nothing said
    const auto before = recorder.writes;
    job.update({"psi", 10, 100, JobState::Unit::count}, begun_at + 5s);
    job.update({"psi", 20, 100, JobState::Unit::count}, begun_at + 5900ms);
    CHECK(recorder.writes == before);
    job.update({"psi", 20, 100, JobState::Unit::count}, begun_at + 6s);
    CHECK(screen(recorder.text)[0] == "psi  20%  20 of 100  4 s left");
    job.end();
    CHECK(screen(recorder.text)[0].empty());
}

TEST_CASE("in a file there is a plain line now and then, and quiet jobs write none") {
    Recorder recorder;
    Console console(recorder.output(false));
    {
        JobProgress job(console);
        for (int s = 0; s <= 40; ++s)
            job.update(reads(100'000'000 * static_cast<std::uint64_t>(s)), begun_at + s * 1s);
    }
    CHECK(recorder.writes == 4);
    Recorder silent;
    Console nobody(silent.output(false));
    JobProgress job(nobody, {.quiet = true});
    job.update(reads(0), begun_at);
    job.update(reads(100), begun_at + 1h);
    CHECK(silent.writes == 0);
}
