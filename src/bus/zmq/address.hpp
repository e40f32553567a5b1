#pragma once
// Addresses as people write them, and their resolution by the program: libzmq would resolve inside
// its I/O thread, where a silent DNS server stalls every socket of the process.

#include <memory>
#include <optional>
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

/// Whether a process listens on the ipc path (`@name`: in the abstract name space) right now.
bool answers(const std::string& ipc_path);

/// The numeric form of a tcp address; waits at most `patience` for the resolver. Errors: address,
/// with the name.
Result<std::string> resolve(const Address& address, Duration patience);

/// A host name on its way to a number, by a thread that nobody waits for: the system's lookup
/// cannot be interrupted, and a name server that is silent must not keep anybody from ending.
class Lookup {
  public:
    explicit Lookup(Address address);
    /// Nothing before it is known. Errors: address, with the name.
    [[nodiscard]] std::optional<Result<std::string>> answer() const;
    /// Waits at most so long.
    [[nodiscard]] Result<std::string> wait(Duration patience) const;

    /// What to say when there was none for so long.
    [[nodiscard]] Failure unanswered(Duration patience) const;

  private:
    struct Shared;
    Address address_;
    std::shared_ptr<Shared> shared_;
};

}  // namespace vflbus::bus
