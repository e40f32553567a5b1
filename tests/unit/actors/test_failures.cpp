// One fault at a time: the right code, and a sentence that names the party.

#include "actors/protocols/protocol.hpp"
#include "catch.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

void expect_failure(Play& play, Errc code, std::initializer_list<std::string> words) {
    const Ending ending = play.play();
    INFO(ending.sentence);
    CHECK(ending.code == code);
    for (const std::string& word : words) {
        CAPTURE(word);
        CHECK(ending.sentence.find(word) != std::string::npos);
    }
    CHECK(ending.sentence.find('\n') == std::string::npos);
    CHECK(play.master->done());
    CHECK(play.master->outcome().code == code);
    CHECK(play.master->report().status == (code == Errc::cancelled ? "stopped" : "failed"));
    const Failure& outcome = play.master->outcome();
    // what shows the parties' ids is in the master's own report, and told to nobody else
    if (outcome.for_others.empty())
        CHECK(play.master->report().reason == ending.sentence);
    else
        CHECK(play.master->report().reason.find(outcome.sentence) == 0);
    CHECK(play.file(0).empty());
}

/// Lets `n` requests of this type pass to the member, then says no.
auto from(std::size_t member, MessageType type, std::size_t n, std::function<bool()> what) {
    return [=, seen = std::size_t{0}](std::size_t who, Message& m) mutable {
        if (who != member || m.metadata.message_type != type || seen++ < n) return true;
        return what();
    };
}

}  // namespace

TEST_CASE("a member that never comes") {
    Play play{World{}};
    play.absent[1] = true;
    expect_failure(play, Errc::timed_out, {"member-1 did not join", "rendezvous_timeout"});
    CHECK(play.master->outcome().sentence.find("member-0") == std::string::npos);
    std::size_t waits = 0;
    for (const auto& line : play.log)
        waits += line.find("waits for member-1 since") != std::string::npos;
    CHECK(waits >= 10);  // every 5 s of 60
    CHECK(play.harness->now() - TimePoint{} >= std::chrono::seconds(60));
    CHECK(play.harness->now() - TimePoint{} < std::chrono::seconds(61));
}

TEST_CASE("a member whose table is no good declines at once") {
    Play play{World{}};
    play.failures[2] = {Errc::bad_data, "shop.csv line 7, column age: \"x\" is no number"};
    expect_failure(play, Errc::bad_data, {"member-1: shop.csv line 7", "age"});
}

TEST_CASE("the master's own table is no good") {
    Play play{World{}};
    play.failures[0] = {Errc::io, "cannot read bank.csv"};
    expect_failure(play, Errc::io, {"master: cannot read bank.csv"});
}

TEST_CASE("a configuration that differs") {
    Play play{World{}};
    play.member_config[1] = play.config;
    play.member_config[1].model.epochs = 9;
    play.member_config[1].origins["model.epochs"] = "mine.toml:3";
    expect_failure(play, Errc::config_differs, {"member-1", "model.epochs"});
    SECTION("an equal one is fine") {
        Play equal{World{}};
        equal.member_config[1] = equal.config;
        equal.member_config[1].origins["model.epochs"] = "mine.toml:3";
        CHECK(equal.play().code == Errc::ok);
    }
}

TEST_CASE("a member with another configuration hash") {
    Play play{World{}};
    play.set().on_join_hook = [](std::size_t member, bus::Join& join) {
        if (member == 1) join.config_hash[0] ^= 1;
        return true;
    };
    expect_failure(play, Errc::config_differs, {"member-1"});
}

TEST_CASE("no common ids") {
    Play play{World{}};
    play.tables[2][TableKind::train] =
        std::make_shared<data::Table>(play.world.table(2, {1000, 1001, 1002}));
    expect_failure(play, Errc::bad_data, {"member-1"});
}

TEST_CASE("duplicated ids") {
    Play play{World{}};
    play.tables[1][TableKind::train] =
        std::make_shared<data::Table>(play.world.table(1, {1, 2, 4, 5, 4, 6}));
    expect_failure(play, Errc::bad_data, {"member-0: table-1.csv", "row 5"});
    // whose id it is stays with the member
    CHECK(play.master->outcome().sentence.find("u4") == std::string::npos);
    CHECK(std::ranges::any_of(play.member_log, [](const std::string& line) {
        return line.find("u4") != std::string::npos;
    }));
}

TEST_CASE("a label with one class") {
    Play play{World{}};
    auto table = play.world.table(0, play.world.order(0, 1));
    for (auto& y : table.labels[0].numbers) y = 1;
    play.tables[0][TableKind::train] = std::make_shared<data::Table>(std::move(table));
    const Ending ending = play.play();
    CHECK(ending.code == Errc::bad_data);
    CHECK(ending.sentence.find("master: table-0.csv, a label") == 0);
    // the members are not told which label, or which class
    CHECK(ending.sentence.find("y0") == std::string::npos);
    CHECK(play.master->outcome().sentence.find("y0") != std::string::npos);
    CHECK(play.master->report().reason == play.master->outcome().sentence);
}

TEST_CASE("a loss that diverges") {
    World world;
    world.task = vflbus::Task::linear;
    Play play(world);
    play.config.model.learning_rate = 1000;
    play.config.model.epochs = 200;
    expect_failure(play, Errc::diverged, {"step ", "learning_rate", "1000"});
}

TEST_CASE("a member that is gone") {
    Play play{World{}};
    auto& harness = play.set();
    const auto type = GENERATE(message::align, message::begin, message::step, message::finish);
    harness.on_request = from(1, type, 0, [&] {
        harness.peer(1, PeerEvent::What::suspect, std::chrono::seconds(3));
        harness.peer(1, PeerEvent::What::down, std::chrono::seconds(10));
        return false;
    });
    expect_failure(play, Errc::peer_lost,
                   {"member-1 is gone", "silent for 30", "within 20", "--resume"});
}

TEST_CASE("a member that has said why it leaves is not told as silent") {
    Play play{World{}};
    auto& harness = play.set();
    const auto leaves = [&](Errc reason) {
        harness.on_request = from(1, message::step, 0, [&harness, reason] {
            harness.peer(1, PeerEvent::What::down, {}, 0, reason);
            return false;
        });
    };
    SECTION("its operator has ended it") {
        leaves(Errc::ok);
        expect_failure(
            play, Errc::peer_lost,
            {"member-1 was ended by its operator, at step 1 of ", " ago, and not back within 20"});
    }
    SECTION("it has failed itself") {
        leaves(Errc::io);
        expect_failure(play, Errc::peer_lost,
                       {"member-1 has ended with an error of its own (io)", "not back within 20"});
    }
}

TEST_CASE(
    "a member that lives and does not get on is named, with what it was asked and since when") {
    Play play{World{}};
    auto& harness = play.set();
    harness.on_request = from(1, message::step, 4, [&] {
        harness.peer(1, PeerEvent::What::suspect, std::chrono::seconds(300), 0, Errc::stalled);
        harness.peer(1, PeerEvent::What::down, std::chrono::seconds(600), 0, Errc::stalled);
        return false;
    });
    expect_failure(play, Errc::stalled,
                   {"member-1 is alive but has not got on for 10 min", "did not answer step",
                    "at step 5 of", "bus.progress_stall_after", "--resume"});
    const auto& log = play.log;
    CHECK(std::ranges::any_of(log, [](const std::string& line) {
        return line.find("member-1 is alive but has not got on for 5 min") != std::string::npos;
    }));
}

TEST_CASE("a member that is gone in the middle, by step") {
    Play play{World{}};
    auto& harness = play.set();
    harness.on_request = from(0, message::step, 4, [&] {
        harness.peer(0, PeerEvent::What::down, std::chrono::seconds(10));
        return false;
    });
    expect_failure(play, Errc::peer_lost, {"member-0", "at step 5 of"});
}

TEST_CASE("a member that is gone in an evaluation between two steps, by step") {
    Play play{World{}};
    play.config.model.report_test_metrics_iteration = 5;
    auto& harness = play.set();
    harness.on_request = from(0, message::evaluate, 0, [&] {
        harness.peer(0, PeerEvent::What::down, std::chrono::seconds(10));
        return false;
    });
    expect_failure(play, Errc::peer_lost, {"member-0", ", at step 5 of 24 (while evaluating), "});
}

TEST_CASE("a member that goes and comes back before the start") {
    Play play{World{}};
    auto& harness = play.set();
    harness.on_join_hook = [&, gone = false](std::size_t member, bus::Join& join) mutable {
        if (member == 1 && !gone) {
            gone = true;
            join.incarnation = 1;
            harness.later([&harness] { harness.peer(0, PeerEvent::What::down); });
            harness.later([&harness] { harness.join(0); });
            harness.later([&harness] { harness.join(1); });
            return false;
        }
        return true;
    };
    CHECK(play.play().code == Errc::ok);
}

TEST_CASE("a member that was silent for too long before the start does not have to join again") {
    // it goes on in its session, in which it has said JOIN: the broker says that it is up, no more
    Play play{World{}};
    auto& harness = play.set();
    bool first = false;
    bool lost = false;
    harness.on_join_hook = [&](std::size_t member, bus::Join&) {
        first = first || member == 0;
        if (member == 0 || lost) return true;
        lost = first;
        harness.later([&harness, lost] {
            if (lost) {
                harness.peer(0, PeerEvent::What::down, std::chrono::seconds(10));
                harness.peer(0, PeerEvent::What::up);
            }
            harness.join(1);
        });
        return false;
    };
    CHECK(play.play().code == Errc::ok);
    CHECK(lost);
    for (const auto& line : play.log) UNSCOPED_INFO(line);
    CHECK(std::ranges::any_of(play.log, [](const std::string& line) {
        return line.find("member-0 is gone again, before the start") != std::string::npos;
    }));
}

TEST_CASE("a member that hung before the start does not have to join again") {
    Play play{World{}};
    auto& harness = play.set();
    harness.on_join_hook = [&, hung = false](std::size_t member, bus::Join& join) mutable {
        if (member != 1 || hung) return true;
        hung = true;
        join.incarnation = 1;
        // after the other one has joined
        harness.later(
            [&harness] {
                using What = PeerEvent::What;
                harness.peer(0, What::suspect, std::chrono::seconds(300), 0, Errc::stalled);
                harness.peer(0, What::down, std::chrono::seconds(600), 0, Errc::stalled);
                harness.peer(0, What::up);
                harness.later([&harness] { harness.join(1); });
            },
            0);
        return false;
    };
    CHECK(play.play().code == Errc::ok);
}

TEST_CASE("a member that does not answer") {
    Play play{World{}};
    auto& harness = play.set();
    harness.on_reply_hook = from(1, message::step, 2, [] { return false; });
    expect_failure(play, Errc::timed_out,
                   {"member-1 did not answer step", "at step 3 of", "recv_timeout"});
    const Failure& outcome = play.master->outcome();
    CHECK(outcome.party == "member-1");
    CHECK(outcome.phase == "training");
    CHECK(outcome.step == 3);
    CHECK(outcome.hint == "see to it, or raise bus.recv_timeout");
    CHECK(play.ends == std::vector<std::pair<std::string, Errc>>{{"failed", Errc::timed_out}});
    CHECK(play.harness->now() - TimePoint{} < std::chrono::seconds(31));
}

TEST_CASE("an error reply") {
    Play play{World{}};
    play.set().on_reply_hook = [](std::size_t member, Message& reply) {
        if (member == 0 && reply.metadata.message_type == message::begin)
            reply.error = {Errc::handler_failed, "out of memory"};
        return true;
    };
    expect_failure(play, Errc::handler_failed, {"member-0: out of memory", "beginning"});
    CHECK(play.master->outcome().party == "member-0");
    CHECK(play.master->outcome().phase == "beginning");
    CHECK(!play.master->outcome().step);
}

TEST_CASE("a broker that is gone for too long") {
    Play play{World{}};
    auto& harness = play.set();
    harness.on_request = from(1, message::step, 2, [&] {
        harness.link(false);
        return false;
    });
    expect_failure(play, Errc::unreachable, {"broker", "at step 3"});
}

TEST_CASE("a broker that is gone at the very end costs nothing") {
    Play play{World{}};
    auto& harness = play.set();
    harness.on_request = from(1, message::release, 0, [&] {
        harness.link(false);
        return false;
    });
    CHECK(play.play().code == Errc::ok);
}

TEST_CASE("a broker that comes back in time") {
    Play play{World{}};
    auto& harness = play.set();
    harness.on_request = from(1, message::step, 2, [&] {
        harness.link(false);
        harness.advance(std::chrono::seconds(29));
        harness.link(true);
        return true;
    });
    CHECK(play.play().code == Errc::ok);
}

TEST_CASE("a broker that ends the run") {
    Play play{World{}};
    auto& harness = play.set();
    harness.on_request = from(1, message::step, 2, [&] {
        harness.finish({Errc::cancelled, "stopped by a user"});
        return false;
    });
    const Ending ending = play.play();
    CHECK(ending.code == Errc::cancelled);
    CHECK(play.master->report().status == "stopped");
    CHECK(play.master->done());
}

TEST_CASE("a member whose model cannot be stored") {
    Play play{World{}};
    auto& harness = play.set();
    harness.on_request = [&](std::size_t, Message& m) {
        if (m.metadata.message_type == message::finish)
            play.env.write_failure = {Errc::io, "no space left"};
        return true;
    };
    expect_failure(play, Errc::io, {"member-", "no space left"});
}

TEST_CASE("a report that cannot be stored") {
    Play play{World{}};
    auto& harness = play.set();
    harness.on_reply_hook = [&, answers = 0](std::size_t, Message& m) mutable {
        // the master's own model part is written in the same event as the report
        if (m.metadata.message_type == message::finish && ++answers == 2)
            play.env.write_failure = {Errc::io, "no space left"};
        return true;
    };
    expect_failure(play, Errc::io, {"master", "no space left"});
}

TEST_CASE("a file that cannot be stored is named, with the way on") {
    Play play{World{}};
    const std::string file = GENERATE("report.json", "agreed.txt");
    CAPTURE(file);
    play.set();  // the record of the run is stored
    play.env.write_failure = {Errc::io, "cannot write " + file + ": No space left on device"};
    play.env.refused = file;
    const Ending ending = play.play();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::io);
    CHECK(ending.sentence.find("master cannot store the ") == 0);
    CHECK(ending.sentence.find(file +
                               ": No space left on device; make room there, then go on "
                               "with `--resume " +
                               play.run.hex() + "`") != std::string::npos);
    play.env.write_failure = {Errc::ok, {}};
    play.resume_master();
    CHECK(play.harness->run().code == Errc::ok);
}

TEST_CASE("a member whose state cannot be read is named, not the owner of the path") {
    Play play{World{}};
    play.env.files["runs/" + play.run.hex() + "/member-1/state/term"] = "three";
    expect_failure(play, Errc::state_lost, {"/member-1/state/term is damaged"});
    CHECK(play.master->outcome().sentence.find("member-1: runs/") == 0);
}

TEST_CASE("a member that is gone before it confirms the end costs nothing") {
    Play play{World{}};
    auto& harness = play.set();
    const bool silent = GENERATE(true, false);
    harness.on_request = from(1, message::release, 0, [&harness, silent] {
        if (!silent) harness.peer(1, PeerEvent::What::down);
        return false;
    });
    CHECK(play.play().code == Errc::ok);
    CHECK(play.master->report().status == "completed");
}

TEST_CASE("protocols that are built, and an unknown one") {
    CHECK(make_master_protocol("telepathy").error().sentence.find("unknown") != std::string::npos);
    for (const auto protocol : {config::Protocol::honest, config::Protocol::masked,
                                config::Protocol::encrypted, config::Protocol::arbitered}) {
        config::AgreedHalf agreed;
        agreed.run.protocol = protocol;
        agreed.run.world_size = 2;
        CHECK(make_master_protocol(config::name_of(protocol)));
        CHECK(make_member_protocol(agreed));
    }
}

TEST_CASE("a run without members is refused") {
    Play play{World{}};
    play.config.run.world_size = 0;
    const auto made = make_train_master(play.master_options());
    REQUIRE(!made);
    CHECK(made.error().code == Errc::bad_config);
    CHECK(made.error().sentence.find("world_size") != std::string::npos);
}

TEST_CASE("a member of another rank") {
    Play play{World{}};
    auto& harness = play.set();
    const Invitation invitation{play.run, 1,  node_id_of("master"),
                                "master", {}, play.master->spec().agreed};
    Context context(invitation, "member-7", 7);
    const auto joined = play.member(0).join(context);
    REQUIRE(!joined);
    CHECK(joined.error().code == Errc::not_a_participant);
    CHECK(joined.error().sentence.find("world_size") != std::string::npos);
    (void)harness;
}

TEST_CASE("an agreed text that is none") {
    Play play{World{}};
    play.set();
    for (const std::string text : {"", "rubbish", "purpose = dance\n", "purpose = check"}) {
        Context context({play.run, 1, node_id_of("master"), "master", {}, text}, "member-0", 0);
        CHECK(!play.member(0).join(context));
    }
}

TEST_CASE("a member told to stop") {
    Play play{World{}};
    auto& harness = play.set();
    harness.on_request = [&](std::size_t member, Message& m) {
        if (member == 0 && m.metadata.message_type == message::step) harness.context(0).cancel();
        return true;
    };
    expect_failure(play, Errc::cancelled, {"member-0"});
}
