#pragma once
// The layers of a convolutional network for pictures.
//
// A record holds one picture: row by row, the channels of a pixel side by side. Between the first
// convolution and the mean over all pixels, a record is one pixel with its channels: a picture of
// 7 x 7 pixels is 49 records one after another. So a convolution of 1 x 1 is a dense layer, and
// batch normalisation of a channel, activations and the rest are the layers of layers.hpp.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "models/nn/layers.hpp"
#include "models/nn/network.hpp"

namespace vflbus::models::nn {

/// Pixels of a picture that a window of `size` x `size` pixels, moved by `step`, makes; the picture
/// has a border of size / 2 zeros around it.
Grid grid_after(Grid in, std::size_t step);

/// In a step of the training each picture is moved by up to `most` pixels in each direction, all
/// moves equally often; what comes in from the border is the pixel nearest to it. The label stays,
/// so the network sees more pictures than there are.
class Shift final : public Layer {
  public:
    /// `place` tells the layers of one network apart.
    Shift(Grid grid, std::size_t channels, std::size_t most, std::uint64_t place)
        : grid_(grid), channels_(channels), most_(most), place_(place) {}
    void forward(const Records& in, Records& out, const Pass& pass) override;
    void backward(const Records& by_out, Records* by_in) override;
    void infer(const Records& in, Records& out) const override { out = in; }

  private:
    struct Move {
        std::size_t down = 0;  ///< 0 to 2 most; most: where it was
        std::size_t right = 0;
    };
    /// Calls each(number here, number there) for all numbers of a picture that was moved.
    template <class Each>
    void go_through(Move move, const Each& each) const;

    Grid grid_;
    std::size_t channels_;
    std::size_t most_;
    std::uint64_t place_;
    std::vector<Move> moves_;  ///< of the pictures of a batch
};

/// What the window sees at each place, as one record: row by row, channels side by side. A dense
/// layer behind it makes it a convolution, as PyTorch's Conv2d with padding size / 2.
class Windows final : public Layer {
  public:
    /// Of records that hold a whole picture.
    Windows(Grid grid, std::size_t channels, std::size_t size, std::size_t step);
    void forward(const Records& in, Records& out, const Pass&) override { infer(in, out); }
    void backward(const Records& by_out, Records* by_in) override;
    void infer(const Records& in, Records& out) const override;
    std::size_t width_of(std::size_t) const override { return size_ * size_ * channels_; }

  private:
    /// Calls each(number within the picture, number within the window) for what window (row,
    /// column) sees.
    template <class Each>
    void at(std::size_t row, std::size_t column, const Each& each) const;

    Grid grid_;
    Grid out_;
    std::size_t channels_;
    std::size_t size_;
    std::size_t step_;
};

/// A convolution of every channel by itself, without a bias, as PyTorch's Conv2d with padding
/// size / 2 and as many groups as channels.
class Depthwise final : public Layer {
  public:
    /// `size`: 3 or 5. The taps are drawn uniformly from +-sqrt(6 / size^2).
    Depthwise(Grid grid, std::size_t channels, std::size_t size, std::size_t step,
              std::uint64_t seed);
    void forward(const Records& in, Records& out, const Pass& pass) override;
    void backward(const Records& by_out, Records* by_in) override;
    void infer(const Records& in, Records& out) const override;
    void parameters(std::vector<Parameter*>& all) override { all.push_back(&taps_); }

  private:
    /// Floats of a picture with its border.
    [[nodiscard]] std::size_t bordered_size() const;
    /// Picture `index` of `in` into the middle of `bordered`, whose border is zeros.
    void put_border(const Records& in, std::size_t index, FloatArray& bordered) const;

    Grid grid_;
    Grid out_;
    std::size_t size_;
    std::size_t step_;
    Parameter taps_;  ///< one column of `channels` numbers for each tap
    FloatArray bordered_;
    FloatArray by_bordered_;
    const Records* in_ = nullptr;
};

/// The mean over the pixels of each picture.
class PixelMean final : public Layer {
  public:
    explicit PixelMean(Grid grid) : pixels_(grid.pixels()) {}
    void forward(const Records& in, Records& out, const Pass&) override { infer(in, out); }
    void backward(const Records& by_out, Records* by_in) override;
    void infer(const Records& in, Records& out) const override;

  private:
    std::size_t pixels_;
};

/// Squeeze and excitation (Hu et al. 2018): each channel of a picture is multiplied by
/// s(dense(silu(dense(mean over the pixels)))), with s the logistic function.
class SqueezeExcite final : public Layer {
  public:
    /// `squeezed`: channels between the two dense layers.
    SqueezeExcite(Grid grid, std::size_t channels, std::size_t squeezed, std::uint64_t seed);
    void forward(const Records& in, Records& out, const Pass& pass) override;
    void backward(const Records& by_out, Records* by_in) override;
    void infer(const Records& in, Records& out) const override;
    void parameters(std::vector<Parameter*>& all) override { gates_.parameters(all); }

  private:
    void open(const Records& in, const Records& gate, Records& out) const;

    std::size_t pixels_;
    Chain gates_;
    Records gate_;
    Records by_gate_;
    Records by_mean_;
    const Records* in_ = nullptr;
};

/// Stochastic depth (Huang et al. 2016): in a step of the training each picture becomes zeros with
/// probability `rate`, and is divided by 1 - rate otherwise. Within a residual block it skips the
/// block.
class StochasticDepth final : public Layer {
  public:
    /// `place` tells the layers of one network apart.
    StochasticDepth(Grid grid, double rate, std::uint64_t place)
        : pixels_(grid.pixels()), rate_(rate), place_(place) {}
    void forward(const Records& in, Records& out, const Pass& pass) override;
    void backward(const Records& by_out, Records* by_in) override;
    void infer(const Records& in, Records& out) const override { out = in; }

  private:
    void scale(const Records& from, Records& to) const;

    std::size_t pixels_;
    double rate_;
    std::uint64_t place_;
    std::vector<float> factors_;  ///< of the pictures of a batch
};

/// The layers from the pictures of `shape.image` to records of `shape.hidden[0]` numbers: a stem,
/// blocks of three stages, a last convolution, and the mean over the pixels. `place` counts the
/// layers that have a seed of their own.
void add_efficientnet(Chain& chain, const NetworkShape& shape, std::uint64_t seed,
                      std::uint64_t& place);

}  // namespace vflbus::models::nn
