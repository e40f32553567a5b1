// A run is killed somewhere, goes on, and must come to the same bits as one that was left alone.
//
// Method: the events of an undisturbed run are counted; then, for each of them, the run is played
// again and one process is killed just before that event. Model files, metrics and history are
// compared with those of the undisturbed run.

#include <filesystem>
#include <set>

#include "actors/run/commit_file.hpp"
#include "actors/run/run_record.hpp"
#include "actors/training/linear/lbfgs/messages.hpp"
#include "catch.hpp"
#include "observe/report.hpp"
#include "sanitized.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

World small(vflbus::Task task) {
    World world;
    world.task = task;
    world.rows = 130;
    world.features = 2;
    return world;
}

World small_lbfgs(vflbus::Task task) {
    World world = small(task);
    world.solver = config::Solver::lbfgs;
    return world;
}

World small_network(vflbus::Task task, config::ModelName name) {
    World world = small(task);
    world.name = name;
    world.master_features = name != config::ModelName::resnet;
    return world;
}

/// One that is over before its last step.
World stopping_early(World world) {
    world.early = true;
    return world;
}

/// Three trainings of a few steps each, the last one on all rows.
World with_folds(World world) {
    world.rows = 90;
    world.folds = 2;
    return world;
}

/// Nine or so steps, a commit after every two, metrics in between.
void configure(Play& play) {
    if (play.world.solver != config::Solver::lbfgs)
        play.config.model.epochs = play.world.folds > 0 ? 2 : play.world.early ? 12 : 3;
    if (play.world.early) play.config.model.learning_rate = 1.5;
    play.config.model.report_test_metrics_iteration = 2;
    // where none are asked for there is a curve of the loss
    play.config.model.report_train_metrics_iteration = play.world.folds > 0 ? 0 : 3;
    play.config.bus.commit_steps = 2;
    if (play.world.solver == config::Solver::lbfgs) return;
    if (play.world.name != config::ModelName::linear) return;
    if (play.world.task == vflbus::Task::softmax) {
        use_solver(play.config.model, config::Solver::adam);
    }
    if (play.world.task == vflbus::Task::linear) {
        use_solver(play.config.model, config::Solver::sequential);
    }
}

/// All of a run that must not depend on what happened to it.
struct Facts {
    std::vector<std::string> files;
    observe::Metrics train, test, alone;
    std::vector<std::string> history;
    std::uint64_t steps = 0;

    explicit Facts(const Play& play) : files(play.files()) {
        const auto& report = play.master->report();
        train = report.train;
        test = report.test;
        alone = report.label_holder_alone_test;
        steps = report.early_stopping ? report.early_stopping->last_step : report.steps;
        files.push_back(play.out_of_fold());
        for (const observe::FoldReport& fold : report.folds) {
            std::string line = std::to_string(fold.rows_test) + " of fold, " +
                               std::to_string(fold.steps) + " steps";
            for (const auto& metrics : {fold.train, fold.test, fold.label_holder_alone})
                for (const auto& [name, value] : metrics)
                    line += " " + name + "=" + shortest(value);
            history.push_back(std::move(line));
        }
        for (const auto& entry : report.history) {
            std::string line = entry.split + std::to_string(entry.step) + "/" +
                               std::to_string(entry.epoch) + " " + shortest(entry.loss);
            for (const auto& [name, value] : entry.metrics)
                line += " " + name + "=" + shortest(value);
            history.push_back(std::move(line));
        }
    }
    bool operator==(const Facts&) const = default;
};

struct Undisturbed {
    explicit Undisturbed(const World& world) : play(world) {
        configure(play);
        play.set().before_event = [this](std::size_t n) { events = n; };
        const Ending ending = play.play();
        INFO(ending.sentence);
        REQUIRE(ending.code == Errc::ok);
    }
    Play play;
    std::size_t events = 0;
};

/// Nobody needs the commits of a run that is over.
void check_clean(Play& play) {
    for (std::size_t p = 0; p <= play.world.members; ++p) CHECK(play.state(p).empty());
    const auto record = read_run_record(play.env, "runs", play.run);
    REQUIRE(record);
    CHECK(record->phase == RunRecord::Phase::finished);
}

/// Step requests that reached member 0, of every algorithm.
struct StepCounter {
    explicit StepCounter(Play& play) {
        play.harness->on_request = [this](std::size_t member, Message& m) {
            if (member == 0 && (m.metadata.message_type == message::step ||
                                m.metadata.message_type == message::solve ||
                                m.metadata.message_type == linear::iterate_message))
                ++steps;
            return true;
        };
    }
    std::uint64_t steps = 0;
};

/// Plays until the n-th step request to member-0, then does `what` in place of it.
void at_step(Play& play, std::size_t n, std::function<void()> what) {
    play.harness->on_request = [=, seen = std::size_t{0}](std::size_t member, Message& m) mutable {
        if (member != 0 || m.metadata.message_type != message::step || ++seen != n) return true;
        what();
        return false;
    };
}

bool logged(const Play& play, const std::string& text) {
    for (const auto& line : play.log)
        if (line.find(text) != std::string::npos) return true;
    return false;
}

/// Of what is tried everywhere or with every seed.
constexpr std::size_t stride = sanitized ? 7 : 1;

/// A training for every `every`-th event and each victim, 0 being the master, that is killed before
/// it. Returns the phases in which that was, by victim.
std::map<std::size_t, std::set<Phase>> kill_before_events(const World& world, std::size_t every) {
    Undisturbed plain(world);
    const Facts expected(plain.play);
    REQUIRE(plain.events > 60);
    std::map<std::size_t, std::set<Phase>> phases;  // by victim, 0 the master
    for (std::size_t victim = 0; victim < 3; ++victim)
        for (std::size_t n = 2; n <= plain.events; n += every) {
            CAPTURE(config::name_of(world.task), config::name_of(world.solver), victim, n);
            Play play(world);
            configure(play);
            StepCounter counter((play.set(), play));
            bool done = false;
            play.harness->before_event = [&](std::size_t at) {
                if (at != n || done) return;
                // a process that dies when the run is closed has nothing to do with it
                if (play.master->phase() >= Phase::closing) return;
                done = true;
                phases[victim].insert(play.master->phase());
                if (victim == 0)
                    play.resume_master();
                else
                    play.restart_member(victim - 1);
            };
            const Ending ending = play.harness->run();
            INFO(ending.sentence);
            REQUIRE(ending.code == Errc::ok);
            REQUIRE(Facts(play) == expected);
            CHECK(counter.steps <= expected.steps + play.config.bus.commit_steps);
            if (done) CHECK(play.master->outcome().code == Errc::ok);
            check_clean(play);
        }
    return phases;
}

}  // namespace

TEST_CASE("a kill before any event costs no bit") {
    const World world = GENERATE(
        small(vflbus::Task::logistic), small(vflbus::Task::softmax), small(vflbus::Task::linear),
        small_lbfgs(vflbus::Task::softmax), small_lbfgs(vflbus::Task::multilabel),
        with_folds(small(vflbus::Task::logistic)), with_folds(small(vflbus::Task::linear)),
        small_network(vflbus::Task::softmax, config::ModelName::mlp),
        stopping_early(small(vflbus::Task::logistic)),
        with_folds(small_lbfgs(vflbus::Task::softmax)));
    auto phases = kill_before_events(world, stride);
    if (sanitized) return;  // not every phase is hit by every 7th event
    for (std::size_t victim = 0; victim < 3; ++victim)
        for (const Phase phase :
             {Phase::gathering, Phase::aligning, Phase::selecting, Phase::beginning,
              Phase::training, Phase::evaluating, Phase::finishing, Phase::releasing}) {
            CAPTURE(victim, name_of(phase));
            CHECK(phases[victim].contains(phase));
        }
    CHECK(phases[0].contains(Phase::comparing));
}

TEST_CASE("a kill costs a network for pictures no bit") {
    kill_before_events(small_network(vflbus::Task::softmax, config::ModelName::efficientnet),
                       11 * stride);
}

TEST_CASE("kills at random, also while another one is being recovered from") {
    const World world =
        GENERATE(small(vflbus::Task::logistic), with_folds(small(vflbus::Task::logistic)),
                 small_network(vflbus::Task::linear, config::ModelName::resnet),
                 stopping_early(small_network(vflbus::Task::logistic, config::ModelName::mlp)));
    Undisturbed plain(world);
    const Facts expected(plain.play);
    std::set<Phase> phases;
    for (std::uint64_t seed = 1; seed <= 120; seed += stride) {
        CAPTURE(seed);
        Rng rng(seed);
        Play play(world);
        configure(play);
        play.config.bus.restarts_max = 1000;
        play.harness_seed = seed;
        std::size_t kills = 1 + rng.below(8);
        const std::size_t rate = 3 + rng.below(40);
        play.set().before_event = [&](std::size_t) {
            if (kills == 0 || rng.below(rate) != 0 || play.master->phase() >= Phase::closing)
                return;
            --kills;
            phases.insert(play.master->phase());
            if (const std::size_t victim = rng.below(3); victim == 0)
                play.resume_master();
            else
                play.restart_member(victim - 1);
        };
        const Ending ending = play.harness->run();
        INFO(ending.sentence);
        REQUIRE(ending.code == Errc::ok);
        REQUIRE(Facts(play) == expected);
    }
    CHECK(phases.contains(Phase::restoring));
}

TEST_CASE("a commit that not all have reported is not gone back to") {
    // the kill comes between the reply of one member and that of the other
    const World world = small(vflbus::Task::logistic);
    const Facts expected(Undisturbed(world).play);
    for (const std::size_t victim : {0U, 1U, 2U})
        for (std::size_t nth = 1; nth <= 10; ++nth) {
            CAPTURE(victim, nth);
            Play play(world);
            configure(play);
            play.set().on_reply_hook = [&, seen = std::size_t{0}](std::size_t, Message& m) mutable {
                if (m.metadata.message_type != message::commit || ++seen != nth) return true;
                if (victim == 0)
                    play.resume_master();
                else
                    play.restart_member(victim - 1);
                return false;
            };
            const Ending ending = play.harness->run();
            INFO(ending.sentence);
            REQUIRE(ending.code == Errc::ok);
            CHECK(Facts(play) == expected);
        }
}

TEST_CASE("how a restarted member is noticed") {
    const World world = small(vflbus::Task::logistic);
    const Facts expected(Undisturbed(world).play);
    Play play(world);
    configure(play);
    play.set();
    SECTION("by its incarnation") {
        at_step(play, 4, [&] {
            play.restart_member(0);
            play.harness->peer(0, PeerEvent::What::up);
        });
    }
    SECTION("by PEER_DOWN and then PEER_UP") {
        at_step(play, 4, [&] {
            play.harness->peer(0, PeerEvent::What::down, std::chrono::seconds(10));
            play.harness->advance(std::chrono::seconds(15));
            play.restart_member(0);
            play.harness->peer(0, PeerEvent::What::up);
        });
    }
    SECTION("by a request that failed") {
        play.harness->on_reply_hook = [&, done = false](std::size_t member,
                                                        Message& reply) mutable {
            if (member == 0 && !done && reply.metadata.message_type == message::step) {
                done = true;
                play.restart_member(0);
                reply.error = {Errc::peer_restarted, "void"};
            }
            return true;
        };
    }
    REQUIRE(play.harness->run().code == Errc::ok);
    CHECK(Facts(play) == expected);
    CHECK(play.harness->terms == 2);
    CHECK(logged(play, "member-0 was restarted, at step"));
}

TEST_CASE("a member that gave up the run and joined again as the same process") {
    const World world = small(vflbus::Task::logistic);
    const Facts expected(Undisturbed(world).play);
    Play play(world);
    configure(play);
    play.set();
    const auto type = GENERATE(message::step, message::commit, message::evaluate, message::finish);
    play.harness->on_request = [&, seen = 0](std::size_t member, Message& m) mutable {
        if (member == 1 && m.metadata.message_type == type && ++seen == 1) play.harness->join(1);
        return true;
    };
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    CHECK(Facts(play) == expected);
    CHECK(play.harness->terms == 2);
}

TEST_CASE("a stop does not wait for a member that is gone") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set();
    const std::string when = GENERATE("restarted after", "gone after", "gone before");
    CAPTURE(when);
    at_step(play, 6, [&] {
        if (when == "gone before") play.harness->peer(0, PeerEvent::What::down);
        play.master->on_stop(*play.harness);
        if (when == "restarted after") play.restart_member(0);
        if (when == "gone after") play.harness->peer(0, PeerEvent::What::down);
    });
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::cancelled);
    CHECK(ending.sentence.find("without member-0, which is gone; the last commit is that of step "
                               "4; `--resume ") != std::string::npos);
    CHECK(play.harness->now() - TimePoint{} < std::chrono::seconds(1));
    play.harness->on_request = {};
    play.resume_master();
    REQUIRE(play.harness->run().code == Errc::ok);
    CHECK(Facts(play) == Facts(Undisturbed(play.world).play));
}

TEST_CASE("a stop does not wait for the commit of a member that is gone") {
    const World world = small(vflbus::Task::logistic);
    const Facts expected(Undisturbed(world).play);
    Play play(world);
    configure(play);
    play.set();
    bool asked = false;  // for the last commit, which is never reported
    play.harness->on_request = [&](std::size_t member, Message& m) {
        if (member != 1 || m.metadata.message_type != message::commit) return true;
        if (*decode_commit_request(m.content) != expected.steps) return true;
        asked = true;
        return false;
    };
    const Phase phase = GENERATE(Phase::comparing, Phase::finishing);
    const bool before = GENERATE(true, false);
    CAPTURE(name_of(phase), before);
    bool stopped = false;
    play.harness->before_event = [&](std::size_t) {
        if (!asked || stopped || play.master->phase() != phase) return;
        stopped = true;
        if (before) play.harness->peer(1, PeerEvent::What::down);
        play.master->on_stop(*play.harness);
        if (!before) play.harness->peer(1, PeerEvent::What::down);
    };
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    REQUIRE(stopped);
    CHECK(ending.code == Errc::cancelled);
    CHECK(
        ending.sentence.find("without member-1, which is gone; the last commit is that of step ") !=
        std::string::npos);
    CHECK(ending.sentence.find("; `--resume ") != std::string::npos);
    CHECK(play.harness->now() - TimePoint{} < std::chrono::seconds(1));
    play.harness->on_request = {};
    play.harness->before_event = {};
    play.resume_master();
    REQUIRE(play.harness->run().code == Errc::ok);
    CHECK(Facts(play) == expected);
}

TEST_CASE("a run that others end says how it goes on") {
    const World world = small(vflbus::Task::logistic);
    Play play(world);
    configure(play);
    play.set();
    std::string committed = "; the last commit is that of step 4";
    SECTION("at once, by its owner") {
        at_step(play, 6, [&] {
            play.harness->finish({Errc::cancelled, "the run was ended at once by its owner"});
        });
    }
    SECTION("without a commit") {
        committed = "; nothing is committed yet";
        at_step(play, 1, [&] { play.harness->finish({Errc::unreachable, "no broker"}); });
    }
    SECTION("before a new term is back at its commit") {
        at_step(play, 6, [&] {
            play.restart_member(0);
            play.harness->finish({Errc::cancelled, "the run was ended at once by its owner"});
        });
    }
    SECTION("but not when another process has it") {
        committed.clear();
        at_step(play, 6, [&] { play.harness->finish({Errc::superseded, "another process"}); });
    }
    play.harness->run();
    const Failure& outcome = play.master->outcome();
    INFO(outcome.sentence);
    CHECK(outcome.resumable == !committed.empty());
    CHECK(outcome.sentence.ends_with(committed));
    CHECK(outcome.sentence.find("--resume") == std::string::npos);
    CHECK(play.master->report().reason == explained(outcome, "--resume " + play.run.hex()));
}

TEST_CASE("a member that is away for less than the grace") {
    const World world = small(vflbus::Task::logistic);
    const Facts expected(Undisturbed(world).play);
    Play play(world);
    configure(play);
    play.set();
    play.harness->on_request = [&, done = false](std::size_t member, Message& m) mutable {
        if (member == 1 && !done && m.metadata.message_type == message::step) {
            done = true;
            play.harness->peer(1, PeerEvent::What::down, std::chrono::seconds(10));
            play.harness->advance(std::chrono::seconds(19));
            play.harness->peer(1, PeerEvent::What::up);
        }
        return true;
    };
    REQUIRE(play.harness->run().code == Errc::ok);
    CHECK(Facts(play) == expected);
    CHECK(play.harness->terms == 1);
    CHECK(logged(play, "member-1 is gone, at step 1 of"));
    CHECK(logged(play, "member-1 is back"));
}

TEST_CASE("a member that never comes back ends the run in time, also while recovering") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set();
    TimePoint gone{};
    const auto die = [&] {
        gone = play.harness->now();
        play.harness->peer(1, PeerEvent::What::down, std::chrono::seconds(10));
        play.harness->kill(1);
    };
    const bool gathering = GENERATE(false, true);
    CAPTURE(gathering);
    at_step(play, 4, [&] {
        die();
        if (gathering) play.restart_member(0);
    });
    const Ending ending = play.harness->run();
    CHECK(ending.code == Errc::peer_lost);
    INFO(ending.sentence);
    CHECK(ending.sentence.find("member-1 is gone") != std::string::npos);
    CHECK(ending.sentence.find("silent for 30") != std::string::npos);
    CHECK(ending.sentence.find("--resume " + play.run.hex()) != std::string::npos);
    CHECK(play.harness->now() - gone <= std::chrono::seconds(21));
    SECTION("and can be resumed") {
        const Facts expected(Undisturbed(play.world).play);
        play.harness->on_request = {};
        play.resume_master();
        play.restart_member(1);
        REQUIRE(play.harness->run().code == Errc::ok);
        CHECK(Facts(play) == expected);
    }
}

TEST_CASE("a master whose run another process has resumed writes nothing of it any more") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set();
    std::map<std::string, std::string> files;
    at_step(play, 4, [&] {
        auto record = *read_run_record(play.env, "runs", play.run);
        record.term += 2;
        REQUIRE(play.env.write_file(run_record_path("runs", play.run), to_json(record)));
        files = play.env.files;
        play.restart_member(0);
    });
    const Ending ending = play.harness->run();
    CHECK(ending.code == Errc::superseded);
    CHECK(ending.sentence.find("another process of master has taken over run ") == 0);
    CHECK(play.env.files == files);
}

TEST_CASE("a member that does not come to the gathering again") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set();
    at_step(play, 4, [&] {
        play.restart_member(0);
        play.harness->on_join_hook = [](std::size_t member, bus::Join&) { return member != 1; };
    });
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::timed_out);
    CHECK(ending.sentence.find("member-1 has not joined again") != std::string::npos);
}

TEST_CASE("what was asked in an earlier term is no longer waited for") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set();
    play.harness->on_request = [&, seen = 0](std::size_t member, Message& m) mutable {
        if (m.metadata.message_type != message::step) return true;
        if (member == 1) return seen < 5;
        if (++seen == 4) play.restart_member(0);
        return seen != 4;
    };
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    CHECK(play.harness->terms == 2);
    CHECK(ending.code == Errc::timed_out);
    CHECK(ending.sentence.find("member-1 did not answer step") == 0);
}

TEST_CASE("a damaged commit is passed over for the one before") {
    const World world = small(vflbus::Task::logistic);
    const Facts expected(Undisturbed(world).play);
    const std::size_t party = GENERATE(0U, 1U, 2U);
    Play play(world);
    configure(play);
    play.set();
    SECTION("one bit") {
        at_step(play, 6, [&] {
            REQUIRE(play.state(party).size() >= 2);
            play.state_file(party, "commit-4")[40] ^= 1;
            play.restart_member(1);
        });
    }
    SECTION("torn") {
        at_step(play, 6, [&] {
            play.state_file(party, "commit-4").resize(60);
            play.restart_member(1);
        });
    }
    SECTION("not there") {
        at_step(play, 6, [&] {
            play.env.files.erase("runs/" + play.run.hex() + "/" + Play::name(party) +
                                 "/state/commit-4");
            play.restart_member(1);
        });
    }
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    CHECK(Facts(play) == expected);
    CHECK(logged(play, Play::name(party) + " has lost commit 4 of this run"));
    CHECK(logged(play, "goes on from step 2 of"));
}

TEST_CASE("a state directory that was lost") {
    const World world = small(vflbus::Task::logistic);
    const std::size_t party = GENERATE(0U, 2U);
    Play play(world);
    configure(play);
    const auto lose = [&] {
        CHECK(play.env.remove("runs/" + play.run.hex() + "/" + Play::name(party) + "/state"));
        play.restart_member(1);
    };
    SECTION("fails the run by name") {
        play.set();
        at_step(play, 6, lose);
        const Ending ending = play.harness->run();
        INFO(ending.sentence);
        CHECK(ending.code == Errc::state_lost);
        CHECK(ending.sentence.find(Play::name(party) + " has lost commit 4") != std::string::npos);
        CHECK(play.file(0).empty());
    }
    SECTION("or begins again, as asked for") {
        play.config.bus.on_state_lost = config::StateLost::restart;
        play.set();
        at_step(play, 6, lose);
        std::vector<std::uint64_t> commits;
        play.harness->on_reply_hook = [&](std::size_t member, Message& m) {
            if (member == 0 && m.metadata.message_type == message::commit)
                commits.push_back(decode_commit_reply(m.content)->step);
            return true;
        };
        REQUIRE(play.harness->run().code == Errc::ok);
        CHECK(logged(play, "trains from the first step"));
        REQUIRE(commits.size() > 4);
        commits.resize(4);
        CHECK(commits == std::vector<std::uint64_t>{2, 4, 2, 4});
        CHECK(Facts(play) == Facts(Undisturbed(world).play));
    }
}

TEST_CASE("a member that restarts again and again") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set();
    std::size_t restarts = 0;
    play.harness->on_request = [&](std::size_t member, Message& m) {
        const auto type = m.metadata.message_type;
        if (member != 1 || (type != message::step && type != message::restore)) return true;
        ++restarts;
        play.restart_member(1);
        return false;
    };
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::too_many_restarts);
    CHECK(ending.sentence.find("member-1 was restarted 4 times") != std::string::npos);
    CHECK(restarts == 4);
}

TEST_CASE("restarts with commits in between are not counted together") {
    const World world = small(vflbus::Task::logistic);
    Play play(world);
    configure(play);
    play.config.bus.restarts_max = 1;
    play.set();
    std::size_t restarts = 0;
    std::size_t steps = 0;
    play.harness->on_request = [&](std::size_t member, Message& m) {
        if (member != 1 || m.metadata.message_type != message::step || ++steps % 5 != 0)
            return true;
        ++restarts;
        play.restart_member(1);
        return false;
    };
    REQUIRE(play.harness->run().code == Errc::ok);
    CHECK(restarts >= 2);
    CHECK(Facts(play) == Facts(Undisturbed(world).play));
}

TEST_CASE("a master that restarts again and again") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set().open();
    for (int i = 0; i < 3; ++i) {
        play.resume_master();
        REQUIRE(play.harness->next());  // the broker welcomes it, then it is killed
    }
    CHECK(play.record().restarts.at("master") == 3);
    play.resume_master();
    const Ending refused = play.harness->run();
    CHECK(refused.code == Errc::too_many_restarts);
    CHECK(play.record().term == 4);  // that of the last one that began
    play.resume_master();            // who tries again has looked at it
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::ok);
}

TEST_CASE("a master that the broker does not welcome leaves no trace in the run") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    SECTION("of a new run") {
        play.set();
        play.harness->finish({Errc::name_taken, "the name is taken"});
        CHECK(play.env.files.empty());
        CHECK(play.master->outcome().code == Errc::name_taken);
        CHECK(play.master->report().status == "failed");
    }
    SECTION("of a run under way") {
        play.set().open();
        const auto files = play.env.files;
        const auto resumed = [&] {
            auto options = play.master_options();
            options.resume = true;
            return make_train_master(std::move(options));
        };
        for (int i = 0; i < 5; ++i) {
            auto other = resumed();
            REQUIRE(other);
            (*other)->on_closed({Errc::name_taken, "the name is taken"});
            CHECK((*other)->outcome().code == Errc::name_taken);
            CHECK(play.env.files == files);
            CHECK(resumed());  // and never reaches the broker
            CHECK(play.env.files == files);
        }
        REQUIRE(play.harness->run().code == Errc::ok);
        CHECK(play.record().term == 1);
    }
}

TEST_CASE("a master that others end forgets the restarts, unless another one has its name") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set().open();
    play.resume_master();
    REQUIRE(play.harness->next());
    const auto code = GENERATE(Errc::unreachable, Errc::cancelled, Errc::superseded,
                               Errc::name_taken, Errc::stale_incarnation);
    CAPTURE(name_of(code));
    const auto files = play.env.files;
    play.harness->finish({code, "it is over"});
    CHECK(play.master->outcome().code == code);
    // that other one may not have stored its term yet
    const bool taken = code != Errc::unreachable && code != Errc::cancelled;
    CHECK((play.env.files == files) == taken);
    CHECK(play.record().restarts.empty() == !taken);
    CHECK(play.record().term == 2);
}

TEST_CASE("resumed again and again, and ended with a reason each time") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set().open();
    const bool disk = GENERATE(true, false);
    CAPTURE(disk);
    for (int i = 0; i < 4; ++i) {
        play.resume_master();
        if (disk)  // of a member; that of the master has room
            play.harness->on_reply_hook = [](std::size_t member, Message& m) {
                if (member == 1 && m.metadata.message_type == message::commit)
                    m = {m.metadata, {}, {Errc::io, "no space left"}};
                return true;
            };
        else
            play.harness->before_event = [&](std::size_t n) {
                if (n % 20 == 0) play.harness->finish({Errc::unreachable, "no broker"});
            };
        const Ending ending = play.harness->run();
        INFO(ending.sentence);
        REQUIRE(ending.code == (disk ? Errc::io : Errc::unreachable));
        CHECK(play.record().restarts.empty());
    }
    play.harness->on_reply_hook = {};
    play.harness->before_event = {};
    play.resume_master();
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::ok);
}

TEST_CASE("a new run never overwrites one that began meanwhile") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    auto late = make_train_master(play.master_options());
    REQUIRE(late);
    play.set().open();
    const auto files = play.env.files;
    CHECK((*late)->on_welcome().error().code == Errc::usage);
    (*late)->on_closed({Errc::usage, "there is one"});
    CHECK(play.env.files == files);
}

TEST_CASE("a run that was completed since the master was made is only released") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set().open();
    auto options = play.master_options();
    options.resume = true;
    auto late = make_train_master(std::move(options));
    REQUIRE(late);
    REQUIRE(play.harness->run().code == Errc::ok);
    const auto report = play.env.files.at("runs/" + play.run.hex() + "/report.json");
    play.master = std::move(*late);
    play.harness->replace(*play.master);
    REQUIRE(play.harness->run().code == Errc::ok);
    CHECK(observe::to_json(play.master->report()) == report);
    CHECK(play.record().phase == RunRecord::Phase::finished);
    CHECK(play.record().restarts.empty());
}

TEST_CASE("an earlier term is refused") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set();
    const auto join = [&](std::uint32_t term, ClientApp& app) {
        Context context(
            {play.run, term, node_id_of("master"), "master", {}, play.master->spec().agreed},
            "member-0", 0);
        return app.join(context);
    };
    ClientApp first = play.member(0);
    REQUIRE(join(3, first));
    CHECK(play.state_file(1, "term") == "3\n");
    ClientApp second = play.member(0);  // another process, the same directory
    CHECK(join(3, second));
    const auto refused = join(2, second);
    REQUIRE(!refused);
    CHECK(refused.error().code == Errc::stale_term);
    CHECK(refused.error().sentence.find("has joined term 3") != std::string::npos);
    play.state_file(1, "term") = "three";
    CHECK(join(4, second).error().code == Errc::state_lost);
    play.env.write_failure = {Errc::io, "no space left"};
    play.env.files.clear();
    CHECK(join(1, second).error().code == Errc::io);
}

TEST_CASE("a party that only joined, again, says that it is not where its owner takes it to be") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set();
    ClientApp app = play.member(0);
    Context context({play.run, 1, node_id_of("master"), "master", {}, play.master->spec().agreed},
                    "member-0", 0);
    REQUIRE(app.join(context));
    const auto asked = [&](MessageType type, Bytes body) {
        Message request;
        request.metadata.run = play.run;
        request.metadata.message_type = type;
        request.content = std::move(body);
        return (*app.handler_of(type))(request, context).error().code;
    };
    const SelectRequest select{TableKind::train, {}, 0};
    CHECK(asked(message::select, encode(select)) == Errc::state_lost);
    CHECK(asked(message::begin, encode(BeginRequest{1, {}})) == Errc::state_lost);
    CHECK(asked(message::commits, encode_empty()) == Errc::state_lost);
    CHECK(asked(message::commit, encode_commit(0)) == Errc::state_lost);
    CHECK(asked(message::restore, encode(StoredCommit{1, {}})) == Errc::unknown_run);
}

TEST_CASE("a table that was changed behind the back of a run") {
    const World world = small(vflbus::Task::logistic);
    Play play(world);
    configure(play);
    play.set();
    const std::size_t party = GENERATE(0U, 2U);
    data::Table table = *play.tables[party][TableKind::train];
    SECTION("one value") {  // of somebody whom all parties know
        std::size_t person = 40;
        while (person % 7 == 3 || person % 8 == 3 || person % 9 == 3) ++person;
        const auto order = world.order(party, 1);
        const auto at = std::ranges::find(order, person) - order.begin();
        table.features[0].numbers[static_cast<std::size_t>(at)] += 1e-9;
    }
    SECTION("one person less") {
        auto order = world.order(party, 1);
        order.pop_back();
        table = world.table(party, order);
    }
    SECTION("a column of another name") {
        table.features[1].name += "_new";
    }
    SECTION("a label") {
        if (party != 0) return;
        for (double& y : table.labels[0].numbers) y = 1 - y;
    }
    at_step(play, 6, [&] {
        play.tables[party][TableKind::train] = std::make_shared<data::Table>(table);
        if (party == 0)
            play.resume_master();
        else
            play.restart_member(party - 1);
    });
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::bad_data);
    CHECK(ending.sentence.find(Play::name(party) + ": the table is another one than at step 4") !=
          std::string::npos);
}

TEST_CASE("the same rows in another order are the same table") {
    const World world = small(vflbus::Task::logistic);
    Play play(world);
    configure(play);
    play.set();
    at_step(play, 6, [&] {
        for (std::size_t p = 0; p < 3; ++p)
            play.tables[p][TableKind::train] =
                std::make_shared<data::Table>(world.table(p, world.order(p, 99)));
        play.resume_master();
    });
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    CHECK(Facts(play) == Facts(Undisturbed(world).play));
}

TEST_CASE("stopped and resumed at any event") {
    const World world = GENERATE(small(vflbus::Task::logistic), small(vflbus::Task::linear),
                                 small_lbfgs(vflbus::Task::logistic),
                                 with_folds(small_lbfgs(vflbus::Task::logistic)));
    Undisturbed plain(world);
    const Facts expected(plain.play);
    std::size_t stopped = 0;
    for (std::size_t n = 2; n <= plain.events; n += stride) {
        CAPTURE(n);
        Play play(world);
        configure(play);
        play.set();
        std::string phase;
        play.harness->before_event = [&](std::size_t at) {
            if (at != n) return;
            phase = name_of(play.master->phase());
            play.master->on_stop(*play.harness);
        };
        Ending ending = play.harness->run();
        INFO(phase << ": " << ending.sentence);
        if (ending.code == Errc::ok) {  // too late: all was written
            CHECK((phase == "releasing" || phase == "closing" || phase == "done"));
            continue;
        }
        ++stopped;
        REQUIRE(ending.code == Errc::cancelled);
        CHECK(ending.sentence.find("stopped") == 0);
        CHECK(ending.sentence.find("; `--resume " + play.run.hex() + "` continues it") !=
              std::string::npos);
        CHECK(play.master->report().status == "stopped");
        if (phase == "training") {
            CHECK(ending.sentence.find("stopped at step ") == 0);
            // all parties hold exactly the step that is named
            const auto record = read_run_record(play.env, "runs", play.run);
            REQUIRE(record);
            REQUIRE(!record->commits.empty());
            CHECK(ending.sentence.find("at step " + std::to_string(record->commits.back().step) +
                                       " of ") != std::string::npos);
        }
        play.resume_master();
        ending = play.harness->run();
        REQUIRE(ending.code == Errc::ok);
        REQUIRE(Facts(play) == expected);
    }
    CHECK(stopped > 40 / stride);
}

TEST_CASE("commits by time") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.config.bus.commit_steps = 0;
    play.config.bus.commit_interval = 1;
    play.set();
    std::size_t commits = 0;
    bool open = false;
    play.harness->on_request = [&](std::size_t member, Message& m) {
        if (member != 0) return true;
        if (m.metadata.message_type == message::step)
            play.harness->advance(std::chrono::milliseconds(400));
        if (m.metadata.message_type == message::commit) {
            ++commits;
            CHECK(!open);  // the next one only when all have reported this one
            open = true;
        }
        return true;
    };
    play.harness->on_reply_hook = [&](std::size_t member, Message& m) {
        if (member == 0 && m.metadata.message_type == message::commit) open = false;
        return true;
    };
    REQUIRE(play.harness->run().code == Errc::ok);
    const auto steps = play.master->report().steps;
    CHECK(commits >= steps / 3);
    CHECK(commits <= steps / 3 + 1);
}

TEST_CASE("a commit that cannot be stored") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set();
    play.harness->on_request = [&](std::size_t, Message& m) {
        if (m.metadata.message_type == message::commit)
            play.env.write_failure = {Errc::io, "no space left"};
        return true;
    };
    const Ending ending = play.harness->run();
    CHECK(ending.code == Errc::io);
    CHECK(ending.sentence.find("no space left") != std::string::npos);
    CHECK(ending.sentence.find("member-") == 0);
}

TEST_CASE("a commit that is never reported") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set();
    play.harness->on_reply_hook = [](std::size_t member, Message& m) {
        return member != 1 || m.metadata.message_type != message::commit;
    };
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::timed_out);
    CHECK(ending.sentence.find("member-1 did not answer commit") != std::string::npos);
}

TEST_CASE("resuming what is not there, or otherwise configured") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    auto options = play.master_options();
    options.resume = true;
    auto made = make_train_master(options);
    REQUIRE(!made);
    CHECK(made.error().code == Errc::state_lost);

    play.set();
    const std::string file = "runs/" + play.run.hex() + "/run.json";
    CHECK(!play.env.files.contains(file));
    REQUIRE(play.master->on_welcome());
    CHECK(play.env.files.contains(file));  // before OPEN
    options.config.model.learning_rate = 9;
    made = make_train_master(options);
    REQUIRE(!made);
    CHECK(made.error().code == Errc::config_differs);
    CHECK(made.error().sentence.find("model.learning_rate") != std::string::npos);

    options = play.master_options();
    options.resume = true;
    options.config.bus.recv_timeout = 7;  // the private half is everybody's own
    made = make_train_master(options);
    REQUIRE(made);
    CHECK(play.record().term == 1);
    REQUIRE((*made)->on_welcome());
    CHECK((*made)->spec().term == 2);
    CHECK(play.record().term == 2);

    options.name = "master-b";
    CHECK(make_train_master(options).error().code == Errc::not_owner);
    play.env.files["runs/" + play.run.hex() + "/run.json"].resize(50);
    CHECK(read_run_record(play.env, "runs", play.run).error().code == Errc::state_lost);
}

TEST_CASE("a finished run is only released") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set();
    REQUIRE(play.harness->run().code == Errc::ok);
    const Facts expected(play);
    const auto report = play.env.files.at("runs/" + play.run.hex() + "/report.json");
    const auto again = GENERATE(true, false);
    CAPTURE(again);
    play.resume_master();
    std::size_t others = 0;
    play.harness->on_request = [&](std::size_t, Message& m) {
        others += m.metadata.message_type != message::release;
        return true;
    };
    if (!again) play.harness->kill(1);
    REQUIRE(play.harness->run().code == Errc::ok);
    CHECK(others == 0);
    CHECK(Facts(play) == expected);
    CHECK(play.env.files.at("runs/" + play.run.hex() + "/report.json") == report);
    CHECK(play.state(1).empty());
}

TEST_CASE("a finished run does not wait for a member that declines to be released") {
    Play play(small(vflbus::Task::logistic));
    configure(play);
    play.set();
    REQUIRE(play.harness->run().code == Errc::ok);
    play.resume_master();
    play.harness->on_join_hook = [&](std::size_t member, bus::Join& join) {
        if (member == 0) {
            join.code = Errc::io;
            join.sentence = "member-0 cannot store the term";
        }
        return true;
    };
    const TimePoint begun = play.harness->now();
    REQUIRE(play.harness->run().code == Errc::ok);
    CHECK(play.harness->now() - begun < std::chrono::seconds(15));  // less than the grace
    CHECK(play.state(1).empty());
}

TEST_CASE("a check or prediction still fails at once") {
    Play play{World{}};
    auto made = make_check_master(play.master_options());
    REQUIRE(made);
    play.set(std::move(*made));
    const bool restart = GENERATE(true, false);
    play.harness->on_request = [&](std::size_t member, Message& m) {
        if (member != 1 || m.metadata.message_type != message::align) return true;
        if (restart)
            play.restart_member(1);
        else
            play.harness->peer(1, PeerEvent::What::down, std::chrono::seconds(10));
        return false;
    };
    const Ending ending = play.harness->run();
    CHECK(ending.code == (restart ? Errc::peer_restarted : Errc::peer_lost));
    CHECK(ending.sentence.find("member-1") == 0);
    CHECK(play.harness->now() - TimePoint{} < std::chrono::seconds(1));
}

// -- files ----------------------------------------------------------------------------

TEST_CASE("a commit file comes back as it went, and no damage passes") {
    Commit commit;
    commit.run.bytes[3] = 9;
    commit.step = 77;
    commit.alignment.rows[1] = 4;
    commit.algorithm = {"linear", 3};
    commit.state = std::string("any \0 bytes", 11);
    commit.master.emplace();
    commit.master->loss = 0.5;
    commit.master->history = {{5, 1, 0.75, "test", {{"auc", 0.5}, {"f1", std::nan("")}}}};
    const bool folds = GENERATE(false, true);
    if (folds) {
        observe::FoldReport fold;
        fold.rows_train = 8;
        fold.rows_test = 2;
        fold.steps = 40;
        fold.converged = GENERATE(false, true);
        fold.iterations = 39;
        fold.test = {{"auc", 0.25}};
        fold.notes = {"not converged"};
        commit.master->folds = FoldsCommit{1, 40, {fold, {}}, 2, {0.1, 0.2, 0.3, 0.4}};
    }
    const std::string file = encode(commit);
    const auto back = decode_commit(file, "x");
    REQUIRE(back);
    CHECK(back->run == commit.run);
    CHECK(back->step == 77);
    CHECK(back->alignment == commit.alignment);
    CHECK(back->algorithm == commit.algorithm);
    CHECK(back->state == commit.state);
    REQUIRE(back->master);
    CHECK(back->master->history[0].metrics[0].first == "auc");
    REQUIRE(back->master->folds.has_value() == folds);
    if (folds) {
        const FoldsCommit& read = *back->master->folds;
        CHECK(read.first == 40);
        CHECK(read.results[0].converged == commit.master->folds->results[0].converged);
        CHECK_FALSE(read.results[1].converged);
        CHECK(read.results[0].notes == std::vector<std::string>{"not converged"});
        CHECK(read.predictions == std::vector<double>{0.1, 0.2, 0.3, 0.4});
    }
    CHECK(encode(*back) == file);
    CHECK(same_algorithm(*back, {"linear", 3}));
    CHECK(same_algorithm(*back, {"linear", 2}).error().code == Errc::state_lost);
    CHECK(same_algorithm(*back, {"trees", 3}).error().sentence.find("linear, version 3") !=
          std::string::npos);
    for (std::size_t at = 0; at < file.size(); ++at) {
        std::string damaged = file;
        damaged[at] ^= 0x10;
        const auto refused = decode_commit(damaged, "state/commit-77");
        REQUIRE(!refused);
        CHECK(refused.error().code == Errc::state_lost);
        CHECK(refused.error().sentence.find("state/commit-77") == 0);
        CHECK(!decode_commit(file.substr(0, at), "x"));
    }
}

TEST_CASE("a state directory keeps two commits, on disk as in memory") {
    namespace fs = std::filesystem;
    const fs::path root = fs::temp_directory_path() / ("vflbus-state-" + random_run_id().hex());
    const auto disk = make_file_env();
    MemoryEnv memory;
    for (Env* env : {static_cast<Env*>(disk.get()), static_cast<Env*>(&memory)}) {
        CommitStore store(*env, root / "state");
        RunId run;
        run.bytes[0] = 1;
        CHECK(store.intact(run)->empty());
        CHECK(*store.term() == 0);
        REQUIRE(store.write_term(7));
        CHECK(*store.term() == 7);
        const auto write = [&](std::uint64_t step) {
            return *store.write({run, step, {}, {"linear", 1}, std::to_string(step), {}});
        };
        write(2);
        const Hash256 four = write(4);
        const Hash256 ten = write(10);
        CHECK(*store.intact(run) == std::vector<StoredCommit>{{4, four}, {10, ten}});
        CHECK(store.read({10, ten})->state == "10");
        CHECK(store.read({10, four}).error().code == Errc::state_lost);
        CHECK(store.read({2, ten}).error().code == Errc::state_lost);
        // back to 4 and on in smaller steps: 10 is no commit of this course any more
        const Hash256 six = write(6);
        CHECK(*store.intact(run) == std::vector<StoredCommit>{{4, four}, {6, six}});
        // restored from 6: what the given-up course wrote after it must not stand in for it
        write(8);
        REQUIRE(store.forget_after(6));
        const Hash256 nine = write(9);
        CHECK(*store.intact(run) == std::vector<StoredCommit>{{6, six}, {9, nine}});
        RunId other;
        other.bytes[0] = 2;
        CHECK(store.intact(other)->empty());
        REQUIRE(store.remove());
        CHECK(store.intact(run)->empty());
        CHECK(!env->exists(root / "state"));
        CHECK(store.remove());
    }
    fs::remove_all(root);
}

TEST_CASE("a record comes back as it went") {
    RunRecord record;
    record.run.bytes[5] = 1;
    record.owner = "master";
    record.term = 4;
    record.members = {"member-0", "member-1"};
    record.agreed = "model.task = \"logistic\"\n";
    record.commits = {{10, {{"master", Hash256{1}}, {"member-0", Hash256{2}}}}};
    record.restarts = {{"member-1", 2}};
    const std::string text = to_json(record);
    const auto back = parse_run_record(text, "run.json");
    REQUIRE(back);
    CHECK(back->run == record.run);
    CHECK(back->commits == record.commits);
    CHECK(back->restarts == record.restarts);
    CHECK(to_json(*back) == text);
    for (std::size_t length = 0; length + 2 < text.size(); length += 7)
        CHECK(parse_run_record(text.substr(0, length), "run.json").error().code ==
              Errc::state_lost);
}
