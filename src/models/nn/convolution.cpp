#include "models/nn/convolution.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/assert.hpp"
#include "base/rng.hpp"
#include "models/kernel_table.hpp"

namespace vflbus::models::nn {
namespace {

/// to = to + from, element by element.
void add_floats(const float* from, std::size_t n, float* to) {
    for (std::size_t i = 0; i < n; ++i) to[i] += from[i];
}

/// The logistic function of each number, in double precision.
void squash(Records& gates) {
    std::vector<double> work(gates.all().begin(), gates.all().end());
    kernels().sigmoid(work.data(), work.data(), work.size());
    for (std::size_t i = 0; i < work.size(); ++i) gates.all()[i] = static_cast<float>(work[i]);
}

}  // namespace

Grid grid_after(Grid in, std::size_t step) {
    return {(in.rows + step - 1) / step, (in.columns + step - 1) / step};
}

// -- Shift -------------------------------------------------------------------------------

template <class Each>
void Shift::go_through(Move move, const Each& each) const {
    const auto moved = [this](std::size_t at, std::size_t by, std::size_t side) {
        return std::min(std::max(at + by, most_) - most_, side - 1);
    };
    for (std::size_t r = 0; r < grid_.rows; ++r)
        for (std::size_t c = 0; c < grid_.columns; ++c) {
            const std::size_t from = moved(r, move.down, grid_.rows) * grid_.columns +
                                     moved(c, move.right, grid_.columns);
            for (std::size_t k = 0; k < channels_; ++k)
                each((r * grid_.columns + c) * channels_ + k, from * channels_ + k);
        }
}

void Shift::forward(const Records& in, Records& out, const Pass& pass) {
    Rng rng(mix_seed(pass.seed, place_));
    moves_.resize(in.count());
    out.resize(in.width(), in.count());
    for (std::size_t i = 0; i < in.count(); ++i) {
        moves_[i].down = rng.below(2 * most_ + 1);
        moves_[i].right = rng.below(2 * most_ + 1);
        const float* const from = in.record(i);
        float* const to = out.record(i);
        go_through(moves_[i], [&](std::size_t here, std::size_t there) { to[here] = from[there]; });
    }
}

void Shift::backward(const Records& by_out, Records* by_in) {
    if (by_in == nullptr) return;
    by_in->resize(by_out.width(), by_out.count());
    for (std::size_t i = 0; i < by_out.count(); ++i) {
        const float* const from = by_out.record(i);
        float* const to = by_in->record(i);
        go_through(moves_[i],
                   [&](std::size_t here, std::size_t there) { to[there] += from[here]; });
    }
}

// -- Windows -----------------------------------------------------------------------------

Windows::Windows(Grid grid, std::size_t channels, std::size_t size, std::size_t step)
    : grid_(grid), out_(grid_after(grid, step)), channels_(channels), size_(size), step_(step) {}

template <class Each>
void Windows::at(std::size_t row, std::size_t column, const Each& each) const {
    const std::size_t border = size_ / 2;
    for (std::size_t y = 0; y < size_; ++y)
        for (std::size_t x = 0; x < size_; ++x) {
            const std::size_t r = row * step_ + y;
            const std::size_t c = column * step_ + x;
            if (r < border || c < border || r >= grid_.rows + border || c >= grid_.columns + border)
                continue;
            const std::size_t pixel = (r - border) * grid_.columns + (c - border);
            for (std::size_t k = 0; k < channels_; ++k)
                each(pixel * channels_ + k, (y * size_ + x) * channels_ + k);
        }
}

void Windows::infer(const Records& in, Records& out) const {
    VFLBUS_ASSERT(in.width() == grid_.pixels() * channels_, "a record holds a whole picture");
    out.resize(width_of(in.width()), in.count() * out_.pixels());
    for (std::size_t i = 0; i < in.count(); ++i)
        for (std::size_t r = 0; r < out_.rows; ++r)
            for (std::size_t c = 0; c < out_.columns; ++c) {
                const float* const from = in.record(i);
                float* const to = out.record(i * out_.pixels() + r * out_.columns + c);
                at(r, c, [&](std::size_t pixel, std::size_t window) { to[window] = from[pixel]; });
            }
}

void Windows::backward(const Records& by_out, Records* by_in) {
    if (by_in == nullptr) return;
    by_in->resize(grid_.pixels() * channels_, by_out.count() / out_.pixels());
    for (std::size_t i = 0; i < by_in->count(); ++i)
        for (std::size_t r = 0; r < out_.rows; ++r)
            for (std::size_t c = 0; c < out_.columns; ++c) {
                const float* const from = by_out.record(i * out_.pixels() + r * out_.columns + c);
                float* const to = by_in->record(i);
                at(r, c, [&](std::size_t pixel, std::size_t window) { to[pixel] += from[window]; });
            }
}

// -- Depthwise ---------------------------------------------------------------------------

Depthwise::Depthwise(Grid grid, std::size_t channels, std::size_t size, std::size_t step,
                     std::uint64_t seed)
    : grid_(grid),
      out_(grid_after(grid, step)),
      size_(size),
      step_(step),
      taps_(channels, size * size, true) {
    VFLBUS_ASSERT(size == 3 || size == 5, "the kernels know windows of 3 and of 5 pixels");
    Rng rng(seed);
    const double bound = std::sqrt(6.0 / static_cast<double>(size * size));
    for (std::size_t tap = 0; tap < taps_.columns; ++tap)
        for (std::size_t c = 0; c < channels; ++c)
            taps_.value[tap * padded(channels) + c] =
                static_cast<float>((2 * rng.uniform() - 1) * bound);
}

std::size_t Depthwise::bordered_size() const {
    return (grid_.rows + size_ - 1) * (grid_.columns + size_ - 1) * padded(taps_.width);
}

void Depthwise::put_border(const Records& in, std::size_t index, FloatArray& bordered) const {
    const std::size_t line = grid_.columns * in.stride();
    const std::size_t bordered_line = (grid_.columns + size_ - 1) * in.stride();
    const float* from = in.record(index * grid_.pixels());
    float* to = bordered.data() + size_ / 2 * (bordered_line + in.stride());
    for (std::size_t r = 0; r < grid_.rows; ++r, from += line, to += bordered_line)
        std::copy_n(from, line, to);
}

namespace {

FloatDepthwise picture_of(Grid in, Grid out, std::size_t width, std::size_t size,
                          std::size_t step) {
    FloatDepthwise picture;
    picture.width = padded(width);
    picture.size = size;
    picture.step = step;
    picture.rows = out.rows;
    picture.columns = out.columns;
    picture.in_columns = in.columns + size - 1;
    return picture;
}

}  // namespace

void Depthwise::forward(const Records& in, Records& out, const Pass&) {
    in_ = &in;
    infer(in, out);
}

void Depthwise::infer(const Records& in, Records& out) const {
    const std::size_t count = in.count() / grid_.pixels();
    out.resize_uninitialized(in.width(), count * out_.pixels());
    FloatArray bordered(bordered_size());
    FloatDepthwise picture = picture_of(grid_, out_, taps_.width, size_, step_);
    picture.in = bordered.data();
    picture.taps = taps_.value.data();
    for (std::size_t i = 0; i < count; ++i) {
        put_border(in, i, bordered);
        picture.out = out.record(i * out_.pixels());
        kernels().float_depthwise(picture);
    }
}

void Depthwise::backward(const Records& by_out, Records* by_in) {
    const Records& in = *in_;
    const std::size_t count = in.count() / grid_.pixels();
    taps_.gradient.resize(taps_.value.size());
    bordered_.resize(bordered_size());
    if (by_in != nullptr) by_in->resize_uninitialized(in.width(), in.count());
    FloatDepthwise picture = picture_of(grid_, out_, taps_.width, size_, step_);
    picture.taps = taps_.value.data();
    picture.by_taps = taps_.gradient.data();
    picture.in = bordered_.data();
    const std::size_t line = grid_.columns * in.stride();
    const std::size_t bordered_line = (grid_.columns + size_ - 1) * in.stride();
    for (std::size_t i = 0; i < count; ++i) {
        picture.by_out = by_out.record(i * out_.pixels());
        put_border(in, i, bordered_);
        kernels().float_depthwise_by_taps(picture);
        if (by_in == nullptr) continue;
        by_bordered_.resize(bordered_size());
        picture.by_in = by_bordered_.data();
        kernels().float_depthwise_by_in(picture);
        const float* from = by_bordered_.data() + size_ / 2 * (bordered_line + in.stride());
        float* to = by_in->record(i * grid_.pixels());
        for (std::size_t r = 0; r < grid_.rows; ++r, from += bordered_line, to += line)
            std::copy_n(from, line, to);
    }
}

// -- PixelMean ---------------------------------------------------------------------------

void PixelMean::infer(const Records& in, Records& out) const {
    out.resize(in.width(), in.count() / pixels_);
    const float share = 1 / static_cast<float>(pixels_);
    for (std::size_t i = 0; i < out.count(); ++i) {
        float* const to = out.record(i);
        for (std::size_t p = 0; p < pixels_; ++p)
            add_floats(in.record(i * pixels_ + p), in.stride(), to);
        for (std::size_t j = 0; j < in.stride(); ++j) to[j] *= share;
    }
}

void PixelMean::backward(const Records& by_out, Records* by_in) {
    if (by_in == nullptr) return;
    by_in->resize_uninitialized(by_out.width(), by_out.count() * pixels_);
    const float share = 1 / static_cast<float>(pixels_);
    for (std::size_t i = 0; i < by_in->count(); ++i) {
        const float* const from = by_out.record(i / pixels_);
        float* const to = by_in->record(i);
        for (std::size_t j = 0; j < by_out.stride(); ++j) to[j] = from[j] * share;
    }
}

// -- SqueezeExcite -----------------------------------------------------------------------

SqueezeExcite::SqueezeExcite(Grid grid, std::size_t channels, std::size_t squeezed,
                             std::uint64_t seed)
    : pixels_(grid.pixels()) {
    gates_.add(std::make_unique<PixelMean>(grid));
    gates_.add(std::make_unique<Dense>(channels, squeezed, mix_seed(seed, 1)));
    gates_.add(std::make_unique<ActivationLayer>(Activation::silu));
    gates_.add(std::make_unique<Dense>(squeezed, channels, mix_seed(seed, 2)));
}

void SqueezeExcite::open(const Records& in, const Records& gate, Records& out) const {
    out.resize_uninitialized(in.width(), in.count());
    for (std::size_t i = 0; i < in.count(); ++i) {
        const float* const from = in.record(i);
        const float* const factor = gate.record(i / pixels_);
        float* const to = out.record(i);
        for (std::size_t j = 0; j < in.stride(); ++j) to[j] = from[j] * factor[j];
    }
}

void SqueezeExcite::forward(const Records& in, Records& out, const Pass& pass) {
    in_ = &in;
    gates_.forward(in, gate_, pass);
    squash(gate_);
    open(in, gate_, out);
}

void SqueezeExcite::infer(const Records& in, Records& out) const {
    Records gate;
    gates_.infer(in, gate);
    squash(gate);
    open(in, gate, out);
}

void SqueezeExcite::backward(const Records& by_out, Records* by_in) {
    const Records& in = *in_;
    by_gate_.resize(in.width(), gate_.count());
    for (std::size_t i = 0; i < in.count(); ++i) {
        const float* const x = in.record(i);
        const float* const g = by_out.record(i);
        float* const to = by_gate_.record(i / pixels_);
        for (std::size_t j = 0; j < in.stride(); ++j) to[j] += x[j] * g[j];
    }
    const auto gate = gate_.all();
    for (std::size_t i = 0; i < gate.size(); ++i) by_gate_.all()[i] *= gate[i] * (1 - gate[i]);
    gates_.backward(by_gate_, by_in == nullptr ? nullptr : &by_mean_);
    if (by_in == nullptr) return;
    open(by_out, gate_, *by_in);
    add(by_mean_, *by_in);
}

// -- StochasticDepth ---------------------------------------------------------------------

void StochasticDepth::scale(const Records& from, Records& to) const {
    to.resize_uninitialized(from.width(), from.count());
    for (std::size_t i = 0; i < from.count(); ++i) {
        const float factor = factors_[i / pixels_];
        for (std::size_t j = 0; j < from.stride(); ++j)
            to.record(i)[j] = from.record(i)[j] * factor;
    }
}

void StochasticDepth::forward(const Records& in, Records& out, const Pass& pass) {
    Rng rng(mix_seed(pass.seed, place_));
    factors_.resize(in.count() / pixels_);
    for (float& factor : factors_)
        factor = rng.uniform() < rate_ ? 0.0F : static_cast<float>(1 / (1 - rate_));
    scale(in, out);
}

void StochasticDepth::backward(const Records& by_out, Records* by_in) {
    if (by_in != nullptr) scale(by_out, *by_in);
}

// -- the network -------------------------------------------------------------------------

namespace {

/// Blocks of the same kind one after another; the first one moves by `step`.
struct Stage {
    std::size_t expansion;
    std::size_t size;
    std::size_t step;
    std::size_t channels;
    std::size_t blocks;
};
// EfficientNet-B0's first three stages with its windows and channels. Its pictures have 224 pixels
// a side, and are halved in the stem and in the second and third stage; these have some 30, and
// learn better when they are halved in the first and third.
constexpr Stage stages[] = {{1, 3, 2, 16, 1}, {4, 3, 1, 24, 2}, {4, 5, 2, 40, 2}};
constexpr std::size_t stem_channels = 16;

/// As in Tan and Le's program: a multiple of 8 that is not more than a tenth below.
std::size_t scaled_channels(std::size_t channels, double factor) {
    const double wanted = static_cast<double>(channels) * factor;
    const auto near = std::max<std::size_t>(8, static_cast<std::size_t>(wanted + 4) / 8 * 8);
    return static_cast<double>(near) < 0.9 * wanted ? near + 8 : near;
}

class Efficient {
  public:
    Efficient(Chain& chain, const NetworkShape& shape, std::uint64_t seed, std::uint64_t& place)
        : chain_(&chain), shape_(&shape), seed_(seed), place_(&place) {}

    void build() {
        Grid grid = shape_->image.grid();
        std::size_t channels = scaled_channels(stem_channels, shape_->width_factor);
        // larger pictures lose half of their pixels at once
        const std::size_t step = std::min(grid.rows, grid.columns) > 32 ? 2 : 1;
        if (shape_->shift > 0)
            chain_->add(
                std::make_unique<Shift>(grid, shape_->image.channels, shape_->shift, ++*place_));
        chain_->add(std::make_unique<Windows>(grid, shape_->image.channels, 3, step));
        convolve(*chain_, 9 * shape_->image.channels, channels);
        activate(*chain_);
        grid = grid_after(grid, step);
        std::size_t done = 0;
        for (const Stage& stage : stages)
            for (std::size_t b = 0; b < blocks_of(stage); ++b, ++done) {
                Stage block = stage;
                block.channels = scaled_channels(stage.channels, shape_->width_factor);
                if (b > 0) block.step = 1;
                // the later a block, the more often it is skipped
                add_block(block, grid, channels,
                          shape_->stochastic_depth * static_cast<double>(done) / all_blocks());
                grid = grid_after(grid, block.step);
                channels = block.channels;
            }
        convolve(*chain_, channels, shape_->hidden.front());
        activate(*chain_);
        chain_->add(std::make_unique<PixelMean>(grid));
    }

  private:
    [[nodiscard]] std::size_t blocks_of(const Stage& stage) const {
        return static_cast<std::size_t>(
            std::ceil(static_cast<double>(stage.blocks) * shape_->depth_factor));
    }
    [[nodiscard]] double all_blocks() const {
        std::size_t sum = 0;
        for (const Stage& stage : stages) sum += blocks_of(stage);
        return static_cast<double>(sum);
    }
    std::uint64_t next_seed() { return mix_seed(seed_, ++*place_); }
    void normalise(Chain& chain, std::size_t channels) const {
        add_norm(chain, shape_->norm, channels);
    }
    void activate(Chain& chain) const {
        chain.add(std::make_unique<ActivationLayer>(shape_->activation));
    }
    /// 1 x 1, with what follows every convolution.
    void convolve(Chain& chain, std::size_t inputs, std::size_t outputs) {
        chain.add(std::make_unique<Dense>(inputs, outputs, next_seed()));
        normalise(chain, outputs);
    }
    /// MBConv (Sandler et al. 2018, Tan and Le 2019): wider, each channel by itself, squeeze and
    /// excitation, narrower; added to what came in where the shapes are the same.
    void add_block(const Stage& block, Grid grid, std::size_t inputs, double skipped) {
        Chain inner;
        const std::size_t wide = inputs * block.expansion;
        if (block.expansion > 1) {
            convolve(inner, inputs, wide);
            activate(inner);
        }
        inner.add(std::make_unique<Depthwise>(grid, wide, block.size, block.step, next_seed()));
        normalise(inner, wide);
        activate(inner);
        const Grid after = grid_after(grid, block.step);
        inner.add(std::make_unique<SqueezeExcite>(after, wide, std::max<std::size_t>(1, inputs / 4),
                                                  next_seed()));
        convolve(inner, wide, block.channels);
        const bool residual = block.step == 1 && inputs == block.channels;
        if (residual && skipped > 0)
            inner.add(std::make_unique<StochasticDepth>(after, skipped, ++*place_));
        if (residual)
            chain_->add(std::make_unique<Residual>(std::move(inner)));
        else
            chain_->add(std::make_unique<Chain>(std::move(inner)));
    }

    Chain* chain_;
    const NetworkShape* shape_;
    std::uint64_t seed_;
    std::uint64_t* place_;
};

}  // namespace

void add_efficientnet(Chain& chain, const NetworkShape& shape, std::uint64_t seed,
                      std::uint64_t& place) {
    Efficient(chain, shape, seed, place).build();
}

}  // namespace vflbus::models::nn
