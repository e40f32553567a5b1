#pragma once
// Who gets in over tcp: the ZAP handler (ZeroMQ RFC 27) of a broker with keys, and the allow-list
// that it answers from.
//
// The problem: CURVE without a ZAP handler lets every key in. With one, ZeroMQ asks it after the
// handshake has proved that the other end has the secret of its key, and before the ROUTER reads
// anything. The handler has a thread of its own and answers one question at a time, from
// memory but for the moments in which it reads a list that was changed. Those who were not let in
// cost a line in the log, and not more than some lines a second.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "bus/core/access.hpp"
#include "bus/core/conduct.hpp"
#include "bus/wire/codec.hpp"
#include "bus/wire/header.hpp"
#include "bus/zmq/context.hpp"

namespace vflbus::bus {

/// A party that was invited asks to be put on the list, or one that is there has another key; or
/// what either is answered.
struct EnrolFrame {
    std::uint32_t connection = 0;
    std::string shown;  ///< the fingerprint of the key of the connection
    Header header;
    Bytes body;
};

/// Its thread also looks, five times a second, whether the allow-list is another one.
class Gate : public Access {
  public:
    /// Name of the domain that a socket has to name so that the gate is asked.
    static constexpr const char* domain = "vflbus";
    /// Property of a message that has the fingerprint of its connection's key; its name is User-Id.
    static constexpr const char* key_property = "X-Key";

    /// Property whose value nobody outside of this process knows: beside it, name and fingerprint
    /// are the gate's and not what a peer in the clear has said of itself.
    static constexpr const char* word_property = "X-Gate";
    [[nodiscard]] virtual const std::string& word() const noexcept = 0;

    /// Before any socket of the context is bound with CURVE; one gate per context. The broker's own
    /// key is let in as `broker`, with every right until it expires: who has it is the owner.
    /// Errors: those of the allow-list; address, when the context has a gate already.
    static Result<std::unique_ptr<Gate>> open(std::shared_ptr<Context> context,
                                              const std::filesystem::path& directory,
                                              const KeyPair& own, Seconds own_expires);
    /// Whether a connection with that key may say ENROL: it is one of the list, or of an
    /// invitation, which may say nothing else, as `entry` knows nothing of it.
    [[nodiscard]] virtual bool may_enrol(const std::string& fingerprint) const = 0;
    /// Writes the list in its own thread. What comes too often is forgotten: the party says it
    /// again.
    virtual void enrol(EnrolFrame request) = 0;
    /// What is to be sent to parties that have said ENROL, and then their connections are closed.
    [[nodiscard]] virtual std::vector<EnrolFrame> enrol_answers() = 0;

    /// What the broker before this one held against keys, as it has noted it there.
    [[nodiscard]] virtual std::vector<ConductRow> conduct_before() const = 0;
    /// What is held against keys now, for `vflbus members`: written beside the list, where that
    /// can be done, by the gate's own thread.
    virtual void note_conduct(std::vector<ConductRow> rows) = 0;

    /// Readable when the list has changed, or there are answers, since `changed`
    /// was last asked.
    [[nodiscard]] virtual int descriptor() const noexcept = 0;
    [[nodiscard]] virtual bool changed() noexcept = 0;
    /// Async-signal-safe.
    virtual void read_again() noexcept = 0;
};

}  // namespace vflbus::bus
