#pragma once
// The programs that masters drive. Each is one function that reads from top to bottom; Run
// (run/run.hpp) runs it again, from its first line, in every new term.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "actors/run/run.hpp"
#include "actors/run/task.hpp"

namespace vflbus::actors {

class MasterHalf;
class Party;
struct Evaluated;
struct Labels;
struct CheckResult;
struct PredictResult;
struct FeaturesResult;
struct PredictJob;

/// train.cpp
Task<> train(Run& run);
/// The master's own table, which it must have. Errors: bad_config, and those of the table.
Result<> load_own(Run& run, Party& own, TableKind kind);
/// A table that it may have. What was guessed of it goes to the log.
Result<bool> load_more(Run& run, Party& own, TableKind kind);
/// evaluate.cpp: the metrics that are due after `step` steps, of the training or test side or both.
/// After the last one `last` has the predictions. Errors: diverged.
Task<> evaluate(Run& run, MasterHalf& model, const Labels& labels, std::uint64_t step,
                Evaluated& last);
/// A point of the curve where no metrics are due: the loss of all training rows, or the mean of the
/// batches since the last point. `prefix`: as of
/// Evaluated.
void note_loss(Run& run, const MasterHalf& model, const std::string& prefix, std::uint64_t step,
               double loss);
/// How the training stands after `step` steps, to the observers.
observe::ProgressState progress_of(const MasterHalf& model, std::uint64_t step, double loss);
/// check.cpp
Task<> check(Run& run, CheckResult& result);
/// features.cpp
Task<> features(Run& run, FeaturesResult& result);
/// predict.cpp
Task<> predict(Run& run, const PredictJob& job, PredictResult& result);

}  // namespace vflbus::actors
