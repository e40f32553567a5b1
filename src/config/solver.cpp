#include "config/solver.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

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

std::string at(const Config& config, string_view key) {
    return config.stated(key)    ? config.origin_of(key) + ": "
           : config.file.empty() ? ""
                                 : config.file + ": ";
}

bool has_default(const Config& config, const Key& key) {
    Config mine = config;
    Config defaults;
    PartyConfig nobody;
    return equal(key.field(mine, nobody), key.field(defaults, nobody));
}

void refuse_foreign(const Config& config, const ForeignKey& foreign, Problems& problems) {
    const Key& key = *find_key("model", foreign.name);
    if (has_default(config, key)) return;
    Config mine = config;
    PartyConfig nobody;
    const std::string name = model_key(foreign.name);
    problems.add(at(config, name) + name + " = " + literal(key, key.field(mine, nobody)) +
                 " has no meaning with " + solver_text(config.model.solver) +
                 (foreign.nearest.empty() ? "; leave it out, or state another solver"
                                          : "; the nearest is " + std::string(foreign.nearest)));
}

void fill_earlier_keys(Config& config, Problems& problems) {
    ModelConfig& model = config.model;
    const bool sequential = model.solver == Solver::sequential;
    if (config.stated("model.sequential") && model.sequential != sequential)
        problems.add(at(config, "model.sequential") +
                     "model.sequential = " + (model.sequential ? "true" : "false") +
                     " contradicts " + solver_text(model.solver) + "; leave model.sequential out");
    model.sequential = sequential;
    if (model.solver != Solver::sgd && model.solver != Solver::adam) return;
    if (config.stated("model.optimizer") && solver_of(model.optimizer) != model.solver)
        problems.add(at(config, "model.optimizer") +
                     "model.optimizer = " + quote(name_of(model.optimizer)) + " contradicts " +
                     solver_text(model.solver) + "; leave model.optimizer out");
    model.optimizer = model.solver == Solver::adam ? Optimizer::adam : Optimizer::sgd;
}

}  // namespace

void resolve_solver(Config& config, Problems& problems) {
    ModelConfig& model = config.model;
    if (config.stated("model.solver"))
        fill_earlier_keys(config, problems);
    else if (model.sequential)
        model.solver = Solver::sequential;
    else if (!first_stated(config, mini_batch_keys).empty())
        model.solver = solver_of(model.optimizer);
    if (model.solver == Solver::sequential && !config.stated("model.batch_size"))
        model.batch_size = 0;
    if (!config.stated("model.C")) return;
    if (config.stated("model.l2"))
        problems.add(at(config, "model.C") + "model.C = " + shortest(config.inverse_l2) +
                     " is another form of model.l2, which is stated as well (" +
                     config.origin_of("model.l2") + "); leave one of them out");
    model.l2 = 1 / config.inverse_l2;
}

void check_solver(const Config& config, Problems& problems) {
    const ModelConfig& model = config.model;
    const bool sequential = model.solver == Solver::sequential;
    if (model.sequential != sequential)
        problems.add(at(config, "model.sequential") +
                     "model.sequential = " + (model.sequential ? "true" : "false") +
                     " contradicts " + solver_text(model.solver));
    if ((model.solver == Solver::sgd || model.solver == Solver::adam) &&
        solver_of(model.optimizer) != model.solver)
        problems.add(at(config, "model.optimizer") + "model.optimizer = " +
                     quote(name_of(model.optimizer)) + " contradicts " + solver_text(model.solver));
    if (model.solver == Solver::lbfgs) {
        for (const ForeignKey& foreign : not_of_lbfgs) refuse_foreign(config, foreign, problems);
    } else {
        for (const ForeignKey& foreign : of_lbfgs_alone) refuse_foreign(config, foreign, problems);
    }
}

}  // namespace vflbus::config
