// Trainings in which members do not see the residuals.

#include <algorithm>
#include <chrono>
#include <set>

#include "actors/training/linear/padded.hpp"
#include "catch.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

World encrypted_world(vflbus::Task task, config::Solver solver) {
    World world;
    world.task = task;
    world.solver = solver;
    world.rows = 150;
    return world;
}

void set_up(Play& play) {
    play.config.run.protocol = config::Protocol::encrypted;
    if (play.world.solver != config::Solver::lbfgs) play.config.model.epochs = 2;
}

std::vector<std::string> train_encrypted(Play& play) {
    set_up(play);
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    return play.files();
}

}  // namespace

TEST_CASE("encrypted trainings: all tasks, both solver families, the same bits whatever the keys") {
    const auto task = GENERATE(vflbus::Task::logistic, vflbus::Task::linear,
                               vflbus::Task::multilabel, vflbus::Task::softmax);
    const auto solver = GENERATE(config::Solver::sgd, config::Solver::adam, config::Solver::lbfgs);
    World world = encrypted_world(task, solver);
    world.messy = true;
    CAPTURE(config::name_of(task), config::name_of(solver));
    Play honest(world);
    set_up(honest);
    honest.config.run.protocol = config::Protocol::honest;
    REQUIRE(honest.play().code == Errc::ok);
    Play play(world);
    const std::vector<std::string> models = train_encrypted(play);
    Play again(world, 2);  // other rows' order in the files, keys, masks, noise
    again.harness_seed = 5;
    CHECK(train_encrypted(again) == models);
    for (std::size_t p = 0; p <= world.members; ++p) {
        const auto expected = honest.part(p).weights;
        const auto weights = play.part(p).weights;
        REQUIRE(weights.size() == expected.size());
        for (std::size_t i = 0; i < weights.size(); ++i)
            CHECK(weights[i] == Approx(expected[i]).margin(2e-3));
    }
}

TEST_CASE("a column that two parties have gets no weight for what is rounded of it") {
    World world = encrypted_world(vflbus::Task::logistic, config::Solver::lbfgs);
    world.shared = true;
    world.members = 1;
    world.features = 2;
    world.rows = 60;
    Play honest(world);
    set_up(honest);
    honest.config.run.protocol = config::Protocol::honest;
    honest.config.model.l2 = 0;
    honest.config.model.tolerance = 1e-9;
    REQUIRE(honest.play().code == Errc::ok);
    Play play(world);
    play.config.model.l2 = 0;
    play.config.model.tolerance = 1e-9;
    train_encrypted(play);
    // of such a column only the sum of both weights is determined: how it is shared out is up to
    // rounding, within bounds
    const auto expected = std::array{honest.part(0).weights, honest.part(1).weights};
    const auto weights = std::array{play.part(0).weights, play.part(1).weights};
    REQUIRE(weights[0].size() == 2);
    REQUIRE(weights[1].size() == 2);
    for (std::size_t i = 0; i < 2; ++i) {
        CHECK(weights[0][i] + weights[1][i] ==
              Approx(expected[0][i] + expected[1][i]).margin(2e-3));
        CHECK(weights[0][i] == Approx(expected[0][i]).margin(.1));
    }
}

TEST_CASE("a penalty that leaves nothing of masked scores is refused, by name") {
    World world = encrypted_world(vflbus::Task::logistic, config::Solver::lbfgs);
    Play play(world);
    set_up(play);
    play.config.run.protocol = GENERATE(config::Protocol::masked, config::Protocol::encrypted);
    play.config.model.l2 = 1e12;
    const Ending ending = play.play();
    CHECK(ending.code == Errc::bad_config);
    INFO(ending.sentence);
    CHECK(ending.sentence.find("model.l2 = 1e+12") != std::string::npos);
}

TEST_CASE("encrypted trainings come to the same model after deaths") {
    const auto solver = GENERATE(config::Solver::sgd, config::Solver::lbfgs);
    const World world = encrypted_world(vflbus::Task::logistic, solver);
    Play undisturbed(world);
    const std::vector<std::string> models = train_encrypted(undisturbed);
    for (const std::size_t at : {30, 45, 60, 75}) {
        Play play(world);
        set_up(play);
        auto& harness = play.set();
        harness.before_event = [&](std::size_t n) {
            if (n != at) return;
            if (at % 30 == 0)
                play.restart_member(1);
            else
                play.resume_master();
        };
        const Ending ending = play.play();
        CAPTURE(at, ending.sentence);
        REQUIRE(ending.code == Errc::ok);
        CHECK(play.files() == models);
    }
}

TEST_CASE("encrypted cross-validation, one member, and members without columns") {
    World world = encrypted_world(vflbus::Task::logistic, config::Solver::sgd);
    world.folds = GENERATE(0, 3);
    world.members = GENERATE(1, 2);
    world.features = GENERATE(3, 1);
    Play play(world);
    const std::vector<std::string> models = train_encrypted(play);
    Play again(world);
    CHECK(train_encrypted(again) == models);
}

TEST_CASE("a run says when a member's gradients tell labels, and which key changes it") {
    const auto said = [](std::size_t batch, config::Solver solver) {
        Play play(encrypted_world(vflbus::Task::logistic, solver));
        set_up(play);
        if (solver != config::Solver::lbfgs) play.config.model.batch_size = batch;
        REQUIRE(play.play().code == Errc::ok);
        std::string all;
        for (const std::string& line : play.log) all += line + "\n";
        // the plan of the encryption, once for each member
        const auto plan = all.find("encryption for member-1: N = 8192");
        CHECK(plan != std::string::npos);
        CHECK(all.find("encryption for member-1", plan + 1) == std::string::npos);
        return all;
    };
    CHECK(said(0, config::Solver::sgd).find("may not stay hidden") == std::string::npos);
    CHECK(said(0, config::Solver::lbfgs).find("may not stay hidden") == std::string::npos);
    const std::string few = said(8, config::Solver::sgd);
    CHECK(few.find("LABELS ARE NOT HIDDEN") == std::string::npos);
    CHECK(few.find("labels may not stay hidden: member-0 has 3 columns") != std::string::npos);
    CHECK(few.find("model.batch_size (8)") != std::string::npos);
    const std::string none = said(3, config::Solver::sgd);
    CHECK(none.find("LABELS ARE NOT HIDDEN: member-0 has 3 columns") != std::string::npos);
}

TEST_CASE("messages that the broker does not carry are refused before the first step, by name") {
    const auto solver = GENERATE(config::Solver::sgd, config::Solver::lbfgs);
    Play play(encrypted_world(vflbus::Task::logistic, solver));
    set_up(play);
    auto& harness = play.set();
    harness.message_max = 256 << 10;  // a ciphertext and a key have 282 KiB
    bool computed = false;
    harness.on_request = [&](std::size_t, Message& request) {
        computed |= request.metadata.message_type == linear::product_message;
        return true;
    };
    const Ending ending = play.play();
    CHECK(ending.code == Errc::too_large);
    CHECK(ending.sentence.find("bus.message_bytes_max, of this party or its broker") !=
          std::string::npos);
    CHECK_FALSE(computed);
}

TEST_CASE("a member whose messages hold less than the master's is told of before the first step") {
    const auto protocol = GENERATE(config::Protocol::encrypted, config::Protocol::honest);
    const auto solver = GENERATE(config::Solver::sgd, config::Solver::lbfgs);
    Play play(encrypted_world(vflbus::Task::logistic, solver));
    set_up(play);
    play.config.run.protocol = protocol;
    auto& harness = play.set();
    // a ciphertext and a key have 282 KiB, and a batch has more than 6 residuals of 8 bytes
    harness.message_max_of_member[1] = protocol == config::Protocol::honest ? 64 : 256 << 10;
    bool computed = false;
    harness.on_request = [&](std::size_t, Message& request) {
        const auto type = request.metadata.message_type;
        computed |= type == linear::product_message || type == message::step;
        return true;
    };
    const Ending ending = play.play();
    CHECK(ending.code == Errc::too_large);
    CHECK(ending.sentence.starts_with("member-1"));
    CHECK(ending.sentence.find("bus.message_bytes_max") != std::string::npos);
    CHECK_FALSE(computed);
}

TEST_CASE("each fold counts among what the flood hides") {
    config::AgreedHalf agreed;
    CHECK(linear::products_of(agreed, 10) == 10);
    agreed.data.folds = 5;
    CHECK(linear::products_of(agreed, 10) == 60);
    CHECK(linear::products_of(agreed, UINT64_MAX / 2) == UINT64_MAX);
}

TEST_CASE("no residual leaves the master in the clear, and no key serves two epochs or members") {
    const World world = encrypted_world(vflbus::Task::logistic, config::Solver::sgd);
    Play play(world);
    set_up(play);
    auto& harness = play.set();
    std::set<Bytes> keys_seen;
    std::set<Bytes> seeds;
    std::size_t products = 0, steps_asked = 0;
    std::vector<std::uint64_t> last;
    harness.on_request = [&](std::size_t, Message& request) {
        if (request.metadata.message_type == message::step) {
            ++steps_asked;
            const auto step = linear::decode_padded_step(request.content).value();
            CHECK(step.opened.ring);
            REQUIRE(step.residual.ring);
            std::vector<std::uint64_t> words(step.residual.rows);
            step.residual.copy_to(words);
            // residuals have 21 bits; words under a pad, and what two of them differ by, have all
            // 43 (three of a batch are below 2^22 once in 10^14 runs)
            const auto wide = [](std::uint64_t word) { return word >> 22 != 0; };
            REQUIRE(words.size() > 4);
            CHECK(std::ranges::count_if(words, wide) >= std::ssize(words) - 2);
            for (std::size_t i = 0; i < std::min(words.size(), last.size()); ++i)
                CHECK(words[i] != last[i]);
            last = words;
        }
        if (request.metadata.message_type != linear::product_message) return true;
        ++products;
        const auto product = linear::decode_product_request(request.content).value();
        if (!product.zero.empty())
            CHECK(keys_seen.insert(Bytes(product.zero.begin(), product.zero.end())).second);
        CHECK(seeds.insert(Bytes(product.ciphertexts.begin(), product.ciphertexts.begin() + 32))
                  .second);
        return true;
    };
    REQUIRE(play.play().code == Errc::ok);
    CHECK(keys_seen.size() == 2 * world.members);  // two epochs
    CHECK(products == steps_asked);
    CHECK(seeds.size() == products);
}

TEST_CASE("products are ahead of their steps, by two at most, and each is answered once") {
    World world = encrypted_world(vflbus::Task::logistic, config::Solver::sgd);
    world.features = 3;
    Play undisturbed(world);
    const std::vector<std::string> models = train_encrypted(undisturbed);
    Play play(world);
    set_up(play);
    auto& harness = play.set();
    std::uint64_t due = 0;
    std::uint64_t most = 0;
    std::uint64_t answered = 0;
    Bytes once;
    bool refused = false;
    harness.on_request = [&](std::size_t member, Message& request) {
        if (member != 1) return true;
        if (request.metadata.message_type == message::step) {
            const auto step = linear::decode_padded_step(request.content).value();
            due = step.step + 1;
            // with a number that is not modulo t, or another count, a step changes nothing
            const std::size_t rows = step.residual.rows;
            std::vector<std::uint64_t> opened(step.opened.rows);
            step.opened.copy_to(opened);
            std::vector<std::uint64_t> words(rows, std::uint64_t{1} << 60);
            for (int kind = 0; kind < 2; ++kind, words.assign(rows + 1, 0)) {
                const auto answer =
                    harness.ask(1, message::step, linear::encode(step, opened, words, 1));
                REQUIRE(!answer);
                CHECK(answer.error().code == Errc::malformed_message);
            }
        }
        if (request.metadata.message_type != linear::product_message) return true;
        const auto product = linear::decode_product_request(request.content).value();
        most = std::max(most, product.step - due);
        CHECK(product.step >= due);
        // one that was answered, and one that is too far ahead
        if (answered >= due && due > 0 && !refused) {
            CHECK_FALSE(harness.ask(1, linear::product_message, once));
            auto far = product;
            far.step = due + linear::products_ahead_max + 1;
            CHECK_FALSE(
                harness.ask(1, linear::product_message, linear::encode(far, models::Matrix(0, 1))));
            refused = true;
        }
        once = request.content;
        answered = product.step;
        return true;
    };
    const Ending ending = play.play();
    CAPTURE(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    CHECK(most == linear::products_ahead_max - 1);  // of the step that was sent just before
    CHECK(refused);
    CHECK(play.files() == models);
}

TEST_CASE("a member that answers with another size, or too much, ends the run by its name") {
    Play play(encrypted_world(vflbus::Task::logistic, config::Solver::sgd));
    set_up(play);
    auto& harness = play.set();
    harness.on_reply_hook = [&](std::size_t member, Message& reply) {
        if (member != 1 || !reply.has_content() ||
            reply.metadata.message_type != linear::product_message)
            return true;
        const auto answer = linear::decode_product_reply(reply.content).value();
        Bytes longer(answer.begin(), answer.end());
        longer.push_back(0);
        reply.content = linear::encode_product_reply(longer);
        return true;
    };
    const Ending ending = play.play();
    CHECK(ending.code == Errc::malformed_message);
    CHECK(ending.sentence.find("member-1") != std::string::npos);
}

TEST_CASE("a product that does not fit is refused by the member and changes nothing") {
    Play play(encrypted_world(vflbus::Task::logistic, config::Solver::sgd));
    set_up(play);
    auto& harness = play.set();
    harness.on_request = [&](std::size_t member, Message& request) {
        if (member != 0 || request.metadata.message_type != linear::product_message) return true;
        auto product = linear::decode_product_request(request.content).value();
        product.ciphertexts = product.ciphertexts.first(product.ciphertexts.size() - 1);
        request.content = linear::encode(product, models::Matrix(0, 1));
        return true;
    };
    const Ending ending = play.play();
    CHECK(ending.code == Errc::malformed_message);
    CHECK(ending.sentence.find("member-0") != std::string::npos);
}

TEST_CASE("after a begin that failed nothing of the training is answered") {
    const auto solver = GENERATE(config::Solver::lbfgs, config::Solver::sgd);
    CAPTURE(static_cast<int>(solver));
    Play play(encrypted_world(vflbus::Task::logistic, solver));
    set_up(play);
    play.config.data.folds = 3;
    auto& harness = play.set();
    bool asked = false;
    harness.on_request = [&](std::size_t member, Message& request) {
        if (member != 0 || request.metadata.message_type != linear::product_message || asked)
            return true;
        asked = true;
        // all rows are test rows: none is left to train with
        Bytes all((play.world.rows + 7) / 8, 0);
        for (std::size_t i = 0; i < play.world.rows; ++i)
            all[i / 8] = static_cast<std::uint8_t>(all[i / 8] | (1U << (i % 8)));
        CHECK_FALSE(harness.ask(0, message::begin, encode(BeginRequest{1, all, 0})));
        return true;
    };
    const Ending ending = play.play();
    CHECK(asked);
    CHECK(ending.code == Errc::handler_failed);
    CHECK(ending.sentence.find("member-0") != std::string::npos);
}

// -- slow lines -------------------------------------------------------------------------------

namespace {

/// Many columns, so that packing answers saves more than keys for it cost.
void set_up_wide(Play& play) {
    set_up(play);
    play.config.model.batch_size = 128;
}
World wide_world() {
    World world = encrypted_world(vflbus::Task::logistic, config::Solver::sgd);
    world.rows = 2400;
    world.features = 500;
    return world;
}

/// Replies to products take as long as a line of 50 Mbit/s makes them.
template <class Then>
void slow_down(Play& play, Then then) {
    auto& harness = play.set();
    harness.on_request = [then](std::size_t member, Message& request) {
        if (request.metadata.message_type == linear::product_message)
            then(member, linear::decode_product_request(request.content).value());
        return true;
    };
    harness.on_reply_hook = [&harness](std::size_t, Message& reply) {
        if (reply.has_content() && reply.metadata.message_type == linear::product_message)
            harness.advance(std::chrono::nanoseconds(160 * (reply.content.size() + 144'000)));
        return true;
    };
}

}  // namespace

TEST_CASE("on a slow line answers are packed once it is known, and the model is the same bits") {
    Play fast(wide_world());
    set_up_wide(fast);
    REQUIRE(fast.play().code == Errc::ok);
    for (const std::string& line : fast.log) CHECK(line.find("packed from") == std::string::npos);

    const std::size_t resumed_at = GENERATE(0, 90);  // an event after the choice
    Play slow(wide_world());
    set_up_wide(slow);
    std::vector<std::size_t> packed(slow.world.members);
    std::vector<std::size_t> keys(slow.world.members);
    std::size_t products = 0;
    slow_down(slow, [&](std::size_t member, const linear::ProductRequest& request) {
        ++products;
        packed[member] += request.line != 0 ? 1 : 0;
        keys[member] += request.switch_keys.empty() ? 0 : 1;
        CHECK((request.line != 0 || request.switch_keys.empty()));
    });
    slow.harness->before_event = [&](std::size_t n) {
        if (n == resumed_at && n > 0) slow.resume_master();
    };
    const Ending ending = slow.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    CHECK(slow.files() == fast.files());
    std::size_t said = 0;
    std::string logged;
    for (const std::string& line : slow.log) logged += line + "\n";
    INFO(logged);
    for (const std::string& line : slow.log)
        said += line.find("line to member-") != std::string::npos &&
                        line.find("packed from") != std::string::npos
                    ? 1
                    : 0;
    CHECK(said >= slow.world.members);
    for (std::size_t member = 0; member < packed.size(); ++member) {
        CHECK(packed[member] > products / slow.world.members / 2);
        CHECK(keys[member] >= 2);  // once for each epoch
        CHECK(keys[member] < 6);
    }
}

TEST_CASE("a line that nobody can have, and switch keys at the wrong time, are refused") {
    const auto refused = [](auto change) {
        Play play(wide_world());
        set_up_wide(play);
        auto& harness = play.set();
        harness.on_request = [&](std::size_t member, Message& request) {
            if (member != 0 || request.metadata.message_type != linear::product_message)
                return true;
            const Bytes own = request.content;
            auto product = linear::decode_product_request(own).value();
            change(product);
            request.content = linear::encode(product, models::Matrix(0, 1));
            return true;
        };
        const Ending ending = play.play();
        CHECK(ending.sentence.find("member-0") != std::string::npos);
        return ending.code == Errc::malformed_message;
    };
    const Bytes some(64);
    CHECK(refused([](auto& product) { product.line = privacy::rlwe::line_max + 1; }));
    CHECK(refused([&](auto& product) { product.switch_keys = some; }));
    CHECK(refused([](auto& product) { product.line = 30; }));  // and no keys for it
    CHECK(refused([&](auto& product) {
        product.line = 30;
        product.switch_keys = some;
    }));
}

TEST_CASE("a line is known by the shortest of its messages") {
    using std::chrono::milliseconds;
    linear::LineMeter meter;
    CHECK_FALSE(meter.ready());
    meter.product(milliseconds(300), 100'000);  // the first one has keys
    meter.product(milliseconds(120), 50'000);
    CHECK_FALSE(meter.ms_of_byte(10));
    meter.product(milliseconds(150), 50'000);
    for (const int ms : {30, 20, 40}) meter.step(milliseconds(ms));
    CHECK(meter.ready());
    // 120 - 20 - 10 ms for 50,000 bytes
    CHECK(meter.ms_of_byte(10).value() == Approx(90. / 50'000));
    CHECK_FALSE(meter.ms_of_byte(100));  // all of it may have been calculation
    linear::LineMeter still;             // a clock that does not move
    for (int i = 0; i < 3; ++i) {
        still.product({}, 1000);
        still.step({});
    }
    CHECK_FALSE(still.ms_of_byte(0));
}
