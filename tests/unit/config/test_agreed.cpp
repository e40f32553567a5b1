#include <algorithm>
#include <bit>
#include <cstdint>
#include <sstream>

#include "base/rng.hpp"
#include "config/agreed.hpp"
#include "config/keys.hpp"
#include "sanitized.hpp"
#include "support.hpp"

using namespace vflbus;
using namespace vflbus::config;
using namespace vflbus::config::testing;

namespace {

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

AgreedHalf sample() {
    AgreedHalf half;
    half.run.world_size = 3;
    half.run.experiment_label = "a \"quoted\" \\ label, Zürich";
    half.model.class_weights = {ClassWeights::Rule::numbers, {0.1, 2}};
    half.model.solver = Solver::sgd;
    half.model.learning_rate = 1e-7;
    half.data.id_salt = "salt";
    return half;
}

Failure refused(const std::string& text) {
    const auto result = parse_canonical(text);
    REQUIRE_FALSE(result.has_value());
    return result.error();
}

}  // namespace

TEST_CASE("only a submission may leave the number of members unsaid") {
    const AgreedHalf half;  // its world_size is 0
    const std::string text = canonical_agreed(half);
    const auto strict = parse_canonical(text);
    REQUIRE_FALSE(strict.has_value());
    CHECK(strict.error().sentence.find("run.world_size") != std::string::npos);
    const auto submitted = parse_canonical(text, Members::may_be_unsaid);
    REQUIRE(submitted.has_value());
    CHECK(*submitted == half);
}

TEST_CASE("the canonical text has every agreed key once, sorted, one line each") {
    const std::string text = canonical_agreed(sample());
    std::istringstream lines(text);
    std::vector<std::string> names;
    for (std::string line; std::getline(lines, line);)
        names.push_back(line.substr(0, line.find(" = ")));
    const auto agreed = std::ranges::count_if(
        keys(), [](const Key& key) { return key.half() == Half::agreed && key.form_of.empty(); });
    CHECK(static_cast<std::ptrdiff_t>(names.size()) == agreed);
    CHECK(std::ranges::is_sorted(names));
    CHECK(std::ranges::adjacent_find(names) == names.end());
    CHECK(text.find("model.epochs = 20\n") != std::string::npos);
    CHECK(text.find("model.task = \"logistic\"\n") != std::string::npos);
    CHECK(text.find("model.class_weights = [0.1, 2]\n") != std::string::npos);
    CHECK(text.find("model.learning_rate = 1e-07\n") != std::string::npos);
    CHECK(text.find("bus.") == std::string::npos);
    CHECK(text.find("party.") == std::string::npos);
}

TEST_CASE("the canonical text reads back to the same half, and its hash with it") {
    const AgreedHalf half = sample();
    const auto read = parse_canonical(canonical_agreed(half));
    REQUIRE(read.has_value());
    CHECK(*read == half);
    CHECK(agreed_hash(*read) == agreed_hash(half));
    AgreedHalf other = half;
    other.model.learning_rate = std::bit_cast<double>(std::bit_cast<std::uint64_t>(1e-7) + 1);
    CHECK(agreed_hash(other) != agreed_hash(half));
    const auto other_read = parse_canonical(canonical_agreed(other));
    REQUIRE(other_read.has_value());
    CHECK(*other_read == other);
}

TEST_CASE("the hash does not depend on the private half, the order of a file or its notation") {
    const Config a =
        value_of(load_text("[model]\nepochs = 5\nlearning_rate = 0.50\n[run]\nworld_size = 2\n"));
    LoadOptions options;
    options.sets = {{"bus.recv_timeout=9"}, {"output.log_level=off"}};
    const Config b = value_of(load_text(
        "[run]\nworld_size = 2\nseed = 1\n[model]\nlearning_rate = 5e-1\nepochs = 5\n", options));
    CHECK(canonical_agreed(a) == canonical_agreed(b));
    CHECK(agreed_hash(a) == agreed_hash(b));
}

TEST_CASE("text from the network is refused unless it is canonical, valid and known") {
    const std::string good = canonical_agreed(sample());
    CHECK(refused("").code == Errc::malformed_message);
    CHECK(refused("x").code == Errc::malformed_message);
    CHECK(refused("\n").code == Errc::malformed_message);
    CHECK(refused(good + "\n").code == Errc::malformed_message);
    CHECK(refused(good.substr(0, good.size() - 1)).code == Errc::malformed_message);
    CHECK(refused(std::string(canonical_bytes_max + 1, '\n')).code == Errc::too_large);
    CHECK(refused(replaced(good, "epochs = 20", "epochs = 020")).code == Errc::malformed_message);
    CHECK(refused(replaced(good, "epochs = 20", "epochs =  20")).code == Errc::malformed_message);
    CHECK(refused(replaced(good, "epochs = 20", "epochs = ")).code == Errc::malformed_message);
    CHECK(refused(replaced(good, "1e-07", "1e-7")).code == Errc::malformed_message);
    CHECK(refused(replaced(good, "1e-07", "nan")).code == Errc::bad_config);
    CHECK(refused(replaced(good, "[0.1, 2]", "[0.1, 2, 3]")).code == Errc::bad_config);
    CHECK(refused(good + "run.seed = 1\n").sentence.find("run.seed twice") != std::string::npos);

    const Failure range = refused(replaced(good, "epochs = 20", "epochs = 0"));
    CHECK(range.code == Errc::bad_config);
    CHECK(range.sentence.find("model.epochs = 0") != std::string::npos);
    const Failure type = refused(replaced(good, "epochs = 20", "epochs = \"20\""));
    CHECK(type.sentence.find("model.epochs is \"20\"") != std::string::npos);
    const Failure unknown = refused(replaced(good, "model.epochs", "model.epocs"));
    CHECK(unknown.code == Errc::bad_config);
    CHECK(unknown.sentence.find("\"model.epocs\"") != std::string::npos);
    CHECK(unknown.sentence.find("nearest here is model.epochs") != std::string::npos);
    const Failure bytes = refused(replaced(good, "model.epochs", "model.epoc\xff\x1b[2J"));
    CHECK(bytes.sentence.find("\"model.epoc??[2J\"") != std::string::npos);
    const Failure own = refused(good + "bus.recv_timeout = 1\n");
    CHECK(own.sentence.find("\"bus.recv_timeout\"") != std::string::npos);
    const Failure missing = refused(replaced(good, "model.epochs = 20\n", ""));
    CHECK(missing.sentence.find("no key model.epochs") != std::string::npos);
    const Failure rule = refused(replaced(good, "sequential = false", "sequential = true"));
    CHECK(rule.code == Errc::bad_config);
    CHECK(rule.sentence.find("model.sequential") != std::string::npos);
}

TEST_CASE("differing keys are named with both values") {
    AgreedHalf here = sample();
    AgreedHalf there = sample();
    CHECK(differing_keys(here, there).empty());
    there.model.epochs = 10;
    there.model.task = Task::multilabel;
    there.data.id_salt = "";
    CHECK(differing_keys(here, there) ==
          std::vector<std::string>{"data.id_salt (\"salt\" here, \"\" at master)",
                                   "model.epochs (20 here, 10 at master)",
                                   "model.task (\"logistic\" here, \"multilabel\" at master)"});
    CHECK(differing_keys(here, there, "m")[1] == "model.epochs (20 here, 10 at m)");
}

TEST_CASE("a member without an agreed half takes over the owner's, another compares all keys") {
    const std::string owners = canonical_agreed(sample());
    Config bare = value_of(load_text("[party.member-1]\ndata = \"x.csv\"\n"));
    REQUIRE(agree(bare, owners).has_value());
    CHECK(static_cast<AgreedHalf&>(bare) == sample());
    CHECK(bare.parties.size() == 1);

    Config third = value_of(load_text("[party.member-3]\ndata = \"x.csv\"\n"));
    const auto misfit = agree(third, owners);
    REQUIRE_FALSE(misfit.has_value());
    CHECK(misfit.error().sentence.find("[party.member-3] contradicts run.world_size = 3") !=
          std::string::npos);
    CHECK(third.run.world_size == 0);

    Config stating = value_of(load_text("[model]\nepochs = 20\n[run]\nworld_size = 3\n"));
    const auto result = agree(stating, owners);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code == Errc::config_differs);
    CHECK(result.error().sentence.starts_with("conf/x.toml: "));
    CHECK(result.error().sentence.find("model.learning_rate (0.1 here, 1e-07 at master)") !=
          std::string::npos);
    CHECK(result.error().sentence.find("epochs") == std::string::npos);
    CHECK(stating.model.learning_rate == 0.1);

    static_cast<AgreedHalf&>(stating) = sample();
    CHECK(agree(stating, owners).has_value());
    CHECK(agree(stating, "garbage").error().code == Errc::malformed_message);
}

TEST_CASE("mutated canonical text never crashes, and what is taken is canonical") {
    const std::string good = canonical_agreed(sample());
    Rng rng(4711);
    std::size_t taken = 0;
    for (int round = 0; round < (sanitized ? 6'000 : 20'000); ++round) {
        std::string text = good;
        const std::uint64_t edits = 1 + rng.below(4);
        for (std::uint64_t edit = 0; edit < edits && !text.empty(); ++edit) {
            const std::size_t at = rng.below(text.size());
            switch (rng.below(5)) {
                case 0:
                    text[at] = static_cast<char>(rng.below(256));
                    break;
                case 1:
                    text.erase(at, 1 + rng.below(12));
                    break;
                case 2:
                    text.insert(at, 1, "0123456789.e-+[]\",\\ =\n"[rng.below(23)]);
                    break;
                case 3:
                    text.insert(at, text.substr(rng.below(text.size()), rng.below(40)));
                    break;
                default:
                    text.resize(at);
                    break;
            }
        }
        const auto result = parse_canonical(text);
        if (!result) {
            CHECK_FALSE(result.error().sentence.empty());
            continue;
        }
        ++taken;
        CHECK(canonical_agreed(*result) == text);
    }
    CHECK(taken > 20);  // digits that became other digits
}

TEST_CASE("what is not said is as an earlier run had it, and what is said counts") {
    AgreedHalf then = sample();
    then.model.solver = Solver::lbfgs;
    then.model.learning_rate = AgreedHalf{}.model.learning_rate;
    then.data.duplicates = Duplicates::all;
    Config now = value_of(
        load_text("[run]\nexperiment_label = \"mine\"\n[party.member-0]\ndata = \"a.csv\"\n"));
    const auto taken = take_unsaid(now, then);
    INFO((taken ? std::string() : taken.error().sentence));
    REQUIRE(taken.has_value());
    CHECK(now.run.world_size == 3);
    CHECK(now.run.experiment_label == "mine");
    CHECK(now.data.id_salt == "salt");
    CHECK(now.data.duplicates == Duplicates::all);
    CHECK(now.model.class_weights == then.model.class_weights);
    CHECK(now.parties.at("member-0").data.ends_with("a.csv"));

    // what cannot be together changes nothing
    Config other = value_of(load_text("[party.member-3]\ndata = \"a.csv\"\n"));
    const auto refused = take_unsaid(other, then);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::bad_config);
    CHECK(other.run.world_size == 0);
}
