// Which task a label column asks for.

#include <functional>
#include <string>
#include <vector>

#include "data/task_guess.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;
using Catch::Matchers::Contains;

namespace {

/// What is guessed of a label column with `rows` cells, that of row i as `cell` says.
Result<TaskGuess> guess_of(int rows, const std::function<std::string(int)>& cell) {
    const Scratch scratch;
    std::string text = "id,y,x\n";
    for (int i = 0; i < rows; ++i)
        text += "u" + std::to_string(i) + "," + cell(i) + ",never read\n";
    SourceOptions options;
    options.location = scratch.write(text);
    auto source = open_source(options);
    REQUIRE(source);
    const auto table = read_label(**source, "id", "y");
    INFO((table ? "" : table.error().sentence));
    REQUIRE(table);
    CHECK(table->features.empty());
    return guess_task(*table);
}

std::string one_of(const std::vector<std::string>& values, int i) {
    return values[static_cast<std::size_t>(i) % values.size()];
}

}  // namespace

TEST_CASE("the task that a label column asks for") {
    struct Case {
        const char* what;
        Task task;
        std::function<std::string(int)> cell;
    };
    const std::vector<Case> cases{
        {"two numbers", Task::logistic, [](int i) { return one_of({"-1", "1"}, i); }},
        {"two fractions", Task::logistic, [](int i) { return one_of({"0.5", "1.5"}, i); }},
        {"two texts", Task::logistic, [](int i) { return one_of({"yes", "no"}, i); }},
        {"three texts", Task::softmax, [](int i) { return one_of({"a", "b", "c"}, i); }},
        {"classes 1, 2, 3, 5, U", Task::softmax,
         [](int i) { return one_of({"1", "2", "3", "5", "U"}, i); }},
        {"a U after a thousand numbers", Task::softmax,
         [](int i) { return i > 1100 ? "U" : std::to_string(1 + i % 4); }},
        {"codes", Task::softmax, [](int i) { return one_of({"01", "02", "07"}, i); }},
        {"ten digits", Task::softmax, [](int i) { return std::to_string(i % 10); }},
        {"fractions", Task::linear, [](int i) { return std::to_string(i % 5) + ".5"; }},
        {"many whole numbers", Task::linear, [](int i) { return std::to_string(i % 21); }},
        {"a count with a tail", Task::linear,
         [](int i) { return std::to_string(i < 1195 ? i % 4 : i - 1190); }},
        {"prices", Task::linear, [](int i) { return one_of({"1000", "2000", "5000"}, i); }},
        {"prices with separators", Task::linear,
         [](int i) { return "\"1," + std::to_string(100 + i % 700) + "\""; }},
        {"dates", Task::linear, [](int i) { return "2024-03-" + std::to_string(10 + i % 15); }},
    };
    for (const Case& c : cases) {
        INFO(c.what);
        const auto guess = guess_of(1200, c.cell);
        REQUIRE(guess);
        INFO(guess->because);
        CHECK(guess->task == c.task);
        CHECK_FALSE(guess->because.empty());
    }
}

TEST_CASE("one value on every row is no task") {
    for (const char* const cell : {"1", "yes", "2024-03-01x"}) {
        const auto guess = guess_of(60, [&](int) { return std::string(cell); });
        REQUIRE_FALSE(guess);
        CHECK_THAT(guess.error().sentence,
                   Contains("label 'y': every row has the same value '" + std::string(cell) + "'"));
        CHECK_THAT(guess.error().for_others, !Contains(cell));
    }
}

TEST_CASE("names are no classes, and others are not told one") {
    const auto guess = guess_of(60, [](int i) { return "Smith-" + std::to_string(i); });
    REQUIRE_FALSE(guess);
    CHECK_THAT(guess.error().sentence, Contains("label 'y': 60 different texts on 60 rows"));
    CHECK_THAT(guess.error().for_others, !Contains("Smith") && !Contains("'y'"));
    // of hundreds of texts each must be on more rows
    CHECK_FALSE(guess_of(900, [](int i) { return "artist-" + std::to_string(i % 200); }));
    CHECK(guess_of(900, [](int i) { return "kind-" + std::to_string(i % 90); }));
}
