#pragma once
// Addresses as people write them, and their resolution by the program: libzmq would resolve inside
// its I/O thread, where a silent DNS server stalls every socket of the process.

#include <string>
#include <string_view>

#include "base/errc.hpp"
#include "base/ids.hpp"

namespace vflbus::bus {

struct Address {
    enum class Transport { tcp, ipc, inproc };
    Transport transport = Transport::tcp;
    std::string host;        ///< tcp: name or number; ipc: path; inproc: name
    std::uint16_t port = 0;  ///< tcp
    bool numeric = true;     ///< nothing to resolve
    bool local_only = true;  ///< loopback, ipc or inproc

    [[nodiscard]] std::string text() const;
};

/// tcp://HOST:PORT, tcp://[V6]:PORT, ipc://PATH, inproc://NAME; `*` as host means every interface.
Result<Address> parse_address(std::string_view text);

/// The numeric form of a tcp address; waits at most `patience` for the resolver. Errors: address,
/// with the name.
Result<std::string> resolve(const Address& address, Duration patience);

}  // namespace vflbus::bus
