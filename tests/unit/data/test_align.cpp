#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/rng.hpp"
#include "data/align.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;
using Catch::Matchers::Contains;

namespace {

struct Outcome {
    std::vector<LocalIds> local;
    Intersection common;
    std::vector<Aligned> aligned;
};

Outcome align(const std::vector<Table>& tables, Duplicates policy, std::uint64_t size = 0) {
    Outcome outcome;
    for (const Table& table : tables) {
        auto local = hash_ids(table, "salt", policy, "p");
        if (!local) FAIL(local.error().sentence);
        outcome.local.push_back(std::move(*local));
    }
    std::vector<PartyIds> sent;
    for (const LocalIds& local : outcome.local) sent.push_back({"p", local.ids, local.counts});
    auto common = intersect(sent, size);
    if (!common) FAIL(common.error().sentence);
    outcome.common = std::move(*common);
    for (std::size_t p = 0; p < tables.size(); ++p) {
        auto aligned = apply(outcome.local[p], outcome.common.selections[p]);
        if (!aligned) FAIL(aligned.error().sentence);
        CHECK(aligned->rows.size() == outcome.common.rows);
        outcome.aligned.push_back(std::move(*aligned));
    }
    return outcome;
}

/// id and cells of each party's row, per aligned row.
std::vector<std::string> joined(const std::vector<Table>& tables, const Outcome& outcome) {
    std::vector<std::string> rows(outcome.common.rows);
    for (std::size_t p = 0; p < tables.size(); ++p)
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const std::uint32_t row = outcome.aligned[p].rows[i];
            rows[i] += std::string(tables[p].ids[row]) + ":";
            for (const Column& column : tables[p].features) rows[i] += column.text(row) + "/";
            rows[i] += " ";
        }
    return rows;
}

struct Record {
    std::string id;
    std::string cells;
};

Table make_table(const std::vector<Record>& records) {
    std::string text = "id,x,t\n";
    for (const Record& record : records) text += record.id + "," + record.cells + "\n";
    return table_of(text);
}

/// Records of a party; ids from a small range, so that there are duplicates when asked for.
std::vector<Record> some_records(Rng& rng, std::size_t n, std::uint64_t range, bool duplicates) {
    std::vector<Record> records;
    std::set<std::string> seen;
    for (std::size_t i = 0; i < n; ++i) {
        const std::string id = "C" + std::to_string(rng.below(range));
        const bool fresh = seen.insert(id).second;
        if (!fresh && !duplicates) continue;
        const char* const texts[] = {"", "a", "b"};
        records.push_back({id, (rng.below(4) == 0 ? "" : std::to_string(rng.below(3))) + "," +
                                   texts[rng.below(3)]});
    }
    records.push_back({"everybody", "1,a"});
    return records;
}

void shuffle(Rng& rng, std::vector<Record>& records) {
    for (std::size_t i = records.size(); i > 1; --i)
        std::swap(records[i - 1], records[rng.below(i)]);
}

/// The nested-loop join: for every common id, every combination of the parties' rows, as a
/// multiset.
std::multiset<std::string> brute_force(const std::vector<Table>& tables, bool first_only) {
    std::multiset<std::string> result;
    std::set<std::string> ids;
    for (std::size_t row = 0; row < tables[0].rows(); ++row) ids.emplace(tables[0].ids[row]);
    for (const std::string& id : ids) {
        std::vector<std::string> combinations = {""};
        for (const Table& table : tables) {
            std::vector<std::string> next;
            std::size_t used = 0;
            for (std::size_t row = 0; row < table.rows(); ++row) {
                if (table.ids[row] != id || (first_only && used++ > 0)) continue;
                std::string cells = id + ":";
                for (const Column& column : table.features) cells += column.text(row) + "/";
                for (const std::string& before : combinations) next.push_back(before + cells + " ");
            }
            combinations = next;
        }
        result.insert(combinations.begin(), combinations.end());
    }
    return result;
}

}  // namespace

TEST_CASE("alignment equals the nested-loop join for every policy") {
    Rng rng(11);
    for (int round = 0; round < 60; ++round) {
        const bool duplicates = round % 3 != 0;
        std::vector<Table> tables;
        const std::size_t parties = 2 + rng.below(3);
        for (std::size_t p = 0; p < parties; ++p)
            tables.push_back(make_table(some_records(rng, 5 + rng.below(60), 50, duplicates)));
        for (const Duplicates policy : {Duplicates::refuse, Duplicates::first, Duplicates::all}) {
            if (policy == Duplicates::refuse && duplicates) continue;
            const Outcome outcome = align(tables, policy);
            const auto rows = joined(tables, outcome);
            CHECK(std::multiset<std::string>(rows.begin(), rows.end()) ==
                  brute_force(tables, policy == Duplicates::first));
            for (std::size_t p = 1; p < parties; ++p)
                CHECK(outcome.aligned[p].ids == outcome.aligned[0].ids);
            CHECK(std::is_sorted(outcome.aligned[0].ids.begin(), outcome.aligned[0].ids.end()));
        }
    }
}

TEST_CASE("no party's row order changes the aligned rows") {
    Rng rng(12);
    for (int round = 0; round < 20; ++round) {
        const bool duplicates = round % 2 == 1;
        std::vector<std::vector<Record>> records;
        for (int p = 0; p < 3; ++p) records.push_back(some_records(rng, 60, 30, duplicates));
        std::vector<std::string> before;
        for (int permutation = 0; permutation < 4; ++permutation) {
            std::vector<Table> tables;
            for (auto& party : records) {
                tables.push_back(make_table(party));
                shuffle(rng, party);
            }
            const auto rows =
                joined(tables, align(tables, duplicates ? Duplicates::all : Duplicates::refuse));
            if (permutation > 0) CHECK(rows == before);
            before = rows;
        }
    }
}

TEST_CASE("duplicate rows come in the lexicographic order of the parties' rows") {
    const std::vector<Table> tables = {table_of("id,x\nu,2\nu,1\nv,9\n"),
                                       table_of("id,x\nu,7\nv,8\n"),
                                       table_of("id,x\nv,6\nu,5\nu,4\nu,3\n")};
    auto rows = joined(tables, align(tables, Duplicates::all));
    std::erase(rows, "v:9/ v:8/ v:6/ ");
    CHECK(rows == std::vector<std::string>{"u:1/ u:7/ u:3/ ", "u:1/ u:7/ u:4/ ", "u:1/ u:7/ u:5/ ",
                                           "u:2/ u:7/ u:3/ ", "u:2/ u:7/ u:4/ ",
                                           "u:2/ u:7/ u:5/ "});
}

TEST_CASE("repeats are sent only when a common id needs them") {
    const std::vector<Table> none = {table_of("id,x\nu,2\nu,1\nv,9\n"), table_of("id,x\nv,8\n")};
    CHECK(align(none, Duplicates::all).common.selections[0].outer.empty());
    const std::vector<Table> some = {table_of("id,x\nu,2\nu,1\n"), table_of("id,x\nu,8\n")};
    CHECK(align(some, Duplicates::all).common.selections[1].inner.size() == 1);
}

TEST_CASE("how often ids repeat among some of the aligned rows") {
    const auto is = [](const Repeats& repeats, std::uint64_t ids, std::uint64_t most) {
        return repeats.ids == ids && repeats.most == most;
    };
    const Hash128 a{1};
    const Hash128 b{2};
    // as the product with another party's rows repeats table rows
    const Aligned common{{4, 2, 4, 2, 0, 0}, {a, a, a, a, b, b}};
    CHECK(is(repeats_of(common, common.rows), 2, 4));
    CHECK(is(repeats_of(common, std::vector<std::uint32_t>{2, 2, 0}), 2, 2));
    CHECK(is(repeats_of(common, std::vector<std::uint32_t>{0, 0}), 1, 2));
    CHECK(is(repeats_of(common, std::vector<std::uint32_t>{4}), 1, 1));
    CHECK(is(repeats_of(common, {}), 0, 0));

    Rng rng(19);
    for (int round = 0; round < 50; ++round) {
        const std::vector<Table> tables = {make_table(some_records(rng, 40, 15, true)),
                                           make_table(some_records(rng, 40, 15, true))};
        for (const Aligned& aligned : align(tables, Duplicates::all).aligned) {
            std::vector<std::uint32_t> rows;
            std::map<Hash128, std::uint64_t> counts;
            std::uint64_t most = 0;
            for (std::size_t i = 0; i < aligned.rows.size(); ++i) {
                if (rng.below(3) == 0) continue;
                rows.push_back(aligned.rows[i]);
                most = std::max(most, ++counts[aligned.ids[i]]);
            }
            CHECK(is(repeats_of(aligned, rows), counts.size(), most));
        }
    }
}

TEST_CASE("dataset_size takes the first common ids with all their rows") {
    Rng rng(13);
    const std::vector<Table> tables = {make_table(some_records(rng, 80, 30, true)),
                                       make_table(some_records(rng, 80, 30, true))};
    const Outcome whole = align(tables, Duplicates::all);
    const Outcome part = align(tables, Duplicates::all, 3);
    CHECK(part.common.ids.size() == 3);
    CHECK(part.common.common == whole.common.ids.size());
    CHECK(std::equal(part.aligned[1].rows.begin(), part.aligned[1].rows.end(),
                     whole.aligned[1].rows.begin()));
    CHECK(align(tables, Duplicates::all, 1'000'000).common.rows == whole.common.rows);
}

TEST_CASE("a duplicate is refused with both its lines, and first keeps the file's first") {
    const Table table = table_of("id,x\na,1\nb,2\n\nc,3\nb,4\na,5\n");
    const auto local = hash_ids(table, "", Duplicates::refuse, "member-1");
    REQUIRE_FALSE(local);
    CHECK(local.error().code == Errc::bad_data);
    CHECK_THAT(local.error().sentence, Contains("member-1: "));
    CHECK_THAT(local.error().sentence,
               Contains("line 6: the id 'b' was on line 3 already (2 such rows in all)"));
    const auto first = hash_ids(table, "", Duplicates::first, "member-1");
    REQUIRE(first);
    CHECK(std::set<std::uint32_t>(first->rows.begin(), first->rows.end()) ==
          std::set<std::uint32_t>{0, 1, 2});
    CHECK(first->counts.empty());
    CHECK(first->duplicate_rows == 2);
}

TEST_CASE("another salt gives other hashes") {
    const Table table = table_of("id,x\na,1\n");
    CHECK(hash_ids(table, "s", Duplicates::first, "")->ids !=
          hash_ids(table, "t", Duplicates::first, "")->ids);
}

TEST_CASE("nothing in common is one sentence with each party's count") {
    const auto a = hash_ids(table_of("id,x\na,1\nb,1\n"), "", Duplicates::first, "");
    const auto b = hash_ids(table_of("id,x\nc,1\n"), "", Duplicates::first, "");
    const std::vector<PartyIds> sent = {{"master", a->ids, {}}, {"member-0", b->ids, {}}};
    const auto common = intersect(sent);
    REQUIRE_FALSE(common);
    CHECK(common.error().code == Errc::bad_data);
    CHECK_THAT(common.error().sentence, Contains("master has 2 and member-0 has 1"));
}

TEST_CASE("what a party sends is checked") {
    const Hash128 low{1}, high{2};
    const std::vector<Hash128> good = {low, high}, twice = {low, low}, backwards = {high, low};
    const std::vector<std::uint32_t> ones = {1, 1}, zero = {1, 0}, one = {1};
    const auto code = [&](std::span<const Hash128> ids, std::span<const std::uint32_t> counts) {
        const std::vector<PartyIds> sent = {{"master", good, {}}, {"member-0", ids, counts}};
        const auto common = intersect(sent);
        return common ? Errc::ok : common.error().code;
    };
    CHECK(code(good, {}) == Errc::ok);
    CHECK(code(good, ones) == Errc::ok);
    CHECK(code(twice, {}) == Errc::malformed_message);
    CHECK(code(backwards, {}) == Errc::malformed_message);
    CHECK(code(good, zero) == Errc::malformed_message);
    CHECK(code(good, one) == Errc::malformed_message);
    const std::vector<std::uint32_t> huge = {0xffffffff, 0xffffffff};
    CHECK(code(good, huge) == Errc::bad_data);  // more rows than aligned_rows_max
}

TEST_CASE("what the master sends back is checked") {
    const auto local = hash_ids(table_of("id,x\na,1\nb,1\nb,2\n"), "", Duplicates::all, "");
    const auto code = [&](const Selection& selection) {
        const auto aligned = apply(*local, selection);
        return aligned ? Errc::ok : aligned.error().code;
    };
    CHECK(code({{3}, {1, 1}, {1, 1}, {}}) == Errc::ok);
    CHECK(code({{0}, {}, {}, {}}) == Errc::ok);
    CHECK(code({{}, {}, {}, {}}) == Errc::malformed_message);
    CHECK(code({{3, 0}, {1, 1}, {1, 1}, {}}) == Errc::malformed_message);
    CHECK(code({{7}, {1, 1, 1}, {1, 1, 1}, {}}) == Errc::malformed_message);
    CHECK(code({{3}, {}, {}, {}}) == Errc::malformed_message);
    CHECK(code({{3}, {1, 1}, {1}, {}}) == Errc::malformed_message);
    CHECK(code({{3}, {1, 0}, {1, 1}, {}}) == Errc::malformed_message);
    const std::uint32_t much = 0xffffffff;
    CHECK(code({{3}, {much, much}, {much, much}, {}}) == Errc::malformed_message);
    CHECK(code({{3}, {900'000'000, 900'000'000}, {1, 1}, {}}) == Errc::malformed_message);
}

TEST_CASE("a left join takes all records of the first party") {
    const std::vector<Table> tables{
        make_table({{"a", "1,"}, {"b", "2,"}, {"c", "3,"}, {"d", "4,"}}),
        make_table({{"b", "20,"}, {"x", "90,"}, {"d", "40,"}, {"d", "41,"}}),
        make_table({{"y", "5,"}})};
    std::vector<LocalIds> local;
    std::vector<PartyIds> sent;
    for (const Table& table : tables)
        local.push_back(hash_ids(table, "salt", Duplicates::all, "p").value());
    for (const LocalIds& ids : local) sent.push_back({"p", ids.ids, ids.counts});
    const auto common = intersect(sent, 0, Join::left);
    REQUIRE(common);
    CHECK(common->ids == local[0].ids);
    CHECK(common->rows == 5);  // d twice
    CHECK(common->common == 4);
    CHECK(common->matched == std::vector<std::size_t>{4, 2, 0});
    CHECK(common->rows_matched == std::vector<std::uint64_t>{4, 3, 0});
    CHECK(common->absent == std::vector<std::uint64_t>{0, 2, 5});
    std::vector<Aligned> aligned;
    for (std::size_t p = 0; p < 3; ++p) {
        auto rows = apply(local[p], common->selections[p], common->rows);
        REQUIRE(rows);
        REQUIRE(rows->rows.size() == 5);
        aligned.push_back(std::move(*rows));
    }
    std::multiset<std::string> joined_rows;
    for (std::size_t i = 0; i < 5; ++i) {
        std::string row(tables[0].ids[aligned[0].rows[i]]);
        CHECK(aligned[2].rows[i] == absent_row);
        CHECK(aligned[2].ids[i] == Hash128{});
        const std::uint32_t other = aligned[1].rows[i];
        row += other == absent_row ? "-" : tables[1].features[0].text(other);
        joined_rows.insert(row);
    }
    CHECK(joined_rows == std::multiset<std::string>{"a-", "b20", "c-", "d40", "d41"});
    // of the rows that are there one id has two
    const Repeats repeats = repeats_of(aligned[1], aligned[1].rows);
    CHECK(repeats.ids == 2);
    CHECK(repeats.most == 2);

    SECTION("the first two records alone") {
        const auto cut = intersect(sent, 2, Join::left);
        REQUIRE(cut);
        CHECK(cut->ids.size() == 2);
        CHECK(cut->common == 4);
        for (std::size_t p = 0; p < 3; ++p) CHECK(apply(local[p], cut->selections[p], cut->rows));
    }
    SECTION("what does not fit is refused") {
        const auto refused = [&](const std::function<void(Selection&)>& change,
                                 std::uint64_t rows = 5) {
            Selection selection = common->selections[1];
            change(selection);
            const auto out = apply(local[1], selection, rows);
            REQUIRE_FALSE(out);
            CHECK(out.error().code == Errc::malformed_message);
        };
        refused([](Selection& s) { s.held[0] = static_cast<std::uint8_t>(s.held[0] ^ 1U); });
        refused([](Selection& s) { s.held[0] |= 0x80U; });
        refused([](Selection& s) { s.held.push_back(0); });
        refused([](Selection& s) { s.outer.pop_back(); });
        refused([](Selection& s) { s.inner.assign(4, 9); });
        refused([](Selection&) {}, 4);
        refused([](Selection& s) { s.outer.clear(), s.inner.clear(); });
        Selection none = common->selections[2];
        none.outer.clear();
        none.inner.clear();
        CHECK(apply(local[2], none, 4)->rows == std::vector<std::uint32_t>(4, absent_row));
        CHECK_FALSE(apply(local[2], none, 9));
        CHECK_FALSE(apply(local[2], none));  // as many as there may be
    }
}
