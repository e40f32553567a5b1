#pragma once
// Proof that the other end of a connection has read what it was sent: docs/protocol.md, section 7.
//
// Without proof a node could say "I have read everything" and read nothing: the sender would go on
// sending, and all of it would pile up in the sender's own ZeroMQ pipe, where nothing counts bytes.
// So the sender puts a MARK with a secret number behind what it has sent. Only who has read up to
// the MARK knows the number, and WINDOW repeats it.

#include <array>
#include <cstdint>
#include <optional>

#include "base/fifo.hpp"

namespace vflbus::bus {

/// The secret numbers of a process. Who knows some of them cannot tell the next: they are BLAKE2b
/// of a count under a secret key.
class MarkTokens {
  public:
    using Secret = std::array<std::uint8_t, 32>;
    explicit MarkTokens(const Secret& secret) noexcept : secret_(secret) {}
    /// Never 0.
    [[nodiscard]] std::uint64_t next();

  private:
    Secret secret_;
    std::uint64_t count_ = 0;
};

/// The MARKs of one connection that were not answered yet, in the order in which they were sent.
class Marks {
  public:
    /// How much was sent on the connection.
    struct Position {
        std::uint64_t bytes = 0;
        std::uint64_t frames = 0;
        std::uint64_t reports = 0;  ///< bytes of the WINDOW frames among them
    };
    /// A MARK was sent; `position` includes it.
    void sent(std::uint64_t token, Position position) { waiting_.push_back({token, position}); }
    /// The position of the MARK with this token, which was read together with all before it. Empty:
    /// no such MARK waits, and whoever says so has read nothing.
    [[nodiscard]] std::optional<Position> answered(std::uint64_t token);
    void clear() { waiting_.clear(); }

  private:
    struct Mark {
        std::uint64_t token = 0;
        Position position;
    };
    Fifo<Mark> waiting_;
};

}  // namespace vflbus::bus
