// The thread of the processes of an app, with real processes: a helper that does not listen, many
// at once, and work that throws.

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "apps/processes.hpp"
#include "catch.hpp"
#include "no_descriptors.hpp"

using namespace vflbus;
using namespace vflbus::apps;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

std::string module_of(const std::string& name) {
    const char* const dir = std::getenv("VFLBUS_APPS");
    REQUIRE(dir != nullptr);
    return std::string(dir) + "/" + name + ".so";
}

Helper helper() {
    HelperOptions options;
    options.app = module_of("test_client");
    auto made = Helper::start(options);
    REQUIRE(made);
    return std::move(*made);
}

/// What the thread has told so far.
class Heard {
  public:
    void end(Processes::Id id, const std::string& how) {
        const std::lock_guard lock(mutex_);
        ended_[id] = how;
        changed_.notify_all();
    }
    void say(const std::string& word) {
        const std::lock_guard lock(mutex_);
        words_.insert(word);
        changed_.notify_all();
    }
    bool await_ends(std::size_t n) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, seconds(60), [&] { return ended_.size() >= n; });
    }
    bool await_word(const std::string& word) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, seconds(60), [&] { return words_.count(word) != 0; });
    }
    std::size_t ends() {
        const std::lock_guard lock(mutex_);
        return ended_.size();
    }
    std::string how(Processes::Id id) {
        const std::lock_guard lock(mutex_);
        return ended_[id];
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<Processes::Id, std::string> ended_;
    std::multiset<std::string> words_;
};

struct Fixture {
    Fixture() : Fixture(helper()) {}
    explicit Fixture(Helper made) : helper_pid(made.pid()) {
        Processes::Options options;
        options.on_lost = [this](const std::string& how) { heard.say("lost: " + how); };
        options.on_fault = [this](const std::string& what) { heard.say("fault: " + what); };
        auto started = Processes::make(std::move(made), std::move(options));
        REQUIRE(started);
        processes = std::move(*started);
    }
    /// Does `work` on the thread of the processes, and waits for it.
    void there(const std::function<void()>& work) {
        std::atomic<bool> done{false};
        processes->post([&] {
            work();
            done = true;
        });
        for (int i = 0; i < 60'000 && !done; ++i) std::this_thread::sleep_for(milliseconds(1));
        REQUIRE(done);
    }
    Processes::Id start() {
        Processes::Id id = 0;
        there([&] {
            id = processes->start({[](ChildFrame&&) {},
                                   [this](const std::string& how, bool) { heard.end(last, how); }});
            last = id;
        });
        return id;
    }
    pid_t helper_pid;
    Processes::Id last = 0;
    Heard heard;
    std::unique_ptr<Processes> processes;
};

}  // namespace

TEST_CASE("kills that a helper cannot be told are not lost: it hears them when it listens again") {
    Fixture fixture;
    constexpr std::size_t many = 400;
    std::vector<Processes::Id> ids;
    fixture.there([&] {
        for (std::size_t i = 0; i < many; ++i) {
            auto id = std::make_shared<Processes::Id>();
            *id = fixture.processes->start(
                {[](ChildFrame&&) {},
                 [&fixture, id](const std::string& how, bool) { fixture.heard.end(*id, how); }});
            ids.push_back(*id);
        }
    });
    ::kill(fixture.helper_pid, SIGSTOP);
    fixture.there([&] {
        for (int again = 0; again < 5; ++again)  // far more than its socket holds
            for (const auto id : ids) fixture.processes->kill(id);
    });
    CHECK(fixture.heard.ends() < many);
    ::kill(fixture.helper_pid, SIGCONT);
    CHECK(fixture.heard.await_ends(many));
    for (const auto id : ids) CHECK(fixture.heard.how(id) == "was ended by signal 9 (Killed)");
}

TEST_CASE("processes that a stopped helper was asked for start when it goes on") {
    Fixture fixture;
    ::kill(fixture.helper_pid, SIGSTOP);
    constexpr std::size_t many = 500;
    std::atomic<std::size_t> ended{0};
    fixture.there([&] {
        for (std::size_t i = 0; i < many; ++i) {
            const auto id = fixture.processes->start(
                {[](ChildFrame&&) {}, [&](const std::string&, bool clean) { ended += clean; }});
            fixture.processes->send(id, {FrameKind::begin}, encode(Begin{}));
            fixture.processes->send(id, {FrameKind::end});
        }
    });
    CHECK(ended == 0);
    ::kill(fixture.helper_pid, SIGCONT);
    for (int i = 0; i < 60'000 && ended < many; ++i) std::this_thread::sleep_for(milliseconds(1));
    CHECK(ended == many);
}

TEST_CASE("a thread of processes that nobody could wake is refused with a sentence") {
    Helper made = helper();
    const NoDescriptors none;
    const auto processes = Processes::make(std::move(made), {});
    REQUIRE_FALSE(processes);
    CHECK(processes.error().code == Errc::io);
    CHECK(processes.error().sentence == "cannot make an eventfd: Too many open files");
}

TEST_CASE("work, timers and callbacks that throw are reported, and the thread goes on") {
    Fixture fixture;
    fixture.processes->post([] { throw std::runtime_error("posted"); });
    CHECK(fixture.heard.await_word("fault: posted"));
    fixture.there([&] {
        fixture.processes->at(fixture.processes->now(), [] { throw std::runtime_error("timer"); });
    });
    CHECK(fixture.heard.await_word("fault: timer"));
    Processes::Id id = 0;
    fixture.there([&] {
        id = fixture.processes->start(
            {[](ChildFrame&&) { throw std::runtime_error("frame"); },
             [](const std::string&, bool) { throw std::runtime_error("end"); }});
        fixture.processes->send(id, {FrameKind::begin}, encode(Begin{}));
        FrameHead request;
        request.kind = FrameKind::request;
        fixture.processes->send(id, request, {0xc0});  // no envelope: it refuses
    });
    CHECK(fixture.heard.await_word("fault: frame"));
    fixture.there([&] { fixture.processes->send(id, {FrameKind::end}); });
    CHECK(fixture.heard.await_word("fault: end"));
}

TEST_CASE("a helper that is killed takes its processes with it, and is reported once") {
    Fixture fixture;
    fixture.start();
    ::kill(fixture.helper_pid, SIGKILL);
    CHECK(fixture.heard.await_word("lost: was ended by signal 9 (Killed)"));
    CHECK(fixture.heard.how(fixture.last) ==
          "ended with its helper, which was ended by signal 9 (Killed)");
    fixture.start();
    CHECK(fixture.heard.await_ends(2));
    CHECK(fixture.heard.how(fixture.last) == "could not be started: its helper has died");
}

TEST_CASE("the room of a frame is held until it is written, or its process is gone") {
    Fixture fixture;
    const auto id = fixture.start();
    std::atomic<bool> held{true};
    const auto room = [&] {
        return actors::ContentRoom(static_cast<const void*>(&held),
                                   [&](const void*) { held = false; });
    };
    SECTION("written") {
        fixture.there(
            [&] { fixture.processes->send(id, {FrameKind::begin}, encode(Begin{}), room()); });
        for (int i = 0; i < 30'000 && held; ++i) std::this_thread::sleep_for(milliseconds(1));
        CHECK_FALSE(held);
    }
    SECTION("gone") {
        fixture.there([&] { fixture.processes->send(id, {FrameKind::cancel}); });
        // it is no beginning: the process ends, and reads no more than its socket holds
        FrameHead request;
        request.kind = FrameKind::request;
        fixture.there([&] { fixture.processes->send(id, request, bus::Bytes(64 << 20), room()); });
        for (int i = 0; i < 30'000 && held; ++i) std::this_thread::sleep_for(milliseconds(1));
        CHECK_FALSE(held);
    }
}
