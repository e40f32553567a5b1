#include <cmath>
#include <set>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "data/align.hpp"
#include "data/synth_pictures.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;
using Catch::Matchers::Contains;

namespace {
SynthReport make(SynthOptions options, const Scratch& scratch) {
    options.out_dir = scratch.path;
    auto report = synthesize(options);
    if (!report) FAIL(report.error().sentence);
    return std::move(*report);
}

Table read(const std::filesystem::path& path, const SynthReport& report, bool labels) {
    ReadOptions options;
    options.location = path.string();
    options.id = report.id_column;
    if (labels) options.labels = report.labels;
    auto table = data::read(options);
    if (!table) FAIL(table.error().sentence);
    return std::move(*table);
}

SynthOptions options_of(Task task, std::uint64_t rows, std::uint32_t members = 2) {
    SynthOptions options;
    options.task = task;
    options.rows = rows;
    options.members = members;
    return options;
}
}  // namespace

TEST_CASE("the same options give the same bytes, on every machine") {
    const Scratch one, two;
    make(options_of(Task::logistic, 300), one);
    make(options_of(Task::logistic, 300), two);
    std::string all;
    for (const char* name : {"bank.csv", "telecom.csv", "shop.csv"}) {
        const auto content = read_file(one.path / name);
        REQUIRE(content);
        CHECK(*content == *read_file(two.path / name));
        all += *content;
    }
    CHECK(to_hex(hash256(all)) ==
          "c547972ee842d243c13c34edecee615aa745890c4da3eae0945fff920d8bfafe");
}

TEST_CASE("the parties know overlapping people in different orders") {
    const Scratch scratch;
    const SynthReport report = make(options_of(Task::logistic, 4000, 3), scratch);
    REQUIRE(report.parties.size() == 4);
    CHECK(report.parties[0].name == "bank");
    CHECK(report.parties[3].name == "insurer");
    std::vector<LocalIds> local;
    for (const SynthParty& party : report.parties) {
        const Table t = read(party.data, report, party.name == "bank");
        CHECK(t.rows() == party.rows);
        CHECK(t.features.size() == party.features.size());
        local.push_back(*hash_ids(t, "", Duplicates::refuse, party.name));
    }
    std::vector<PartyIds> sent;
    for (const LocalIds& ids : local) sent.push_back({"p", ids.ids, {}});
    const auto common = intersect(sent);
    REQUIRE(common);
    CHECK(common->rows == report.common);
    CHECK(common->rows > 3100);
    CHECK(common->rows < 3300);
    CHECK(local[1].ids != local[2].ids);
}

TEST_CASE("cells are missing at the rate asked for, and every party has a text column") {
    const Scratch scratch;
    SynthOptions options = options_of(Task::linear, 5000, 8);
    options.missing_fraction = 0.1;
    const SynthReport report = make(options, scratch);
    for (const SynthParty& party : report.parties) {
        const Table t = read(party.data, report, party.name == "bank");
        std::size_t missing = 0, texts = 0;
        for (const Column& column : t.features) {
            texts += column.kind == ColumnKind::text;
            for (std::size_t row = 0; row < t.rows(); ++row) missing += column.is_missing(row);
        }
        CHECK(texts >= 1);
        const auto cells = static_cast<double>(t.rows() * t.features.size());
        CHECK(static_cast<double>(missing) / cells == Approx(0.1).margin(0.01));
    }
}

TEST_CASE("each task has its labels") {
    const Scratch scratch;
    const SynthReport linear = make(options_of(Task::linear, 2000), scratch);
    CHECK(read(scratch.path / "bank.csv", linear, true).labels[0].numbers[0] > 0);
    const SynthReport logistic = make(options_of(Task::logistic, 2000), scratch);
    const Table one = read(scratch.path / "bank.csv", logistic, true);
    double positives = 0;
    for (const double y : one.labels[0].numbers) positives += y;
    CHECK(positives / 2000 == Approx(0.27).margin(0.04));
    const SynthReport several = make(options_of(Task::multilabel, 500), scratch);
    CHECK(several.labels.size() == 5);
    CHECK(several.weights.size() == 5);
    CHECK(read(scratch.path / "bank.csv", several, true).labels.size() == 5);
    const SynthReport classes = make(options_of(Task::softmax, 500), scratch);
    CHECK(read(scratch.path / "bank.csv", classes, true).labels[0].dictionary ==
          std::vector<std::string>{"A", "B", "C", "D"});
    SynthOptions many = options_of(Task::softmax, 3000);
    many.classes = 30;
    const SynthReport thirty = make(many, scratch);
    CHECK(read(scratch.path / "bank.csv", thirty, true).labels[0].dictionary.size() == 30);
}

TEST_CASE("the label follows the weights that are reported") {
    const Scratch scratch;
    SynthOptions options = options_of(Task::linear, 3000);
    options.missing_fraction = 0;
    const SynthReport report = make(options, scratch);
    const Table t = read(scratch.path / "bank.csv", report, true);
    // the correlation of a numeric column with the label is minus its weight (variance 1 in all)
    for (const auto& [name, weight] : report.weights[0][0]) {
        const Column& column = *t.find_feature(name);
        if (column.kind == ColumnKind::text) continue;
        double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
        for (std::size_t r = 0; r < t.rows(); ++r) {
            mx += column.numbers[r] / 3000;
            my += t.labels[0].numbers[r] / 3000;
        }
        for (std::size_t r = 0; r < t.rows(); ++r) {
            const double x = column.numbers[r] - mx, y = t.labels[0].numbers[r] - my;
            xx += x * x;
            yy += y * y;
            xy += x * y;
        }
        INFO(name);
        CHECK(xy / std::sqrt(xx * yy) == Approx(-weight).margin(0.06));
    }
}

TEST_CASE("test files have labels, predict files none, and nobody is in two") {
    const Scratch scratch;
    SynthOptions options = options_of(Task::logistic, 500);
    options.test_files = options.predict_files = true;
    const SynthReport report = make(options, scratch);
    std::set<std::string> seen;
    std::size_t rows = 0;
    for (const auto& path :
         {report.parties[0].data, report.parties[0].test_data, report.parties[0].predict_data}) {
        const bool predict = path == report.parties[0].predict_data;
        const Table t = read(path, report, !predict);
        CHECK(t.features.size() == report.parties[0].features.size());
        rows += t.rows();
        for (std::size_t row = 0; row < t.rows(); ++row) seen.emplace(t.ids[row]);
    }
    CHECK(rows == 700);
    CHECK(seen.size() == rows);
}

TEST_CASE("options out of range are named") {
    const Scratch scratch;
    const auto refused = [&](auto change) {
        SynthOptions options;
        options.out_dir = scratch.path;
        change(options);
        const auto report = synthesize(options);
        REQUIRE_FALSE(report);
        CHECK(report.error().code == Errc::usage);
        return report.error().sentence;
    };
    CHECK_THAT(refused([](auto& o) { o.members = 0; }), Contains("members must be 1 to 64"));
    CHECK_THAT(refused([](auto& o) { o.rows = 3; }), Contains("rows"));
    CHECK_THAT(refused([](auto& o) { o.overlap = 0; }), Contains("overlap"));
    CHECK_THAT(refused([](auto& o) { o.overlap = std::nan(""); }), Contains("overlap"));
    CHECK_THAT(refused([](auto& o) { o.missing_fraction = 1; }), Contains("missing_fraction"));
    CHECK_THAT(refused([](auto& o) { o.task = Task::softmax, o.classes = 2; }),
               Contains("classes"));
    CHECK_THAT(refused([](auto& o) { o.task = Task::multilabel, o.labels = 0; }),
               Contains("labels"));
    CHECK(std::filesystem::is_empty(scratch.path));
    SynthOptions options;
    options.out_dir = scratch.write("a file") + "/below";
    const auto report = synthesize(options);
    REQUIRE_FALSE(report);
    CHECK(report.error().code == Errc::io);
}

TEST_CASE("pictures are made of parts that fit each other, the same bytes every time") {
    const Scratch scratch;
    SynthOptions options = options_of(Task::softmax, 60, 3);
    options.out_dir = scratch.path;
    options.test_files = true;
    options.predict_files = true;
    const auto report = synthesize_pictures(options, {9, 16, 1});
    REQUIRE(report);
    REQUIRE(report->parties.size() == 4);
    CHECK(report->parties[0].image.size() == 0);
    CHECK(report->parties[1].image == ImageShape{9, 5, 1});
    CHECK(report->parties[3].image == ImageShape{9, 6, 1});
    const Table labels = read(report->parties[0].data, *report, true);
    CHECK(labels.rows() == 60);
    CHECK(labels.labels[0].dictionary.size() == 4);
    const Table part = read(report->parties[1].data, *report, false);
    CHECK(part.features.size() == 45);
    CHECK(part.features[5].name == "p1_0");
    std::set<std::string> here;
    std::set<std::string> there;
    bool same_order = true;
    for (std::size_t row = 0; row < part.rows(); ++row) {
        here.emplace(part.ids[row]);
        there.emplace(labels.ids[row]);
        same_order = same_order && part.ids[row] == labels.ids[row];
    }
    CHECK(here == there);
    CHECK_FALSE(same_order);
    CHECK(read(report->parties[2].test_data, *report, false).rows() == 12);
    const Table later = read(report->parties[0].predict_data, *report, false);
    CHECK(later.rows() == 12);
    const auto text = read_file(report->parties[2].data);
    REQUIRE(text);
    REQUIRE(synthesize_pictures(options, {9, 16, 1}));
    CHECK(*read_file(report->parties[2].data) == *text);
    CHECK(to_hex(hash128(*text)).substr(0, 16) == "b93d1c61105b05ea");
}

TEST_CASE("pictures out of range are refused by name") {
    const Scratch scratch;
    SynthOptions options = options_of(Task::softmax, 60);
    options.out_dir = scratch.path;
    const auto sentence = [&](ImageShape image) {
        const auto made = synthesize_pictures(options, image);
        return made ? std::string("accepted") : made.error().sentence;
    };
    CHECK_THAT(sentence({7, 16, 1}), Contains("pictures must be 8x8 to 256x256"));
    CHECK_THAT(sentence({8, 16, 3}), Contains("of one channel"));
    options.members = 17;
    CHECK_THAT(sentence({8, 16, 1}), Contains("members must be 1 to 16"));
    options.members = 2;
    options.classes = 7;
    CHECK_THAT(sentence({8, 16, 1}), Contains("classes must be 2 to 6"));
}
