#pragma once
// With which key a link seals what, and whose key it takes for whose: docs/protocol.md, section 14.
//
// Every process has two keys: the one of its party, and a session key that it makes at its start
// and never stores. What two processes share is agreed from all four, so it is another secret with
// each process, and nothing that is counted within a process, like the number of a request, can be
// said twice under one key, whatever was killed or set back.
//
// The broker passes public keys on, and could pass on its own. So each key is held against what
// this party knows of the other one (PartyKeys) before anything is sealed with it.
//
// LinkCore says when; this has no state of runs, and sends nothing.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/errc.hpp"
#include "bus/keys/key.hpp"
#include "bus/keys/known_parties.hpp"
#include "bus/wire/sealed.hpp"
#include "privacy/seal/seal.hpp"

namespace vflbus::bus {

struct SealConfig {
    std::string key_name;
    KeyPair own;
    privacy::SealKey session;  ///< fresh for each process; from the operating system
    bool aes = true;           ///< there is a unit for AES
    const privacy::KeyAgreement* agreement = &privacy::x25519();
    std::shared_ptr<PartyKeys> parties;
    /// For people: whose key was refused, what did not open. Bounded by the caller.
    std::function<void(const std::string&)> log{};
};

/// The keys of both directions between this process and another one, for one use.
struct SealKeys {
    privacy::Cipher cipher = privacy::Cipher::aes_256_gcm;
    privacy::SealKey out;
    privacy::SealKey in;
};

class LinkSeal {
  public:
    /// `own_name`: of the node. `config.parties` is there.
    LinkSeal(std::shared_ptr<const SealConfig> config, const std::string& own_name);

    [[nodiscard]] const SealParty& self() const noexcept { return self_; }
    [[nodiscard]] bool aes() const noexcept { return config_->aes; }
    [[nodiscard]] privacy::Cipher cipher_with(bool their_aes) const noexcept;

    /// Numbers that this process says once.
    [[nodiscard]] std::uint64_t next_opening() noexcept { return ++openings_; }
    [[nodiscard]] std::uint64_t next_joining() noexcept { return ++joinings_; }
    [[nodiscard]] std::uint64_t next_count() noexcept { return ++counts_; }

    // -- whose key it is -----------------------------------------------------------
    /// Errors: refused. `node`: from which its frame came.
    [[nodiscard]] Result<> meet(const SealParty& other, NodeId node) const;
    [[nodiscard]] Result<> knows(const SealParty& other, NodeId node) const;

    // -- keys ------------------------------------------------------------------------
    /// `use`: without the identities, which are those of this process and the other one. `first`:
    /// this process is the owner of the run, or who asks. Nothing for keys that are none.
    [[nodiscard]] std::optional<SealKeys> keys_for(privacy::SealUse use, const SealParty& other,
                                                   bool first);

    // -- counting ----------------------------------------------------------------------
    /// Something did not open, or should have been sealed and was not.
    void note_broken(const std::string& sentence);
    void tell(const std::string& sentence) const;
    [[nodiscard]] std::uint64_t broken() const noexcept { return broken_; }

  private:
    [[nodiscard]] Result<> fits(const SealParty& other, NodeId node) const;

    std::shared_ptr<const SealConfig> config_;
    SealParty self_;
    privacy::SealSecrets secrets_;
    using Keys = std::pair<std::array<std::uint8_t, 32>, std::array<std::uint8_t, 32>>;
    /// Agreed before: by their two keys, and whether this process is the first.
    std::map<std::pair<Keys, bool>, privacy::SealKey> roots_;
    std::uint64_t openings_ = 0;
    std::uint64_t joinings_ = 0;
    std::uint64_t counts_ = 0;
    std::uint64_t broken_ = 0;
};

/// A failure of `meet` or `knows` as it may be said in the clear: without this party's files.
Failure for_the_other_end(Failure failure);

/// A whole small body. `number` was never said before with this key and kind.
Bytes sealed_bytes(const SealKeys& keys, SealedKind kind, std::uint64_t number,
                   std::span<const std::uint8_t> associated, Bytes content);
/// Nothing: it is not what the other end sealed.
std::optional<Bytes> opened_bytes(const SealKeys& keys, SealedKind kind, std::uint64_t number,
                                  std::span<const std::uint8_t> associated, Bytes sealed);

/// Of the body of a REQUEST or REPLY with this header.
privacy::SealStream data_stream(privacy::SealStream::Way way, const SealKeys& keys,
                                const Header& header);

}  // namespace vflbus::bus
