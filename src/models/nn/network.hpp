#pragma once
// A network: layers one after another, with all that training moves and remembers.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/errc.hpp"
#include "models/nn/layers.hpp"

namespace vflbus::models::nn {

/// Layers one after another, each on what the one before it made.
class Chain final : public Layer {
  public:
    void add(std::unique_ptr<Layer> layer) { layers_.push_back(std::move(layer)); }
    void forward(const Records& in, Records& out, const Pass& pass) override;
    void backward(const Records& by_out, Records* by_in) override;
    void infer(const Records& in, Records& out) const override;
    void parameters(std::vector<Parameter*>& all) override;
    void memories(std::vector<Memory*>& all) override;
    std::size_t width_of(std::size_t width) const override;

  private:
    std::vector<std::unique_ptr<Layer>> layers_;
    std::vector<Records> between_;  ///< what layer i made, but for the last one
    Records gradient_[2];
};

/// x + f(x), where f keeps the width.
class Residual final : public Layer {
  public:
    explicit Residual(Chain inner) : inner_(std::move(inner)) {}
    void forward(const Records& in, Records& out, const Pass& pass) override;
    void backward(const Records& by_out, Records* by_in) override;
    void infer(const Records& in, Records& out) const override;
    void parameters(std::vector<Parameter*>& all) override { inner_.parameters(all); }
    void memories(std::vector<Memory*>& all) override { inner_.memories(all); }

  private:
    Chain inner_;
};

enum class Norm : std::uint8_t { none, batch, layer };
enum class Body : std::uint8_t {
    mlp,     ///< dense layers, each with norm, activation and dropout behind it
    resnet,  ///< residual blocks (Gorishniy et al. 2021), then norm, activation and a dense layer
    efficientnet,  ///< convolutions for pictures (Tan and Le 2019), dropout and a dense layer
};

struct Grid {
    std::size_t rows = 0;
    std::size_t columns = 0;
    [[nodiscard]] std::size_t pixels() const noexcept { return rows * columns; }
};

/// What a record holds: pixels row by row, the channels of each side by side.
struct ImageShape {
    std::size_t rows = 0;
    std::size_t columns = 0;
    std::size_t channels = 1;
    [[nodiscard]] Grid grid() const noexcept { return {rows, columns}; }
    [[nodiscard]] std::size_t size() const noexcept { return rows * columns * channels; }
};

struct NetworkShape {
    Body body = Body::mlp;
    std::size_t inputs = 0;
    /// mlp: of the layers. resnet: one number, the width of the blocks. efficientnet: one number,
    /// the channels of the last convolution.
    std::vector<std::size_t> hidden;
    /// Of a last dense layer without an activation; 0: there is none.
    std::size_t outputs = 0;
    /// Inputs are products of a dense layer at another place: the parties' bottom networks. Its
    /// bias (but not with batch normalisation, which has one), norm, activation and dropout come
    /// first here, before the first dense layer of this network. Of mlp.
    bool goes_on = false;
    Activation activation = Activation::relu;
    Norm norm = Norm::none;
    double dropout = 0;
    // -- resnet ----
    std::size_t blocks = 0;
    double hidden_factor = 2;     ///< of the width within a block
    double residual_dropout = 0;  ///< of what a block adds
    // -- efficientnet ----
    ImageShape image;
    double width_factor = 1;  ///< of the channels
    double depth_factor = 1;  ///< of the blocks of each stage
    std::size_t shift = 0;    ///< pixels by which a step of the training moves a picture at most
    double stochastic_depth =
        0;  ///< how often a step skips the last block; earlier ones less often
};

/// The layer that `norm` means, if any.
void add_norm(Chain& chain, Norm norm, std::size_t width);

class Network {
  public:
    /// The same shape and seed make the same weights.
    Network(const NetworkShape& shape, std::uint64_t seed);

    // -- training ----------------------------------------------------------------------
    /// Valid until the next call; `in` stays unchanged until `backward`.
    const Records& forward(const Records& in, const Pass& pass);
    void backward(const Records& by_out, Records* by_in);
    /// The last layer's bias, `outputs` numbers: where predictions begin.
    void start_at(std::span<const double> bias);

    // -- prediction ---------------------------------------------------------------------
    void infer(const Records& in, Records& out) const;

    // -- properties ---------------------------------------------------------------------
    [[nodiscard]] std::size_t inputs() const noexcept { return inputs_; }
    [[nodiscard]] std::size_t outputs() const noexcept { return outputs_; }
    [[nodiscard]] const std::vector<Parameter*>& parameters() const noexcept { return parameters_; }

    // -- commits and parts ---------------------------------------------------------------
    /// All parameters, then all running means, without padding, in the order of the layers.
    [[nodiscard]] std::vector<float> values() const;
    [[nodiscard]] std::size_t size() const noexcept;
    /// bad_data when the number of values is another one, or one is not finite.
    Result<> set_values(std::span<const float> values);

  private:
    std::size_t inputs_;
    std::size_t outputs_;
    std::size_t infer_at_once_ = 0;  ///< records; 0: any number
    Chain chain_;
    Parameter* last_bias_ = nullptr;
    std::vector<Parameter*> parameters_;
    std::vector<Memory*> memories_;
    Records out_;
};

}  // namespace vflbus::models::nn
