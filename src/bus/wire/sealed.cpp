#include "bus/wire/sealed.hpp"

namespace vflbus::bus {
namespace {

constexpr std::size_t seal_name_bytes_max = 64;

void write_keys(Writer& w, const SealParty& party) {
    w.str(party.key_name).bin(party.key).bin(party.session);
}

void read_keys(Reader& r, SealParty& party) {
    party.key_name = r.str(seal_name_bytes_max);
    r.fixed_bin(party.key);
    r.fixed_bin(party.session);
}

void read_party(Reader& r, SealParty& party) {
    party.name = r.str(seal_name_bytes_max);
    read_keys(r, party);
}

std::uint8_t read_cipher(Reader& r) {
    const auto cipher = static_cast<std::uint8_t>(r.u64(UINT8_MAX));
    if (r.ok() && cipher != 1 && cipher != 2) r.fault("an unknown cipher");
    return cipher;
}

Bytes read_sealed(Reader& r) {
    const auto bytes = r.bin();
    return {bytes.begin(), bytes.end()};
}

}  // namespace

Bytes encode(const SealOffer& m) {
    Writer w;
    w.array(5).boolean(m.aes);
    write_keys(w, m.owner);
    w.u64(m.opening);
    return w.take();
}

Result<SealOffer> decode_seal_offer(std::span<const std::uint8_t> bytes, const std::string& owner) {
    Reader r("the sealing of an OPEN", bytes, 5);
    SealOffer m;
    m.owner.name = owner;
    m.aes = r.boolean();
    read_keys(r, m.owner);
    m.opening = r.u64();
    return finished(r, std::move(m));
}

Bytes encode(const SealAccept& m) {
    Writer w;
    w.array(7).u64(m.cipher);
    write_keys(w, m.participant);
    w.u64(m.opening).u64(m.joining).bin(m.sealed);
    return w.take();
}

Result<SealAccept> decode_seal_accept(std::span<const std::uint8_t> bytes,
                                      const std::string& participant) {
    Reader r("the sealing of a JOIN", bytes, 7);
    SealAccept m;
    m.participant.name = participant;
    m.cipher = read_cipher(r);
    read_keys(r, m.participant);
    m.opening = r.u64();
    m.joining = r.u64();
    m.sealed = read_sealed(r);
    return finished(r, std::move(m));
}

Bytes encode(const SealedJoin& m) {
    Writer w;
    w.array(2).bin(m.config_hash).sentence(m.sentence);
    return w.take();
}

Result<SealedJoin> decode_sealed_join(std::span<const std::uint8_t> bytes) {
    Reader r("the sealed part of a JOIN", bytes, 2);
    SealedJoin m;
    r.fixed_bin(m.config_hash);
    m.sentence = r.sentence();
    return finished(r, std::move(m));
}

Bytes encode(const TermsQuery& m) {
    Writer w;
    w.array(7).u64(m.cipher).str(m.participant.name);
    write_keys(w, m.participant);
    w.u64(m.term).u64(m.opening);
    return w.take();
}

Result<TermsQuery> decode_terms_query(std::span<const std::uint8_t> body) {
    Reader r("the question `terms`", body, 7);
    TermsQuery m;
    m.cipher = read_cipher(r);
    read_party(r, m.participant);
    m.term = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
    m.opening = r.u64();
    return finished(r, std::move(m));
}

Bytes encode(const KeyAnswer& m) {
    Writer w;
    w.array(5).boolean(m.aes).str(m.node.name);
    write_keys(w, m.node);
    return w.take();
}

Result<KeyAnswer> decode_key_answer(std::span<const std::uint8_t> body) {
    Reader r("the answer to `key`", body, 5);
    KeyAnswer m;
    m.aes = r.boolean();
    read_party(r, m.node);
    return finished(r, std::move(m));
}

Bytes encode(const SealedQuery& m) {
    Writer w;
    w.array(7).u64(m.cipher).str(m.asker.name);
    write_keys(w, m.asker);
    w.u64(m.count).bin(m.sealed);
    return w.take();
}

Result<SealedQuery> decode_sealed_query(std::span<const std::uint8_t> body) {
    Reader r("a sealed question", body, 7);
    SealedQuery m;
    m.cipher = read_cipher(r);
    read_party(r, m.asker);
    m.count = r.u64();
    m.sealed = read_sealed(r);
    return finished(r, std::move(m));
}

Bytes encode(const SealedAnswer& m) {
    Writer w;
    w.array(2).u64(m.count).bin(m.sealed);
    return w.take();
}

Result<SealedAnswer> decode_sealed_answer(std::span<const std::uint8_t> body) {
    Reader r("a sealed answer", body, 2);
    SealedAnswer m;
    m.count = r.u64();
    m.sealed = read_sealed(r);
    return finished(r, std::move(m));
}

HeaderBytes associated_data(Header header, bool with_length) {
    header.answered_below = 0;
    header.body_offset = 0;
    header.aux = 0;
    if (!with_length) header.body_bytes = 0;
    return encode(header);
}

}  // namespace vflbus::bus
