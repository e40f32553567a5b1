// What a key may do, asked each time that something is about to be done: docs/security.md.

#include <algorithm>
#include <iterator>

#include "base/text.hpp"
#include "bus/core/broker_state.hpp"

namespace vflbus::bus {
namespace {

bool drives_runs(const Hello& hello) {
    return hello.role == "master" || hello.role == "serverapp";
}

/// As what it wants to come in: "HELLO as member-1, role member of rank 1".
std::string hello_text(const Hello& hello) {
    return "HELLO as " + hello.name + ", role " + printable(hello.role) +
           (hello.rank < 0 ? std::string() : " of rank " + std::to_string(hello.rank));
}

/// Who asks takes part in nothing.
bool only_asks(const Hello& hello) {
    return lists(hello, feature_asks) && hello.features.size() == 1;
}

template <class Row, class Decoded, class Keep>
Bytes kept_rows(Decoded decoded, std::uint64_t limit, Keep&& keep) {
    std::vector<Row> kept;
    if (decoded)
        std::copy_if(std::make_move_iterator(decoded->begin()),
                     std::make_move_iterator(decoded->end()), std::back_inserter(kept), keep);
    if (kept.size() > limit) kept.resize(limit);
    return encode(std::span<const Row>(kept));
}

}  // namespace

/// Whether this broker has keys, and the connection is not one that needs none. One of which
/// nothing is known is asked like any other, and has nothing to show.
bool BrokerCore::asked_for_rights(const Identity* key) const noexcept {
    return config_.access != nullptr && (key == nullptr || !key->needs_no_key);
}
bool BrokerCore::asked_for_rights(const Node& node) const noexcept {
    return asked_for_rights(node.key.get());
}

/// " key=FINGERPRINT" for the log; nothing for a node without a key.
std::string BrokerCore::key_text(const Node& node) {
    return node.key == nullptr || node.key->needs_no_key ? "" : " key=" + node.key->fingerprint;
}

/// The entry of the key that the node has shown; null when there is none that counts now. Only of a
/// node that is asked for rights.
std::shared_ptr<const Allowed> BrokerCore::rights_of(const Node& node) const {
    if (node.key == nullptr) return nullptr;
    auto entry = config_.access->entry(node.key->fingerprint);
    return entry != nullptr && entry->name == node.key->name ? entry : nullptr;
}

/// Why a key does not come in as what HELLO says; empty when it does.
std::string BrokerCore::why_not_admitted(const Identity* key, const Hello& hello) const {
    if (!asked_for_rights(key)) return {};
    if (key == nullptr) return "this connection has shown no key";
    const auto entry = config_.access->entry(key->fingerprint);
    if (entry == nullptr || entry->name != key->name)
        return "the key of " + key->name + " is not allowed any more: it is revoked or has expired";
    if (!speaks_for(entry->name, hello.name))
        return "this is the key of " + entry->name + ", which cannot speak for " + hello.name;
    if (only_asks(hello) && hello.role == "node") return {};
    // a member without a rank that serves apps is a node to the list: no training names it
    const bool app_node = hello.role == "member" && hello.rank < 0 && lists(hello, feature_apps);
    const std::string role = app_node ? "node" : hello.role;
    if (!entry->has_role(role))
        return "the key of " + entry->name + " is not allowed as role " + printable(role);
    if (lists(hello, feature_serve) && hello.role != "master")
        return "only a master waits for submissions";
    if (role != "member") return {};
    if (hello.name != entry->name)
        return "a member is called as its key, " + entry->name + ", not " + hello.name;
    if (!entry->has_rank(hello.rank))
        return "the key of " + entry->name + " is not allowed as rank " +
               std::to_string(hello.rank);
    return {};
}

/// Looks at the key of a connection that says HELLO, or has waited for its name since it did.
/// False: it was refused, and told.
bool BrokerCore::admit(ConnId from, const Hello& hello, const Identity* key, TimePoint now) {
    const std::string why = why_not_admitted(key, hello);
    if (why.empty()) return true;
    not_allowed(key, hello_text(hello), now);
    refuse_hello(from, Errc::not_allowed, why);
    return false;
}

/// Counted, and named in the log. Only at a broker with keys.
void BrokerCore::not_allowed(const Identity* key, const std::string& tried, TimePoint now) {
    ++counters_.not_allowed;
    static const Identity nobody{"-", "-"};
    const Identity& who = key == nullptr ? nobody : *key;
    tell_refusal("not allowed name=" + who.name + " key=" + who.fingerprint + " tried: " + tried,
                 now);
}

/// Not without bound, as each of them is the choice of a peer.
void BrokerCore::tell_refusal(const std::string& line, TimePoint now) {
    if (const auto ending = refusals_told_.take(now)) log(line + *ending);
}

bool BrokerCore::may_open(const Node& node, TimePoint now) {
    if (!asked_for_rights(node)) return true;
    const auto entry = rights_of(node);
    if (entry != nullptr && drives_runs(node.hello) && entry->has_role(node.hello.role))
        return true;
    not_allowed(node.key.get(), "to open a run as " + node.hello.name, now);
    return false;
}

/// Whether the key has the role and the rank in which an owner names its node. An owner may name
/// anybody, so what it says gives nobody a right. A run that is open to all names nobody.
bool BrokerCore::may_take_part(const Node& node, const Run& run, const Participant& as) const {
    if (run.open_to_all || !asked_for_rights(node)) return true;
    const auto entry = rights_of(node);
    return entry != nullptr && !only_asks(node.hello) && entry->has_role(as.role) &&
           (as.role != "member" || entry->has_rank(as.rank));
}

/// Whether a node is told of a run that it is named in. The log says why it is not.
bool BrokerCore::may_invite(const Node& node, const Run& run, TimePoint now) {
    const Member* const member = run.find(node.id);
    if (member == nullptr || may_take_part(node, run, member->participant)) return true;
    tell_refusal("not invited name=" + node.hello.name + key_text(node) +
                     " run=" + run.id.short_hex() + ": its key is not allowed as " +
                     as_text(member->participant),
                 now);
    return false;
}

/// To everybody else a run is not there.
bool BrokerCore::may_know_of(const Node& node, const Run& run) const {
    return !asked_for_rights(node) || run.owner == node.id || run.find(node.id) != nullptr;
}

/// Whether a run that waits at a master, or has waited there, is this node's to open: that of the
/// master itself or of a process of it.
bool BrokerCore::drives_noted(const Node& node, const Noted& noted) const {
    if (!asked_for_rights(node) || noted.by == node.id) return true;
    const auto entry = rights_of(node);
    return entry != nullptr && speaks_for(entry->name, noted.by_name);
}

/// Whether a question may go where it is to go. What is asked of the broker itself is answered with
/// what the key may see. A question about a run names it, and only what this broker knows of that
/// run counts: who says that a run is its own has shown nothing.
bool BrokerCore::may_ask(const Node& node, const Header& query, TimePoint now) {
    if (!asked_for_rights(node) || query.dst == broker_node) return true;
    const auto question = static_cast<Question>(query.type);
    const auto entry = rights_of(node);
    bool may = false;
    if (entry != nullptr) {
        const auto target = nodes_.find(query.dst);
        const auto found = runs_.find(query.run);
        Run* const run = found == runs_.end() ? nullptr : found->second.get();
        const bool own_node =
            target != nodes_.end() && speaks_for(entry->name, target->second->hello.name);
        const bool drives = run != nullptr && speaks_for(entry->name, run->owner_name);
        const bool takes_part = run != nullptr && run->find(node_id_of(entry->name)) != nullptr;
        switch (question) {
            case Question::submit:
                may = own_node || entry->may(Right::submit);
                break;
            case Question::stop:
                may = own_node || entry->may(Right::stop);
                break;
            case Question::status:
            case Question::metrics:
            case Question::configuration:
                may = own_node || entry->may(Right::status) ||
                      (takes_part && run->owner == query.dst);
                break;
            case Question::log:
                may = own_node || entry->may(Right::logs) || (drives && run->takes_part(query.dst));
                break;
            case Question::key:  // before any of these
                may = own_node || entry->may(Right::submit) || entry->may(Right::stop) ||
                      entry->may(Right::status) || entry->may(Right::logs) ||
                      (takes_part && run->owner == query.dst) ||
                      (drives && run->takes_part(query.dst));
                break;
            case Question::terms:
                may = run != nullptr && run->owner == query.dst && may_know_of(node, *run);
                break;
            default:
                break;
        }
    }
    const std::string what =
        "question " + std::to_string(query.type) + " about run " + query.run.short_hex();
    if (!may) {
        not_allowed(node.key.get(), what, now);
        return false;
    }
    if (question == Question::stop || question == Question::submit)
        log(std::string(question == Question::stop ? "stop" : "submission") + " asked for run=" +
            query.run.short_hex() + " by=" + node.key->name + " key=" + node.key->fingerprint);
    return true;
}

bool BrokerCore::sees_all(const Node& node) const {
    if (!asked_for_rights(node)) return true;
    const auto entry = rights_of(node);
    return entry != nullptr && entry->may(Right::see);
}

/// Leaves of the rows of an answer those that the key may see: runs that it drives or takes part
/// in, itself, and who is with it in a run.
void BrokerCore::leave_visible(const Node& node, Question question, std::uint64_t limit,
                               Bytes& rows) const {
    if (sees_all(node)) return;
    const auto entry = rights_of(node);
    const std::string name = entry == nullptr ? std::string() : entry->name;
    if (question != Question::nodes) {
        rows = kept_rows<RunRow>(decode_run_rows(rows), limit, [&](const RunRow& row) {
            return !name.empty() &&
                   (speaks_for(name, row.owner) ||
                    std::find(row.names.begin(), row.names.end(), name) != row.names.end());
        });
        return;
    }
    std::set<NodeId> with_it;
    for (const auto& [id, other] : nodes_) {
        if (name.empty() || !speaks_for(name, other->hello.name)) continue;
        for (const RunId& run_id : other->runs) {
            const Run& run = *runs_.at(run_id);
            with_it.insert(run.owner);
            if (run.open_to_all && run.owner != id) continue;  // it hears of the owner alone
            for (const Member& member : run.members) with_it.insert(member.id);
        }
    }
    rows = kept_rows<NodeRow>(decode_node_rows(rows), limit, [&](const NodeRow& row) {
        if (name.empty()) return false;
        if (speaks_for(name, row.name) || with_it.count(node_id_of(row.name)) != 0) return true;
        const bool serves = std::find(row.features.begin(), row.features.end(), feature_serve) !=
                            row.features.end();
        return serves && entry->may(Right::submit);
    });
}

// -- keys that count no longer -------------------------------------------------------

void BrokerCore::on_access_changed(TimePoint clock) {
    end_revoked(awake(clock));
}

void BrokerCore::end_revoked(TimePoint now) {
    for (const ConnId conn : std::exchange(ended_, {})) {
        const auto found = connections_.find(conn);
        if (found == connections_.end() || found->second.node != nullptr) continue;
        connections_.erase(found);
        if (anonymous_ > 0) --anonymous_;
        transport_.close(conn);
    }
    if (config_.access == nullptr) return;
    std::vector<std::pair<NodeId, std::string>> over;
    for (const auto& [id, node] : nodes_) {
        if (node->conn == 0) continue;
        if (std::string why = why_not_admitted(node->key.get(), node->hello); !why.empty())
            over.emplace_back(id, std::move(why));
    }
    for (const auto& [id, why] : over) {
        const auto found = nodes_.find(id);
        if (found != nodes_.end() && found->second->conn != 0)
            end_session(*found->second, why, now);
    }
}

/// Its connections stay for a moment as those of a stranger, to whom nothing is answered but why.
void BrokerCore::end_session(Node& node, const std::string& why, TimePoint now) {
    log("session ended name=" + node.hello.name + key_text(node) + ": " + why);
    Header bye;
    bye.kind = Kind::bye;
    bye.aux = static_cast<std::uint64_t>(Errc::not_allowed);
    send_raw(node.conn, bye, encode_sentence(why));
    for (const ConnId conn : {node.conn, node.bulk.conn})
        if (conn != 0) ended_.push_back(conn);
    leave(node, Errc::not_allowed, now);
}

}  // namespace vflbus::bus
