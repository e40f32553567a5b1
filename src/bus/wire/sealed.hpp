#pragma once
// What two processes send each other before they seal bodies: docs/protocol.md, section 14.

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "bus/wire/codec.hpp"
#include "bus/wire/control.hpp"
#include "bus/wire/header.hpp"

namespace vflbus::bus {

/// The extension of OPEN and of JOIN. It is even: a node that does not know it takes no part.
inline constexpr std::uint16_t seal_extension = 2;
/// A sealed body has so many bytes more than its content.
inline constexpr std::size_t seal_overhead_bytes = 16;

/// Which messages share one counter of nonces: the numbers of docs/protocol.md, section 14.
enum class SealedKind : std::uint8_t {
    request = 1,
    reply = 2,
    error_reply = 3,
    join = 4,
    query = 5,
    answer = 6,
    close = 7,
};

/// The identity of a process for sealing: the names of the process and of its key, the key, and
/// the key that the process has made for itself.
struct SealParty {
    std::string name;
    std::string key_name;
    std::array<std::uint8_t, 32> key{};
    std::array<std::uint8_t, 32> session{};
    friend bool operator==(const SealParty&, const SealParty&) = default;
};

/// The extension of OPEN: this run is sealed. Its name is that of the owner.
struct SealOffer {
    SealParty owner;
    bool aes = false;  ///< its processor has instructions for AES
    std::uint64_t opening = 0;
};
/// The extension of JOIN.
struct SealAccept {
    SealParty participant;
    std::uint8_t cipher = 0;
    std::uint64_t opening = 0;  ///< of the OPEN that it answers
    std::uint64_t joining = 0;
    Bytes sealed;  ///< SealedJoin
};
struct SealedJoin {
    Hash256 config_hash{};
    std::string sentence;
};
/// QUERY `terms`: a participant asks the owner for the agreed text of an OPEN.
struct TermsQuery {
    SealParty participant;
    std::uint8_t cipher = 0;
    std::uint32_t term = 0;
    std::uint64_t opening = 0;
};
/// ANSWER of `key`. Its QUERY is `[]`.
struct KeyAnswer {
    SealParty node;
    bool aes = false;
};
/// The body of a QUERY with flag `sealed`.
struct SealedQuery {
    SealParty asker;
    std::uint8_t cipher = 0;
    std::uint64_t count = 0;
    Bytes sealed;
};
/// The body of an ANSWER with flag `sealed`.
struct SealedAnswer {
    std::uint64_t count = 0;
    Bytes sealed;
};

Bytes encode(const SealOffer& m);
Bytes encode(const SealAccept& m);
Bytes encode(const SealedJoin& m);
Bytes encode(const TermsQuery& m);
Bytes encode(const KeyAnswer& m);
Bytes encode(const SealedQuery& m);
Bytes encode(const SealedAnswer& m);

/// `owner`: the name in the OPEN. Likewise for the participant of a JOIN.
Result<SealOffer> decode_seal_offer(std::span<const std::uint8_t> bytes, const std::string& owner);
Result<SealAccept> decode_seal_accept(std::span<const std::uint8_t> bytes,
                                      const std::string& participant);
Result<SealedJoin> decode_sealed_join(std::span<const std::uint8_t> bytes);
Result<TermsQuery> decode_terms_query(std::span<const std::uint8_t> body);
Result<KeyAnswer> decode_key_answer(std::span<const std::uint8_t> body);
Result<SealedQuery> decode_sealed_query(std::span<const std::uint8_t> body);
Result<SealedAnswer> decode_sealed_answer(std::span<const std::uint8_t> body);

/// The associated data of a frame: its header without the fields that a repeated attempt may change
/// (answered below, offset, aux). `with_length`: that of the body is part of it.
HeaderBytes associated_data(Header header, bool with_length);

}  // namespace vflbus::bus
