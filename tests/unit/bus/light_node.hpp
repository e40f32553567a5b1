#pragma once
// A node that is a link and nothing else: joins what it is invited to, sends back what it is sent.
// A thousand of them fit into one thread.

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "bus/zmq/link_loop.hpp"

namespace vflbus::bus {

class LightNode {
  public:
    LightNode(std::shared_ptr<Context> context, const std::string& broker, const std::string& name,
              const std::string& role = "member", std::vector<std::string> features = {"apps"},
              Timings timings = {}, std::uint64_t incarnation = 1, KeySource keys = {})
        : name_(name) {
        LinkConfig config;
        config.hello = {name, role, -1, incarnation, random_u64(), "test", std::move(features)};
        config.timings = timings;
        config.seed = config.hello.instance;
        auto loop =
            LinkLoop::create(std::move(context), broker, std::move(config), std::move(keys));
        if (!loop) throw std::runtime_error(loop.error().sentence);
        loop_ = std::move(*loop);
        loop_->start();
    }

    /// Takes what there is; waits for it until then.
    void poll(TimePoint until = {}) {
        loop_->poll(until, nullptr);
        LinkEvent event;
        while (core().next_event(event)) std::visit([this](auto& e) { on(e); }, event);
    }

    LinkCore& core() { return loop_->core(); }
    const std::string& name() const { return name_; }
    NodeId id() { return core().id(); }
    /// Why it is not up, as far as it knows.
    std::string trouble() const { return loop_->trouble(); }

    /// How many nodes have joined runs of ours. A node counts once, as often as it may say it: one
    /// that greets a slow broker twice has two sessions and joins in each of them.
    [[nodiscard]] std::size_t joined() const { return joined_.size(); }

    std::size_t replies = 0;        ///< to our requests, without error
    std::vector<Failure> failures;  ///< instead of a reply
    std::vector<Ending> endings;    ///< of runs
    std::optional<Failure> fatal;   ///< why its link will not come up again

  private:
    static TimePoint now() { return std::chrono::steady_clock::now(); }

    void on(RunInvited& e) {
        core().join_run(e, {name_, "member", -1, 1, {}, "test", Errc::ok, ""}, now());
    }
    void on(RequestArrived& e) { core().reply(e.run, e.from, e.number, std::move(e.body), now()); }
    void on(ReplyArrived& e) {
        if (e.error.code == Errc::ok)
            ++replies;
        else
            failures.push_back(e.error);
    }
    void on(RunJoined& e) { joined_.insert(e.node); }
    void on(LinkFatal& e) { fatal = e.failure; }
    void on(RunClosed& e) { endings.push_back(e.ending); }
    template <class Event>
    void on(Event&) {}

    std::string name_;
    std::set<NodeId> joined_;
    std::unique_ptr<LinkLoop> loop_;
};

}  // namespace vflbus::bus
