// Tables that nobody here made up; ../shared/data beside the repository. Skipped where it is
// absent.

#include <map>
#include <set>

#include "data/align.hpp"
#include "data/labels.hpp"
#include "data/preprocess.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;

namespace {
std::string directory() {
    const char* const named = std::getenv("VFLBUS_SHARED_DATA");
    return named != nullptr ? named : VFLBUS_SHARED_DATA;
}

bool present() {
    if (std::filesystem::exists(directory())) return true;
    WARN("skipped: " << directory() << " is not there");
    return false;
}

Table real(const std::string& name, const std::string& id, std::vector<std::string> labels = {},
           std::vector<std::string> exclude = {}) {
    ReadOptions options;
    options.location = directory() + "/" + name;
    options.id = id;
    options.labels = std::move(labels);
    options.exclude = std::move(exclude);
    auto table = data::read(options);
    if (!table) FAIL(table.error().sentence);
    return std::move(*table);
}

Result<Intersection> align(const std::vector<Table>& tables, Duplicates policy,
                           std::vector<Aligned>& aligned) {
    std::vector<LocalIds> local;
    for (const Table& table : tables) {
        auto ids = hash_ids(table, "", policy, "p");
        if (!ids) return tl::unexpected(ids.error());
        local.push_back(std::move(*ids));
    }
    std::vector<PartyIds> sent;
    for (const LocalIds& ids : local) sent.push_back({"p", ids.ids, ids.counts});
    auto common = intersect(sent);
    for (std::size_t p = 0; common && p < tables.size(); ++p)
        aligned.push_back(*apply(local[p], common->selections[p]));
    return common;
}
}  // namespace

TEST_CASE("breast with duplicated ids: 299 common ids by every policy that takes them") {
    if (!present()) return;
    std::vector<Table> tables;
    tables.push_back(real("breast_hetero_guest_sample_id.csv", "id", {"y"}, {"mock_id"}));
    tables.push_back(real("breast_hetero_host_sample_id.csv", "id", {}, {"sample_id"}));
    CHECK(tables[0].rows() == 2139);
    std::vector<Aligned> aligned;
    CHECK_FALSE(align(tables, Duplicates::refuse, aligned));
    const auto first = align(tables, Duplicates::first, aligned);
    REQUIRE(first);
    CHECK(first->rows == 299);
    aligned.clear();
    const auto all = align(tables, Duplicates::all, aligned);
    REQUIRE(all);
    CHECK(all->ids.size() == 299);
    std::map<std::string, std::size_t> guest, host;
    for (std::size_t r = 0; r < tables[0].rows(); ++r) ++guest[std::string(tables[0].ids[r])];
    for (std::size_t r = 0; r < tables[1].rows(); ++r) ++host[std::string(tables[1].ids[r])];
    std::size_t rows = 0;
    for (const auto& [id, count] : host) rows += count * guest[id];
    CHECK(all->rows == rows);
    for (std::size_t i = 0; i < rows; ++i)
        REQUIRE(tables[0].ids[aligned[0].rows[i]] == tables[1].ids[aligned[1].rows[i]]);
}

TEST_CASE("ionosphere: 1,338 missing cells, and the column without any is removed by name") {
    if (!present()) return;
    std::uint64_t missing = 0;
    std::vector<std::string> removed;
    for (const bool guest : {true, false}) {
        const Table t = guest ? real("ionosphere_scale_hetero_guest.csv", "sid", {"label"})
                              : real("ionosphere_scale_hetero_host.csv", "sid");
        CHECK(t.rows() == 351);
        for (const Column& column : t.features) {
            CHECK(column.kind == ColumnKind::numeric);
            for (std::size_t row = 0; row < t.rows(); ++row) missing += column.is_missing(row);
        }
        PreprocessReport report;
        const Preprocessor p = fit(t, all_rows(t), {}, &report);
        for (const LeftOut& column : report.removed)
            removed.push_back(column.name + ": " + column.reason);
        const auto design = transform(p, t, all_rows(t));
        REQUIRE(design);
        for (std::size_t c = 0; c < design->cols(); ++c) {
            double sum = 0, squares = 0;
            for (std::size_t r = 0; r < design->rows(); ++r) {
                sum += (*design)(r, c);
                squares += (*design)(r, c) * (*design)(r, c);
            }
            CHECK(sum / 351 == Approx(0).margin(1e-12));
            CHECK(squares / 351 == Approx(1).epsilon(1e-12));
        }
    }
    CHECK(missing == 1338);
    CHECK(removed == std::vector<std::string>{"x2: all training cells are missing"});
}

TEST_CASE("vehicle: four classes; default_credit: 30,000 rows, 6,636 positive") {
    if (!present()) return;
    const Table vehicle = real("vehicle_scale_hetero_guest.csv", "id", {"y"});
    const auto four = fit_labels(vehicle, Task::softmax, all_rows(vehicle));
    REQUIRE(four);
    CHECK(four->outputs() == 4);
    std::vector<Table> credit;
    credit.push_back(real("default_credit_hetero_guest.csv", "id", {"y"}));
    credit.push_back(real("default_credit_hetero_host.csv", "id"));
    CHECK(credit[0].features.size() == 13);
    CHECK(credit[1].features.size() == 10);
    std::vector<Aligned> aligned;
    const auto common = align(credit, Duplicates::refuse, aligned);
    REQUIRE(common);
    CHECK(common->rows == 30'000);
    const auto coding = fit_labels(credit[0], Task::logistic, aligned[0].rows);
    REQUIRE(coding);
    const auto labels = encode_labels(credit[0], *coding, aligned[0].rows);
    CHECK(class_counts(*coding, *labels)[0] == std::vector<std::uint64_t>{23'364, 6'636});
}

TEST_CASE("mnist: parties in different row orders, 784 columns, constant pixels removed") {
    if (!present()) return;
    std::vector<Table> tables;
    tables.push_back(real("mnist_labels_test.csv", "id", {"digit"}));
    tables.push_back(real("mnist_left_test.csv", "id"));
    tables.push_back(real("mnist_right_test.csv", "id"));
    std::vector<Aligned> aligned;
    const auto common = align(tables, Duplicates::refuse, aligned);
    REQUIRE(common);
    CHECK(common->rows == 1000);
    for (std::size_t i = 0; i < 1000; ++i)
        REQUIRE(tables[1].ids[aligned[1].rows[i]] == tables[2].ids[aligned[2].rows[i]]);
    CHECK(tables[0].features.empty());
    PreprocessReport report;
    const Preprocessor p = fit(tables[1], aligned[1].rows, {}, &report);
    CHECK(p.width() + report.removed.size() == 392);
    CHECK(report.removed.size() > 20);
}
