// Our codec against the library msgpack-cxx: what one writes the other reads, and both refuse the
// same bytes.

#include <msgpack.hpp>
#include <sstream>

#include "base/hash.hpp"
#include "base/rng.hpp"
#include "bus/wire/codec.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

/// Whether the library takes the bytes as one value and nothing behind it.
bool library_accepts(const Bytes& bytes) {
    try {
        std::size_t offset = 0;
        const msgpack::unpack_limit bounds(4096, 4096, 1u << 20, 1u << 20, 1u << 20, 8);
        const auto handle = msgpack::unpack(reinterpret_cast<const char*>(bytes.data()),
                                            bytes.size(), offset, nullptr, nullptr, bounds);
        return offset == bytes.size() && handle.get().type == msgpack::type::ARRAY;
    } catch (const std::exception&) {
        return false;
    }
}

template <class Put>
std::string by_library(Put&& put) {
    std::ostringstream out;
    msgpack::packer<std::ostream> packer(out);
    put(packer);
    return out.str();
}

std::string text_of(const Bytes& bytes) {
    return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("integers and lengths have the library's shortest form") {
    std::vector<std::uint64_t> numbers{0, UINT64_MAX};
    for (int bit = 0; bit < 64; ++bit)
        for (const std::uint64_t near : {-1, 0, 1}) numbers.push_back((1ULL << bit) + near);
    for (const std::uint64_t number : numbers) {
        INFO(number);
        Writer w;
        w.u64(number);
        CHECK(text_of(w.take()) == by_library([&](auto& p) { p.pack_uint64(number); }));
        const auto signed_one = static_cast<std::int64_t>(number);
        w = Writer();
        w.i64(signed_one);
        const Bytes written = w.take();
        CHECK(text_of(written) == by_library([&](auto& p) { p.pack_int64(signed_one); }));
        Bytes body{0x91};
        body.insert(body.end(), written.begin(), written.end());
        Reader r("THING", body, 1);
        CHECK(r.i64() == signed_one);
        CHECK(r.finish());
    }
    for (const std::size_t n : {0u, 1u, 15u, 16u, 31u, 32u, 255u, 256u, 65535u, 65536u}) {
        INFO(n);
        const auto size = static_cast<std::uint32_t>(n);
        const std::string text(n, 'x');
        Writer w;
        w.str(text);
        CHECK(text_of(w.take()) == by_library([&](auto& p) {
                  p.pack_str(size);
                  p.pack_str_body(text.data(), size);
              }));
        w = Writer();
        w.bin(Bytes(n, 'x'));
        CHECK(text_of(w.take()) == by_library([&](auto& p) {
                  p.pack_bin(size);
                  p.pack_bin_body(text.data(), size);
              }));
        w = Writer();
        w.array(n);
        CHECK(text_of(w.take()) == by_library([&](auto& p) { p.pack_array(size); }));
        w = Writer();
        w.map(n);
        CHECK(text_of(w.take()) == by_library([&](auto& p) { p.pack_map(size); }));
    }
}

TEST_CASE("every form of a number is read") {
    const auto read = [](Bytes element) {
        element.insert(element.begin(), 0x91);
        Reader r("THING", element, 1);
        const double value = r.f64();
        CHECK(r.finish());
        return value;
    };
    CHECK(read({0x7f}) == 127);
    CHECK(read({0xcc, 0xff}) == 255);
    CHECK(read({0xcd, 0x01, 0x00}) == 256);
    CHECK(read({0xce, 0, 1, 0, 0}) == 65536);
    CHECK(read({0xcf, 0, 0, 0, 1, 0, 0, 0, 0}) == 4294967296.0);
    CHECK(read({0xd0, 0xff}) == -1);
    CHECK(read({0xd0, 0x7f}) == 127);
    CHECK(read({0xd1, 0xff, 0xfe}) == -2);
    CHECK(read({0xd2, 0xff, 0xff, 0xff, 0xfd}) == -3);
    CHECK(read({0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc}) == -4);
    CHECK(read({0xe0}) == -32);
    CHECK(read({0xca, 0x3f, 0xc0, 0, 0}) == 1.5);
    CHECK(read({0xcb, 0xbf, 0xf8, 0, 0, 0, 0, 0, 0}) == -1.5);
}

TEST_CASE("fuzz: bytes that are msgpack for the library are so for us, and no others") {
    Rng rng(20261129);
    const std::uint8_t markers[] = {0x80, 0x81, 0x90, 0x91, 0x93, 0xa0, 0xa3, 0xc0, 0xc1, 0xc2,
                                    0xc4, 0xc5, 0xc7, 0xca, 0xcb, 0xcc, 0xcf, 0xd0, 0xd3, 0xd4,
                                    0xd8, 0xd9, 0xda, 0xdc, 0xdd, 0xde, 0xe0, 0xff};
    std::size_t accepted = 0;
    for (int round = 0; round < 200'000; ++round) {
        const std::size_t elements = rng.below(4);
        Bytes bytes{static_cast<std::uint8_t>(0x90 + elements)};
        const std::size_t more = rng.below(12);
        for (std::size_t i = 0; i < more; ++i)
            bytes.push_back(rng.below(3) == 0   ? static_cast<std::uint8_t>(rng.below(4))
                            : rng.below(2) == 0 ? markers[rng.below(std::size(markers))]
                                                : static_cast<std::uint8_t>(rng.next()));
        const bool ours = Reader("THING", bytes, elements).ok();
        INFO(to_hex(bytes));
        REQUIRE(ours == library_accepts(bytes));
        accepted += ours ? 1 : 0;
    }
    CHECK(accepted > 5000);
}
