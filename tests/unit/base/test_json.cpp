// JSON values: how they are built, what their text is, and what is refused. The text has to be what
// nlohmann::json writes, because stored models and reports are compared byte by byte.

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "catch.hpp"

using vflbus::Json;
using vflbus::JsonError;

namespace {

std::string error_of(const char* text, const char* key) {
    try {
        (void)Json::parse(text).at(key).get<std::uint32_t>();
    } catch (const JsonError& error) {
        return error.what();
    }
    return "none";
}

}  // namespace

TEST_CASE("a JSON value keeps kind, order and number") {
    Json out;
    out["whole"] = 7;
    out["counted"] = std::uint64_t{18446744073709551615u};
    out["below"] = -3;
    out["part"] = 0.1;
    out["yes"] = true;
    out["nothing"] = nullptr;
    out["text"] = std::string_view("a \"quoted\"\n");
    out["list"] = std::vector<std::string>{"a", "b"};
    out["numbers"] = std::vector<double>{1, 2.5};
    out["pairs"] = {{"x", 1}, {"y", {{"z", 2}}}};
    out["of two"] = {"x", 1};
    out["of one"] = Json({"x"});
    out["empty"] = Json::array();
    out["bare"] = Json::object();
    CHECK(out.dump() ==
          R"({"whole":7,"counted":18446744073709551615,"below":-3,"part":0.1,"yes":true,)"
          R"("nothing":null,"text":"a \"quoted\"\n","list":["a","b"],"numbers":[1.0,2.5],)"
          R"("pairs":{"x":1,"y":{"z":2}},"of two":["x",1],"of one":["x"],"empty":[],"bare":{}})");
    CHECK(Json::parse(out.dump()) == out);
    CHECK(Json::parse(out.dump(2)) == out);
    CHECK(Json::parse(out.dump(2)).dump() == out.dump());
}

TEST_CASE("an indented JSON text has one value per line") {
    const Json out{{"a", {1, 2}}, {"b", Json::object()}, {"c", Json::array({Json::array()})}};
    CHECK(out.dump(1) == "{\n \"a\": [\n  1,\n  2\n ],\n \"b\": {},\n \"c\": [\n  []\n ]\n}");
}

TEST_CASE("a number in JSON reads back the same to the bit") {
    for (const double value : {0.1, 1e300, -0.0, 5e-324, 1.7976931348623157e308, 123456789.0, 1e15,
                               1e16, 2.5e-5, 0.3333333333333333}) {
        const Json read = Json::parse(Json(value).dump());
        CHECK(read.get<double>() == value);
        CHECK(std::signbit(read.get<double>()) == std::signbit(value));
        CHECK_FALSE(read.is_number_integer());
    }
    CHECK(Json(123456789.0).dump() == "123456789.0");
    CHECK(Json(std::numeric_limits<double>::quiet_NaN()).dump() == "null");
    CHECK(Json(std::numeric_limits<double>::infinity()).dump() == "null");
}

TEST_CASE("what is not UTF-8 does not reach a JSON text") {
    CHECK(Json("caf\xe9").dump() == "\"caf\xEF\xBF\xBD\"");
    Json out;
    out["\xff"] = 1;
    CHECK(out.dump() == "{\"\xEF\xBF\xBD\":1}");
    CHECK(Json("\x01\x7f").dump() == "\"\\u0001\x7f\"");
}

TEST_CASE("a text that is no JSON is discarded, with the byte where it goes wrong") {
    for (const char* text :
         {"", "{", "{\"a\":}", "[1,]", "nul", "{} x", "\"\xff\"", "'a'", "1e999"}) {
        INFO(text);
        CHECK(Json::parse(text).is_discarded());
        CHECK_FALSE(Json::parse(text).is_object());
    }
    std::size_t wrong_at = 0;
    CHECK(Json::parse("{\"a\": x}", &wrong_at).is_discarded());
    CHECK(wrong_at == 7);
    CHECK(Json::parse(std::string_view("{}\0{}", 5), &wrong_at).is_discarded());
    CHECK(wrong_at == 3);
}

TEST_CASE("JSON is nested so deeply, and no deeper") {
    const auto nested = [](std::size_t depth) {
        return Json::parse(std::string(depth, '[') + std::string(depth, ']'));
    };
    CHECK(nested(Json::depth_max).is_array());
    CHECK(nested(Json::depth_max + 1).is_discarded());
    CHECK(nested(1'000'000).is_discarded());
    CHECK(Json::parse(std::string(1'000'000, '[')).is_discarded());
}

TEST_CASE("of a key that is given twice the last value counts") {
    CHECK(Json::parse(R"({"a":1,"b":2,"a":3})").dump() == R"({"a":3,"b":2})");
}

TEST_CASE("a JSON value of another kind, or out of range, is an error that names it") {
    CHECK(error_of(R"({"a":1})", "a") == "none");
    CHECK(error_of(R"({"a":1})", "b") == "key \"b\" not found");
    CHECK(error_of("[]", "a") == "there is an array where an object should be");
    CHECK(error_of(R"({"a":"x"})", "a") == "there is a text where a number should be");
    for (const char* number : {"-1", "4294967296", "1.5", "1e3", "-9223372036854775808"})
        CHECK(error_of((R"({"a":)" + std::string(number) + "}").c_str(), "a") ==
              "a number is negative, too large or not whole");
    CHECK(Json::parse("-128").get<std::int8_t>() == -128);
    CHECK_THROWS_AS(Json::parse("-129").get<std::int8_t>(), JsonError);
    CHECK_THROWS_AS(Json(1).get<std::string>(), JsonError);
    CHECK_THROWS_AS(Json("x").get<bool>(), JsonError);
    CHECK_THROWS_AS(Json("x").push_back(1), JsonError);
    CHECK_THROWS_AS(Json("x")["a"] = 1, JsonError);
    CHECK_THROWS_AS(Json("x").at(0), JsonError);
    CHECK_THROWS_AS(Json::array().at(0), JsonError);
    CHECK_THROWS_AS(Json("x").items(), JsonError);
    CHECK_THROWS_AS(Json("x").begin(), JsonError);
}

TEST_CASE("values of JSON are compared by what they mean") {
    CHECK(Json(1) == Json(1u));
    CHECK(Json(1) == Json(1.0));
    CHECK_FALSE(Json(-1) == Json(std::uint64_t{18446744073709551615u}));
    CHECK_FALSE(Json(9223372036854775807) == Json(9223372036854775806));
    CHECK(Json("a") == "a");
    CHECK("a" == Json("a"));
    CHECK(Json("a") != std::string("b"));
    CHECK_FALSE(Json(1) == "1");
    CHECK(Json::parse(R"({"a":1,"b":[true]})") == Json::parse(R"({"b":[true],"a":1})"));
    CHECK_FALSE(Json::parse(R"({"a":1})") == Json::parse(R"({"a":1,"b":2})"));
    CHECK(Json(2) > 1);
    CHECK(Json(2.5) <= 2.5);
    CHECK_FALSE(Json("2") > 1);
    CHECK_FALSE(Json() < 1);
    CHECK(Json() == nullptr);
    CHECK_FALSE(Json() == Json::array());
}

TEST_CASE("members of JSON with a value for those that are missing") {
    const Json in = Json::parse(R"({"a":"x","n":2,"list":[1,2,3]})");
    CHECK(in.value("a", "y") == "x");
    CHECK(in.value("b", "y") == "y");
    CHECK(in.value("n", 0) == 2);
    CHECK(in.value("m", 1.5) == 1.5);
    CHECK(in["list"].get<std::vector<int>>() == std::vector<int>{1, 2, 3});
    CHECK(in.find("b") == nullptr);
    CHECK(Json().find("b") == nullptr);
    CHECK(in.size() == 3);
    CHECK(Json().empty());
    std::string keys;
    for (const auto& [key, value] : in.items()) keys += key;
    CHECK(keys == "anlist");
}
