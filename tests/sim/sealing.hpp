#pragma once
// Sealing in a simulated world: the real keys, nonces and associated data, and the real cipher.
// Only the agreement of two keys is a hash in place of the curve, as processes come and go by the
// thousand.
//
// What is checked: no nonce is ever used twice with a key, whatever was killed, set back or said
// again; and what leaves a process sealed is what it meant (the world looks into it).

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "bus/core/link_seal.hpp"
#include "bus/wire/header.hpp"

namespace vflbus::sim {

/// All that was sealed in a world. While it lives, everything that this thread seals is noted.
class SealWatch {
  public:
    SealWatch();
    ~SealWatch();
    SealWatch(const SealWatch&) = delete;
    SealWatch& operator=(const SealWatch&) = delete;

    /// What a frame with a whole sealed body says; nothing for a part.
    [[nodiscard]] std::optional<bus::Bytes> opened(const bus::Header& header,
                                                   std::span<const std::uint8_t> body) const;
    /// A nonce that was used twice, once.
    [[nodiscard]] bool take_repeated() { return std::exchange(repeated_, false); }
    [[nodiscard]] std::size_t sealed() const { return used_.size(); }

  private:
    struct Used {
        privacy::Cipher cipher{};
        privacy::SealKey key;
        privacy::SealNonce nonce{};
    };
    static void note(privacy::Cipher cipher, const privacy::SealKey& key,
                     const privacy::SealNonce& nonce, std::span<const std::uint8_t> associated);

    SealWatch* before_;
    std::set<Hash128> used_;
    std::map<Hash128, Used> by_associated_;
    bool repeated_ = false;
};

/// For a process of that name; `process` is another text for each one.
std::shared_ptr<const bus::SealConfig> seal_config(const std::string& name,
                                                   const std::string& process);

}  // namespace vflbus::sim
