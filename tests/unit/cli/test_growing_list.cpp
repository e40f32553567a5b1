#include "catch.hpp"
#include "growing_list.hpp"

using vflbus::cli::GrowingList;
using Texts = std::vector<std::string>;

TEST_CASE("a listener is told what is new, once", "[cli]") {
    GrowingList list;
    GrowingList::Heard heard;
    CHECK_FALSE(list.tell(heard).has_value());
    list.add("a");
    list.add("b");
    auto news = list.tell(heard);
    REQUIRE(news.has_value());
    CHECK(news->from == 0);
    CHECK(news->entries == Texts{"a", "b"});
    CHECK_FALSE(list.tell(heard).has_value());
    list.add("c");
    news = list.tell(heard);
    REQUIRE(news.has_value());
    CHECK(news->from == 2);
    CHECK(news->entries == Texts{"c"});
    GrowingList::Heard late;
    news = list.tell(late);
    REQUIRE(news.has_value());
    CHECK(news->entries == Texts{"a", "b", "c"});
}

TEST_CASE("a list that begins afresh is told from its beginning", "[cli]") {
    GrowingList list;
    GrowingList::Heard heard;
    for (const char* entry : {"a", "b"}) list.add(entry);
    REQUIRE(list.tell(heard).has_value());
    list.begin_afresh();
    CHECK(list.count() == 0);
    SECTION("when it is empty as well") {
        const auto news = list.tell(heard);
        REQUIRE(news.has_value());
        CHECK(news->from == 0);
        CHECK(news->entries.empty());
        CHECK_FALSE(list.tell(heard).has_value());
    }
    SECTION("when it is longer again than what was heard") {
        for (const char* entry : {"x", "y", "z"}) list.add(entry);
        const auto news = list.tell(heard);
        REQUIRE(news.has_value());
        CHECK(news->from == 0);
        CHECK(news->entries == Texts{"x", "y", "z"});
    }
}

TEST_CASE("of a long list the last entries are kept", "[cli]") {
    GrowingList list(2);
    GrowingList::Heard heard;
    for (const char* entry : {"a", "b", "c"}) list.add(entry);
    CHECK(list.count() == 3);
    auto news = list.tell(heard);
    REQUIRE(news.has_value());
    CHECK(news->from == 0);
    CHECK(news->entries == Texts{"b", "c"});
    list.add("d");
    news = list.tell(heard);
    REQUIRE(news.has_value());
    CHECK(news->from == 3);
    CHECK(news->entries == Texts{"d"});
}
