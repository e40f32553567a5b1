#pragma once
// Bodies in msgpack. The only place that decodes what strangers send: limits, exact arity, whole
// input.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errc.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::bus {

using Bytes = std::vector<std::uint8_t>;

/// As much of it as a sentence may have, cut between characters.
std::string_view cut_sentence(std::string_view sentence) noexcept;

/// Writes msgpack values one after another.
class Writer {
  public:
    Writer();
    ~Writer();
    Writer(Writer&&) noexcept;
    Writer& operator=(Writer&&) noexcept;

    Writer& array(std::size_t elements);
    Writer& u64(std::uint64_t value);
    Writer& i64(std::int64_t value);
    Writer& f64(double value);
    Writer& boolean(bool value);
    Writer& str(std::string_view value);
    /// A string for people, cut when it is too long: what an exception of somebody's app says may
    /// have any length, and must not keep the news from its receivers.
    Writer& sentence(std::string_view value);
    Writer& bin(std::span<const std::uint8_t> value);
    /// ["f64", [rows, cols], bytes]: raw little-endian, column-major.
    Writer& tensor(std::span<const double> values, std::size_t rows, std::size_t cols);
    Writer& u32s(std::span<const std::uint32_t> values);  ///< bin of little-endian words
    Writer& strs(std::span<const std::string> values);
    /// Room for `bytes` more, so that a large body grows once.
    Writer& reserve(std::size_t bytes);

    [[nodiscard]] Bytes take();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

struct DecodeLimits {
    std::size_t elements_max = array_elements_max;
    std::size_t depth = depth_max;
    std::uint64_t bytes_max = message_bytes_max;
};

/// Reads a body that is one msgpack array. Every getter takes the next element; after the first
/// fault all getters return zero values and `finish()` tells the fault. Views point into the input,
/// which the caller keeps alive.
class Reader {
  public:
    /// `what` names the message in sentences, `elements` is the exact arity of the outer array.
    Reader(std::string_view what, std::span<const std::uint8_t> body, std::size_t elements,
           const DecodeLimits& limits = {});
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    std::uint64_t u64(std::uint64_t max = UINT64_MAX);
    std::int64_t i64();
    double f64();
    bool boolean();
    std::string str(std::size_t bytes_max = 4096);
    /// Of any length that the body may have; what is too long is cut.
    std::string sentence();
    std::span<const std::uint8_t> bin(std::uint64_t bytes_max = message_bytes_max);
    /// Fills `out` (must be a fixed number of bytes).
    void fixed_bin(std::span<std::uint8_t> out);
    /// Copies a tensor out into memory of the caller's choosing: shape first, then `copy_tensor`.
    struct TensorView {
        std::size_t rows = 0;
        std::size_t cols = 0;
        std::span<const std::uint8_t> raw;  ///< rows * cols * 8 bytes, unaligned
        void copy_to(std::span<double> out) const;
    };
    TensorView tensor();
    std::vector<std::uint32_t> u32s();
    std::vector<std::string> strs();
    /// Enters the next element, an array of any length up to the limit (exactly `exact` if given);
    /// returns its length.
    std::size_t enter(std::size_t exact = SIZE_MAX);
    void leave();  ///< after all its elements were taken

    [[nodiscard]] bool ok() const noexcept;
    void fault(std::string_view why);
    /// Errc::malformed_message with the first fault, or success when every element was taken.
    [[nodiscard]] Result<> finish();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// `value`, when `reader` has nothing to complain of; otherwise what it says.
template <class T>
Result<T> finished(Reader& reader, T&& value) {
    if (auto done = reader.finish(); !done) return tl::unexpected(std::move(done.error()));
    return std::forward<T>(value);
}

}  // namespace vflbus::bus
