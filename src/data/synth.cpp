#include "data/synth.hpp"

#include <algorithm>
#include <cmath>
#include <system_error>

#include "base/files.hpp"
#include "base/rng.hpp"
#include "base/text.hpp"
#include "data/synth_parties.hpp"

namespace vflbus::data {
namespace {

// Nothing here calls libm but sqrt and llround, which are exact: the files are the same bytes
// everywhere.

/// Nearly normal, mean 0, deviation 1: the sum of twelve 16-bit uniforms. Integers until the end.
double normal(Rng& rng) noexcept {
    std::int64_t sum = 0;
    for (int i = 0; i < 3; ++i) {
        const std::uint64_t word = rng.next();
        sum += static_cast<std::int64_t>((word & 0xffff) + (word >> 16 & 0xffff) +
                                         (word >> 32 & 0xffff) + (word >> 48));
    }
    return static_cast<double>(sum - 6 * 65535) / 65536.0;
}

/// (1 + x / 1024)^1024: an exponential by multiplications alone.
double rough_exp(double x) noexcept {
    double power = 1 + x / 1024;
    for (int i = 0; i < 10; ++i) power *= power;
    return power;
}

/// Of four degrees of freedom, divided by them: mean 1, the shape of amounts.
double chi_square(Rng& rng) noexcept {
    double sum = 0;
    for (int i = 0; i < 4; ++i) {
        const double one = normal(rng);
        sum += one * one;
    }
    return sum / 4;
}

/// Knuth's method; `mean` is at most 20 or so.
std::uint64_t poisson(double mean, Rng& rng) noexcept {
    const double least = 1 / rough_exp(mean);
    double product = rng.uniform();
    std::uint64_t count = 0;
    for (; product > least && count < 1000; ++count) product *= rng.uniform();
    return count;
}

enum class Stream : std::uint64_t { weights = 1, people, cells, blanks, noise, order };

constexpr std::uint64_t seed_of(std::uint64_t seed, Stream stream, std::uint64_t which) noexcept {
    return mix_seed(mix_seed(seed, static_cast<std::uint64_t>(stream)), which);
}

// How the variance of a score is divided. The rest of the score's deviation is noise of deviation 1
// (probit) in classification.
struct Shares {
    double bank;
    double members;  ///< of all members together
    double noise;
};

Shares shares_of(Task task) noexcept {
    switch (task) {
        case Task::linear:
            return {0.42, 0.52, 0.06};
        case Task::softmax:
            return {0.9, 2.1, 1.0};
        case Task::poisson:
        case Task::gamma:
        case Task::tweedie:
            return {0.12, 0.28, 0};
        case Task::logistic:
        case Task::multilabel:
            break;
    }
    return {0.42, 0.95, 1.0};
}

/// People of one set of files. Numbers are global, so that no person is in two sets.
struct People {
    std::uint64_t first;  ///< the bank's come first
    std::uint64_t bank;
    std::uint64_t others;  ///< strangers to the bank
};

class Synthesizer {
  public:
    explicit Synthesizer(const SynthOptions& options)
        : options_(options), sources_(synth_sources(options.members)) {
        const std::uint64_t side = std::max<std::uint64_t>(options.rows / 5, 20);
        const auto with_others = [&](std::uint64_t first, std::uint64_t bank) {
            const double share = 1 - options.overlap;
            return People{first, bank,
                          static_cast<std::uint64_t>(static_cast<double>(bank) * share)};
        };
        train_ = with_others(0, options.rows);
        test_ = with_others(train_.bank + train_.others, side);
        predict_ = with_others(test_.first + test_.bank + test_.others, side);
        const std::uint64_t population = predict_.first + predict_.bank + predict_.others;
        id_digits_ = population < 5'000'000 ? 7 : 9;
        id_range_ = id_digits_ == 7 ? 10'000'000 : 1'000'000'000;
        id_shift_ = mix_seed(options.seed, 0) % id_range_;
        name_labels();
        draw_weights();
    }

    Result<SynthReport> write() {
        std::error_code error;
        std::filesystem::create_directories(options_.out_dir, error);
        if (error)
            return fail(Errc::io, "cannot make the directory " + options_.out_dir.string() + ": " +
                                      error.message());
        report_.id_column = "customer_id";
        report_.labels = labels_;
        report_.exposure = exposure_;
        for (std::uint64_t i = 0; i < train_.bank; ++i) report_.common += is_core(train_.first + i);
        for (std::size_t p = 0; p < sources_.size(); ++p) {
            SynthParty party;
            party.name = sources_[p].name;
            for (const SynthNumber& number : sources_[p].numbers)
                party.features.push_back(number.name);
            for (const SynthText& text : sources_[p].texts) party.features.push_back(text.name);
            party.data = options_.out_dir / (party.name + ".csv");
            if (auto ok = write_set(p, train_, true, party.data, &party.rows); !ok)
                return tl::unexpected(ok.error());
            if (options_.test_files) {
                party.test_data = options_.out_dir / (party.name + "_test.csv");
                if (auto ok = write_set(p, test_, true, party.test_data); !ok)
                    return tl::unexpected(ok.error());
            }
            if (options_.predict_files) {
                party.predict_data = options_.out_dir / (party.name + "_predict.csv");
                if (auto ok = write_set(p, predict_, false, party.predict_data); !ok)
                    return tl::unexpected(ok.error());
            }
            report_.parties.push_back(std::move(party));
        }
        return std::move(report_);
    }

  private:
    // -- set-up -------------------------------------------------------------------

    void name_labels() {
        static const char* const several[] = {"default", "late_30_days", "overdraft", "churn",
                                              "fraud"};
        switch (options_.task) {
            case Task::linear:
                labels_ = {"credit_limit"};
                break;
            case Task::logistic:
                labels_ = {"default"};
                break;
            case Task::softmax:
                labels_ = {"rating"};
                break;
            case Task::poisson:
                labels_ = {"claims"};
                exposure_ = "insured_years";
                break;
            case Task::gamma:
            case Task::tweedie:
                labels_ = {"claim_amount"};
                exposure_ = "insured_years";
                break;
            case Task::multilabel:
                for (std::uint32_t i = 0; i < options_.labels; ++i)
                    labels_.push_back(i < std::size(several) ? several[i]
                                                             : "event_" + std::to_string(i + 1));
                break;
        }
        outputs_ = options_.task == Task::softmax ? options_.classes : labels_.size();
    }

    void draw_weights() {
        const Shares shares = shares_of(options_.task);
        for (std::size_t o = 0; o < outputs_; ++o) {
            Rng rng(seed_of(options_.seed, Stream::weights, o));
            auto& per_party = weights_.emplace_back();
            auto& named = report_.weights.emplace_back();
            for (std::size_t p = 0; p < sources_.size(); ++p) {
                std::vector<double> weights;
                // the first output follows common sense, the others have minds of their own
                const auto draw = [&](double weight) {
                    if (o > 0 && weight != 0) weight = normal(rng);
                    weights.push_back(weight);
                };
                for (const SynthNumber& number : sources_[p].numbers) draw(number.weight);
                for (const SynthText& text : sources_[p].texts) draw(text.weight);
                double squares = 0;
                for (const double w : weights) squares += w * w;
                const double share = p == 0 ? shares.bank : shares.members / options_.members;
                const double scale = std::sqrt(share / squares);
                for (double& w : weights) w *= scale;
                auto& names = named.emplace_back();
                for (std::size_t j = 0; j < weights.size(); ++j) {
                    if (weights[j] == 0) continue;
                    const std::size_t numbers = sources_[p].numbers.size();
                    names.emplace_back(j < numbers ? sources_[p].numbers[j].name
                                                   : sources_[p].texts[j - numbers].name,
                                       weights[j]);
                }
                per_party.push_back(std::move(weights));
            }
        }
    }

    // -- people -------------------------------------------------------------------

    /// Known to all parties.
    [[nodiscard]] bool is_core(std::uint64_t person) const noexcept {
        return person == train_.first || person == test_.first || person == predict_.first ||
               Rng(seed_of(options_.seed, Stream::people, person)).uniform() < options_.overlap;
    }

    /// Does a member know this person of the bank? Somebody never knows one who is not core.
    [[nodiscard]] bool knows(std::size_t member, std::uint64_t person) const noexcept {
        if (is_core(person)) return true;
        if (person % options_.members == member - 1) return false;
        return (mix_seed(seed_of(options_.seed, Stream::people, person), member) & 1) != 0;
    }

    [[nodiscard]] std::vector<std::uint64_t> people_of(std::size_t party,
                                                       const People& people) const {
        std::vector<std::uint64_t> known;
        for (std::uint64_t i = 0; i < people.bank; ++i)
            if (party == 0 || knows(party, people.first + i)) known.push_back(people.first + i);
        for (std::uint64_t i = people.bank; party != 0 && i < people.bank + people.others; ++i)
            if ((mix_seed(seed_of(options_.seed, Stream::people, people.first + i), party) & 1) !=
                0)
                known.push_back(people.first + i);
        Rng rng(seed_of(options_.seed, Stream::order, people.first * 1000 + party));
        for (std::size_t i = known.size(); i > 1; --i) std::swap(known[i - 1], known[rng.below(i)]);
        return known;
    }

    /// What the party's columns say about a person, in standard deviations.
    void traits(std::size_t party, std::uint64_t person, std::vector<double>& out) const {
        Rng rng(mix_seed(seed_of(options_.seed, Stream::cells, party), person));
        out.clear();
        for (std::size_t j = 0; j < sources_[party].numbers.size(); ++j) out.push_back(normal(rng));
        for (const SynthText& text : sources_[party].texts) {
            const auto k = static_cast<double>(text.values.size());
            const auto rank = static_cast<double>(rng.below(text.values.size()));
            out.push_back((rank - (k - 1) / 2) / std::sqrt((k * k - 1) / 12));
        }
    }

    void append_labels(std::uint64_t person, std::string& out) {
        scores_.assign(outputs_, 0);
        for (std::size_t p = 0; p < sources_.size(); ++p) {
            traits(p, person, traits_);
            for (std::size_t o = 0; o < outputs_; ++o)
                for (std::size_t j = 0; j < traits_.size(); ++j)
                    scores_[o] += weights_[o][p][j] * traits_[j];
        }
        const Shares shares = shares_of(options_.task);
        Rng rng(seed_of(options_.seed, Stream::noise, person));
        for (double& score : scores_) score += std::sqrt(shares.noise) * normal(rng);
        const double deviation = std::sqrt(shares.bank + shares.members + shares.noise);
        switch (options_.task) {
            case Task::linear:
                // a sound customer gets more
                append_number(9000 - 2500 * scores_[0], 2, out);
                break;
            case Task::logistic:
            case Task::multilabel:
                for (std::size_t o = 0; o < outputs_; ++o) {
                    if (o > 0) out.push_back(',');
                    // about 27 % positive
                    out.push_back(scores_[o] > 0.6 * deviation ? '1' : '0');
                }
                break;
            case Task::poisson:
            case Task::gamma:
            case Task::tweedie:
                append_claims(scores_[0], rng, out);
                break;
            case Task::softmax: {
                const auto best = std::max_element(scores_.begin(), scores_.end());
                append_class(static_cast<std::size_t>(best - scores_.begin()), out);
                break;
            }
        }
    }

    /// A count or an amount of a mean of exposure times exp(score), then the exposure.
    void append_claims(double score, Rng& rng, std::string& out) {
        const double years = static_cast<double>(1 + rng.below(100)) / 50;  // to two years
        const double expected = years * rough_exp(score);
        double amount = 0;
        if (options_.task == Task::gamma) {
            amount = 800 * expected * chi_square(rng) + 0.01;
        } else {
            const std::uint64_t claims = poisson(expected * 0.6, rng);
            if (options_.task == Task::poisson) amount = static_cast<double>(claims);
            for (std::uint64_t i = 0; i < claims && options_.task == Task::tweedie; ++i)
                amount += 800 * chi_square(rng) + 0.01;
        }
        append_number(amount, options_.task == Task::poisson ? 0 : 2, out);
        out.push_back(',');
        append_number(years, 2, out);
    }

    // -- text ---------------------------------------------------------------------

    void append_class(std::size_t index, std::string& out) const {
        if (options_.classes > 26) out.push_back(static_cast<char>('A' + index / 26));
        out.push_back(static_cast<char>('A' + index % 26));
    }

    static void append_padded(std::uint64_t value, int digits, std::string& out) {
        const std::string text = std::to_string(value);
        if (text.size() < static_cast<std::size_t>(digits))
            out.append(static_cast<std::size_t>(digits) - text.size(), '0');
        out += text;
    }

    /// At most `decimals` decimals, no trailing zeros.
    static void append_number(double value, int decimals, std::string& out) {
        std::int64_t unit = 1;
        for (int i = 0; i < decimals; ++i) unit *= 10;
        std::int64_t scaled = std::llround(value * static_cast<double>(unit));
        if (scaled < 0) {
            out.push_back('-');
            scaled = -scaled;
        }
        out += std::to_string(scaled / unit);
        if (scaled % unit == 0) return;
        out.push_back('.');
        append_padded(static_cast<std::uint64_t>(scaled % unit), decimals, out);
        while (out.back() == '0') out.pop_back();
    }

    void append_id(std::uint64_t person, std::string& out) const {
        // a step without the factors 2 and 5 visits every id once
        constexpr std::uint64_t step = 7'654'321;
        out.push_back('C');
        append_padded((person * step + id_shift_) % id_range_, id_digits_, out);
    }

    void append_features(std::size_t party, std::uint64_t person, std::string& out) {
        const SynthSource& source = sources_[party];
        traits(party, person, traits_);
        Rng blanks(mix_seed(seed_of(options_.seed, Stream::blanks, party), person));
        std::size_t j = 0;
        for (const SynthNumber& number : source.numbers) {
            out.push_back(',');
            const double value = number.mean + number.deviation * traits_[j++];
            if (blanks.uniform() < options_.missing_fraction) continue;
            append_number(std::clamp(value, number.low, number.high), number.decimals, out);
        }
        for (const SynthText& text : source.texts) {
            out.push_back(',');
            const auto k = static_cast<double>(text.values.size());
            const double rank = traits_[j++] * std::sqrt((k * k - 1) / 12) + (k - 1) / 2;
            if (blanks.uniform() < options_.missing_fraction) continue;
            out += text.values[static_cast<std::size_t>(std::llround(rank))];
        }
    }

    Result<> write_set(std::size_t party, const People& people, bool with_labels,
                       const std::filesystem::path& path, std::uint64_t* rows = nullptr) {
        const bool labels = party == 0 && with_labels;
        const std::vector<std::uint64_t> known = people_of(party, people);
        std::string out = "customer_id";
        if (labels)
            for (const std::string& label : labels_) out += "," + label;
        const bool exposed = party == 0 && !exposure_.empty();
        if (exposed) out += "," + exposure_;
        for (const SynthNumber& number : sources_[party].numbers) out += "," + number.name;
        for (const SynthText& text : sources_[party].texts) out += "," + text.name;
        out.push_back('\n');
        out.reserve(known.size() * 64);
        for (const std::uint64_t person : known) {
            append_id(person, out);
            if (labels) {
                out.push_back(',');
                append_labels(person, out);
            } else if (exposed) {  // what is predicted is exposed as well
                std::string both;
                append_labels(person, both);
                out += both.substr(both.find(','));
            }
            append_features(party, person, out);
            out.push_back('\n');
        }
        if (rows != nullptr) *rows = known.size();
        report_.bytes += out.size();
        return write_file_atomically(path, out);
    }

    const SynthOptions& options_;
    std::vector<SynthSource> sources_;
    People train_{};
    People test_{};
    People predict_{};
    int id_digits_ = 7;
    std::uint64_t id_range_ = 0;
    std::uint64_t id_shift_ = 0;
    std::vector<std::string> labels_;
    std::string exposure_;
    std::size_t outputs_ = 0;
    std::vector<std::vector<std::vector<double>>> weights_;  ///< output, party, column
    std::vector<double> traits_;
    std::vector<double> scores_;
    SynthReport report_;
};

}  // namespace

Result<SynthReport> synthesize(const SynthOptions& options) {
    const auto refuse = [](const std::string& name, const std::string& range) {
        return fail(Errc::usage, "data synth: " + name + " must be " + range);
    };
    if (options.members < 1 || options.members > synth_members_max)
        return refuse("members", "1 to " + std::to_string(synth_members_max));
    if (options.rows < 20 || options.rows > synth_rows_max)
        return refuse("rows", "20 to " + std::to_string(synth_rows_max));
    if (options.task == Task::multilabel && (options.labels < 1 || options.labels > 32))
        return refuse("labels", "1 to 32");
    if (options.task == Task::softmax && (options.classes < 3 || options.classes > 32))
        return refuse("classes", "3 to 32");
    if (!(options.overlap > 0 && options.overlap <= 1))
        return refuse("overlap", "above 0 and at most 1");
    if (!(options.missing_fraction >= 0 && options.missing_fraction <= 0.9))
        return refuse("missing_fraction", "0 to 0.9");
    try {
        return Synthesizer(options).write();
    } catch (const std::bad_alloc&) {
        return fail(Errc::io, "data synth: the files do not fit into memory; ask for fewer rows");
    }
}

}  // namespace vflbus::data
