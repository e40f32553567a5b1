#include "config/solver.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.hpp"
#include "config/keys.hpp"

namespace vflbus::config {
namespace {

using std::string_view;

/// Keys that meant mini-batches before there was a solver to choose.
constexpr std::array<string_view, 10> mini_batch_keys = {
    "optimizer",    "learning_rate", "momentum", "adam_beta1", "adam_beta2",
    "adam_epsilon", "weight_decay",  "epochs",   "batch_size", "shuffle"};

/// Keys with which lbfgs has no use, and what comes nearest there.
struct ForeignKey {
    string_view name;
    string_view nearest;
};
constexpr ForeignKey not_of_lbfgs[] = {
    {"learning_rate", ""},        {"momentum", ""},           {"adam_beta1", ""},
    {"adam_beta2", ""},           {"adam_epsilon", ""},       {"shuffle", ""},
    {"weight_decay", "model.l2"}, {"reg_lambda", "model.l2"}, {"epochs", "model.max_iterations"},
    {"batch_size", ""},
};
constexpr ForeignKey of_lbfgs_alone[] = {{"l2", "model.weight_decay"},
                                         {"tolerance", "model.epochs"},
                                         {"max_iterations", "model.epochs"}};

/// Keys of networks alone.
constexpr std::array<string_view, 20> network_keys = {"bottom",
                                                      "top",
                                                      "combine",
                                                      "activation",
                                                      "norm",
                                                      "dropout",
                                                      "blocks",
                                                      "hid_factor",
                                                      "residual_dropout",
                                                      "width_factor",
                                                      "depth_factor",
                                                      "stochastic_depth",
                                                      "shift",
                                                      "noise",
                                                      "schedule",
                                                      "warmup_epochs",
                                                      "drop_epochs",
                                                      "drop_factor",
                                                      "clip_norm",
                                                      "eval_batch_size"};
constexpr std::array<string_view, 3> resnet_keys = {"blocks", "hid_factor", "residual_dropout"};

constexpr std::array<string_view, 4> efficientnet_keys = {"width_factor", "depth_factor",
                                                          "stochastic_depth", "shift"};

bool is_network(const ModelConfig& model) {
    return model.name != ModelName::linear;
}

std::string name_text(ModelName name) {
    return "model.name = " + quote(name_of(name));
}

std::string model_key(string_view name) {
    return "model." + std::string(name);
}

std::string solver_text(Solver solver) {
    return "model.solver = " + quote(name_of(solver));
}

Solver solver_of(Optimizer optimizer) {
    return optimizer == Optimizer::adam ? Solver::adam : Solver::sgd;
}

/// The first of the keys that was stated; empty when none was.
template <std::size_t n>
string_view first_stated(const Config& config, const std::array<string_view, n>& names) {
    const auto found = std::ranges::find_if(
        names, [&](string_view name) { return config.stated(model_key(name)); });
    return found == names.end() ? string_view{} : *found;
}

/// Refuses keys that have no meaning beside others. A field is had of a configuration that could be
/// written: one copy of it serves all keys, as a check looks at dozens and a node makes one at
/// every OPEN.
class ForeignKeys {
  public:
    ForeignKeys(const Config& config, Problems& problems)
        : config_(config), problems_(problems), mine_(config) {}

    /// `beside`: what the key has no meaning with.
    void refuse(const ForeignKey& foreign, const std::string& beside, const std::string& advice) {
        static Config defaults;  // only read
        const Key& key = *find_key("model", foreign.name);
        const Field field = key.field(mine_, nobody_);
        if (equal(field, key.field(defaults, nobody_))) return;
        const std::string name = model_key(foreign.name);
        problems_.add(at(config_, {name}) + name + " = " + literal(key, field) +
                      " has no meaning with " + beside +
                      (foreign.nearest.empty()
                           ? "; leave it out, or state another " + advice
                           : "; the nearest is " + std::string(foreign.nearest)));
    }

  private:
    const Config& config_;
    Problems& problems_;
    Config mine_;
    PartyConfig nobody_;
};

void fill_earlier_keys(Config& config, Problems& problems) {
    ModelConfig& model = config.model;
    const bool sequential = model.solver == Solver::sequential;
    if (config.stated("model.sequential") && model.sequential != sequential)
        problems.add(at(config, {"model.sequential"}) +
                     "model.sequential = " + (model.sequential ? "true" : "false") +
                     " contradicts " + solver_text(model.solver) + "; leave model.sequential out");
    model.sequential = sequential;
    if (model.solver != Solver::sgd && model.solver != Solver::adam) return;
    if (config.stated("model.optimizer") && solver_of(model.optimizer) != model.solver)
        problems.add(at(config, {"model.optimizer"}) +
                     "model.optimizer = " + quote(name_of(model.optimizer)) + " contradicts " +
                     solver_text(model.solver) + "; leave model.optimizer out");
    model.optimizer = model.solver == Solver::adam ? Optimizer::adam : Optimizer::sgd;
}

/// What is not stated, and has another default in networks than in linear models.
void fill_network_defaults(Config& config) {
    ModelConfig& model = config.model;
    if (model.solver == Solver::lbfgs || model.solver == Solver::sequential) return;
    const bool pictures = model.name == ModelName::efficientnet;
    if (!config.stated("model.learning_rate"))
        model.learning_rate = model.solver == Solver::sgd ? 0.05 : pictures ? 0.003 : 0.001;
    if (!config.stated("model.batch_size")) model.batch_size = pictures ? 64 : 128;
    if (pictures && !config.stated("model.activation")) model.activation = ActivationName::silu;
    if (pictures && !config.stated("model.norm")) model.norm = NormName::batch;
    if (pictures && !config.stated("model.schedule")) model.schedule = Schedule::cosine;
    if (!config.stated("model.weight_decay") && model.solver == Solver::adamw)
        model.weight_decay = 0.01;
}

void check_widths(const Config& config, string_view name, const std::string& value, bool some,
                  Problems& problems) {
    const auto widths = widths_of(value);
    const std::string key = model_key(name);
    const std::string said = at(config, {key}) + key + " = " + quote(printable(value));
    if (!widths || (some && widths->empty()))
        return problems.add(said +
                            " are no widths of layers: write up to 16 numbers from 1 to 16384 "
                            "joined by '-', as in \"128-64\"");
    if (!some || config.model.name == ModelName::mlp || widths->size() == 2) return;
    const bool resnet = config.model.name == ModelName::resnet;
    problems.add(said + " has " + std::to_string(widths->size()) +
                 (widths->size() == 1 ? " number" : " numbers") + ", but " +
                 (resnet ? "a resnet takes two: the width of its blocks"
                         : "an efficientnet takes two: the channels of its last convolution") +
                 ", and what leaves the party");
}

void check_network(const Config& config, ForeignKeys& keys, Problems& problems) {
    const ModelConfig& model = config.model;
    const std::string network = name_text(model.name);
    if (!is_network(model)) {
        for (const string_view name : network_keys) keys.refuse({name, ""}, network, "model.name");
        if (model.solver == Solver::adamw)
            problems.add(at(config, {"model.solver"}) + solver_text(model.solver) +
                         " is for networks only, not for " + name_text(model.name) +
                         "; the nearest is \"adam\"");
        return;
    }
    if (model.name != ModelName::resnet)
        for (const string_view name : resnet_keys) keys.refuse({name, ""}, network, "model.name");
    if (model.name != ModelName::efficientnet)
        for (const string_view name : efficientnet_keys)
            keys.refuse({name, ""}, network, "model.name");
    if (model.solver == Solver::lbfgs || model.solver == Solver::sequential)
        problems.add(at(config, {"model.solver"}) + solver_text(model.solver) +
                     " trains linear models only, not " + name_text(model.name) +
                     "; the nearest is \"adamw\"");
    if (!model.intercept)
        problems.add(at(config, {"model.intercept"}) +
                     "model.intercept = false has no meaning with " + name_text(model.name) +
                     ", whose layers all have a constant; leave it out");
    if (model.momentum != 0 && model.solver == Solver::adamw)
        problems.add(at(config, {"model.momentum"}) + "model.momentum = " +
                     shortest(model.momentum) + " is for model.solver = \"sgd\" only, not " +
                     "\"adamw\"; set model.momentum = 0 (adamw has model.adam_beta1)");
    check_widths(config, "bottom", model.bottom, true, problems);
    check_widths(config, "top", model.top, false, problems);
}

}  // namespace

std::optional<std::vector<std::size_t>> widths_of(std::string_view text) {
    constexpr std::size_t layers_max = 16;
    constexpr std::size_t width_max = 16384;
    std::vector<std::size_t> widths;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('-'), text.size());
        std::size_t width = 0;
        for (const char digit : text.substr(0, end)) {
            if (digit < '0' || digit > '9' || width > width_max) return std::nullopt;
            width = width * 10 + static_cast<std::size_t>(digit - '0');
        }
        if (width == 0 || width > width_max || widths.size() == layers_max) return std::nullopt;
        widths.push_back(width);
        if (end + 1 == text.size()) return std::nullopt;
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return widths;
}

std::optional<Image> image_of(std::string_view text) {
    constexpr std::size_t side_max = 4096;
    constexpr std::size_t channels_max = 64;
    if (text == "none") return Image{0, 0, 0};
    std::vector<std::size_t> numbers;
    for (bool more = true; more;) {
        const std::size_t end = std::min(text.find('x'), text.size());
        more = end < text.size();
        std::size_t number = 0;
        for (const char digit : text.substr(0, end)) {
            if (digit < '0' || digit > '9' || number > side_max) return std::nullopt;
            number = number * 10 + static_cast<std::size_t>(digit - '0');
        }
        if (number == 0 || number > (numbers.size() < 2 ? side_max : channels_max))
            return std::nullopt;
        numbers.push_back(number);
        text.remove_prefix(more ? end + 1 : end);
    }
    if (numbers.size() < 2 || numbers.size() > 3) return std::nullopt;
    return Image{numbers[0], numbers[1], numbers.size() == 3 ? numbers[2] : 1};
}

bool is_encrypted_network(const Config& config) {
    const auto widths = widths_of(config.model.bottom);
    const bool one_layer = !config.stated("model.bottom") || (widths && widths->size() == 1);
    const bool summed = !config.stated("model.combine") || config.model.combine != Combine::concat;
    return config.model.name == ModelName::mlp && one_layer && summed;
}

void fill_summed_network(Config& config) {
    if (!is_network(config.model) || config.run.protocol == Protocol::honest) return;
    if (!config.stated("model.combine")) config.model.combine = Combine::sum;
    if (config.run.protocol == Protocol::encrypted && config.model.name == ModelName::mlp &&
        !config.stated("model.bottom"))
        config.model.bottom = "64";
}

void resolve_solver(Config& config, Problems& problems) {
    ModelConfig& model = config.model;
    if (config.stated("model.solver"))
        fill_earlier_keys(config, problems);
    else if (model.sequential)
        model.solver = Solver::sequential;
    else if (is_network(model))
        model.solver =
            config.stated("model.optimizer") ? solver_of(model.optimizer) : Solver::adamw;
    else if (!first_stated(config, mini_batch_keys).empty() ||
             config.run.protocol == Protocol::arbitered)
        model.solver = solver_of(model.optimizer);
    if (is_network(model)) fill_network_defaults(config);
    if (model.solver == Solver::sequential && !config.stated("model.batch_size"))
        model.batch_size = 0;
    if (!config.stated("model.C")) return;
    if (config.stated("model.l2"))
        problems.add(at(config, {"model.C"}) + "model.C = " + shortest(config.inverse_l2) +
                     " is another form of model.l2, which is stated as well (" +
                     config.origin_of("model.l2") + "); leave one of them out");
    model.l2 = 1 / config.inverse_l2;
}

void check_solver(const Config& config, Problems& problems) {
    const ModelConfig& model = config.model;
    const bool sequential = model.solver == Solver::sequential;
    if (model.sequential != sequential)
        problems.add(at(config, {"model.sequential"}) +
                     "model.sequential = " + (model.sequential ? "true" : "false") +
                     " contradicts " + solver_text(model.solver));
    if ((model.solver == Solver::sgd || model.solver == Solver::adam) &&
        solver_of(model.optimizer) != model.solver)
        problems.add(at(config, {"model.optimizer"}) + "model.optimizer = " +
                     quote(name_of(model.optimizer)) + " contradicts " + solver_text(model.solver));
    ForeignKeys keys(config, problems);
    const std::string solver = solver_text(model.solver);
    if (model.solver == Solver::lbfgs) {
        for (const ForeignKey& foreign : not_of_lbfgs) keys.refuse(foreign, solver, "solver");
    } else {
        for (const ForeignKey& foreign : of_lbfgs_alone) keys.refuse(foreign, solver, "solver");
    }
    check_network(config, keys, problems);
}

}  // namespace vflbus::config
