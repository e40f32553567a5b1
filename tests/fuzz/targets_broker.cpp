// A whole broker that hears what an input says: any frames on any connections, cut connections and
// time that passes. What it sends must obey the rules of its kinds, and what it keeps its bounds.

#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "bus/core/broker_core.hpp"
#include "script.hpp"
#include "seeds.hpp"

namespace vflbus::fuzz {
namespace of_broker {
namespace {

using namespace vflbus::bus;

constexpr std::size_t connections = 4;
constexpr auto& names = node_names;
/// Small, so that an input of a few hundred bytes reaches its bounds.
constexpr std::uint64_t kept_bytes = 4096;

class Router final : public BrokerTransport {
  public:
    SendResult send(ConnId to, Frame& frame) override {
        if (gone.count(to) != 0) return SendResult::gone;
        if (full.count(to) != 0) return SendResult::full;
        const Frame taken = std::move(frame);
        Header header;
        require(decode(taken.header.bytes(), header) == HeaderFault::none,
                "the broker sends what is no header");
        require(valid(header, taken.body.size()),
                "the broker sends what breaks the rules of its kind");
        return SendResult::ok;
    }
    void close(ConnId conn) override { gone.insert(conn); }

    std::shared_ptr<const Identity> identity_of(ConnId conn) override {
        const auto found = identities.find(conn);
        return found == identities.end() ? nullptr : found->second;
    }

    std::set<ConnId> gone;
    std::set<ConnId> full;
    std::map<ConnId, std::shared_ptr<const Identity>> identities;
};

/// The keys of the four connections: those of the three nodes, and one that may do nothing. They
/// are made once.
struct KeyRing {
    KeyRing() {
        for (std::size_t i = 0; i < connections; ++i) {
            auto entry = std::make_shared<Allowed>();
            entry->name = i < names.size() ? std::string(names[i]) : "alice";
            entry->fingerprint = "KEY-" + std::to_string(i);
            if (i < names.size()) entry->roles = {i == 0 ? "master" : "member"};
            identities[i] =
                std::make_shared<const Identity>(Identity{entry->name, entry->fingerprint});
            entries[i] = std::move(entry);
        }
    }
    std::array<std::shared_ptr<const Allowed>, connections> entries;
    std::array<std::shared_ptr<const Identity>, connections> identities;
};

/// A list of these keys, which changes while the broker runs.
class Keys final : public Access {
  public:
    std::shared_ptr<const Allowed> entry(const std::string& fingerprint) const override {
        for (std::size_t i = 0; i < connections; ++i)
            if (allowed_[i] && ring().entries[i]->fingerprint == fingerprint)
                return ring().entries[i];
        return nullptr;
    }
    /// Revokes the key, or allows it again.
    void change(std::size_t key) { allowed_[key] = !allowed_[key]; }
    [[nodiscard]] bool allows(std::string_view name) const {
        for (std::size_t i = 0; i < connections; ++i)
            if (ring().entries[i]->name == name) return allowed_[i];
        return false;
    }
    [[nodiscard]] static const std::shared_ptr<const Identity>& identity(std::size_t key) {
        return ring().identities[key];
    }

  private:
    static const KeyRing& ring() {
        static const KeyRing all;
        return all;
    }
    std::array<bool, connections> allowed_{true, true, true, true};
};

enum class With : std::uint8_t { nothing, keys };

class Room {
  public:
    explicit Room(With with) : with_keys_(with == With::keys), broker_(config(), router_, now_) {
        for (std::size_t i = 0; i < connections; ++i) connect(i);
    }

    /// Whether a run was opened.
    bool play(Script script) {
        bool ran = false;
        for (int step = 0; step < 200 && !script.over(); ++step) {
            act(script);
            ran = ran || broker_.runs() > 0;
            check();
        }
        broker_.shutdown("over");
        return ran;
    }

  private:
    BrokerConfig config() {
        BrokerConfig c;
        c.version = "0.1.0";
        if (with_keys_) {
            c.access = &keys_;
            c.log = [this](const std::string& line) { look_at(line); };
        }
        c.limits.runs = 3;
        c.limits.nodes = 3;
        c.limits.kept_of_one = kept_bytes;
        c.limits.kept_opens = 2 * kept_bytes;
        return c;
    }

    /// The connection of a key, and of whoever has it.
    void connect(std::size_t key) {
        conns_[key] = ++last_conn_;
        if (with_keys_) router_.identities[last_conn_] = Keys::identity(key);
    }

    /// What the broker says it has let happen was allowed at that moment.
    void look_at(std::string_view line) const {
        const auto behind = [line](std::string_view word) {
            const std::size_t at = line.find(word);
            if (at == std::string_view::npos) return std::string_view{};
            const std::string_view rest = line.substr(at + word.size());
            return rest.substr(0, rest.find(' '));
        };
        if (line.starts_with("node up "))
            require(keys_.allows(behind("name=")), "a node is up whose key is not allowed");
        if (line.starts_with("run opened "))
            require(behind("owner=") == "master" && keys_.allows("master"),
                    "a run is opened by somebody without the right to it");
    }

    void act(Script& script) {
        const std::uint8_t what = script.byte();
        const std::size_t key = script.byte() % connections;
        const ConnId conn = conns_[key];
        switch (what % 8) {
            case 0:
                now_ += std::chrono::milliseconds(std::uint64_t{script.byte()} * 40);
                broker_.on_tick(now_);
                break;
            case 1:
                router_.gone.insert(conn);
                broker_.on_disconnected(conn, now_);
                connect(key);
                break;
            case 2:
                if (!router_.full.insert(conn).second) router_.full.erase(conn);
                broker_.on_tick(now_);
                break;
            case 3:
                hello(conn, script);
                break;
            case 4:
                open(conn, script);
                break;
            case 5:
                join(conn, script);
                break;
            case 7:
                if (with_keys_) {
                    keys_.change(key);
                    broker_.on_access_changed(now_);
                    break;
                }
                [[fallthrough]];
            default: {
                AnyFrame frame = any_frame(script);
                say(conn, frame.header, std::move(frame.body));
                break;
            }
        }
    }

    void hello(ConnId conn, Script& script) {
        const std::size_t which = script.byte() % names.size();
        const std::string name{names[which]};
        Hello hello{name,
                    name == "master" ? "master" : "member",
                    name == "master"     ? -1
                    : name == "member-1" ? 1
                                         : 0,
                    script.byte() % 4u,
                    script.byte() % 4u,
                    "0.1.0",
                    {},
                    {}};
        if (script.byte() % 4 == 0) hello.features = {std::string(feature_apps)};
        say(conn, header_of(Kind::hello, which), encode(hello));
    }
    void open(ConnId conn, Script& script) {
        const std::size_t which = script.byte() % names.size();
        const std::string name{names[which]};
        Header header = header_of(Kind::open, which);
        header.run.bytes.fill(static_cast<std::uint8_t>(1 + script.byte() % 4));
        header.term = 1 + script.byte() % 3;
        Open open{name, {{"member-0", "member", 0}, {"member-1", "member", 1}}, {}, {}};
        if (script.byte() % 4 == 0) open.participants = {any_node};
        open.agreed.assign(std::size_t{script.byte()} * 16, 'a');
        say(conn, header, encode(open));
    }
    void join(ConnId conn, Script& script) {
        const std::size_t which = script.byte() % names.size();
        const std::string name{names[which]};
        Header header = header_of(Kind::join, which);
        header.run.bytes.fill(static_cast<std::uint8_t>(1 + script.byte() % 4));
        header.term = 1 + script.byte() % 3;
        header.dst = node_of(0);
        Join join{name, "member", name == "member-1" ? 1 : 0, 0, {}, "0.1.0", Errc::ok, {}, {}};
        if (script.byte() % 4 == 0) join.code = Errc::bad_data;
        join.sentence.assign(std::size_t{script.byte()} * 16, 's');
        say(conn, header, encode(join));
    }
    static Header header_of(Kind kind, std::size_t name) {
        Header header;
        header.kind = kind;
        header.src = node_of(name);
        header.request = 1;
        return header;
    }
    void say(ConnId conn, Header header, Bytes body) {
        if (router_.gone.count(conn) != 0) return;
        if (header.body_bytes == 0) header.body_bytes = body.size();
        const HeaderBytes bytes = encode(header);
        Payload part;
        const std::size_t frames = body.empty() ? 1 : 2;
        if (!body.empty()) part = Payload::hold(std::move(body));
        broker_.on_frame(conn, Payload::copy_of(bytes), std::move(part), frames, now_);
    }

    void check() const {
        require(broker_.nodes() <= 3, "more nodes than the broker may have");
        require(broker_.runs() <= 3, "more runs than the broker may have");
        require(broker_.kept_of_one_bytes() <= kept_bytes, "more is kept of a node than the limit");
        require(broker_.queued_bytes() <= 1u << 20, "more waits than anybody has sent");
    }

    bool with_keys_;
    Keys keys_;
    Router router_;
    TimePoint now_{std::chrono::hours(1)};
    BrokerCore broker_;
    std::array<ConnId, connections> conns_{};
    ConnId last_conn_ = 0;
};

bool try_broker(std::span<const std::uint8_t> input) {
    return Room(With::nothing).play(Script(input));
}
bool try_with_keys(std::span<const std::uint8_t> input) {
    return Room(With::keys).play(Script(input));
}

std::vector<Bytes> broker_seeds() {
    const Bytes all_join{3, 0, 0, 1, 1, 1,      // the master says HELLO
                         3, 1, 1, 1, 1, 1,      // member-0
                         3, 2, 2, 1, 1, 1,      // member-1
                         4, 0, 0, 0, 0, 1, 4,   // the master opens a run
                         5, 1, 1, 0, 0, 1, 0,   // member-0 joins it
                         5, 2, 2, 0, 0, 1, 0};  // member-1
    Bytes and_speak = all_join;
    // a REQUEST of the master to member-0 with four bytes, its reply, and time
    for (const std::uint8_t b : {6, 0, 9, 0, 0, 0, 1, 1, 1, 1, 0, 40, 0, 4, 1, 2, 3, 4, 0})
        and_speak.push_back(b);
    for (const std::uint8_t b : {6, 1, 10, 1, 0, 0, 1, 0, 1, 1, 0, 40, 0, 2, 1, 2, 0})
        and_speak.push_back(b);
    for (const std::uint8_t b : {0, 0, 200, 1, 1, 2, 2, 0, 0, 200}) and_speak.push_back(b);
    return {all_join, and_speak};
}

/// The same; and a member whose key is revoked and allowed again, and who comes back.
std::vector<Bytes> seeds_with_keys() {
    std::vector<Bytes> out = broker_seeds();
    out.push_back(out.front());
    for (const std::uint8_t b : {7, 1, 0, 1, 20, 7, 1, 1, 1, 3, 1, 1, 2, 2, 1})
        out.back().push_back(b);
    return out;
}

}  // namespace
}  // namespace of_broker

const Target broker_keys_target{"broker_keys", "a broker with keys, which may come and go",
                                of_broker::try_with_keys, of_broker::seeds_with_keys};
const Target broker_target{"broker", "a whole broker and all that is said to it",
                           of_broker::try_broker, of_broker::broker_seeds};

}  // namespace vflbus::fuzz
