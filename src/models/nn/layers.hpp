#pragma once
// The layers of a network. Each does three things: `forward` on a batch of a training, which
// remembers what `backward` needs; `backward`, from the gradient of the loss by what left the layer
// to that by what entered it and by its own parameters; `infer` for predictions, which changes
// nothing and drops nothing out.
//
// Sums run in a fixed order, and products are those of models/kernel_table.hpp, so results depend
// on the numbers alone and not on the machine. Every layer's gradient is compared with finite
// differences, its forward pass with values that PyTorch made (tests/unit/models/nn).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "models/nn/records.hpp"

namespace vflbus::models::nn {

/// Numbers that training moves. `columns` runs of `width` numbers, each padded with zeros.
struct Parameter {
    std::size_t width = 0;
    std::size_t columns = 0;
    bool decays = false;  ///< weight decay is for it: the matrix of a layer, no bias, no norm
    FloatArray value;
    FloatArray gradient;

    Parameter(std::size_t width, std::size_t columns, bool decays);
};

/// Appends the numbers of `values`, which lie as those of the parameter do, without the padding.
/// None where the array is empty.
void append_unpadded(const Parameter& shape, const FloatArray& values, std::vector<float>& out);
/// The opposite: takes them from `from` on, and returns where it stopped.
const float* take_unpadded(const float* from, const Parameter& shape, FloatArray& values);

/// Numbers that training remembers beside its parameters: running means, padded with zeros.
struct Memory {
    std::size_t width = 0;
    FloatArray value;
};

/// What the random choices of one training step are made of.
struct Pass {
    std::uint64_t seed = 0;  ///< of the run, the party and the step
};

class Layer {
  public:
    virtual ~Layer() = default;
    /// `in` stays unchanged until `backward`.
    virtual void forward(const Records& in, Records& out, const Pass& pass) = 0;
    /// After `forward` of the same batch. `by_in` is null where nobody needs it. Gradients of
    /// parameters are written, not added to.
    virtual void backward(const Records& by_out, Records* by_in) = 0;
    virtual void infer(const Records& in, Records& out) const = 0;
    /// Appends what training moves.
    virtual void parameters(std::vector<Parameter*>&) {}
    /// Appends what training remembers beside that: running means.
    virtual void memories(std::vector<Memory*>&) {}
    /// Numbers of a record that leaves the layer, where `width` come in.
    [[nodiscard]] virtual std::size_t width_of(std::size_t width) const { return width; }
};

// -- W x + b -----------------------------------------------------------------------------

class Dense final : public Layer {
  public:
    /// W is drawn uniformly from +-sqrt(6 / inputs) (He et al. 2015), b is zero.
    Dense(std::size_t inputs, std::size_t outputs, std::uint64_t seed);
    void forward(const Records& in, Records& out, const Pass& pass) override;
    void backward(const Records& by_out, Records* by_in) override;
    void infer(const Records& in, Records& out) const override;
    void parameters(std::vector<Parameter*>& all) override;
    std::size_t width_of(std::size_t) const override { return bias_.width; }
    [[nodiscard]] Parameter& bias() noexcept { return bias_; }

  private:
    Parameter weights_;  ///< one column of `outputs` numbers for each input
    Parameter bias_;
    FloatArray turned_;  ///< the weights, one column of `inputs` numbers for each output
    const Records* in_ = nullptr;
};

/// x + b, where b begins as zero.
class Bias final : public Layer {
  public:
    explicit Bias(std::size_t width);
    void forward(const Records& in, Records& out, const Pass& pass) override;
    void backward(const Records& by_out, Records* by_in) override;
    void infer(const Records& in, Records& out) const override;
    void parameters(std::vector<Parameter*>& all) override;

  private:
    Parameter bias_;
};

// -- element by element ------------------------------------------------------------------

/// Layers whose output depends on the element in the same place alone: `backward` multiplies by
/// the slopes that `forward` found.
class ElementLayer : public Layer {
  public:
    void backward(const Records& by_out, Records* by_in) override;

  protected:
    Records slope_;
};

enum class Activation : std::uint8_t { relu, gelu, silu };

/// relu: max(x, 0). silu: x s(x) with s the logistic function. gelu: its usual approximation
/// x s(2 sqrt(2 / pi) (x + 0.044715 x^3)) (Hendrycks and Gimpel 2016).
class ActivationLayer final : public ElementLayer {
  public:
    explicit ActivationLayer(Activation kind) : kind_(kind) {}
    void forward(const Records& in, Records& out, const Pass& pass) override;
    void infer(const Records& in, Records& out) const override;

  private:
    Activation kind_;
};

/// Each number becomes 0 with probability `rate`, and is divided by 1 - rate otherwise.
class Dropout final : public ElementLayer {
  public:
    /// `place` tells the layers of one network apart.
    Dropout(double rate, std::uint64_t place) : rate_(rate), place_(place) {}
    void forward(const Records& in, Records& out, const Pass& pass) override;
    void infer(const Records& in, Records& out) const override { out = in; }

  private:
    double rate_;
    std::uint64_t place_;
};

// -- normalisation -----------------------------------------------------------------------

/// Over the records of a batch, each number by itself (Ioffe and Szegedy 2015); predictions take
/// means and variances that training has averaged, of which each batch makes a tenth.
class BatchNorm final : public Layer {
  public:
    explicit BatchNorm(std::size_t width);
    void forward(const Records& in, Records& out, const Pass& pass) override;
    void backward(const Records& by_out, Records* by_in) override;
    void infer(const Records& in, Records& out) const override;
    void parameters(std::vector<Parameter*>& all) override;
    void memories(std::vector<Memory*>& all) override;

  private:
    Parameter gain_;
    Parameter shift_;
    Memory mean_;
    Memory variance_;
    Records normal_;
    FloatArray batch_mean_;
    FloatArray batch_variance_;
    FloatArray inverse_;
};

/// Over the numbers of a record (Ba et al. 2016).
class LayerNorm final : public Layer {
  public:
    explicit LayerNorm(std::size_t width);
    void forward(const Records& in, Records& out, const Pass& pass) override;
    void backward(const Records& by_out, Records* by_in) override;
    void infer(const Records& in, Records& out) const override;
    void parameters(std::vector<Parameter*>& all) override;

  private:
    void normalise(const float* in, float* normal, float& inverse) const;

    Parameter gain_;
    Parameter shift_;
    Records normal_;
    std::vector<float> inverse_;
};

}  // namespace vflbus::models::nn
