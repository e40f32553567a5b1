#include "sealing.hpp"

#include <algorithm>

namespace vflbus::sim {
namespace {

thread_local SealWatch* current = nullptr;

std::string_view text_of(std::span<const std::uint8_t> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

privacy::PublicBytes public_of(const privacy::SealKey& secret) {
    return secret.bytes;
}

std::optional<privacy::SealKey> shared(const privacy::SealKey& secret,
                                       const privacy::PublicBytes& theirs) {
    const auto& [low, high] = std::minmax(secret.bytes, theirs);
    return privacy::SealKey(hash256(std::string(text_of(low)) + std::string(text_of(high))));
}

constexpr privacy::KeyAgreement pretended{public_of, shared};

Hash256 key_of(const std::string& name) {
    return hash256("key of " + name);
}

/// Everybody knows everybody's key here.
class AllKnown final : public bus::PartyKeys {
  public:
    Result<> meet(const std::string& name, const bus::PublicKey& key) override {
        if (key.bytes == key_of(name)) return {};
        return fail(Errc::refused, "that is not the key of " + name);
    }
    Result<> knows(const std::string& name, const bus::PublicKey& key) override {
        return meet(name, key);
    }
    Result<> agrees(const std::string& name, const bus::PublicKey& key) override {
        return meet(name, key);
    }
};

}  // namespace

SealWatch::SealWatch() : before_(std::exchange(current, this)) {
    privacy::watch_nonces(note);
}

SealWatch::~SealWatch() {
    current = before_;
}

void SealWatch::note(privacy::Cipher cipher, const privacy::SealKey& key,
                     const privacy::SealNonce& nonce, std::span<const std::uint8_t> associated) {
    if (current == nullptr) return;
    if (!current->used_.insert(hash128(text_of(nonce), text_of(key.bytes))).second)
        current->repeated_ = true;
    current->by_associated_[hash128(text_of(associated))] = {cipher, key, nonce};
}

std::optional<bus::Bytes> SealWatch::opened(const bus::Header& header,
                                            std::span<const std::uint8_t> body) const {
    if (body.size() != header.body_bytes || body.size() < privacy::seal_tag_bytes) return {};
    const auto associated = bus::associated_data(header, true);
    const auto found = by_associated_.find(hash128(text_of(associated)));
    if (found == by_associated_.end()) return {};
    const Used& used = found->second;
    bus::Bytes out(body.begin(), body.end() - privacy::seal_tag_bytes);
    privacy::SealStream stream(privacy::SealStream::Way::open, used.cipher, used.key, used.nonce,
                               associated);
    stream.next(out);
    if (!stream.good(body.last<privacy::seal_tag_bytes>())) return {};
    return out;
}

std::shared_ptr<const bus::SealConfig> seal_config(const std::string& name,
                                                   const std::string& process) {
    auto config = std::make_shared<bus::SealConfig>();
    config->key_name = name;
    config->own.public_key.bytes = key_of(name);
    config->own.secret.bytes = key_of(name);
    config->session = privacy::SealKey(hash256("session of " + process));
    config->agreement = &pretended;
    config->parties = std::make_shared<AllKnown>();
    return config;
}

}  // namespace vflbus::sim
