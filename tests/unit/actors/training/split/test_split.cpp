// Split networks: what they learn with each of their options, and what is refused.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>
#include <vector>

#include "actors/evaluation.hpp"
#include "actors/training/linear/encrypted.hpp"
#include "actors/training/split/bottom.hpp"
#include "actors/training/split/chance.hpp"
#include "actors/training/split/part.hpp"
#include "actors/training/split/shape.hpp"
#include "actors/training/split/top.hpp"
#include "catch.hpp"
#include "models/metrics.hpp"
#include "observe/report.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

World network_world(vflbus::Task task) {
    World world;
    world.task = task;
    world.rows = 600;
    world.name = config::ModelName::mlp;
    return world;
}

/// A training that has the time to learn something.
void learn_longer(Play& play) {
    play.config.model.bottom = "16-8";
    play.config.model.top = "8";
    play.config.model.norm = config::NormName::none;
    play.config.model.dropout = 0;
    play.config.model.learning_rate = 0.01;
    play.config.model.epochs = 20;
}

double headline(const Play& play, vflbus::Task task) {
    return play.metric(play.master->report().test, models::headline_metric(task));
}

}  // namespace

TEST_CASE("split networks learn every task") {
    const auto task = GENERATE(vflbus::Task::logistic, vflbus::Task::linear,
                               vflbus::Task::multilabel, vflbus::Task::softmax);
    CAPTURE(config::name_of(task));
    World world = network_world(task);
    world.master_features = GENERATE(true, false);
    CAPTURE(world.master_features);
    Play play(world);
    learn_longer(play);
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    // the master's columns make a third of the signal
    const double least = world.master_features ? 0.85 : task == vflbus::Task::linear ? 0.4 : 0.6;
    CHECK(headline(play, task) > least);
}

TEST_CASE("of a split network each party is worth what is lost when it says the same of all rows") {
    World world = network_world(vflbus::Task::logistic);
    world.master_features = GENERATE(true, false);
    const auto combine =
        GENERATE(config::Combine::concat, config::Combine::sum, config::Combine::mean);
    CAPTURE(world.master_features, static_cast<int>(combine));
    Play play(world);
    learn_longer(play);
    play.config.model.combine = combine;
    play.config.model.eval_batch_size = 50;  // means are of all rows, not of those of a request
    REQUIRE(play.play().code == Errc::ok);
    const observe::RunReport report = play.master->report();
    const double whole = play.metric(report.test, "auc");
    double worth_most = 0;
    REQUIRE(report.parties.size() == world.members + 1);
    for (const observe::PartyReport& party : report.parties) {
        INFO(party.name);
        REQUIRE(party.metrics_without.size() == report.test.size());
        const double without = play.metric(party.metrics_without, "auc");
        if (party.features == 0)
            CHECK(without == whole);
        else
            CHECK(without != whole);
        worth_most = std::max(worth_most, whole - without);
    }
    CHECK(worth_most > 0.05);  // one of little worth may be worth nothing

    // the same after a death, also in the last evaluation
    std::size_t all = 0;
    Play counted(world);
    counted.config = play.config;
    counted.set().on_reply_hook = [&](std::size_t member, Message& reply) {
        if (reply.metadata.message_type == message::evaluate && member == 1) ++all;
        return true;
    };
    REQUIRE(counted.play().code == Errc::ok);
    Play disturbed(world);
    disturbed.config = play.config;
    bool done = false;
    auto& events = disturbed.set();
    std::size_t evaluated = 0;
    const std::size_t of_death = all - 1;
    events.on_reply_hook = [&](std::size_t member, Message& reply) {
        if (reply.metadata.message_type == message::evaluate && member == 1) ++evaluated;
        return true;
    };
    events.before_event = [&](std::size_t) {
        if (done || evaluated < of_death) return;
        done = true;
        disturbed.resume_master();
    };
    REQUIRE(disturbed.play().code == Errc::ok);
    CHECK(done);
    for (std::size_t p = 0; p <= world.members; ++p)
        CHECK(disturbed.master->report().parties[p].metrics_without ==
              report.parties[p].metrics_without);
}

TEST_CASE("the worth of a network's party is that of its mean embedding") {
    World world = network_world(vflbus::Task::logistic);
    world.master_features = false;
    Play play(world);
    learn_longer(play);
    play.config.model.eval_batch_size = 1000;         // all rows in one request
    std::vector<models::Matrix> last(world.members);  // of the test rows, which are asked last
    play.set().on_reply_hook = [&](std::size_t member, Message& reply) {
        if (reply.metadata.message_type != message::evaluate) return true;
        const auto numbers = decode_evaluate_reply(reply.content);
        REQUIRE(numbers);
        copy_tensor(numbers->scores, last[member]);
        return true;
    };
    REQUIRE(play.play().code == Errc::ok);
    const auto part = split::parse_split_part(play.file(0), "model.json");
    REQUIRE(part);
    const auto top = split::Top::create(play.config, *part->top);
    REQUIRE(top);
    std::vector<models::nn::Records> numbers(world.members);
    std::vector<const models::nn::Records*> parts;
    for (std::size_t m = 0; m < world.members; ++m) {
        if (m == 0)  // without this one
            for (std::size_t k = 0; k < last[m].rows(); ++k) {
                double sum = 0;
                for (std::size_t i = 0; i < last[m].cols(); ++i) sum += last[m](k, i);
                const double mean = sum / static_cast<double>(last[m].cols());
                for (std::size_t i = 0; i < last[m].cols(); ++i) last[m](k, i) = mean;
            }
        models::nn::from_matrix(last[m].view(), numbers[m]);
        parts.push_back(&numbers[m]);
    }
    models::Matrix scores;
    (*top)->scores(parts, scores);
    const auto evaluated = parse_evaluation(play.evaluation(), 2);
    REQUIRE(evaluated);
    REQUIRE(evaluated->rows() == scores.rows());
    const observe::RunReport& report = play.master->report();
    CHECK(models::auc(evaluated->col(0), scores.col(0)) ==
          Approx(play.metric(report.parties[1].metrics_without, "auc")).margin(1e-9));
}

TEST_CASE("split networks learn counts and amounts, by units of exposure too") {
    const auto task = GENERATE(vflbus::Task::poisson, vflbus::Task::gamma, vflbus::Task::tweedie);
    const bool exposed = GENERATE(false, true);
    CAPTURE(config::name_of(task), exposed);
    World world = network_world(task);
    Play play(world);
    learn_longer(play);
    // exp(signal / 2) in whole numbers, of 1 to 3 units
    data::Table table = *play.tables[0][TableKind::train];
    data::Column exposure;
    exposure.name = "units";
    for (std::size_t i = 0; i < table.rows(); ++i) {
        const auto row = static_cast<std::size_t>(std::stoul(std::string(table.ids[i].substr(1))));
        const double units = exposed ? static_cast<double>(row % 3 + 1) : 1;
        exposure.numbers.push_back(units);
        const double least = task == vflbus::Task::gamma ? 1 : 0;
        table.labels[0].numbers[i] = std::round(units * std::exp(world.signal(row, 0) / 2)) + least;
    }
    if (exposed) table.exposure = std::move(exposure);
    play.tables[0][TableKind::train] = std::make_shared<data::Table>(std::move(table));
    if (exposed) play.config.parties["master"].exposure = "units";
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    // the share of the constant's deviance that it explains
    CHECK(play.metric(play.master->report().test, "d2") > 0.5);
}

TEST_CASE("split networks learn with each of their options") {
    Play play(network_world(vflbus::Task::logistic));
    learn_longer(play);
    config::ModelConfig& model = play.config.model;
    SECTION("sum") {
        model.combine = config::Combine::sum;
    }
    SECTION("mean") {
        model.combine = config::Combine::mean;
    }
    SECTION("gelu") {
        model.activation = config::ActivationName::gelu;
    }
    SECTION("silu") {
        model.activation = config::ActivationName::silu;
    }
    SECTION("batch norm") {
        model.norm = config::NormName::batch;
    }
    SECTION("layer norm") {
        model.norm = config::NormName::layer;
    }
    SECTION("dropout") {
        model.dropout = 0.2;
    }
    SECTION("no hidden layer at the top") {
        model.top = "";
    }
    SECTION("resnet") {
        model.name = config::ModelName::resnet;
    }
    SECTION("sgd") {
        model.solver = config::Solver::sgd;
        model.momentum = 0.9;
        model.learning_rate = 0.05;
    }
    SECTION("adam") {
        model.solver = config::Solver::adam;
        model.optimizer = config::Optimizer::adam;
    }
    SECTION("warm-up, cosine and clipping") {
        model.schedule = config::Schedule::cosine;
        model.warmup_epochs = 2;
        model.clip_norm = 1;
    }
    SECTION("step schedule") {
        model.schedule = config::Schedule::step;
        model.drop_epochs = 8;
        model.drop_factor = 0.3;
    }
    SECTION("balanced classes") {
        model.class_weights.rule = config::ClassWeights::Rule::balanced;
    }
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    CHECK(headline(play, vflbus::Task::logistic) > 0.9);
}

TEST_CASE("each key of networks changes what is trained") {
    const auto trained = [](const auto& change) {
        World world = network_world(vflbus::Task::logistic);
        world.name = config::ModelName::resnet;
        Play play(world);
        learn_longer(play);
        play.config.model.epochs = 2;
        // every other key has something to act on
        play.config.model.norm = config::NormName::batch;
        play.config.model.schedule = config::Schedule::step;
        play.config.model.drop_epochs = 1;
        change(play.config.model);
        const Ending ending = play.play();
        INFO(ending.sentence);
        REQUIRE(ending.code == Errc::ok);
        return play.files();
    };
    using Model = config::ModelConfig;
    const auto as_it_is = trained([](Model&) {});
    const std::vector<std::pair<const char*, void (*)(Model&)>> changes{
        {"bottom", [](Model& m) { m.bottom = "16-4"; }},
        {"top", [](Model& m) { m.top = "4"; }},
        {"combine", [](Model& m) { m.combine = config::Combine::sum; }},
        {"activation", [](Model& m) { m.activation = config::ActivationName::gelu; }},
        {"norm", [](Model& m) { m.norm = config::NormName::layer; }},
        {"dropout", [](Model& m) { m.dropout = 0.4; }},
        {"blocks", [](Model& m) { m.blocks = 1; }},
        {"hid_factor", [](Model& m) { m.hid_factor = 0.5; }},
        {"residual_dropout", [](Model& m) { m.residual_dropout = 0.4; }},
        {"schedule", [](Model& m) { m.schedule = config::Schedule::constant; }},
        {"warmup_epochs", [](Model& m) { m.warmup_epochs = 1; }},
        {"drop_epochs", [](Model& m) { m.drop_epochs = 0.5; }},
        {"drop_factor", [](Model& m) { m.drop_factor = 0.5; }},
        {"clip_norm", [](Model& m) { m.clip_norm = 1e-3; }},
        {"weight_decay", [](Model& m) { m.weight_decay = 1; }},
        {"learning_rate", [](Model& m) { m.learning_rate = 0.02; }},
        {"batch_size", [](Model& m) { m.batch_size = 64; }},
        {"shuffle", [](Model& m) { m.shuffle = false; }}};
    for (const auto& [key, change] : changes) {
        CAPTURE(key);
        CHECK(trained(change) != as_it_is);
    }
}

TEST_CASE("each key of networks for pictures changes what is trained") {
    const auto trained = [](const auto& change) {
        World world = network_world(vflbus::Task::logistic);
        world.name = config::ModelName::efficientnet;
        world.rows = 150;
        Play play(world);
        play.config.model.norm = config::NormName::batch;
        play.config.model.epochs = 2;
        change(play.config.model);
        const Ending ending = play.play();
        INFO(ending.sentence);
        REQUIRE(ending.code == Errc::ok);
        return play.files();
    };
    using Model = config::ModelConfig;
    const auto as_it_is = trained([](Model&) {});
    const std::vector<std::pair<const char*, void (*)(Model&)>> changes{
        {"bottom", [](Model& m) { m.bottom = "24-8"; }},
        {"width_factor", [](Model& m) { m.width_factor = 0.5; }},
        {"depth_factor", [](Model& m) { m.depth_factor = 1.5; }},
        {"stochastic_depth", [](Model& m) { m.stochastic_depth = 0.6; }},
        {"shift", [](Model& m) { m.shift = 0; }},
        {"dropout", [](Model& m) { m.dropout = 0.4; }},
        {"activation", [](Model& m) { m.activation = config::ActivationName::gelu; }},
        {"norm", [](Model& m) { m.norm = config::NormName::layer; }}};
    for (const auto& [key, change] : changes) {
        CAPTURE(key);
        CHECK(trained(change) != as_it_is);
    }
}

TEST_CASE("pictures are told apart by what is in them, wherever that is") {
    // one light line in a dark picture, upright or lying: any pixel alone tells nothing
    World world = network_world(vflbus::Task::logistic);
    world.name = config::ModelName::efficientnet;
    world.members = 1;
    world.master_features = false;
    Play play(world);
    for (std::size_t p = 0; p <= world.members; ++p) {
        auto table = std::make_shared<data::Table>(*play.tables[p][TableKind::train]);
        const std::vector<std::size_t> order = world.order(p, 1);
        const auto lies = [](std::size_t row) { return Rng(mix_seed(3, row)).below(2) == 0; };
        const auto place = [](std::size_t row) { return Rng(mix_seed(4, row)).below(8); };
        if (p == 0)
            for (std::size_t r = 0; r < order.size(); ++r)
                table->labels[0].numbers[r] = lies(order[r]) ? 1 : 0;
        table->features.clear();
        for (std::size_t pixel = 0; p != 0 && pixel < 64; ++pixel) {
            data::Column column;
            column.name = "p" + std::to_string(pixel);
            for (const std::size_t row : order) {
                const bool light = place(row) == (lies(row) ? pixel / 8 : pixel % 8);
                column.numbers.push_back((light ? 200 : 20) +
                                         Rng(mix_seed(row, pixel)).uniform() * 40);
            }
            table->features.push_back(std::move(column));
        }
        table->image = {8, 8, 1};
        play.tables[p][TableKind::train] = table;
    }
    config::ModelConfig& model = play.config.model;
    model.norm = config::NormName::batch;
    model.activation = config::ActivationName::silu;
    model.learning_rate = 0.01;
    model.epochs = 6;
    model.width_factor = 0.5;
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    CHECK(headline(play, vflbus::Task::logistic) > 0.98);
}

TEST_CASE("a network for pictures asks what the features of a party are") {
    World world = network_world(vflbus::Task::logistic);
    world.name = config::ModelName::efficientnet;
    Play play(world);
    auto table = std::make_shared<data::Table>(*play.tables[1][TableKind::train]);
    SECTION("not stated") {
        table->image.reset();
        play.tables[1][TableKind::train] = table;
        const Ending ending = play.play();
        CHECK(ending.code == Errc::bad_config);
        INFO(ending.sentence);
        CHECK(ending.sentence.find("image") != std::string::npos);
    }
    SECTION("of another size") {
        table->image = {2, 2, 1};
        play.tables[1][TableKind::train] = table;
        const Ending ending = play.play();
        CHECK(ending.code == Errc::bad_data);
        INFO(ending.sentence);
        CHECK(ending.sentence.find("pixels") != std::string::npos);
    }
    SECTION("stated to be none: dense layers") {
        table->image = {0, 0, 0};
        play.tables[1][TableKind::train] = table;
        REQUIRE(play.play().code == Errc::ok);
        const auto part = split::parse_split_part(play.file(1), "model.json");
        REQUIRE(part);
        CHECK(part->bottom.shape.body == models::nn::Body::mlp);
    }
}

TEST_CASE("a network that no machine has room for is refused, at the member as at the owner") {
    World world = network_world(vflbus::Task::logistic);
    world.name = config::ModelName::resnet;
    world.master_features = GENERATE(true, false);
    CAPTURE(world.master_features);
    Play play(world);
    play.config.model.bottom = "16384-8";
    play.config.model.top = "8";
    play.config.model.blocks = 64;
    play.config.model.hid_factor = 16;  // 9 TB
    const Ending ending = play.play();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::too_large);
    CHECK(ending.sentence.find("model.bottom") != std::string::npos);
}

TEST_CASE("what a network takes is known before it is made") {
    const auto body =
        GENERATE(models::nn::Body::mlp, models::nn::Body::resnet, models::nn::Body::efficientnet);
    models::nn::NetworkShape shape;
    shape.body = body;
    shape.image = {28, 28, 1};
    shape.inputs = 784;
    shape.hidden = {64};
    shape.outputs = 16;
    shape.blocks = body == models::nn::Body::resnet ? 3 : 0;
    const models::nn::Network network(shape, 1);
    const double bytes = 4 * sizeof(float) * static_cast<double>(network.size());
    const double told = split::bytes_trained(shape, 0);
    CHECK(told > 0.7 * bytes);
    CHECK(told < 1.3 * bytes);
    CHECK(split::bytes_trained(shape, 1000) > told + 1000 * 4 * 784);
    // 64 KiB of each record, for 2^30 of them
    shape.hidden = {16384};
    CHECK_FALSE(split::check_room(split::bytes_trained(shape, 1 << 30), 1 << 30, 1ULL << 40));
    if (body != models::nn::Body::efficientnet)
        CHECK_FALSE(split::check_room(split::bytes_inferred(shape, 1 << 30), 1 << 30, 1ULL << 40));
    CHECK(split::check_room(split::bytes_inferred(shape, 1000), 1000, 1ULL << 30));
    CHECK(split::check_room(1e30, 1, {}));  // where nobody says how much there is
}

TEST_CASE("the model does not depend on the order of rows in the tables") {
    const World world = network_world(vflbus::Task::softmax);
    Play one(world, 1);
    Play other(world, 2);
    REQUIRE(one.play().code == Errc::ok);
    REQUIRE(other.play().code == Errc::ok);
    for (std::size_t p = 0; p <= world.members; ++p) CHECK(one.file(p) == other.file(p));
}

TEST_CASE("a split part comes back as it went") {
    World world = network_world(GENERATE(vflbus::Task::linear, vflbus::Task::softmax));
    world.name = GENERATE(config::ModelName::mlp, config::ModelName::efficientnet);
    world.messy = world.name == config::ModelName::mlp;
    Play play(world);
    REQUIRE(play.play().code == Errc::ok);
    for (std::size_t p = 0; p <= world.members; ++p) {
        const std::string text = play.file(p);
        const auto part = split::parse_split_part(text, "model.json");
        REQUIRE(part);
        CHECK(split::to_json(*part) == text);
        // a damaged file is refused, wherever it was cut
        CHECK_FALSE(split::parse_split_part(text.substr(0, text.size() / 2), "model.json"));
        std::string shorter = text;
        const std::size_t values = shorter.find("\"values\": [");
        REQUIRE(values != std::string::npos);
        const std::size_t comma = shorter.find(',', values);
        shorter.erase(shorter.rfind('[', comma) + 1, comma - shorter.rfind('[', comma));
        const auto refused = split::parse_split_part(shorter, "model.json");
        if (refused) {
            // one number too few for the network, which says so when it takes them
            models::nn::Network network(refused->bottom.shape, 1);
            const bool bottom = bool(network.set_values(refused->bottom.values));
            const bool top = !refused->top || models::nn::Network(refused->top->network.shape, 1)
                                                  .set_values(refused->top->network.values);
            CHECK_FALSE((bottom && top));
        }
    }
    CHECK_FALSE(parse_model_part(play.file(1), "model.json"));
}

TEST_CASE("a prediction with another number of parties is refused") {
    const World world = network_world(vflbus::Task::logistic);
    Play trained(world);
    REQUIRE(trained.play().code == Errc::ok);
    auto part = split::parse_split_part(trained.file(0), "model.json");
    REQUIRE(part);
    part->top->embeddings = 1;
    Play play(world);
    play.env = trained.env;
    play.env.files["runs/" + trained.run.hex() + "/master/model.json"] = split::to_json(*part);
    play.run.bytes[0] = 0xcd;
    for (std::size_t p = 0; p <= world.members; ++p) {
        play.tables[p][TableKind::predict] = play.tables[p][TableKind::train];
        play.tables[p].erase(TableKind::train);
    }
    play.set_prediction(trained.run);
    const Ending ending = play.play();
    CHECK(ending.code == Errc::bad_data);
    CHECK(ending.sentence.find("networks of 1 parties, and this run has 3") != std::string::npos);
}

TEST_CASE("split networks refuse protocols that cannot hide what they send, with the reason") {
    Play play(network_world(vflbus::Task::logistic));
    const auto refused = [&] {
        const auto made = make_train_master(play.master_options());
        REQUIRE_FALSE(made);
        CHECK(made.error().code == Errc::bad_config);
        return made.error().sentence;
    };
    play.config.run.protocol = config::Protocol::arbitered;
    CHECK(refused().find("through layers that no arbiter computes") != std::string::npos);
    play.config.run.protocol = config::Protocol::encrypted;
    CHECK(refused().find("state model.combine = \"sum\" or \"mean\"") != std::string::npos);
    play.config.model.combine = config::Combine::sum;
    CHECK(refused().find("model.bottom = \"8-5\" has more: state a single width") !=
          std::string::npos);
    play.config.model.name = config::ModelName::resnet;
    CHECK(refused().find("state model.name = \"mlp\" and a single width") != std::string::npos);
    play.config.model.name = config::ModelName::mlp;
    play.config.model.combine = config::Combine::concat;
    play.config.run.protocol = config::Protocol::masked;
    CHECK(refused().find("state model.combine = \"sum\" or \"mean\"") != std::string::npos);
}

namespace {

/// A run that predicts the rows that `play` has trained with, from the parts that it has left.
void predict_from_parts(const World& world, const Play& play) {
    Play scored(world);
    scored.config = play.config;
    scored.env = play.env;
    scored.run.bytes[0] = 0xcd;
    for (std::size_t p = 0; p <= world.members; ++p) {
        scored.tables[p][TableKind::predict] = scored.tables[p][TableKind::train];
        scored.tables[p].erase(TableKind::train);
    }
    scored.set_prediction(play.run);
    const Ending predicted = scored.play();
    INFO(predicted.sentence);
    CHECK(predicted.code == Errc::ok);
}

Play masked_play(const World& world, config::Combine combine) {
    Play play(world);
    learn_longer(play);
    play.config.model.combine = combine;
    play.config.run.protocol = config::Protocol::masked;
    return play;
}

}  // namespace

TEST_CASE("masked networks learn what honest ones do from the sum of the parties' numbers") {
    World world = network_world(vflbus::Task::logistic);
    world.master_features = GENERATE(true, false);
    const auto combine = GENERATE(config::Combine::sum, config::Combine::mean);
    CAPTURE(world.master_features);
    Play honest(world);
    learn_longer(honest);
    honest.config.model.combine = combine;
    REQUIRE(honest.play().code == Errc::ok);

    Play play = masked_play(world, combine);
    std::size_t rings = 0;
    auto& harness = play.set();
    harness.on_reply_hook = [&](std::size_t, Message& reply) {
        const auto type = reply.metadata.message_type;
        if (type != message::step && type != message::evaluate) return true;
        const auto scores = decode_step_reply(reply.content);
        if (!scores || scores->scores.cols == 0) return true;
        CHECK(scores->scores.ring);
        ++rings;
        return true;
    };
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    CHECK(rings > 100);
    // what hides a party's numbers hides what it is worth
    for (const observe::PartyReport& party : play.master->report().parties)
        CHECK(party.metrics_without.empty());
    CHECK(headline(play, vflbus::Task::logistic) ==
          Approx(headline(honest, vflbus::Task::logistic)).margin(0.02));

    // other masks, the same bits; and after the master or a member has died
    Play again = masked_play(world, combine);
    REQUIRE(again.play().code == Errc::ok);
    CHECK(again.files() == play.files());
    for (const std::size_t at : {120, 300}) {
        Play disturbed = masked_play(world, combine);
        auto& events = disturbed.set();
        bool done = false;
        events.before_event = [&](std::size_t n) {
            if (n != at) return;
            done = true;
            if (at == 120)
                disturbed.restart_member(1);
            else
                disturbed.resume_master();
        };
        const Ending end = disturbed.play();
        INFO(end.sentence);
        REQUIRE(end.code == Errc::ok);
        CHECK(done);
        CHECK(disturbed.files() == play.files());
    }

    // and predict the same from their parts
    predict_from_parts(world, play);
}

namespace {

Play encrypted_play(const World& world) {
    Play play(world);
    learn_longer(play);
    play.config.model.bottom = "8";
    play.config.model.combine = config::Combine::sum;
    play.config.run.protocol = config::Protocol::encrypted;
    return play;
}

/// The parties of a play in one process: the same tables, rows and first weights.
struct InOneProcess {
    explicit InOneProcess(Play& play) : config(play.config) {
        std::vector<data::PartyIds> ids;
        for (std::size_t p = 0; p <= play.world.members; ++p) {
            parties.push_back(std::make_unique<Party>(Play::name(p), play.config, play.source(p)));
            REQUIRE(parties[p]->align(TableKind::train));
        }
        for (std::size_t p = 0; p < parties.size(); ++p) {
            const data::LocalIds& local = parties[p]->local(TableKind::train);
            ids.push_back({Play::name(p), local.ids, local.counts, local.shape});
        }
        const auto common = data::intersect(ids, 0, data::Join::inner);
        REQUIRE(common);
        for (std::size_t p = 0; p < parties.size(); ++p) {
            REQUIRE(parties[p]->select(TableKind::train, common->selections[p], common->rows));
            REQUIRE(parties[p]->split());
            REQUIRE(parties[p]->build());
        }
    }

    /// Trains with gradients that nobody hides: X' G in doubles. The last weights of each party's
    /// network, the master's top network behind them.
    std::vector<std::vector<float>> train() {
        const auto labels = read_labels(*parties[0], config.model.task, "");
        REQUIRE(labels);
        std::vector<std::unique_ptr<split::Bottom>> bottoms;
        for (std::size_t p = 0; p < parties.size(); ++p) {
            const auto place = p == 0 ? split::Place::master : split::member_place(p - 1);
            bottoms.push_back(split::Bottom::create(*parties[p], place).value());
        }
        BatchSchedule& schedule = bottoms[0]->schedule();
        auto top = split::Top::create(
            config, *labels, bottoms.size(),
            split::rate_config(config.model, schedule.steps(), schedule.batches()));
        REQUIRE(top);
        models::Matrix batch;
        models::Matrix by_rows;
        std::vector<models::nn::Records> gradients;
        for (std::uint64_t step = 0; step < schedule.steps(); ++step) {
            std::vector<const models::nn::Records*> parts;
            for (const auto& bottom : bottoms) parts.push_back(&bottom->forward(step));
            REQUIRE((*top)->step(step, parts, schedule.rows(step), gradients));
            models::nn::to_rows(gradients[0], by_rows);
            REQUIRE(bottoms[0]->backward(step, gradients[0]));
            for (std::size_t p = 1; p < bottoms.size(); ++p) {
                bottoms[p]->batch_rows(step, batch);
                models::Matrix gradient(batch.cols(), by_rows.cols());
                for (std::size_t j = 0; j < batch.cols(); ++j)
                    for (std::size_t k = 0; k < by_rows.cols(); ++k)
                        for (std::size_t i = 0; i < batch.rows(); ++i)
                            gradient(j, k) += batch(i, j) * by_rows(i, k);
                REQUIRE(bottoms[p]->take_gradient(step, gradient));
            }
        }
        std::vector<std::vector<float>> values;
        for (const auto& bottom : bottoms) values.push_back(bottom->state().values);
        values.push_back((*top)->state().values);
        return values;
    }

    config::Config config;
    std::vector<std::unique_ptr<Party>> parties;
};

/// How far two networks are apart: the Euclidean distance by the length of the first one.
double apart(const std::vector<float>& a, const std::vector<float>& b) {
    REQUIRE(a.size() == b.size());
    double squares = 0;
    double length = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
        squares += difference * difference;
        length += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    }
    return std::sqrt(squares / length);
}

}  // namespace

TEST_CASE("networks whose numbers are summed have metrics on the way, which change nothing") {
    World world = network_world(vflbus::Task::logistic);
    world.rows = 200;
    const bool encrypts = GENERATE(false, true);
    const auto make = [&] {
        Play play = encrypts ? encrypted_play(world) : masked_play(world, config::Combine::sum);
        play.config.model.epochs = 4;
        return play;
    };
    Play plain = make();
    REQUIRE(plain.play().code == Errc::ok);
    Play looking = make();
    looking.config.model.report_test_metrics_iteration = 3;
    looking.config.model.report_train_metrics_iteration = 5;
    const Ending ending = looking.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    const auto looks =
        std::ranges::count(looking.master->report().history, "test", &observe::HistoryEntry::split);
    CHECK(looks > 4);
    for (std::size_t p = 0; p <= world.members; ++p) {
        const auto values = [&](const Play& play) {
            const auto part = split::parse_split_part(play.file(p), "part");
            REQUIRE(part);
            return part->bottom.values;
        };
        CHECK(values(looking) == values(plain));
    }
}

TEST_CASE("an encrypted network is the one that is trained with gradients which nobody hides") {
    World world = network_world(GENERATE(vflbus::Task::logistic, vflbus::Task::softmax));
    world.rows = 200;
    Play play = encrypted_play(world);
    // steps that follow the gradient: adam's first ones follow its sign, which rounding may change,
    // as it may change on which side of relu's corner a number lies
    use_solver(play.config.model, config::Solver::sgd);
    play.config.model.activation = config::ActivationName::silu;
    play.config.model.learning_rate = 0.05;
    play.config.model.momentum = 0.5;
    play.config.model.epochs = 4;
    play.config.model.norm = GENERATE(config::NormName::none, config::NormName::batch);
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    const std::vector<std::vector<float>> expected = InOneProcess(play).train();
    for (std::size_t p = 0; p <= world.members; ++p) {
        CAPTURE(p);
        const auto part = split::parse_split_part(play.file(p), "part");
        REQUIRE(part);
        // nothing but the matrix, and a bias that only the master's own network has
        CHECK(part->bottom.shape.hidden.empty());
        CHECK(part->head.format.version == 3);
        CHECK(apart(expected[p], part->bottom.values) < 1e-3);
        if (p == 0) {
            CHECK(apart(expected.back(), part->top->network.values) < 1e-3);
            CHECK(part->top->network.shape.goes_on);
        }
    }
}

TEST_CASE("encrypted networks learn every task, and no gradient of a row leaves the master") {
    const auto task = GENERATE(vflbus::Task::logistic, vflbus::Task::linear,
                               vflbus::Task::multilabel, vflbus::Task::softmax);
    CAPTURE(config::name_of(task));
    World world = network_world(task);
    world.master_features = task != vflbus::Task::multilabel;
    world.members = task == vflbus::Task::linear ? 1 : 2;
    Play play = encrypted_play(world);
    if (task == vflbus::Task::softmax) play.config.model.combine = config::Combine::mean;
    std::size_t products = 0;
    play.set().on_request = [&](std::size_t, Message& request) {
        const MessageType type = request.metadata.message_type;
        products += type == linear::product_message ? 1 : 0;
        if (type != message::step) return true;
        const auto step = decode_step_request(request.content);
        REQUIRE(step);
        CHECK(step->tensor.ring);
        CHECK(step->tensor.cols == 8);
        return true;
    };
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    CHECK(products > 100);
    CHECK(headline(play, task) > (world.master_features ? 0.8 : 0.6));

    // a prediction needs no gradients
    predict_from_parts(world, play);
}

TEST_CASE("encrypted networks come to the same bits with other keys, in folds and after deaths") {
    World world = network_world(vflbus::Task::logistic);
    world.rows = 150;
    world.folds = GENERATE(0, 2);
    const auto make = [&] {
        Play play = encrypted_play(world);
        play.config.model.epochs = 3;
        play.config.model.dropout = 0.2;
        play.config.bus.commit_steps = 4;
        if (world.folds != 0) play.config.data.test_fraction = 0;
        return play;
    };
    Play play = make();
    REQUIRE(play.play().code == Errc::ok);
    Play again = make();
    REQUIRE(again.play().code == Errc::ok);
    CHECK(again.files() == play.files());
    for (const std::size_t at : {40, 80, 120}) {
        Play disturbed = make();
        auto& events = disturbed.set();
        bool done = false;
        events.before_event = [&](std::size_t n) {
            if (n != at) return;
            done = true;
            if (at == 80)
                disturbed.resume_master();
            else
                disturbed.restart_member(at == 40 ? 0 : 1);
        };
        const Ending end = disturbed.play();
        INFO(end.sentence);
        REQUIRE(end.code == Errc::ok);
        CHECK(done);
        CHECK(disturbed.files() == play.files());
    }
}

TEST_CASE("a member of an encrypted network takes a product of its step once, and no plain one") {
    World world = network_world(vflbus::Task::logistic);
    world.rows = 150;
    Play play = encrypted_play(world);
    play.config.model.epochs = 1;
    std::size_t asked = 0;
    auto& harness = play.set();
    harness.on_request = [&](std::size_t member, Message& request) {
        if (request.metadata.message_type != message::step || member != 0 || asked++ != 1)
            return true;
        // the product of this step has been answered: neither another one nor gradients of rows
        models::Matrix plain(8, 32);
        linear::ProductRequest product;
        product.step = 1;
        for (const auto& answer :
             {harness.ask(0, linear::product_message, encode(product, models::Matrix(0, 1))),
              harness.ask(0, message::step, encode_step(1, plain))})
            CHECK_FALSE(answer);
        return true;
    };
    const Ending ending = play.play();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::ok);
    CHECK(asked > 2);
}

TEST_CASE(
    "noise on what leaves a member is normal, and the same when a batch is gone through again") {
    models::Matrix numbers(500, 40);
    split::add_noise(7, split::member_place(1), 12, 0.5, numbers.view());
    double sum = 0;
    double squares = 0;
    for (const double number : numbers.span()) {
        sum += number;
        squares += number * number;
    }
    const auto n = static_cast<double>(numbers.size());
    CHECK(sum / n == Approx(0).margin(0.02));
    CHECK(std::sqrt(squares / n) == Approx(0.5).epsilon(0.02));
    models::Matrix again(500, 40);
    split::add_noise(7, split::member_place(1), 12, 0.5, again.view());
    CHECK(std::ranges::equal(again.span(), numbers.span()));
    again.fill(0);
    split::add_noise(7, split::member_place(1), 13, 0.5, again.view());
    CHECK_FALSE(std::ranges::equal(again.span(), numbers.span()));
    again.fill(0);
    split::add_noise(7, split::member_place(0), 12, 0.5, again.view());
    CHECK_FALSE(std::ranges::equal(again.span(), numbers.span()));
}
