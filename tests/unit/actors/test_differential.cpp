// Trainings with noise for differential privacy.

#include <cmath>

#include "actors/protocols/noise.hpp"
#include "actors/training/linear/messages.hpp"
#include "actors/verdict.hpp"
#include "catch.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

struct Sides {
    bool labels = false;
    bool features = false;
};

World differential_world() {
    World world;
    world.rows = 150;
    return world;
}

void set_up(Play& play, config::Protocol protocol, Sides sides, double multiplier) {
    play.config.run.protocol = protocol;
    play.config.model.epochs = 2;
    if (sides.labels) play.config.privacy.noise_multiplier = multiplier;
    if (sides.features) play.config.privacy.score_noise_multiplier = multiplier;
}

/// A secret as a party draws it, there before the run begins.
void give_secrets(Play& play) {
    for (std::size_t p = 0; p <= play.world.members; ++p)
        play.env.files["runs/" + play.run.hex() + "/" + Play::name(p) + "/noise.key"] =
            std::string(32, static_cast<char>('a' + p));
}

std::vector<std::string> trained(Play& play) {
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    return play.files();
}

double deviation(const std::vector<double>& values) {
    double squares = 0;
    for (const double value : values) squares += value * value;
    return std::sqrt(squares / static_cast<double>(values.size()));
}

/// One step from zero weights, whose length is that of the gradient.
Play one_step(config::Protocol protocol, Sides sides, double multiplier) {
    World world = differential_world();
    world.features = 60;
    Play play(world);
    set_up(play, protocol, sides, multiplier);
    play.config.model.epochs = 1;
    play.config.model.batch_size = 0;
    play.config.model.learning_rate = 1;
    play.config.model.momentum = 0;
    play.config.model.weight_decay = 0;
    return play;
}

}  // namespace

TEST_CASE("noisy trainings come to the same model after deaths, by the secrets that were stored") {
    const auto protocol =
        GENERATE(config::Protocol::honest, config::Protocol::masked, config::Protocol::encrypted);
    const Sides sides = GENERATE(Sides{true, false}, Sides{false, true}, Sides{true, true});
    const World world = differential_world();
    CAPTURE(config::name_of(protocol), sides.labels, sides.features);
    Play undisturbed(world);
    set_up(undisturbed, protocol, sides, 2);
    give_secrets(undisturbed);
    const std::vector<std::string> models = trained(undisturbed);
    for (const std::size_t at : {40, 55, 70}) {
        Play play(world, 2);  // other rows' order in the files
        set_up(play, protocol, sides, 2);
        give_secrets(play);
        play.harness_seed = at;
        auto& harness = play.set();
        harness.before_event = [&](std::size_t n) {
            if (n != at) return;
            if (at % 2 == 0)
                play.restart_member(1);
            else
                play.resume_master();
        };
        CAPTURE(at);
        CHECK(trained(play) == models);
    }
}

TEST_CASE(
    "a secret is drawn once for a run, kept over deaths, and gone at the members in the end") {
    Play play(differential_world());
    set_up(play, config::Protocol::encrypted, {true, true}, 2);
    const std::string root = "runs/" + play.run.hex() + "/";
    std::map<std::string, std::string> seen;
    bool all_the_same = true;
    const auto look = [&] {
        for (const auto& [path, content] : play.env.files)
            if (path.ends_with("noise.key"))
                all_the_same =
                    all_the_same && seen.try_emplace(path, content).first->second == content;
    };
    auto& harness = play.set();
    harness.before_event = [&](std::size_t n) {
        look();
        if (n == 50) play.restart_member(0);
        if (n == 65) play.resume_master();
    };
    trained(play);
    CHECK(all_the_same);
    CHECK(seen.size() == 3);
    CHECK(seen.at(root + "master/noise.key").size() == 32);
    CHECK(seen.at(root + "member-0/noise.key") != seen.at(root + "member-1/noise.key"));
    CHECK(play.env.files.count(root + "member-0/noise.key") == 0);
    // another run of the same configuration has other noise
    Play other(differential_world());
    set_up(other, config::Protocol::encrypted, {true, true}, 2);
    CHECK(trained(other) != play.files());
}

TEST_CASE("a secret that is none ends the run, as the noise cannot be made again") {
    Play play(differential_world());
    set_up(play, config::Protocol::honest, {true, false}, 2);
    play.env.files["runs/" + play.run.hex() + "/master/noise.key"] = "short";
    const Ending ending = play.play();
    CHECK(ending.code == Errc::state_lost);
    CHECK(ending.sentence.find("noise.key") != std::string::npos);
}

TEST_CASE("with hardly any noise and wide bounds the model is that without") {
    const auto protocol =
        GENERATE(config::Protocol::honest, config::Protocol::masked, config::Protocol::encrypted);
    const Sides sides = GENERATE(Sides{true, false}, Sides{false, true}, Sides{true, true});
    CAPTURE(config::name_of(protocol), sides.labels, sides.features);
    const World world = differential_world();
    Play plain(world);
    plain.config.model.epochs = 2;
    plain.config.model.intercept = false;
    trained(plain);
    Play play(world);
    set_up(play, protocol, sides, 1e-6);
    play.config.model.intercept = false;
    play.config.privacy.feature_clip_norm = 20;
    play.config.privacy.score_clip_norm = 100;
    trained(play);
    for (std::size_t p = 0; p <= world.members; ++p) {
        const auto expected = plain.part(p).weights;
        const auto weights = play.part(p).weights;
        REQUIRE(weights.size() == expected.size());
        for (std::size_t i = 0; i < weights.size(); ++i)
            CHECK(weights[i] == Approx(expected[i]).margin(5e-3));
    }
}

TEST_CASE("the noise on what travels is as wide as the configuration says") {
    Play play = one_step(config::Protocol::honest, {true, true}, 50);
    std::vector<double> residuals;
    std::vector<double> scores;
    auto& harness = play.set();
    harness.on_request = [&](std::size_t, Message& request) {
        if (request.metadata.message_type != message::step) return true;
        models::Matrix sent;
        copy_tensor(decode_step_request(request.content).value().tensor, sent);
        for (const double value : sent.span())
            residuals.push_back(value * static_cast<double>(sent.rows()));
        return true;
    };
    trained(play);
    REQUIRE(residuals.size() > 100);
    CHECK(deviation(residuals) == Approx(50 * 2 * 1).epsilon(.25));
    // members' weights: one step with residuals that are shortened to 401 times their bound
    const double rows = static_cast<double>(residuals.size()) / 2;  // to two members
    const auto weights = play.part(1).weights;
    CHECK(deviation(weights) > 50 * 2 * 3 * 401 / rows * .7);
}

TEST_CASE("the noise in the steps of each party is as wide as the configuration says") {
    const bool labels = GENERATE(true, false);
    const auto protocol = labels ? config::Protocol::encrypted
                                 : GENERATE(config::Protocol::masked, config::Protocol::encrypted);
    Play play = one_step(protocol, {labels, !labels}, 50);
    trained(play);
    const double rows = static_cast<double>(play.master->report().rows_train);
    const double expected = 50 * 2 * 3 / rows;
    CAPTURE(labels, config::name_of(protocol));
    for (const std::size_t p : {1, 2}) {
        const auto weights = play.part(p).weights;
        REQUIRE(weights.size() == 60);
        CHECK(deviation(weights) == Approx(expected).epsilon(.35));
    }
    CHECK(deviation(play.part(1).weights) != deviation(play.part(2).weights));
    const double own = deviation(play.part(0).weights);
    if (labels)
        CHECK(own == Approx(expected).epsilon(.35));
    else
        CHECK(own < expected / 3);  // nobody hears of the master's own steps
}

TEST_CASE("what does not work because of noise is not blamed on the training") {
    Play play(differential_world());
    set_up(play, config::Protocol::masked, {false, true}, 100);
    play.config.privacy.score_clip_norm = 1e6;
    const Ending ending = play.play();
    CHECK(ending.code == Errc::too_large);
    CHECK(ending.sentence.find("privacy.score_clip_norm") != std::string::npos);
    CHECK(ending.sentence.find("learning_rate") == std::string::npos);
    // nor is a solver advised that refuses noise
    config::AgreedHalf agreed = play.config;
    CHECK(divergence_hint(agreed).find("[privacy]") != std::string::npos);
    CHECK(divergence_hint(agreed).find("lbfgs") == std::string::npos);
    agreed.privacy = {};
    CHECK(divergence_hint(agreed).find("lbfgs") != std::string::npos);
    agreed.run.protocol = config::Protocol::arbitered;
    CHECK(divergence_hint(agreed).find("lbfgs") == std::string::npos);
}

TEST_CASE("a member shows no scores on the way that nobody has counted") {
    Play play(differential_world());
    set_up(play, config::Protocol::honest, {false, true}, 2);
    auto& harness = play.set();
    harness.on_request = [&](std::size_t member, Message& request) {
        if (member != 1 || request.metadata.message_type != message::step) return true;
        EvaluateRequest asked;
        asked.table = TableKind::train;
        asked.rows = 10;
        request.metadata.message_type = message::evaluate;
        request.content = encode(asked);
        return true;
    };
    const Ending ending = play.play();
    CHECK(ending.code == Errc::handler_failed);
    CHECK(ending.sentence.find("shows scores of its rows after the last step alone") !=
          std::string::npos);
}

TEST_CASE("what the noise promises stands in the first lines, in the notes and in the report") {
    const auto protocol = GENERATE(config::Protocol::honest, config::Protocol::encrypted);
    Play play(differential_world());
    set_up(play, protocol, {true, true}, 2);
    play.config.privacy.insecure_testing = GENERATE(false, true);
    trained(play);
    const auto& report = play.master->report();
    REQUIRE(report.differential_privacy);
    REQUIRE(report.differential_privacy->labels);
    REQUIRE(report.differential_privacy->features);
    // two epochs; encrypted: of two members, the master's columns and the intercept
    const double releases = protocol == config::Protocol::encrypted ? 2 * 4 : 2;
    CHECK(report.differential_privacy->labels->rho == Approx(releases / 8));
    CHECK(report.differential_privacy->features->rho == Approx((2 * 2 + 1) / 8.));
    CHECK(report.differential_privacy->labels->epsilon > 0);
    CHECK(report.differential_privacy->insecure_testing == play.config.privacy.insecure_testing);
    const std::string said = privacy_notice(play.config, false);
    CHECK(said.starts_with("differential privacy: over the whole run, what members receive"));
    CHECK((said.find("NONE OF IT HOLDS") != std::string::npos) ==
          play.config.privacy.insecure_testing);
    CHECK(std::ranges::find(play.log, said) != play.log.end());
    CHECK(std::ranges::find(report.notes, said) != report.notes.end());
    const auto again = observe::from_json(observe::to_json(report));
    REQUIRE(again);
    CHECK(again->differential_privacy == report.differential_privacy);
}

TEST_CASE("folds of a noisy cross-validation have noise of their own") {
    World world = differential_world();
    world.folds = 2;
    Play play(world);
    set_up(play, config::Protocol::masked, {true, true}, 2);
    play.config.data.test_fraction = 0;
    give_secrets(play);
    const auto models = trained(play);
    Play again(world);
    set_up(again, config::Protocol::masked, {true, true}, 2);
    again.config.data.test_fraction = 0;
    give_secrets(again);
    CHECK(trained(again) == models);
    CHECK(play.out_of_fold() == again.out_of_fold());
}
