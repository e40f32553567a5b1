#pragma once
// The label holder's labels, in the words of the models room.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "actors/party.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "data/labels.hpp"
#include "data/table.hpp"
#include "models/head.hpp"
#include "observe/report.hpp"

namespace vflbus::actors {

models::ClassWeights class_weights_of(const config::ModelConfig& model);

/// Labels of the given table rows under a coding; with an exposure those of one unit of it. Errors
/// (bad_data): those of encode_labels, a label that the task does not take, an exposure that is
/// missing or not above 0, a table without the column of exposures.
Result<models::Labels> labels_of(const data::Table& table, const data::LabelCoding& coding,
                                 std::span<const std::uint32_t> rows);

/// The exposures of the given table rows; none where the coding has none. Errors: as above.
Result<std::vector<double>> exposure_of(const data::Table& table, const data::LabelCoding& coding,
                                        std::span<const std::uint32_t> rows);

/// What a training knows of its labels.
struct Labels {
    data::LabelCoding coding;
    models::Labels train;  ///< of the training rows, in the aligned order
    models::Labels test;   ///< of the test rows
};

/// After `split`, while the tables are there. The coding is made of the training rows, and of the
/// test rows where they come from the same table. Errors: bad_data.
Result<Labels> read_labels(const Party& own, vflbus::Task task, const std::string& positive);

/// Names the classes whose probabilities the model predicts, where it has such.
void note_positive(observe::RunReport& report, const data::LabelCoding& coding);

/// Whether a split is to give each class its share: the task has classes, and data.stratify.
bool keeps_shares(const config::AgreedHalf& agreed);

/// The classes of the aligned rows of the training table, before they are split.
struct Classes {
    data::LabelCoding coding;
    std::vector<std::uint32_t> of_rows;  ///< its number in the coding, of each aligned row
};
/// Of a task with classes. Errors: bad_data.
Result<Classes> classes_of(const Party& own);

/// Splits the own rows: `test` are the positions of the test rows in the aligned order. Errors:
/// those of Party::split.
Result<> split_off(Party& own, std::span<const std::uint32_t> test);

/// Splits the own rows: of classes each has its share of the test rows, unless data.stratify says
/// otherwise. Errors: those of read_labels, and of Party::split.
Result<> split_own(Party& own);

}  // namespace vflbus::actors
