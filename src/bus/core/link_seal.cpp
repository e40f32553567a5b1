#include "bus/core/link_seal.hpp"

#include <cstring>

#include "base/assert.hpp"
#include "base/planted.hpp"
#include "bus/keys/allow_list.hpp"

namespace vflbus::bus {
namespace {

using privacy::SealStream;

/// Agreements that are remembered: four multiplications on the curve each. More processes than a
/// bus has nodes come only from somebody who makes them up.
constexpr std::size_t roots_max = 8192;

privacy::SealIdentity identity_of(const SealParty& party) {
    return {party.name, party.key_name, party.key, party.session};
}

SealedKind kind_of(const Header& header) noexcept {
    if (header.kind == Kind::request) return SealedKind::request;
    return (header.flags & flag::error) != 0 ? SealedKind::error_reply : SealedKind::reply;
}

}  // namespace

LinkSeal::LinkSeal(std::shared_ptr<const SealConfig> config, const std::string& own_name)
    : config_(std::move(config)) {
    VFLBUS_ASSERT(config_->parties != nullptr, "who seals knows whose keys it takes");
    secrets_.key.bytes = config_->own.secret.bytes;
    secrets_.session = config_->session;
    if (VFLBUS_PLANTED(session_key_kept)) secrets_.session = secrets_.key;
    self_ = {own_name, config_->key_name, config_->own.public_key.bytes,
             config_->agreement->public_of(secrets_.session)};
    // an OPEN of another process of this node, in the same term, has another number
    std::memcpy(&openings_, self_.session.data(), sizeof openings_);
}

privacy::Cipher LinkSeal::cipher_with(bool their_aes) const noexcept {
    return their_aes && config_->aes ? privacy::Cipher::aes_256_gcm
                                     : privacy::Cipher::xchacha20_poly1305;
}

/// The names say one thing. That the key is that of its name, PartyKeys judges; also of the node's
/// name, as which of both names the key has is the peer's own word.
Result<> LinkSeal::fits(const SealParty& other, NodeId node) const {
    if (node_id_of(other.name) == node && speaks_for(other.key_name, other.name)) {
        if (other.name == other.key_name || other.key == self_.key) return {};
        return config_->parties->agrees(other.name, PublicKey{other.key});
    }
    return fail(Errc::refused, "somebody shows " + self_.name + " the key of " + other.key_name +
                                   " as " + other.name + ", whose name that key does not have");
}

Result<> LinkSeal::meet(const SealParty& other, NodeId node) const {
    if (auto good = fits(other, node); !good) return good;
    if (other.key == self_.key) return {};
    return config_->parties->meet(other.key_name, PublicKey{other.key});
}

Result<> LinkSeal::knows(const SealParty& other, NodeId node) const {
    if (auto good = fits(other, node); !good) return good;
    if (other.key == self_.key) return {};
    return config_->parties->knows(other.key_name, PublicKey{other.key});
}

std::optional<SealKeys> LinkSeal::keys_for(privacy::SealUse use, const SealParty& other,
                                           bool first) {
    const std::pair<Keys, bool> name{{other.key, other.session}, first};
    auto root = roots_.find(name);
    if (root == roots_.end()) {
        const auto agreed =
            privacy::agree(*config_->agreement, secrets_, other.key, other.session, first);
        if (!agreed) return {};
        if (roots_.size() >= roots_max) roots_.clear();
        root = roots_.emplace(name, *agreed).first;
    }
    use.first = identity_of(first ? self_ : other);
    use.second = identity_of(first ? other : self_);
    return SealKeys{use.cipher, privacy::derive_key(root->second, use, first),
                    privacy::derive_key(root->second, use, !first)};
}

void LinkSeal::note_broken(const std::string& sentence) {
    ++broken_;
    tell(sentence);
}

void LinkSeal::tell(const std::string& sentence) const {
    if (config_->log) config_->log(sentence);
}

Failure for_the_other_end(Failure failure) {
    if (!failure.for_others.empty()) failure.sentence = std::exchange(failure.for_others, {});
    return failure;
}

Bytes sealed_bytes(const SealKeys& keys, SealedKind kind, std::uint64_t number,
                   std::span<const std::uint8_t> associated, Bytes content) {
    SealStream stream(SealStream::Way::seal, keys.cipher, keys.out,
                      privacy::nonce_of(static_cast<std::uint8_t>(kind), number), associated);
    stream.next(content);
    const privacy::SealTag tag = stream.tag();
    content.insert(content.end(), tag.begin(), tag.end());
    return content;
}

std::optional<Bytes> opened_bytes(const SealKeys& keys, SealedKind kind, std::uint64_t number,
                                  std::span<const std::uint8_t> associated, Bytes sealed) {
    if (sealed.size() < seal_overhead_bytes) return {};
    const std::size_t bytes = sealed.size() - seal_overhead_bytes;
    SealStream stream(SealStream::Way::open, keys.cipher, keys.in,
                      privacy::nonce_of(static_cast<std::uint8_t>(kind), number), associated);
    stream.next(std::span(sealed).first(bytes));
    if (!stream.good(std::span<const std::uint8_t, seal_overhead_bytes>(sealed.data() + bytes,
                                                                        seal_overhead_bytes)))
        return {};
    sealed.resize(bytes);
    return sealed;
}

SealStream data_stream(SealStream::Way way, const SealKeys& keys, const Header& header) {
    auto associated = associated_data(header, true);
    if (VFLBUS_PLANTED(associated_left_out)) associated = {};
    return {way, keys.cipher, way == SealStream::Way::seal ? keys.out : keys.in,
            privacy::nonce_of(static_cast<std::uint8_t>(kind_of(header)), header.request),
            associated};
}

}  // namespace vflbus::bus
