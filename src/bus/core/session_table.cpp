#include "bus/core/session_table.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::bus {

std::optional<SessionTable::Sender> SessionTable::sender_of(ConnId from, bool says_hello,
                                                            TimePoint now) {
    if (from == last_conn_ && last_.node != nullptr) return last_;
    Sender sender;
    auto found = connections_.find(from);
    if (found == connections_.end()) {
        sender.crowded = strangers_ >= anonymous_connections_max;
        if (sender.crowded && !says_hello) return std::nullopt;
        ++strangers_;
        found = connections_.emplace(from, Connection{nullptr, now}).first;
    }
    if (found->second.cut) return std::nullopt;
    sender.node = found->second.node;
    sender.lane = found->second.lane;
    if (sender.node != nullptr) {
        last_conn_ = from;
        last_ = sender;
    }
    return sender;
}

Connection* SessionTable::find(ConnId conn) noexcept {
    const auto found = connections_.find(conn);
    return found == connections_.end() ? nullptr : &found->second;
}

std::unique_ptr<UnderWay> SessionTable::claim(ConnId conn, BrokerNode& node, Lane lane,
                                              TimePoint now) {
    const auto [at, is_new] = connections_.try_emplace(conn, Connection{nullptr, now});
    Connection& connection = at->second;
    VFLBUS_ASSERT(connection.node == nullptr, "a connection is released before another claims it");
    if (!is_new) --strangers_;
    connection.node = &node;
    connection.lane = lane;
    connection.unheard_bytes = 0;
    last_conn_ = 0;
    last_ = {};
    return std::exchange(connection.under_way, nullptr);
}

bool SessionTable::release(ConnId conn, UnderWay under_way, TimePoint now) {
    Connection* const connection = find(conn);
    VFLBUS_ASSERT(connection != nullptr && connection->node != nullptr,
                  "a connection that is released is a node's");
    last_conn_ = 0;
    last_ = {};
    connection->node = nullptr;
    connection->lane = Lane::main;
    connection->since = now;
    connection->unheard_bytes = 0;
    connection->under_way = std::make_unique<UnderWay>(std::move(under_way));
    if (++strangers_ <= anonymous_connections_max) return true;
    forget(conn);
    return false;
}

void SessionTable::forget(ConnId conn) {
    const auto found = connections_.find(conn);
    if (found == connections_.end()) return;
    if (found->second.node == nullptr) --strangers_;
    connections_.erase(found);
    last_conn_ = 0;
    last_ = {};
}

std::vector<ConnId> SessionTable::forget_strangers(TimePoint now, Duration patience) {
    std::vector<ConnId> gone;
    if (strangers_ == 0) return gone;
    std::erase_if(connections_, [&](const auto& entry) {
        if (entry.second.node != nullptr || now - entry.second.since <= patience) return false;
        gone.push_back(entry.first);
        return true;
    });
    strangers_ -= gone.size();
    std::ranges::sort(gone);
    return gone;
}

}  // namespace vflbus::bus
