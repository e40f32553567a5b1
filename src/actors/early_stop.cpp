#include "actors/early_stop.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "actors/messages.hpp"
#include "actors/model_file.hpp"
#include "actors/run/run.hpp"
#include "base/assert.hpp"
#include "base/metric_names.hpp"
#include "base/text.hpp"

namespace vflbus::actors {
namespace {

static_assert(std::endian::native == std::endian::little, "states are written as they lie here");

/// Behind the two states: kept, step, value, waited, looked, bytes of the best state.
using Trailer = std::array<std::uint64_t, 6>;

}  // namespace

std::string with_best(std::string state, const BestState& best) {
    const Trailer trailer{
        best.kept ? 1U : 0U, best.step,   std::bit_cast<std::uint64_t>(best.value),
        best.waited,         best.looked, best.state.size()};
    state.reserve(state.size() + best.state.size() + sizeof trailer);
    state += best.state;
    state.append(reinterpret_cast<const char*>(trailer.data()), sizeof trailer);
    return state;
}

Result<std::string_view> without_best(std::string_view bytes, BestState& best) {
    Trailer trailer{};
    if (bytes.size() >= sizeof trailer) {
        std::memcpy(trailer.data(), bytes.data() + bytes.size() - sizeof trailer, sizeof trailer);
        bytes.remove_suffix(sizeof trailer);
        const auto [kept, step, value, waited, looked, size] = trailer;
        if (size <= bytes.size() && kept <= 1) {
            best = {kept == 1,
                    step,
                    std::string(bytes.substr(bytes.size() - size)),
                    std::bit_cast<double>(value),
                    waited,
                    looked};
            return bytes.substr(0, bytes.size() - size);
        }
    }
    return fail(Errc::bad_data, "the state of a commit has no best state behind it");
}

bool larger_is_better(std::string_view metric) noexcept {
    return metric != "loss" && metric != "rmse" && metric != "mae" && metric != "deviance";
}

bool stops_early(const config::AgreedHalf& agreed) noexcept {
    return !agreed.model.early_stopping.empty();
}

Result<> can_stop_early(const config::ModelConfig& model, const models::Labels& test) {
    if (test.rows() == 0)
        return fail(Errc::bad_config,
                    "model.early_stopping needs test rows: set data.test_fraction, or give every "
                    "party test_data");
    const auto names = metric_names(test.task);
    std::vector<std::string> known(names.begin(), names.end());
    if (test.task == vflbus::Task::multilabel)
        for (const std::string& label : test.names) known.push_back("auc[" + label + "]");
    if (std::ranges::find(known, model.early_stopping) != known.end()) return {};
    return fail(Errc::bad_config, "model.early_stopping = \"" + model.early_stopping +
                                      "\" is no metric of this task; it has " + join_and(known));
}

EarlyStop::EarlyStop(std::unique_ptr<MasterHalf> half, const config::ModelConfig& model)
    : half_(std::move(half)),
      metric_(model.early_stopping),
      patience_(model.patience),
      every_(model.report_test_metrics_iteration) {}

bool EarlyStop::looks_after(std::uint64_t step) const {
    if (step == 0) return false;
    if (every_ != 0) return step % every_ == 0;
    return half_->converges() || half_->place(step).epoch != half_->place(step + 1).epoch;
}

Task<> EarlyStop::looked(Run& run, std::uint64_t step) {
    if (step <= best_.looked || !(looks_after(step) || half_->done(step))) co_return;
    const observe::Metrics& metrics = run.results().test;
    const auto found = std::ranges::find(metrics, metric_, &observe::Metrics::value_type::first);
    VFLBUS_ASSERT(found != metrics.end(), "can_stop_early was asked before the first step");
    const double value = found->second;
    best_.looked = step;
    const bool better =
        std::isfinite(value) &&
        (!best_.kept || (larger_is_better(metric_) ? value > best_.value : value < best_.value));
    if (!better) {
        ++best_.waited;
        co_return;
    }
    best_.kept = true;
    best_.step = step;
    best_.value = value;
    best_.waited = 0;
    best_.state = half_->save();
    co_await ask_members(run, false);
}

Task<> EarlyStop::ask_members(Run& run, bool back) const {
    Replies asked = run.parties().ask_all(message::keep, encode_keep(best_.step, back));
    const std::vector<Bytes> replies = co_await asked;
    for (std::size_t i = 0; i < replies.size(); ++i)
        co_await run.said_by(i, decode_empty("keep reply", replies[i]));
}

Task<std::uint64_t> EarlyStop::go_back(Run& run, std::uint64_t step) {
    ended_ = true;
    if (!best_.kept || best_.step == step) co_return step;
    co_await half_->agree_anew();
    co_await ask_members(run, true);
    co_await half_->restore(best_.step, best_.state);
    co_return best_.step;
}

Result<> EarlyStop::restore(std::uint64_t step, std::string_view state) {
    const auto own = without_best(state, best_);
    if (!own) return tl::unexpected(own.error());
    return half_->restore(step, *own);
}

}  // namespace vflbus::actors
