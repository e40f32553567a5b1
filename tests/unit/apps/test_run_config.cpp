// The configuration of a run of apps: as users write it, and in the agreed text.

#include "apps/run_config.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::apps;

TEST_CASE("the agreed text tells runs of apps from trainings, and carries their configuration") {
    const auto values =
        parse_values({"rounds=3", "rate=0.5", "on=true", "name=a=b", "empty="}, "--run-config");
    REQUIRE(values);
    CHECK(std::get<std::int64_t>(values->at("rounds")) == 3);
    CHECK(std::get<double>(values->at("rate")) == 0.5);
    CHECK(std::get<bool>(values->at("on")));
    CHECK(std::get<std::string>(values->at("name")) == "a=b");
    app::Values all = *values;
    all["odd"] = std::string("1\n\"x\\n\" = 2");
    all["digits"] = std::string("7");
    const auto back = run_config_of(agreed_text(all));
    REQUIRE(back);
    REQUIRE(*back);
    CHECK(**back == all);
    CHECK_FALSE(run_config_of("[run]\nseed = 1\n"));
    const auto later = run_config_of("vflbus-app 2\n");
    REQUIRE(later);
    CHECK_FALSE(*later);
    CHECK_FALSE(*run_config_of("vflbus-app 1\nno value\n"));
    for (const std::string bad : {"x", "=1", "a b=1", ""})
        CHECK_FALSE(parse_values({bad}, "--run-config"));
}
