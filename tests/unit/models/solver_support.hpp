#pragma once
// A vertical training without a bus: the master's half and a party's half for each range of
// columns, in one process.

#include <memory>
#include <vector>

#include "models/kernels.hpp"
#include "models/lbfgs_master.hpp"
#include "models/lbfgs_party.hpp"
#include "models/lbfgs_trainer.hpp"
#include "models/metrics.hpp"
#include "support.hpp"

namespace support {

struct VerticalTraining {
    std::unique_ptr<vflbus::models::LbfgsMaster> master;
    std::vector<std::unique_ptr<vflbus::models::SolverColumns>> columns;
    std::vector<vflbus::models::LbfgsParty> parties;
    vflbus::models::LbfgsAnswer answer;

    /// `parts`: the parties' columns of the same rows, the master's own first.
    VerticalTraining(const std::vector<Design>& parts, const vflbus::models::Labels& labels,
                     const vflbus::models::LbfgsTrainerConfig& config,
                     std::span<const double> row_weights = {}) {
        using namespace vflbus::models;
        master = std::make_unique<LbfgsMaster>(value_of(
            LbfgsMaster::create(value_of(Objective::create(labels, config.intercept,
                                                           config.class_weights, row_weights)),
                                config.intercept, config.solver)));
        for (const Design& part : parts) {
            columns.push_back(std::make_unique<SolverColumns>(
                SolverColumns::copy_of(part.view(), master->column_options())));
            parties.emplace_back(*columns.back(), master->objective().outputs(),
                                 master->objective().groups());
        }
    }

    void step() {
        const auto& request = master->request();
        master->begin_answers();
        for (auto& party : parties) {
            require_ok(party.answer(request.coefficients, request.residual, answer));
            require_ok(master->add(answer.scores, answer.scalars));
        }
        require_ok(master->advance());
    }
    void run() {
        while (!master->done()) step();
    }

    /// Predictions by the model as it is stored: weights of the tables' columns and intercept.
    Matrix predict(const std::vector<Design>& parts) const {
        const auto unit = master->objective().unit();
        Matrix z(parts[0].rows, unit.size());
        Matrix part(parts[0].rows, unit.size());
        for (std::size_t p = 0; p < parts.size(); ++p) {
            vflbus::models::design_scores(parts[p].view(), parties[p].weights(unit), part.view());
            vflbus::models::add(z.view(), part);
        }
        return vflbus::models::predict(master->objective().task(), z, master->intercept());
    }
};

/// The columns of `x` cut into `count` parts of about the same size.
inline std::vector<Design> cut(ConstMatrixView x, std::size_t count) {
    const Design all = row_major(x);
    std::vector<Design> parts;
    for (std::size_t p = 0; p < count; ++p)
        parts.push_back(columns(all, x.cols * p / count, x.cols * (p + 1) / count));
    return parts;
}

inline double largest_difference(std::span<const double> a, std::span<const double> b) {
    REQUIRE(a.size() == b.size());
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
    return most;
}

/// RMSE, AUC (multilabel: their mean) or accuracy, as solver_cases.hpp has them.
inline double figure(const vflbus::models::Labels& labels, ConstMatrixView predictions) {
    using namespace vflbus::models;
    const Metrics metrics = metrics_for(labels, predictions);
    return metrics.get(labels.task == Task::linear       ? "rmse"
                       : labels.task == Task::logistic   ? "auc"
                       : labels.task == Task::multilabel ? "auc_macro"
                                                         : "accuracy");
}

}  // namespace support
