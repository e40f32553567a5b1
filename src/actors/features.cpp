#include "actors/features.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "actors/alignment/alignment.hpp"
#include "actors/feature_counts.hpp"
#include "actors/master.hpp"
#include "actors/programs.hpp"
#include "actors/training/labels.hpp"
#include "base/hash.hpp"
#include "base/json.hpp"
#include "base/text.hpp"

namespace vflbus::actors {

using observe::log::Level;

// -- messages -----------------------------------------------------------------------

namespace {

constexpr std::size_t figures_per_column = 4;

std::size_t bins_in(std::span<const data::FeatureFigures> figures) {
    std::size_t bins = 0;
    for (const data::FeatureFigures& one : figures) bins += one.bins.size();
    return bins;
}

}  // namespace

Bytes encode(const DescribeRequest& m) {
    bus::Writer w;
    w.reserve(m.test_rows.size() + m.positive.size() + 64);
    return w.array(2).bin(m.test_rows).bin(m.positive).take();
}

Result<DescribeRequest> decode_describe_request(Body body) {
    bus::Reader r("describe", body, 2);
    DescribeRequest m;
    m.test_rows = r.bin();
    const Body positive = r.bin();
    m.positive.assign(positive.begin(), positive.end());
    if (auto done = r.finish(); !done) return tl::unexpected(done.error());
    for (const std::uint8_t label : m.positive)
        if (label > 1) return fail(Errc::malformed_message, "describe: a label is neither 0 nor 1");
    return m;
}

Bytes encode_described(std::span<const data::FeatureFigures> figures) {
    models::Matrix numbers(figures.size(), figures_per_column);
    for (std::size_t i = 0; i < figures.size(); ++i) {
        numbers(i, 0) = figures[i].information;
        numbers(i, 1) = static_cast<double>(figures[i].missing);
        numbers(i, 2) = 1 / figures[i].inflation;
        numbers(i, 3) = figures[i].correlation;
    }
    return encode_scores(numbers);
}

namespace {

/// The figures as they travel: columns x 4.
Result<std::vector<data::FeatureFigures>> figures_of(const TensorView& tensor, std::uint64_t rows) {
    if (tensor.ring || (tensor.rows > 0 && tensor.cols != figures_per_column))
        return fail(
            Errc::malformed_message,
            "described its columns with " + std::to_string(tensor.cols) + " figures each, not 4");
    models::Matrix numbers;
    copy_tensor(tensor, numbers);
    std::vector<data::FeatureFigures> all(numbers.rows());
    for (std::size_t i = 0; i < all.size(); ++i) {
        const double missing = numbers(i, 1);
        const bool sound = numbers(i, 0) >= 0 && std::isfinite(numbers(i, 0)) && missing >= 0 &&
                           missing <= static_cast<double>(rows) && missing == std::floor(missing) &&
                           numbers(i, 2) >= 0 && numbers(i, 2) <= 1 &&
                           std::abs(numbers(i, 3)) <= 1.000001;
        if (!sound) return fail(Errc::malformed_message, "sent figures that no column has");
        all[i].information = numbers(i, 0);
        all[i].missing = static_cast<std::uint64_t>(missing);
        all[i].inflation =
            numbers(i, 2) == 0 ? std::numeric_limits<double>::infinity() : 1 / numbers(i, 2);
        all[i].correlation = numbers(i, 3);
    }
    return all;
}

}  // namespace

Result<std::vector<data::FeatureFigures>> decode_described(Body body, std::uint64_t rows) {
    const auto reply = decode_evaluate_reply(body);
    if (!reply) return tl::unexpected(reply.error());
    return figures_of(reply->scores, rows);
}

Bytes encode(const BinsRequest& m) {
    bus::Writer w;
    w.reserve(m.test_rows.size() + m.nonce.size() + 32);
    return w.array(2).bin(m.test_rows).bin(m.nonce).take();
}

Result<BinsRequest> decode_bins_request(Body body) {
    bus::Reader r("bins", body, 2);
    BinsRequest m;
    m.test_rows = r.bin();
    m.nonce = r.bin();
    if (auto done = r.finish(); !done) return tl::unexpected(std::move(done.error()));
    if (m.nonce.size() != Hash256().size())
        return fail(Errc::malformed_message, "bins: a nonce of " + std::to_string(m.nonce.size()) +
                                                 " bytes where 32 belong");
    return m;
}

Bytes encode_bins_reply(const Hash256& nonce, std::span<const data::FeatureFigures> figures) {
    models::Matrix numbers(figures.size(), figures_per_column);
    models::Matrix rows(figures.size(), data::feature_bins_max);
    for (std::size_t i = 0; i < figures.size(); ++i) {
        numbers(i, 0) = 0;
        numbers(i, 1) = static_cast<double>(figures[i].missing);
        numbers(i, 2) = 1 / figures[i].inflation;
        numbers(i, 3) = figures[i].correlation;
        for (std::size_t b = 0; b < figures[i].bins.size(); ++b)
            rows(i, b) = static_cast<double>(figures[i].bins[b].rows);
    }
    bus::Writer w;
    w.reserve((numbers.size() + rows.size()) * sizeof(double) + 128);
    return w.array(3)
        .bin(nonce)
        .tensor(numbers.view().span(), numbers.rows(), numbers.cols())
        .tensor(rows.view().span(), rows.rows(), rows.cols())
        .take();
}

Result<BinsReply> decode_bins_reply(Body body, std::uint64_t rows) {
    bus::Reader r("bins reply", body, 3);
    BinsReply m;
    r.fixed_bin(m.nonce);
    const TensorView numbers = r.tensor();
    const TensorView counts = r.tensor();
    if (auto done = r.finish(); !done) return tl::unexpected(std::move(done.error()));
    auto figures = figures_of(numbers, rows);
    if (!figures) return tl::unexpected(std::move(figures.error()));
    m.figures = std::move(*figures);
    if (counts.ring || counts.rows != m.figures.size() ||
        (counts.rows > 0 && counts.cols != data::feature_bins_max))
        return fail(Errc::malformed_message, "told the rows of bins of " +
                                                 std::to_string(counts.rows) + " columns, not of " +
                                                 std::to_string(m.figures.size()));
    models::Matrix of_bins;
    copy_tensor(counts, of_bins);
    for (std::size_t i = 0; i < m.figures.size(); ++i) {
        double sum = 0;
        bool ended = false;
        for (std::size_t b = 0; b < data::feature_bins_max; ++b) {
            const double count = of_bins(i, b);
            const bool whole = count >= 0 && count <= static_cast<double>(rows) &&
                               count == std::floor(count) && !(ended && count > 0);
            if (!whole) return fail(Errc::malformed_message, "sent bins that no column has");
            ended = count == 0;
            sum += count;
            if (!ended) m.figures[i].bins.push_back({"", static_cast<std::uint64_t>(count), 0, 0});
        }
        if (sum != static_cast<double>(rows))
            return fail(
                Errc::malformed_message,
                "has bins of " + shortest(sum) + " rows in a column of " + std::to_string(rows));
    }
    return m;
}

Bytes encode_informed(std::span<const data::FeatureFigures> figures) {
    models::Matrix values(figures.size(), 1);
    for (std::size_t i = 0; i < figures.size(); ++i)
        values(i, 0) = std::round(figures[i].information * told_information) / told_information;
    return encode_scores(values);
}

Result<std::vector<double>> decode_informed(Body body, std::size_t columns) {
    const auto told = decode_evaluate_reply(body);
    if (!told) return tl::unexpected(told.error());
    if (told->scores.ring || told->scores.rows != columns ||
        (columns > 0 && told->scores.cols != 1))
        return fail(Errc::malformed_message, "was told the information of " +
                                                 std::to_string(told->scores.rows) +
                                                 " columns and has " + std::to_string(columns));
    models::Matrix values;
    copy_tensor(told->scores, values);
    std::vector<double> out(values.view().span().begin(), values.view().span().end());
    for (const double value : out)
        if (!(value >= 0) || !std::isfinite(value))
            return fail(Errc::malformed_message, "was told of information that no column has");
    return out;
}

// -- a party's file ------------------------------------------------------------------

std::string features_json(const std::string& run, const std::string& party,
                          std::span<const data::FeatureFigures> figures, bool labels_known) {
    Json columns = Json::array();
    for (const data::FeatureFigures& one : figures) {
        Json bins = Json::array();
        for (const data::FeatureBin& bin : one.bins)
            bins.push_back(labels_known ? Json{{"values", bin.values},
                                               {"rows", bin.rows},
                                               {"positives", bin.positives},
                                               {"evidence", bin.evidence}}
                                        : Json{{"values", bin.values}, {"rows", bin.rows}});
        columns.push_back(Json{{"column", one.name},
                               {"kind", one.kind == data::ColumnKind::text ? "text" : "number"},
                               {"information", one.information},
                               {"missing", one.missing},
                               // null: infinite, as JSON has no such number
                               {"inflation", one.inflation},
                               {"correlation", one.correlation},
                               {"nearest", one.nearest},
                               {"bins", std::move(bins)}});
    }
    const Json out{{"run_id", run}, {"party", party}, {"columns", std::move(columns)}};
    return out.dump(1) + "\n";
}

Result<std::vector<data::FeatureFigures>> parse_features(std::string_view text,
                                                         const std::string& path) {
    const Json in = Json::parse(text);
    if (in.is_discarded() || !in.is_object())
        return fail(Errc::bad_data, path + " is no JSON object");
    try {
        std::vector<data::FeatureFigures> all;
        for (const Json& column : in.at("columns")) {
            data::FeatureFigures one;
            one.name = column.at("column").get<std::string>();
            one.information = column.at("information").get<double>();
            one.missing = column.at("missing").get<std::uint64_t>();
            one.inflation = column.at("inflation").is_null()
                                ? std::numeric_limits<double>::infinity()
                                : column.at("inflation").get<double>();
            one.correlation = column.at("correlation").get<double>();
            one.nearest = column.at("nearest").get<std::string>();
            all.push_back(std::move(one));
        }
        return all;
    } catch (const JsonError& e) {
        return fail(Errc::bad_data, path + " is damaged: " + e.what());
    }
}

// -- the member ----------------------------------------------------------------------

Result<std::vector<data::FeatureFigures>> describe_columns(Party& party,
                                                           const DescribeRequest& request) {
    if (auto done = party.split(request.test_rows); !done)
        return tl::unexpected(std::move(done.error()));
    const auto rows = party.rows(TableKind::train);
    if (request.positive.size() != rows.size())
        return fail(Errc::malformed_message, "was told " + std::to_string(request.positive.size()) +
                                                 " labels for " + std::to_string(rows.size()) +
                                                 " training rows");
    return data::feature_figures(*party.table(TableKind::train), rows, request.positive);
}

Result<BinnedColumns> bin_columns(Party& party, const BinsRequest& request, const Hash256& nonce,
                                  std::uint64_t message_bytes_max) {
    if (auto done = party.split(request.test_rows); !done)
        return tl::unexpected(std::move(done.error()));
    const auto rows = party.rows(TableKind::train);
    BinnedColumns out;
    out.table = data::bin_table(*party.table(TableKind::train), rows);
    out.seed = counts_seed(request.nonce, nonce);
    auto plan = plan_counts(rows.size(), bins_in(out.table.figures), message_bytes_max);
    if (!plan) return tl::unexpected(std::move(plan.error()));
    out.plan = std::move(*plan);
    return out;
}

// -- the master ----------------------------------------------------------------------

namespace {

Result<> check_features(const config::AgreedHalf& agreed) {
    if (agreed.model.task != vflbus::Task::logistic)
        return fail(Errc::bad_config,
                    "features needs one label of two classes (model.task = \"logistic\"), not " +
                        std::string(config::name_of(agreed.model.task)));
    if (agreed.privacy.any())
        return fail(Errc::bad_config,
                    "features puts no noise on what it counts, and [privacy] asks for noise: take "
                    "the noise multipliers out for this run if all parties agree to that");
    return {};
}

/// The labels of the training rows, 1 or 0 each.
std::vector<std::uint8_t> positives_of(const Labels& labels) {
    std::vector<std::uint8_t> out;
    for (const double label : labels.train.values.span()) out.push_back(label > 0.5 ? 1 : 0);
    return out;
}

/// Protocol honest: the labels go to the members.
Task<> describe_openly(Run& run, const Party& own, std::span<const std::uint8_t> positive,
                       FeaturesResult& result) {
    run.log(Level::warn,
            "run.protocol = \"honest\": the labels of the training rows go to all members");
    DescribeRequest request;
    request.test_rows = own.test_bitmap();
    request.positive.assign(positive.begin(), positive.end());
    Replies asked = run.parties().ask_all(message::describe, encode(request));
    const std::vector<Bytes> replies = co_await asked;
    for (std::size_t i = 0; i < replies.size(); ++i) {
        auto described = co_await run.said_by(i, decode_described(replies[i], positive.size()));
        result.parties.push_back({run.parties()[i].name, std::move(described)});
    }
}

/// Puts what was counted into the bins. malformed_message where no labels have such counts.
Result<> take_counts(std::span<const std::int64_t> counts, std::uint64_t positives,
                     std::vector<data::FeatureFigures>& figures) {
    std::size_t at = 0;
    for (data::FeatureFigures& one : figures) {
        std::uint64_t sum = 0;
        for (data::FeatureBin& bin : one.bins) {
            const std::int64_t count = counts[at++];
            if (count < 0 || static_cast<std::uint64_t>(count) > bin.rows)
                return fail(Errc::malformed_message, "has counted " + std::to_string(count) +
                                                         " positive rows in a bin of " +
                                                         std::to_string(bin.rows));
            bin.positives = static_cast<std::uint64_t>(count);
            sum += bin.positives;
        }
        if (sum != positives)
            return fail(Errc::malformed_message, "has counted " + std::to_string(sum) +
                                                     " positive rows in a column, of " +
                                                     std::to_string(positives));
        data::add_evidence(one);
    }
    return {};
}

/// A key and a plan for each member, by the number of bins that it has told.
Result<std::vector<LabelCounts>> label_counts(const Run& run, Body nonce,
                                              std::span<const BinsReply> told, std::uint64_t rows) {
    std::vector<LabelCounts> out;
    for (std::size_t i = 0; i < told.size(); ++i) {
        auto plan =
            run.said_by(i, plan_counts(rows, bins_in(told[i].figures), run.message_bytes_max()));
        if (!plan) return tl::unexpected(std::move(plan.error()));
        out.emplace_back(std::move(*plan), counts_seed(nonce, told[i].nonce));
    }
    return out;
}

/// All other protocols: members count encrypted labels.
Task<> describe_hidden(Run& run, const Party& own, std::span<const std::uint8_t> positive,
                       FeaturesResult& result) {
    run.log(Level::info, "the labels of the training rows go to the members encrypted");
    Hash256 nonce{};
    run.env().random(nonce);
    const auto positives =
        static_cast<std::uint64_t>(std::ranges::count(positive, std::uint8_t{1}));
    const Bytes ask_bins = encode(BinsRequest{own.test_bitmap(), nonce});
    Replies asked = run.parties().ask_all(message::bins, ask_bins);
    const std::vector<Bytes> binned = co_await asked;
    std::vector<BinsReply> told;
    for (std::size_t i = 0; i < binned.size(); ++i) {
        auto reply = co_await run.said_by(i, decode_bins_reply(binned[i], positive.size()));
        told.push_back(std::move(reply));
    }
    auto counts = co_await label_counts(run, nonce, told, positive.size());
    std::vector<Bytes> requests;
    for (LabelCounts& of_member : counts) requests.push_back(of_member.request(positive));
    Replies counting = run.parties().ask_each(message::count, requests);
    const std::vector<Bytes> counted = co_await counting;
    std::vector<Bytes> informed;
    for (std::size_t i = 0; i < counted.size(); ++i) {
        const std::vector<std::int64_t> opened =
            co_await run.said_by(i, counts[i].open(counted[i]));
        co_await run.said_by(i, take_counts(opened, positives, told[i].figures));
        informed.push_back(encode_informed(told[i].figures));
        result.parties.push_back({run.parties()[i].name, std::move(told[i].figures)});
    }
    Replies last = run.parties().ask_each(message::informed, informed);
    co_await last;
}

}  // namespace

Task<> features(Run& run, FeaturesResult& result) {
    Party own(run.options().name, run.config(), run.options().tables);
    co_await check_features(run.config());
    co_await load_own(run, own, TableKind::train);
    co_await run.gathered();
    run.enter(Phase::aligning);
    Alignment alignment(run, own);
    const std::vector<TableKind> kinds{TableKind::train};
    co_await alignment.gather(kinds);
    co_await alignment.present(TableKind::train);
    run.enter(Phase::selecting);
    co_await alignment.select(kinds);
    co_await split_own(own);
    const std::string positive_class = config::section_of(run.config(), "master").positive;
    const Labels labels = co_await read_labels(own, run.config().model.task, positive_class);

    run.enter(Phase::evaluating);
    const std::vector<std::uint8_t> positive = positives_of(labels);
    result.positive_class = labels.coding.classes[0][1];
    result.rows = positive.size();
    result.parties.assign(1, {run.options().name, {}});
    result.parties[0].columns =
        data::feature_figures(*own.table(TableKind::train), own.rows(TableKind::train), positive);
    if (run.config().run.protocol == config::Protocol::honest)
        co_await describe_openly(run, own, positive, result);
    else
        co_await describe_hidden(run, own, positive, result);
    const std::string file =
        features_json(run.spec().run.hex(), run.options().name, result.parties[0].columns, true);
    const auto path = run.directory() / run.options().name / "features.json";
    co_await run.stored("the figures of its columns", run.env().write_file(path, file));
    run.enter(Phase::finishing);
}

Result<std::unique_ptr<FeaturesMaster>> make_features_master(MasterOptions options) {
    if (options.config.run.world_size == 0)
        return fail(Errc::bad_config, "run.world_size is not set: say how many members take part");
    if (auto good = check_features(options.config); !good)
        return tl::unexpected(std::move(good.error()));
    return std::make_unique<FeaturesMaster>(std::move(options));
}

FeaturesMaster::FeaturesMaster(MasterOptions options)
    : Run(std::move(options), Purpose::features,
          [this](Run& run) { return actors::features(run, result_); }) {}

}  // namespace vflbus::actors
