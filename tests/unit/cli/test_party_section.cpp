// What `vflbus join` writes into a configuration that is there, or is not.

#include "catch.hpp"
#include "party_section.hpp"

using namespace vflbus;
using namespace vflbus::cli;

namespace {

PartySection section() {
    return {"party.member-0", "tcp://10.0.0.1:7423", "keys", {}, "shop.csv", "customer_id", {}};
}

std::string written(const std::string& before, const PartySection& with) {
    const auto text = with_party_section(before, with, "x.toml");
    REQUIRE(text);
    const auto again = with_party_section(*text, with, "x.toml");
    REQUIRE(again);
    CHECK(*again == *text);
    return *text;
}

}  // namespace

TEST_CASE("a configuration that is not there is made", "[join]") {
    CHECK(written("", section()) ==
          "# Made by `vflbus join`; docs/configuration.md has all keys.\n"
          "\n[bus]\nbroker = \"tcp://10.0.0.1:7423\"\ncertificates = \"keys\"\n"
          "\n[party.member-0]\ndata = \"shop.csv\"\nid = \"customer_id\"\n");
    PartySection bare = section();
    bare.data = bare.id = "";
    CHECK(written("", bare).find("[party.member-0]\n# data = ") != std::string::npos);
    PartySection asks = section();
    asks.section = asks.data = asks.id = "";
    CHECK(written("", asks).find("party") == std::string::npos);
}

TEST_CASE("what stands in a configuration stays, remarks too", "[join]") {
    const std::string before =
        "# ours\n[run]\nseed = 1   # keep\n\n[bus]  # the broker\nbroker = \"tcp://old:1\"\n"
        "workers = 2\n[party.master]\nlabel = [\"a\", \"b\"]\n";
    PartySection with = section();
    with.section = "party.master";
    with.label = {"a", "b"};
    CHECK(written(before, with) ==
          "# ours\n[run]\nseed = 1   # keep\n\n[bus]  # the broker\ncertificates = \"keys\"\n"
          "broker = \"tcp://10.0.0.1:7423\"\nworkers = 2\n[party.master]\ndata = \"shop.csv\"\n"
          "id = \"customer_id\"\nlabel = [\"a\", \"b\"]\n");
}

TEST_CASE("a configuration that cannot be edited is left, and the sentence says what to write",
          "[join]") {
    const auto dotted = with_party_section("bus.workers = 2\n", section(), "x.toml");
    REQUIRE_FALSE(dotted);
    CHECK(dotted.error().sentence.find("by hand") != std::string::npos);
    CHECK(dotted.error().sentence.find("bus.broker = \"tcp://10.0.0.1:7423\"") !=
          std::string::npos);
    CHECK_FALSE(with_party_section("[bus\n", section(), "x.toml"));
    PartySection odd = section();
    odd.data = "a \"b\" \\ c.csv";
    CHECK(written("", odd).find("data = \"a \\\"b\\\" \\\\ c.csv\"") != std::string::npos);
}
