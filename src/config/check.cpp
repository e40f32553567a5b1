// The rules between keys, and what each command needs.

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/location.hpp"
#include "base/metric_names.hpp"
#include "base/text.hpp"
#include "config/config.hpp"
#include "config/privacy.hpp"
#include "config/select.hpp"
#include "config/solver.hpp"
#include "config/value.hpp"

namespace vflbus::config {
namespace {

std::string task_text(const Config& config) {
    return "model.task = " + quote(name_of(config.model.task));
}

void check_bus(const Config& config, Problems& problems) {
    const BusConfig& bus = config.bus;
    const auto below = [&](std::string_view low, double low_value, std::string_view high,
                           double high_value, bool equal_is_fine) {
        if (low_value < high_value || (equal_is_fine && low_value == high_value)) return;
        const std::string first = "bus." + std::string(low);
        const std::string second = "bus." + std::string(high);
        problems.add(at(config, {first, second}) + first + " = " + shortest(low_value) +
                     " must be " + (equal_is_fine ? "at most " : "below ") + second + " = " +
                     shortest(high_value));
    };
    below("heartbeat_interval", bus.heartbeat_interval, "suspect_after", bus.suspect_after, false);
    below("suspect_after", bus.suspect_after, "disconnect_idle_client_time",
          bus.disconnect_idle_client_time, false);
    below("time_between_idle_connections_checks", bus.time_between_idle_connections_checks,
          "disconnect_idle_client_time", bus.disconnect_idle_client_time, true);
    below("hello_retry_min", bus.hello_retry_min, "hello_retry_max", bus.hello_retry_max, true);
    const auto bytes = [](std::uint64_t value) { return static_cast<double>(value); };
    below("chunk_bytes", bytes(bus.chunk_bytes), "frame_bytes_max", bytes(bus.frame_bytes_max),
          false);
    below("chunk_bytes", bytes(bus.chunk_bytes), "hop_window_bytes", bytes(bus.hop_window_bytes),
          true);
}

void check_image(const Config& config, const std::string& name, const PartyConfig& party,
                 Problems& problems) {
    const std::string prefix = "party." + name + ".";
    const auto image = image_of(party.image);
    if (!party.image.empty() && !image)
        problems.add(at(config, {prefix + "image"}) + prefix +
                     "image = " + quote(printable(party.image)) +
                     " is no size of pictures: write \"HEIGHTxWIDTH\" as in \"28x14\", with a "
                     "third number where a pixel has several, or \"none\"");
    if (config.model.name == ModelName::efficientnet && name != "master" && !party.data.empty() &&
        party.image.empty())
        problems.add(at(config, {"party." + name, prefix + "data"}) + prefix +
                     "image is not stated, which model.name = \"efficientnet\" needs: "
                     "\"HEIGHTxWIDTH\", or \"none\" for dense layers");
    if (image && image->height > 0 && !party.prepare.empty())
        problems.add(at(config, {prefix + "prepare"}) + prefix +
                     "prepare has no meaning beside image, whose pixels are all scaled alike; "
                     "leave one of them out");
}

/// Rules of columns that are no features would do nothing.
void check_prepare(const Config& config, const std::string& name, const PartyConfig& party,
                   Problems& problems) {
    const std::string key = "party." + name + ".prepare";
    const auto refuse = [&](const std::string& column, const char* role) {
        const auto names_it = [&](const std::string& rule) {
            return trim(std::string_view(rule).substr(0, rule.find('='))) == column;
        };
        if (!column.empty() && std::ranges::any_of(party.prepare, names_it))
            problems.add(at(config, {key}) + key + " names the " + role + " " + quote(column) +
                         ", and only features are prepared; leave it out");
    };
    refuse(config.data.id.empty() ? party.id : config.data.id, "id column");
    for (const std::string& label : party.label) refuse(label, "label");
    refuse(party.sample_weight, "sample_weight");
    refuse(party.exposure, "exposure");
}

void check_party_section(const Config& config, const std::string& name, const PartyConfig& party,
                         Problems& problems) {
    const std::string prefix = "party." + name + ".";
    const auto has = [](const std::vector<std::string>& list, const std::string& item) {
        return std::ranges::find(list, item) != list.end();
    };
    if (party.id.empty())
        problems.add(at(config, {prefix + "id"}) + prefix +
                     "id is empty; name the column of the record ids");
    if (name != "master" && !party.label.empty())
        problems.add(at(config, {prefix + "label"}) + prefix +
                     "label: only the master holds labels; the nearest is party.master.label");
    const auto master_only = [&](const std::string& value, const std::string& key) {
        if (name != "master" && !value.empty())
            problems.add(at(config, {prefix + key}) + prefix + key +
                         ": only the master holds labels; the nearest is party.master." + key);
    };
    master_only(party.positive, "positive");
    master_only(party.sample_weight, "sample_weight");
    master_only(party.exposure, "exposure");
    if (!party.exposure.empty() && !has_log_link(config.model.task))
        problems.add(at(config, {prefix + "exposure", "model.task"}) + prefix +
                     "exposure is for model.task = \"poisson\", \"gamma\" or \"tweedie\", not " +
                     quote(name_of(config.model.task)));
    if (!party.sample_weight.empty() && config.model.solver == Solver::sequential)
        problems.add(
            at(config, {prefix + "sample_weight", "model.solver"}) + prefix +
            "sample_weight has no meaning with solver \"sequential\", in which every party "
            "solves for itself; the nearest is \"lbfgs\"");
    for (const std::string& label : party.label) {
        if (label == party.id)
            problems.add(at(config, {prefix + "label"}) + prefix + "label names the id column " +
                         quote(label) + "; name another column");
        if (has(party.features, label))
            problems.add(at(config, {prefix + "features"}) + prefix + "features names the label " +
                         quote(label) + "; leave it out");
        if (has(party.exclude, label))
            problems.add(at(config, {prefix + "exclude"}) + prefix + "exclude names the label " +
                         quote(label) + "; leave it out");
    }
    for (const std::string& feature : party.features) {
        if (feature == party.id)
            problems.add(at(config, {prefix + "features"}) + prefix +
                         "features names the id column " + quote(feature) + "; leave it out");
        if (has(party.exclude, feature))
            problems.add(at(config, {prefix + "exclude"}) + quote(feature) + " is in both " +
                         prefix + "features and " + prefix + "exclude; leave it out of one");
    }
    check_image(config, name, party, problems);
    check_prepare(config, name, party, problems);
    if (!party.test_data.empty() && config.data.test_fraction > 0)
        problems.add(at(config, {prefix + "test_data", "data.test_fraction"}) + prefix +
                     "test_data and data.test_fraction = " + shortest(config.data.test_fraction) +
                     " contradict each other; set data.test_fraction = 0 or leave test_data out");
    if (!party.test_data.empty() && config.data.folds > 0)
        problems.add(at(config, {prefix + "test_data", "data.folds"}) + prefix +
                     "test_data and data.folds = " + std::to_string(config.data.folds) +
                     " contradict each other: the rows of each fold are tested; leave one of the "
                     "two out");
}

void check_parties(const Config& config, Problems& problems) {
    for (const auto& [name, party] : config.parties) {
        check_party_section(config, name, party, problems);
        const auto rank = member_rank(name);
        if (rank && config.run.world_size > 0 && *rank >= config.run.world_size)
            problems.add(
                at(config, {"party." + name, "party." + name + ".data", "run.world_size"}) +
                "[party." + name + "] contradicts run.world_size = " +
                std::to_string(config.run.world_size) + " (" + config.origin_of("run.world_size") +
                "): members are member-0 to " + member_name(config.run.world_size - 1));
    }
    // With sections of several parties in one place, test tables are there for all or for none.
    std::string with;
    std::string without;
    for (const auto& [name, party] : config.parties) {
        if (party.data.empty()) continue;
        (party.test_data.empty() ? without : with) = name;
    }
    if (!with.empty() && !without.empty())
        problems.add(at(config, {"party." + with + ".test_data"}) + "party." + with +
                     ".test_data is there, but party." + without +
                     ".test_data is not; give a test table to every party or to none");
}

void check_labels(const Config& config, Problems& problems) {
    const auto master = config.parties.find("master");
    if (master == config.parties.end() || master->second.label.empty()) return;
    const std::size_t labels = master->second.label.size();
    if (config.model.task == Task::multilabel ? labels >= 2 : labels == 1) return;
    problems.add(at(config, {"party.master.label", "model.task"}) + "party.master.label names " +
                 std::to_string(labels) + (labels == 1 ? " column" : " columns") + ", but " +
                 task_text(config) +
                 (config.model.task == Task::multilabel
                      ? " needs several; the nearest task for one is \"logistic\""
                      : " takes one; the nearest task for several is \"multilabel\""));
}

/// What is missing for the process of `party`, which the sentence names.
Failure bad(const std::string& party, std::string sentence) {
    Failure failure{Errc::bad_config, std::move(sentence)};
    failure.party = party;
    return failure;
}

/// Tasks with a log link: what they are built for.
void check_log_link(const Config& config, Problems& problems) {
    const ModelConfig& model = config.model;
    if (!has_log_link(model.task)) return;
    if (config.run.protocol != Protocol::honest)
        problems.add(at(config, {"run.protocol", "model.task"}) + task_text(config) +
                     " works with run.protocol = \"honest\" only, not with " +
                     quote(name_of(config.run.protocol)) +
                     ": its residuals have no bound, which the integers of that protocol need");
}

void check_early_stopping(const Config& config, Problems& problems) {
    const ModelConfig& model = config.model;
    if (model.early_stopping.empty()) return;
    const auto names = metric_names(model.task);
    const bool of_label =
        model.task == Task::multilabel && model.early_stopping.starts_with("auc[");
    if (!of_label && std::ranges::find(names, model.early_stopping) == names.end())
        problems.add(at(config, {"model.early_stopping", "model.task"}) +
                     "model.early_stopping = " + quote(model.early_stopping) + " is no metric of " +
                     task_text(config) + "; it has " +
                     join_and(std::vector<std::string>(names.begin(), names.end())));
    if (config.run.protocol == Protocol::arbitered)
        problems.add(at(config, {"model.early_stopping", "run.protocol"}) +
                     "model.early_stopping does not go with run.protocol = \"arbitered\", in which "
                     "an arbiter opens each step once; the nearest is \"encrypted\"");
    if (config.data.folds > 0)
        problems.add(at(config, {"model.early_stopping", "data.folds"}) +
                     "model.early_stopping would choose the model of each fold by the rows that "
                     "test it; the nearest is data.folds = 0 with data.test_fraction");
}

/// Protocol arbitered: what it is built for, and its keys.
void check_arbitered(const Config& config, Problems& problems) {
    const RunConfig& run = config.run;
    const ModelConfig& model = config.model;
    const std::string with = " does not go with run.protocol = \"arbitered\"";
    if (run.he_key_bits % 128 != 0)
        problems.add(at(config, {"run.he_key_bits"}) + "run.he_key_bits = " +
                     std::to_string(run.he_key_bits) + " is no multiple of 128");
    else if (run.he_key_bits < 2048 && !run.insecure_testing)
        problems.add(at(config, {"run.he_key_bits"}) +
                     "run.he_key_bits = " + std::to_string(run.he_key_bits) +
                     " protects nothing: keys of 512 bits are factored in hours. State 2048 or "
                     "3072; run.insecure_testing = true takes short keys, for tests");
    if (run.protocol != Protocol::arbitered) return;
    if (model.name != ModelName::linear)
        problems.add(at(config, {"model.name", "run.protocol"}) + "model.name = " +
                     quote(name_of(model.name)) + with + ", which trains linear models");
    else if (model.solver != Solver::sgd && model.solver != Solver::adam)
        problems.add(at(config, {"model.solver", "run.protocol"}) +
                     "model.solver = " + quote(name_of(model.solver)) + with +
                     ", which trains by mini-batches: the nearest are \"sgd\" and \"adam\"");
    if (model.class_weights.rule == ClassWeights::Rule::none) return;
    if (run.he == Encryption::rlwe)
        problems.add(at(config, {"model.class_weights", "run.protocol"}) + "model.class_weights" +
                     with +
                     " and run.he = \"rlwe\", whose ciphertexts hold all rows of a batch at once: "
                     "state run.he = \"paillier\", or leave it out");
    if (model.task == Task::multilabel)
        problems.add(at(config, {"model.class_weights", "model.task"}) + "model.class_weights" +
                     with +
                     " and model.task = \"multilabel\", where a row would have another weight for "
                     "each label, and one ciphertext holds them all; leave it out");
}

}  // namespace

void check_agreed(const Config& config, Problems& problems) {
    const ModelConfig& model = config.model;
    check_arbitered(config, problems);
    check_solver(config, problems);
    if (model.sequential && model.task != Task::linear)
        problems.add(at(config, {"model.sequential", "model.task"}) +
                     (config.stated("model.solver") ? "model.solver = \"sequential\""
                                                    : "model.sequential = true") +
                     std::string(" is for model.task = \"linear\" only, not ") +
                     quote(name_of(model.task)) +
                     (config.stated("model.solver")
                          ? "; choose another solver or model.task = \"linear\""
                          : "; set model.sequential = false or model.task = \"linear\""));
    if (model.momentum != 0 && model.optimizer == Optimizer::adam)
        problems.add(at(config, {"model.momentum", "model.optimizer"}) +
                     "model.momentum = " + shortest(model.momentum) +
                     " is for model.optimizer = \"sgd\" only, not \"adam\"; set model.momentum = 0 "
                     "(adam has model.adam_beta1)");
    if (model.sequential && model.momentum != 0 && model.optimizer == Optimizer::sgd)
        problems.add(at(config, {"model.momentum", "model.sequential"}) +
                     "model.momentum = " + shortest(model.momentum) +
                     " has no meaning with model.sequential = true; set model.momentum = 0");
    if (model.sequential && model.weight_decay != 0)
        problems.add(at(config, {"model.weight_decay", "model.sequential"}) +
                     "model.weight_decay = " + shortest(model.weight_decay) +
                     " has no meaning with model.sequential = true; the nearest is "
                     "model.reg_lambda");
    if (model.class_weights.rule != ClassWeights::Rule::none && predicts_numbers(model.task))
        problems.add(
            at(config, {"model.class_weights", "model.task"}) +
            "model.class_weights has no meaning with model.task = " + quote(name_of(model.task)) +
            ", which has no classes; set model.class_weights = \"none\"");
    check_log_link(config, problems);
    check_early_stopping(config, problems);
    check_privacy(config, problems);
    const std::size_t numbers = model.class_weights.numbers.size();
    if (model.class_weights.rule == ClassWeights::Rule::numbers && numbers != 2 &&
        (model.task == Task::logistic || model.task == Task::multilabel))
        problems.add(at(config, {"model.class_weights", "model.task"}) +
                     "model.class_weights has " + std::to_string(numbers) + " numbers, but " +
                     task_text(config) + " has two classes; write [negative, positive]");
}

void check_select(const Config& config, Problems& problems) {
    if (config.data.select.empty()) return;
    if (const auto select = parse_select(config.data.select); !select)
        problems.add(at(config, {"data.select"}) + "data.select: " + select.error().sentence);
}

void check_folds(const Config& config, Problems& problems) {
    if (config.data.folds == 1)
        problems.add(
            at(config, {"data.folds"}) +
            "data.folds = 1 is no cross-validation, as each fold is tested with a model of "
            "the others; the nearest valid values are 0 (none) and 2");
}

/// (what else is wrong with the address is said by who opens it)
void check_observe(const Config& config, Problems& problems) {
    std::string_view rest = config.observe.mlflow_uri;
    if (!rest.starts_with("http://") && !rest.starts_with("https://")) return;
    rest.remove_prefix(rest.find("://") + 3);
    const std::string_view place = rest.substr(0, rest.find_first_of("/?#"));
    const std::size_t at_sign = place.rfind('@');
    const std::string_view host =
        at_sign == std::string_view::npos ? place : place.substr(at_sign + 1);
    if (host.empty() || host.front() == ':')
        problems.add(at(config, {"observe.mlflow.uri"}) +
                     "observe.mlflow.uri names no host; write http://HOST:PORT, https://HOST:PORT "
                     "or file:DIRECTORY");
}

Result<> check(const Config& config) {
    Problems problems;
    check_observe(config, problems);
    check_agreed(config, problems);
    check_folds(config, problems);
    check_select(config, problems);
    check_bus(config, problems);
    check_parties(config, problems);
    check_labels(config, problems);
    if (!problems.none()) return tl::unexpected(problems.failure());
    return {};
}

Result<> check_party(const Config& config, std::string_view party) {
    const std::string name(party);
    const std::string prefix = "party." + name;
    const std::string where = config.file.empty() ? "" : config.file + ": ";
    const auto found = config.parties.find(name);
    if (found == config.parties.end()) {
        std::vector<std::string> names;
        for (const auto& [known, section] : config.parties) names.push_back(known);
        return tl::unexpected(bad(
            name,
            where + name + " has no section [" + prefix + "]; " +
                (names.empty() ? "no party has one" : "there are sections for " + join_and(names)) +
                "; add one with data and id, or set VFLBUS_PARTY_DATA"));
    }
    if (found->second.data.empty())
        return tl::unexpected(bad(name, where + name + " has no table: set " + prefix +
                                            ".data to its CSV file, or VFLBUS_PARTY_DATA"));
    if (name == "master" && found->second.label.empty())
        return tl::unexpected(
            bad(name, where + "the master has no label: set party.master.label to its column, "
                              "or VFLBUS_PARTY_LABEL"));
    if (name == "master" && config.run.world_size == 0)
        return tl::unexpected(
            bad(name, where + "run.world_size is missing: say how many members take part (the "
                              "master not counted), or set VFLBUS_RUN_WORLD_SIZE"));
    return {};
}

Result<> check_launch(const Config& config) {
    if (auto master = check_party(config, "master"); !master) return master;
    for (std::uint64_t rank = 0; rank < config.run.world_size; ++rank)
        if (auto member = check_party(config, member_name(rank)); !member) return member;
    return {};
}

namespace {

/// A folder with PNG files in it, or in its folders, is a table of pictures.
bool is_picture_folder(const std::string& path) {
    namespace fs = std::filesystem;
    std::error_code error;
    const auto is_png = [&](const fs::path& file) {
        return file.extension() == ".png" || file.extension() == ".PNG";
    };
    for (const auto& entry : fs::directory_iterator(path, error)) {
        if (is_png(entry.path())) return true;
        for (const auto& within : fs::directory_iterator(entry.path(), error))
            if (is_png(within.path())) return true;
    }
    return false;
}

}  // namespace

Result<> check_files(const Config& config, std::string_view party) {
    const std::string name(party);
    const auto found = config.parties.find(name);
    if (found == config.parties.end()) return {};
    const PartyConfig& section = found->second;
    for (const auto& [key, path] :
         {std::pair<std::string, const std::string&>{"data", section.data},
          {"test_data", section.test_data},
          {"predict_data", section.predict_data}}) {
        std::error_code error;
        if (path.empty() || std::filesystem::is_regular_file(path, error)) continue;
        // standard input, a command, a database, a pattern: looked at when it is read
        if (is_pathless(path) || path.starts_with(sqlite_scheme) ||
            path.find_first_of("*?[") != std::string::npos || is_picture_folder(path))
            continue;
        const std::string full = "party." + name + "." + key;
        const bool there = std::filesystem::exists(path, error);
        Failure failure{Errc::io, at(config, {full}) + name + ": the file of " + full + ", " +
                                      path + (there ? ", is not a file" : ", is not there")};
        failure.party = name;
        failure.hint = section.source.empty() ? "name the right one"
                                              : "the set can be had from " + section.source;
        return tl::unexpected(std::move(failure));
    }
    return {};
}

}  // namespace vflbus::config
