#include "observe/report.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "base/json.hpp"
#include "base/text.hpp"

namespace vflbus::observe {
namespace {

// -- to JSON ----------------------------------------------------------------------

Json number(double value) {
    return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json metrics_json(const Metrics& metrics) {
    Json out = Json::object();
    for (const auto& [name, value] : metrics) out[name] = number(value);
    return out;
}

const double* find_metric(const Metrics& metrics, std::string_view name) {
    for (const auto& [key, value] : metrics)
        if (key == name) return &value;
    return nullptr;
}

Json party_json(const PartyReport& party, bool prediction) {
    Json left_out = Json::array();
    for (const LeftOutColumn& column : party.left_out)
        left_out.push_back(column.column.empty()
                               ? Json{{"columns", column.columns}, {"reason", column.reason}}
                               : Json{{"column", column.column}, {"reason", column.reason}});
    Json out{
        {"name", party.name},
        {"role", party.role},
        {"rank", party.rank ? Json(*party.rank) : Json(nullptr)},
        {"rows", party.rows},
        {"rows_matched", party.rows_matched},
        {"features", party.features},
        {"left_out", std::move(left_out)},
        {"missing_cells", party.missing_cells},
        {"version", party.version},
        {"host", party.host},
        {"pid", party.pid},
    };
    if (party.rows_absent != 0) out["rows_absent"] = party.rows_absent;
    if (prediction) out["unseen_values"] = party.unseen_values;
    if (!party.metrics_without.empty())
        out["metrics_without"] = metrics_json(party.metrics_without);
    return out;
}

Json history_json(const HistoryEntry& entry) {
    return {{"step", entry.step},
            {"epoch", entry.epoch},
            {"split", entry.split},
            {"loss", number(entry.loss)},
            {"metrics", metrics_json(entry.metrics)}};
}

Json failure_json(const Failure& failure) {
    return {{"error", name_of(failure.code)},
            {"sentence", failure.sentence},
            {"party", failure.party},
            {"phase", failure.phase},
            {"step", failure.step ? Json(*failure.step) : Json(nullptr)},
            {"hint", failure.hint},
            {"resumable", failure.resumable},
            {"for_others", failure.for_others}};
}

/// Values of the canonical text are JSON as they stand.
Json configuration_json(const RunReport& report) {
    Json out = Json::object();
    for (const auto& [key, value] : report.configuration) {
        Json parsed = Json::parse(value);
        out[key] = parsed.is_discarded() ? Json(value) : std::move(parsed);
    }
    return out;
}

// -- from JSON --------------------------------------------------------------------

/// Reads keys out of one object and remembers the first that has a wrong type.
class Reader {
  public:
    Reader(const Json& json, std::string path, std::string& wrong)
        : json_(json), path_(std::move(path)), wrong_(wrong) {
        if (!json_.is_object()) complain({});
    }

    void read(const char* key, std::string& out) const {
        if (const Json* found = find(key)) {
            if (found->is_string())
                out = found->get<std::string>();
            else
                complain(key);
        }
    }
    void read(const char* key, bool& out) const {
        if (const Json* found = find(key)) {
            if (found->is_boolean())
                out = found->get<bool>();
            else
                complain(key);
        }
    }
    void read(const char* key, std::uint64_t& out) const {
        if (const Json* found = find(key)) {
            if (found->is_number_unsigned())
                out = found->get<std::uint64_t>();
            else
                complain(key);
        }
    }
    void read(const char* key, double& out) const {
        if (const Json* found = find(key)) {
            if (found->is_null())
                out = std::numeric_limits<double>::quiet_NaN();
            else if (found->is_number())
                out = found->get<double>();
            else
                complain(key);
        }
    }
    void read(const char* key, std::optional<std::uint64_t>& out) const {
        const Json* found = find(key);
        if (found == nullptr || found->is_null()) return;
        std::uint64_t number = 0;
        read(key, number);
        out = number;
    }
    void read(const char* key, std::optional<std::uint32_t>& out) const {
        const Json* found = find(key);
        if (found == nullptr || found->is_null()) return;
        std::uint64_t wide = 0;
        read(key, wide);
        if (wide > std::numeric_limits<std::uint32_t>::max()) complain(key);
        out = static_cast<std::uint32_t>(wide);
    }
    void read(const char* key, Metrics& out) const {
        const Json* found = find(key);
        if (found == nullptr) return;
        const Reader inner(*found, path_of(key), wrong_);
        if (!found->is_object()) return;
        for (const auto& item : found->items()) {
            double value = 0;
            inner.read(item.key.c_str(), value);
            out.emplace_back(item.key, value);
        }
    }
    /// All members of an object, with their values as JSON text.
    void texts(const char* key, std::vector<std::pair<std::string, std::string>>& out) const {
        const Json* found = find(key);
        if (found == nullptr) return;
        if (!found->is_object()) return complain(key);
        for (const auto& item : found->items()) out.emplace_back(item.key, item.value.dump());
    }
    /// An object whose values are texts.
    void named_texts(const char* key, std::vector<std::pair<std::string, std::string>>& out) const {
        const Json* found = find(key);
        if (found == nullptr) return;
        if (!found->is_object()) return complain(key);
        for (const auto& item : found->items()) {
            if (!item.value.is_string()) return complain(key);
            out.emplace_back(item.key, item.value.get<std::string>());
        }
    }
    template <class Visit>
    void object(const char* key, Visit visit) const {
        if (const Json* found = find(key)) visit(Reader(*found, path_of(key), wrong_));
    }
    template <class Visit>
    void array(const char* key, Visit visit) const {
        const Json* found = find(key);
        if (found == nullptr) return;
        if (!found->is_array()) return complain(key);
        for (std::size_t i = 0; i < found->size(); ++i)
            visit(Reader((*found)[i], fmt::format("{}[{}]", path_of(key), i), wrong_));
    }
    void texts(const char* key, std::vector<std::string>& out) const {
        const Json* found = find(key);
        if (found == nullptr) return;
        if (!found->is_array()) return complain(key);
        for (const Json& item : *found) {
            if (!item.is_string()) return complain(key);
            out.push_back(item.get<std::string>());
        }
    }
    [[nodiscard]] bool has(const char* key) const { return find(key) != nullptr; }

  private:
    [[nodiscard]] const Json* find(const char* key) const { return json_.find(key); }
    [[nodiscard]] std::string path_of(std::string_view key) const {
        if (path_.empty() || key.empty()) return path_ + std::string(key);
        return path_ + "." + std::string(key);
    }
    void complain(std::string_view key) const {
        if (wrong_.empty()) wrong_ = path_of(key).empty() ? "the whole" : path_of(key);
    }

    const Json& json_;
    std::string path_;
    std::string& wrong_;
};

PartyReport read_party(const Reader& in) {
    PartyReport party;
    in.read("name", party.name);
    in.read("role", party.role);
    in.read("rank", party.rank);
    in.read("rows", party.rows);
    in.read("rows_matched", party.rows_matched);
    in.read("rows_absent", party.rows_absent);
    in.read("features", party.features);
    in.array("left_out", [&](const Reader& column) {
        column.read("column", party.left_out.emplace_back().column);
        column.read("columns", party.left_out.back().columns);
        column.read("reason", party.left_out.back().reason);
    });
    in.read("missing_cells", party.missing_cells);
    in.read("unseen_values", party.unseen_values);
    in.read("metrics_without", party.metrics_without);
    in.read("version", party.version);
    in.read("host", party.host);
    in.read("pid", party.pid);
    return party;
}

Failure read_failure(const Reader& in) {
    Failure failure;
    std::string error;
    in.read("error", error);
    failure.code = errc_named(error).value_or(Errc::internal);
    in.read("sentence", failure.sentence);
    in.read("party", failure.party);
    in.read("phase", failure.phase);
    in.read("step", failure.step);
    in.read("hint", failure.hint);
    in.read("resumable", failure.resumable);
    in.read("for_others", failure.for_others);
    return failure;
}

/// `figure` of each metric over the folds, which all have the same metrics.
template <class Figure>
Metrics over_folds(const std::vector<FoldReport>& folds, Metrics FoldReport::* of, Figure figure) {
    Metrics out;
    if (folds.empty()) return out;
    for (const auto& [name, first] : folds.front().*of) {
        std::vector<double> values;
        for (const FoldReport& fold : folds)
            if (const double* value = find_metric(fold.*of, name)) values.push_back(*value);
        out.emplace_back(name, figure(values));
    }
    return out;
}

double mean_of(const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
}

double deviation_of(const std::vector<double>& values) {
    const double mean = mean_of(values);
    double sum = 0;
    for (const double value : values) sum += (value - mean) * (value - mean);
    return std::sqrt(sum / static_cast<double>(values.size()));
}

Json fold_json(const FoldReport& fold) {
    Json out{{"rows_train", fold.rows_train},
             {"rows_test", fold.rows_test},
             {"steps", fold.steps},
             {"metrics",
              {{"train", metrics_json(fold.train)},
               {"test", metrics_json(fold.test)},
               {"label_holder_alone", metrics_json(fold.label_holder_alone)}}}};
    if (fold.converged) {
        out["converged"] = *fold.converged;
        out["iterations"] = fold.iterations;
    }
    if (!fold.notes.empty()) out["notes"] = fold.notes;
    return out;
}

Json early_stopping_json(const EarlyStopping& early) {
    return {{"metric", early.metric},
            {"value", number(early.value)},
            {"step", early.step},
            {"last_step", early.last_step}};
}

Json promise_json(const PrivacyPromise& promise) {
    return {{"noise_multiplier", number(promise.noise_multiplier)},
            {"rho", number(promise.rho)},
            {"epsilon", number(promise.epsilon)}};
}

Json privacy_json(const PrivacyReport& privacy) {
    Json out{{"delta", number(privacy.delta)}};
    if (privacy.labels) out["labels"] = promise_json(*privacy.labels);
    if (privacy.features) out["features"] = promise_json(*privacy.features);
    if (privacy.insecure_testing) out["insecure_testing"] = true;
    return out;
}

/// What a run has only when its configuration asks for it.
void put_options(const RunReport& report, Json& out) {
    if (report.early_stopping) out["early_stopping"] = early_stopping_json(*report.early_stopping);
    if (report.differential_privacy)
        out["differential_privacy"] = privacy_json(*report.differential_privacy);
}

Json cross_validation_json(const RunReport& report) {
    Json folds = Json::array();
    for (const FoldReport& fold : report.folds) folds.push_back(fold_json(fold));
    return {{"folds", std::move(folds)},
            {"mean", metrics_json(mean_of_folds(report.folds))},
            {"deviation", metrics_json(deviation_of_folds(report.folds))}};
}

FoldReport read_fold(const Reader& in) {
    FoldReport fold;
    in.read("rows_train", fold.rows_train);
    in.read("rows_test", fold.rows_test);
    in.read("steps", fold.steps);
    if (in.has("converged")) in.read("converged", fold.converged.emplace());
    in.read("iterations", fold.iterations);
    in.texts("notes", fold.notes);
    in.object("metrics", [&](const Reader& metrics) {
        metrics.read("train", fold.train);
        metrics.read("test", fold.test);
        metrics.read("label_holder_alone", fold.label_holder_alone);
    });
    return fold;
}

void read_results(const Reader& in, RunReport& report) {
    in.read("phase_seconds", report.phase_seconds);
    in.read("evaluated", report.evaluated);
    in.object("cross_validation", [&](const Reader& of) {
        of.array("folds", [&](const Reader& fold) { report.folds.push_back(read_fold(fold)); });
    });
    in.object("metrics", [&](const Reader& metrics) {
        metrics.read("train", report.train);
        metrics.read("test", report.test);
        metrics.object("label_holder_alone", [&](const Reader& alone) {
            alone.read("train", report.label_holder_alone_train);
            alone.read("test", report.label_holder_alone_test);
        });
    });
    in.array("history", [&](const Reader& item) {
        HistoryEntry& entry = report.history.emplace_back();
        item.read("step", entry.step);
        item.read("epoch", entry.epoch);
        item.read("split", entry.split);
        item.read("loss", entry.loss);
        item.read("metrics", entry.metrics);
    });
    in.object("bytes", [&](const Reader& bytes) {
        bytes.read("sent", report.bytes_sent);
        bytes.read("received", report.bytes_received);
        bytes.object("parties", [&](const Reader& by_party) {
            for (PartyReport& party : report.parties)
                by_party.object(party.name.c_str(), [&](const Reader& own) {
                    own.read("sent", party.bytes_sent);
                    own.read("received", party.bytes_received);
                });
        });
    });
}

// -- to a table -------------------------------------------------------------------

std::string parties_table(const RunReport& report, std::size_t width, bool color) {
    Table table({{"party"},
                 {"rows", Align::right},
                 {"matched", Align::right},
                 {"features", Align::right},
                 {"missing", Align::right},
                 {"sent", Align::right},
                 {"received", Align::right}});
    for (const PartyReport& party : report.parties)
        table.add({party.name, grouped(party.rows), grouped(party.rows_matched),
                   grouped(party.features), grouped(party.missing_cells),
                   human_bytes(party.bytes_sent), human_bytes(party.bytes_received)});
    return table.text(width, color);
}

std::string metrics_table(const RunReport& report, std::size_t width, bool color) {
    struct Source {
        const char* title;
        const Metrics* metrics;
    };
    std::vector<Source> sources;
    std::vector<std::string> names;
    for (const Source& source :
         {Source{"train", &report.train}, Source{"test", &report.test},
          Source{"label holder alone, train", &report.label_holder_alone_train},
          Source{"label holder alone, test", &report.label_holder_alone_test}}) {
        if (source.metrics->empty()) continue;
        sources.push_back(source);
        for (const auto& [name, value] : *source.metrics)
            if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
    if (names.empty()) return {};
    std::vector<Column> columns{{"metric"}};
    for (const Source& source : sources) columns.push_back({source.title, Align::right});
    Table table(std::move(columns));
    for (const std::string& name : names) {
        std::vector<std::string> cells{name};
        for (const Source& source : sources) {
            const double* value = find_metric(*source.metrics, name);
            cells.push_back(value != nullptr ? metric_text(*value) : "");
        }
        table.add(std::move(cells));
    }
    return table.text(width, color);
}

/// A line for each fold, then what they come to; the metrics of single labels are in the report.
std::string folds_table(const RunReport& report, std::size_t width, bool color) {
    if (report.folds.empty()) return {};
    std::vector<std::string> names;
    for (const auto& [name, value] : report.folds.front().test)
        if (name.find('[') == std::string::npos) names.push_back(name);
    std::vector<Column> columns{{"fold"}, {"test rows", Align::right}};
    for (const std::string& name : names) columns.push_back({name, Align::right});
    Table table(std::move(columns));
    const auto line = [&](std::string head, std::string rows, const Metrics& metrics) {
        std::vector<std::string> cells{std::move(head), std::move(rows)};
        for (const std::string& name : names) {
            const double* value = find_metric(metrics, name);
            cells.push_back(value != nullptr ? metric_text(*value) : "");
        }
        table.add(std::move(cells));
    };
    for (std::size_t i = 0; i < report.folds.size(); ++i)
        line(std::to_string(i + 1), grouped(report.folds[i].rows_test), report.folds[i].test);
    line("mean", "", mean_of_folds(report.folds));
    line("deviation", "", deviation_of_folds(report.folds));
    const Metrics alone = over_folds(report.folds, &FoldReport::label_holder_alone, mean_of);
    if (!alone.empty()) line("label holder alone, mean", "", alone);
    return table.text(width, color);
}

constexpr std::size_t facts_indent = 10;

/// "2,360 in 20 epochs", "24 of lbfgs, converged after 23 iterations"
std::string steps_text(const RunReport& report) {
    std::string out = grouped(report.steps);
    if (const auto& early = report.early_stopping)
        return out + fmt::format(", the best {} of {}", early->metric, grouped(early->last_step));
    if (report.epochs > 0) out += fmt::format(" in {} epochs", grouped(report.epochs));
    if (report.converged)
        out += fmt::format(" of {}, {} after {} iterations", report.solver,
                           *report.converged ? "converged" : "not converged",
                           grouped(report.iterations));
    return out;
}

/// "a, b and 3 more (constant on the training rows)"; of another party "5 columns (constant ...)".
std::string left_out_text(const std::vector<LeftOutColumn>& left_out) {
    constexpr std::size_t named_max = 8;
    std::map<std::string, std::vector<std::string>> names;
    std::vector<std::string> reasons;
    for (const LeftOutColumn& column : left_out) {
        std::vector<std::string>& of_reason = names[column.reason];
        if (of_reason.empty()) reasons.push_back(column.reason);
        of_reason.push_back(!column.column.empty()
                                ? column.column
                                : grouped(column.columns) +
                                      (column.columns == 1 ? " column" : " columns"));
    }
    std::vector<std::string> parts;
    for (const std::string& reason : reasons) {
        std::vector<std::string> some = names[reason];
        if (some.size() > named_max) {
            const std::size_t more = some.size() - named_max;
            some.resize(named_max);
            some.push_back(grouped(more) + " more");
        }
        parts.push_back(fmt::format("{} ({})", join_and(some), reason));
    }
    return join_and(parts);
}

/// Whether some party lacks rows of the run (data.join = "left").
bool some_absent(const RunReport& report) {
    return std::ranges::any_of(report.parties,
                               [](const PartyReport& party) { return party.rows_absent != 0; });
}

/// What the words of the two tables above mean.
std::string words_of(const RunReport& report) {
    if (report.parties.empty() || report.train.empty()) return {};
    std::string out = fmt::format(
        "matched: rows whose id {}; missing: empty cells of numbers, filled with their mean in "
        "training; loss: mean over the rows, without the penalty",
        some_absent(report) ? "the master has as well" : "all parties have");
    if (find_metric(report.train, "ks") != nullptr)
        out += "; ks: the largest distance of the two classes' score distributions, 0 to 1";
    return out;
}

Facts facts_of(const RunReport& report) {
    Facts facts;
    for (const PartyReport& party : report.parties) {
        if (party.left_out.empty()) continue;
        facts.emplace_back("left out",
                           fmt::format("{}: {}", party.name, left_out_text(party.left_out)));
    }
    if (!report.positive_class.empty())
        facts.emplace_back("positive", fmt::format("class {}, whose probability is predicted "
                                                   "(party.master.positive chooses)",
                                                   report.positive_class));
    if (!report.positive_classes.empty()) {
        std::vector<std::string> each;
        for (const auto& [label, positive] : report.positive_classes)
            each.push_back(fmt::format("{} of {}", positive, label));
        facts.emplace_back("positive",
                           fmt::format("class {}, whose probability is predicted", join_and(each)));
    }
    facts.emplace_back("rows", rows_text(report));
    facts.emplace_back("steps", steps_text(report));
    facts.emplace_back("time",
                       fmt::format("{} training, {} in all", human_seconds(report.train_seconds),
                                   human_seconds(report.total_seconds)));
    facts.emplace_back(
        "bytes", fmt::format("{} sent, {} received by all parties", human_bytes(report.bytes_sent),
                             human_bytes(report.bytes_received)));
    if (!report.model_dir.empty()) facts.emplace_back("model", report.model_dir);
    if (!report.folds.empty())
        facts.emplace_back("folds",
                           fmt::format("{} models, each tested on the rows that it was trained "
                                       "without; the model that is kept was trained on all rows",
                                       report.folds.size()));
    for (std::size_t i = 0; i < report.folds.size(); ++i)
        for (const std::string& note : report.folds[i].notes)
            facts.emplace_back("note", fmt::format("fold {}: {}", i + 1, note));
    for (const std::string& note : report.notes) facts.emplace_back("note", note);
    if (const std::string words = words_of(report); !words.empty())
        facts.emplace_back("words", words);
    return facts;
}

void read_head(const Reader& in, RunReport& report) {
    in.read("status", report.status);
    in.read("reason", report.reason);
    in.object("failure", [&](const Reader& of) { report.failure = read_failure(of); });
    in.read("run_id", report.run_id);
    in.read("purpose", report.purpose);
    in.read("experiment_label", report.experiment_label);
    in.read("positive_class", report.positive_class);
    in.named_texts("positive_classes", report.positive_classes);
    in.read("model", report.model);
    in.read("algorithm", report.algorithm);
    in.read("task", report.task);
    in.read("protocol", report.protocol);
    in.read("seed", report.seed);
    in.read("config_hash", report.config_hash);
    in.read("started", report.started);
    in.read("finished", report.finished);
}

/// How far the training came, and how it ended.
void read_course(const Reader& in, RunReport& report) {
    in.read("solver", report.solver);
    if (in.has("converged")) in.read("converged", report.converged.emplace());
    in.read("iterations", report.iterations);
    in.texts("notes", report.notes);
    in.object("early_stopping", [&](const Reader& early) {
        EarlyStopping& out = report.early_stopping.emplace();
        early.read("metric", out.metric);
        early.read("value", out.value);
        early.read("step", out.step);
        early.read("last_step", out.last_step);
    });
    in.object("differential_privacy", [&](const Reader& privacy) {
        PrivacyReport& out = report.differential_privacy.emplace();
        const auto promise = [](std::optional<PrivacyPromise>& of) {
            return [&of](const Reader& part) {
                PrivacyPromise& into = of.emplace();
                part.read("noise_multiplier", into.noise_multiplier);
                part.read("rho", into.rho);
                part.read("epsilon", into.epsilon);
            };
        };
        privacy.read("delta", out.delta);
        privacy.object("labels", promise(out.labels));
        privacy.object("features", promise(out.features));
        if (privacy.has("insecure_testing")) privacy.read("insecure_testing", out.insecure_testing);
    });
    in.read("steps", report.steps);
    in.read("steps_planned", report.steps_planned);
    in.read("epochs", report.epochs);
    in.read("train_seconds", report.train_seconds);
    in.read("total_seconds", report.total_seconds);
}

}  // namespace

Metrics mean_of_folds(const std::vector<FoldReport>& folds) {
    return over_folds(folds, &FoldReport::test, mean_of);
}

Metrics deviation_of_folds(const std::vector<FoldReport>& folds) {
    return over_folds(folds, &FoldReport::test, deviation_of);
}

namespace {

Json results_json(const RunReport& report) {
    return {{"train", metrics_json(report.train)},
            {"test", metrics_json(report.test)},
            {"label_holder_alone",
             {{"train", metrics_json(report.label_holder_alone_train)},
              {"test", metrics_json(report.label_holder_alone_test)}}}};
}

}  // namespace

std::string to_json(const RunReport& report, int indent) {
    Json out;
    out["schema"] = "vflbus-report";
    out["schema_version"] = report_schema_version;
    out["status"] = report.status;
    out["reason"] = report.reason;
    if (report.failure.code != Errc::ok) {
        out["error"] = name_of(report.failure.code);
        out["failure"] = failure_json(report.failure);
    }
    out["run_id"] = report.run_id;
    out["purpose"] = report.purpose;
    out["experiment_label"] = report.experiment_label;
    out["model"] = report.model;
    out["task"] = report.task;
    if (!report.algorithm.empty()) out["algorithm"] = report.algorithm;
    if (!report.positive_class.empty()) out["positive_class"] = report.positive_class;
    if (!report.positive_classes.empty()) {
        Json classes = Json::object();
        for (const auto& [label, positive] : report.positive_classes) classes[label] = positive;
        out["positive_classes"] = std::move(classes);
    }
    out["protocol"] = report.protocol;
    out["seed"] = report.seed;
    out["config_hash"] = report.config_hash;
    out["started"] = report.started;
    out["finished"] = report.finished;
    const bool prediction = report.purpose == "predict";
    Json parties = Json::array();
    Json rows = Json::object();
    Json bytes = Json::object();
    for (const PartyReport& party : report.parties) {
        parties.push_back(party_json(party, prediction));
        rows[party.name] = party.rows;
        bytes[party.name] = {{"sent", party.bytes_sent}, {"received", party.bytes_received}};
    }
    out["parties"] = std::move(parties);
    out["rows"] = {{"common", report.rows_common},
                   {"train", report.rows_train},
                   {"test", report.rows_test},
                   {"parties", std::move(rows)}};
    if (prediction) out["rows"]["unlabelled"] = report.rows_unlabelled;
    if (!report.solver.empty()) out["solver"] = report.solver;
    if (report.converged) {
        out["converged"] = *report.converged;
        out["iterations"] = report.iterations;
    }
    if (!report.notes.empty()) out["notes"] = report.notes;
    put_options(report, out);
    out["steps"] = report.steps;
    out["steps_planned"] = report.steps_planned;
    out["epochs"] = report.epochs;
    out["train_seconds"] = number(report.train_seconds);
    out["total_seconds"] = number(report.total_seconds);
    out["phase_seconds"] = metrics_json(report.phase_seconds);
    if (!report.evaluated.empty()) out["evaluated"] = report.evaluated;
    out["metrics"] = results_json(report);
    if (!report.folds.empty()) out["cross_validation"] = cross_validation_json(report);
    Json history = Json::array();
    for (const HistoryEntry& entry : report.history) history.push_back(history_json(entry));
    out["history"] = std::move(history);
    out["bytes"] = {{"sent", report.bytes_sent},
                    {"received", report.bytes_received},
                    {"parties", std::move(bytes)}};
    out["model_dir"] = report.model_dir;
    out["configuration"] = configuration_json(report);
    // a path or a column name need not be UTF-8
    return out.dump(indent);
}

std::string to_json(const Failure& failure) {
    return failure_json(failure).dump();
}

std::optional<Failure> failure_in(std::string_view printed) {
    const Json json = Json::parse(printed);
    const Json* found = json.find("failure");
    if (found == nullptr || !found->is_object()) return std::nullopt;
    std::string wrong;
    Failure failure = read_failure(Reader(*found, "failure", wrong));
    if (!wrong.empty()) return std::nullopt;
    return failure;
}

Result<RunReport> from_json(std::string_view text) {
    std::size_t wrong_at = 0;
    const Json json = Json::parse(text, &wrong_at);
    if (json.is_discarded())
        return fail(
            Errc::bad_data,
            fmt::format("the report is no JSON: it breaks off or goes wrong at byte {}", wrong_at));
    RunReport report;
    std::string wrong;
    const Reader in(json, "", wrong);
    for (const char* key : {"status", "run_id"})
        if (wrong.empty() && !in.has(key))
            return fail(Errc::bad_data, fmt::format("the report has no \"{}\"", key));
    read_head(in, report);
    in.array("parties", [&](const Reader& party) { report.parties.push_back(read_party(party)); });
    in.object("rows", [&](const Reader& rows) {
        rows.read("common", report.rows_common);
        rows.read("train", report.rows_train);
        rows.read("test", report.rows_test);
        rows.read("unlabelled", report.rows_unlabelled);
    });
    read_course(in, report);
    read_results(in, report);
    in.read("model_dir", report.model_dir);
    in.texts("configuration", report.configuration);
    if (!wrong.empty())
        return fail(Errc::bad_data, fmt::format("the report's \"{}\" has a wrong type", wrong));
    return report;
}

std::string task_and_network(const RunReport& report) {
    const std::string& task = report.task.empty() ? report.model : report.task;
    if (report.algorithm.empty() || report.algorithm == "linear") return task;
    return fmt::format("{} ({})", task, report.algorithm);
}

std::string rows_text(const RunReport& report) {
    return fmt::format("{} {}, {} train, {} test", grouped(report.rows_common),
                       some_absent(report) ? "of the master" : "common", grouped(report.rows_train),
                       grouped(report.rows_test));
}

std::string to_table(const RunReport& report, std::size_t width, bool color) {
    std::string head =
        fmt::format("run {} {}: {}, protocol {}, seed {}", report.run_id.substr(0, 8),
                    report.status, task_and_network(report), report.protocol, report.seed);
    head = wrapped(printable(head), width);
    std::string out = color ? "\x1b[1m" + head + "\x1b[0m\n" : head + '\n';
    Facts first;
    if (!report.experiment_label.empty()) first.emplace_back("label", report.experiment_label);
    if (!report.reason.empty()) first.emplace_back("reason", report.reason);
    // sentences are easier to read in lines that are not too long, also in a pipe
    const std::size_t readable = std::min(width, table_columns_max);
    out += facts_text(first, readable, facts_indent);
    if (!report.parties.empty()) out += '\n' + parties_table(report, width, color);
    if (const std::string metrics = metrics_table(report, width, color); !metrics.empty())
        out += '\n' + metrics;
    if (const std::string folds = folds_table(report, width, color); !folds.empty())
        out += '\n' + folds;
    return out + '\n' + facts_text(facts_of(report), readable, facts_indent);
}

}  // namespace vflbus::observe
