// A member's own say, with real parties: what its policy refuses, what waits for somebody's word,
// and what its audit log has after kills.

#include <algorithm>
#include <ctime>
#include <memory>
#include <sstream>

#include "catch.hpp"
#include "parties.hpp"

using namespace proc;

namespace {

fs::path node_of(const TempDir& dir) {
    return fs::path(dir / "runs") / "nodes" / "member-0";
}

/// Broker, master and two members; member-0 has this policy.
std::unique_ptr<ByHand> parties(const TempDir& dir, const std::string& policy,
                                const Words& more = {}) {
    make_example(dir);
    spit(dir / "policy.toml", policy);
    return std::make_unique<ByHand>(dir, more,
                                    std::map<std::string, ByHand::Party>{
                                        {"member-0", {{"--policy", "policy.toml"}, {}, {}, {}}}});
}

/// The decisions of a member's log, oldest first: "let in", "refused:purposes".
Words decisions(const TempDir& dir) {
    Words all;
    std::istringstream in(slurp(node_of(dir) / "audit" / "log"));
    for (std::string text; std::getline(in, text);) {
        const Json line = Json::parse(text);
        if (!line.is_object() || !line.contains("decision")) continue;
        std::string word = line.at("decision").get<std::string>();
        if (line.contains("rule")) word += ":" + line.at("rule").get<std::string>();
        all.push_back(word);
    }
    return all;
}

Finished verify(const TempDir& dir) {
    return run(dir, {"audit", "verify", "--json", "--state-dir", node_of(dir).string()});
}

bool somebody_waits(const TempDir& dir, const std::string& who) {
    const Finished held = run(dir, {"approve", "--json", "--state-dir", node_of(dir).string()});
    return held.out.find(who) != std::string::npos;
}

/// Starts the parties, and waits until the run is held at the member.
void hold(const TempDir& dir, ByHand& all) {
    all.start_all();
    REQUIRE(all.master->await_output("for somebody there to approve the run", true));
    REQUIRE(await(*all.master, [&] { return somebody_waits(dir, run_id); }));
}

}  // namespace

TEST_CASE("a policy refuses with the rule's name", "[policy]") {
    const TempDir dir;
    const auto all = parties(dir, "[all]\nowners = [\"master\"]\ncolumns_never = [\"*\"]\n");
    fs::permissions(dir / "policy.toml", static_cast<fs::perms>(0666));
    all->start_all();
    const Finished master = all->master->wait();
    INFO(master.err);
    CHECK(master.exit_code == 5);
    CHECK(sentence_of(master).find("rule columns_never") != std::string::npos);
    // the member says more, to its own people alone
    const std::string told = all->members[0]->wait().err;
    // and at its start already that others could change what it says
    CHECK(told.find("policy.toml may be written by every user of this machine") !=
          std::string::npos);
    const std::size_t at = told.find("all.columns_never: column ");
    REQUIRE(at != std::string::npos);
    std::string column = told.substr(at + 26);
    column.resize(column.find(' '));
    CHECK(master.err.find(column) == std::string::npos);
    CHECK(decisions(dir) == Words{"let in", "refused:columns_never"});
    CHECK(verify(dir).exit_code == 0);
}

TEST_CASE("a budget of privacy lasts from run to run, and its end is told at both sides",
          "[policy]") {
    const TempDir dir;
    make_example(dir);
    // one epoch at multiplier 2: rho 3 / 8, epsilon 4.4; two of them 6.7
    spit(dir / "policy.toml",
         "[all]\nowners = [\"*\"]\ndifferential_privacy = true\nepsilon_max = 5\n");
    const auto launched = [&](const std::string& multiplier) {
        return run(dir, {"launch", "--local", "--config", "run.toml", "--json", "--set",
                         "party.member-0.policy=policy.toml", "--set", "model.solver=sgd", "--set",
                         "model.epochs=1", "--set", "data.stratify=false", "--set",
                         "model.report_train_metrics_iteration=0", "--set",
                         "model.report_test_metrics_iteration=0", "--set",
                         "privacy.score_noise_multiplier=" + multiplier});
    };
    const Finished without = launched("0");
    CHECK(without.exit_code == 5);
    CHECK(sentence_of(without).find("rule differential_privacy") != std::string::npos);
    const Finished first = launched("2");
    INFO(first.err);
    REQUIRE(first.exit_code == 0);
    CHECK(first.err.find("differential privacy: over the whole run, what leaves a member") !=
          std::string::npos);
    const Json report = Json::parse(first.out);
    CHECK(report["differential_privacy"]["features"]["rho"] == 3 / 8.);
    const Finished second = launched("2");
    INFO(second.err);
    CHECK(second.exit_code == 5);
    CHECK(sentence_of(second).find("rule epsilon_max") != std::string::npos);
    CHECK(decisions(dir) == Words{"refused:differential_privacy", "let in", "refused:epsilon_max"});
}

TEST_CASE("a policy that is none keeps the member from starting", "[policy]") {
    const TempDir dir;
    const auto all = parties(dir, "[all]\nowner = [\"master\"]\n");
    all->start("member-0");
    const Finished member = all->members.at(0)->wait();
    INFO(member.err);
    CHECK(member.exit_code == 2);
    CHECK(member.err.find("policy.toml:2: unknown key owner") != std::string::npos);
}

TEST_CASE("a held run goes on when it is approved", "[policy]") {
    const TempDir dir;
    const auto all = parties(dir, "approve = \"each\"\n[all]\nowners = [\"*\"]\n",
                             {"--set", "bus.wait_report_interval=0.3"});
    hold(dir, *all);
    const Finished said =
        run(dir, {"approve", run_id.substr(0, 8), "--state-dir", node_of(dir).string()});
    INFO(said.err);
    CHECK(said.exit_code == 0);
    const Finished master = all->master->wait();
    INFO(master.err);
    CHECK(master.exit_code == 0);
    CHECK(all->members[0]->wait().exit_code == 0);
    CHECK(decisions(dir) == Words{"held", "approved"});
    CHECK(verify(dir).exit_code == 0);
    CHECK_FALSE(somebody_waits(dir, run_id));
}

TEST_CASE("a held run ends when it is refused", "[policy]") {
    const TempDir dir;
    const auto all = parties(dir, "approve = \"each\"\n[all]\nowners = [\"*\"]\n",
                             {"--set", "bus.wait_report_interval=0.3"});
    hold(dir, *all);
    CHECK(
        run(dir, {"refuse", run_id.substr(0, 8), "--state-dir", node_of(dir).string()}).exit_code ==
        0);
    const Finished master = all->master->wait();
    INFO(master.err);
    CHECK(master.exit_code == 5);
    CHECK(sentence_of(master).find("rule approve") != std::string::npos);
    CHECK(decisions(dir) == Words{"held", "refused:approve"});
    CHECK(run(dir, {"refuse", "00", "--state-dir", node_of(dir).string()}).exit_code == 5);
}

TEST_CASE("a run that recovers is one decision, and the log outlives kills", "[policy]") {
    const TempDir dir;
    const auto all = parties(dir, "[all]\nowners = [\"*\"]\nruns_per_day = 1\n");
    const std::time_t day = std::time(nullptr) / 86'400;
    all->start_all();
    const fs::path run_directory = fs::path(dir / "runs") / run_id;
    for (std::uint64_t kill = 0; kill < 2; ++kill) {
        REQUIRE(commits_beyond(*all->master, run_directory, 100 + kill * 600));
        all->members[0]->signal(9);
        (void)all->members[0]->wait();
        all->start("member-0");
    }
    const Finished master = all->master->wait();
    INFO(master.err);
    CHECK(master.exit_code == 0);
    const Words told = decisions(dir);
    REQUIRE(told.size() >= 3);
    CHECK(told.front() == "let in");
    CHECK(std::all_of(told.begin() + 1, told.end(),
                      [](const std::string& word) { return word == "let in again"; }));
    CHECK(verify(dir).exit_code == 0);

    // another run on the same day is one too many, also for a process that has just begun
    all->start("member-0");
    all->start("member-1");
    all->start("master", {"--run-id", "ff" + run_id.substr(2)});
    const Finished second = all->master->wait();
    INFO(second.err);
    if (std::time(nullptr) / 86'400 == day) {  // or midnight has passed, and it was let in
        CHECK(second.exit_code == 5);
        CHECK(sentence_of(second).find("rule runs_per_day") != std::string::npos);
    }
    (void)all->members[0]->wait();

    const std::string log = slurp(node_of(dir) / "audit" / "log");
    spit(node_of(dir) / "audit" / "log", replaced(log, "let in again", "let in"));
    CHECK(verify(dir).exit_code == 3);
}

TEST_CASE("a log that was cut off is not whole after the next command either", "[policy]") {
    const TempDir dir;
    spit(dir / "shop.csv", "id,a\n1,2\n");
    const fs::path audit = node_of(dir) / "audit";
    const auto grant = [&](const std::string& owner) {
        return run(dir, {"grant", "shop.csv", owner, "--until", "2099-12-31", "--state-dir",
                         node_of(dir).string()});
    };
    for (const char* const owner : {"bank-a", "bank-b", "bank-c"}) {
        const Finished granted = grant(owner);
        INFO(granted.err);
        REQUIRE(granted.exit_code == 0);
    }
    REQUIRE(verify(dir).exit_code == 0);
    const std::string log = slurp(audit / "log");
    std::size_t end = 0;  // of its third line, a signature
    for (int line = 0; line < 3; ++line) end = log.find('\n', end) + 1;
    REQUIRE(end != 0);

    spit(audit / "log", log.substr(0, end));
    CHECK(verify(dir).exit_code == 3);
    CHECK(grant("bank-d").exit_code == 3);  // the head file holds a later line
    fs::remove(audit / "head");
    CHECK(verify(dir).exit_code == 3);
    CHECK(grant("bank-d").exit_code == 0);
    const Finished cut = verify(dir);
    CHECK(cut.exit_code == 3);
    CHECK(cut.out.find("line 4 tells that the head file was missing") != std::string::npos);
}

TEST_CASE("what a policy decides outlives the runs of launch", "[policy]") {
    const TempDir dir;
    make_example(dir);
    spit(dir / "policy.toml",
         "[all]\nowners = [\"master\"]\nruns_per_day = 1\ntables = \"granted\"\n");
    const Words runs_dir{"--set", "output.runs_dir=" + (dir / "runs")};
    const auto launch = [&] {
        return run(dir, with({"launch", "--local", "--config", "run.toml", "--json", "--set",
                              "model.epochs=1", "--set", "party.member-0.policy=policy.toml"},
                             runs_dir));
    };
    const auto grant = [&](const std::string& table) {
        const Finished done =
            run(dir, with({"grant", table, "master", "--until", "2999-12-31", "--node", "member-0"},
                          runs_dir));
        INFO(done.err);
        CHECK(done.exit_code == 0);
    };
    const Finished ungranted = launch();
    CHECK(ungranted.exit_code == 5);
    CHECK(ungranted.err.find("rule tables") != std::string::npos);
    grant("data/telecom.csv");
    grant("data/telecom_test.csv");
    const std::time_t day = std::time(nullptr) / 86'400;
    const Finished first = launch();
    INFO(first.err);
    CHECK(first.exit_code == 0);
    const Finished second = launch();
    if (std::time(nullptr) / 86'400 == day) {  // or midnight has passed, and it was let in
        CHECK(second.exit_code == 5);
        CHECK(second.err.find("rule runs_per_day") != std::string::npos);
    }
    CHECK(verify(dir).exit_code == 0);
}

TEST_CASE("a table is granted before the first run, by its name or as a command", "[policy]") {
    const TempDir dir;
    spit(dir / "a.csv", "id,x\n1,2\n");
    const auto grant = [&](const Words& more) {
        return run(dir, with({"grant"}, with(more, {"--node", "member-0", "--set",
                                                    "output.runs_dir=" + (dir / "runs")})));
    };
    const Words until{"bank", "--until", "2999-12-31"};
    for (const char* const table : {"a.csv", "exec:cat a.csv", "part-*.csv"}) {
        CAPTURE(table);
        const Finished done = grant(with({table}, until));
        CHECK(done.exit_code == 0);
        // who has mistyped the node sees it
        CHECK((done.err.find("nodes/member-0") != std::string::npos) == (table[0] == 'a'));
    }
    CHECK(grant(with({"b.csv"}, until)).exit_code != 0);
    CHECK(grant({"a.csv", "bank", "--until", "2027-02-31"}).exit_code == 2);
    const std::string listed = grant({"--json"}).out;
    for (const char* const table : {"/a.csv\"", "\"exec:cat a.csv\"", "/part-*.csv\""}) {
        CAPTURE(table);
        CHECK(listed.find(table) != std::string::npos);
    }
    CHECK(grant({"exec:cat a.csv", "bank", "--withdraw"}).exit_code == 0);
    CHECK(grant({"--json"}).out.find("exec:") == std::string::npos);
    // a grant that is taken back counts for no key any more
    const std::string key = "OKOQ-V5DL-2Q3A-7MZK-44XE-QJ2B";
    CHECK(grant(with({"a.csv"}, with(until, {"--key", "nonsense"}))).exit_code == 2);
    const Finished bound = grant(with({"a.csv"}, with(until, {"--key", key, "--json"})));
    CAPTURE(bound.err);
    CHECK(bound.exit_code == 0);
    CHECK(bound.out.find("\"status\": \"granted\"") != std::string::npos);
    const Finished taken = grant({"a.csv", "bank", "--withdraw", "--json"});
    CHECK(taken.out.find("\"status\": \"withdrawn\"") != std::string::npos);
    CHECK(grant({"--json"}).out.find("/a.csv\"") == std::string::npos);
    CHECK(grant({"a.csv", "bank", "--withdraw"}).exit_code == 2);
    // a line that somebody has broken hides no other one
    std::ofstream(fs::path(dir / "runs") / "nodes" / "member-0" / "audit" / "log", std::ios::app)
        << R"({"time":5,"event":{},"decision":7})" << "\n"
        << R"({"time":"2999-01-01T00:00:00Z","event":"after it"})" << "\n";
    const Finished shown = run(
        dir, {"audit", "show", "--node", "member-0", "--set", "output.runs_dir=" + (dir / "runs")});
    CHECK(shown.exit_code == 0);
    CHECK(shown.out.find("grant withdrawn") != std::string::npos);
    CHECK(shown.out.find("(broken: {\"time\":5") != std::string::npos);
    CHECK(shown.out.find("after it") != std::string::npos);
    // a place that is not there is no node where nothing waits
    CHECK(run(dir, {"approve", "--state-dir", dir / "typo"}).exit_code == 2);
}
