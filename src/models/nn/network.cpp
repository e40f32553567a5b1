#include "models/nn/network.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/assert.hpp"
#include "base/rng.hpp"
#include "models/nn/convolution.hpp"

namespace vflbus::models::nn {

// -- Chain -------------------------------------------------------------------------------

void Chain::forward(const Records& in, Records& out, const Pass& pass) {
    if (layers_.empty()) {
        out = in;
        return;
    }
    between_.resize(layers_.size() - 1);
    for (std::size_t i = 0; i < layers_.size(); ++i)
        layers_[i]->forward(i == 0 ? in : between_[i - 1],
                            i + 1 == layers_.size() ? out : between_[i], pass);
}

void Chain::backward(const Records& by_out, Records* by_in) {
    const Records* from = &by_out;
    for (std::size_t i = layers_.size(); i-- > 0;) {
        Records* const to = i == 0 ? by_in : &gradient_[i % 2];
        layers_[i]->backward(*from, to);
        from = to;
    }
    if (layers_.empty() && by_in != nullptr) *by_in = by_out;
}

void Chain::infer(const Records& in, Records& out) const {
    if (layers_.empty()) {
        out = in;
        return;
    }
    Records between[2];
    for (std::size_t i = 0; i < layers_.size(); ++i)
        layers_[i]->infer(i == 0 ? in : between[(i - 1) % 2],
                          i + 1 == layers_.size() ? out : between[i % 2]);
}

void Chain::parameters(std::vector<Parameter*>& all) {
    for (const auto& layer : layers_) layer->parameters(all);
}

void Chain::memories(std::vector<Memory*>& all) {
    for (const auto& layer : layers_) layer->memories(all);
}

std::size_t Chain::width_of(std::size_t width) const {
    for (const auto& layer : layers_) width = layer->width_of(width);
    return width;
}

// -- Residual ----------------------------------------------------------------------------

void Residual::forward(const Records& in, Records& out, const Pass& pass) {
    inner_.forward(in, out, pass);
    add(in, out);
}

void Residual::backward(const Records& by_out, Records* by_in) {
    inner_.backward(by_out, by_in);
    if (by_in != nullptr) add(by_out, *by_in);
}

void Residual::infer(const Records& in, Records& out) const {
    inner_.infer(in, out);
    add(in, out);
}

// -- Network -----------------------------------------------------------------------------

void add_norm(Chain& chain, Norm norm, std::size_t width) {
    if (norm == Norm::batch) chain.add(std::make_unique<BatchNorm>(width));
    if (norm == Norm::layer) chain.add(std::make_unique<LayerNorm>(width));
}

namespace {

/// Pictures grow a hundredfold on their way through the layers.
constexpr std::size_t pictures_at_once = 32;

/// Makes the layers of a shape, each with a seed of its own.
class Builder {
  public:
    Builder(const NetworkShape& shape, std::uint64_t seed) : shape_(&shape), seed_(seed) {}

    std::unique_ptr<Dense> dense(std::size_t inputs, std::size_t outputs) {
        return std::make_unique<Dense>(inputs, outputs, mix_seed(seed_, ++place_));
    }
    void norm(Chain& chain, std::size_t width) const { add_norm(chain, shape_->norm, width); }
    void activation(Chain& chain) const {
        chain.add(std::make_unique<ActivationLayer>(shape_->activation));
    }
    void dropout(Chain& chain, double rate) {
        if (rate > 0) chain.add(std::make_unique<Dropout>(rate, ++place_));
    }
    Chain block(std::size_t width) {
        const auto within = std::max<std::size_t>(
            1, static_cast<std::size_t>(static_cast<double>(width) * shape_->hidden_factor));
        Chain chain;
        norm(chain, width);
        chain.add(dense(width, within));
        activation(chain);
        dropout(chain, shape_->dropout);
        chain.add(dense(within, width));
        dropout(chain, shape_->residual_dropout);
        return chain;
    }

    /// All but the last dense layer; returns how many numbers of a record leave it.
    std::size_t body(Chain& chain) {
        if (shape_->body == Body::efficientnet) {
            VFLBUS_ASSERT(shape_->image.size() == shape_->inputs && shape_->hidden.size() == 1,
                          "a network for pictures gets records that are pictures");
            add_efficientnet(chain, *shape_, seed_, place_);
            dropout(chain, shape_->dropout);
            return shape_->hidden.front();
        }
        std::size_t width = shape_->inputs;
        if (shape_->goes_on) {
            if (shape_->norm != Norm::batch) chain.add(std::make_unique<Bias>(width));
            norm(chain, width);
            activation(chain);
            dropout(chain, shape_->dropout);
        }
        for (const std::size_t next : shape_->hidden) {
            chain.add(dense(width, next));
            width = next;
            if (shape_->body == Body::resnet) continue;
            norm(chain, width);
            activation(chain);
            dropout(chain, shape_->dropout);
        }
        if (shape_->body != Body::resnet) return width;
        for (std::size_t i = 0; i < shape_->blocks; ++i)
            chain.add(std::make_unique<Residual>(block(width)));
        norm(chain, width);
        activation(chain);
        return width;
    }

  private:
    const NetworkShape* shape_;
    std::uint64_t seed_;
    std::uint64_t place_ = 0;
};

}  // namespace

Network::Network(const NetworkShape& shape, std::uint64_t seed) : inputs_(shape.inputs) {
    Builder builder(shape, seed);
    std::size_t width = builder.body(chain_);
    if (shape.body == Body::efficientnet) infer_at_once_ = pictures_at_once;
    if (shape.outputs != 0) {
        auto last = builder.dense(width, shape.outputs);
        last_bias_ = &last->bias();
        chain_.add(std::move(last));
        width = shape.outputs;
    }
    outputs_ = width;
    chain_.parameters(parameters_);
    chain_.memories(memories_);
}

const Records& Network::forward(const Records& in, const Pass& pass) {
    chain_.forward(in, out_, pass);
    return out_;
}

void Network::backward(const Records& by_out, Records* by_in) {
    chain_.backward(by_out, by_in);
}

void Network::infer(const Records& in, Records& out) const {
    if (infer_at_once_ == 0 || in.count() <= infer_at_once_) return chain_.infer(in, out);
    out.resize(outputs_, in.count());
    Records some;
    Records made;
    for (std::size_t first = 0; first < in.count(); first += infer_at_once_) {
        some.resize_uninitialized(in.width(), std::min(infer_at_once_, in.count() - first));
        std::copy_n(in.record(first), some.all().size(), some.all().data());
        chain_.infer(some, made);
        std::copy_n(made.all().data(), made.all().size(), out.record(first));
    }
}

void Network::start_at(std::span<const double> bias) {
    VFLBUS_ASSERT(last_bias_ != nullptr && bias.size() <= last_bias_->width,
                  "a network that begins at predictions ends with a dense layer");
    for (std::size_t i = 0; i < bias.size(); ++i)
        last_bias_->value[i] = static_cast<float>(bias[i]);
}

std::size_t Network::size() const noexcept {
    std::size_t size = 0;
    for (const Parameter* parameter : parameters_) size += parameter->width * parameter->columns;
    for (const Memory* memory : memories_) size += memory->width;
    return size;
}

std::vector<float> Network::values() const {
    std::vector<float> out;
    out.reserve(size());
    for (const Parameter* parameter : parameters_)
        append_unpadded(*parameter, parameter->value, out);
    for (const Memory* memory : memories_)
        out.insert(out.end(), memory->value.data(), memory->value.data() + memory->width);
    return out;
}

Result<> Network::set_values(std::span<const float> values) {
    if (values.size() != size())
        return fail(Errc::bad_data, "a network of " + std::to_string(size()) + " numbers got " +
                                        std::to_string(values.size()) +
                                        "; they belong to another configuration");
    if (!all_finite(values)) return fail(Errc::bad_data, "a number of a network is not finite");
    const float* from = values.data();
    for (Parameter* parameter : parameters_)
        from = take_unpadded(from, *parameter, parameter->value);
    for (Memory* memory : memories_) {
        std::copy_n(from, memory->width, memory->value.data());
        from += memory->width;
    }
    return {};
}

}  // namespace vflbus::models::nn
