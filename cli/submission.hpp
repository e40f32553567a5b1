#pragma once
// What a serving master can train of what is submitted to it.
//
// A submission is the agreed half of a configuration, written by somebody who need not know the
// label holder's tables. A run that could never start would hold one of the few places of the
// master until its waits have passed, so what can be known is checked before it is taken.

#include <filesystem>
#include <string>
#include <string_view>

#include "base/errc.hpp"
#include "config/config.hpp"

namespace vflbus::cli {

/// The master's own configuration with the submitted agreed half. A submission without
/// run.world_size takes the master's.
/// Errors: those of config::parse_canonical, bad_config for what does not fit the master's own half
/// and for more members than the master knows, io for files of the master that are not there.
Result<config::Config> accept_submission(const config::Config& own, std::string_view agreed);

// -- predictions ------------------------------------------------------------------------------

/// The text that `vflbus run predict` submits: "predict = DIGITS\n". `vflbus run submit` submits an
/// agreed half in its place, which never looks like this in any version.
std::string prediction_text(std::string_view model);
/// The digits of such a text; empty for an agreed half. Errors: malformed_message for anything but
/// 4 to 32 hexadecimal digits, so that no text from elsewhere names another directory here.
Result<std::string> predicted_model(std::string_view submitted);

struct Prediction {
    config::Config config;        ///< the master's own with the agreed half of the training
    std::filesystem::path parts;  ///< of the model
};
/// Errors: io when the master has no such model; bad_config for a model whose agreed half is not
/// here any more, and for a master without rows to predict.
Result<Prediction> accept_prediction(const config::Config& own, const std::string& model);

}  // namespace vflbus::cli
