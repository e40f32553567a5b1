// Networks and optimizers against what PyTorch computes (make_torch_cases.py).

#include <cmath>

#include "base/rng.hpp"
#include "catch.hpp"
#include "models/nn/network.hpp"
#include "models/nn/steps.hpp"
#include "torch_cases.hpp"

using namespace vflbus;
using namespace vflbus::models::nn;

namespace {

constexpr std::size_t inputs = 5;
constexpr std::size_t hidden = 7;
constexpr std::size_t outputs = 3;
constexpr std::size_t records = 6;

float draw(Rng& rng) {
    return static_cast<float>(2 * rng.uniform() - 1);
}

NetworkShape shape_named(const std::string& name) {
    const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
    NetworkShape shape;
    shape.body = has("resnet") ? Body::resnet : Body::mlp;
    shape.inputs = inputs;
    shape.hidden = {hidden};
    shape.outputs = outputs;
    shape.activation = has("gelu")   ? Activation::gelu
                       : has("silu") ? Activation::silu
                                     : Activation::relu;
    shape.norm = has("batch") ? Norm::batch : has("layer") ? Norm::layer : Norm::none;
    shape.blocks = 1;
    return shape;
}

Network filled(const NetworkShape& shape, unsigned seed) {
    Network network(shape, 1);
    Rng rng(seed);
    std::vector<float> values(network.size());
    std::size_t moved = 0;
    for (const Parameter* parameter : network.parameters())
        moved += parameter->width * parameter->columns;
    for (float& value : values) value = draw(rng);
    // the second half of each norm's memory is a variance
    if (shape.norm == Norm::batch)
        for (std::size_t at = moved; at < values.size(); at += 2 * hidden)
            for (std::size_t j = 0; j < hidden; ++j) values[at + hidden + j] += 1.5F;
    REQUIRE(network.set_values(values));
    return network;
}

Records drawn(unsigned seed, std::size_t width) {
    Rng rng(seed);
    Records out(width, records);
    for (std::size_t i = 0; i < records; ++i)
        for (std::size_t j = 0; j < width; ++j) out.record(i)[j] = draw(rng);
    return out;
}

void check_near(const Records& mine, const std::vector<double>& theirs) {
    REQUIRE(mine.width() * mine.count() == theirs.size());
    for (std::size_t i = 0; i < theirs.size(); ++i) {
        INFO("number " << i);
        CHECK(static_cast<double>(mine.record(i / mine.width())[i % mine.width()]) ==
              Approx(theirs[i]).margin(2e-5).epsilon(2e-5));
    }
}

/// A prediction, a step of the training and its gradient.
template <class Wanted>
void check_passes(Network& network, const Wanted& wanted) {
    const Records in = drawn(wanted.seed + 1, network.inputs());
    Records inferred;
    network.infer(in, inferred);
    check_near(inferred, wanted.inferred);
    check_near(network.forward(in, {}), wanted.trained);
    Records by_input;
    network.backward(drawn(wanted.seed + 2, outputs), &by_input);
    check_near(by_input, wanted.by_input);
}

}  // namespace

TEST_CASE("networks compute what PyTorch's do") {
    for (const auto& wanted : torch_cases::forward) {
        INFO(wanted.name);
        Network network = filled(shape_named(wanted.name), wanted.seed);
        check_passes(network, wanted);
    }
}

TEST_CASE("a network for pictures computes what PyTorch's does") {
    const auto& wanted = torch_cases::pictures;
    NetworkShape shape;
    shape.body = Body::efficientnet;
    shape.image = {7, 6, 2};
    shape.inputs = shape.image.size();
    shape.hidden = {hidden};
    shape.outputs = outputs;
    shape.activation = Activation::silu;
    shape.norm = Norm::batch;
    shape.width_factor = 0.5;
    Network network(shape, 1);
    std::vector<float> values = network.values();
    std::size_t moved = 0;
    for (const Parameter* parameter : network.parameters())
        moved += parameter->width * parameter->columns;
    Rng rng(wanted.seed);
    for (std::size_t i = 0; i < moved; ++i) values[i] = draw(rng);
    REQUIRE(network.set_values(values));
    check_passes(network, wanted);
    Records inferred;
    network.infer(drawn(wanted.seed + 1, shape.inputs), inferred);
    check_near(inferred, wanted.after);
}

TEST_CASE("optimizers step as PyTorch's do") {
    for (const auto& wanted : torch_cases::stepped) {
        INFO(wanted.name);
        Network network = filled(shape_named("mlp batch relu"), wanted.seed);
        StepConfig config;
        config.kind = wanted.name == "sgd"    ? StepKind::sgd
                      : wanted.name == "adam" ? StepKind::adam
                                              : StepKind::adamw;
        config.momentum = wanted.name == "sgd" ? 0.9 : 0;
        config.weight_decay = 0.1;
        Steps steps(config, network);
        const Records in = drawn(wanted.seed + 1, inputs);
        for (int i = 0; i < 5; ++i) {
            network.forward(in, {});
            network.backward(drawn(wanted.seed + 2, outputs), nullptr);
            steps.step(0.01);
        }
        const std::vector<float> mine = network.values();
        REQUIRE(mine.size() == wanted.values.size());
        // the bias before a batch norm has no gradient but its rounding, which adam scales up
        const std::size_t free_bias = inputs * hidden;
        for (std::size_t i = 0; i < mine.size(); ++i)
            if (i < free_bias || i >= free_bias + hidden) {
                INFO("number " << i);
                const bool mean = i >= mine.size() - 2 * hidden && i < mine.size() - hidden;
                CHECK(static_cast<double>(mine[i]) ==
                      Approx(wanted.values[i]).margin(mean ? 0.1 : 2e-4));
            }
    }
}
