#include <charconv>
#include <cstdio>
#include <cstring>

#include "base/rng.hpp"
#include "catch.hpp"
#include "data/number.hpp"

using namespace vflbus;
using namespace vflbus::data;

namespace {
/// What the plain path makes of `text` inside a row; false when it leaves it to parse_number.
bool plain(const std::string& text, double& value) {
    const std::string buffer = text + ",\n" + std::string(number_padding, '\0');
    const char* p = buffer.data();
    if (!parse_plain_number(p, value)) {
        CHECK(p == buffer.data());
        return false;
    }
    CHECK(p == buffer.data() + text.size());
    return true;
}
}  // namespace

TEST_CASE("both ways to read a number agree with from_chars to the last bit") {
    Rng rng(7);
    int plainly = 0;
    for (int i = 0; i < 200'000; ++i) {
        char text[64];
        double wanted = 0;
        const std::uint64_t bits = rng.next();
        if (i % 4 == 0) {
            std::memcpy(&wanted, &bits, sizeof wanted);
            if (!(wanted - wanted == 0)) continue;
        } else {
            wanted = (rng.uniform() - 0.5) * static_cast<double>(1 << rng.below(30));
        }
        const char* const formats[] = {"%.6g", "%.17g", "%.3f", "%.0f", "%e"};
        std::snprintf(text, sizeof text, formats[rng.below(i % 4 == 0 ? 2 : 5)], wanted);
        double expected = 0;
        const char* const end = text + std::strlen(text);
        REQUIRE(std::from_chars(text, end, expected).ec == std::errc{});
        REQUIRE(parse_number(text) == expected);
        double fast = 0;
        if (plain(text, fast)) {
            ++plainly;
            REQUIRE(std::memcmp(&fast, &expected, sizeof fast) == 0);
        }
    }
    CHECK(plainly > 100'000);
}

TEST_CASE("numbers that need care are read as well") {
    CHECK(parse_number("+1.5") == 1.5);
    CHECK(parse_number(".5") == 0.5);
    CHECK(parse_number("5.") == 5.0);
    CHECK(parse_number("-0") == 0.0);
    CHECK(parse_number("1e-400") == 0.0);
    CHECK(parse_number("123456789012345678901234567890") == 123456789012345678901234567890.0);
    CHECK(parse_number("9007199254740993") == 9007199254740992.0);
}

TEST_CASE("what is not a finite decimal number is not a number") {
    for (const char* text :
         {"",      "+",    "-",   ".",    "e5",  "1e",    "1e+",    "--1", "+-1", "1,5",
          "1.2.3", "0x10", "inf", "-inf", "nan", "1e400", "-1e999", "12a", "1 2", "1_000"}) {
        INFO(text);
        CHECK_FALSE(parse_number(text).has_value());
        double value = 0;
        if (std::strchr(text, ',') == nullptr) CHECK_FALSE(plain(text, value));
    }
}
