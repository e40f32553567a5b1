#include "actors/training/linear/lbfgs/messages.hpp"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace vflbus::actors::linear {
namespace {

/// Around the raw bytes of a tensor: array and string markers, shape, length.
constexpr std::size_t tensor_overhead_bytes = 48;

}  // namespace

models::Matrix settings_tensor(const LbfgsSettings& settings) {
    models::Matrix out(1 + settings.units.size(), 1);
    out(0, 0) = settings.penalty;
    for (std::size_t i = 0; i < settings.units.size(); ++i) out(i + 1, 0) = settings.units[i];
    return out;
}

Bytes encode_iterate(std::uint64_t step, const LbfgsSettings& settings,
                     models::ConstMatrixView coefficients, const SentTensor& residual) {
    const models::Matrix said = step == 0 ? settings_tensor(settings) : models::Matrix(0, 1);
    bus::Writer w;
    w.reserve((said.size() + coefficients.size() + residual.values.size()) * sizeof(double) +
              4 * tensor_overhead_bytes);
    w.array(4).u64(step);
    put_tensor(w, said);
    put_tensor(w, coefficients);
    return put_tensor(w, residual).take();
}

Result<IterateRequest> decode_iterate_request(Body body) {
    bus::Reader r("iterate", body, 4);
    IterateRequest m;
    m.step = r.u64();
    m.settings = r.tensor();
    m.coefficients = r.tensor();
    m.residual = r.tensor();
    if (auto done = r.finish(); !done) return tl::unexpected(std::move(done.error()));
    return m;
}

Bytes encode_iterated(const SentTensor& scores, const SentTensor& products) {
    bus::Writer w;
    w.reserve((scores.values.size() + products.values.size()) * sizeof(double) +
              3 * tensor_overhead_bytes);
    w.array(2);
    put_tensor(w, scores);
    return put_tensor(w, products).take();
}

Result<IterateReply> decode_iterate_reply(Body body) {
    bus::Reader r("iterate reply", body, 2);
    IterateReply m;
    m.scores = r.tensor();
    m.products = r.tensor();
    if (auto done = r.finish(); !done) return tl::unexpected(std::move(done.error()));
    return m;
}

Result<LbfgsSettings> settings_of(const TensorView& settings, std::size_t outputs) {
    if (settings.rows != outputs + 1 || settings.cols != 1)
        return fail(Errc::malformed_message, "the settings of a solver are " +
                                                 std::to_string(settings.rows) + " x " +
                                                 std::to_string(settings.cols) + " where " +
                                                 std::to_string(outputs + 1) + " x 1 belong");
    std::vector<double> values(settings.rows);
    settings.copy_to(values);
    LbfgsSettings out{values.front(), {values.begin() + 1, values.end()}};
    bool good = out.penalty >= 0 && std::isfinite(out.penalty);
    for (const double unit : out.units) good = good && unit > 0 && std::isfinite(unit);
    if (good) return out;
    return fail(Errc::malformed_message,
                "the settings of a solver have a penalty or a unit that makes no sense");
}

}  // namespace vflbus::actors::linear
