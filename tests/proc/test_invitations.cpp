// Joining by invitation, over real sockets: docs/security.md, docs/protocol.md section 13.

#include <sys/stat.h>

#include <csignal>
#include <memory>

#include "catch.hpp"
#include "parties.hpp"

using namespace proc;

namespace {

/// A broker with keys that has just begun, and nobody on its list.
struct InvitingBroker {
    explicit InvitingBroker(const TempDir& in) : dir(in) {
        REQUIRE(vflbus({"keys", "new", "broker", "--certificates", keys()}).exit_code == 0);
        start("tcp://127.0.0.1:0");
    }
    void start(const std::string& bind) {
        broker = std::make_unique<Process>(
            dir, Words{"broker", "--bind", bind, "--certificates", keys()});
        endpoint = first_endpoint(*broker);
        REQUIRE_FALSE(endpoint.empty());
    }
    [[nodiscard]] std::string keys() const { return dir / "broker-keys"; }
    Finished vflbus(const Words& words) const { return run(dir, words); }
    std::string invite(const std::string& name, const Words& more) const {
        const Finished made = vflbus(
            with({"invite", "--name", name, "--certificates", keys(), "--broker", endpoint}, more));
        INFO(made.err);
        REQUIRE(made.exit_code == 0);
        CHECK(std::count(made.out.begin(), made.out.end(), '\n') == 1);
        return made.out.substr(0, made.out.find('\n'));
    }
    Finished join(const std::string& line, const std::string& party, const Words& more = {}) const {
        return vflbus(with({"join", line, "--certificates", dir / (party + "-keys"), "--config",
                            dir / (party + ".toml")},
                           more));
    }
    [[nodiscard]] std::string list() const { return slurp(keys() + "/allow-list"); }
    /// Where the key of whoever is invited by that name lies until the broker has it.
    [[nodiscard]] std::string staging(const std::string& name) const {
        const std::string text = list();
        const std::string word = name + " invitation ";
        return "joining-" + name + "-" + text.substr(text.find(word) + word.size(), 9);
    }
    /// Not even an empty directory.
    void nothing_of(const std::string& party) const {
        CHECK_FALSE(fs::exists(dir / (party + "-keys")));
        CHECK_FALSE(fs::exists(dir / (party + ".toml")));
    }

    const TempDir& dir;
    std::string endpoint;
    std::unique_ptr<Process> broker;
};

Words member_words(const std::string& rank) {
    return {"--role", "member", "--rank", rank};
}

}  // namespace

TEST_CASE("from invitations to a trained model", "[invitations]") {
    const TempDir dir;
    make_example(dir);
    const Finished plain = run(dir, {"launch", "--threads", "--config", "run.toml", "--run-id",
                                     run_id, "--set", "output.runs_dir=" + dir / "plain", "--set",
                                     "data.alignment=psi", "--set", "run.protocol=encrypted"});
    REQUIRE(plain.exit_code == 0);
    InvitingBroker bus(dir);
    const auto join = [&](const std::string& name, const Words& invited_as) {
        const std::string own = dir / (name + ".toml");
        fs::copy_file(dir / "run.toml", own);
        const Finished joined = bus.join(bus.invite(name, invited_as), name);
        INFO(joined.err);
        REQUIRE(joined.exit_code == 0);
        const std::string fingerprint = joined.out.substr(0, 29);
        CHECK(bus.broker->await_output("joined name=" + name + " key=" + fingerprint, true));
        CHECK(run(dir, {"members", "--certificates", bus.keys()}).out.find(fingerprint) !=
              std::string::npos);
        return Words{"--config", own, "--set", "output.runs_dir=" + dir / "runs"};
    };
    Process zero(dir, with({"actor", "--role", "member", "--rank", "0", "--once"},
                           join("member-0", member_words("0"))));
    Process one(dir, with({"actor", "--role", "member", "--rank", "1", "--once"},
                          join("member-1", member_words("1"))));
    Process master(dir, with({"actor", "--role", "master", "--run-id", run_id},
                             join("master", {"--role", "master"})));
    const Finished done = master.wait();
    INFO(done.err);
    REQUIRE(done.exit_code == 0);
    CHECK(zero.wait().exit_code == 0);
    CHECK(one.wait().exit_code == 0);
    CHECK(models(fs::path(dir / "runs") / run_id) == models(fs::path(dir / "plain") / run_id));
}

TEST_CASE("bad lines: one sentence each, and nothing is left at the party", "[invitations]") {
    const TempDir dir;
    InvitingBroker bus(dir);
    const std::string good = bus.invite("member-0", member_words("0"));
    const std::string before = bus.list();
    const auto refused = [&](const std::string& line, int code, const std::string& why) {
        const Finished joined = bus.join(line, "shop");
        INFO(joined.err);
        CHECK(joined.exit_code == code);
        CHECK(joined.out.empty());
        CHECK(std::count(joined.err.begin(), joined.err.end(), '\n') == 1);
        CHECK(joined.err.find(why) != std::string::npos);
        bus.nothing_of("shop");
        CHECK(bus.list() == before);
    };
    refused("nonsense", 2, "is no invitation");
    refused(replaced(good, "member-0", "member-1"), 2, "mistyped or cut");
    refused(good.substr(0, good.size() - 3), 2, "mistyped or cut");
    // whole, and of a broker that has not made it
    const TempDir elsewhere;
    REQUIRE(
        run(elsewhere, {"keys", "new", "broker", "--certificates", bus.keys() + "-2"}).exit_code ==
        0);
    fs::copy_file(bus.keys() + "/broker.pub", bus.keys() + "-2/broker.pub",
                  fs::copy_options::overwrite_existing);
    const Finished forged = run(dir, with({"invite", "--name", "member-0", "--certificates",
                                           bus.keys() + "-2", "--broker", bus.endpoint},
                                          member_words("0")));
    REQUIRE(forged.exit_code == 0);
    refused(forged.out, 7, "does not know this invitation");
    CHECK(bus.broker->await_output("not let in key=", true));
    // it was withdrawn
    const std::string second = bus.invite("member-1", member_words("1"));
    REQUIRE(
        run(dir, {"invite", "--withdraw", "member-1", "--certificates", bus.keys()}).exit_code ==
        0);
    CHECK(bus.list() == before);
    REQUIRE(run(dir, {"runs", "--broker", bus.endpoint, "--certificates", bus.keys()}).exit_code ==
            0);
    refused(second, 7, "does not know this invitation");
    // the good one still works, once
    CHECK(bus.join(good, "shop").exit_code == 0);
    const std::string after = bus.list();
    const Finished late = bus.join(good, "thief");
    CHECK(late.exit_code == 7);
    CHECK(late.err.find("used already, by the key") != std::string::npos);
    bus.nothing_of("thief");
    CHECK(bus.list() == after);
}

TEST_CASE("an answer that got lost: the same command again, with the same key", "[invitations]") {
    const TempDir dir;
    InvitingBroker bus(dir);
    const std::string line = bus.invite("member-0", member_words("0"));
    const Finished first = bus.join(line, "shop");
    REQUIRE(first.exit_code == 0);
    // as a party stands that was killed after it had said ENROL: its key lies aside
    const fs::path keys = dir / "shop-keys";
    const std::string list = bus.list();
    const fs::path aside = keys / bus.staging("member-0");
    fs::create_directory(aside);
    for (const char* file : {"member-0.key", "member-0.pub"}) fs::rename(keys / file, aside / file);
    fs::remove(keys / "member-0.joined");
    fs::remove(keys / "broker.pub");
    fs::remove(dir / "shop.toml");
    const Finished again = bus.join(line, "shop");
    INFO(again.err);
    REQUIRE(again.exit_code == 0);
    CHECK(again.out == first.out);
    CHECK(bus.list() == list);
    CHECK_FALSE(fs::exists(aside));
    CHECK(fs::exists(keys / "member-0.joined"));
    struct stat found{};
    REQUIRE(::stat((keys / "member-0.key").c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0600);
    CHECK(run(dir, {"runs", "--config", dir / "shop.toml"}).exit_code == 0);
    // and once more when all is done
    CHECK(bus.join(line, "shop").out == first.out);
    // nobody answers: no configuration, and the key stays for the next attempt
    const std::string other = bus.invite("member-1", member_words("1"));
    bus.broker->signal(SIGSTOP);
    Process waits(
        dir, {"join", other, "--certificates", dir / "late-keys", "--config", dir / "late.toml"});
    const Finished nobody = waits.wait();
    bus.broker->signal(SIGCONT);
    INFO(nobody.err);
    CHECK(nobody.exit_code == 4);
    CHECK(nobody.err.find("run the same command again") != std::string::npos);
    CHECK_FALSE(fs::exists(dir / "late.toml"));
    CHECK(bus.join(other, "late").exit_code == 0);
}

TEST_CASE("a new key for an old name, and one that was revoked stays out", "[invitations]") {
    const TempDir dir;
    InvitingBroker bus(dir);
    const Finished first = bus.join(bus.invite("member-0", member_words("0")), "shop");
    REQUIRE(first.exit_code == 0);
    const Finished twice = run(dir, with({"invite", "--name", "member-0", "--certificates",
                                          bus.keys(), "--broker", bus.endpoint},
                                         member_words("0")));
    CHECK(twice.exit_code == 2);
    CHECK(twice.err.find("--replace") != std::string::npos);
    const std::string line = bus.invite("member-0", with(member_words("0"), {"--replace"}));
    const Finished second = bus.join(line, "shop");
    INFO(second.err);
    REQUIRE(second.exit_code == 0);
    CHECK(second.out != first.out);
    const std::string members = run(dir, {"members", "--certificates", bus.keys()}).out;
    CHECK(members.find(first.out.substr(0, 29)) == std::string::npos);
    CHECK(members.find(second.out.substr(0, 29)) != std::string::npos);
    CHECK(fs::exists(fs::path(dir / "shop-keys") / "old"));
    REQUIRE(run(dir, {"revoke", "member-0", "--certificates", bus.keys()}).exit_code == 0);
    const Finished back = bus.join(line, "shop");
    CHECK(back.exit_code == 7);
}

TEST_CASE("the files of a key have the end that the broker has given it", "[invitations]") {
    const TempDir dir;
    InvitingBroker bus(dir);
    spit(dir / "shop.toml", "[data]\nid_salt = \"secret\"\n");
    fs::permissions(dir / "shop.toml", fs::perms::owner_read | fs::perms::owner_write);
    fs::create_directories(dir / "shop-keys/rotating-member-0");
    const std::string line =
        bus.invite("member-0", with(member_words("0"), {"--key-expires", "10d"}));
    const Finished joined = bus.join(line, "shop");
    INFO(joined.err);
    REQUIRE(joined.exit_code == 0);
    const std::size_t until = joined.err.find(", until ") + 8;
    const std::string end = joined.err.substr(until, joined.err.find(';', until) - until);
    for (const char* const file : {"member-0.pub", "member-0.key"})
        CHECK(slurp(dir / ("shop-keys/" + std::string(file))).find("expires " + end) !=
              std::string::npos);
    // who may read the configuration stays as it was, and no earlier rotation goes on
    CHECK(fs::status(dir / "shop.toml").permissions() ==
          (fs::perms::owner_read | fs::perms::owner_write));
    CHECK(slurp(dir / "shop.toml").find("id_salt = \"secret\"") != std::string::npos);
    CHECK_FALSE(fs::exists(dir / "shop-keys/rotating-member-0"));
    const Finished wrong = bus.join(bus.invite("member-1", member_words("1")), "other",
                                    {"--data", "shop.csv", "--label", "y"});
    CHECK(wrong.exit_code == 2);
    CHECK(wrong.err.find("only a master holds labels") != std::string::npos);
    bus.nothing_of("other");
}

TEST_CASE("a key is exchanged while its process runs, and the old one is revoked without harm",
          "[invitations]") {
    const TempDir dir;
    make_example(dir);
    InvitingBroker bus(dir);
    fs::copy_file(dir / "run.toml", dir / "shop.toml");
    const Finished joined = bus.join(bus.invite("member-0", member_words("0")), "shop");
    REQUIRE(joined.exit_code == 0);
    Process member(dir, {"actor", "--role", "member", "--rank", "0", "--config", dir / "shop.toml",
                         "--set", "output.runs_dir=" + dir / "runs"});
    const std::string old = joined.out.substr(0, 29);
    REQUIRE(bus.broker->await_output("node up name=member-0 role=member version=", true));
    const Finished rotated = run(dir, {"keys", "rotate", "--config", dir / "shop.toml"});
    INFO(rotated.err);
    REQUIRE(rotated.exit_code == 0);
    const std::string fresh = rotated.out.substr(0, 29);
    CHECK(fresh != old);
    CHECK(bus.broker->await_output("joined name=member-0 key=" + fresh, true));
    // it goes over by itself, and then the old key is nothing to it
    REQUIRE(bus.broker->await_output("key=" + fresh + " again=true", true));
    REQUIRE(
        run(dir, {"revoke", "member-0", "--key", old, "--certificates", bus.keys()}).exit_code ==
        0);
    const Finished old_key = run(dir, {"preflight", "--config", dir / "shop.toml", "--role",
                                       "member", "--rank", "0", "--json"});
    INFO(old_key.out);
    CHECK(old_key.exit_code == 0);
    CHECK(old_key.out.find(fresh) != std::string::npos);
    CHECK_FALSE(member.reap());
    const std::string nodes =
        run(dir, {"nodes", "--broker", bus.endpoint, "--certificates", bus.keys()}).out;
    CHECK(nodes.find("up") != std::string::npos);
    // the new one is what counts
    REQUIRE(run(dir, {"revoke", "member-0", "--certificates", bus.keys()}).exit_code == 0);
    CHECK(member.wait().exit_code == 7);
    const Finished gone = run(dir, {"keys", "rotate", "--config", dir / "shop.toml"});
    CHECK(gone.exit_code == 7);
}

namespace {

/// A party that has joined and exchanged its key, and can be put back to any moment of that.
struct Exchanged {
    explicit Exchanged(const TempDir& dir) : bus(dir), keys(dir / "shop-keys") {
        joined = bus.join(bus.invite("member-0", member_words("0")), "shop");
        REQUIRE(joined.exit_code == 0);
        old = joined.out.substr(0, 29);
        rotated = rotate();
        INFO(rotated.err);
        REQUIRE(rotated.exit_code == 0);
    }
    Finished rotate(const Words& more = {}) const {
        return bus.vflbus(with({"keys", "rotate", "--config", bus.dir / "shop.toml"}, more));
    }
    [[nodiscard]] fs::path aside() const { return keys / "rotating-member-0"; }
    [[nodiscard]] fs::path in_old() const {
        return keys / "old" / ("member-0-" + old.substr(0, 9));
    }
    /// The broker has the new key, and the party has not heard of it.
    void lose_answer() const {
        fs::create_directory(aside());
        for (const char* file : {"member-0.key", "member-0.pub"}) {
            fs::rename(keys / file, aside() / file);
            fs::rename(in_old() / file, keys / file);
        }
    }
    void stands() const {
        CHECK_FALSE(fs::exists(aside()));
        CHECK(slurp(keys / "member-0.key").find(field("public")) != std::string::npos);
        CHECK(
            bus.vflbus({"keys", "fingerprint", "member-0", "--certificates", keys.string()}).out ==
            rotated.out);
        CHECK(bus.vflbus({"runs", "--config", bus.dir / "shop.toml"}).exit_code == 0);
    }
    [[nodiscard]] std::string field(const std::string& word) const {
        const std::string text = slurp(keys / "member-0.pub");
        const std::size_t at = text.find(word);
        return text.substr(at, text.find('\n', at) - at);
    }
    void end_old() const {
        REQUIRE(bus.vflbus({"revoke", "member-0", "--key", old, "--certificates", bus.keys()})
                    .exit_code == 0);
        // so that the broker has surely read its list again
        REQUIRE(bus.vflbus({"runs", "--broker", bus.endpoint, "--certificates", bus.keys()})
                    .exit_code == 0);
    }

    InvitingBroker bus;
    fs::path keys;
    Finished joined;
    Finished rotated;
    std::string old;
};

}  // namespace

TEST_CASE("a new key that the broker may have is not thrown away", "[invitations]") {
    const TempDir dir;
    const Exchanged party(dir);
    CHECK(party.rotated.err.find("known-parties has this line too: member-0 " +
                                 party.rotated.out.substr(0, 29)) != std::string::npos);
    party.lose_answer();
    const Finished nowhere = party.rotate({"--broker", "tcp://no.such.host.invalid:7423"});
    CHECK(nowhere.exit_code == 7);
    CHECK(nowhere.err.find("run the same command again") != std::string::npos);
    CHECK(fs::exists(party.aside() / "member-0.key"));
    party.end_old();
    const Finished again = party.rotate();
    INFO(again.err);
    CHECK(again.exit_code == 0);
    CHECK(again.out == party.rotated.out);
    party.stands();
    // one that the broker has never heard of is not left lying about
    CHECK(party.rotate({"--broker", "tcp://no.such.host.invalid:7423"}).exit_code == 7);
    CHECK_FALSE(fs::exists(party.aside()));
}

TEST_CASE("killed anywhere in an exchange of keys, the same command goes on", "[invitations]") {
    const TempDir dir;
    const Exchanged party(dir);
    const auto goes_on = [&](const char* moment) {
        const Finished again = party.rotate();
        INFO(moment << ": " << again.err);
        CHECK(again.exit_code == 0);
        CHECK(again.out == party.rotated.out);
        party.stands();
    };
    party.lose_answer();
    fs::remove(party.aside() / "member-0.pub");
    goes_on("between the two files of the new key");
    party.lose_answer();
    fs::remove(party.keys / "member-0.pub");
    fs::rename(party.aside() / "member-0.pub", party.keys / "member-0.pub");
    goes_on("the new public key in its place, the secret not");
    party.lose_answer();
    fs::copy_file(party.keys / "member-0.key", party.in_old() / "member-0.key");
    fs::copy_file(party.keys / "member-0.pub", party.in_old() / "member-0.pub");
    fs::rename(party.aside() / "member-0.key", party.keys / "member-0.key");
    goes_on("the new secret in its place, the public key not");
}

TEST_CASE("a key that is exchanged stays with its owner", "[invitations]") {
    const TempDir dir;
    const InvitingBroker bus(dir);
    REQUIRE(bus.join(bus.invite("member-0", member_words("0")), "shop").exit_code == 0);
    const fs::path keys = dir / "shop-keys";
    const std::string secret = keys / "member-0.key";
    const std::string handed_out = keys / "member-0.pub";
    REQUIRE(::chmod(handed_out.c_str(), 0640) == 0);
    uid_t owner = ::geteuid();
    if (owner == 0) {  // a service's key, exchanged by root
        owner = 1234;
        for (const std::string& file : {keys.string(), secret, handed_out})
            REQUIRE(::chown(file.c_str(), owner, 4321) == 0);
    }
    const Finished rotated = bus.vflbus({"keys", "rotate", "--config", dir / "shop.toml"});
    INFO(rotated.err);
    REQUIRE(rotated.exit_code == 0);
    struct stat found{};
    REQUIRE(::stat(secret.c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0600);
    CHECK(found.st_uid == owner);
    REQUIRE(::stat(handed_out.c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0640);
    CHECK(found.st_uid == owner);
}

TEST_CASE("joining: a key that the broker may have is not thrown away", "[invitations]") {
    const TempDir dir;
    InvitingBroker bus(dir);
    const std::string line = bus.invite("member-0", member_words("0"));
    const Finished first = bus.join(line, "shop");
    REQUIRE(first.exit_code == 0);
    const fs::path keys = dir / "shop-keys";
    const fs::path aside = keys / bus.staging("member-0");
    // the answer got lost, half of the pair as well, and then the invitation has ended
    fs::create_directory(aside);
    fs::rename(keys / "member-0.key", aside / "member-0.key");
    for (const char* file : {"member-0.pub", "member-0.joined", "broker.pub"})
        fs::remove(keys / file);
    fs::remove(dir / "shop.toml");
    REQUIRE(
        bus.vflbus({"invite", "--withdraw", "member-0", "--certificates", bus.keys()}).exit_code ==
        0);
    REQUIRE(
        bus.vflbus({"runs", "--broker", bus.endpoint, "--certificates", bus.keys()}).exit_code ==
        0);
    const Finished again = bus.join(line, "shop");
    INFO(again.err);
    CHECK(again.exit_code == 0);
    CHECK(again.out == first.out);
    CHECK(bus.vflbus({"runs", "--config", dir / "shop.toml"}).exit_code == 0);
    // a name of a host that cannot be found for a moment
    const Finished elsewhere =
        bus.vflbus(with({"invite", "--name", "member-1", "--certificates", bus.keys(), "--broker",
                         "tcp://no.such.host.invalid:7423"},
                        member_words("1")));
    REQUIRE(elsewhere.exit_code == 0);
    const std::string staging = bus.staging("member-1");
    REQUIRE(
        bus.vflbus({"keys", "new", "member-1", "--certificates", dir / ("late-keys/" + staging)})
            .exit_code == 0);
    CHECK(bus.join(elsewhere.out, "late").exit_code == 7);
    CHECK(fs::exists(fs::path(dir / "late-keys") / staging / "member-1.key"));
    // and nothing is left when the broker cannot have heard of it
    CHECK(bus.join(elsewhere.out, "never").exit_code == 7);
    bus.nothing_of("never");
}

TEST_CASE("the name of the broker is no party's", "[invitations]") {
    const TempDir dir;
    const InvitingBroker bus(dir);
    const Finished invited = bus.vflbus(
        {"invite", "--name", "broker", "--certificates", bus.keys(), "--broker", bus.endpoint});
    CHECK(invited.exit_code == 2);
    CHECK(invited.err.find("the broker's own key") != std::string::npos);
    REQUIRE(bus.vflbus({"keys", "new", "alice", "--certificates", dir / "k"}).exit_code == 0);
    CHECK(
        bus.vflbus({"allow", "broker", "--key", dir / "k/alice.pub", "--certificates", bus.keys()})
            .exit_code == 2);
    // an invitation that nobody has used, and that is taken back by revoke
    bus.invite("member-6", member_words("6"));
    const Finished gone = bus.vflbus({"revoke", "member-6", "--certificates", bus.keys()});
    CHECK(gone.exit_code == 0);
    CHECK(gone.err.find("the invitation of member-6 is withdrawn") != std::string::npos);
    // what join says a master does next is a whole command
    const Finished master = bus.join(bus.invite("master", {"--role", "master"}), "bank");
    CHECK(master.err.find("--set run.world_size=2 --set model.task=logistic") != std::string::npos);
}

TEST_CASE("preflight says of each thing whether it is well, and what to do", "[invitations]") {
    const TempDir dir;
    make_example(dir);
    InvitingBroker bus(dir);
    fs::copy_file(dir / "run.toml", dir / "shop.toml");
    REQUIRE(bus.join(bus.invite("member-0", member_words("0")), "shop").exit_code == 0);
    const auto flight = [&](const Words& more, int code, const std::string& line) {
        const Finished done = run(dir, with({"preflight", "--config", dir / "shop.toml", "--role",
                                             "member", "--rank", "0"},
                                            more));
        INFO(done.out << done.err);
        CHECK(done.exit_code == code);
        CHECK(done.out.find(line) != std::string::npos);
    };
    flight({}, 0, "ok       session: the broker has the pinned key, and lets this one in");
    flight({}, 0, "ok       clock: ");
    flight({}, 0, "rows, ids unique");
    flight({}, 0, "warning  member-0 policy: none");
    flight({"--set", "party.member-0.data=nothing.csv"}, 3, "failed   member-0 table: ");
    flight({"--set", "party.member-0.policy=nothing.toml"}, 3, "failed   member-0 policy: ");
    flight({"--broker", "tcp://no.such.host.invalid:7423"}, 7, "failed   address: ");
    flight({"--broker", "tcp://127.0.0.1:1"}, 4, "failed   port: ");
    flight({"--set", "nonsense.key=1"}, 2, "failed   configuration: ");
    // with another key in the directory it is that of the party which counts, as for its process
    REQUIRE(bus.vflbus({"keys", "new", "alice", "--certificates", dir / "shop-keys"}).exit_code ==
            0);
    flight({}, 0, "ok       keys: member-0 ");
    flight({}, 0, "ok       session: the broker has the pinned key, and lets this one in");
    for (const char* file : {"alice.key", "alice.pub"}) fs::remove(dir / "shop-keys/" + file);
    // rows of one id
    const std::string table = slurp(dir / "data/telecom.csv");
    const std::size_t row = table.find('\n') + 1;
    spit(dir / "twice.csv", table + table.substr(row, table.find('\n', row) + 1 - row));
    flight({"--set", "party.member-0.data=" + dir / "twice.csv"}, 3, "failed   member-0 ids: ");
    // a secret that others may read, a broker that is another one, a key that is not let in
    const std::string key = dir / "shop-keys/member-0.key";
    ::chmod(key.c_str(), 0644);
    flight({}, 2, "failed   keys: ");
    ::chmod(key.c_str(), 0600);
    const std::string pinned = slurp(dir / "shop-keys/broker.pub");
    spit(dir / "shop-keys/broker.pub",
         replaced(slurp(dir / "shop-keys/member-0.pub"), "name member-0", "name broker"));
    flight({}, 4, "failed   session: ");
    spit(dir / "shop-keys/broker.pub", pinned);
    REQUIRE(run(dir, {"revoke", "member-0", "--certificates", bus.keys()}).exit_code == 0);
    // the broker reads its list again within a second
    int looks = 0;
    while (run(dir, {"runs", "--config", dir / "shop.toml"}).exit_code == 0 && ++looks < 1000) {
    }
    flight({}, 4, "does not let this key in");
}
