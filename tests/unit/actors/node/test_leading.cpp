// Which thread of a node polls the link, and what it has handled before it waits. A loop by hand
// decides when a poll returns and with what, so that an interleaving that a real machine meets once
// in a thousand steps happens every time.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "actors/node/node.hpp"
#include "bus/zmq/link_loop.hpp"
#include "gate.hpp"
#include "link_fixture.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

/// What each call of `poll` does: `script[n]` for the nth one, and after that it waits for a wake.
/// Runs with the node's lock held, as the real one does but while it waits.
class ScriptedLoop final : public bus::LinkLoop, public bus::LinkFixture {
  public:
    using Poll = std::function<void(std::unique_lock<std::mutex>&)>;

    bus::LinkCore& core() override { return link; }
    void start() override {
        now = std::chrono::steady_clock::now();
        link.start(now);
        expect(bus::Kind::hello);
    }
    void poll(TimePoint, const bus::StopSignal*, std::unique_lock<std::mutex>* held) override {
        now = std::chrono::steady_clock::now();
        const std::size_t n = polls++;
        if (n < script.size()) return script[n](*held);
        await_wake(*held);
    }
    void wake() noexcept override {
        const std::lock_guard guard(wakes_mutex_);
        woken_ = true;
        changed_.notify_all();
    }
    void close() override {}
    [[nodiscard]] std::string trouble() const override { return {}; }
    bool turned_away() const override { return false; }

    /// Waits with the node's lock released.
    void await_wake(std::unique_lock<std::mutex>& held) {
        held.unlock();
        {
            std::unique_lock guard(wakes_mutex_);
            changed_.wait_for(guard, seconds(30), [this] { return woken_; });
            woken_ = false;
        }
        held.lock();
    }
    void ask(std::uint64_t number, MessageType type) {
        auto header = data(bus::Kind::request, "master", number);
        header.type = type;
        frame(header, Bytes{1});
    }

    std::vector<Poll> script;
    std::size_t polls = 0;

  private:
    std::mutex wakes_mutex_;
    std::condition_variable changed_;
    bool woken_ = false;
};

struct LeadingFixture {
    LeadingFixture() {
        auto made = std::make_unique<ScriptedLoop>();
        loop = made.get();
        NodeOptions options;
        options.name = "member-0";
        options.role = "member";
        options.rank = 0;
        options.workers = 2;
        node = Node::over(std::move(options), std::move(made));
        loop->script.push_back([this](auto&) { loop->welcome(); });
        loop->script.push_back([this](auto&) { loop->open("master"); });
    }
    ScriptedLoop* loop = nullptr;
    std::unique_ptr<Node> node;
    bus::StopSignal stop;
};

}  // namespace

TEST_CASE_METHOD(LeadingFixture,
                 "what a follower received before it made way is handled before anybody waits") {
    Gate follower_leads;
    std::atomic<int> noted{0};
    int noted_before_next_poll = -1;
    ClientApp app;
    app.on(block_type, [&](const Message& message, actors::Context&) -> Result<Bytes> {
        CHECK(follower_leads.wait());
        return message.content;
    });
    app.on(note_type, [&](const Message& message, actors::Context&) -> Result<Bytes> {
        ++noted;
        return message.content;
    });
    std::thread::id runner, follower, last;
    loop->script.push_back([&](auto&) {
        runner = std::this_thread::get_id();
        loop->ask(1, block_type);
    });
    loop->script.push_back([&](std::unique_lock<std::mutex>& held) {
        follower = std::this_thread::get_id();
        follower_leads.open();
        loop->await_wake(held);  // the handler has returned: its thread wants to lead and waits
        loop->ask(2, note_type);
    });
    loop->script.push_back([&](auto&) {
        last = std::this_thread::get_id();
        noted_before_next_poll = noted;
        stop.stop();
    });
    const auto ending = node->serve(std::move(app), stop, false);
    REQUIRE(ending);
    CHECK(follower != runner);
    CHECK(last == runner);
    CHECK(noted_before_next_poll == 1);
}

TEST_CASE_METHOD(LeadingFixture, "a follower's poll that throws ends the node with the cause") {
    ClientApp app;
    Gate follower_leads;
    app.on(block_type, [&](const Message& message, actors::Context&) -> Result<Bytes> {
        CHECK(follower_leads.wait());
        return message.content;
    });
    loop->script.push_back([&](auto&) { loop->ask(1, block_type); });
    loop->script.push_back([&](auto&) {
        follower_leads.open();
        throw std::runtime_error("no more descriptors");
    });
    const auto ending = node->serve(std::move(app), stop, false);
    REQUIRE_FALSE(ending);
    CHECK(ending.error().code == Errc::internal);
    CHECK(ending.error().sentence == "member-0: no more descriptors");
}

TEST_CASE_METHOD(LeadingFixture, "a poll that throws in the thread that serves ends the node") {
    loop->script.push_back([](auto&) { throw std::bad_alloc(); });
    const auto ending = node->serve(ClientApp{}, stop, false);
    REQUIRE_FALSE(ending);
    CHECK(ending.error().sentence == "member-0: out of memory");
}
