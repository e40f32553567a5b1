// What ids look like, and what is said of two parties whose ids do not match.

#include <string>
#include <vector>

#include "data/align.hpp"
#include "data/id_shapes.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;
using Catch::Matchers::Contains;

namespace {

using Texts = std::vector<std::string>;

Ids ids_of(const Texts& texts) {
    Ids ids;
    for (const std::string& text : texts) ids.push_back(text);
    return ids;
}

std::string difference(const Texts& master, const Texts& member) {
    return shape_difference("master", shape_of(ids_of(master)), "member-0",
                            shape_of(ids_of(member)));
}

/// What low_match() or the failure of intersect() says of the ids of master, member-0, ...
std::string said_of(const std::vector<Texts>& parties) {
    std::vector<LocalIds> local;
    for (const Texts& texts : parties) {
        Table table;
        table.ids = ids_of(texts);
        local.push_back(*hash_ids(table, "", Duplicates::refuse, ""));
    }
    const char* const names[] = {"master", "member-0", "member-1"};
    std::vector<PartyIds> sent;
    for (std::size_t p = 0; p < local.size(); ++p)
        sent.push_back({names[p], local[p].ids, local[p].counts, local[p].shape});
    const auto common = intersect(sent);
    return common ? low_match(sent, common->common) : common.error().sentence;
}

Texts numbered(const std::string& prefix, int first, int count) {
    Texts texts;
    for (int i = first; i < first + count; ++i) texts.push_back(prefix + std::to_string(i));
    return texts;
}

}  // namespace

TEST_CASE("ids that differ in kind are told apart by what they look like") {
    struct Case {
        Texts master;
        Texts member;
        const char* said;
    };
    const Case cases[] = {
        {{"00012", "00345"},
         {"12", "345"},
         "master has 5 digits, all with leading zeros; member-0 has 2 to 3 digits, none with "
         "leading zeros"},
        {{"0012", "3456", "7890"},
         {"12", "3456", "7890"},
         "master has 4 digits, some with leading zeros; member-0 has 2 to 4 digits, none with "
         "leading zeros"},
        {{"12", "34"},
         {"ab", "cd"},
         "master has 2 digits, none with lower-case letters; member-0 has 2 letters, all with "
         "lower-case letters"},
        {{"AB1", "CD2"},
         {"ab1", "cd2"},
         "master has 3 digits and letters, all with upper-case letters, none with lower-case "
         "letters; member-0 has 3 digits and letters, none with upper-case letters, all with "
         "lower-case letters"},
        {{"12", "34"},
         {" 12", "34"},
         "master has 2 digits, none with blanks around them; member-0 has 2 to 3 characters (most "
         "of digits, most with other characters), most with blanks around them"},
        {{"12", "34"},
         {"12\xC2\xA0", "34\xC2\xA0"},
         "master has 2 digits, none with blanks around them; member-0 has 3 characters (all with "
         "other characters), all with blanks around them"},
        {{"12", "34"},
         {"12.0", "34.0"},
         "master has 2 digits, none with \".0\" at the end; member-0 has 4 characters (all with "
         "other characters), all with \".0\" at the end"},
        {{"1234"}, {"12345"}, "master has 4 digits; member-0 has 5 digits"},
        {{"1", "12"}, {"12", "123"}, ""},
        {{"a1", "b2"}, {"c3"}, ""},
        {{}, {"c3"}, ""},
    };
    for (const Case& c : cases) CHECK(difference(c.master, c.member) == c.said);
}

TEST_CASE("a summary of ids has the same size for all, and anything else is refused") {
    const IdShape shape = shape_of(ids_of({"é", std::string(5000, 'x')}));
    CHECK(shape.shortest == 1);
    CHECK(shape.longest == id_length_max);
    CHECK(shape.share(IdTrait::letters) == Share::all);
    CHECK(shape.share(IdTrait::lower_case) == Share::most);
    auto bytes = packed(shape);
    IdShape back;
    REQUIRE(unpack(bytes, back));
    CHECK(back == shape);
    for (const std::size_t at : {std::size_t{1}, std::size_t{2}, id_shape_bytes - 1}) {
        auto broken = bytes;
        broken[at] = 101;
        CHECK_FALSE(unpack(broken, back));
    }
    bytes[0] = 99;
    bytes[1] = 98;
    CHECK_FALSE(unpack(bytes, back));
    CHECK(unpack(packed(shape_of({})), back));
}

TEST_CASE("a match below a tenth of either side is one line that shows no id") {
    // 5 of 60 here, of 100 there
    const std::string line = said_of({numbered("C", 100, 60), numbered("C", 155, 100)});
    CHECK(line ==
          "few ids match: 5 are both among master's 60 (8.3 %) and member-0's 100 (5 %); they look "
          "alike: do their id columns mean the same?; choose other columns with --id "
          "(party.<name>.id), or write one side's ids as the other's with --data 'exec:COMMAND' "
          "(party.<name>.data)");
    CHECK(said_of({numbered("C", 100, 10), numbered("C", 109, 10)}).empty());  // a tenth of both
    CHECK_THAT(said_of({numbered("C", 100, 10), numbered("C", 109, 11)}),      // of one side less
               Contains("1 are both among master's 10 (10 %) and member-0's 11 (9.1 %)"));
    CHECK_THAT(line, !Contains("C155"));

    // only member-1 is far from the master
    Texts lower = numbered("c", 100, 90);
    lower.push_back("C100");
    const std::string one = said_of({numbered("C", 100, 90), numbered("C", 100, 90), lower});
    CHECK_THAT(one,
               Contains("1 are both among master's 90 (1.1 %) and member-1's 91 (1.1 %)") &&
                   Contains("master has 4 digits and letters, all with upper-case letters, none "
                            "with lower-case letters; member-1 has 4 digits and letters, some "
                            "with upper-case letters, most with lower-case letters"));
    CHECK_THAT(one, !Contains("member-0") && !Contains("C100") && !Contains("c100"));

    // each has enough in common with the master, but not the same ones
    CHECK(
        said_of({numbered("C", 100, 40), numbered("C", 100, 21), numbered("C", 120, 20)}) ==
        "few ids match: 1 are common to all parties, of master's 40 (2.5 %); each member alone has "
        "more of them");
}

TEST_CASE("a small table that is found in a large one is told by its counts alone") {
    CHECK(said_of({numbered("C", 100, 2), numbered("C", 100, 569)}) ==
          "few ids match: 2 are both among master's 2 (100 %) and member-0's 569 (0.35 %)");
    CHECK(said_of({numbered("C", 100, 569), numbered("C", 99, 3)}) ==
          "few ids match: 2 are both among master's 569 (0.35 %) and member-0's 3 (66.7 %)");
    // just half of the smaller one, and less
    CHECK_THAT(said_of({numbered("C", 100, 100), numbered("C", 198, 4)}),
               Contains("member-0's 4 (50 %)") && !Contains("--id"));
    CHECK_THAT(said_of({numbered("C", 100, 100), numbered("C", 198, 5)}),
               Contains("member-0's 5 (40 %)") && Contains("they look alike") && Contains("--id"));
    // of two members one is small, and the ids of the other are written in another way
    Texts lower = numbered("c", 100, 99);
    lower.push_back("C100");
    CHECK_THAT(said_of({numbered("C", 100, 100), numbered("C", 100, 2), lower}),
               Contains("member-0's 2 (100 %), 1 are both among") &&
                   Contains("member-1 has 4 digits and letters") && !Contains("member-0 has"));
}

TEST_CASE("the share of a match has no exponent") {
    const std::string tiny = said_of({numbered("C", 0, 20'000), numbered("C", 19'999, 20'000)});
    CHECK_THAT(tiny, Contains("master's 20000 (below 0.01 %) and member-0's 20000 (below 0.01 %)"));
    CHECK_THAT(said_of({numbered("C", 0, 999), numbered("C", 1, 12'000)}),
               Contains("master's 999 (99.9 %) and member-0's 12000 (8.3 %)"));
}

TEST_CASE("no match at all says the same, but to this party only") {
    Table zeros;
    zeros.ids = ids_of({"0012", "0345"});
    Table bare;
    bare.ids = ids_of({"12", "345"});
    const auto a = hash_ids(zeros, "", Duplicates::refuse, "");
    const auto b = hash_ids(bare, "", Duplicates::refuse, "");
    const std::vector<PartyIds> sent{{"master", a->ids, a->counts, a->shape},
                                     {"member-0", b->ids, b->counts, b->shape}};
    const auto common = intersect(sent);
    REQUIRE_FALSE(common);
    CHECK_THAT(common.error().sentence,
               Contains("master has 4 digits, all with leading zeros; member-0 has 2 to 3 digits, "
                        "none with leading zeros") &&
                   Contains("--id (party.<name>.id)"));
    CHECK_THAT(common.error().for_others, Contains("no id is common") && !Contains("zeros"));
}
