#pragma once
// A trained model as `predict` and `model show` find it: which run made it, where its parts lie,
// and which files hold the rows that it is to score.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "actors/model_file.hpp"
#include "arguments.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"

namespace vflbus::cli {

struct TrainedModel {
    actors::ModelHead head;         ///< of the part that was looked at first
    std::filesystem::path parts;    ///< <party>/model.json lie here
    std::filesystem::path run_dir;  ///< of the training; empty when it is not here
};

/// `text` is a directory (of a run, or of `--out`), or the id of a run under output.runs_dir or its
/// first digits. Errors: io when there is no model; usage for digits that several runs have.
Result<TrainedModel> find_model(const Common& common, const std::string& text);

/// The same by digits alone, among the runs of a directory.
Result<TrainedModel> find_model(const std::filesystem::path& runs_dir, const std::string& digits);

/// The agreed half of the training; none where it does not lie beside the model, or is of another
/// training.
std::optional<config::AgreedHalf> agreed_of(const TrainedModel& model);

/// The configuration that was saved with the training; empty when there is none.
std::filesystem::path saved_configuration(const TrainedModel& model);

/// Says what the configuration does not say of the run (task, members, ids, ...) as the training
/// had it, whose agreed half lies beside its model. Where it does not lie there, or is of another
/// training, only the number of members is taken. Errors: bad_config when what the configuration
/// does say contradicts it.
Result<> take_agreed(config::Config& config, const TrainedModel& model);

/// Gives each party its file of rows to predict: in the order master, member-0, ... where the files
/// have the columns that the parts were trained with, otherwise the party whose columns they have.
/// Errors: usage for another number of files than parties; bad_data for columns that no file has;
/// those of opening a source.
Result<> take_rows(config::Config& config, const TrainedModel& model,
                   const std::vector<std::string>& files, bool all_parties);

/// A location of rows as somebody in the working directory would type it, quoted where needed.
std::string typed_location(const std::string& location);

/// "vflbus predict --local --model 1f0c9a33 --data bank.csv ...": what predicts with the model when
/// it is pasted into the shell that trained it. Without configured rows to predict it names the
/// files that the model was trained on, which new ones may take the place of.
std::string predict_command(const config::Config& config, const std::filesystem::path& run_dir);

}  // namespace vflbus::cli
