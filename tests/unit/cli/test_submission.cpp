// What a serving master takes of what is submitted to it.

#include <deque>
#include <filesystem>
#include <fstream>
#include <string>

#include "catch.hpp"
#include "config/agreed.hpp"
#include "scratch.hpp"
#include "submission.hpp"
#include "submitted.hpp"

using namespace vflbus;
namespace fs = std::filesystem;

namespace {

/// A label holder whose table is there.
struct Holder {
    fs::path file;
    config::Config config;
    Holder() {
        std::string name = (fs::temp_directory_path() / "vflbus-cli-XXXXXX").string();
        const int fd = ::mkstemp(name.data());
        REQUIRE(fd >= 0);
        ::close(fd);
        file = name;
        config.run.world_size = 2;
        config.parties["master"].data = name;
        config.parties["master"].label = {"y"};
    }
    ~Holder() {
        std::error_code ignored;
        fs::remove(file, ignored);
    }
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;
};

std::string submission(std::uint64_t world_size, std::uint64_t epochs = 5) {
    config::AgreedHalf half;
    half.run.world_size = world_size;
    half.model.solver = config::Solver::sgd;
    half.model.epochs = epochs;
    return config::canonical_agreed(half);
}

}  // namespace

TEST_CASE("a submission is trained with the master's own half", "[cli]") {
    const Holder holder;
    const auto taken = cli::accept_submission(holder.config, submission(2, 7));
    REQUIRE(taken.has_value());
    CHECK(taken->model.epochs == 7);
    CHECK(taken->run.world_size == 2);
    CHECK(taken->parties == holder.config.parties);
}

TEST_CASE("a prediction is asked for by the digits of a run, and by nothing else", "[cli]") {
    CHECK(cli::predicted_model(cli::prediction_text("1f0c9a33")) == "1f0c9a33");
    CHECK(cli::predicted_model(submission(2)).value().empty());
    for (const char* const text : {"../runs/1f0c", "1f0", "1F0C9A33", "", "1f0c9a33\nrun.seed = 1",
                                   "1f0c9a331f0c9a331f0c9a331f0c9a331"})
        CHECK_FALSE(cli::predicted_model(cli::prediction_text(text)));

    const Holder holder;
    const auto none = cli::accept_prediction(holder.config, "1f0c9a33");
    REQUIRE_FALSE(none);
    CHECK(none.error().code == Errc::io);
}

TEST_CASE("a submission that says no number of members takes the master's", "[cli]") {
    const Holder holder;
    const auto taken = cli::accept_submission(holder.config, submission(0));
    REQUIRE(taken.has_value());
    CHECK(taken->run.world_size == 2);
}

TEST_CASE("a submission for fewer members is a run of those", "[cli]") {
    const Holder holder;
    CHECK(cli::accept_submission(holder.config, submission(1)).has_value());
}

TEST_CASE("a submission that could never start is refused at once", "[cli]") {
    Holder holder;
    SECTION("more members than the master knows") {
        const auto taken = cli::accept_submission(holder.config, submission(5));
        REQUIRE_FALSE(taken.has_value());
        CHECK(taken.error().code == Errc::bad_config);
        CHECK(taken.error().sentence ==
              "the submission is for 5 members (run.world_size), but the master knows of 2 only; "
              "submit it for those, or change run.world_size there");
    }
    SECTION("nobody says how many members") {
        holder.config.run.world_size = 0;
        const auto taken = cli::accept_submission(holder.config, submission(0));
        REQUIRE_FALSE(taken.has_value());
        CHECK(taken.error().sentence.find("run.world_size") != std::string::npos);
    }
    SECTION("a task that the master's labels do not fit") {
        config::AgreedHalf half;
        half.run.world_size = 2;
        half.model.task = vflbus::Task::multilabel;
        const auto taken = cli::accept_submission(holder.config, config::canonical_agreed(half));
        REQUIRE_FALSE(taken.has_value());
        CHECK(taken.error().code == Errc::bad_config);
    }
    SECTION("the master's table is gone") {
        fs::remove(holder.file);
        const auto taken = cli::accept_submission(holder.config, submission(2));
        REQUIRE_FALSE(taken.has_value());
        CHECK(taken.error().code == Errc::io);
    }
    SECTION("it is no agreed half") {
        CHECK_FALSE(cli::accept_submission(holder.config, "model.epochs = 3\n").has_value());
    }
}

TEST_CASE("no key fills the queue of a serving master so that nothing is left for others") {
    std::deque<cli::Submitted> queue;
    const auto submits = [&](const std::string& key) {
        const auto room = cli::check_room(queue, key, 8);
        if (room)
            queue.push_back({{}, {}, false, {}, key});
        else
            CHECK(room.error().code == Errc::too_many);
        return room.has_value();
    };
    int taken = 0;
    for (int i = 0; i < 20; ++i) taken += static_cast<int>(submits("alice"));
    CHECK(taken == 4);
    const auto refused = cli::check_room(queue, "alice", 8);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().sentence.find("4 runs of alice wait already") != std::string::npos);
    // two more for the next, one for the one after, and the last for somebody who has none
    for (int i = 0; i < 20; ++i) submits("bob");
    CHECK(queue.size() == 6);
    CHECK(submits("carol"));
    CHECK_FALSE(submits("carol"));
    CHECK(submits("dave"));
    CHECK_FALSE(submits("erin"));
    CHECK(queue.size() == 8);
    // what begins leaves its place
    queue.pop_front();
    CHECK_FALSE(submits("alice"));
    CHECK(submits("erin"));
}

TEST_CASE("where nobody shows a key, whoever submits has the whole queue") {
    std::deque<cli::Submitted> queue;
    for (int i = 0; i < 8; ++i) {
        CHECK(cli::check_room(queue, {}, 8));
        queue.push_back({});
    }
    const auto full = cli::check_room(queue, {}, 8);
    REQUIRE_FALSE(full);
    CHECK(full.error().sentence.find("8 runs wait already") != std::string::npos);
    CHECK_FALSE(cli::check_room({}, "alice", 0));
}

TEST_CASE("who has submitted a run is known to the process after this one") {
    const cli::testing::Scratch scratch;
    const cli::SubmittedFile file(scratch.path);
    cli::Submitted of_alice{{}, "try", true, {}, "alice"};
    cli::Submitted of_nobody;
    REQUIRE(file.store({&of_alice, &of_nobody}));
    const auto left = file.load();
    REQUIRE(left);
    REQUIRE(left->size() == 2);
    CHECK((*left)[0].by == "alice");
    CHECK((*left)[0].label == "try");
    CHECK((*left)[1].by.empty());
}
