#pragma once
// The directory layout of MLflow's file store: mlruns/EXPERIMENT/RUN/{meta.yaml, metrics/, params/,
// tags/, artifacts/}.

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/errc.hpp"
#include "observers/mlflow_store.hpp"

namespace vflbus::observers {

/// `root` is made when it is not there. Errors come with the first write.
std::unique_ptr<MlflowStore> open_mlflow_directory(std::filesystem::path root);

/// `name` below `directory`, with the directories between them. Errors: io.
Result<> write_below(const std::filesystem::path& directory, const std::string& name,
                     std::string_view content);

}  // namespace vflbus::observers
