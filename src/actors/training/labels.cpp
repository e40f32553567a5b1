#include "actors/training/labels.hpp"

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "data/place.hpp"
#include "data/split.hpp"

namespace vflbus::actors {

models::ClassWeights class_weights_of(const config::ModelConfig& model) {
    models::ClassWeights out;
    switch (model.class_weights.rule) {
        case config::ClassWeights::Rule::none:
            break;
        case config::ClassWeights::Rule::balanced:
            out.kind = models::ClassWeights::Kind::balanced;
            break;
        case config::ClassWeights::Rule::numbers:
            out.kind = models::ClassWeights::Kind::listed;
            out.listed = model.class_weights.numbers;
            break;
    }
    return out;
}

namespace {

/// Labels of a log link are not negative, and those of gamma are above 0.
Result<> check_range(const data::Table& table, const data::LabelCoding& coding,
                     std::span<const double> values, std::span<const std::uint32_t> rows) {
    if (!has_log_link(coding.task)) return {};
    const bool positive = coding.task == vflbus::Task::gamma;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i] > 0 || (values[i] == 0 && !positive)) continue;
        const std::string rule = "task " + std::string(name_of(coding.task)) + " needs numbers " +
                                 (positive ? "above 0" : "of 0 or more");
        return tl::unexpected(data::fault(Errc::bad_data, table.place_of(rows[i]),
                                          ", label " + data::shown(coding.columns[0]) + " is " +
                                              shortest(values[i]) + "; " + rule,
                                          ", a label: " + rule));
    }
    return {};
}

}  // namespace

Result<models::Labels> labels_of(const data::Table& table, const data::LabelCoding& coding,
                                 std::span<const std::uint32_t> rows) {
    const auto encoded = data::encode_labels(table, coding, rows);
    if (!encoded) return tl::unexpected(encoded.error());
    if (auto good = check_range(table, coding, encoded->values, rows); !good)
        return tl::unexpected(std::move(good.error()));
    auto exposure = exposure_of(table, coding, rows);
    if (!exposure) return tl::unexpected(std::move(exposure.error()));
    models::Labels labels;
    labels.exposure = std::move(*exposure);
    labels.tweedie_power = coding.tweedie_power;
    labels.task = coding.task;
    if (coding.task == vflbus::Task::softmax) labels.classes = coding.outputs();
    labels.names = coding.output_names();
    labels.values.resize_uninitialized(encoded->rows, encoded->cols);
    for (std::size_t c = 0; c < encoded->cols; ++c)
        for (std::size_t r = 0; r < encoded->rows; ++r)
            labels.values(r, c) = coding.task == vflbus::Task::softmax
                                      ? static_cast<double>(encoded->classes[r])
                                      : encoded->values[r * encoded->cols + c];
    if (!labels.exposure.empty())
        for (std::size_t r = 0; r < encoded->rows; ++r) labels.values(r, 0) /= labels.exposure[r];
    return labels;
}

Result<std::vector<double>> exposure_of(const data::Table& table, const data::LabelCoding& coding,
                                        std::span<const std::uint32_t> rows) {
    std::vector<double> out;
    if (coding.exposure.empty()) return out;
    if (!table.exposure || table.exposure->name != coding.exposure)
        return tl::unexpected(data::fault(Errc::bad_data, table.place(),
                                          " has no exposure column " +
                                              data::shown(coding.exposure) +
                                              ", which the model was trained with; name it in "
                                              "party.master.exposure",
                                          " has no exposure column"));
    for (const std::uint32_t row : rows) {
        const double exposure = table.exposure->numbers[row];
        if (!(exposure > 0))
            return tl::unexpected(
                data::fault(Errc::bad_data, table.place_of(row),
                            std::string(": the exposure of the row is ") +
                                (std::isnan(exposure) ? "missing" : "not above 0") +
                                "; leave the row out, or say how long it was watched (exposure)"));
        out.push_back(exposure);
    }
    return out;
}

namespace {

/// The weights of the training rows; none where the table has none.
Result<std::vector<double>> row_weights_of(const data::Table& table,
                                           std::span<const std::uint32_t> rows) {
    std::vector<double> weights;
    if (!table.weights) return weights;
    double sum = 0;
    for (const std::uint32_t row : rows) {
        const double weight = table.weights->numbers[row];
        if (!(weight >= 0))
            return tl::unexpected(data::fault(Errc::bad_data, table.place_of(row),
                                              std::string(": the weight of the row is ") +
                                                  (std::isnan(weight) ? "missing" : "below 0") +
                                                  "; weights are 0 or more (sample_weight)"));
        weights.push_back(weight);
        sum += weight;
    }
    if (sum > 0) return weights;
    return tl::unexpected(
        data::fault(Errc::bad_data, table.place(), ": the weights of the training rows are all 0"));
}

}  // namespace

Result<Labels> read_labels(const Party& own, vflbus::Task task, const std::string& positive) {
    const bool separate = own.selected(TableKind::test);
    const data::Table& train = *own.table(TableKind::train);
    const data::Table& test = separate ? *own.table(TableKind::test) : train;
    const auto train_rows = own.rows(TableKind::train);
    const auto test_rows = own.rows(TableKind::test);

    std::vector<std::uint32_t> fitted(train_rows.begin(), train_rows.end());
    if (!separate) fitted.insert(fitted.end(), test_rows.begin(), test_rows.end());
    auto coding = data::fit_labels(train, task, fitted, positive);
    if (!coding) return tl::unexpected(own.named(std::move(coding.error())));
    Labels labels;
    labels.coding = std::move(*coding);
    if (has_log_link(task) && train.exposure) labels.coding.exposure = train.exposure->name;
    labels.coding.tweedie_power = own.agreed().model.tweedie_power;
    auto of_train = labels_of(train, labels.coding, train_rows);
    if (!of_train) return tl::unexpected(own.named(std::move(of_train.error())));
    auto of_test = labels_of(test, labels.coding, test_rows);
    if (!of_test) return tl::unexpected(own.named(std::move(of_test.error())));
    labels.train = std::move(*of_train);
    auto weights = row_weights_of(train, train_rows);
    if (!weights) return tl::unexpected(own.named(std::move(weights.error())));
    labels.train.weights = std::move(*weights);
    labels.test = std::move(*of_test);
    return labels;
}

void note_positive(observe::RunReport& report, const data::LabelCoding& coding) {
    report.positive_class.clear();
    report.positive_classes.clear();
    if (coding.task == vflbus::Task::logistic) report.positive_class = coding.classes[0][1];
    if (coding.task != vflbus::Task::multilabel) return;
    const std::vector<std::string> names = coding.output_names();
    for (std::size_t k = 0; k < names.size(); ++k)
        report.positive_classes.emplace_back(names[k], coding.classes[k][1]);
}

bool keeps_shares(const config::AgreedHalf& agreed) {
    const bool classes =
        agreed.model.task == vflbus::Task::logistic || agreed.model.task == vflbus::Task::softmax;
    return classes && agreed.data.stratify;
}

Result<Classes> classes_of(const Party& own) {
    const data::Table& table = *own.table(TableKind::train);
    const data::Aligned& common = own.common(TableKind::train);
    auto coding = data::fit_labels(table, own.agreed().model.task, common.rows);
    if (!coding) return tl::unexpected(own.named(std::move(coding.error())));
    const auto labels = labels_of(table, *coding, common.rows);
    if (!labels) return tl::unexpected(own.named(labels.error()));
    Classes classes;
    classes.coding = std::move(*coding);
    for (const double value : labels->values.span())
        classes.of_rows.push_back(static_cast<std::uint32_t>(value));
    return classes;
}

Result<> split_off(Party& own, std::span<const std::uint32_t> test) {
    std::vector<std::uint8_t> bitmap((own.common(TableKind::train).rows.size() + 7) / 8, 0);
    for (const std::uint32_t i : test)
        bitmap[i / 8] = static_cast<std::uint8_t>(bitmap[i / 8] | 1U << (i % 8));
    return own.split(bitmap);
}

Result<> split_own(Party& own) {
    const config::AgreedHalf& agreed = own.agreed();
    if (agreed.data.test_fraction == 0 || own.selected(TableKind::test)) return own.split();
    if (!keeps_shares(agreed)) {
        if (agreed.data.join == config::Join::inner) return own.split();
        const auto& ids = own.common(TableKind::train).ids;  // members do not know all of them
        return split_off(own,
                         data::split_rows(ids, agreed.run.seed, agreed.data.test_fraction).test);
    }
    const auto classes = classes_of(own);
    if (!classes) return tl::unexpected(classes.error());
    const data::Split split =
        data::split_stratified(own.common(TableKind::train).ids, classes->of_rows, agreed.run.seed,
                               agreed.data.test_fraction);
    return split_off(own, split.test);
}

}  // namespace vflbus::actors
