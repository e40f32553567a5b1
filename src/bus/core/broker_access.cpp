// What a key may do, asked each time that something is about to be done: docs/security.md.

#include <algorithm>
#include <iterator>

#include "base/planted.hpp"
#include "base/text.hpp"
#include "bus/core/broker_state.hpp"

namespace vflbus::bus {
namespace {

/// What a node asks for with HELLO: "HELLO as member-1, role member of rank 1".
std::string hello_text(const Hello& hello) {
    return "HELLO as " + hello.name + ", role " + printable(hello.role) +
           (hello.rank < 0 ? std::string() : " of rank " + std::to_string(hello.rank));
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

/// Whether this broker has keys, and the node's connection is not one that needs none.
bool BrokerCore::asked_for_rights(const Node& node) const noexcept {
    return rights_.asks(node.key.get());
}

/// " key=FINGERPRINT" for the log; nothing where there is no key.
std::string BrokerCore::key_text(const Identity* key) {
    return has_key(key) ? " key=" + key->fingerprint : "";
}

/// Looks at the key of a connection that says HELLO, or has waited for its name since it did.
/// False: it was refused, and told.
bool BrokerCore::admit(ConnId from, const Hello& hello, const Identity* key, TimePoint now) {
    const std::string why = rights_.why_not_admitted(key, hello);
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

/// Writes the line to the log, if there were not too many of them: peers cause them at will.
void BrokerCore::tell_refusal(const std::string& line, TimePoint now) {
    if (const auto ending = refusals_told_.take(now)) log(line + *ending);
}

bool BrokerCore::may_open(const Node& node, TimePoint now) {
    if (rights_.may_open(node.key.get(), node.hello)) return true;
    not_allowed(node.key.get(), "to open a run as " + node.hello.name, now);
    return false;
}

/// Whether the key has the role and the rank in which an owner names its node. An owner may name
/// anybody, so what it says gives nobody a right. A run that is open to all names nobody.
bool BrokerCore::may_take_part(const Node& node, const Run& run, const Participant& as) const {
    return run.open_to_all || rights_.may_take_part(node.key.get(), node.hello, as);
}

/// Whether a node is told of a run that it is named in. The log says why it is not.
bool BrokerCore::may_invite(const Node& node, const Run& run, TimePoint now) {
    const Member* const member = run.find(node.id);
    if (member == nullptr || may_take_part(node, run, member->participant)) return true;
    tell_refusal("not invited name=" + node.hello.name + key_text(node.key.get()) +
                     " run=" + run.id.short_hex() + ": its key is not allowed as " +
                     as_text(member->participant),
                 now);
    return false;
}

/// At a broker with keys, a run is unknown to all nodes that are not in it.
bool BrokerCore::may_know_of(const Node& node, const Run& run) const {
    return !asked_for_rights(node) || run.owner == node.id || run.find(node.id) != nullptr;
}

/// Whether a run that waits at a master is this node's to open: that of the master itself or of a
/// process of it.
bool BrokerCore::drives_waiting(const Node& node, const WaitingRun& waiting) const {
    return waiting.by == node.id || rights_.speaks_as(node.key.get(), waiting.by_name);
}

/// Whether a question may go where it is to go. What is asked of the broker itself is answered with
/// what the key may see. A question about a run names it, and only what this broker knows of that
/// run counts: who says that a run is its own has shown nothing.
bool BrokerCore::may_ask(const Node& node, const Header& query, TimePoint now) {
    if (!asked_for_rights(node) || query.dst == broker_node) return true;
    const Identity* const key = node.key.get();
    const auto question = static_cast<Question>(query.type);
    AskedAbout about;
    about.question = question;
    if (const auto target = nodes_.find(query.dst); target != nodes_.end())
        about.own_node = rights_.speaks_as(key, target->second->hello.name);
    if (const Run* const run = runs_.find(query.run)) {
        about.takes_part = key != nullptr && run->find(node_id_of(key->name)) != nullptr;
        about.drives = rights_.speaks_as(key, run->owner_name);
        about.asks_owner = run->owner == query.dst;
        about.asks_member = run->takes_part(query.dst);
        about.asker_in_run = may_know_of(node, *run);
    }
    const bool may = rights_.may_ask(key, about);
    const std::string what =
        "question " + std::to_string(query.type) + " about run " + query.run.short_hex();
    if (!may && !VFLBUS_PLANTED(right_not_checked)) {
        not_allowed(node.key.get(), what, now);
        return false;
    }
    if (question == Question::stop || question == Question::submit)
        log(std::string(question == Question::stop ? "stop" : "submission") + " asked for run=" +
            query.run.short_hex() + " by=" + node.key->name + " key=" + node.key->fingerprint);
    return true;
}

/// Leaves of the rows of an answer those that the key may see: runs that it drives or takes part
/// in, itself, and who is with it in a run.
void BrokerCore::leave_visible(const Node& node, Question question, std::uint64_t limit,
                               Bytes& rows) const {
    if (rights_.sees_all(node.key.get())) return;
    const auto entry = rights_.entry(node.key.get());
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
        for (const RunId& run_id : runs_.runs_of(id)) {
            const Run& run = runs_.at(run_id);
            with_it.insert(run.owner);
            if (run.open_to_all && run.owner != id) continue;  // it hears of the owner alone
            for (const Member& member : run.members()) with_it.insert(member.id);
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
        const Connection* const connection = connections_.find(conn);
        if (connection == nullptr || connection->node != nullptr) continue;
        connections_.forget(conn);
        transport_.close(conn);
    }
    if (config_.access == nullptr || VFLBUS_PLANTED(revoked_still_heard)) return;
    std::vector<std::pair<NodeId, std::string>> over;
    for (const auto& [id, node] : nodes_) {
        if (node->conn == 0) continue;
        if (std::string why = rights_.why_not_admitted(node->key.get(), node->hello); !why.empty())
            over.emplace_back(id, std::move(why));
    }
    for (const auto& [id, why] : over) {
        const auto found = nodes_.find(id);
        if (found != nodes_.end() && found->second->conn != 0)
            end_session(*found->second, why, now);
    }
}

/// Its connections are strangers' until the next look, so that it still gets the reason.
void BrokerCore::end_session(Node& node, const std::string& why, TimePoint now) {
    log("session ended name=" + node.hello.name + key_text(node.key.get()) + ": " + why);
    Header bye;
    bye.kind = Kind::bye;
    bye.aux = static_cast<std::uint64_t>(Errc::not_allowed);
    send_raw(node.conn, bye, encode_sentence(why));
    for (const ConnId conn : {node.conn, node.bulk.conn})
        if (conn != 0) ended_.push_back(conn);
    leave(node, Errc::not_allowed, now);
}

}  // namespace vflbus::bus
