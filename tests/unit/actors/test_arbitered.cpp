// Trainings with an arbiter, in which nobody sees scores or residuals.

#include <algorithm>
#include <set>

#include "actors/training/linear/arbitered.hpp"
#include "catch.hpp"
#include "data/split.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

World arbitered_world(vflbus::Task task, config::Solver solver = config::Solver::sgd) {
    World world;
    world.task = task;
    world.solver = solver;
    world.rows = 150;
    return world;
}

void use_arbiter(Play& play, config::Encryption he = config::Encryption::none) {
    play.config.run.protocol = config::Protocol::arbitered;
    play.config.run.he = he;
    play.config.run.he_key_bits = 512;
    play.config.run.insecure_testing = true;
    play.config.model.epochs = 2;
}

std::vector<std::string> train_arbitered(Play& play,
                                         config::Encryption he = config::Encryption::none) {
    use_arbiter(play, he);
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    return play.files();
}

/// Every row counts one to four times as much as others.
void add_weights(Play& play) {
    auto& table = play.tables[0][TableKind::train];
    auto weighted = std::make_shared<data::Table>(*table);
    weighted->weights.emplace();
    weighted->weights->name = "w";
    for (std::size_t row = 0; row < weighted->rows(); ++row)
        weighted->weights->numbers.push_back(1 + static_cast<double>(row % 4));
    table = std::move(weighted);
}

/// The text of a part without the lines that say how the run was encrypted.
std::vector<std::string> weights_of(const Play& play) {
    std::vector<std::string> out;
    for (std::size_t p = 0; p <= play.world.members; ++p) {
        const ModelPart part = play.part(p);
        std::string text;
        for (const auto* list : {&part.weights, &part.intercept, &part.slope})
            for (const double value : *list) text += shortest(value) + " ";
        out.push_back(text);
    }
    return out;
}

}  // namespace

TEST_CASE("arbitered trainings: the same bits encrypted and not, whatever the keys") {
    const auto task = GENERATE(vflbus::Task::logistic, vflbus::Task::linear,
                               vflbus::Task::multilabel, vflbus::Task::softmax);
    const auto solver = GENERATE(config::Solver::sgd, config::Solver::adam);
    World world = arbitered_world(task, solver);
    world.rows = 90;
    world.messy = true;
    CAPTURE(config::name_of(task), config::name_of(solver));
    Play plain(world);
    train_arbitered(plain);
    Play encrypted(world);
    const auto models = train_arbitered(encrypted, config::Encryption::paillier);
    CHECK(weights_of(encrypted) == weights_of(plain));
    Play lattice(world);
    train_arbitered(lattice, config::Encryption::rlwe);
    CHECK(weights_of(lattice) == weights_of(plain));
    if (solver == config::Solver::adam) return;
    Play again(world, 2);  // other rows' order in the files, keys, random numbers
    again.harness_seed = 5;
    CHECK(train_arbitered(again, config::Encryption::paillier) == models);
}

TEST_CASE("an arbitered linear training is the honest one but for rounding") {
    const World world = arbitered_world(vflbus::Task::linear);
    Play honest(world);
    use_arbiter(honest);
    honest.config.run.protocol = config::Protocol::honest;
    REQUIRE(honest.play().code == Errc::ok);
    Play play(world);
    train_arbitered(play);
    for (std::size_t p = 0; p <= world.members; ++p) {
        const auto expected = honest.part(p).weights;
        const auto weights = play.part(p).weights;
        REQUIRE(weights.size() == expected.size());
        for (std::size_t i = 0; i < weights.size(); ++i)
            CHECK(weights[i] == Approx(expected[i]).margin(2e-3));
    }
    CHECK(play.part(0).intercept[0] == Approx(honest.part(0).intercept[0]).margin(2e-3));
    CHECK(play.part(0).slope.empty());
}

namespace {

/// The same 40 epochs in the clear and with an arbiter.
void play_with_and_without(Play& honest, Play& arbitered) {
    for (Play* const play : {&honest, &arbitered}) {
        use_arbiter(*play);
        play->config.model.epochs = 40;
    }
    honest.config.run.protocol = config::Protocol::honest;
    REQUIRE(honest.play().code == Errc::ok);
    REQUIRE(arbitered.play().code == Errc::ok);
}

}  // namespace

TEST_CASE("an arbitered logistic training ranks as well, and its probabilities are refitted") {
    const World world = arbitered_world(vflbus::Task::logistic);
    Play honest(world);
    Play play(world);
    play_with_and_without(honest, play);
    const auto& of = play.master->report();
    const auto& joined = honest.master->report();
    CHECK(play.metric(of.test, "auc") > play.metric(joined.test, "auc") - .01);
    // without slope and offset the loss would be far above that of the honest model
    CHECK(play.metric(of.train, "loss") < 1.3 * play.metric(joined.train, "loss"));
    const ModelPart part = play.part(0);
    REQUIRE(part.slope.size() == 1);
    CHECK(part.slope[0] > 1.2);
    // steps have no loss, and nothing pretends one
    for (const auto& entry : of.history) CHECK_FALSE(entry.metrics.empty());
    for (const auto& state : play.progress) CHECK(std::isnan(state.loss));
}

TEST_CASE("arbitered classes rank as well, and their probabilities are refitted") {
    const World world = arbitered_world(vflbus::Task::softmax);
    Play honest(world);
    Play play(world);
    play_with_and_without(honest, play);
    const auto& of = play.master->report();
    const auto& joined = honest.master->report();
    CHECK(play.metric(of.train, "accuracy") > play.metric(joined.train, "accuracy") - .05);
    CHECK(play.metric(of.train, "loss") < 1.1 * play.metric(joined.train, "loss"));
    const ModelPart part = play.part(0);
    REQUIRE(part.slope.size() == 3);
    CHECK(part.slope[0] > 1);
    CHECK(part.slope[1] == part.slope[0]);
}

TEST_CASE("weights of rows and classes: the master's alone, under encryption") {
    const bool classes = GENERATE(true, false);
    const auto task = GENERATE(vflbus::Task::logistic, vflbus::Task::linear, vflbus::Task::softmax);
    if (classes && task == vflbus::Task::linear) return;
    World world = arbitered_world(task);
    world.rows = 90;
    CAPTURE(classes, config::name_of(task));
    const auto prepare = [&](Play& play, config::Encryption he) {
        use_arbiter(play, he);
        if (classes) play.config.model.class_weights.rule = config::ClassWeights::Rule::balanced;
        if (!classes) add_weights(play);
    };
    Play plain(world);
    prepare(plain, config::Encryption::none);
    REQUIRE(plain.play().code == Errc::ok);
    Play encrypted(world);
    prepare(encrypted, config::Encryption::paillier);
    const Ending ending = encrypted.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    CHECK(weights_of(encrypted) == weights_of(plain));
    Play unweighted(world);
    train_arbitered(unweighted);
    CHECK(weights_of(unweighted) != weights_of(plain));
    if (classes) return;  // (refused with lattices when the configuration is read)
    // lattices hold all rows of a batch in one ciphertext
    Play lattice(world);
    prepare(lattice, config::Encryption::rlwe);
    const Ending refused = lattice.play();
    CHECK(refused.code == Errc::bad_config);
    CHECK(refused.sentence.find("run.he = \"paillier\"") != std::string::npos);
    if (task != vflbus::Task::linear) return;
    // but for rounding it is the training of the weighted squares
    Play honest(world);
    prepare(honest, config::Encryption::none);
    honest.config.run.protocol = config::Protocol::honest;
    REQUIRE(honest.play().code == Errc::ok);
    for (std::size_t p = 0; p <= world.members; ++p)
        for (std::size_t i = 0; i < plain.part(p).weights.size(); ++i)
            CHECK(plain.part(p).weights[i] == Approx(honest.part(p).weights[i]).margin(5e-3));
}

TEST_CASE("arbitered trainings come to the same model after deaths of everybody") {
    const auto he =
        GENERATE(config::Encryption::none, config::Encryption::paillier, config::Encryption::rlwe);
    const auto task = GENERATE(vflbus::Task::logistic, vflbus::Task::softmax);
    World world = arbitered_world(task);
    world.rows = 90;
    Play undisturbed(world);
    const auto models = train_arbitered(undisturbed, he);
    for (const std::size_t at : {30, 41, 52, 63, 74, 85}) {
        Play play(world);
        use_arbiter(play, he);
        auto& harness = play.set();
        harness.before_event = [&](std::size_t n) {
            if (n != at) return;
            if (at % 3 == 0)
                play.restart_member(1);
            else if (at % 3 == 1)
                play.resume_master();
            else
                play.restart_arbiter();
        };
        const Ending ending = play.play();
        CAPTURE(at, ending.sentence);
        REQUIRE(ending.code == Errc::ok);
        CHECK(play.files() == models);
    }
}

TEST_CASE("arbitered cross-validation, one member, members without columns, no intercept") {
    World world = arbitered_world(vflbus::Task::logistic);
    world.rows = 90;
    world.folds = GENERATE(0, 3);
    world.members = GENERATE(1, 2);
    world.master_features = GENERATE(true, false);
    Play play(world);
    use_arbiter(play);
    play.config.model.intercept = world.folds == 0;
    REQUIRE(play.play().code == Errc::ok);
    Play again(world);
    use_arbiter(again);
    again.config.model.intercept = world.folds == 0;
    REQUIRE(again.play().code == Errc::ok);
    CHECK(again.files() == play.files());
}

TEST_CASE("the arbiter reads random numbers, and the others read nothing of residuals") {
    static std::vector<std::vector<std::uint64_t>> opened;
    opened.clear();
    linear::watch_opened([](std::size_t, std::span<const std::uint64_t> numbers) {
        opened.emplace_back(numbers.begin(), numbers.end());
    });
    const auto he = GENERATE(config::Encryption::none, config::Encryption::paillier);
    World world = arbitered_world(vflbus::Task::logistic);
    world.rows = 60;
    Play play(world);
    train_arbitered(play, he);
    linear::watch_opened(nullptr);
    REQUIRE(opened.size() > 9);
    std::set<std::uint64_t> all;
    std::size_t small = 0;
    std::size_t count = 0;
    for (const auto& numbers : opened)
        for (const std::uint64_t number : numbers) {
            ++count;
            all.insert(number);
            // sums of a batch are below 2^50
            const auto value = static_cast<std::int64_t>(number);
            small += std::abs(value) < (std::int64_t{1} << 50) ? 1 : 0;
        }
    CHECK(all.size() == count);
    CHECK(small <= 1 + count / 200);
}

TEST_CASE("what the arbiter is asked is checked, and each step is opened once") {
    Play play(arbitered_world(vflbus::Task::logistic));
    use_arbiter(play, config::Encryption::paillier);
    auto& harness = play.set();
    const std::size_t arbiter = play.world.members;
    std::optional<Bytes> open;
    std::size_t refused = 0;
    harness.on_request = [&](std::size_t party, Message& request) {
        if (party != arbiter || request.metadata.message_type != message::open || open) return true;
        open = request.content;
        const auto good = linear::decode_open_request(*open);
        REQUIRE(good);
        const auto ask = [&](const linear::OpenRequest& changed) {
            const auto reply = harness.ask(arbiter, message::open, linear::encode(changed));
            refused += reply ? 0 : 1;
        };
        linear::OpenRequest changed = *good;
        changed.answers.pop_back();  // a party is missing
        changed.features.pop_back();
        ask(changed);
        changed = *good;
        changed.step = 1'000'000;
        ask(changed);
        changed = *good;
        changed.features[1] += 100;  // of more columns than the answer has
        ask(changed);
        Bytes zeros(good->answers[1].size());  // no ciphertext
        changed = *good;
        changed.answers[1] = zeros;
        ask(changed);
        return true;
    };
    const Ending first = play.play();
    // the last one was of this step, which is opened no more
    CHECK(refused == 4);
    CHECK(first.code == Errc::handler_failed);
    CHECK(first.sentence.find("is opened once") != std::string::npos);
}

TEST_CASE("numbers that the arbiter opens wrongly, and ciphertexts that are none, are named") {
    const int what = GENERATE(0, 1, 2);
    Play play(arbitered_world(vflbus::Task::logistic));
    use_arbiter(play, config::Encryption::paillier);
    auto& harness = play.set();
    const std::size_t arbiter = play.world.members;
    harness.on_reply_hook = [&](std::size_t party, Message& reply) {
        const MessageType type = reply.metadata.message_type;
        if (what == 0 && party == arbiter && type == message::open) reply.content.back() ^= 0x7f;
        if (what == 1 && party == 1 && type == message::step) {
            // the shares of the next batch: the last ciphertext above n^2
            std::fill(reply.content.end() - 128, reply.content.end(), std::uint8_t{255});
        }
        if (what == 2 && party == arbiter && type == message::arbiter_key)
            reply.content.back() ^= 0xff;
        return true;
    };
    const Ending ending = play.play();
    CAPTURE(what, ending.sentence);
    CHECK(ending.code == Errc::malformed_message);
    CHECK(ending.sentence.find(what == 2 ? "arbiter" : "member-1") != std::string::npos);
}

TEST_CASE("an arbitered prediction needs no arbiter, and repeats the reported metrics") {
    const World world = arbitered_world(vflbus::Task::logistic);
    Play trained(world);
    train_arbitered(trained);
    Play play(world);
    use_arbiter(play);
    play.env = trained.env;
    play.run.bytes[0] = 0xcd;
    for (std::size_t p = 0; p <= world.members; ++p) {
        std::vector<std::size_t> people;
        for (std::size_t row = 0; row < world.rows; ++row) {
            bool all = true;
            for (std::size_t q = 0; q <= world.members; ++q) all = all && row % (q + 7) != 3;
            const auto id = hash128("u" + std::to_string(row), play.config.data.id_salt);
            if (all && data::is_test(id, play.config.run.seed, play.config.data.test_fraction))
                people.push_back(row);
        }
        play.tables[p].clear();
        play.tables[p][TableKind::predict] = std::make_shared<data::Table>(world.table(p, people));
    }
    play.set_prediction(trained.run);
    CHECK(play.master->spec().participants.size() == world.members);
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    const auto& expected = trained.master->report();
    const auto& report = play.master->report();
    for (const char* metric : {"auc", "loss"})
        CHECK(play.metric(report.test, metric) ==
              Approx(play.metric(expected.test, metric)).epsilon(1e-9));
}

TEST_CASE("an arbiter declines runs that have nothing for it") {
    Play play(arbitered_world(vflbus::Task::logistic));
    play.config.model.epochs = 2;
    auto& harness = play.set();
    harness.serve(1, play.arbiter());  // in a member's place
    const Ending ending = play.play();
    CHECK(ending.code == Errc::not_a_participant);
    CHECK(ending.sentence.find("\"arbitered\" alone") != std::string::npos);
}

TEST_CASE("scores too large for their integers end the run by name") {
    World world = arbitered_world(vflbus::Task::logistic);
    Play play(world);
    use_arbiter(play);
    play.config.model.learning_rate = 90;
    const Ending ending = play.play();
    CAPTURE(ending.sentence);
    CHECK(ending.code == Errc::diverged);
    CHECK(ending.sentence.find("model.learning_rate") != std::string::npos);
}

TEST_CASE("plans: bits of shares by the rows, and what does not fit is refused") {
    config::AgreedHalf agreed;
    agreed.run.world_size = 2;
    agreed.run.he_key_bits = 2048;
    agreed.run.he = config::Encryption::paillier;
    const auto bits = [&](std::size_t rows) {
        const auto plan = linear::plan_shares(agreed, {rows, 1, 100}, UINT64_MAX);
        return plan ? plan->residual_bits : 0;
    };
    CHECK(bits(256) == 20);
    // more rows leave fewer bits, so that the noise of lattices stays hidden, whatever encrypts
    CHECK(bits(4'096) < 20);
    CHECK(bits(4'096) >= 15);
    CHECK(bits(30'000) >= 12);
    CHECK(bits(3'000'000) == 12);
    CHECK(bits(5'000'000) == 0);
    const auto many = linear::plan_shares(agreed, {256, 19, 2'000}, UINT64_MAX);
    REQUIRE(many);
    CHECK(many->slot_bits == 50 + 2 + 40 + 10 + 11 + 5);
    CHECK(many->output_group() == 17);
    CHECK(many->output_groups() == 2);
    CHECK(many->words(256) == 256 * 2 * 64);
    CHECK(many->answer_ciphertexts(3) == 3 + 1);  // 2 outputs of 3 features go into one
    agreed.run.he = config::Encryption::rlwe;
    const auto lattice = linear::plan_shares(agreed, {256, 1, 2'000}, UINT64_MAX);
    REQUIRE(lattice);
    CHECK(lattice->residual_bits >= 17);
    CHECK(lattice->lattice.residual_bits == lattice->residual_bits);
    CHECK(lattice->lattice.hiding_bits >= 40);
    CHECK(linear::check_columns(*lattice, 1024));
    const auto columns = linear::check_columns(*lattice, 10'000'000);
    REQUIRE_FALSE(columns);
    CHECK(columns.error().sentence.find("run.he = \"paillier\"") != std::string::npos);
    // all rows in one batch are too many for lattices, and the sentence says what to do
    const auto all = linear::plan_shares(agreed, {24'000, 1, 2'000}, UINT64_MAX);
    REQUIRE_FALSE(all);
    CHECK(all.error().sentence.find("model.batch_size") != std::string::npos);
    CHECK(lattice->words(256) == 2 * 24576 * 47 / 64);
    agreed.run.he = config::Encryption::paillier;
    const auto large = linear::plan_shares(agreed, {1 << 20, 1, 100}, 64 << 20);
    REQUIRE_FALSE(large);
    CHECK(large.error().code == Errc::too_large);
}
