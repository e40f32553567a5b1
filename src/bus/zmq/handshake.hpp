#pragma once
// Keys of a socket, and why its handshakes fail.

#include <string>
#include <zmq.hpp>

#include "bus/keys/key_files.hpp"
#include "bus/zmq/monitor.hpp"

namespace vflbus::bus {

/// What the socket connects with from now on.
void set_link_keys(zmq::socket_t& socket, const LinkKeys& keys);
/// What it binds with from now on; `Gate::domain` is asked about everybody who comes.
void set_broker_keys(zmq::socket_t& socket, const KeyPair& keys);

/// The events of a connecting socket that say why it does not get in. ZeroMQ itself says nothing to
/// its user, and tries again or not as it thinks fit.
class Handshakes {
  public:
    /// Before the socket connects. Where the monitor cannot be had, nothing is ever known.
    Handshakes(zmq::context_t& context, zmq::socket_t& socket, bool with_keys);

    /// Why the last handshake failed, for people; empty when none has, or the last one succeeded.
    [[nodiscard]] const std::string& read();
    /// Whether the broker's gate has refused this key, after which ZeroMQ does not try again.
    [[nodiscard]] bool not_let_in() const noexcept { return not_let_in_; }
    /// Whether a handshake has ever succeeded, so that the broker may have read what was sent.
    [[nodiscard]] bool ever_in() const noexcept { return ever_in_; }
    /// Readable when there may be something to read; -1 without a monitor.
    [[nodiscard]] int descriptor() const noexcept { return monitor_.descriptor(); }

  private:
    Monitor monitor_;
    bool with_keys_;
    std::string trouble_;
    bool not_let_in_ = false;
    bool ever_in_ = false;
};

}  // namespace vflbus::bus
