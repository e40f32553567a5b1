#pragma once
// An app's message as bytes (docs/apps.md, section 6): a Record, and the envelope around it. What
// comes from another party is decoded here within limits, and nowhere else.
//
// A message may hold a gigabyte. So encoding does not copy large tensors: the sender hands out the
// small parts and where the large ones are (Scattered). And decoding does not copy them either: the
// tensors of a Record share the memory in which the message has arrived.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>
#include <vflbus/app.hpp>

#include "base/errc.hpp"
#include "bus/wire/codec.hpp"

namespace vflbus::apps {

using bus::Bytes;
namespace app = vflbus::app;

inline constexpr std::uint16_t app_message_type = 256;  ///< docs/protocol.md, section 8

inline constexpr std::size_t entries_max = 65'536;    ///< tensors, metrics or values of a record
inline constexpr std::size_t elements_max = 1 << 20;  ///< of one list in a record
inline constexpr std::size_t elements_total_max = 1 << 20;  ///< msgpack elements of a whole body
inline constexpr std::size_t name_bytes_max = 1024;
inline constexpr std::size_t text_bytes_max = 16 << 20;
inline constexpr std::int64_t ttl_ms_max = 365LL * 24 * 3600 * 1000;
/// A tensor of so many bytes or more is not copied.
inline constexpr std::size_t share_from_bytes = 64 << 10;

/// Encoded bytes in pieces: small ones that it owns, and large ones that it only points to. Their
/// owner must outlive it.
class Scattered {
  public:
    /// Where the next small bytes go.
    [[nodiscard]] bus::Writer& small() noexcept { return small_; }
    /// The next bytes are these.
    void refer(std::span<const std::uint8_t> bytes);
    /// Another one after this.
    void append(Scattered&& other);

    [[nodiscard]] std::uint64_t bytes() const noexcept;
    /// All pieces in their order. Good until this changes.
    [[nodiscard]] std::vector<std::span<const std::uint8_t>> pieces();
    /// One piece: a copy.
    [[nodiscard]] Bytes gather();

  private:
    struct Block {
        Bytes small;
        std::span<const std::uint8_t> large;  ///< after `small`
    };
    void close();
    std::vector<Block> blocks_;
    bus::Writer small_;
};

/// `record` must outlive what is returned.
Scattered scatter(const app::Record& record);
Bytes encode(const app::Record& record);
/// Large tensors point into `bytes`, which `owner` keeps; null: all are copied. Errors:
/// malformed_message.
Result<app::Record> decode_record(std::span<const std::uint8_t> bytes,
                                  const std::shared_ptr<const void>& owner = {});

/// The body of an app's message on the bus. Its head has a few dozen bytes, so that whoever only
/// passes it on reads it without touching the record behind it.
struct Envelope {
    std::string message_id;
    std::string message_type;
    std::string group_id;
    std::int64_t ttl_ms = 0;
    std::int64_t created_us = 0;  ///< since 1970, by the clock of its sender
    std::span<const std::uint8_t> record;
};
Bytes encode(const Envelope& envelope);
/// The same around a record that is not encoded yet; `envelope.record` does not count.
Scattered scatter(const Envelope& envelope, const app::Record& record);
/// `record` points into `body`. Errors: malformed_message.
Result<Envelope> decode_envelope(std::span<const std::uint8_t> body);

Envelope envelope_of(const app::Metadata& metadata);
app::Metadata metadata_of(const Envelope& envelope);

// -- parts of other bodies ------------------------------------------------------------------

void put(bus::Writer& out, const app::Values& values);
app::Values take_values(bus::Reader& in);
/// The next name of a map, in rising order, so that none comes twice.
template <class Map>
std::string next_name(bus::Reader& in, const Map& so_far) {
    std::string name = in.str(name_bytes_max);
    if (!so_far.empty() && so_far.rbegin()->first >= name) in.fault("names out of order");
    return name;
}

}  // namespace vflbus::apps
