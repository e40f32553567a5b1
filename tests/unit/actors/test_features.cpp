// The figures of all parties' columns against the master's label, over the harness.

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "actors/feature_counts.hpp"
#include "actors/features.hpp"
#include "actors/party.hpp"
#include "catch.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

struct Told {
    Ending ending;
    FeaturesResult result;
};

Told figures_of(Play& play) {
    auto made = make_features_master(play.master_options());
    REQUIRE(made);
    FeaturesMaster* const master = made->get();
    play.set(std::move(*made));
    Told told{play.play(), {}};
    told.result = master->features();
    return told;
}

std::vector<data::FeatureFigures> file_of(const Play& play, std::size_t party) {
    const std::string path = "runs/" + play.run.hex() + "/" + Play::name(party) + "/features.json";
    REQUIRE(play.env.files.contains(path));
    return parse_features(play.env.files.at(path), path).value();
}

}  // namespace

TEST_CASE("members' columns are told of by number, as they would be with the labels at hand") {
    const config::Alignment way = GENERATE(config::Alignment::hashed, config::Alignment::psi);
    const config::Join join = GENERATE(config::Join::inner, config::Join::left);
    const bool stratify = GENERATE(false, true);
    World world;
    world.messy = true;
    Play play(world);
    play.config.data.alignment = way;
    play.config.data.join = join;
    play.config.data.stratify = stratify;
    const Told told = figures_of(play);
    INFO(told.ending.sentence);
    REQUIRE(told.ending.code == Errc::ok);
    REQUIRE(told.result.parties.size() == 3);
    CHECK(told.result.positive_class == "1");
    CHECK(told.result.rows > 150);
    for (std::size_t p = 0; p <= 2; ++p) {
        const auto& columns = told.result.parties[p].columns;
        const auto own = file_of(play, p);
        REQUIRE(columns.size() == own.size());
        CHECK(columns.size() == (p == 0 ? 3 : 5));
        for (std::size_t i = 0; i < columns.size(); ++i) {
            CHECK(columns[i].name == (p == 0 ? own[i].name : ""));
            CHECK(columns[i].bins.empty() == (p != 0));
            CHECK(columns[i].information == own[i].information);
            CHECK(columns[i].missing == own[i].missing);
            CHECK(columns[i].inflation == Approx(own[i].inflation));
            CHECK(columns[i].correlation == own[i].correlation);
        }
        CHECK(columns[0].information > 0.005);
    }
    // the constant column of a member tells nothing, but for records that it lacks
    CHECK(told.result.parties[1].columns[4].information < 0.2);
    CHECK(told.result.parties[1].columns[0].missing > 5);
}

TEST_CASE("where the protocol hides labels, members count them encrypted, and figures are equal") {
    const config::Protocol protocol = GENERATE(
        config::Protocol::masked, config::Protocol::encrypted, config::Protocol::arbitered);
    World world;
    world.messy = true;
    Play open(world);
    open.config.data.join = config::Join::left;
    const Told honest = figures_of(open);
    REQUIRE(honest.ending.code == Errc::ok);

    Play play(world);
    play.config.data.join = config::Join::left;
    play.config.run.protocol = protocol;
    const Told told = figures_of(play);
    INFO(told.ending.sentence);
    REQUIRE(told.ending.code == Errc::ok);
    REQUIRE(told.result.parties.size() == 3);
    CHECK(told.result.rows == honest.result.rows);
    for (std::size_t p = 1; p <= 2; ++p) {
        const auto& columns = told.result.parties[p].columns;
        const auto own = file_of(play, p);
        const std::string path = "runs/" + play.run.hex() + "/" + Play::name(p) + "/features.json";
        CHECK(play.env.files.at(path).find("positives") == std::string::npos);
        REQUIRE(columns.size() == honest.result.parties[p].columns.size());
        for (std::size_t i = 0; i < columns.size(); ++i) {
            const data::FeatureFigures& known = honest.result.parties[p].columns[i];
            CHECK(columns[i].information == Approx(known.information).margin(1e-12));
            CHECK(columns[i].missing == known.missing);
            CHECK(columns[i].correlation == known.correlation);
            CHECK(columns[i].inflation == known.inflation);
            std::uint64_t rows = 0;
            for (const data::FeatureBin& bin : columns[i].bins) {
                CHECK(bin.values.empty());
                rows += bin.rows;
            }
            CHECK(rows == told.result.rows);
            // a member is told three digits
            CHECK(std::abs(own[i].information - known.information) <= 0.0005000001);
            CHECK(own[i].information * 1000 == Approx(std::round(own[i].information * 1000)));
        }
    }
}

TEST_CASE("the labels of a run that hides them are in no message") {
    World world;
    world.members = 1;
    Play play(world);
    play.config.run.protocol = config::Protocol::encrypted;
    play.set(std::move(*make_features_master(play.master_options())));
    std::vector<MessageType> types;
    std::vector<Bytes> counted;
    play.harness->on_request = [&](std::size_t, Message& request) {
        const MessageType type = request.metadata.message_type;
        if (type >= message::describe && type <= message::informed) types.push_back(type);
        if (type == message::count)
            counted.emplace_back(request.content.begin(), request.content.end());
        return true;
    };
    REQUIRE(play.play().code == Errc::ok);
    CHECK(types == std::vector<MessageType>{message::bins, message::count, message::informed});
    // what a member gets is as good as random: a byte of 256 values about equally often
    REQUIRE(counted.size() == 1);
    std::array<double, 256> often{};
    for (const std::uint8_t byte : counted[0]) ++often[byte];
    const double expected = static_cast<double>(counted[0].size()) / 256;
    for (const double one : often) CHECK(std::abs(one - expected) < expected / 2);
}

TEST_CASE("features is refused for labels of no two classes and for runs with noise") {
    World world;
    Play play(world);
    SECTION("a number as label") {
        play.config.model.task = vflbus::Task::linear;
    }
    SECTION("noise") {
        play.config.privacy.score_noise_multiplier = 1;
    }
    auto made = make_features_master(play.master_options());
    REQUIRE_FALSE(made);
    CHECK(made.error().code == Errc::bad_config);
}

TEST_CASE("counts that no labels have are refused, and messages of other sizes") {
    // three rows, two bins
    data::BinnedTable table;
    table.figures.resize(1);
    table.figures[0].bins = {{"a", 2, 0, 0}, {"b", 1, 0, 0}};
    table.bins = {{0, 1, 0}};
    const Hash256 seed = counts_seed(Bytes(32, 1), Bytes(32, 2));
    const auto plan = plan_counts(3, 2, 1 << 24);
    REQUIRE(plan);
    LabelCounts counts(*plan, seed);
    const Bytes asked = counts.request(std::vector<std::uint8_t>{1, 1, 0});
    const auto request = decode_count_request(asked);
    REQUIRE(request);
    const auto answer = count_positives(**plan, seed, *request, table);
    REQUIRE(answer);
    const auto opened = counts.open(*answer);
    REQUIRE(opened);
    CHECK(*opened == std::vector<std::int64_t>{1, 1});
    Bytes shorter(answer->begin(), answer->end() - 1);
    CHECK_FALSE(counts.open(shorter));
    // another nonce is another key
    CHECK(counts_seed(Bytes(32, 1), Bytes(32, 3)) != seed);
    // a cut request
    CountRequest cut = *request;
    cut.ciphertexts = cut.ciphertexts.first(cut.ciphertexts.size() - 8);
    CHECK_FALSE(count_positives(**plan, seed, cut, table));
    // bins that do not add up to the rows, and rows behind an empty bin
    Hash256 nonce{};
    CHECK(decode_bins_reply(encode_bins_reply(nonce, table.figures), 3));
    CHECK_FALSE(decode_bins_reply(encode_bins_reply(nonce, table.figures), 4));
    table.figures[0].bins = {{"", 2, 0, 0}, {"", 0, 0, 0}, {"", 1, 0, 0}};
    CHECK_FALSE(decode_bins_reply(encode_bins_reply(nonce, table.figures), 3));
    CHECK_FALSE(plan_counts(30'000, 240, 100'000));
    CHECK_FALSE(decode_bins_request(encode(BinsRequest{{}, Bytes(31)})));
    CHECK_FALSE(decode_informed(encode_informed(table.figures), 2));
}

TEST_CASE("counts are exact over many blocks of rows and products") {
    const std::size_t rows = 20'000;
    const std::size_t columns = 150;
    data::BinnedTable table;
    std::vector<std::uint8_t> positive(rows);
    for (std::size_t i = 0; i < rows; ++i) positive[i] = i * i % 7 < 2 ? 1 : 0;
    std::vector<std::int64_t> expected;
    for (std::size_t c = 0; c < columns; ++c) {
        std::vector<std::int64_t> counts(12, 0);
        std::vector<std::uint8_t> of_row(rows);
        for (std::size_t i = 0; i < rows; ++i) {
            of_row[i] = static_cast<std::uint8_t>((i / (c + 1) + c) % 12);
            counts[of_row[i]] += positive[i];
        }
        data::FeatureFigures one;
        one.bins.resize(12);
        table.figures.push_back(one);
        table.bins.push_back(of_row);
        expected.insert(expected.end(), counts.begin(), counts.end());
    }
    const Hash256 seed = counts_seed(Bytes(32, 1), Bytes(32, 2));
    const auto plan = plan_counts(rows, columns * 12, std::uint64_t{1} << 30);
    REQUIRE(plan);
    LabelCounts counts(*plan, seed);
    const Bytes asked = counts.request(positive);
    const auto answer = count_positives(**plan, seed, *decode_count_request(asked), table);
    REQUIRE(answer);
    CHECK(counts.open(*answer).value() == expected);
}

TEST_CASE("a member describes its columns in a run for that alone, and once its rows are known") {
    World world;
    world.members = 1;
    const bool training = GENERATE(false, true);
    Play play(world);
    if (training)
        play.set();
    else
        play.set(std::move(*make_features_master(play.master_options())));
    bool asked = false;
    play.harness->before_event = [&](std::size_t) {
        const Phase when = training ? Phase::training : Phase::aligning;
        if (asked || play.phases.empty() || play.phases.back() != when) return;
        asked = true;
        DescribeRequest request;
        request.positive = {1, 0, 1};
        const auto answer = play.harness->ask(0, message::describe, encode(request));
        REQUIRE_FALSE(answer);
        CHECK(answer.error().sentence.find("cannot take describe") != std::string::npos);
    };
    const Ending ending = play.play();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::ok);
    CHECK(asked);
}

TEST_CASE("a member describes its columns once: other labels would tell more of its bins") {
    World world;
    world.members = 1;
    Play play(world);
    play.set(std::move(*make_features_master(play.master_options())));
    Bytes described;
    bool again = false;
    play.harness->on_request = [&](std::size_t, Message& request) {
        if (request.metadata.message_type == message::describe)
            described.assign(request.content.begin(), request.content.end());
        return true;
    };
    play.harness->on_reply_hook = [&](std::size_t, Message& reply) {
        if (reply.metadata.message_type != message::describe) return true;
        again = true;
        const auto answer = play.harness->ask(0, message::describe, described);
        REQUIRE_FALSE(answer);
        CHECK(answer.error().sentence.find("cannot take describe") != std::string::npos);
        return true;
    };
    const Ending ending = play.play();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::ok);
    CHECK(again);
}

TEST_CASE("a member's policy bounds the rows of a bin under every protocol") {
    struct KnowsBins final : LetsAllIn {
        Result<> batch(const RunId&, std::uint64_t rows) override {
            fewest = rows;
            if (rows >= 1000) return {};
            return fail(Errc::refused, "a bin is too small for its policy");
        }
        std::uint64_t fewest = 0;
    };
    World world;
    world.members = 1;
    KnowsBins judge;
    Play play(world);
    play.judge = &judge;
    play.config.run.protocol = GENERATE(config::Protocol::honest, config::Protocol::encrypted);
    const Told told = figures_of(play);
    CHECK(told.ending.code == Errc::refused);
    CHECK(told.ending.sentence.find("too small for its policy") != std::string::npos);
    CHECK(judge.fewest > 0);
    CHECK(judge.fewest < 100);
}

TEST_CASE("labels that are not as many as the rows, and figures that no column has, are refused") {
    CHECK_FALSE(decode_describe_request(encode(DescribeRequest{{}, {0, 1, 2}})));
    std::vector<data::FeatureFigures> figures(2);
    const auto taken = [&] { return decode_described(encode_described(figures), 10).has_value(); };
    CHECK(taken());
    figures[1].information = -1;
    CHECK_FALSE(taken());
    figures[1].information = std::numeric_limits<double>::infinity();
    CHECK_FALSE(taken());
    figures[1].information = 1;
    figures[1].missing = 10;
    CHECK(taken());
    figures[1].missing = 11;
    CHECK_FALSE(taken());
    figures[1].missing = 0;
    figures[1].correlation = 7;
    CHECK_FALSE(taken());
    models::Matrix narrow(2, 3);
    CHECK_FALSE(decode_described(encode_scores(narrow), 10));
    models::Matrix broken(1, 4);
    broken(0, 1) = 2.5;
    broken(0, 2) = 1;
    CHECK_FALSE(decode_described(encode_scores(broken), 10));

    World world;
    Play play(world);
    Party party("", play.config, play.source(1));
    REQUIRE(party.align(TableKind::train));
    data::Selection all;
    const std::size_t rows = party.table(TableKind::train)->rows();
    all.bitmap.assign((rows + 7) / 8, 0xff);
    if (rows % 8 != 0) all.bitmap.back() = static_cast<std::uint8_t>((1U << (rows % 8)) - 1);
    REQUIRE(party.select(TableKind::train, all, rows));
    const auto described = describe_columns(party, DescribeRequest{{}, {1, 0}});
    REQUIRE_FALSE(described);
    CHECK(described.error().code == Errc::malformed_message);
}
