// MLflow's REST API, version 2.0 (mlflow.org/docs/latest/rest-api.html), and its proxy for
// artifacts.

#include <algorithm>
#include <cmath>

#include "base/files.hpp"
#include "base/json.hpp"
#include "observers/http_client.hpp"
#include "observers/mlflow.hpp"
#include "observers/mlflow_file.hpp"
#include "observers/mlflow_store.hpp"

namespace vflbus::observers {
namespace {

/// As the run does not wait for it: a busy server takes its time.
constexpr auto request_patience = std::chrono::seconds(60);
constexpr std::string_view proxied = "mlflow-artifacts:";
constexpr std::string_view of_file = "file:";

/// As protocol buffers write them in JSON.
Json number_of(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return value;
}

/// A member that should be a text. What answers may be another server than MLflow: a whole number
/// is taken as its text, and what is neither is empty.
std::string text_in(const Json& object, std::string_view key) {
    const Json* const found = object.find(key);
    if (found == nullptr) return {};
    if (found->is_string()) return found->get<std::string>();
    return found->is_number_integer() ? found->dump() : std::string();
}

Json pairs_of(const MlflowPairs& pairs) {
    Json out = Json::array();
    for (const auto& [key, value] : pairs) out.push_back({{"key", key}, {"value", value}});
    return out;
}

/// Of a server that answers, and has nothing to say of experiments.
constexpr std::string_view no_mlflow = "it names no experiment; is MLflow there?";

class RestStore final : public MlflowStore {
  public:
    RestStore(std::string base, const std::atomic<bool>& cancelled)
        : base_(std::move(base)),
          identity_(HttpIdentity::of_mlflow_environment()),
          cancelled_(cancelled) {
        while (base_.ends_with('/')) base_.pop_back();
    }

    Result<MlflowRun> create(const std::string& experiment, const std::string& run_name,
                             std::int64_t start_ms, const MlflowPairs& tags) override {
        auto id = experiment_id(experiment);
        if (!id) return tl::unexpected(id.error());
        // an earlier attempt may have arrived, and its answer not
        if (auto found = find_run(*id, tags); !found || !found->run_id.empty()) return found;
        auto made = call("POST", "runs/create",
                         {{"experiment_id", *id},
                          {"start_time", start_ms},
                          {"run_name", run_name},
                          {"tags", pairs_of(tags)}});
        if (!made) return tl::unexpected(made.error());
        const Json* const run = made->find("run");
        const Json* const info = run == nullptr ? nullptr : run->find("info");
        if (info == nullptr || text_in(*info, "run_id").empty())
            return fail(Errc::refused, "its answer to runs/create names no run");
        return run_of(*info, *id);
    }

    Result<> log(const MlflowRun& run, const std::vector<MlflowMetric>& metrics,
                 const MlflowPairs& params, const MlflowPairs& tags) override {
        Json values = Json::array();
        for (const MlflowMetric& metric : metrics)
            values.push_back({{"key", metric.key},
                              {"value", number_of(metric.value)},
                              {"timestamp", metric.timestamp_ms},
                              {"step", metric.step}});
        return done(call("POST", "runs/log-batch",
                         {{"run_id", run.run_id},
                          {"metrics", std::move(values)},
                          {"params", pairs_of(params)},
                          {"tags", pairs_of(tags)}}));
    }

    Result<> upload(const MlflowRun& run, const std::string& name,
                    std::string_view content) override {
        if (run.artifact_uri.starts_with(proxied)) {
            std::string path = run.artifact_uri.substr(proxied.size());
            if (path.starts_with("//"))
                path = path.substr(std::min(path.find('/', 2), path.size()));
            while (path.starts_with('/')) path.erase(0, 1);
            return done(request("PUT",
                                base_ + "/api/2.0/mlflow-artifacts/artifacts/" + path + "/" + name,
                                std::string(content), "application/octet-stream"));
        }
        // a server on this machine that leaves artifacts to its clients
        std::string place = run.artifact_uri;
        if (place.starts_with(of_file)) place = place.substr(of_file.size());
        while (place.starts_with("//")) place.erase(0, 1);
        if (!place.starts_with('/'))
            return fail(Errc::refused, "its artifacts are at " + run.artifact_uri +
                                           ", where vflbus cannot write; start the server with "
                                           "--serve-artifacts");
        return write_below(place, name, content);
    }

    Result<> set_status(const MlflowRun& run, const std::string& status,
                        std::int64_t end_ms) override {
        Json body{{"run_id", run.run_id}, {"status", status}};
        if (status != "RUNNING") body["end_time"] = end_ms;
        return done(call("POST", "runs/update", body));
    }

  private:
    static MlflowRun run_of(const Json& info, const std::string& experiment) {
        return {text_in(info, "run_id"), experiment, text_in(info, "artifact_uri")};
    }

    /// The run that has our run's tag; one without an id when there is none.
    Result<MlflowRun> find_run(const std::string& experiment, const MlflowPairs& tags) {
        const auto tag = std::ranges::find(tags, mlflow_run_tag, &MlflowPairs::value_type::first);
        if (tag == tags.end()) return MlflowRun{};
        const auto found = call("POST", "runs/search",
                                {{"experiment_ids", Json::array({Json(experiment)})},
                                 {"filter", "tags.`" + tag->first + "` = '" + tag->second + "'"},
                                 {"max_results", 1}});
        if (!found) return tl::unexpected(found.error());
        const Json* const runs = found->find("runs");
        if (runs == nullptr || !runs->is_array() || runs->empty()) return MlflowRun{};
        const Json* const info = runs->at(std::size_t{0}).find("info");
        return info == nullptr ? MlflowRun{} : run_of(*info, experiment);
    }

    Result<std::string> experiment_id(const std::string& name) {
        const std::string question = "experiments/get-by-name?experiment_name=" + url_escaped(name);
        auto found = call("GET", question, {});
        if (!found && found.error().code == Errc::refused && missing_) {
            auto made = call("POST", "experiments/create", {{"name", name}});
            if (made) return experiment_id_in(*made);
            // somebody else may have made it in between
            found = call("GET", question, {});
        }
        if (!found) return tl::unexpected(found.error());
        const Json* const experiment = found->find("experiment");
        if (experiment == nullptr) return fail(Errc::refused, std::string(no_mlflow));
        if (text_in(*experiment, "lifecycle_stage") == "deleted")
            return fail(Errc::refused, "experiment \"" + name +
                                           "\" was deleted there; restore it, or name another");
        return experiment_id_in(*experiment);
    }

    static Result<std::string> experiment_id_in(const Json& experiment) {
        std::string id = text_in(experiment, "experiment_id");
        if (id.empty()) return fail(Errc::refused, std::string(no_mlflow));
        return id;
    }

    Result<Json> call(const std::string& method, const std::string& name, const Json& body) {
        return request(method, base_ + "/api/2.0/mlflow/" + name,
                       method == "GET" ? std::string() : body.dump(), "application/json");
    }

    Result<Json> request(const std::string& method, const std::string& url, std::string body,
                         const std::string& type) {
        missing_ = false;
        const auto reply =
            send({method, url, std::move(body), type}, identity_, request_patience, cancelled_);
        if (!reply) return tl::unexpected(reply.error());
        Json said = Json::parse(reply->body);
        if (reply->status >= 200 && reply->status < 300)
            return said.is_object() ? std::move(said) : Json::object();
        missing_ = reply->status == 404 && text_in(said, "error_code") == "RESOURCE_DOES_NOT_EXIST";
        std::string why = "it answers " + std::to_string(reply->status);
        if (const std::string message = text_in(said, "message"); !message.empty())
            why += ": " + message;
        if (reply->status == 401)
            why +=
                "; MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD, say who asks";
        // 408, 429 and 5xx pass
        const bool passes = reply->status >= 500 || reply->status == 408 || reply->status == 429;
        return fail(passes ? Errc::unreachable : Errc::refused, why.substr(0, 300));
    }

    static Result<> done(const Result<Json>& answer) {
        if (!answer) return tl::unexpected(answer.error());
        return {};
    }

    std::string base_;
    HttpIdentity identity_;
    const std::atomic<bool>& cancelled_;
    bool missing_ = false;  ///< what was asked for last is not there
};

/// Of an address with "://".
bool names_host(const std::string& uri) {
    const std::string rest = without_password(uri).substr(uri.find("://") + 3);
    return !rest.empty() && std::string_view("/:?#").find(rest[0]) == std::string_view::npos;
}

}  // namespace

Result<std::unique_ptr<MlflowStore>> open_mlflow(const std::string& uri,
                                                 const std::atomic<bool>& cancelled) {
    if ((uri.starts_with("http://") || uri.starts_with("https://")) && names_host(uri))
        return std::make_unique<RestStore>(uri, cancelled);
    if (uri.starts_with(of_file)) {
        std::string directory = uri.substr(of_file.size());
        while (directory.starts_with("//")) directory.erase(0, 1);
        std::error_code ec;
        auto absolute = std::filesystem::absolute(directory, ec);
        if (!directory.empty() && !ec) return open_mlflow_directory(absolute.lexically_normal());
    }
    return fail(Errc::bad_config, "observe.mlflow.uri = \"" + uri +
                                      "\" is no place of MLflow; write http://HOST:PORT, "
                                      "https://HOST:PORT or file:DIRECTORY");
}

}  // namespace vflbus::observers
