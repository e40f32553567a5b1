// Tasks in the shape of a training, on made-up parties. Method: play one without trouble and count
// what it does; then play it again with a failure, an exception or the destruction of the Task at
// every single point, and look that exactly that comes out and that no object of a frame is left.

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "actors/run/task.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::actors;

namespace {

using Bytes = std::vector<std::uint8_t>;

int live = 0;
/// An object of a frame, with memory of its own for the sanitizers to watch.
struct Counted {
    Bytes data = Bytes(100, 1);
    Counted() { ++live; }
    Counted(const Counted& other) : data(other.data) { ++live; }
    Counted(Counted&& other) noexcept : data(std::move(other.data)) { ++live; }
    Counted& operator=(const Counted&) = default;
    Counted& operator=(Counted&&) = default;
    ~Counted() { --live; }
};

struct Slot {
    std::vector<Bytes> replies;
    std::size_t missing = 0;
};

class Replies final : public Wait {
  public:
    Replies(WaitingPlace& place, std::shared_ptr<Slot> slot)
        : Wait(place), slot_(std::move(slot)) {}
    bool ready() const noexcept override { return slot_->missing == 0; }
    std::vector<Bytes> await_resume() { return std::move(slot_->replies); }

  private:
    std::shared_ptr<Slot> slot_;
};

struct MadeUpParties {
    WaitingPlace place;
    std::size_t members = 3;
    std::size_t asked = 0;
    std::vector<std::shared_ptr<Slot>> open;

    Replies ask_all(Bytes body) {
        ++asked;
        auto slot = std::make_shared<Slot>();
        slot->missing = members;
        slot->replies.assign(members, std::move(body));
        open.push_back(slot);
        return {place, slot};
    }
    /// One reply to what was asked first; false when nothing is open.
    bool reply() {
        if (open.empty()) return false;
        auto slot = open.front();
        if (--slot->missing == 0) open.erase(open.begin());
        place.resume_if_ready();
        return true;
    }
};

struct Model {
    MadeUpParties& parties;
    int fail_at = -1;
    int throw_at = -1;
    int calls = 0;
    std::uint64_t sum = 0;

    Result<> work() {
        if (calls == throw_at) throw std::runtime_error("thrown at " + std::to_string(calls));
        if (calls++ == fail_at) return fail(Errc::diverged, "failed at " + std::to_string(fail_at));
        return {};
    }
    Result<std::uint64_t> measure(const Bytes& body) {
        if (auto done = work(); !done) return tl::unexpected(std::move(done.error()));
        return body.size();
    }
    actors::Task<Counted> scores(std::uint64_t t) {
        Counted local;
        co_await work();
        Replies first = parties.ask_all(Bytes(t));
        Replies second = parties.ask_all(Bytes(1));
        const std::vector<Bytes> one = co_await first;
        const std::vector<Bytes> two = co_await second;
        co_await work();
        sum += one.size() + two.size();
        co_return local;
    }
    actors::Task<std::uint64_t> step(std::uint64_t t) {
        Counted local;
        co_await work();
        Replies asked = parties.ask_all(Bytes(t + 1));
        co_await work();
        const std::vector<Bytes> replies = co_await asked;
        for (const Bytes& reply : replies) sum += co_await measure(reply);
        co_return sum;
    }
};

actors::Task<> train(Model& model, std::uint64_t steps) {
    Counted local;
    for (std::uint64_t t = 0; t < steps; ++t) {
        const std::uint64_t loss = co_await model.step(t);
        if (loss == UINT64_MAX) co_return;
        if (t % 3 != 2) continue;
        const Counted scores = co_await model.scores(t);
        model.sum += scores.data.size();
    }
}

constexpr std::uint64_t steps = 12;

/// What an undisturbed training comes to.
struct UndisturbedSum {
    std::uint64_t sum = 0;
    int calls = 0;
    int replies = 0;

    UndisturbedSum() {
        MadeUpParties parties;
        Model model{parties};
        actors::Task<> task = train(model, steps);
        task.start();
        while (parties.reply()) ++replies;
        REQUIRE(task.done());
        REQUIRE(task.failure() == nullptr);
        sum = model.sum;
        calls = model.calls;
    }
};

}  // namespace

TEST_CASE("a task runs from wait to wait to its end") {
    const UndisturbedSum plain;
    CHECK(plain.sum == 3 * 78 + 4 * (6 + 100));
    CHECK(plain.calls == 12 * 5 + 4 * 2);
    CHECK(plain.replies == 3 * (12 + 8));
    CHECK(live == 0);
}

TEST_CASE("a failure at any point ends the task there, with that failure") {
    const UndisturbedSum plain;
    for (int at = 0; at < plain.calls; ++at) {
        CAPTURE(at);
        MadeUpParties parties;
        Model model{parties, at};
        {
            actors::Task<> task = train(model, steps);
            task.start();
            while (!task.done() && parties.reply()) {
            }
            REQUIRE(task.done());
            REQUIRE(task.failure() != nullptr);
            CHECK(task.failure()->sentence == "failed at " + std::to_string(at));
            CHECK(model.calls == at + 1);
            // what still comes in finds nobody who waits for it
            while (parties.reply()) {
            }
            CHECK(model.calls == at + 1);
        }
        CHECK(live == 0);
        CHECK(!parties.place.occupied());
    }
}

TEST_CASE("an exception at any point is a failure") {
    const UndisturbedSum plain;
    for (int at = 0; at < plain.calls; ++at) {
        CAPTURE(at);
        MadeUpParties parties;
        Model model{parties, -1, at};
        {
            actors::Task<> task = train(model, steps);
            task.start();
            while (!task.done() && parties.reply()) {
            }
            REQUIRE(task.done());
            REQUIRE(task.failure() != nullptr);
            CHECK(task.failure()->code == Errc::handler_failed);
            CHECK(task.failure()->sentence == "thrown at " + std::to_string(at));
        }
        CHECK(live == 0);
        CHECK(!parties.place.occupied());
    }
}

TEST_CASE("a task that is destroyed where it waits leaves nothing") {
    const UndisturbedSum plain;
    for (int replies = 0; replies < plain.replies; ++replies) {
        CAPTURE(replies);
        MadeUpParties parties;
        Model model{parties};
        {
            actors::Task<> task = train(model, steps);
            task.start();
            for (int i = 0; i < replies; ++i) parties.reply();
            REQUIRE(!task.done());
            CHECK(parties.place.occupied());
            CHECK(live >= 2);
        }
        CHECK(live == 0);
        CHECK(!parties.place.occupied());
        // replies that come afterwards are nobody's
        while (parties.reply()) {
        }
        // and the next term runs it from the beginning
        MadeUpParties again;
        Model next{again};
        actors::Task<> task = train(next, steps);
        task.start();
        while (again.reply()) {
        }
        CHECK(task.done());
        CHECK(next.sum == plain.sum);
    }
}

TEST_CASE("a task that never was started leaves nothing") {
    MadeUpParties parties;
    Model model{parties};
    {
        const actors::Task<> task = train(model, steps);
    }
    CHECK(live == 0);
    CHECK(model.calls == 0);
}

namespace {

actors::Task<std::uint64_t> twice(std::uint64_t value) {
    co_return 2 * value;
}
actors::Task<> many(std::uint64_t& sum) {
    for (std::uint64_t i = 0; i < 300'000; ++i) sum += co_await twice(i);
}

}  // namespace

TEST_CASE("a long loop over tasks that return at once needs no depth of stack") {
    std::uint64_t sum = 0;
    actors::Task<> task = many(sum);
    task.start();
    CHECK(task.done());
    CHECK(sum == 300'000ULL * 299'999ULL);
}
