#include "observers/mlflow_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"

namespace vflbus::observers {
namespace {

namespace fs = std::filesystem;

Result<> make_directories(const fs::path& directory) {
    std::error_code ec;
    fs::create_directories(directory, ec);
    if (ec) return fail(Errc::io, "cannot create " + directory.string() + ": " + ec.message());
    return {};
}

/// A text as YAML reads it back, whatever is in it.
std::string yaml_text(std::string_view text) {
    std::string out = "'";
    for (const char c : text) {
        if (c == '\'') out += '\'';
        out += c == '\n' ? ' ' : c;
    }
    return out + "'";
}

/// The value behind "KEY: " in a meta.yaml of MLflow or of ours; empty when there is none.
std::string yaml_value(const std::string& text, const std::string& key) {
    const std::string label = key + ": ";
    std::size_t at = text.starts_with(label) ? 0 : text.find("\n" + label);
    if (at == std::string::npos) return {};
    at += label.size() + (text.starts_with(label) && at == 0 ? 0 : 1);
    std::string value(trim(std::string_view(text).substr(at, text.find('\n', at) - at)));
    if (value.size() >= 2 && (value.front() == '\'' || value.front() == '"') &&
        value.back() == value.front()) {
        value = value.substr(1, value.size() - 2);
        for (std::size_t i = value.find("''"); i != std::string::npos; i = value.find("''", i + 1))
            value.erase(i, 1);
    }
    return value;
}

int status_number(const std::string& status) {
    static const std::map<std::string, int> numbers{
        {"RUNNING", 1}, {"SCHEDULED", 2}, {"FINISHED", 3}, {"FAILED", 4}, {"KILLED", 5}};
    const auto found = numbers.find(status);
    return found == numbers.end() ? 1 : found->second;
}

class FileStore final : public MlflowStore {
  public:
    explicit FileStore(fs::path root) : root_(std::move(root)) {}

    Result<MlflowRun> create(const std::string& experiment, const std::string& run_name,
                             std::int64_t start_ms, const MlflowPairs& tags) override {
        auto id = experiment_id(experiment, start_ms);
        if (!id) return tl::unexpected(id.error());
        MlflowRun run;
        run.run_id = random_run_id().hex();
        run.experiment_id = *id;
        run.artifact_uri = "file://" + (directory(run) / "artifacts").string();
        for (const char* part : {"metrics", "params", "tags", "artifacts"})
            if (auto made = make_directories(directory(run) / part); !made)
                return tl::unexpected(made.error());
        if (auto written = write_meta(run, run_name, start_ms, "RUNNING", 0); !written)
            return tl::unexpected(written.error());
        if (auto logged = log(run, {}, {}, tags); !logged) return tl::unexpected(logged.error());
        return run;
    }

    Result<> log(const MlflowRun& run, const std::vector<MlflowMetric>& metrics,
                 const MlflowPairs& params, const MlflowPairs& tags) override {
        std::map<std::string, std::string> lines;
        for (const MlflowMetric& metric : metrics)
            lines[metric.key] += std::to_string(metric.timestamp_ms) + " " +
                                 shortest(metric.value) + " " + std::to_string(metric.step) + "\n";
        for (const auto& [key, text] : lines)
            if (auto added = append(directory(run) / "metrics" / key, text); !added) return added;
        for (const auto& [folder, pairs] : {std::pair{"params", &params}, {"tags", &tags}})
            for (const auto& [key, value] : *pairs)
                if (auto written = write_below(directory(run) / folder, key, value); !written)
                    return written;
        return {};
    }

    Result<> upload(const MlflowRun& run, const std::string& name,
                    std::string_view content) override {
        return write_below(directory(run) / "artifacts", name, content);
    }

    Result<> set_status(const MlflowRun& run, const std::string& status,
                        std::int64_t end_ms) override {
        auto meta = read_file(directory(run) / "meta.yaml");
        if (!meta) return tl::unexpected(meta.error());
        const std::string start = yaml_value(*meta, "start_time");
        return write_meta(run, yaml_value(*meta, "run_name"), start.empty() ? 0 : std::stoll(start),
                          status, end_ms);
    }

  private:
    [[nodiscard]] fs::path directory(const MlflowRun& run) const {
        return root_ / run.experiment_id / run.run_id;
    }

    Result<std::string> experiment_id(const std::string& name, std::int64_t now_ms) {
        for (const fs::path& entry : entries_of(root_)) {
            const auto meta = read_file(entry / "meta.yaml");
            if (meta && yaml_value(*meta, "name") == name &&
                yaml_value(*meta, "lifecycle_stage") == "active")
                return entry.filename().string();
        }
        // as MLflow does: 0 is the experiment Default, others have 18 digits
        const std::string id = name == "Default"
                                   ? "0"
                                   : std::to_string(100'000'000'000'000'000ULL +
                                                    random_u64() % 900'000'000'000'000'000ULL);
        const std::string text = "artifact_location: file://" + (root_ / id).string() +
                                 "\ncreation_time: " + std::to_string(now_ms) +
                                 "\nexperiment_id: " + yaml_text(id) +
                                 "\nlast_update_time: " + std::to_string(now_ms) +
                                 "\nlifecycle_stage: active\nname: " + yaml_text(name) + "\n";
        if (auto written = write_below(root_ / id, "meta.yaml", text); !written)
            return tl::unexpected(written.error());
        return id;
    }

    Result<> write_meta(const MlflowRun& run, const std::string& name, std::int64_t start_ms,
                        const std::string& status, std::int64_t end_ms) {
        const bool over = status != "RUNNING";
        const char* const user = std::getenv("USER");
        return write_below(
            directory(run), "meta.yaml",
            "artifact_uri: " + run.artifact_uri +
                "\ndeleted_time: null\nend_time: " + (over ? std::to_string(end_ms) : "null") +
                "\nentry_point_name: ''\nexperiment_id: " + yaml_text(run.experiment_id) +
                "\nlifecycle_stage: active\nrun_id: " + run.run_id +
                "\nrun_name: " + yaml_text(name) + "\nrun_uuid: " + run.run_id +
                "\nsource_name: ''\nsource_type: 4\nsource_version: ''\nstart_time: " +
                std::to_string(start_ms) + "\nstatus: " + std::to_string(status_number(status)) +
                "\ntags: []\nuser_id: " + yaml_text(user == nullptr ? "" : user) + "\n");
    }

    static Result<> append(const fs::path& file, const std::string& text) {
        if (auto made = make_directories(file.parent_path()); !made) return made;
        const int fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
        const bool good = fd >= 0 && write_all(fd, text);
        const int error = errno;
        if (fd >= 0) ::close(fd);
        if (!good)
            return fail(Errc::io, "cannot write " + file.string() + ": " + std::strerror(error));
        return {};
    }

    fs::path root_;
};

}  // namespace

Result<> write_below(const fs::path& directory, const std::string& name, std::string_view content) {
    const fs::path file = directory / name;
    if (auto made = make_directories(file.parent_path()); !made) return made;
    return write_file_atomically(file, content);
}

std::unique_ptr<MlflowStore> open_mlflow_directory(fs::path root) {
    return std::make_unique<FileStore>(std::move(root));
}

}  // namespace vflbus::observers
