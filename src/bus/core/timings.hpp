#pragma once
// How long the bus waits for what (docs/configuration.md, section [bus], has the keys).

#include <chrono>

#include "base/ids.hpp"

namespace vflbus::bus {

struct Timings {
    Duration heartbeat = std::chrono::seconds(1);      ///< heartbeat_interval: an idle link pings
    Duration suspect = std::chrono::seconds(3);        ///< suspect_after
    Duration lost = std::chrono::seconds(10);          ///< disconnect_idle_client_time
    Duration check = std::chrono::milliseconds(250);   ///< time_between_idle_connections_checks
    Duration rejoin_grace = std::chrono::seconds(30);  ///< rejoin_grace
    /// A closed connection of an owner that nobody can replace may come back within this.
    Duration reconnect_grace = std::chrono::seconds(1);
    Duration without_hello = std::chrono::seconds(60);  ///< a connection that never says HELLO
    Duration hello_retry_min = std::chrono::milliseconds(250);
    Duration hello_retry_max = std::chrono::seconds(8);
    Duration name_probe =
        std::chrono::seconds(1);  ///< an old holder of a name has this long to answer
    Duration bulk_patience = std::chrono::seconds(5);  ///< then a link goes without one
    Duration resend = std::chrono::seconds(1);         ///< a request answered with `retry`
    /// A request of which nothing is heard is sent again then; the wait doubles each time.
    Duration resend_unheard = std::chrono::seconds(30);
    double hello_retry_jitter = 0.2;                      ///< hello_retry_jitter, a share
    Duration progress_stall = std::chrono::seconds(300);  ///< progress_stall_after
    Duration slow_peer = std::chrono::seconds(10);        ///< slow_peer_after
    Duration resolve = std::chrono::seconds(5);           ///< resolve_timeout
};

}  // namespace vflbus::bus
