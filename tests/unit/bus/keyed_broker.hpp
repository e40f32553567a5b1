#pragma once
// A broker with keys, by hand: who is on the allow-list, and whose key each connection has.

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker_fixture.hpp"
#include "bus/wire/questions.hpp"

namespace vflbus::bus {

/// The allow-list of the test, and the clock by which its keys expire.
class TestAccess final : public Access {
  public:
    void allow(const std::string& line) {
        std::vector<std::string> faults;
        AllowList more = AllowList::parse(line + " expires=2030-01-01", faults);
        REQUIRE(faults.empty());
        for (Allowed entry : more.entries()) entries[entry.fingerprint] = std::move(entry);
    }
    std::shared_ptr<const Allowed> entry(const std::string& fingerprint) const override {
        const auto found = entries.find(fingerprint);
        if (found == entries.end() || found->second.expires <= now) return nullptr;
        return std::make_shared<Allowed>(found->second);
    }
    std::map<std::string, Allowed> entries;
    Seconds now = 1'800'000'000;
};

/// Six groups of four, made of one letter.
inline std::string fingerprint(char letter) {
    std::string text;
    for (int i = 0; i < 6; ++i) text += (i == 0 ? "" : "-") + std::string(4, letter);
    return text;
}

class KeyedRouter final : public BrokerTransport {
  public:
    SendResult send(ConnId to, Frame& frame) override { return inner->send(to, frame); }
    void close(ConnId conn) override { inner->close(conn); }
    std::shared_ptr<const Identity> identity_of(ConnId conn) override {
        const auto found = keys.find(conn);
        return found == keys.end() ? nullptr : found->second;
    }
    FakeRouter* inner = nullptr;
    std::map<ConnId, std::shared_ptr<const Identity>> keys;
};

/// A broker with keys, at which these are on the list, and a run of master with member-0:
///
///     master          role=master
///     member-0        role=member rank=0
///     member-1        role=member rank=1
///     rival           role=master              another owner
///     alice           may=see,status,logs,stop,submit
///     bob             nothing but a key
///     apps            role=node               serves apps
///     member-0        a second key, 'Z', as while keys are exchanged
struct Keyed : BrokerFixture {
    explicit Keyed(Ledger* ledger = nullptr) {
        access.allow("master " + fingerprint('M') + " role=master");
        access.allow("member-0 " + fingerprint('A') + " role=member rank=0");
        access.allow("member-0 " + fingerprint('Z') + " role=member rank=0");
        access.allow("member-1 " + fingerprint('B') + " role=member rank=1");
        access.allow("rival " + fingerprint('R') + " role=master");
        access.allow("alice " + fingerprint('C') + " may=see,status,logs,stop,submit");
        access.allow("bob " + fingerprint('D'));
        access.allow("apps " + fingerprint('E') + " role=node");
        keyed.inner = &router;
        begin(ledger, {}, start);
    }

    void begin(Ledger* ledger, std::vector<ConductRow> conduct, TimePoint at) {
        BrokerConfig c = config();
        c.access = &access;
        c.ledger = ledger;
        c.log = [this](const std::string& line) { lines.push_back(line); };
        c.conduct = std::move(conduct);
        core.emplace(std::move(c), keyed, at);
        addressed = &*core;
    }
    /// The broker ends, and another one goes on from what it has noted.
    void restart() { begin(nullptr, core->held_against(), now); }

    /// The connection of that name has this key.
    void key(const std::string& connection, const std::string& name, char letter) {
        keyed.keys[conn(connection)] =
            std::make_shared<const Identity>(Identity{name, fingerprint(letter)});
    }
    void hello_on(const std::string& connection, const Hello& hello) {
        Header header;
        header.kind = Kind::hello;
        header.src = node_id_of(hello.name);
        frame(conn(connection), header, encode(hello));
    }
    static Hello as(const std::string& name, const std::string& role, std::int64_t rank = -1,
                    std::vector<std::string> features = {}, std::uint64_t instance = 7) {
        return {name, role, rank, 1, instance, "0.1.0", std::move(features)};
    }
    void enter(const std::string& name, char letter, const std::string& role,
               std::int64_t rank = -1, std::vector<std::string> features = {}) {
        key(name, name.substr(0, name.find("-0123")), letter);
        hello_on(name, as(name, role, rank, std::move(features)));
        (void)expect(Kind::welcome).to(name);
    }
    void tick(Duration by) {
        const TimePoint until = now + by;
        while (now < until) {
            now = std::min(until, now + Timings{}.check);
            core->on_tick(now);
        }
    }
    void ask(const std::string& from, const std::string& to, Question question, Bytes body,
             RunId run = run_of(1)) {
        Header header;
        header.kind = Kind::query;
        header.src = node_id_of(from);
        if (!to.empty()) header.dst = node_id_of(to);
        header.run = run;
        header.request = ++number;
        header.type = static_cast<std::uint16_t>(question);
        frame(conn(from), header, std::move(body));
    }
    void join_as(const std::string& name, const std::string& role, std::int64_t rank) {
        send(name, Kind::join, encode(Join{name, role, rank, 1, {}, "0.1.0", Errc::ok, ""}),
             run_of(1), 1);
    }
    void open_as(const std::string& owner, std::vector<Participant> participants,
                 RunId run = run_of(1), std::uint32_t term = 1) {
        send(owner, Kind::open, encode(Open{owner, std::move(participants), "agreed"}), run, term);
    }
    void note(const std::string& from, RunState state, RunId run) {
        NoteQuery said;
        said.state = state;
        said.code = state == RunState::stopped ? Errc::cancelled : Errc::ok;
        ask(from, "", Question::note, encode(said), run);
    }
    /// Everybody is there, and the run is on.
    void all_enter() {
        enter("master", 'M', "master");
        enter("member-0", 'A', "member", 0);
        enter("member-1", 'B', "member", 1);
        enter("rival", 'R', "master", -1, {"serve"});
        enter("alice-0123456789abcdef", 'C', "node", -1, {"asks"});
        enter("bob-0123456789abcdef", 'D', "node", -1, {"asks"});
        open("master", {"member-0"});
        join_as("member-0", "member", 0);
        router.frames.clear();
    }
    struct State {
        std::size_t nodes, runs;
        std::uint64_t routed;
        friend bool operator==(const State&, const State&) = default;
    };
    [[nodiscard]] State state() const {
        return {core->nodes(), core->runs(), core->counters().frames_routed};
    }
    [[nodiscard]] std::size_t told() const {
        return static_cast<std::size_t>(
            std::count_if(lines.begin(), lines.end(), [](const std::string& line) {
                return line.find("not allowed name=") != std::string::npos &&
                       line.find(" key=") != std::string::npos;
            }));
    }

    TestAccess access;
    KeyedRouter keyed;
    std::vector<std::string> lines;
    std::optional<BrokerCore> core;
    std::uint64_t number = 0;
};

}  // namespace vflbus::bus
