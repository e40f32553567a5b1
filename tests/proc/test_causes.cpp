// A run that ends badly has the same cause wherever somebody looks: at the party that failed, at
// every other one, in `run show` at the broker, and in the report.
//
// Each line of the table plants one failure into a run of a master and two members, as real
// processes. Its cause is what the broker was told; everybody else must say the same sentence.
// Where a party knows more than others may see (a path, a label's values), it says more: then only
// the words of the table are asked for.

#include <algorithm>
#include <csignal>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "parties.hpp"
#include "support.hpp"

using namespace proc;

namespace {

struct Planted {
    std::string what;
    /// In everybody's last sentence, in `run show` and in the report.
    Words words;
    bool verbatim = true;                                ///< what the broker has is said by all
    std::function<void(const TempDir&)> prepare{};       ///< before anything is started
    std::map<std::string, Words> flags{};                ///< of single parties
    std::function<void(ByHand&, const TempDir&)> act{};  ///< once there is a commit
    Words gone{};                                        ///< who says nothing any more
    bool reported = true;                                ///< there is somebody to write a report
    bool broker_gone = false;
    /// member-0 is stopped before it hears of the run, and goes on when the run has ended.
    bool comes_late = false;
    /// Once both members are there, and before there is a run.
    std::function<void(const TempDir&)> between{};
};

void append(const TempDir& dir, const std::string& table, const std::string& text) {
    spit(dir / table, slurp(dir / table) + text);
}

std::string first_row(const TempDir& dir, const std::string& table) {
    const std::string text = slurp(dir / table);
    const std::size_t begin = text.find('\n') + 1;
    return text.substr(begin, text.find('\n', begin) + 1 - begin);
}

/// Every id of a table is another one.
void rename_ids(const TempDir& dir, const std::string& table) {
    std::string renamed;
    bool head = true;
    std::string text = slurp(dir / table);
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = text.find('\n', at) + 1;
        renamed += (head ? "" : "other-") + text.substr(at, end - at);
        head = false;
        at = end;
    }
    spit(dir / table, renamed);
}

std::vector<Planted> of_data() {
    std::vector<Planted> all;
    all.push_back({"a row of a member's table is too short",
                   {"member-1", "shop.csv, line", "the row has 3 cells"},
                   true,
                   [](const TempDir& dir) { append(dir, "data/shop.csv", "999999,1,2\n"); }});
    all.push_back({"an id of a member is there twice",
                   {"member-1", "shop.csv, line", "its id was on line 2 already"},
                   true,
                   [](const TempDir& dir) {
                       append(dir, "data/shop.csv", first_row(dir, "data/shop.csv"));
                   }});
    all.push_back(
        {"the labels are of three classes",
         {"master: ", "bank.csv", "needs two classes, but there are 3", "set task to softmax"},
         false,
         [](const TempDir& dir) {
             // of the first customer, behind the id
             std::string text = slurp(dir / "data/bank.csv");
             const std::size_t at = text.find(',', text.find('\n'));
             spit(dir / "data/bank.csv", text.replace(at + 1, 1, "7"));
         }});
    all.push_back({"a member's table is gone when the run comes", {"member-1", "shop.csv"}, false});
    all.back().between = [](const TempDir& dir) { fs::remove(dir.path() / "data/shop.csv"); };
    all.push_back({"a member's table has a header and no row",
                   {"member-1", "shop.csv has a header but no rows"},
                   true,
                   [](const TempDir& dir) {
                       const std::string text = slurp(dir / "data/shop.csv");
                       spit(dir / "data/shop.csv", text.substr(0, text.find('\n') + 1));
                   }});
    all.push_back({"the labels are in another column",
                   {"master: ", "bank.csv", " for a label"},
                   false,
                   {},
                   {{"master", {"--set", "party.master.label=fault"}}}});
    all.push_back({"no id is common to all",
                   {"no id is common to all parties (master has 700, member-0 has "},
                   false,
                   [](const TempDir& dir) { rename_ids(dir, "data/shop.csv"); }});
    return all;
}

std::vector<Planted> of_agreement() {
    std::vector<Planted> all;
    all.push_back(
        {"a member has another configuration",
         {"member-1", "differs from that of master in model.batch_size", "32 here, 64 at master"},
         true,
         {},
         {{"member-1", {"--set", "model.batch_size=32"}}}});
    all.push_back({"a member was started for more members",
                   {"member-1", "run.world_size", "3 here, 2 at master"},
                   true,
                   {},
                   {{"member-1", {"--set", "run.world_size=3"}}}});
    all.push_back(all.back());
    all.back().what += ", and the other one answers when the run is over";
    all.back().comes_late = true;
    all.push_back({"a member does not come",
                   {"member-1 did not join within ", "start what is missing"},
                   true,
                   {},
                   {{"master", {"--set", "bus.rendezvous_timeout=10"}}},
                   {},
                   {"member-1"}});
    all.push_back({"a member cannot write below its runs directory",
                   {"member-1: ", "cannot create", "member-1: File exists"},
                   true,
                   [](const TempDir& dir) {
                       fs::create_directories(dir.path() / "runs" / run_id);
                       spit(dir.path() / "runs" / run_id / "member-1", "in the way");
                   }});
    all.push_back({"a member's policy refuses",
                   {"columns_never"},
                   false,
                   [](const TempDir& dir) {
                       spit(dir / "policy.toml",
                            "[all]\nowners = [\"master\"]\ncolumns_never = [\"*\"]\n");
                   },
                   {{"member-1", {"--policy", "policy.toml"}}}});
    return all;
}

std::vector<Planted> of_processes() {
    const auto signal = [](const std::string& who, int number) {
        return [who, number](ByHand& hand, const TempDir&) {
            Process& process = who == "master"   ? *hand.master
                               : who == "broker" ? *hand.broker
                                                 : *hand.members.at(1);
            process.signal(number);
        };
    };
    std::vector<Planted> all;
    all.push_back({"a member is killed",
                   {"member-1 is gone, at step ", "silent for", "start it again"},
                   true,
                   {},
                   {},
                   signal("member-1", SIGKILL),
                   {"member-1"}});
    all.push_back({"a member is frozen, and comes back too late",
                   {"member-1 is gone, at step ", "silent for", "start it again"},
                   true,
                   {},
                   {},
                   [](ByHand& hand, const TempDir&) {
                       hand.members[1]->signal(SIGSTOP);
                       (void)hand.master->wait();
                       hand.members[1]->signal(SIGCONT);
                       const Finished late = hand.members[1]->wait();
                       INFO(late.err);
                       CHECK(late.exit_code != 0);
                       CHECK(late.err.find("member-1 is gone, at step ") != std::string::npos);
                   },
                   {"member-1"}});
    all.push_back({"a member is told to end",
                   {"member-1 was ended by its operator, at step ", " ago, ", "start it again"},
                   true,
                   {},
                   {},
                   signal("member-1", SIGTERM),
                   {"member-1"}});
    all.push_back({"the master is told to end",
                   {"stopped at step ", "--resume"},
                   true,
                   {},
                   {},
                   signal("master", SIGTERM)});
    all.push_back({"the master is killed",
                   {"master, which drove run " + run_id.substr(0, 8) + ", is gone",
                    "can go on with --resume"},
                   true,
                   {},
                   {},
                   signal("master", SIGKILL),
                   {"master"},
                   false});
    all.push_back(
        {"somebody stops the run from elsewhere",
         {"stopped at step ", "--resume"},
         true,
         {},
         {},
         [](ByHand& hand, const TempDir& dir) {
             CHECK(run(dir, {"run", "stop", run_id, "--broker", hand.endpoint}).exit_code == 0);
         }});
    const Words soon{"--set", "bus.recv_timeout=3"};
    all.push_back({"the broker is killed",
                   {"the broker ", "reachable for "},
                   false,
                   {},
                   {{"master", soon}, {"member-0", soon}, {"member-1", soon}},
                   signal("broker", SIGKILL),
                   {},
                   true,
                   true});
    return all;
}

bool holds(const std::string& who, const std::string& text, const Words& words) {
    for (const std::string& word : words)
        if (text.find(word) == std::string::npos) {
            UNSCOPED_INFO(who << " does not say '" << word << "': " << text);
            return false;
        }
    return true;
}

/// Without what to do, which everybody says of his own command.
std::string cause_of(const std::string& reason) {
    return reason.substr(0, reason.find(';'));
}

void check_planted(const Planted& planted) {
    const TempDir dir;
    make_example(dir);
    if (planted.prepare) planted.prepare(dir);
    std::map<std::string, ByHand::Party> parties;
    for (const auto& [who, words] : planted.flags) parties[who].words = words;
    // who comes late was stopped for longer than a link waits that is impatient
    const Words pace = planted.comes_late ? Words{"--set", "bus.suspect_after=60", "--set",
                                                  "bus.disconnect_idle_client_time=120"}
                                          : impatient;
    ByHand hand(dir, with(pace, {"--set", "model.solver=sgd"}), parties, true);
    const auto is_gone = [&](const std::string& who) {
        return std::find(planted.gone.begin(), planted.gone.end(), who) != planted.gone.end();
    };
    hand.start("member-0");
    if (planted.act || !is_gone("member-1")) hand.start("member-1");
    // who does not come is the one of the table, however slow this machine is
    REQUIRE(await(*hand.broker, [&] {
        const Words ask{"nodes", "--broker", hand.endpoint, "--json"};
        // a broker that is slow to answer is asked again
        const Json told = Json::parse(run(dir, ask).out);
        if (!told.contains("nodes")) return false;
        const Json& nodes = told["nodes"];
        const auto is_up = [&](const std::string& name) {
            return std::any_of(nodes.begin(), nodes.end(), [&](const Json& node) {
                return node["name"] == name && node["status"] == "up";
            });
        };
        return is_up("member-0") && (!planted.between || is_up("member-1"));
    }));
    if (planted.between) planted.between(dir);
    if (planted.comes_late) hand.members[0]->signal(SIGSTOP);
    hand.start("master", {"--run-id", run_id});
    if (planted.act) {
        REQUIRE(commits_beyond(*hand.master, run_dir(dir, "runs"), 0));
        planted.act(hand, dir);
    }
    const Finished master = hand.master->wait();
    Json shown;
    if (!planted.broker_gone) {
        const Words ask{"run", "show", run_id, "--broker", hand.endpoint, "--json"};
        REQUIRE(await(*hand.broker, [&] {
            const Json told = Json::parse(run(dir, ask).out);
            if (!told.contains("run")) return false;
            shown = told["run"];
            return shown["status"] == "failed" || shown["status"] == "stopped";
        }));
    }
    if (planted.comes_late) hand.members[0]->signal(SIGCONT);
    Words words = planted.words;
    if (planted.verbatim) words.push_back(cause_of(shown["reason"].get<std::string>()));
    if (!planted.broker_gone) CHECK(holds("run show", shown["reason"].get<std::string>(), words));
    if (!is_gone("master")) CHECK(holds("master", sentence_of(master), words));
    for (std::size_t rank = 0; rank < 2; ++rank) {
        const std::string name = "member-" + std::to_string(rank);
        if (is_gone(name)) continue;
        const Finished member = hand.members[rank]->wait();
        CHECK(member.exit_code != 0);
        // of itself it says no name
        Words own = words;
        for (std::string& word : own)
            if (word.starts_with(name + ": ")) word = word.substr(name.size() + 2);
        std::erase(own, name);
        CHECK(holds(name, sentence_of(member), own));
    }
    if (!planted.reported) return;
    const Json report = Json::parse(slurp(run_dir(dir, "runs") / "report.json"));
    CHECK(holds("the report", report["reason"].get<std::string>(), words));
}

void check_all(const std::vector<Planted>& table) {
    for (const Planted& planted : table) {
        INFO(planted.what);
        check_planted(planted);
    }
}

}  // namespace

TEST_CASE("what is wrong with a table is said by every party", "[causes]") {
    check_all(of_data());
}

TEST_CASE("what parties do not agree on is said by every party", "[causes]") {
    check_all(of_agreement());
}

TEST_CASE("whose process has ended a run is said by every party", "[causes]") {
    check_all(of_processes());
}

TEST_CASE("while a member hangs, everybody is told for whom the run waits", "[causes]") {
    const TempDir dir;
    make_example(dir);
    const Words patient{"--set", "bus.rejoin_grace=600"};
    ByHand hand(dir, with(impatient, {"--set", "model.solver=sgd"}),
                {{"master", {patient, {}, {}, {}}}}, true);
    hand.start_all();
    REQUIRE(commits_beyond(*hand.master, run_dir(dir, "runs"), 0));
    hand.members[1]->signal(SIGSTOP);
    CHECK(await(*hand.master, [&] {
        const Words show{"run", "show", run_id, "--broker", hand.endpoint};
        return run(dir, show).out.find("waits for member-1, which is ") != std::string::npos;
    }));
    CHECK(hand.master->await_output("member-1 has been silent for ", true));
    CHECK(hand.master->await_output("waits 10 min 0 s for it", true));
    hand.members[1]->signal(SIGCONT);
}
