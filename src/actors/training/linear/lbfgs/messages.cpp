#include "actors/training/linear/lbfgs/messages.hpp"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace vflbus::actors::linear {
namespace {

/// Around the raw bytes of a tensor: array and string markers, shape, length.
constexpr std::size_t tensor_overhead_bytes = 48;

bus::Writer& put(bus::Writer& w, models::ConstMatrixView m) {
    return w.tensor(m.span(), m.rows, m.cols);
}

}  // namespace

Bytes encode_iterate(std::uint64_t step, const LbfgsSettings& settings,
                     models::ConstMatrixView coefficients, models::ConstMatrixView residual) {
    std::vector<double> said;
    if (step == 0) {
        said = settings.units;
        said.insert(said.begin(), settings.penalty);
    }
    bus::Writer w;
    w.reserve((said.size() + coefficients.size() + residual.size()) * sizeof(double) +
              4 * tensor_overhead_bytes);
    w.array(4).u64(step).tensor(said, said.size(), 1);
    put(w, coefficients);
    return put(w, residual).take();
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
