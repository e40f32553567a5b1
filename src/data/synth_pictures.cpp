#include "data/synth_pictures.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/files.hpp"
#include "base/rng.hpp"

namespace vflbus::data {
namespace {

constexpr std::array<std::string_view, picture_classes_max> shapes = {"cross",   "ring",   "lying",
                                                                      "upright", "square", "slope"};

/// Whether the shape covers a pixel of a square of `side` pixels.
bool covers(std::size_t shape, std::size_t y, std::size_t x, std::size_t side) {
    const std::size_t middle = side / 2;
    switch (shape) {
        case 0:
            return y == middle || x == middle;
        case 1:
            return y == 0 || x == 0 || y + 1 == side || x + 1 == side;
        case 2:
            return y == middle;
        case 3:
            return x == middle;
        case 4:
            return true;
        default:
            return y == x;
    }
}

class Painter {
  public:
    Painter(const SynthOptions& options, ImageShape image) : options_(options), image_(image) {}

    Result<SynthReport> write() {
        std::error_code ec;
        std::filesystem::create_directories(options_.out_dir, ec);
        if (ec)
            return fail(Errc::io, "cannot make " + options_.out_dir.string() + ": " + ec.message());
        report_.id_column = "id";
        report_.labels = {"shape"};
        report_.common = options_.rows;
        report_.parties.resize(options_.members + std::size_t{1});
        for (std::size_t p = 0; p < report_.parties.size(); ++p) {
            SynthParty& party = report_.parties[p];
            party.name = p == 0 ? "labels" : "part_" + std::to_string(p - 1);
            party.rows = options_.rows;
            if (p > 0) {
                party.features = names(p);
                party.image = {image_.height, end(p) - end(p - 1), 1};
            }
            const std::uint64_t others = std::max<std::uint64_t>(1, options_.rows / 5);
            party.data = options_.out_dir / (party.name + ".csv");
            if (auto done = write_set(p, 0, options_.rows, true, party.data); !done)
                return tl::unexpected(std::move(done.error()));
            if (options_.test_files) {
                party.test_data = options_.out_dir / (party.name + "_test.csv");
                if (auto done = write_set(p, options_.rows, others, true, party.test_data); !done)
                    return tl::unexpected(std::move(done.error()));
            }
            if (!options_.predict_files) continue;
            party.predict_data = options_.out_dir / (party.name + "_predict.csv");
            if (auto done = write_set(p, options_.rows + others, others, false, party.predict_data);
                !done)
                return tl::unexpected(std::move(done.error()));
        }
        return std::move(report_);
    }

  private:
    /// The first column of pixels behind the part of member p - 1.
    [[nodiscard]] std::size_t end(std::size_t p) const {
        return image_.width * p / options_.members;
    }
    [[nodiscard]] std::vector<std::string> names(std::size_t p) const {
        std::vector<std::string> out;
        for (std::size_t y = 0; y < image_.height; ++y)
            for (std::size_t x = end(p - 1); x < end(p); ++x)
                out.push_back("p" + std::to_string(y) + "_" + std::to_string(x));
        return out;
    }

    /// The shape of a picture, and its pixels from 0 to 255 unless null.
    std::size_t paint(std::uint64_t picture, std::vector<std::uint8_t>* pixels) const {
        Rng rng(mix_seed(options_.seed, picture));
        const std::size_t shape = rng.below(options_.classes);
        if (pixels == nullptr) return shape;
        const std::size_t smaller = std::min(image_.height, image_.width);
        const std::size_t side = smaller / 3 + rng.below(smaller / 3 + 1);
        const std::size_t top = rng.below(image_.height - side + 1);
        const std::size_t left = rng.below(image_.width - side + 1);
        const std::uint64_t light = 120 + rng.below(100);
        pixels->clear();
        for (std::size_t y = 0; y < image_.height; ++y)
            for (std::size_t x = 0; x < image_.width; ++x) {
                const bool inside = y >= top && x >= left && y < top + side && x < left + side;
                const bool lit = inside && covers(shape, y - top, x - left, side);
                pixels->push_back(
                    static_cast<std::uint8_t>((lit ? light : 0) + rng.below(lit ? 35 : 70)));
            }
        return shape;
    }

    /// Pictures [first, first + count) in an order of the party's own.
    Result<> write_set(std::size_t party, std::uint64_t first, std::uint64_t count,
                       bool with_labels, const std::filesystem::path& path) {
        std::vector<std::uint64_t> order(count);
        for (std::uint64_t i = 0; i < count; ++i) order[i] = first + i;
        Rng rng(mix_seed(mix_seed(options_.seed, ~first), party));
        for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
        std::string out = "id";
        if (party == 0 && with_labels) out += ",shape";
        if (party > 0)
            for (const std::string& name : report_.parties[party].features) out += "," + name;
        out += '\n';
        std::vector<std::uint8_t> pixels;
        for (const std::uint64_t picture : order) {
            const std::size_t shape = paint(picture, party > 0 ? &pixels : nullptr);
            out += "P" + std::to_string(picture + 1);
            if (party == 0 && with_labels) (out += ',') += shapes[shape];
            for (std::size_t y = 0; party > 0 && y < image_.height; ++y)
                for (std::size_t x = end(party - 1); x < end(party); ++x)
                    (out += ',') += std::to_string(pixels[y * image_.width + x]);
            out += '\n';
        }
        report_.bytes += out.size();
        return write_file_atomically(path, out);
    }

    const SynthOptions& options_;
    ImageShape image_;
    SynthReport report_;
};

}  // namespace

Result<SynthReport> synthesize_pictures(const SynthOptions& options, ImageShape image) {
    const auto refuse = [](const std::string& name, const std::string& range) {
        return fail(Errc::usage, "data synth: " + name + " must be " + range);
    };
    constexpr std::size_t side_min = 8;
    constexpr std::size_t side_max = 256;
    if (std::min(image.height, image.width) < side_min ||
        std::max(image.height, image.width) > side_max || image.channels != 1)
        return refuse("pictures", "8x8 to 256x256, of one channel");
    if (options.members < 1 || options.members > image.width)
        return refuse("members", "1 to " + std::to_string(image.width) + " columns of pixels");
    if (options.rows < 20 || options.rows > synth_rows_max)
        return refuse("rows", "20 to " + std::to_string(synth_rows_max));
    if (options.classes < 2 || options.classes > picture_classes_max)
        return refuse("classes", "2 to " + std::to_string(picture_classes_max));
    try {
        return Painter(options, image).write();
    } catch (const std::bad_alloc&) {
        return fail(Errc::io, "data synth: the files do not fit into memory; ask for fewer rows");
    }
}

}  // namespace vflbus::data
