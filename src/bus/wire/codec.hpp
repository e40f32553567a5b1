#pragma once
// Bodies in msgpack. A body comes from a stranger, so this is the only place that decodes one. It
// takes no memory for what a body only claims, refuses what exceeds a limit, and demands the exact
// number of elements and the whole input.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errc.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::bus {

using Bytes = std::vector<std::uint8_t>;

/// The sentence, cut between characters when it is longer than that, as a frame may not carry more.
std::string_view cut_sentence(std::string_view sentence,
                              std::size_t bytes_max = sentence_bytes_max) noexcept;

/// Writes msgpack values one after another, each in its shortest form (but a double, which always
/// has nine bytes). What is longer than its length can say, which has 32 bits, is refused with a
/// std::length_error before anything of it is written: the run or handler that it belongs to fails
/// with that sentence.
class Writer {
  public:
    /// Most bodies are small: they take memory once.
    Writer() { bytes_.reserve(small_body_bytes); }

    Writer& array(std::size_t elements);
    Writer& map(std::size_t pairs);
    Writer& u64(std::uint64_t value);
    Writer& i64(std::int64_t value);
    Writer& f64(double value);
    Writer& boolean(bool value);
    Writer& str(std::string_view value);
    /// A string for people, cut when it is too long: an exception of a user's app may have a
    /// message of any length, and the receiver still has to learn of it.
    Writer& sentence(std::string_view value);
    Writer& bin(std::span<const std::uint8_t> value);
    /// The head of a bin whose `bytes` bytes the caller sends after it.
    Writer& bin_head(std::size_t bytes);
    /// ["f64", [rows, cols], bytes]: raw little-endian, column-major. Requires `values` to have
    /// rows * cols numbers.
    Writer& tensor(std::span<const double> values, std::size_t rows, std::size_t cols);
    /// The same of words that are integers modulo 2^64: type "u64".
    Writer& ring_tensor(std::span<const std::uint64_t> words, std::size_t rows, std::size_t cols);
    Writer& u32s(std::span<const std::uint32_t> values);  ///< bin of little-endian words
    Writer& strs(std::span<const std::string> values);
    /// Room for `bytes` more, so that a large body grows once.
    Writer& reserve(std::size_t bytes);

    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
    [[nodiscard]] Bytes take() { return std::move(bytes_); }

  private:
    static constexpr std::size_t small_body_bytes = 64;

    Writer& tensor_of(std::string_view type, std::span<const std::uint8_t> raw, std::size_t rows,
                      std::size_t cols);
    void number(std::uint8_t marker, std::uint64_t value, std::size_t bytes);
    /// A marker with a length. `small` elements or fewer fit into the marker `fixed` itself;
    /// `marker8` is 0 where msgpack has no form with one byte.
    void length(std::size_t n, std::size_t small, std::uint8_t fixed, std::uint8_t marker8,
                std::uint8_t marker16, std::uint8_t marker32);
    void raw(const void* data, std::size_t n);

    Bytes bytes_;
};

/// What a body may have. A limit of each array alone would not do: 4,096 arrays of 4,096 arrays of
/// 4,096 nils are small arrays only.
struct DecodeLimits {
    std::size_t elements_max = array_elements_max;  ///< of one array or map
    std::size_t depth = depth_max;
    std::uint64_t bytes_max = message_bytes_max;
    std::size_t elements_total_max = elements_in_total_max;  ///< of all of them together
};

/// Reads a body that is one msgpack array.
///
/// The constructor checks the structure of the whole body in one pass that takes no memory:
/// limits, lengths, trailing bytes. Then each getter takes the next element. After the first fault
/// all getters return zero values, and `finish()` tells the fault: what was read counts only after
/// a `finish()` that succeeds. Views point into the input, which the caller keeps alive.
class Reader {
  public:
    /// `what` names the message in sentences, `elements` is the exact arity of the outer array.
    Reader(std::string_view what, std::span<const std::uint8_t> body, std::size_t elements,
           const DecodeLimits& limits = {});
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    std::uint64_t u64(std::uint64_t max = UINT64_MAX);
    std::int64_t i64();
    double f64();
    bool boolean();
    std::string str(std::size_t bytes_max = 4096);
    /// A string of any length; a string that is too long is cut.
    std::string sentence();
    std::span<const std::uint8_t> bin(std::uint64_t bytes_max = message_bytes_max);
    /// Fills `out`; the element must have exactly that many bytes.
    void fixed_bin(std::span<std::uint8_t> out);
    /// A tensor in place: the caller looks at its shape before it takes memory.
    struct TensorView {
        std::size_t rows = 0;
        std::size_t cols = 0;
        std::span<const std::uint8_t> raw;  ///< rows * cols * 8 bytes, unaligned
        bool ring = false;                  ///< integers modulo 2^64, and no doubles
        void copy_to(std::span<double> out) const;
        void copy_to(std::span<std::uint64_t> out) const;
    };
    /// Of doubles or of integers modulo 2^64; who wants one of them looks at `ring`.
    TensorView tensor();
    std::vector<std::uint32_t> u32s();
    std::vector<std::string> strs();
    /// Enters the next element, an array of any length up to the limit (exactly `exact` if given);
    /// returns its length, which is no more than the body has bytes left.
    std::size_t enter(std::size_t exact = SIZE_MAX);
    /// The same for a map. Returns the number of its pairs; keys and values are taken in turn.
    std::size_t enter_map();
    void leave();  ///< after all its elements were taken

    [[nodiscard]] bool ok() const noexcept { return why_.empty(); }
    void fault(std::string_view why);
    /// Errc::malformed_message with the first fault, or success when every element was taken.
    [[nodiscard]] Result<> finish();

  private:
    struct Element;
    /// What is wrong with the structure of the whole body; null: nothing. Takes no memory.
    static const char* structure_fault(std::span<const std::uint8_t> body,
                                       const DecodeLimits& limits) noexcept;
    /// The next element of the level that is open; false after a fault.
    bool take(Element& out);
    std::size_t enter_level(const Element& element, std::size_t elements);

    std::string what_;
    std::string why_;
    const std::uint8_t* at_ = nullptr;
    const std::uint8_t* end_ = nullptr;
    std::vector<std::size_t> left_;  ///< elements not taken yet, of each level that is open
};

/// `value`, when `reader` found no fault; otherwise the fault.
template <class T>
Result<T> finished(Reader& reader, T&& value) {
    if (auto done = reader.finish(); !done) return tl::unexpected(std::move(done.error()));
    return std::forward<T>(value);
}

}  // namespace vflbus::bus
