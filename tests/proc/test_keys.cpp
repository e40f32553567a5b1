// A bus with keys: who gets in over real sockets, as whom, and until when. docs/security.md.

#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>

#include "base/json.hpp"
#include "catch.hpp"
#include "parties.hpp"
#include "proxy.hpp"

using namespace proc;

namespace {

/// A broker with keys on tcp, and what parties need to come in.
struct KeyedBus {
    explicit KeyedBus(const TempDir& in, bool party_keys = true) : dir(in) {
        make("broker", keys());
        if (party_keys) {
            allow("master", {"--role", "master"});
            allow("member-0", {"--role", "member", "--rank", "0"});
            allow("member-1", {"--role", "member", "--rank", "1"});
        }
        start();
    }
    void start() {
        broker = std::make_unique<Process>(
            dir, Words{"broker", "--bind", "tcp://127.0.0.1:0", "--certificates", keys()});
        endpoint = first_endpoint(*broker);
        REQUIRE_FALSE(endpoint.empty());
    }
    [[nodiscard]] std::string keys() const { return dir / "keys"; }
    /// Its fingerprint.
    std::string make(const std::string& name, const std::string& where, const Words& more = {}) {
        const Finished made = run(dir, with({"keys", "new", name, "--certificates", where}, more));
        INFO(made.err);
        REQUIRE(made.exit_code == 0);
        return made.out.substr(0, made.out.find('\n'));
    }
    /// A key of the party's own, in a directory of its own with the broker's public key.
    std::string party(const std::string& name, const Words& more = {}) {
        const std::string where = dir / ("keys-of-" + name);
        make(name, where, more);
        fs::copy_file(fs::path(keys()) / "broker.pub", fs::path(where) / "broker.pub",
                      fs::copy_options::skip_existing);
        return where;
    }
    void allow(const std::string& name, const Words& more, const Words& for_key = {}) {
        const std::string where = party(name, for_key);
        const Finished let_in = run(dir, with({"allow", name, "--key", where + "/" + name + ".pub",
                                               "--certificates", keys()},
                                              more));
        INFO(let_in.err);
        REQUIRE(let_in.exit_code == 0);
    }
    [[nodiscard]] std::string keys_of(const std::string& name) const {
        return dir / ("keys-of-" + name);
    }
    Words actor(const std::string& name, const Words& more = {}) const {
        const Words who = name == "master" ? Words{"actor", "--role", "master", "--run-id", run_id}
                                           : Words{"actor",  "--role",       "member",
                                                   "--rank", name.substr(7), "--once"};
        return with(with(who, {"--broker", endpoint, "--config", "run.toml", "--set",
                               "output.runs_dir=" + dir / "runs", "--certificates", keys_of(name)}),
                    more);
    }
    bool told(const std::string& text) { return broker->await_output(text, true); }

    const TempDir& dir;
    std::string endpoint;
    std::unique_ptr<Process> broker;
};

int times_in(const std::string& text, const std::string& what) {
    int times = 0;
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at) ++times;
    return times;
}

std::string secret_in(const std::string& file) {
    const std::string text = slurp(file);
    const std::size_t at = text.find("\nsecret ");
    REQUIRE(at != std::string::npos);
    return text.substr(at + 8, 40);
}

}  // namespace

TEST_CASE("a training with keys has the same model, and no secret is told anywhere", "[keys]") {
    const TempDir dir;
    make_example(dir);
    const Finished plain = run(dir, {"launch", "--threads", "--config", "run.toml", "--run-id",
                                     run_id, "--set", "output.runs_dir=" + dir / "plain", "--set",
                                     "data.alignment=psi", "--set", "run.protocol=encrypted"});
    REQUIRE(plain.exit_code == 0);
    KeyedBus bus(dir);
    Process zero(dir, bus.actor("member-0", {"--verbose"}));
    Process one(dir, bus.actor("member-1", {"--verbose"}));
    Process master(dir, bus.actor("master", {"--verbose"}));
    const Finished done = master.wait();
    INFO(done.err);
    INFO(bus.broker->err());
    REQUIRE(done.exit_code == 0);
    const Finished of_zero = zero.wait();
    const Finished of_one = one.wait();
    CHECK(of_zero.exit_code == 0);
    CHECK(of_one.exit_code == 0);
    // the default of parties with keys, said when the run begins
    CHECK(
        done.err.find("protocol encrypted: the master sees the sum of the members' partial scores "
                      "and no member's own; every member sees the gradient of its own columns "
                      "alone") != std::string::npos);
    const Models trained = models(fs::path(dir / "runs") / run_id);
    CHECK(trained.size() == 3);
    CHECK(trained == models(fs::path(dir / "plain") / run_id));
    CHECK(bus.told("run opened run=" + run_id.substr(0, 8) + " owner=master"));
    std::string all = done.out + done.err + of_zero.out + of_zero.err + of_one.out + of_one.err +
                      bus.broker->err() + bus.broker->out();
    for (const auto& entry : fs::recursive_directory_iterator(dir / "runs"))
        if (entry.is_regular_file()) all += slurp(entry.path());
    for (const std::string name : {"master", "member-0", "member-1"})
        CHECK(all.find(secret_in(bus.keys_of(name) + "/" + name + ".key")) == std::string::npos);
    CHECK(all.find(secret_in(bus.keys() + "/broker.key")) == std::string::npos);
}

TEST_CASE("tune trains over one alignment at a bus with keys", "[keys]") {
    const TempDir dir;
    make_example(dir);
    std::string all = slurp(dir / "run.toml");
    for (std::size_t at = 0; (at = all.find("test_data", at)) != std::string::npos;)
        all.erase(at, all.find('\n', at) + 1 - at);
    spit(dir / "run.toml", all);
    spit(dir / "members.toml", all.substr(all.find("[bus]")));  // the owner says the rest
    KeyedBus bus(dir);
    std::vector<std::unique_ptr<Process>> members;
    for (const std::string rank : {"0", "1"})
        members.push_back(std::make_unique<Process>(
            dir,
            Words{"actor", "--role", "member", "--rank", rank, "--config", "members.toml",
                  "--verbose", "--broker", bus.endpoint, "--certificates",
                  bus.keys_of("member-" + rank), "--set", "output.runs_dir=" + (dir / "runs")}));
    const Finished searched = run(
        dir, {"tune", "--broker", bus.endpoint, "--certificates", bus.keys_of("master"), "--config",
              "run.toml", "--json", "--jobs", "2", "--grid", "model.learning_rate=0.1,0.2,0.3",
              "--set", "data.test_fraction=0.2", "--set", "output.runs_dir=" + (dir / "runs")});
    INFO(searched.err);
    INFO(bus.broker->err());
    REQUIRE(searched.exit_code == 0);
    const Json told = Json::parse(searched.out);
    REQUIRE(told["runs"].size() == 3);
    for (const Json& one : told["runs"]) {
        CHECK(one["status"] == "completed");
        const fs::path own = fs::path(dir / "runs") / one["run_id"].get<std::string>();
        CHECK(models(own).size() == 3);
        // the default of parties with keys
        CHECK(slurp(own / "agreed.txt").find("encrypted") != std::string::npos);
    }
    for (const auto& member : members) {
        member->signal(SIGTERM);
        const std::string said = member->wait().err;
        CHECK(times_in(said, "takes part in a private set intersection") == 1);
        CHECK(times_in(said, "goes on from an alignment that it has kept") == 2);
    }
}

TEST_CASE("launch over tcp makes keys for its run, and leaves none", "[keys]") {
    const TempDir dir;
    make_example(dir);
    for (const char* transport : {"ipc", "tcp"}) {
        const Finished done =
            run(dir, {"launch", "--local", "--transport", transport, "--config", "run.toml",
                      "--run-id", run_id, "--set", "output.runs_dir=" + dir / transport});
        INFO(done.err);
        REQUIRE(done.exit_code == 0);
    }
    const Models over_tcp = models(fs::path(dir / "tcp") / run_id);
    CHECK(over_tcp.size() == 3);
    CHECK(over_tcp == models(fs::path(dir / "ipc") / run_id));
    const std::string log = slurp(fs::path(dir / "tcp") / run_id / "broker" / "log");
    CHECK(log.find("node up name=master role=master") != std::string::npos);
    CHECK(log.find(" key=") != std::string::npos);
    CHECK(left_behind(dir).empty());
    for (const auto& entry : fs::recursive_directory_iterator(dir.path()))
        CHECK(entry.path().extension() != ".key");
}

TEST_CASE("who has no key, or another one, does not get in, and is told why", "[keys]") {
    const TempDir dir;
    make_example(dir);
    KeyedBus bus(dir);
    const auto refused = [&](const Words& words, const std::string& why) {
        const Finished asked = run(dir, with({"runs", "--broker", bus.endpoint}, words));
        INFO(why << "\n" << asked.err << bus.broker->err());
        CHECK(asked.exit_code != 0);
        CHECK(asked.out.empty());
        CHECK(asked.err.find(why) != std::string::npos);
    };
    refused({}, "wants keys");
    bus.party("mallory");
    refused({"--certificates", bus.keys_of("mallory")}, "does not let this key in");
    CHECK(bus.told("not let in key="));
    // a broker that is another one than was agreed
    const std::string other = dir / "other";
    bus.make("broker", other);
    bus.make("alice", other);
    fs::remove(fs::path(other) / "broker.key");
    refused({"--certificates", other}, "another key than broker.pub says");
    // keys, and a broker in the clear
    Process plain(dir, {"broker", "--bind", "tcp://127.0.0.1:0"});
    const Finished clear =
        run(dir, {"runs", "--broker", first_endpoint(plain), "--certificates", other});
    INFO(clear.err);
    CHECK(clear.exit_code != 0);
    CHECK(clear.err.find("in the clear") != std::string::npos);
    // a key that has expired, as the list says
    bus.party("carol");
    const std::string list = bus.keys() + "/allow-list";
    const std::string carol =
        run(dir, {"keys", "fingerprint", "carol", "--certificates", bus.keys_of("carol")}).out;
    spit(list + ".new", slurp(list) + "carol " + carol.substr(0, 29) + " expires=2020-01-01\n");
    fs::rename(list + ".new", list);
    REQUIRE(bus.told("keys=4"));
    refused({"--certificates", bus.keys_of("carol")}, "does not let this key in");
    CHECK(bus.told("the key of carol has expired"));
    // a secret that others may read is none
    ::chmod((bus.keys_of("mallory") + "/mallory.key").c_str(), 0644);
    refused({"--certificates", bus.keys_of("mallory")}, "chmod 600");
    // health needs no key, and the owner of the broker has every right
    // (it gives a broker less than half a second)
    REQUIRE(await(*bus.broker,
                  [&] { return run(dir, {"health", "--broker", bus.endpoint}).exit_code == 0; }));
    const Finished owner =
        run(dir, {"nodes", "--json", "--broker", bus.endpoint, "--certificates", bus.keys()});
    INFO(owner.err);
    CHECK(owner.exit_code == 0);
}

TEST_CASE("a key speaks for its own name, role and rank alone", "[keys]") {
    const TempDir dir;
    make_example(dir);
    KeyedBus bus(dir);
    const auto refused = [&](const Words& words, const std::string& why) {
        Process actor(
            dir, with(words, {"--broker", bus.endpoint, "--config", "run.toml", "--certificates",
                              bus.keys_of("member-0"), "--set", "bus.identity=member-0", "--set",
                              "output.runs_dir=" + dir / "runs"}));
        const Finished ended = actor.wait();
        INFO(ended.err);
        CHECK(ended.exit_code == 7);
        CHECK(sentence_of(ended).find(why) != std::string::npos);
    };
    refused({"actor", "--role", "member", "--rank", "1"}, "cannot speak for member-1");
    refused({"actor", "--role", "master"}, "cannot speak for master");
    refused({"actor", "--role", "master", "--name", "member-0"}, "not allowed as role master");
    CHECK(bus.told("not allowed name=member-0 key="));
    CHECK(bus.told("tried: HELLO as member-1, role member of rank 1"));
    const Finished lowered =
        run(dir, {"allow", "member-0", "--key", bus.keys_of("member-0") + "/member-0.pub", "--role",
                  "member", "--rank", "5", "--certificates", bus.keys()});
    REQUIRE(lowered.exit_code == 0);
    REQUIRE(bus.told("the allow-list was read again"));
    refused({"actor", "--role", "member", "--rank", "0"}, "not allowed as rank 0");
}

TEST_CASE("a key that is revoked is out at once, without a restart of the broker", "[keys]") {
    const TempDir dir;
    make_example(dir);
    KeyedBus bus(dir);
    Process member(dir, bus.actor("member-0"));
    REQUIRE(bus.told("node up name=member-0"));
    REQUIRE(run(dir, {"revoke", "member-0", "--certificates", bus.keys()}).exit_code == 0);
    const Finished ended = member.wait();
    INFO(ended.err);
    CHECK(ended.exit_code == 7);
    CHECK(sentence_of(ended).find("not allowed any more") != std::string::npos);
    CHECK(bus.told("session ended name=member-0 key="));
    const Finished again =
        run(dir, {"runs", "--broker", bus.endpoint, "--certificates", bus.keys_of("member-0")});
    CHECK(again.err.find("does not let this key in") != std::string::npos);
    // the others do not notice; a list that is read at a signal is read without a change
    const auto times_read = [&] {
        const std::string said = bus.broker->err();
        std::size_t count = 0;
        for (auto at = said.find("the allow-list was read again"); at != std::string::npos;
             at = said.find("the allow-list was read again", at + 1))
            ++count;
        return count;
    };
    const std::size_t before = times_read();
    bus.broker->signal(SIGHUP);
    CHECK(await(*bus.broker, [&] { return times_read() > before; }));
    CHECK(run(dir, {"runs", "--broker", bus.endpoint, "--certificates", bus.keys_of("master")})
              .exit_code == 0);
}

TEST_CASE("commands of keys and of the allow-list", "[keys]") {
    const TempDir dir;
    const auto ok = [&](const Words& words) {
        const Finished done = run(dir, words);
        INFO(done.err);
        CHECK(done.exit_code == 0);
        return done.out;
    };
    const auto wrong = [&](const Words& words, const std::string& why) {
        const Finished done = run(dir, words);
        INFO(done.err);
        CHECK(done.exit_code == 2);
        CHECK(done.err.find(why) != std::string::npos);
    };
    const std::string made = ok({"keys", "new", "shop"});
    CHECK(ok({"keys", "fingerprint", "shop"}) == made);
    CHECK(ok({"keys", "fingerprint", "keys/shop.pub"}) == made);
    const std::string shown = ok({"keys", "show", "--json"});
    CHECK(shown.find(made.substr(0, 29)) != std::string::npos);
    CHECK(shown.find(secret_in(dir / "keys/shop.key")) == std::string::npos);
    CHECK(run(dir, {"keys", "new", "shop"}).exit_code == 3);
    wrong({"keys", "new", "../shop"}, "is no name");
    wrong({"keys", "new", "x", "--expires", "soon"}, "--expires");
    wrong({"allow", "shop", "--key", "nonsense"}, "--key");
    wrong({"allow", "shop", "--key", "keys/shop.pub", "--role", "king"}, "king");
    wrong({"allow", "shop", "--key", "keys/shop.pub", "--rank", "x"}, "rank");
    wrong({"allow", "shop", "--key", "keys/shop.pub", "--may", "all"}, "all");
    CHECK_FALSE(fs::exists(dir / "keys/allow-list"));
    ok({"allow", "shop", "--key", "keys/shop.pub", "--role", "member", "--rank", "0"});
    wrong({"allow", "bank", "--key", "keys/shop.pub"}, "that of shop");
    ok({"keys", "new", "shop", "--certificates", "new"});
    wrong({"allow", "shop", "--key", "new/shop.pub"}, "--also");
    ok({"allow", "shop", "--key", "new/shop.pub", "--also", "--role", "member", "--rank", "0"});
    wrong({"allow", "shop-0123abcd", "--key", "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA"}, "choose another");
    const std::string members = ok({"members", "--json"});
    CHECK(members.find(made.substr(0, 29)) != std::string::npos);
    ok({"revoke", "shop", "--key", made.substr(0, 29)});
    CHECK(ok({"members", "--json"}).find(made.substr(0, 29)) == std::string::npos);
    wrong({"revoke", "bank"}, "no key of bank");
    // a list with a bad line: its number, and the broker does not begin with it
    ok({"keys", "new", "broker"});
    spit(dir / "keys/allow-list", slurp(dir / "keys/allow-list") + "shop x\n");
    wrong({"broker", "--bind", "tcp://127.0.0.1:0", "--certificates", "keys"}, "line ");
    // beyond this machine only with keys, or --insecure
    spit(dir / "keys/allow-list", "");
    Process wide(dir, {"broker", "--bind", "tcp://0.0.0.0:0", "--certificates", "keys"});
    CHECK(first_endpoint(wide).substr(0, 6) == "tcp://");
    // ipc is in the clear: beside keys only where nobody else may enter
    fs::create_directory(dir / "open");
    ::chmod((dir / "open").c_str(), 0755);
    wrong({"broker", "--bind", "tcp://127.0.0.1:0", "--bind", "ipc://open/bus", "--certificates",
           "keys"},
          "chmod 700");
}

TEST_CASE("a link in the clear beyond this machine is told in each log, and in the report",
          "[keys]") {
    const TempDir dir;
    make_example(dir);
    ByHand all(dir, {}, {}, true);
    // an address of which nobody can say that it is this machine's, although it is
    const std::string beyond = "tcp://0.0.0.0" + all.endpoint.substr(all.endpoint.rfind(':'));
    for (const char* const party : {"master", "member-0", "member-1"})
        all.parties[party].broker = beyond;
    all.start_all();
    const Finished master = all.master->wait();
    const std::string told = "the link to " + beyond + " is in the clear";
    INFO(master.err);
    CHECK(master.exit_code == 0);
    CHECK(master.err.find("warn") < master.err.find(told));
    for (const auto& member : all.members) CHECK(member->await_output(told, true));
    CHECK(slurp(dir / "runs/" + run_id + "/report.json").find(told) != std::string::npos);
    CHECK(master.out.find("is in the clear") != std::string::npos);
}

// -- sealing: docs/security.md, docs/protocol.md, section 14 -----------------------------------

namespace {

/// How often each text occurs in what a process has written to its memory and not to files. Must be
/// called while the process runs.
std::map<std::string, std::size_t> marks_in_memory(pid_t pid, const Words& marks) {
    std::map<std::string, std::size_t> found;
    std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
    std::ifstream memory("/proc/" + std::to_string(pid) + "/mem", std::ios::binary);
    REQUIRE(maps);
    REQUIRE(memory);
    std::string line;
    std::size_t read = 0;
    while (std::getline(maps, line)) {
        std::size_t from = 0;
        std::size_t to = 0;
        char rights[5] = {};
        if (std::sscanf(line.c_str(), "%zx-%zx %4s", &from, &to, rights) != 3) continue;
        if (rights[0] != 'r' || rights[1] != 'w') continue;
        std::string bytes(to - from, '\0');
        memory.clear();
        memory.seekg(static_cast<std::streamoff>(from));
        memory.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(0, memory.gcount())));
        read += bytes.size();
        for (const std::string& mark : marks)
            for (std::size_t at = bytes.find(mark); at != std::string::npos;
                 at = bytes.find(mark, at + 1))
                ++found[mark];
    }
    REQUIRE(read > (1u << 20));
    return found;
}

/// What a double looks like in a message.
std::string wire_of(double value) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    std::string out(8, '\0');
    for (std::size_t i = 0; i < 8; ++i)
        out[i] = static_cast<char>(static_cast<unsigned char>(bits >> (56 - 8 * i)));
    return out;
}

// -- what only parties may read ----------------------------------------------------------

const std::string secret_salt = "SALT-OF-THE-AGREED-TEXT-71c9";
const std::string secret_line = "a log line of member-0: 5d1c";
/// A number of the table travels so, as scores and residuals.
const std::string number_mark =
    "\x93\xa3"
    "f64\x92";

/// A training that goes on until it is stopped, commits every 150 steps, and has a salt.
const Words salted{"--verbose",
                   "--set",
                   "data.id_salt=" + secret_salt,
                   "--set",
                   "model.solver=sgd",
                   "--set",
                   "output.share_log=all",
                   "--set",
                   "model.epochs=20000",
                   "--set",
                   "bus.commit_steps=150",
                   "--set",
                   "bus.commit_interval=0"};

/// Among the lines of member-0 about the run; who starts parties by hand says where those go.
void leave_log_line(const TempDir& dir) {
    const fs::path log = fs::path(dir / "runs") / run_id / "member-0" / "log";
    fs::create_directories(log.parent_path());
    spit(log, "2026-01-01T00:00:00.000Z info node=member-0 " + secret_line + "\n");
}

double number_behind(const std::string& text, const std::string& word) {
    const std::size_t at = text.find(word);
    REQUIRE(at != std::string::npos);
    return std::strtod(text.c_str() + at + word.size(), nullptr);
}

}  // namespace

TEST_CASE("whoever records the broker's traffic finds nothing of what parties say", "[keys]") {
    for (const bool keys : {false, true}) {
        INFO((keys ? "with keys" : "in the clear"));
        const TempDir dir;
        make_example(dir);
        KeyedBus bus(dir);
        std::unique_ptr<Process> clear;
        std::string endpoint = bus.endpoint;
        if (!keys) {
            clear = std::make_unique<Process>(dir, Words{"broker", "--bind", "tcp://127.0.0.1:0"});
            endpoint = first_endpoint(*clear);
        }
        Proxy proxy(endpoint);
        // the loss is one of the metrics
        proxy.watch_for({secret_salt, secret_line, number_mark, "\"loss\""});
        const auto words = [&](const std::string& who, const Words& more) {
            Words all{"--broker", proxy.endpoint()};
            if (keys) all = with(all, {"--certificates", bus.keys_of(who)});
            return with(more, all);
        };
        const Words settings =
            with({"--config", "run.toml", "--set", "output.runs_dir=" + dir / "runs"}, salted);
        const auto member = [&](const std::string& rank) {
            return words("member-" + rank,
                         with({"actor", "--role", "member", "--rank", rank, "--once"}, settings));
        };
        Process zero(dir, member("0"));
        Process one(dir, member("1"));
        Process master(dir, words("master", with({"actor", "--role", "master", "--run-id", run_id},
                                                 settings)));
        INFO(master.err());
        CHECK(commits_beyond(master, fs::path(dir / "runs") / run_id, 300));
        leave_log_line(dir);
        const Finished logs = run(dir, words("master", {"run", "logs", run_id}));
        INFO(logs.err);
        CHECK(logs.exit_code == 0);
        CHECK(logs.out.find(secret_line) != std::string::npos);
        const Finished shown = run(dir, words("master", {"run", "show", run_id, "--json"}));
        INFO(shown.err);
        CHECK(shown.exit_code == 0);
        master.signal(SIGINT);
        master.wait();
        const auto seen = proxy.seen();
        CHECK(proxy.bytes(Direction::out) > 100'000);
        if (keys) {
            CHECK(seen.empty());
        } else {
            CHECK(seen.count(secret_salt) == 1);
            CHECK(seen.count(secret_line) == 1);
            CHECK(seen.size() >= 3);
        }
    }
}

TEST_CASE("the broker's memory has nothing of what parties say", "[keys]") {
    // (Meson has freed memory written over; here it is to keep what it held)
    ::unsetenv("MALLOC_PERTURB_");
    for (const bool sealed : {false, true}) {
        INFO((sealed ? "sealed" : "not sealed"));
        const TempDir dir;
        make_example(dir);
        KeyedBus bus(dir);
        const std::string seal = std::string("bus.seal=") + (sealed ? "auto" : "off");
        // honest: numbers that can be looked for
        const Words more = with({"--set", seal, "--set", "run.protocol=honest"}, salted);
        Process zero(dir, bus.actor("member-0", more));
        Process one(dir, bus.actor("member-1", more));
        Process master(dir, bus.actor("master", more));
        INFO(bus.broker->err());
        CHECK(commits_beyond(master, fs::path(dir / "runs") / run_id, 300));
        const Words ask{"--broker", bus.endpoint, "--certificates", bus.keys_of("master"),
                        "--set",    seal};
        leave_log_line(dir);
        const Words marks{secret_salt, secret_line, number_mark, "the loss that was told"};
        std::map<std::string, std::size_t> found;
        // what passes through leaves its place to what comes next: each look is at an answer that
        // came just now, and in the clear there are looks until it was seen
        const auto all_seen = [&] {
            return std::ranges::all_of(marks, [&](const auto& mark) { return found[mark] > 0; });
        };
        for (int look = 0; look < 3 || (!sealed && look < 300 && !all_seen()); ++look) {
            const Finished logs = run(dir, with({"run", "logs", run_id}, ask));
            INFO(logs.err);
            CHECK(logs.exit_code == 0);
            CHECK(logs.out.find(secret_line) != std::string::npos);
            const Finished shown = run(dir, with({"run", "show", run_id, "--json"}, ask));
            INFO(shown.err);
            INFO(shown.out);
            CHECK(shown.exit_code == 0);
            Words now = marks;
            now.back() = wire_of(number_behind(shown.out, "\"loss\":"));
            auto seen = marks_in_memory(bus.broker->pid(), now);
            seen[marks.back()] = seen[now.back()];
            for (const std::string& mark : marks) found[mark] += seen[mark];
        }
        for (const std::string& mark : marks) {
            INFO("mark " << (&mark - marks.data()) << " of 4");
            if (sealed)
                CHECK(found[mark] == 0);
            else
                CHECK(found[mark] > 0);
        }
        master.signal(SIGINT);
        master.wait();
    }
}

TEST_CASE("a policy goes by the key that the owner has shown, and so does known-parties",
          "[keys]") {
    const TempDir dir;
    make_example(dir);
    KeyedBus bus(dir);
    const Finished shown = run(dir, {"keys", "fingerprint", bus.keys_of("master") + "/master.pub"});
    REQUIRE(shown.exit_code == 0);
    const std::string right = shown.out.substr(0, shown.out.find('\n'));
    const std::string wrong = "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA";
    const auto train = [&](const std::string& fingerprint, const Words& more = {}) {
        fs::remove_all(dir / "runs");
        spit(dir / "policy.toml",
             "[ours]\nowners = [\"master\"]\nfingerprints = [\"" + fingerprint + "\"]\n");
        Process zero(dir, bus.actor("member-0", with({"--policy", "policy.toml"}, more)));
        Process one(dir, bus.actor("member-1", more));
        Process master(dir, bus.actor("master", more));
        Finished done = master.wait();
        done.err += zero.wait().err;
        return done;
    };
    const Finished good = train(right);
    INFO(good.err);
    CHECK(good.exit_code == 0);
    CHECK(good.err.find("first seen: master with the key " + right) != std::string::npos);
    const Finished bad = train(wrong);
    INFO(bad.err);
    CHECK(bad.exit_code == 5);
    CHECK(bad.err.find("fingerprints") != std::string::npos);
    // without sealing nobody has shown a key
    const Finished none = train(right, {"--set", "bus.seal=off"});
    CHECK(none.exit_code == 5);
    CHECK(none.err.find("fingerprints") != std::string::npos);
    // another key than the one that is known is refused by name, with what to do
    spit(bus.keys_of("member-0") + "/known-parties", "master " + wrong + "\n");
    const Finished other = train(right);
    INFO(other.err);
    CHECK(other.exit_code == 5);
    CHECK(other.err.find("master shows the key " + right) != std::string::npos);
    CHECK(other.err.find("known-parties has " + wrong) != std::string::npos);
    // with bus.first_use = refuse a key that is not known yet is none
    fs::remove(bus.keys_of("member-0") + "/known-parties");
    const Words strict{"--set", "bus.first_use=refuse"};
    const Finished unknown = train(right, strict);
    INFO(unknown.err);
    CHECK(unknown.exit_code == 5);
    CHECK(unknown.err.find("bus.first_use is \"refuse\"") != std::string::npos);
    CHECK_FALSE(fs::exists(bus.keys_of("member-0") + "/known-parties"));
    spit(bus.keys_of("member-0") + "/known-parties", "master " + right + "\n");
    CHECK(train(right, strict).exit_code == 0);
}

TEST_CASE("keys that submit share the queue of a master, which knows who has submitted what",
          "[keys]") {
    const TempDir dir;
    make_example(dir);
    KeyedBus bus(dir);
    for (const char* const who : {"alice", "bob"}) {
        bus.allow(who, {"--may", "submit"});
        // questions are answered to those alone whom the master knows
        fs::copy_file(fs::path(bus.keys_of(who)) / (std::string(who) + ".pub"),
                      fs::path(bus.keys_of("master")) / (std::string(who) + ".pub"));
    }
    // the run that goes on waits for members, of which there are none
    Process master(dir, {"actor", "--role", "master", "--serve", "--broker", bus.endpoint,
                         "--config", "run.toml", "--certificates", bus.keys_of("master"), "--set",
                         "output.runs_dir=" + dir / "runs", "--set", "bus.rendezvous_timeout=600",
                         "--set", "bus.submitted_at_once=1", "--set", "bus.submitted_max=2"});
    REQUIRE(bus.told("node up name=master "));
    const auto submit = [&](const std::string& who) {
        return run(dir, {"run", "submit", "--config", "run.toml", "--broker", bus.endpoint,
                         "--certificates", bus.keys_of(who)});
    };
    const auto taken = [&](const std::string& who) {
        const Finished done = submit(who);
        INFO(done.err << master.err());
        CHECK(done.exit_code == 0);
        return done.out.substr(0, 32);
    };
    taken("alice");  // goes on
    const std::string waits = taken("alice");
    const Finished refused = submit("alice");
    INFO(refused.err);
    CHECK(refused.exit_code != 0);
    CHECK(refused.err.find("1 run of alice waits already") != std::string::npos);
    const std::string of_bob = taken("bob");
    CHECK(master.err().find("by=alice") != std::string::npos);
    CHECK(master.err().find("by=bob") != std::string::npos);
    const std::string kept = slurp(dir / "runs/nodes/master/submitted.json");
    CHECK(kept.find(waits) < kept.find(of_bob));
    CHECK(kept.find("\"by\": \"bob\"") != std::string::npos);
    CHECK(bus.told("submission asked for run=" + of_bob.substr(0, 8) + " by=bob key="));
    master.signal(SIGTERM);
    CHECK(master.wait().exit_code == 0);
}

TEST_CASE("who submits hears why its run failed as the owner says it, or what its key lacks",
          "[keys]") {
    const TempDir dir;
    make_example(dir);
    KeyedBus bus(dir);
    for (const auto& [who, rights] :
         {std::pair("alice", "see,status,submit"), std::pair("bob", "submit")}) {
        bus.allow(who, {"--may", rights});
        fs::copy_file(fs::path(bus.keys_of(who)) / (std::string(who) + ".pub"),
                      fs::path(bus.keys_of("master")) / (std::string(who) + ".pub"));
    }
    // no member is there
    Process master(dir, {"actor", "--role", "master", "--serve", "--broker", bus.endpoint,
                         "--config", "run.toml", "--certificates", bus.keys_of("master"), "--set",
                         "output.runs_dir=" + dir / "runs", "--set", "bus.rendezvous_timeout=2"});
    REQUIRE(bus.told("node up name=master "));
    const auto submit = [&](const std::string& who) {
        return run(dir, {"run", "submit", "--config", "run.toml", "--broker", bus.endpoint,
                         "--certificates", bus.keys_of(who), "--wait", "--json"});
    };
    const Finished failed = submit("alice");
    INFO(failed.out << failed.err << master.err());
    CHECK(failed.exit_code == 4);
    const Json end = Json::parse(failed.out);
    REQUIRE(end.is_object());
    CHECK(end.at("reason").get<std::string>().find(
              "member-0 and member-1 did not join within 2.00 s") == 0);
    const Finished shown =
        run(dir, {"run", "show", end.at("run").at("run_id").get<std::string>(), "--broker",
                  bus.endpoint, "--certificates", bus.keys_of("alice")});
    INFO(shown.out << shown.err);
    CHECK(shown.out.find("member-0 and member-1 did not join") != std::string::npos);
    const Finished blind = submit("bob");
    INFO(blind.err);
    CHECK(blind.exit_code == 7);
    CHECK(blind.err.find("needs the right `see`") != std::string::npos);
    master.signal(SIGTERM);
    CHECK(master.wait().exit_code == 0);
}

TEST_CASE("a broker with keys and sockets alone has these where nobody else may enter", "[keys]") {
    const TempDir dir;
    REQUIRE(run(dir, {"keys", "new", "broker", "--certificates", dir / "keys"}).exit_code == 0);
    fs::create_directory(dir / "open");
    fs::permissions(dir / "open", fs::perms(0755));
    for (const std::string& address :
         {"ipc://" + dir / "open/bus",
          std::string("ipc://@vflbus-") + std::to_string(::getpid())}) {
        const Finished refused =
            run(dir, {"broker", "--bind", address, "--certificates", dir / "keys"});
        INFO(refused.err);
        CHECK(refused.exit_code == 2);
        CHECK(refused.err.find("cannot bind " + address) != std::string::npos);
    }
}
