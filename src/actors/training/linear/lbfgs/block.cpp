#include "actors/training/linear/lbfgs/block.hpp"

#include <string>
#include <utility>

#include "models/kernels.hpp"
#include "models/objective.hpp"
#include "models/panels.hpp"

namespace vflbus::actors::linear {

std::size_t solver_groups(vflbus::Task task, std::size_t outputs) {
    return task == vflbus::Task::softmax ? 1 : outputs;
}

LbfgsBlock::LbfgsBlock(Party& party, LbfgsSettings settings, std::size_t outputs)
    : party_(&party), settings_(std::move(settings)), design_(party.take_design(TableKind::train)) {
    const config::ModelConfig& model = party.agreed().model;
    const models::ColumnOptions options{model.intercept, models::curvature_bound(model.task),
                                        settings_.penalty};
    columns_ = models::SolverColumns::in_place({design_.data(), design_.rows() * design_.cols()},
                                               party.rows(TableKind::train).size(), design_.cols(),
                                               options);
    solver_ =
        std::make_unique<models::LbfgsParty>(columns_, outputs, solver_groups(model.task, outputs));
}

std::vector<int> LbfgsBlock::round_columns() {
    std::vector<int> exponents;
    for (const double value : columns_.largest()) exponents.push_back(column_exponent(value));
    columns_.round_columns(exponents, column_most);
    return exponents;
}

void LbfgsBlock::make_integers(IntegerColumns& columns) {
    columns.exponents = round_columns();
    const models::PanelMatrix& panels = columns_.panels();
    columns.values.resize(panels.size());
    for (std::size_t p = 0; p < panels.panels(); ++p)
        for (std::size_t j = 0; j < panels.cols(); ++j) {
            std::int16_t* to =
                columns.values.data() + j * panels.rows() + models::PanelMatrix::first_row(p);
            for (const double x : panels.panel(p).col(j))
                *to++ = static_cast<std::int16_t>(std::ldexp(x, columns.exponents[j]));
        }
}

Result<> LbfgsBlock::scores(TableKind side, std::uint64_t first, std::uint64_t count,
                            models::Matrix& z) const {
    const std::uint64_t rows = party_->rows(side).size();
    if (auto good = check_rows_asked(side, rows, first, count, outputs()); !good) return good;
    z.resize_uninitialized(count, outputs());
    const std::vector<double> ones(outputs(), 1.0);
    if (side == TableKind::train) {
        models::panel_scores(columns_.panels(), first, solver_->scaled_weights(), z.view());
        std::vector<double> offsets(outputs());
        columns_.offsets(solver_->scaled_weights(), offsets);
        for (std::size_t c = 0; c < z.cols(); ++c)
            for (double& value : z.col(c)) value += offsets[c];  // centred columns lack it
        return {};
    }
    const models::DesignView all = party_->design(side);
    const models::DesignView part(all.data == nullptr ? nullptr : all.data + first * all.stride,
                                  count, all.cols, all.stride);
    models::design_scores(part, solver_->weights(ones), z.view());
    return {};
}

// -- commits and parts ------------------------------------------------------------------

void LbfgsBlock::save(StateWriter& writer) const {
    const models::LbfgsPartyState state = solver_->state();
    std::vector<double> settings = settings_.units;
    settings.insert(settings.begin(), settings_.penalty);
    writer.doubles(settings).u64(state.rounds).doubles(state.vectors);
}

LbfgsSettings LbfgsBlock::saved_settings(StateReader& reader) {
    const std::vector<double> settings = reader.doubles();
    if (settings.empty()) return {};
    return {settings.front(), {settings.begin() + 1, settings.end()}};
}

models::LbfgsPartyState LbfgsBlock::saved_solver(StateReader& reader) {
    models::LbfgsPartyState state;
    state.rounds = reader.u64();
    state.vectors = reader.doubles();
    return state;
}

Result<ModelPart> LbfgsBlock::part(ModelHead head) const {
    ModelPart part;
    static_cast<ModelHead&>(part) = std::move(head);
    static_cast<PartTable&>(part) = part_table(*party_);
    part.steps = part.stopped_at.value_or(solver_->rounds());
    part.outputs = outputs();
    const models::Matrix weights = solver_->weights(settings_.units);
    if (!models::all_finite(weights.span()))
        return fail(Errc::diverged,
                    "the weights are too large for numbers; give the label in a larger unit");
    part.weights.assign(weights.span().begin(), weights.span().end());
    return part;
}

}  // namespace vflbus::actors::linear
