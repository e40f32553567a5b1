// Bodies: exact arity, exact types, limits, whole input.

#include <algorithm>
#include <bit>
#include <iterator>
#include <limits>
#include <stdexcept>

#include "bus/wire/codec.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

bool refused(Reader& reader, const std::string& part_of_sentence) {
    const Result<> done = reader.finish();
    if (done) return false;
    CHECK(done.error().code == Errc::malformed_message);
    INFO(done.error().sentence);
    CHECK(done.error().sentence.find("THING") == 0);
    CHECK(done.error().sentence.find(part_of_sentence) != std::string::npos);
    return done.error().sentence.find(part_of_sentence) != std::string::npos;
}

Bytes nested(std::size_t depth) {
    Bytes bytes(depth, 0x91);
    bytes.push_back(0x90);
    return bytes;
}

}  // namespace

TEST_CASE("what is written is read") {
    const double values[] = {1.5, -2.0, std::numeric_limits<double>::infinity(), 0.0, 5, 6};
    const std::uint32_t words[] = {0, 1, 0xFFFFFFFF};
    const std::vector<std::string> texts{"a", "", "h\xC3\xA9"};
    const std::uint8_t raw[] = {0, 255};
    Writer w;
    w.array(11)
        .u64(UINT64_MAX)
        .i64(INT64_MIN)
        .f64(0.1)
        .boolean(true)
        .boolean(false)
        .str("text")
        .bin(raw)
        .tensor(values, 2, 3)
        .u32s(words)
        .strs(texts)
        .array(0);
    const Bytes body = w.take();
    Reader r("THING", body, 11);
    CHECK(r.u64() == UINT64_MAX);
    CHECK(r.i64() == INT64_MIN);
    CHECK(r.f64() == 0.1);
    CHECK(r.boolean());
    CHECK_FALSE(r.boolean());
    CHECK(r.str() == "text");
    CHECK(r.bin().size() == 2);
    const auto tensor = r.tensor();
    CHECK(tensor.rows == 2);
    CHECK(tensor.cols == 3);
    double copy[6] = {};
    tensor.copy_to(copy);
    CHECK(std::equal(std::begin(copy), std::end(copy), std::begin(values)));
    CHECK(r.u32s() == std::vector<std::uint32_t>{0, 1, 0xFFFFFFFF});
    CHECK(r.strs() == texts);
    CHECK(r.enter() == 0);
    r.leave();
    CHECK(r.finish());
}

TEST_CASE("a double comes back with the same bits") {
    const double values[] = {0.0,
                             -0.0,
                             1.0,
                             -3.0,
                             18446744073709551616.0,
                             1e300,
                             5e-324,
                             std::numeric_limits<double>::quiet_NaN(),
                             -std::numeric_limits<double>::infinity()};
    for (const double value : values) {
        Writer w;
        w.array(1).f64(value);
        const Bytes body = w.take();
        Reader r("THING", body, 1);
        CHECK(std::bit_cast<std::uint64_t>(r.f64()) == std::bit_cast<std::uint64_t>(value));
        CHECK(r.finish());
    }
}

TEST_CASE("the outer array has exactly the stated number of elements") {
    Writer w;
    w.array(2).u64(1).u64(2);
    const Bytes body = w.take();
    for (const std::size_t n : {0, 1, 3}) {
        Reader r("THING", body, n);
        CHECK(refused(r, "expected " + std::to_string(n) + " elements, found 2"));
    }
}

TEST_CASE("all elements are taken, and no more than there are") {
    Writer w;
    w.array(2).u64(1).array(1).u64(2);
    const Bytes body = w.take();
    {
        Reader r("THING", body, 2);
        r.u64();
        CHECK(refused(r, "too many elements"));
    }
    {
        Reader r("THING", body, 2);
        r.u64();
        r.enter();
        CHECK(refused(r, "too many elements"));  // inside
    }
    {
        Reader r("THING", body, 2);
        r.u64();
        r.enter();
        r.leave();
        CHECK(refused(r, "too many elements"));  // left early
    }
    {
        Reader r("THING", body, 2);
        r.u64();
        r.enter();
        r.u64();
        CHECK(r.u64() == 0);
        CHECK(refused(r, "too few elements"));
    }
    {
        Reader r("THING", body, 2);
        r.u64();
        CHECK(r.enter(2) == 0);
        CHECK(refused(r, "expected an array of 2"));
    }
    {
        Reader r("THING", body, 2);
        r.leave();  // the outer array is not left
        CHECK(refused(r, "too many elements"));
    }
}

TEST_CASE("trailing and missing bytes are refused") {
    Writer w;
    w.array(2).u64(1).str("four");
    const Bytes body = w.take();
    for (std::size_t n = 0; n < body.size(); ++n) {
        Reader r("THING", std::span(body).first(n), 2);
        CHECK_FALSE(r.ok());
    }
    Bytes longer = body;
    longer.push_back(0xc0);
    Reader r("THING", longer, 2);
    CHECK(refused(r, "trailing bytes"));
}

TEST_CASE("a type is the type") {
    const auto one = [](auto&& write, auto&& read) {
        Writer w;
        w.array(1);
        write(w);
        const Bytes body = w.take();
        Reader r("THING", body, 1);
        read(r);
        return refused(r, "expected");
    };
    CHECK(one([](Writer& w) { w.str("1"); }, [](Reader& r) { CHECK(r.u64() == 0); }));
    CHECK(one([](Writer& w) { w.i64(-1); }, [](Reader& r) { CHECK(r.u64() == 0); }));
    CHECK(one([](Writer& w) { w.f64(1); }, [](Reader& r) { CHECK(r.u64() == 0); }));
    CHECK(one([](Writer& w) { w.u64(UINT64_MAX); }, [](Reader& r) { CHECK(r.i64() == 0); }));
    CHECK(one([](Writer& w) { w.boolean(true); }, [](Reader& r) { CHECK(r.i64() == 0); }));
    CHECK(one([](Writer& w) { w.str("1.5"); }, [](Reader& r) { CHECK(r.f64() == 0); }));
    CHECK(one([](Writer& w) { w.u64(1); }, [](Reader& r) { CHECK_FALSE(r.boolean()); }));
    CHECK(one([](Writer& w) { w.bin({}); }, [](Reader& r) { CHECK(r.str().empty()); }));
    CHECK(one([](Writer& w) { w.str(""); }, [](Reader& r) { CHECK(r.bin().empty()); }));
    CHECK(one([](Writer& w) { w.str(""); }, [](Reader& r) { CHECK(r.enter() == 0); }));
    CHECK(one([](Writer& w) { w.str("a"); }, [](Reader& r) { CHECK(r.strs().empty()); }));
    CHECK(one([](Writer& w) { w.map(0); }, [](Reader& r) { CHECK(r.enter() == 0); }));
    CHECK(one([](Writer& w) { w.array(0); }, [](Reader& r) { CHECK(r.enter_map() == 0); }));
}

TEST_CASE("keys and values of a map are taken in turn") {
    Writer w;
    w.array(2).map(2).u64(1).str("a").u64(2).str("b").u64(9);
    const Bytes body = w.take();
    Reader r("THING", body, 2);
    CHECK(r.enter_map() == 2);
    CHECK(r.u64() == 1);
    CHECK(r.str() == "a");
    CHECK(r.u64() == 2);
    CHECK(r.str() == "b");
    r.leave();
    CHECK(r.u64() == 9);
    CHECK(r.finish());
    Reader half("THING", body, 2);
    half.enter_map();
    half.u64();
    half.str();
    half.leave();
    CHECK(refused(half, "too many elements"));
}

TEST_CASE("bodies that are no array, maps and extensions are refused") {
    for (const Bytes& body :
         {Bytes{0xc0}, Bytes{0x01}, Bytes{0x80}, Bytes{0xa1, 'x'}, Bytes{0xd4, 1, 2}, Bytes{0xc1},
          Bytes{0x81, 0x01, 0x02}, Bytes{0x91, 0xd4, 1, 2}, Bytes{0x91, 0x81, 1, 2}}) {
        Reader r("THING", body, 1);
        r.u64();
        CHECK_FALSE(r.finish());
    }
}

TEST_CASE("counts and lengths that lie cost nothing") {
    // five bytes that announce four thousand million elements or bytes
    for (const Bytes& body :
         {Bytes{0xdd, 0xff, 0xff, 0xff, 0xff}, Bytes{0x91, 0xdd, 0xff, 0xff, 0xff, 0xff},
          Bytes{0x91, 0xdb, 0xff, 0xff, 0xff, 0xff}, Bytes{0x91, 0xc6, 0xff, 0xff, 0xff, 0xff},
          Bytes{0x91, 0xdf, 0xff, 0xff, 0xff, 0xff},
          Bytes{0x91, 0xc9, 0xff, 0xff, 0xff, 0xff, 1}}) {
        Reader r("THING", body, 1);
        CHECK(refused(r, "within the limits"));
    }
}

TEST_CASE("limits of elements, depth and bytes") {
    DecodeLimits limits;
    limits.elements_max = 3;
    limits.depth = 2;
    limits.bytes_max = 10;
    {
        const Bytes body{0x93, 1, 2, 3};
        Reader r("THING", body, 3, limits);
        CHECK(r.ok());
    }
    {
        const Bytes body{0x94, 1, 2, 3, 4};
        Reader r("THING", body, 4, limits);
        CHECK(refused(r, "within the limits"));
    }
    {
        const Bytes body(11, 0x90);
        Reader r("THING", body, 0, limits);
        CHECK(refused(r, "body too large"));
    }
    for (std::size_t depth = 0; depth < 4; ++depth) {
        INFO(depth);
        Reader r("THING", nested(depth), depth == 0 ? 0 : 1, limits);
        CHECK(r.ok() == (depth + 1 <= limits.depth));
    }
    const Bytes deep = nested(100000);
    Reader r("THING", deep, 1);
    CHECK(refused(r, "within the limits"));
}

TEST_CASE("arrays that are small each are refused when they are many together") {
    // 4,096 arrays of 4,096 nils: 16 MiB that would be 400 MB of objects
    Bytes body{0x91, 0xdc, 0x10, 0x00};
    const Bytes inner = [] {
        Bytes nils(3 + 4096, 0xc0);
        nils[0] = 0xdc;
        nils[1] = 0x10;
        nils[2] = 0x00;
        return nils;
    }();
    for (int i = 0; i < 4096; ++i) body.insert(body.end(), inner.begin(), inner.end());
    Reader r("THING", body, 1);
    CHECK(refused(r, "too many elements"));

    DecodeLimits limits;
    limits.elements_total_max = 7;
    const auto of_two = [&](std::size_t second) {  // 2 elements, and 2 and `second` in them
        Writer w;
        w.array(2).array(2).u64(1).u64(2).array(second);
        for (std::size_t i = 0; i < second; ++i) w.u64(i);
        const Bytes bytes = w.take();
        return Reader("THING", bytes, 2, limits).ok();
    };
    CHECK(of_two(3));
    CHECK_FALSE(of_two(4));
    Writer w;  // a map has two elements for each pair
    w.array(1).map(3).u64(1).u64(1).u64(2).u64(2).u64(3).u64(3);
    const Bytes seven = w.take();
    CHECK(Reader("THING", seven, 1, limits).ok());
    limits.elements_total_max = 6;
    CHECK_FALSE(Reader("THING", seven, 1, limits).ok());
}

TEST_CASE("an array has no more elements than the body has bytes left") {
    // an element has a byte at least, so a caller may take memory for what `enter` returns
    for (const Bytes& body : {Bytes{0x91, 0xdc, 0x10, 0x00, 1, 2, 3}, Bytes{0x91, 0x95, 1, 2},
                              Bytes{0x91, 0x82, 1, 2, 3}}) {
        Reader r("THING", body, 1);
        CHECK(r.enter() == 0);
        CHECK(refused(r, "cut off"));
    }
}

TEST_CASE("getters have limits of their own") {
    Writer w;
    w.array(1).str("12345");
    const Bytes text = w.take();
    {
        Reader r("THING", text, 1);
        CHECK(r.str(5) == "12345");
        CHECK(r.finish());
    }
    {
        Reader r("THING", text, 1);
        CHECK(r.str(4).empty());
        CHECK(refused(r, "string too long"));
    }
    w = Writer();
    w.array(1).u64(10);
    const Bytes number = w.take();
    {
        Reader r("THING", number, 1);
        CHECK(r.u64(9) == 0);
        CHECK(refused(r, "out of range"));
    }
    w = Writer();
    const std::uint8_t raw[] = {1, 2, 3};
    w.array(1).bin(raw);
    const Bytes binary = w.take();
    for (const std::size_t n : {2, 4}) {
        std::vector<std::uint8_t> out(n);
        Reader r("THING", binary, 1);
        r.fixed_bin(out);
        CHECK(refused(r, n == 2 ? "too long" : "wrong length"));
    }
    {
        Reader r("THING", binary, 1);
        CHECK(r.u32s().empty());
        CHECK(refused(r, "cut off"));
    }
}

TEST_CASE("after the first fault all getters give zero and the first fault is told") {
    Writer w;
    w.array(3).str("x").u64(7).str("y");
    const Bytes body = w.take();
    Reader r("THING", body, 3);
    CHECK(r.u64() == 0);
    CHECK(r.u64() == 0);
    CHECK(r.str().empty());
    CHECK(r.enter() == 0);
    CHECK(r.strs().empty());
    CHECK(r.tensor().rows == 0);
    r.fault("later");
    CHECK(refused(r, "expected a non-negative integer"));
}

TEST_CASE("tensors with lying shapes are refused") {
    const auto tensor = [](std::string_view dtype, std::vector<std::uint64_t> shape,
                           std::size_t bytes) {
        Writer w;
        w.array(1).array(3).str(dtype).array(shape.size());
        for (const auto n : shape) w.u64(n);
        w.bin(Bytes(bytes));
        return w.take();
    };
    const auto accepts = [](const Bytes& body) {
        Reader r("THING", body, 1);
        const auto view = r.tensor();
        const bool good = bool(r.finish());
        if (!good) CHECK(view.raw.empty());
        return good;
    };
    CHECK(accepts(tensor("f64", {2, 3}, 48)));
    CHECK(accepts(tensor("f64", {0, 3}, 0)));
    CHECK_FALSE(accepts(tensor("f64", {2, 3}, 40)));
    CHECK_FALSE(accepts(tensor("f64", {2, 3}, 56)));
    CHECK_FALSE(accepts(tensor("f64", {2, 3}, 49)));
    CHECK_FALSE(accepts(tensor("f64", {1, 1}, 9)));
    CHECK_FALSE(accepts(tensor("f64", {1, 0}, 8)));
    CHECK_FALSE(accepts(tensor("f32", {2, 3}, 24)));
    CHECK_FALSE(accepts(tensor("f64", {6}, 48)));
    CHECK_FALSE(accepts(tensor("f64", {1, 2, 3}, 48)));
    CHECK_FALSE(accepts(tensor("f64", {1ULL << 32, 1ULL << 32}, 0)));  // product wraps to 0
    CHECK_FALSE(accepts(tensor("f64", {1ULL << 61, 8}, 0)));           // bytes wrap to 0
    CHECK_FALSE(accepts(tensor("f64", {UINT64_MAX, 1}, 8)));
}

TEST_CASE("what is longer than 4 GiB is refused with a sentence before it is written") {
    // nothing of it is read, so it need not be there
    static const double one = 1;
    const std::size_t rows = (std::size_t{1} << 29) + 1;
    Writer w;
    w.u64(7);
    const auto says = [](auto&& write) -> std::string {
        try {
            write();
        } catch (const std::length_error& e) {
            return e.what();
        }
        return "nothing";
    };
    CHECK(says([&] {
              w.tensor(std::span(&one, rows), rows, 1);
          }).find("a tensor of 536870913 x 1 ") == 0);
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&one);
    CHECK(says([&] {
              w.bin(std::span(bytes, std::size_t{1} << 32));
          }).find("a value of 4294967296 ") == 0);
    CHECK(says([&] { w.bin_head(std::size_t{1} << 32); }).find("a value of") == 0);
    CHECK(says([&] {
              w.str({reinterpret_cast<const char*>(&one), std::size_t{1} << 32});
          }).find("a value of") == 0);
    CHECK(w.take() == Bytes{7});
}
