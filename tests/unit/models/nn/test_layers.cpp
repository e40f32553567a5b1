// Every layer's gradient against finite differences, and the same bits on every vector width.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "base/hash.hpp"
#include "base/rng.hpp"
#include "catch.hpp"
#include "models/kernels.hpp"
#include "models/nn/convolution.hpp"
#include "models/nn/network.hpp"
#include "models/nn/steps.hpp"

using namespace vflbus;
using namespace vflbus::models;
using namespace vflbus::models::nn;

namespace {

Records drawn(std::uint64_t seed, std::size_t width, std::size_t count) {
    Rng rng(seed);
    Records out(width, count);
    for (std::size_t i = 0; i < count; ++i)
        for (std::size_t j = 0; j < width; ++j) {
            const double value = 2 * rng.uniform() - 1;
            // not where max(x, 0) has its corner
            out.record(i)[j] = static_cast<float>(value + (value < 0 ? -0.1 : 0.1));
        }
    return out;
}

double weighted_sum(const Records& values, const Records& weights) {
    double sum = 0;
    for (std::size_t i = 0; i < values.count(); ++i)
        for (std::size_t j = 0; j < values.width(); ++j)
            sum += static_cast<double>(values.record(i)[j]) *
                   static_cast<double>(weights.record(i)[j]);
    return sum;
}

/// Compares the slope of `loss` along `number` with what `backward` says of it.
void check_slope(float& number, float slope, const std::function<double()>& loss) {
    constexpr float step = 4e-3F;
    const float before = number;
    number = before + step;
    const double above = loss();
    number = before - step;
    const double below = loss();
    number = before;
    CHECK(static_cast<double>(slope) ==
          Approx((above - below) / (2 * static_cast<double>(step))).epsilon(5e-3).margin(3e-3));
}

void check_gradients(Layer& layer, std::size_t width, std::size_t count = 9) {
    Records in = drawn(3, width, count);
    const Pass pass{77};
    Records out;
    layer.forward(in, out, pass);
    REQUIRE(out.width() == layer.width_of(width));
    const Records by_out = drawn(4, out.width(), out.count());
    Records by_in;
    layer.backward(by_out, &by_in);
    std::vector<Parameter*> parameters;
    layer.parameters(parameters);
    std::vector<FloatArray> gradients;
    for (const Parameter* parameter : parameters) gradients.push_back(parameter->gradient);
    const auto loss = [&] {
        Records again;
        layer.forward(in, again, pass);
        return weighted_sum(again, by_out);
    };
    for (std::size_t i = 0; i < in.count(); ++i)
        for (std::size_t j = 0; j < width; ++j)
            check_slope(in.record(i)[j], by_in.record(i)[j], loss);
    for (std::size_t p = 0; p < parameters.size(); ++p)
        for (std::size_t j = 0; j < parameters[p]->columns; ++j)
            for (std::size_t c = 0; c < parameters[p]->width; ++c) {
                const std::size_t at = j * padded(parameters[p]->width) + c;
                check_slope(parameters[p]->value[at], gradients[p][at], loss);
            }
}

/// `out` is what the layer makes of `in` in this pass: the same again, something else in another
/// pass, and nothing is changed in a prediction.
void check_chance(Layer& layer, std::uint64_t pass, const Records& in, const Records& out) {
    Records again;
    layer.forward(in, again, {pass});
    CHECK(std::ranges::equal(again.all(), out.all()));
    layer.forward(in, again, {pass + 1});
    CHECK_FALSE(std::ranges::equal(again.all(), out.all()));
    layer.infer(in, again);
    CHECK(std::ranges::equal(again.all(), in.all()));
}

NetworkShape whole_shape(Body body, Norm norm, Activation activation) {
    NetworkShape shape;
    shape.body = body;
    shape.inputs = 37;
    shape.hidden =
        body == Body::mlp ? std::vector<std::size_t>{40, 19} : std::vector<std::size_t>{21};
    shape.outputs = 5;
    shape.norm = norm;
    shape.activation = activation;
    shape.dropout = 0.3;
    shape.blocks = 2;
    shape.residual_dropout = 0.1;
    if (body != Body::efficientnet) return shape;
    shape.image = {8, 6, 2};
    shape.inputs = shape.image.size();
    shape.width_factor = 0.5;
    shape.stochastic_depth = 0.3;
    shape.shift = 1;
    return shape;
}

/// The numbers of a network after some steps.
std::vector<float> trained(const NetworkShape& shape, StepKind kind) {
    Network network(shape, 5);
    StepConfig config;
    config.kind = kind;
    config.weight_decay = 0.01;
    config.clip = 3;
    Steps steps(config, network);
    const Records in = drawn(8, shape.inputs, 45);
    for (std::uint64_t t = 0; t < 6; ++t) {
        const Records& out = network.forward(in, {t});
        Records gradient = out;
        const Records target = drawn(9, out.width(), out.count());
        for (std::size_t i = 0; i < gradient.all().size(); ++i)
            gradient.all()[i] = (gradient.all()[i] - target.all()[i]) / 45;
        network.backward(gradient, nullptr);
        steps.step(0.01);
    }
    std::vector<float> values = network.values();
    Records inferred;
    network.infer(in, inferred);
    values.insert(values.end(), inferred.all().begin(), inferred.all().end());
    return values;
}

}  // namespace

TEST_CASE("gradients of layers are those of finite differences") {
    SECTION("dense") {
        Dense layer(11, 5, 1);
        check_gradients(layer, 11);
    }
    SECTION("bias") {
        Bias layer(7);
        check_gradients(layer, 7);
    }
    SECTION("relu") {
        ActivationLayer layer(Activation::relu);
        check_gradients(layer, 7);
    }
    SECTION("gelu") {
        ActivationLayer layer(Activation::gelu);
        check_gradients(layer, 7);
    }
    SECTION("silu") {
        ActivationLayer layer(Activation::silu);
        check_gradients(layer, 7);
    }
    SECTION("dropout") {
        Dropout layer(0.4, 2);
        check_gradients(layer, 7);
    }
    SECTION("batch norm") {
        BatchNorm layer(6);
        check_gradients(layer, 6);
    }
    SECTION("layer norm") {
        LayerNorm layer(18);
        check_gradients(layer, 18);
    }
    SECTION("moved pictures") {
        Shift layer({4, 3}, 2, 2, 1);
        check_gradients(layer, 24);
    }
    SECTION("windows of pictures") {
        Windows layer({4, 3}, 2, 3, 1);
        check_gradients(layer, 24);
    }
    SECTION("windows that move by two") {
        Windows layer({5, 4}, 1, 3, 2);
        check_gradients(layer, 20);
    }
    SECTION("depthwise convolution") {
        Depthwise layer({4, 3}, 3, 3, 1, 5);
        check_gradients(layer, 3, 24);
    }
    SECTION("depthwise convolution of more channels than a vector, moved by two") {
        Depthwise layer({5, 7}, 17, 5, 2, 5);
        check_gradients(layer, 17, 70);
    }
    SECTION("mean over pixels") {
        PixelMean layer({2, 3});
        check_gradients(layer, 4, 18);
    }
    SECTION("squeeze and excitation") {
        SqueezeExcite layer({2, 3}, 5, 2, 6);
        check_gradients(layer, 5, 18);
    }
    SECTION("stochastic depth") {
        StochasticDepth layer({2, 2}, 0.4, 3);
        check_gradients(layer, 3, 24);
    }
    SECTION("residual") {
        Chain inner;
        inner.add(std::make_unique<Dense>(6, 9, 1));
        inner.add(std::make_unique<ActivationLayer>(Activation::silu));
        inner.add(std::make_unique<Dense>(9, 6, 2));
        Residual layer(std::move(inner));
        check_gradients(layer, 6);
    }
}

TEST_CASE("networks train to the same bits on every vector width") {
    const Isa before = best_isa();
    for (const Body body : {Body::mlp, Body::resnet})
        for (const Norm norm : {Norm::none, Norm::batch, Norm::layer})
            for (const StepKind kind : {StepKind::sgd, StepKind::adam, StepKind::adamw}) {
                const NetworkShape shape = whole_shape(
                    body, norm, norm == Norm::none ? Activation::gelu : Activation::relu);
                use_isa(Isa::baseline);
                const std::vector<float> narrow = trained(shape, kind);
                for (const float value : narrow) REQUIRE(std::isfinite(value));
                for (const Isa isa : {Isa::avx2, Isa::avx512}) {
                    use_isa(isa);
                    CHECK(trained(shape, kind) == narrow);
                }
                use_isa(before);
            }
}

TEST_CASE("networks for pictures train to the same bits on every vector width") {
    const Isa before = best_isa();
    const NetworkShape shape = whole_shape(Body::efficientnet, Norm::batch, Activation::silu);
    use_isa(Isa::baseline);
    const std::vector<float> narrow = trained(shape, StepKind::adamw);
    for (const float value : narrow) REQUIRE(std::isfinite(value));
    for (const Isa isa : {Isa::avx2, Isa::avx512}) {
        use_isa(isa);
        CHECK(trained(shape, StepKind::adamw) == narrow);
    }
    use_isa(before);
}

TEST_CASE("pictures are inferred alike, however many there are at once") {
    const NetworkShape shape = whole_shape(Body::efficientnet, Norm::batch, Activation::silu);
    const Network network(shape, 3);
    const Records all = drawn(4, shape.inputs, 67);
    Records together;
    network.infer(all, together);
    for (std::size_t i = 0; i < all.count(); ++i) {
        Records one(shape.inputs, 1);
        std::copy_n(all.record(i), shape.inputs, one.record(0));
        Records made;
        network.infer(one, made);
        CHECK(std::equal(made.record(0), made.record(0) + made.width(), together.record(i)));
    }
}

TEST_CASE("pictures are moved by whole pixels, all moves equally often, not in predictions") {
    Shift layer({3, 4}, 1, 1, 2);
    constexpr std::size_t pictures = 9000;
    Records in(12, pictures);
    for (std::size_t i = 0; i < pictures; ++i)
        for (std::size_t j = 0; j < 12; ++j)
            in.record(i)[j] = static_cast<float>(10 * (j / 4) + j % 4);
    Records out;
    layer.forward(in, out, {5});
    std::array<double, 9> seen{};
    bool all_moved = true;
    for (std::size_t i = 0; i < pictures; ++i) {
        // pixel (1, 1) lies at least one pixel from every border
        const auto from = static_cast<int>(out.record(i)[5]);
        const int down = from / 10 - 1;
        const int right = from % 10 - 1;
        REQUIRE((std::abs(down) <= 1 && std::abs(right) <= 1));
        seen[static_cast<std::size_t>(3 * (down + 1) + right + 1)] += 1;
        for (int r = 0; r < 3; ++r)
            for (int c = 0; c < 4; ++c)
                all_moved = all_moved && out.record(i)[4 * r + c] ==
                                             static_cast<float>(10 * std::clamp(r + down, 0, 2) +
                                                                std::clamp(c + right, 0, 3));
    }
    CHECK(all_moved);
    for (const double count : seen) CHECK(count == Approx(1000).margin(150));
    check_chance(layer, 5, in, out);
}

TEST_CASE("a picture is skipped as a whole by stochastic depth, in its share, not in predictions") {
    const Grid grid{2, 2};
    StochasticDepth layer(grid, 0.25, 1);
    Records in(5, 4 * 4000);
    for (std::size_t i = 0; i < in.count(); ++i) std::fill_n(in.record(i), in.width(), 1.0F);
    Records out;
    layer.forward(in, out, {9});
    double skipped = 0;
    for (std::size_t i = 0; i < in.count(); ++i) {
        const float first = out.record(i / 4 * 4)[0];
        for (std::size_t j = 0; j < in.width(); ++j) CHECK(out.record(i)[j] == first);
        CHECK((first == 0 || first == static_cast<float>(1 / 0.75)));
        skipped += first == 0 ? 0.25 : 0;
    }
    CHECK(skipped / 4000 == Approx(0.25).margin(0.02));
    check_chance(layer, 9, in, out);
}

// Whoever changes these bits changes what a configuration and a seed train. Change a digest only
// where that is meant.
TEST_CASE("networks train to the bits that they trained to") {
    const auto digest = [](Body body, Norm norm, Activation activation) {
        const std::vector<float> values =
            trained(whole_shape(body, norm, activation), StepKind::adamw);
        const std::string bytes(reinterpret_cast<const char*>(values.data()),
                                values.size() * sizeof(float));
        return to_hex(hash128(bytes)).substr(0, 16);
    };
    CHECK(digest(Body::mlp, Norm::none, Activation::relu) == "2d45f9797ec1c4c2");
    CHECK(digest(Body::mlp, Norm::layer, Activation::gelu) == "cd76ff9c53bfe71b");
    CHECK(digest(Body::resnet, Norm::batch, Activation::silu) == "4f8cf92e25b82092");
    CHECK(digest(Body::efficientnet, Norm::batch, Activation::silu) == "8fd729ae5fc2cfb7");
}

TEST_CASE("dropout leaves out its share, and nothing in predictions") {
    Dropout layer(0.25, 1);
    Records in(16, 4000);
    for (float& value : in.all()) value = 1;
    Records out;
    layer.forward(in, out, {9});
    double zeros = 0;
    double sum = 0;
    for (const float value : out.all()) {
        zeros += value == 0 ? 1 : 0;
        sum += static_cast<double>(value);
    }
    const auto n = static_cast<double>(out.all().size());
    CHECK(zeros / n == Approx(0.25).margin(0.01));
    CHECK(sum / n == Approx(1).margin(0.01));
    check_chance(layer, 9, in, out);
}

TEST_CASE("a state that was put back goes on to the same bits") {
    const NetworkShape shape =
        whole_shape(GENERATE(Body::resnet, Body::efficientnet), Norm::batch, Activation::relu);
    const auto go = [&](Network& network, Steps& steps, std::uint64_t from, std::uint64_t to) {
        const Records in = drawn(8, shape.inputs, 45);
        for (std::uint64_t t = from; t < to; ++t) {
            const Records gradient = network.forward(in, {t});
            network.backward(gradient, nullptr);
            steps.step(0.001);
        }
    };
    Network whole(shape, 5);
    Steps steps({}, whole);
    go(whole, steps, 0, 3);
    const auto values = whole.values();
    const auto state = steps.state();
    // a batch that was gone through but not answered leaves no trace
    Records in = drawn(1, shape.inputs, 45);
    whole.forward(in, {99});
    CHECK(whole.values() == values);
    go(whole, steps, 3, 6);
    Network other(shape, 6);
    Steps others({}, other);
    REQUIRE(other.set_values(values));
    REQUIRE(others.set_state(state));
    go(other, others, 3, 6);
    CHECK(other.values() == whole.values());
    CHECK(others.state() == steps.state());
    CHECK_FALSE(other.set_values(std::span(values).first(values.size() - 1)));
    auto broken = values;
    broken[0] = NAN;
    CHECK_FALSE(other.set_values(broken));
}

TEST_CASE("schedules of the learning rate") {
    RateConfig config;
    config.rate = 0.5;
    config.steps = 110;
    config.warm_up = 10;
    CHECK(rate_at(config, 0) == Approx(0.05));
    CHECK(rate_at(config, 9) == Approx(0.5));
    CHECK(rate_at(config, 80) == 0.5);
    config.shape = RateShape::cosine;
    for (const std::uint64_t t : {10U, 22U, 35U, 60U, 85U, 99U, 109U})
        CHECK(rate_at(config, t) ==
              Approx(0.25 * (1 + std::cos(3.14159265358979 * (t - 10.0) / 100))).margin(1e-15));
    config.shape = RateShape::step;
    config.drop_every = 40;
    config.drop = 0.1;
    CHECK(rate_at(config, 39) == 0.5);
    CHECK(rate_at(config, 40) == Approx(0.05));
    CHECK(rate_at(config, 80) == Approx(0.005));
}
