#include "bus/wire/codec.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "base/assert.hpp"

namespace vflbus::bus {

static_assert(std::endian::native == std::endian::little,
              "tensors travel as raw little-endian bytes");

std::string_view cut_sentence(std::string_view sentence, std::size_t bytes_max) noexcept {
    if (sentence.size() <= bytes_max) return sentence;
    const auto inside = [&](std::size_t at) {
        return (static_cast<unsigned char>(sentence[at]) & 0xC0) == 0x80;
    };
    std::size_t end = bytes_max;
    // a character has at most three bytes after its first; what has more is no UTF-8
    for (int i = 0; i < 3 && end > 0 && inside(end); ++i) --end;
    return sentence.substr(0, inside(end) ? bytes_max : end);
}

// -- writer --------------------------------------------------------------------

void Writer::raw(const void* data, std::size_t n) {
    const auto* bytes = static_cast<const std::uint8_t*>(data);
    bytes_.insert(bytes_.end(), bytes, bytes + n);
}

void Writer::number(std::uint8_t marker, std::uint64_t value, std::size_t bytes) {
    bytes_.push_back(marker);
    for (std::size_t i = bytes; i-- > 0;)
        bytes_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

void Writer::length(std::size_t n, std::size_t small, std::uint8_t fixed, std::uint8_t marker8,
                    std::uint8_t marker16, std::uint8_t marker32) {
    if (n > UINT32_MAX)
        throw std::length_error("a value of " + std::to_string(n) +
                                " bytes or elements is too long for a message: its length has 32 "
                                "bits (docs/protocol.md, section 10)");
    if (n < small)
        bytes_.push_back(static_cast<std::uint8_t>(fixed | n));
    else if (marker8 != 0 && n <= UINT8_MAX)
        number(marker8, n, 1);
    else if (n <= UINT16_MAX)
        number(marker16, n, 2);
    else
        number(marker32, n, 4);
}

Writer& Writer::array(std::size_t elements) {
    length(elements, 16, 0x90, 0, 0xdc, 0xdd);
    return *this;
}
Writer& Writer::map(std::size_t pairs) {
    length(pairs, 16, 0x80, 0, 0xde, 0xdf);
    return *this;
}
Writer& Writer::u64(std::uint64_t value) {
    if (value < 0x80)
        bytes_.push_back(static_cast<std::uint8_t>(value));
    else if (value <= UINT8_MAX)
        number(0xcc, value, 1);
    else if (value <= UINT16_MAX)
        number(0xcd, value, 2);
    else if (value <= UINT32_MAX)
        number(0xce, value, 4);
    else
        number(0xcf, value, 8);
    return *this;
}
Writer& Writer::i64(std::int64_t value) {
    const auto bits = static_cast<std::uint64_t>(value);
    if (value >= 0) return u64(bits);
    if (value >= -32)
        bytes_.push_back(static_cast<std::uint8_t>(bits));
    else if (value >= INT8_MIN)
        number(0xd0, bits, 1);
    else if (value >= INT16_MIN)
        number(0xd1, bits, 2);
    else if (value >= INT32_MIN)
        number(0xd2, bits, 4);
    else
        number(0xd3, bits, 8);
    return *this;
}
Writer& Writer::f64(double value) {
    number(0xcb, std::bit_cast<std::uint64_t>(value), 8);
    return *this;
}
Writer& Writer::boolean(bool value) {
    bytes_.push_back(value ? 0xc3 : 0xc2);
    return *this;
}
Writer& Writer::str(std::string_view value) {
    length(value.size(), 32, 0xa0, 0xd9, 0xda, 0xdb);
    raw(value.data(), value.size());
    return *this;
}
Writer& Writer::sentence(std::string_view value) {
    return str(cut_sentence(value));
}
Writer& Writer::bin(std::span<const std::uint8_t> value) {
    bin_head(value.size());
    raw(value.data(), value.size());
    return *this;
}
Writer& Writer::bin_head(std::size_t bytes) {
    length(bytes, 0, 0, 0xc4, 0xc5, 0xc6);
    return *this;
}
Writer& Writer::tensor(std::span<const double> values, std::size_t rows, std::size_t cols) {
    return tensor_of("f64",
                     {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()},
                     rows, cols);
}
Writer& Writer::ring_tensor(std::span<const std::uint64_t> words, std::size_t rows,
                            std::size_t cols) {
    return tensor_of("u64",
                     {reinterpret_cast<const std::uint8_t*>(words.data()), words.size_bytes()},
                     rows, cols);
}
Writer& Writer::tensor_of(std::string_view type, std::span<const std::uint8_t> values,
                          std::size_t rows, std::size_t cols) {
    const std::size_t numbers = values.size() / 8;
    VFLBUS_ASSERT(cols == 0 ? numbers == 0 : numbers / cols == rows && numbers % cols == 0,
                  "a tensor has as many numbers as its shape says");
    if (values.size_bytes() > UINT32_MAX)
        throw std::length_error("a tensor of " + std::to_string(rows) + " x " +
                                std::to_string(cols) + " numbers has " +
                                std::to_string(values.size_bytes()) +
                                " bytes, and 4294967295 at most fit into one (docs/protocol.md, "
                                "section 10): use fewer rows or columns at a time");
    array(3).str(type).array(2).u64(rows).u64(cols);
    length(values.size_bytes(), 0, 0, 0xc4, 0xc5, 0xc6);
    raw(values.data(), values.size_bytes());
    return *this;
}
Writer& Writer::u32s(std::span<const std::uint32_t> values) {
    length(values.size_bytes(), 0, 0, 0xc4, 0xc5, 0xc6);
    raw(values.data(), values.size_bytes());
    return *this;
}
Writer& Writer::strs(std::span<const std::string> values) {
    array(values.size());
    for (const std::string& value : values) str(value);
    return *this;
}
Writer& Writer::reserve(std::size_t bytes) {
    bytes_.reserve(bytes_.size() + bytes);
    return *this;
}

// -- elements ------------------------------------------------------------------

/// One msgpack value: its type, and its number or where its bytes are. An array or a map has only
/// its length; its elements follow as elements of their own.
struct Reader::Element {
    enum class Type : std::uint8_t {
        other,  ///< nil and extension types, which no body of ours has
        boolean,
        non_negative,
        negative,
        real,
        text,
        binary,
        array,
        map,
    };
    Type type = Type::other;
    std::uint64_t number = 0;  ///< or the length of an array (elements) or map (pairs)
    double real = 0;
    std::span<const std::uint8_t> bytes;

    /// Reads the element at `at` and moves on behind it; false when it is cut off or no msgpack.
    static bool next(const std::uint8_t*& at, const std::uint8_t* end, Element& out) noexcept;
    /// How many elements follow as its own.
    [[nodiscard]] std::uint64_t children() const noexcept {
        return type == Type::array ? number : type == Type::map ? 2 * number : 0;
    }
};

namespace {

/// The big-endian number of `bytes` bytes at `at`, moving on behind it.
std::optional<std::uint64_t> big_endian(const std::uint8_t*& at, const std::uint8_t* end,
                                        std::size_t bytes) noexcept {
    if (static_cast<std::size_t>(end - at) < bytes) return std::nullopt;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | *at++;
    return value;
}

/// How a marker byte from 0xc0 to 0xdf goes on (the table of the msgpack specification).
struct Form {
    enum class Rest : std::uint8_t { invalid, none, number, length, extension };
    Rest rest = Rest::invalid;
    std::uint8_t bytes = 0;  ///< of the number or the length; an extension's fixed length
};
constexpr std::array<Form, 32> forms = [] {
    using Rest = Form::Rest;
    std::array<Form, 32> table{};
    const auto set = [&](unsigned marker, Rest rest, std::uint8_t bytes) {
        table[marker - 0xc0] = {rest, bytes};
    };
    for (const unsigned marker : {0xc0u, 0xc2u, 0xc3u}) set(marker, Rest::none, 0);
    for (const unsigned first : {0xc4u, 0xc7u, 0xccu, 0xd0u}) {
        const bool lengths = first <= 0xc7u;
        set(first, lengths ? Rest::length : Rest::number, 1);
        set(first + 1, lengths ? Rest::length : Rest::number, 2);
        set(first + 2, lengths ? Rest::length : Rest::number, 4);
        if (!lengths) set(first + 3, Rest::number, 8);
    }
    set(0xca, Rest::number, 4);
    set(0xcb, Rest::number, 8);
    for (std::uint8_t i = 0; i < 5; ++i)  // the type byte of an extension belongs to its data
        set(0xd4u + i, Rest::extension, static_cast<std::uint8_t>(1 + (1u << i)));
    set(0xd9, Rest::length, 1);
    for (const unsigned first : {0xdau, 0xdcu, 0xdeu}) {
        set(first, Rest::length, 2);
        set(first + 1, Rest::length, 4);
    }
    return table;
}();

}  // namespace

bool Reader::Element::next(const std::uint8_t*& at, const std::uint8_t* end,
                           Element& out) noexcept {
    if (at == end) return false;
    out = Element{};
    const std::uint8_t marker = *at++;
    const auto data = [&](Type type, std::uint64_t n) {
        if (static_cast<std::uint64_t>(end - at) < n) return false;
        out.type = type;
        out.bytes = {at, static_cast<std::size_t>(n)};
        at += n;
        return true;
    };
    const auto counted = [&](Type type, std::uint64_t n) {
        out.type = type;
        out.number = n;
        return true;
    };
    if (marker < 0x80) return counted(Type::non_negative, marker);
    if (marker < 0x90) return counted(Type::map, marker & 0x0fu);
    if (marker < 0xa0) return counted(Type::array, marker & 0x0fu);
    if (marker < 0xc0) return data(Type::text, marker & 0x1fu);
    if (marker >= 0xe0) {
        const auto value = static_cast<std::int8_t>(marker);
        return counted(Type::negative, static_cast<std::uint64_t>(std::int64_t{value}));
    }
    const Form form = forms[marker - 0xc0u];
    if (form.rest == Form::Rest::invalid) return false;
    if (form.rest == Form::Rest::extension) return data(Type::other, form.bytes);
    if (form.rest == Form::Rest::none)
        return marker == 0xc0 ? true : counted(Type::boolean, marker == 0xc3 ? 1 : 0);
    const auto value = big_endian(at, end, form.bytes);
    if (!value) return false;
    if (marker <= 0xc6) return data(Type::binary, *value);
    if (marker <= 0xc9) return data(Type::other, *value + 1);
    if (marker <= 0xcb) {
        out.type = Type::real;
        out.real =
            marker == 0xca
                ? static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(*value)))
                : std::bit_cast<double>(*value);
        return true;
    }
    if (marker <= 0xcf) return counted(Type::non_negative, *value);
    if (marker <= 0xd3) {
        const unsigned unused = 64 - 8u * form.bytes;
        const std::int64_t number = static_cast<std::int64_t>(*value << unused) >> unused;
        return counted(number < 0 ? Type::negative : Type::non_negative,
                       static_cast<std::uint64_t>(number));
    }
    if (marker <= 0xdb) return data(Type::text, *value);
    return counted(marker <= 0xdd ? Type::array : Type::map, *value);
}

// -- reader --------------------------------------------------------------------

namespace {

constexpr std::size_t depth_supported = 32;

}  // namespace

const char* Reader::structure_fault(std::span<const std::uint8_t> body,
                                    const DecodeLimits& limits) noexcept {
    VFLBUS_ASSERT(limits.depth <= depth_supported, "a decoder asks for a depth that is supported");
    if (body.size() > limits.bytes_max) return "body too large";
    constexpr const char* cut_off = "not msgpack within the limits (it is cut off)";
    std::array<std::uint64_t, depth_supported> open{};  // what each level still has to have
    std::size_t depth = 0;
    std::uint64_t total = 0;
    const std::uint8_t* at = body.data();
    const std::uint8_t* const end = at + body.size();
    do {
        Element element;
        if (!Element::next(at, end, element)) return cut_off;
        if (depth > 0) --open[depth - 1];
        if (element.type == Element::Type::array || element.type == Element::Type::map) {
            const std::uint64_t children = element.children();
            total += children;
            if (element.number > limits.elements_max || total > limits.elements_total_max)
                return "not msgpack within the limits (too many elements)";
            if (children > static_cast<std::uint64_t>(end - at)) return cut_off;
            if (depth == limits.depth) return "not msgpack within the limits (too deep)";
            open[depth++] = children;
        }
        while (depth > 0 && open[depth - 1] == 0) --depth;
    } while (depth > 0);
    return at == end ? nullptr : "trailing bytes";
}

Reader::Reader(std::string_view what, std::span<const std::uint8_t> body, std::size_t elements,
               const DecodeLimits& limits)
    : what_(what), at_(body.data()), end_(body.data() + body.size()) {
    if (const char* const wrong = structure_fault(body, limits)) {
        fault(wrong);
        return;
    }
    Element outer;
    Element::next(at_, end_, outer);
    if (outer.type != Element::Type::array) {
        fault("expected an array");
        return;
    }
    if (outer.number != elements) {
        fault("expected " + std::to_string(elements) + " elements, found " +
              std::to_string(outer.number));
        return;
    }
    left_.push_back(elements);
}

bool Reader::take(Element& out) {
    if (!ok()) return false;
    if (left_.back() == 0) {
        fault("too few elements");
        return false;
    }
    --left_.back();
    const bool there = Element::next(at_, end_, out);
    VFLBUS_ASSERT(there, "the structure of a body was checked before its elements are taken");
    return true;
}

std::uint64_t Reader::u64(std::uint64_t max) {
    Element element;
    if (!take(element)) return 0;
    if (element.type != Element::Type::non_negative) {
        fault("expected a non-negative integer");
        return 0;
    }
    if (element.number > max) {
        fault("number out of range");
        return 0;
    }
    return element.number;
}

std::int64_t Reader::i64() {
    Element element;
    if (!take(element)) return 0;
    if (element.type == Element::Type::negative ||
        (element.type == Element::Type::non_negative && element.number <= INT64_MAX))
        return static_cast<std::int64_t>(element.number);
    fault("expected an integer");
    return 0;
}

double Reader::f64() {
    Element element;
    if (!take(element)) return 0;
    if (element.type == Element::Type::real) return element.real;
    if (element.type == Element::Type::non_negative) return static_cast<double>(element.number);
    if (element.type == Element::Type::negative)
        return static_cast<double>(static_cast<std::int64_t>(element.number));
    fault("expected a number");
    return 0;
}

bool Reader::boolean() {
    Element element;
    if (!take(element)) return false;
    if (element.type != Element::Type::boolean) fault("expected true or false");
    return ok() && element.number != 0;
}

std::string Reader::str(std::size_t bytes_max) {
    Element element;
    if (!take(element)) return {};
    if (element.type != Element::Type::text)
        fault("expected a string");
    else if (element.bytes.size() > bytes_max)
        fault("string too long");
    if (!ok()) return {};
    // (not by the iterators of bytes that are no char: they are copied one by one)
    return {reinterpret_cast<const char*>(element.bytes.data()), element.bytes.size()};
}

std::string Reader::sentence() {
    Element element;
    if (!take(element)) return {};
    if (element.type != Element::Type::text) {
        fault("expected a string");
        return {};
    }
    return std::string(
        cut_sentence({reinterpret_cast<const char*>(element.bytes.data()), element.bytes.size()}));
}

std::span<const std::uint8_t> Reader::bin(std::uint64_t bytes_max) {
    Element element;
    if (!take(element)) return {};
    if (element.type != Element::Type::binary)
        fault("expected binary data");
    else if (element.bytes.size() > bytes_max)
        fault("binary data too long");
    if (!ok()) return {};
    return element.bytes;
}

void Reader::fixed_bin(std::span<std::uint8_t> out) {
    const auto bytes = bin(out.size());
    if (!ok()) return;
    if (bytes.size() != out.size()) return fault("binary data of the wrong length");
    if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size());
}

Reader::TensorView Reader::tensor() {
    TensorView view;
    enter(3);
    const std::string type = str(8);
    if (type != "f64" && type != "u64") fault("a tensor of an unknown type");
    view.ring = type == "u64";
    enter(2);
    view.rows = u64(message_bytes_max);
    view.cols = u64(message_bytes_max);
    leave();
    view.raw = bin();
    leave();
    if (!ok()) return {};
    // both factors are at most 2^30, so the product does not wrap
    if (view.raw.size() % 8 != 0 || view.rows * view.cols != view.raw.size() / 8) {
        fault("a tensor whose shape does not match its bytes");
        return {};
    }
    return view;
}

void Reader::TensorView::copy_to(std::span<std::uint64_t> out) const {
    if (!raw.empty()) std::memcpy(out.data(), raw.data(), std::min(raw.size(), out.size_bytes()));
}
void Reader::TensorView::copy_to(std::span<double> out) const {
    if (!raw.empty()) std::memcpy(out.data(), raw.data(), std::min(raw.size(), out.size_bytes()));
}

std::vector<std::uint32_t> Reader::u32s() {
    const auto bytes = bin();
    if (bytes.size() % 4 != 0) {
        fault("an array of words that is cut off");
        return {};
    }
    std::vector<std::uint32_t> out(bytes.size() / 4);
    if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
}

std::vector<std::string> Reader::strs() {
    std::vector<std::string> out(enter());
    for (std::string& text : out) text = str();
    leave();
    if (!ok()) return {};
    return out;
}

std::size_t Reader::enter_level(const Element& element, std::size_t elements) {
    left_.push_back(elements);
    return static_cast<std::size_t>(element.number);
}

std::size_t Reader::enter(std::size_t exact) {
    Element element;
    if (!take(element)) return 0;
    if (element.type != Element::Type::array) {
        fault("expected an array");
        return 0;
    }
    if (exact != SIZE_MAX && element.number != exact) {
        fault("expected an array of " + std::to_string(exact));
        return 0;
    }
    return enter_level(element, static_cast<std::size_t>(element.number));
}

std::size_t Reader::enter_map() {
    Element element;
    if (!take(element)) return 0;
    if (element.type != Element::Type::map) {
        fault("expected a map");
        return 0;
    }
    return enter_level(element, static_cast<std::size_t>(element.children()));
}

void Reader::leave() {
    if (!ok()) return;
    if (left_.size() < 2 || left_.back() != 0) return fault("too many elements");
    left_.pop_back();
}

void Reader::fault(std::string_view why) {
    if (why_.empty()) why_ = why;
}

Result<> Reader::finish() {
    if (ok() && (left_.size() != 1 || left_.back() != 0)) fault("too many elements");
    if (ok()) return {};
    return fail(Errc::malformed_message, what_ + ": " + why_);
}

}  // namespace vflbus::bus
