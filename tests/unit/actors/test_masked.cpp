// Trainings with masked scores: the same model whatever the masks are, and the honest one within
// what fixed point rounds.

#include <algorithm>
#include <set>

#include "actors/protocols/masked.hpp"
#include "actors/training/linear/lbfgs/messages.hpp"
#include "catch.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

World world_of(vflbus::Task task, config::Solver solver) {
    World world;
    world.task = task;
    world.solver = solver;
    return world;
}

std::vector<std::string> train(Play& play) {
    play.config.run.protocol = config::Protocol::masked;
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    return play.files();
}

/// The tensors of a reply that are scores.
std::vector<TensorView> tensors_of(MessageType type, Body body) {
    if (type == message::step || type == message::evaluate)
        return {decode_step_reply(body).value().scores};
    if (type == message::begin) return {decode_begin_reply(body).value().scores};
    if (type == message::restore) return {decode_restore_reply(body).value().scores};
    if (type != linear::iterate_message) return {};
    const auto reply = linear::decode_iterate_reply(body).value();
    return {reply.scores, reply.products};
}

}  // namespace

TEST_CASE("masked trainings: all tasks, both solver families, close to honest ones") {
    const auto task = GENERATE(vflbus::Task::logistic, vflbus::Task::linear,
                               vflbus::Task::multilabel, vflbus::Task::softmax);
    const auto solver = GENERATE(config::Solver::sgd, config::Solver::lbfgs);
    const World world = world_of(task, solver);
    CAPTURE(config::name_of(task), config::name_of(solver));
    Play honest(world);
    REQUIRE(honest.play().code == Errc::ok);
    Play play(world);
    const std::vector<std::string> models = train(play);
    // other masks, the same bits
    Play again(world);
    CHECK(train(again) == models);
    for (std::size_t p = 0; p <= world.members; ++p) {
        const auto expected = honest.part(p).weights;
        const auto weights = play.part(p).weights;
        REQUIRE(weights.size() == expected.size());
        for (std::size_t i = 0; i < weights.size(); ++i)
            CHECK(weights[i] ==
                  Approx(expected[i]).margin(solver == config::Solver::sgd ? 1e-8 : 1e-4));
    }
}

TEST_CASE("no member's tensor travels without a mask, and none looks like another") {
    const auto solver = GENERATE(config::Solver::sgd, config::Solver::lbfgs);
    Play play(world_of(vflbus::Task::logistic, solver));
    std::size_t words = 0;
    std::set<std::uint64_t> seen;
    auto& harness = [&]() -> Harness& {
        play.config.run.protocol = config::Protocol::masked;
        return play.set();
    }();
    std::map<std::uint64_t, MessageType> types;
    harness.on_request = [&](std::size_t member, Message& request) {
        types[request.metadata.message_id * 16 + member] = request.metadata.message_type;
        return true;
    };
    harness.on_reply_hook = [&](std::size_t member, Message& reply) {
        const auto type = types.find(reply.metadata.message_id * 16 + member);
        if (type == types.end() || !reply.has_content()) return true;
        for (const TensorView& tensor : tensors_of(type->second, reply.content)) {
            if (tensor.rows * tensor.cols == 0) continue;
            CHECK(tensor.ring);
            std::vector<std::uint64_t> values(tensor.rows * tensor.cols);
            tensor.copy_to(values);
            words += values.size();
            seen.insert(values.begin(), values.end());
        }
        return true;
    };
    REQUIRE(play.play().code == Errc::ok);
    CHECK(words > 1000);
    // numbers in the clear would share their high bits; random words hardly ever meet. (The rows of
    // the test table are asked for once more at the end, with the weights and masks they had.)
    CHECK(seen.size() > words / 2);
    std::size_t small = 0;
    for (const std::uint64_t word : seen) small += (word >> 44) == 0 || (word >> 44) == 0xfffff;
    CHECK(small < 20);
}

TEST_CASE("masked trainings come to the same model after a member or the master has died") {
    const auto solver = GENERATE(config::Solver::sgd, config::Solver::lbfgs);
    const World world = world_of(vflbus::Task::logistic, solver);
    Play undisturbed(world);
    const std::vector<std::string> models = train(undisturbed);
    for (const std::size_t at : {60, 90, 120, 150}) {
        Play play(world);
        play.config.run.protocol = config::Protocol::masked;
        auto& harness = play.set();
        harness.before_event = [&](std::size_t n) {
            if (n != at) return;
            if (at % 60 == 0)
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

TEST_CASE("masked cross-validation agrees on new keys in every fold") {
    World world = world_of(vflbus::Task::logistic, config::Solver::sgd);
    world.folds = 3;
    Play play(world);
    const std::vector<std::string> models = train(play);
    Play again(world);
    CHECK(train(again) == models);
    CHECK(again.out_of_fold() == play.out_of_fold());
}

TEST_CASE("with one member a run says that a mask hides nothing") {
    World world = world_of(vflbus::Task::logistic, config::Solver::sgd);
    world.members = 1;
    Play play(world);
    train(play);
    CHECK(std::ranges::any_of(play.log, [](const std::string& line) {
        return line.find("single member") != std::string::npos;
    }));
}

TEST_CASE("a run says when members without columns leave one alone with its mask") {
    const std::string sentence = "alone has features in the model";
    const auto said = [&](bool constant) {
        const World world = world_of(vflbus::Task::logistic, config::Solver::sgd);
        Play play(world);
        if (constant) {
            auto table = world.table(2, world.order(2, 1));
            for (data::Column& column : table.features) std::ranges::fill(column.numbers, 4.0);
            play.tables[2][TableKind::train] = std::make_shared<data::Table>(std::move(table));
        }
        train(play);
        return std::ranges::any_of(play.log, [&](const std::string& line) {
            return line.find("member-0 " + sentence) != std::string::npos;
        });
    };
    CHECK(said(true));
    CHECK_FALSE(said(false));
}

TEST_CASE("the line that says who sees what is that of the model, and of what is done with it") {
    const auto says = [](const std::string& line, const std::string& words) {
        return line.find(words) != std::string::npos;
    };
    config::Config config;
    config.run.world_size = 2;
    CHECK(says(protocol_notice(config), "every member the residuals"));
    CHECK(says(prediction_notice(config), "every member's partial scores"));
    CHECK_FALSE(says(prediction_notice(config), "residuals"));
    config.model.solver = config::Solver::sequential;
    CHECK(says(protocol_notice(config), "the targets of its batches"));
    config.model = {};
    config.model.name = config::ModelName::mlp;
    CHECK(says(protocol_notice(config), "every member the gradients of its own"));
    CHECK_FALSE(says(protocol_notice(config), "residuals"));
    CHECK_FALSE(says(protocol_notice(config), "noise"));
    config.model.noise = 0.5;
    CHECK(says(protocol_notice(config), "with noise added to it"));
    config.run.protocol = config::Protocol::masked;
    CHECK(says(protocol_notice(config), "no member's own, with noise added to it; every member"));
    CHECK(says(prediction_notice(config), "the sum of what the members' parts of the network"));
    config.run.world_size = 1;
    CHECK(says(prediction_notice(config), "nobody to share a mask with"));
    config.model = {};
    for (const auto protocol : {config::Protocol::masked, config::Protocol::encrypted}) {
        config.run.protocol = protocol;
        config.run.world_size = 2;
        CHECK(says(protocol_notice(config), "no member's own"));
        CHECK(says(prediction_notice(config), "no member's own"));
        CHECK_FALSE(says(prediction_notice(config), "gradient"));
        config.run.world_size = 1;
        CHECK(says(prediction_notice(config), "the member's partial scores"));
    }
}

TEST_CASE("a run that masks says when nothing seals its messages, and by which key") {
    config::Config config;
    config.run.protocol = GENERATE(config::Protocol::masked, config::Protocol::encrypted);
    CHECK(unsealed_notice(config).empty());  // on this machine
    config.bus.insecure = true;
    CHECK(unsealed_notice(config).find("bus.certificates") != std::string::npos);
    config.bus.insecure = false;
    config.bus.broker = "tcp://broker.bank.example:7423";
    CHECK(unsealed_notice(config).find("bus.certificates") != std::string::npos);
    config.bus.certificates = "/etc/vflbus/keys";
    CHECK(unsealed_notice(config).empty());
    config.bus.seal = config::Seal::off;
    CHECK(unsealed_notice(config).find("bus.seal") != std::string::npos);
    config.run.protocol = config::Protocol::honest;
    CHECK(unsealed_notice(config).empty());
    config.run.protocol = config::Protocol::masked;
    config.bus.broker = "ipc:///run/vflbus/bus";
    CHECK(unsealed_notice(config).empty());
}

TEST_CASE("labels in a unit that masks would round away are refused by name") {
    const auto unit = [](double factor, config::Protocol protocol, config::Solver solver) {
        const World world = world_of(vflbus::Task::linear, solver);
        Play play(world);
        auto table = world.table(0, world.order(0, 1));
        for (double& value : table.labels[0].numbers) value *= factor;
        play.tables[0][TableKind::train] = std::make_shared<data::Table>(std::move(table));
        play.config.run.protocol = protocol;
        return play.play();
    };
    for (const auto protocol : {config::Protocol::masked, config::Protocol::encrypted}) {
        const Ending refused = unit(1e-12, protocol, config::Solver::sgd);
        CHECK(refused.code == Errc::bad_data);
        CHECK(refused.sentence.find("'y0' has a deviation of ") != std::string::npos);
        CHECK(unit(1e-12, protocol, config::Solver::lbfgs).code == Errc::ok);
        CHECK(unit(1e-4, protocol, config::Solver::sgd).code == Errc::ok);
    }
    CHECK(unit(1e-12, config::Protocol::honest, config::Solver::sgd).code == Errc::ok);
    // of a constant label the data room says what it is, in any protocol
    CHECK(unit(0, config::Protocol::masked, config::Solver::sgd).sentence ==
          unit(0, config::Protocol::honest, config::Solver::sgd).sentence);
}

TEST_CASE("a member that sends no masks, or keys of another size, ends the run by its name") {
    Play play(world_of(vflbus::Task::logistic, config::Solver::sgd));
    play.config.run.protocol = config::Protocol::masked;
    auto& harness = play.set();
    std::size_t replies = 0;
    harness.on_reply_hook = [&](std::size_t member, Message& reply) {
        if (member != 1 || !reply.has_content()) return true;
        const auto round = decode_round_reply(reply.content);
        if (!round || round->payload.size() != 32) return true;
        ++replies;
        const Bytes shorter(round->payload.begin(), round->payload.end() - 1);
        RoundReply changed;
        changed.payload = shorter;
        reply.content = encode(changed);
        return true;
    };
    const Ending ending = play.play();
    CHECK(replies == 1);
    CHECK(ending.code == Errc::malformed_message);
    CHECK(ending.sentence.find("member-1") != std::string::npos);
}
