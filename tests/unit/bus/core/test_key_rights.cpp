// What a key lets its node do. That the broker asks each time is in test_access.cpp.

#include <map>

#include "bus/core/key_rights.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

class ListedKeys final : public Access {
  public:
    std::shared_ptr<const Allowed> entry(const std::string& fingerprint) const override {
        const auto found = entries.find(fingerprint);
        return found == entries.end() ? nullptr : found->second;
    }
    void allow(const std::string& name, const std::string& rights) {
        std::vector<std::string> faults;
        const std::string shown = "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA";
        const AllowList list = AllowList::parse(
            name + " " + shown + (rights.empty() ? "" : " " + rights) + " expires=2030-01-01",
            faults);
        REQUIRE(faults.empty());
        REQUIRE(list.entries().size() == 1);
        entries[name] = std::make_shared<Allowed>(list.entries()[0]);
    }
    std::map<std::string, std::shared_ptr<const Allowed>> entries;
};

Hello hello_of(const std::string& name, const std::string& role, std::int64_t rank = -1,
               std::vector<std::string> features = {}) {
    Hello hello;
    hello.name = name;
    hello.role = role;
    hello.rank = rank;
    hello.features = std::move(features);
    return hello;
}

struct RightsFixture {
    ListedKeys keys;
    KeyRights rights{&keys};
    RightsFixture() {
        keys.allow("master", "role=master");
        keys.allow("member-0", "role=member rank=0");
        keys.allow("alice", "may=status");
        keys.allow("bob", "");
    }
    // (the fingerprint of a test key is its name)
    static Identity key(const std::string& name) { return {name, name}; }
};

}  // namespace

TEST_CASE_METHOD(RightsFixture, "without keys, or where none is needed, everything may be done") {
    const KeyRights none(nullptr);
    CHECK_FALSE(none.asks(nullptr));
    CHECK(none.may_open(nullptr, hello_of("anybody", "node")));
    CHECK(none.sees_all(nullptr));
    CHECK(none.speaks_as(nullptr, "anybody"));
    CHECK(rights.why_not_admitted(no_key_needed().get(), hello_of("anybody", "node")).empty());
    CHECK(rights.may_ask(no_key_needed().get(), {}));
}

TEST_CASE_METHOD(RightsFixture, "a connection of which nothing is known may do nothing") {
    CHECK(rights.asks(nullptr));
    CHECK_FALSE(rights.why_not_admitted(nullptr, hello_of("master", "master")).empty());
    CHECK_FALSE(rights.may_open(nullptr, hello_of("master", "master")));
    CHECK_FALSE(rights.may_take_part(nullptr, hello_of("member-0", "member", 0),
                                     {"member-0", "member", 0}));
    CHECK_FALSE(rights.speaks_as(nullptr, "master"));
    CHECK_FALSE(rights.may_ask(nullptr, {Question::status, true, true, true, true, true, true}));
    CHECK_FALSE(rights.sees_all(nullptr));
}

TEST_CASE_METHOD(RightsFixture, "a key comes in under its name, role and rank") {
    const Identity master = key("master"), member = key("member-0");
    CHECK(rights.why_not_admitted(&master, hello_of("master", "master")).empty());
    CHECK(rights.why_not_admitted(&master, hello_of("master-0a1b2c3d", "master")).empty());
    CHECK_FALSE(rights.why_not_admitted(&master, hello_of("member-0", "master")).empty());
    CHECK_FALSE(rights.why_not_admitted(&master, hello_of("master", "member", 0)).empty());
    CHECK(rights.why_not_admitted(&member, hello_of("member-0", "member", 0)).empty());
    CHECK_FALSE(rights.why_not_admitted(&member, hello_of("member-0", "member", 1)).empty());
    CHECK(rights.may_open(&master, hello_of("master", "master")));
    CHECK_FALSE(rights.may_open(&member, hello_of("member-0", "member", 0)));
    // an owner may name a node as what it likes
    const Hello said = hello_of("member-0", "member", 0);
    CHECK(rights.may_take_part(&member, said, {"member-0", "member", 0}));
    CHECK_FALSE(rights.may_take_part(&member, said, {"member-0", "member", 1}));
    CHECK_FALSE(rights.may_take_part(&member, said, {"member-0", "arbiter", -1}));
}

TEST_CASE_METHOD(RightsFixture, "a key that is revoked, or is another name's now, counts no more") {
    const Identity master = key("master");
    SECTION("revoked") {
        keys.entries.erase("master");
    }
    SECTION("given to another name") {
        keys.entries["master"] = keys.entries["bob"];
    }
    CHECK_FALSE(rights.why_not_admitted(&master, hello_of("master", "master")).empty());
    CHECK_FALSE(rights.may_open(&master, hello_of("master", "master")));
    CHECK_FALSE(rights.speaks_as(&master, "master"));
}

TEST_CASE_METHOD(RightsFixture, "who may ask another node what") {
    const Identity with_status = key("alice"), with_nothing = key("bob");
    const auto about = [](Question question) {
        AskedAbout asked;
        asked.question = question;
        return asked;
    };
    CHECK(rights.may_ask(&with_status, about(Question::status)));
    CHECK_FALSE(rights.may_ask(&with_nothing, about(Question::status)));
    CHECK_FALSE(rights.may_ask(&with_status, about(Question::stop)));
    CHECK_FALSE(rights.may_ask(&with_status, about(static_cast<Question>(77))));

    AskedAbout own = about(Question::stop);
    own.own_node = true;
    CHECK(rights.may_ask(&with_nothing, own));
    // to be named in a run gives a right to ask its owner, and not others of it
    AskedAbout named = about(Question::status);
    named.takes_part = named.asks_member = true;
    CHECK_FALSE(rights.may_ask(&with_nothing, named));
    named.asks_owner = true;
    CHECK(rights.may_ask(&with_nothing, named));
    named.question = Question::log;
    CHECK_FALSE(rights.may_ask(&with_nothing, named));
    // an owner asks its members for their log lines
    AskedAbout driven = about(Question::log);
    driven.drives = true;
    CHECK_FALSE(rights.may_ask(&with_nothing, driven));
    driven.asks_member = true;
    CHECK(rights.may_ask(&with_nothing, driven));
    // the agreed text is the owner's to tell those who are named
    AskedAbout terms = about(Question::terms);
    terms.asks_owner = true;
    CHECK_FALSE(rights.may_ask(&with_status, terms));
    terms.asker_in_run = true;
    CHECK(rights.may_ask(&with_nothing, terms));
}
