// An algorithm that the house does not know trains, commits, recovers and writes its model.

#include "catch.hpp"
#include "count.hpp"
#include "sanitized.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

[[maybe_unused]] const bool in_the_table = (add_algorithm(count_rows), true);

World small() {
    World world;
    world.rows = 130;
    return world;
}

void configure_count(Play& play) {
    play.config.run.experiment_label = count_label;
    play.config.model.epochs = 3;
    play.config.model.label_holder_alone = false;
    play.config.bus.commit_steps = 2;
}

std::uint64_t expected_rows(const Play& play) {
    return play.config.model.epochs * play.master->report().rows_train;
}

}  // namespace

TEST_CASE("a configuration chooses its algorithm from the table") {
    Play play(small());
    CHECK((*algorithm_of(play.config))->name == "mini-batch");
    use_solver(play.config.model, config::Solver::sequential);
    CHECK((*algorithm_of(play.config))->name == "sequential");
    use_solver(play.config.model, config::Solver::lbfgs);
    CHECK((*algorithm_of(play.config))->name == "lbfgs");
    configure_count(play);
    CHECK((*algorithm_of(play.config))->name == "count");
}

TEST_CASE("an algorithm of its own trains and writes its parts") {
    Play play(small());
    configure_count(play);
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    for (std::size_t p = 0; p <= play.world.members; ++p)
        CHECK(counted_in(play.file(p), "x") == expected_rows(play));
    CHECK(play.master->report().steps == play.progress.back().steps);
    CHECK(!play.master->report().test.empty());
    // the parts of one algorithm are refused by another one, by name
    const auto refused = parse_model_part(play.file(1), "model.json");
    REQUIRE(!refused);
    CHECK(refused.error().sentence.find("a model of count") != std::string::npos);
}

TEST_CASE("an algorithm of its own survives any death") {
    Play plain(small());
    configure_count(plain);
    std::size_t events = 0;
    plain.set().before_event = [&](std::size_t n) { events = n; };
    REQUIRE(plain.play().code == Errc::ok);
    constexpr std::size_t every = sanitized ? 7 : 1;
    for (std::size_t victim = 0; victim < 3; ++victim)
        for (std::size_t n = 2; n <= events; n += every) {
            CAPTURE(victim, n);
            Play play(small());
            configure_count(play);
            std::size_t counted = 0;
            play.set().on_request = [&](std::size_t member, Message& m) {
                counted += member == 0 && m.metadata.message_type == count_message;
                return true;
            };
            bool done = false;
            play.harness->before_event = [&](std::size_t at) {
                if (at != n || done || play.master->phase() >= Phase::closing) return;
                done = true;
                if (victim == 0)
                    play.resume_master();
                else
                    play.restart_member(victim - 1);
            };
            const Ending ending = play.harness->run();
            INFO(ending.sentence);
            REQUIRE(ending.code == Errc::ok);
            for (std::size_t p = 0; p < 3; ++p) REQUIRE(play.file(p) == plain.file(p));
            CHECK(counted <= plain.master->report().steps + play.config.bus.commit_steps);
        }
}

TEST_CASE("a message of an algorithm is refused outside of its steps") {
    Play play(small());
    configure_count(play);
    auto& harness = play.set();
    std::size_t refused = 0;
    Bytes last;
    harness.on_request = [&](std::size_t member, Message& m) {
        if (m.metadata.message_type == count_message && member == 0) {
            // a message of another algorithm is never taken, nor a step that is over
            if (!last.empty()) refused += !harness.ask(0, count_message, last);
            last = m.content;
            refused += !harness.ask(0, message::step, encode_empty());
        }
        if (m.metadata.message_type == message::align)
            refused += !harness.ask(member, count_message, encode_empty());
        return true;
    };
    REQUIRE(play.play().code == Errc::ok);
    CHECK(refused == 2 * play.master->report().steps - 1 + 2 * play.world.members);
}
