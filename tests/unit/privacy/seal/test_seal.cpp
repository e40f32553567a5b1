#include <sodium.h>

#include <algorithm>
#include <catch.hpp>
#include <functional>
#include <set>
#include <vector>

#include "base/hash.hpp"
#include "privacy/seal/seal.hpp"

using namespace vflbus;
using namespace vflbus::privacy;

namespace {

using Octets = std::vector<std::uint8_t>;

Octets from_hex(const std::string& text) {
    Octets out;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2)
        out.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
    return out;
}

template <std::size_t N>
std::array<std::uint8_t, N> filled(std::uint8_t value) {
    std::array<std::uint8_t, N> out{};
    out.fill(value);
    return out;
}

SealKey key_of(const Octets& bytes) {
    SealKey key;
    std::copy(bytes.begin(), bytes.end(), key.bytes.begin());
    return key;
}

Octets sealed(Cipher cipher, const SealKey& key, const SealNonce& nonce, const Octets& associated,
              Octets body, std::size_t part = 1u << 20) {
    SealStream stream(SealStream::Way::seal, cipher, key, nonce, associated);
    for (std::size_t at = 0; at < body.size(); at += part)
        stream.next(std::span(body).subspan(at, std::min(part, body.size() - at)));
    const SealTag tag = stream.tag();
    body.insert(body.end(), tag.begin(), tag.end());
    return body;
}

/// Nothing when the tag is wrong.
std::optional<Octets> opened(Cipher cipher, const SealKey& key, const SealNonce& nonce,
                             const Octets& associated, Octets body, std::size_t part = 1u << 20) {
    SealStream stream(SealStream::Way::open, cipher, key, nonce, associated);
    const std::size_t bytes = body.size() - seal_tag_bytes;
    for (std::size_t at = 0; at < bytes; at += part)
        stream.next(std::span(body).subspan(at, std::min(part, bytes - at)));
    if (!stream.good(
            std::span<const std::uint8_t, seal_tag_bytes>(body.data() + bytes, seal_tag_bytes)))
        return {};
    body.resize(bytes);
    return body;
}

SealUse a_use() {
    SealUse use;
    use.run.bytes = filled<16>(7);
    use.term = 3;
    use.opening = 4;
    use.joining = 5;
    use.first = {"master-1a2b3c4d", "master", filled<32>(1), filled<32>(2)};
    use.second = {"member-0", "member-0", filled<32>(3), filled<32>(4)};
    return use;
}

const Cipher both[] = {Cipher::aes_256_gcm, Cipher::xchacha20_poly1305};

}  // namespace

TEST_CASE("HKDF is that of RFC 5869, appendix A.1") {
    const SealKey root = hkdf_extract(from_hex("000102030405060708090a0b0c"), Octets(22, 0x0b));
    CHECK(to_hex(root.bytes) == "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    CHECK(to_hex(hkdf_expand(root, from_hex("f0f1f2f3f4f5f6f7f8f9")).bytes) ==
          "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

TEST_CASE("AES-256-GCM is that of NIST, case 16") {
    const SealKey key =
        key_of(from_hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"));
    SealNonce nonce{};
    const Octets iv = from_hex("cafebabefacedbaddecaf888");
    std::copy(iv.begin(), iv.end(), nonce.begin() + 12);
    const Octets out = sealed(
        Cipher::aes_256_gcm, key, nonce, from_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
        from_hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c959568"
                 "09532fcf0e2449a6b525b16aedf5aa0de657ba637b39"),
        7);
    CHECK(to_hex(out) ==
          "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10"
          "56828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b");
}

TEST_CASE("XChaCha20-Poly1305 is that of libsodium and of the draft") {
    SealKey key;
    SealNonce nonce{};
    for (std::size_t i = 0; i < 32; ++i) key.bytes[i] = static_cast<std::uint8_t>(0x80 + i);
    for (std::size_t i = 0; i < 24; ++i) nonce[i] = static_cast<std::uint8_t>(0x40 + i);
    const std::string text =
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
        "future, sunscreen would be it.";
    const Octets ad = from_hex("50515253c0c1c2c3c4c5c6c7");
    const Octets out =
        sealed(Cipher::xchacha20_poly1305, key, nonce, ad, Octets(text.begin(), text.end()), 33);
    CHECK(to_hex(std::span(out).last(16)) == "c0875924c1c7987947deafd8780acf49");
    Octets theirs(text.size() + 16);
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        theirs.data(), nullptr, reinterpret_cast<const std::uint8_t*>(text.data()), text.size(),
        ad.data(), ad.size(), nullptr, nonce.data(), key.bytes.data());
    CHECK(out == theirs);
}

TEST_CASE("keys come out as docs/protocol.md says, computed by another program") {
    SealKey root;
    for (std::size_t i = 0; i < 32; ++i) root.bytes[i] = static_cast<std::uint8_t>(i);
    CHECK(to_hex(derive_key(root, a_use(), true).bytes) ==
          "c480ef96d5acd21aea968cafa93fdd7ae99457e91899eb5cd3a49d98ac7f9574");

    const KeyAgreement& curve = x25519();
    const SealSecrets first{SealKey(filled<32>(11)), SealKey(filled<32>(12))};
    const SealSecrets second{SealKey(filled<32>(13)), SealKey(filled<32>(14))};
    const auto at_first =
        agree(curve, first, curve.public_of(second.key), curve.public_of(second.session), true);
    const auto at_second =
        agree(curve, second, curve.public_of(first.key), curve.public_of(first.session), false);
    REQUIRE(at_first);
    REQUIRE(at_second);
    CHECK(at_first->bytes == at_second->bytes);
    CHECK(to_hex(at_first->bytes) ==
          "4c43d11a2e9fc6a6d658eeec00a5de24a9ea88b9557f74a1cef9d439caa70977");
}

TEST_CASE("a key says nothing about one whose use differs in anything") {
    const SealKey root(filled<32>(9));
    const std::function<void(SealUse&)> changes[] = {
        [](SealUse&) {},
        [](SealUse& use) { use.purpose = SealUse::Purpose::terms; },
        [](SealUse& use) { use.purpose = SealUse::Purpose::questions; },
        [](SealUse& use) { use.cipher = Cipher::xchacha20_poly1305; },
        [](SealUse& use) { use.run.bytes[15] ^= 1; },
        [](SealUse& use) { ++use.term; },
        [](SealUse& use) { ++use.opening; },
        [](SealUse& use) { ++use.joining; },
        [](SealUse& use) { use.first.name += "x"; },
        [](SealUse& use) { use.first.key_name += "x"; },
        // the same letters, cut elsewhere
        [](SealUse& use) { use.first.name += "m", use.first.key_name.erase(0, 1); },
        [](SealUse& use) { use.first.key[0] ^= 1; },
        [](SealUse& use) { use.first.session[0] ^= 1; },
        [](SealUse& use) { use.second.name = "member-1"; },
        [](SealUse& use) { use.second.key_name = "member-1"; },
        [](SealUse& use) { use.second.key[31] ^= 1; },
        [](SealUse& use) { use.second.session[31] ^= 1; },
        [](SealUse& use) { std::swap(use.first, use.second); },
    };
    std::set<std::string> keys;
    for (const auto& change : changes) {
        SealUse use = a_use();
        change(use);
        keys.insert(to_hex(derive_key(root, use, true).bytes));
        keys.insert(to_hex(derive_key(root, use, false).bytes));
    }
    CHECK(keys.size() == 2 * std::size(changes));
}

TEST_CASE("each of the four agreements counts") {
    const KeyAgreement& curve = x25519();
    const SealSecrets mine{SealKey(filled<32>(1)), SealKey(filled<32>(2))};
    const SealSecrets theirs{SealKey(filled<32>(3)), SealKey(filled<32>(4))};
    const PublicBytes key = curve.public_of(theirs.key);
    const PublicBytes session = curve.public_of(theirs.session);
    const auto right = agree(curve, mine, key, session, true);
    REQUIRE(right);
    // who has only one of the two secrets of an end, or takes the other place, gets another root
    const SealSecrets without_key{SealKey(filled<32>(9)), mine.session};
    const SealSecrets without_session{mine.key, SealKey(filled<32>(9))};
    CHECK(agree(curve, without_key, key, session, true)->bytes != right->bytes);
    CHECK(agree(curve, without_session, key, session, true)->bytes != right->bytes);
    CHECK(agree(curve, mine, key, session, false)->bytes != right->bytes);
    // points of small order would give everybody the same secret
    CHECK_FALSE(agree(curve, mine, PublicBytes{}, session, true));
    CHECK_FALSE(agree(curve, mine, key, PublicBytes{}, true));
    PublicBytes one{};
    one[0] = 1;
    CHECK_FALSE(agree(curve, mine, one, session, true));
}

TEST_CASE("a body comes back, whatever its parts, and no changed one does") {
    const SealKey key(filled<32>(5));
    const SealNonce nonce = nonce_of(1, 77);
    const Octets ad{1, 2, 3};
    for (const Cipher cipher : both)
        for (const std::size_t bytes : {0, 1, 15, 16, 17, 1000, 70'000}) {
            Octets body(bytes);
            for (std::size_t i = 0; i < bytes; ++i) body[i] = static_cast<std::uint8_t>(i * 7);
            const Octets out = sealed(cipher, key, nonce, ad, body, 1000);
            REQUIRE(out.size() == bytes + seal_tag_bytes);
            CHECK(out == sealed(cipher, key, nonce, ad, body, 313));
            CHECK(opened(cipher, key, nonce, ad, out, 313) == body);
            CHECK_FALSE(opened(cipher, key, nonce, {1, 2, 4}, out));
            CHECK_FALSE(opened(cipher, key, nonce, {1, 2}, out));
            CHECK_FALSE(opened(cipher, key, nonce_of(1, 78), ad, out));
            CHECK_FALSE(opened(cipher, key, nonce_of(2, 77), ad, out));
            CHECK_FALSE(opened(cipher, SealKey(filled<32>(6)), nonce, ad, out));
            for (std::size_t at = 0; at < out.size(); at += std::max<std::size_t>(1, bytes / 20)) {
                Octets changed = out;
                changed[at] ^= 0x10;
                CHECK_FALSE(opened(cipher, key, nonce, ad, changed));
            }
            Octets cut(out.begin() + 1, out.end());
            if (cut.size() >= seal_tag_bytes) CHECK_FALSE(opened(cipher, key, nonce, ad, cut));
            Octets longer = out;
            longer.push_back(0);
            CHECK_FALSE(opened(cipher, key, nonce, ad, longer));
        }
}

TEST_CASE("two kinds with one number, and two numbers, have different nonces") {
    std::set<SealNonce> nonces;
    for (std::uint8_t kind = 1; kind <= 6; ++kind)
        for (const std::uint64_t number : {0ull, 1ull, 255ull, 256ull, ~0ull})
            nonces.insert(nonce_of(kind, number));
    CHECK(nonces.size() == 30);
}
