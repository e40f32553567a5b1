#include "models/lbfgs_trainer.hpp"

#include <utility>

#include "base/assert.hpp"
#include "models/kernels.hpp"

namespace vflbus::models {

Result<LbfgsTrainer> LbfgsTrainer::create(DesignView design, Labels labels,
                                          const LbfgsTrainerConfig& config,
                                          std::span<const double> row_weights) {
    VFLBUS_ASSERT(design.cols == 0 || design.rows == labels.rows(), "one row per label");
    if (design.cols == 0) design.rows = labels.rows();
    Result<Objective> objective =
        Objective::create(std::move(labels), config.intercept, config.class_weights, row_weights);
    if (!objective) return tl::unexpected<Failure>(std::move(objective.error()));
    Result<LbfgsMaster> master =
        LbfgsMaster::create(*std::move(objective), config.intercept, config.solver);
    if (!master) return tl::unexpected<Failure>(std::move(master.error()));
    auto columns =
        std::make_unique<SolverColumns>(SolverColumns::copy_of(design, master->column_options()));
    const SolverColumns& scaled = *columns;
    return LbfgsTrainer(std::move(columns), scaled, *std::move(master));
}

Result<LbfgsTrainer> LbfgsTrainer::create(const SolverColumns& columns, LbfgsMaster master) {
    VFLBUS_ASSERT(columns.rows() == master.objective().rows(), "one row per label");
    return LbfgsTrainer(nullptr, columns, std::move(master));
}

LbfgsTrainer::LbfgsTrainer(std::unique_ptr<SolverColumns> owned, const SolverColumns& columns,
                           LbfgsMaster master)
    : owned_(std::move(owned)),
      master_(std::move(master)),
      party_(columns, master_.objective().outputs(), master_.objective().groups()) {}

Result<> LbfgsTrainer::step() {
    VFLBUS_ASSERT(!done(), "a training that is done takes no step");
    const LbfgsRequest& request = master_.request();
    if (Result<> ok = party_.answer(request.coefficients, request.residual, answer_); !ok)
        return ok;
    master_.begin_answers();
    if (Result<> ok = master_.add(answer_.scores, answer_.scalars); !ok) return ok;
    return master_.advance();
}

Result<> LbfgsTrainer::run() {
    while (!done())
        if (Result<> ok = step(); !ok) return ok;
    return {};
}

Matrix LbfgsTrainer::predict(DesignView design) const {
    const Matrix w = party_.weights(master_.objective().unit());
    Matrix z(design.rows, w.cols());
    design_scores(design, w, z.view());
    return models::predict(master_.objective().task(), z, master_.intercept());
}

}  // namespace vflbus::models
