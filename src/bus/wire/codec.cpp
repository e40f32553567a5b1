#include "bus/wire/codec.hpp"

#include <bit>
#include <cstring>
#include <exception>
#include <msgpack.hpp>

namespace vflbus::bus {

static_assert(std::endian::native == std::endian::little,
              "tensors travel as raw little-endian bytes");

std::string_view cut_sentence(std::string_view sentence) noexcept {
    if (sentence.size() <= sentence_bytes_max) return sentence;
    const auto inside = [&](std::size_t at) {
        return (static_cast<unsigned char>(sentence[at]) & 0xC0) == 0x80;
    };
    std::size_t end = sentence_bytes_max;
    // a character has at most three bytes after its first; what has more is no UTF-8
    for (int i = 0; i < 3 && inside(end); ++i) --end;
    return sentence.substr(0, inside(end) ? sentence_bytes_max : end);
}

// -- writer --------------------------------------------------------------------

struct Writer::Impl {
    struct Sink {
        Bytes bytes;
        void write(const char* data, std::size_t n) {
            const auto* p = reinterpret_cast<const std::uint8_t*>(data);
            bytes.insert(bytes.end(), p, p + n);
        }
    };
    Sink sink;
    msgpack::packer<Sink> packer{sink};

    void raw(const void* data, std::size_t n) {
        packer.pack_bin(static_cast<std::uint32_t>(n));
        packer.pack_bin_body(static_cast<const char*>(data), static_cast<std::uint32_t>(n));
    }
};

Writer::Writer() : impl_(std::make_unique<Impl>()) {}
Writer::~Writer() = default;
Writer::Writer(Writer&&) noexcept = default;
Writer& Writer::operator=(Writer&&) noexcept = default;

Writer& Writer::array(std::size_t elements) {
    impl_->packer.pack_array(static_cast<std::uint32_t>(elements));
    return *this;
}
Writer& Writer::u64(std::uint64_t value) {
    impl_->packer.pack_uint64(value);
    return *this;
}
Writer& Writer::i64(std::int64_t value) {
    impl_->packer.pack_int64(value);
    return *this;
}
Writer& Writer::f64(double value) {
    // packer::pack_double turns whole numbers into integers: -0.0 would lose its sign, and 2^64 is
    // undefined
    const auto bits = std::bit_cast<std::uint64_t>(value);
    char bytes[9] = {static_cast<char>(0xcb)};
    for (int i = 0; i < 8; ++i) bytes[1 + i] = static_cast<char>(bits >> (56 - 8 * i));
    impl_->sink.write(bytes, sizeof bytes);
    return *this;
}
Writer& Writer::boolean(bool value) {
    if (value)
        impl_->packer.pack_true();
    else
        impl_->packer.pack_false();
    return *this;
}
Writer& Writer::str(std::string_view value) {
    impl_->packer.pack_str(static_cast<std::uint32_t>(value.size()));
    impl_->packer.pack_str_body(value.data(), static_cast<std::uint32_t>(value.size()));
    return *this;
}
Writer& Writer::sentence(std::string_view value) {
    return str(cut_sentence(value));
}
Writer& Writer::bin(std::span<const std::uint8_t> value) {
    impl_->raw(value.data(), value.size());
    return *this;
}
Writer& Writer::tensor(std::span<const double> values, std::size_t rows, std::size_t cols) {
    array(3).str("f64").array(2).u64(rows).u64(cols);
    impl_->raw(values.data(), values.size_bytes());
    return *this;
}
Writer& Writer::u32s(std::span<const std::uint32_t> values) {
    impl_->raw(values.data(), values.size_bytes());
    return *this;
}
Writer& Writer::strs(std::span<const std::string> values) {
    array(values.size());
    for (const std::string& value : values) str(value);
    return *this;
}
Writer& Writer::reserve(std::size_t bytes) {
    impl_->sink.bytes.reserve(impl_->sink.bytes.size() + bytes);
    return *this;
}
Bytes Writer::take() {
    return std::move(impl_->sink.bytes);
}

// -- reader --------------------------------------------------------------------

struct Reader::Impl {
    struct Level {
        const msgpack::object* next;
        std::size_t left;
    };

    std::string what;
    std::string why;
    msgpack::object_handle handle;
    std::vector<Level> levels;
    DecodeLimits limits;

    const msgpack::object* take(msgpack::type::object_type type, const char* name) {
        const msgpack::object* object = take_any();
        if (object == nullptr) return nullptr;
        if (object->type != type) {
            fail(std::string("expected ") + name);
            return nullptr;
        }
        return object;
    }

    const msgpack::object* take_any() {
        if (!why.empty()) return nullptr;
        if (levels.empty() || levels.back().left == 0) {
            fail("too few elements");
            return nullptr;
        }
        --levels.back().left;
        return levels.back().next++;
    }

    void fail(std::string reason) {
        if (why.empty()) why = std::move(reason);
    }
};

Reader::Reader(std::string_view what, std::span<const std::uint8_t> body, std::size_t elements,
               const DecodeLimits& limits)
    : impl_(std::make_unique<Impl>()) {
    impl_->what = what;
    impl_->limits = limits;
    if (body.size() > limits.bytes_max) {
        impl_->fail("body too large");
        return;
    }
    try {
        std::size_t offset = 0;
        const msgpack::unpack_limit bounds(limits.elements_max, 0, limits.bytes_max,
                                           limits.bytes_max, 0, limits.depth);
        // strings and binaries stay where they are: the caller keeps the body alive
        const auto in_place = [](msgpack::type::object_type, std::size_t, void*) { return true; };
        impl_->handle = msgpack::unpack(reinterpret_cast<const char*>(body.data()), body.size(),
                                        offset, in_place, nullptr, bounds);
        if (offset != body.size()) {
            impl_->fail("trailing bytes");
            return;
        }
    } catch (
        const std::exception& e) {  // unpack_error, bad_alloc: what a stranger's bytes can cause
        impl_->fail(std::string("not msgpack within the limits (") + e.what() + ")");
        return;
    }
    const msgpack::object& outer = impl_->handle.get();
    if (outer.type != msgpack::type::ARRAY) {
        impl_->fail("expected an array");
        return;
    }
    if (outer.via.array.size != elements) {
        impl_->fail("expected " + std::to_string(elements) + " elements, found " +
                    std::to_string(outer.via.array.size));
        return;
    }
    impl_->levels.push_back({outer.via.array.ptr, elements});
}

Reader::~Reader() = default;

std::uint64_t Reader::u64(std::uint64_t max) {
    const auto* o = impl_->take(msgpack::type::POSITIVE_INTEGER, "a non-negative integer");
    if (o == nullptr) return 0;
    if (o->via.u64 > max) {
        impl_->fail("number out of range");
        return 0;
    }
    return o->via.u64;
}

std::int64_t Reader::i64() {
    const auto* o = impl_->take_any();
    if (o == nullptr) return 0;
    if (o->type == msgpack::type::NEGATIVE_INTEGER) return o->via.i64;
    if (o->type == msgpack::type::POSITIVE_INTEGER && o->via.u64 <= INT64_MAX)
        return static_cast<std::int64_t>(o->via.u64);
    impl_->fail("expected an integer");
    return 0;
}

double Reader::f64() {
    const auto* o = impl_->take_any();
    if (o == nullptr) return 0;
    if (o->type == msgpack::type::FLOAT64 || o->type == msgpack::type::FLOAT32) return o->via.f64;
    if (o->type == msgpack::type::POSITIVE_INTEGER) return static_cast<double>(o->via.u64);
    if (o->type == msgpack::type::NEGATIVE_INTEGER) return static_cast<double>(o->via.i64);
    impl_->fail("expected a number");
    return 0;
}

bool Reader::boolean() {
    const auto* o = impl_->take(msgpack::type::BOOLEAN, "true or false");
    return o != nullptr && o->via.boolean;
}

std::string Reader::str(std::size_t bytes_max) {
    const auto* o = impl_->take(msgpack::type::STR, "a string");
    if (o == nullptr) return {};
    if (o->via.str.size > bytes_max) {
        impl_->fail("string too long");
        return {};
    }
    return std::string(o->via.str.ptr, o->via.str.size);
}

std::string Reader::sentence() {
    const auto* o = impl_->take(msgpack::type::STR, "a string");
    if (o == nullptr) return {};
    return std::string(cut_sentence({o->via.str.ptr, o->via.str.size}));
}

std::span<const std::uint8_t> Reader::bin(std::uint64_t bytes_max) {
    const auto* o = impl_->take(msgpack::type::BIN, "binary data");
    if (o == nullptr) return {};
    if (o->via.bin.size > bytes_max) {
        impl_->fail("binary data too long");
        return {};
    }
    return {reinterpret_cast<const std::uint8_t*>(o->via.bin.ptr), o->via.bin.size};
}

void Reader::fixed_bin(std::span<std::uint8_t> out) {
    const auto bytes = bin(out.size());
    if (!ok()) return;
    if (bytes.size() != out.size()) return impl_->fail("binary data of the wrong length");
    std::memcpy(out.data(), bytes.data(), out.size());
}

Reader::TensorView Reader::tensor() {
    TensorView view;
    enter(3);
    if (str(8) != "f64") fault("a tensor of an unknown type");
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
    return out;
}

std::size_t Reader::enter(std::size_t exact) {
    const auto* o = impl_->take(msgpack::type::ARRAY, "an array");
    if (o == nullptr) return 0;
    const std::size_t n = o->via.array.size;
    if (exact != SIZE_MAX && n != exact) {
        impl_->fail("expected an array of " + std::to_string(exact));
        return 0;
    }
    impl_->levels.push_back({o->via.array.ptr, n});
    return n;
}

void Reader::leave() {
    if (!ok()) return;
    if (impl_->levels.size() < 2 || impl_->levels.back().left != 0)
        return impl_->fail("too many elements");
    impl_->levels.pop_back();
}

bool Reader::ok() const noexcept {
    return impl_->why.empty();
}
void Reader::fault(std::string_view why) {
    impl_->fail(std::string(why));
}

Result<> Reader::finish() {
    if (ok() && (impl_->levels.size() != 1 || impl_->levels.back().left != 0))
        impl_->fail("too many elements");
    if (ok()) return {};
    return fail(Errc::malformed_message, impl_->what + ": " + impl_->why);
}

}  // namespace vflbus::bus
