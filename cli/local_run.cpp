#include "local_run.hpp"

#include <poll.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/files.hpp"
#include "base/text.hpp"
#include "bus/zmq/context.hpp"
#include "output.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

using Clock = std::chrono::steady_clock;

// How long who is waited for. None of these passes in a run that goes well.
constexpr auto broker_start = std::chrono::seconds(20);
constexpr auto master_explains = std::chrono::seconds(3);  // what a member's end means to it
constexpr auto members_end = std::chrono::seconds(15);     // by themselves, after the master
constexpr auto signal_answer = std::chrono::seconds(5);    // from SIGTERM to SIGKILL

constexpr int interrupted = static_cast<int>(ExitCode::interrupted);

void at_once() noexcept {
    kill_children();
    remove_private_directory();
}

/// What a child said as its reason with --json; otherwise the last line of its log.
std::string reason_of(const Child& child) {
    const auto said = nlohmann::json::parse(child.output(), nullptr, false);
    if (said.is_object() && said.contains("reason") && said["reason"].is_string())
        if (const auto text = said["reason"].get<std::string>(); !text.empty()) return text;
    if (!child.log().empty()) {
        if (const auto log = read_file(child.log())) {
            std::string_view text = trim(*log);
            text = text.substr(text.rfind('\n') + 1);
            if (text.starts_with("vflbus: ")) return std::string(text.substr(8));
        }
    }
    return child.ending() + (child.log().empty() ? "" : "; its log is " + child.log().string());
}

Errc code_of(const Child& child) {
    const auto said = nlohmann::json::parse(child.output(), nullptr, false);
    if (said.is_object() && said.contains("error") && said["error"].is_string()) {
        const auto name = said["error"].get<std::string>();
        for (std::uint16_t number = 0; number < 128; ++number)
            if (name_of(static_cast<Errc>(number)) == name && name != "unknown")
                return static_cast<Errc>(number);
    }
    return Errc::internal;
}

Failure failure_of(const Child& child) {
    const std::string reason = reason_of(child);
    const bool named = reason.find(child.name()) != std::string::npos;
    return {code_of(child), named ? reason : child.name() + ": " + reason};
}

class LocalRun {
  public:
    explicit LocalRun(const LocalPlan& plan) : plan_(plan), signals_(stop_, at_once) {}

    LocalOutcome run() {
        if (Result<> started = start(); !started) {
            outcome_.failure = started.error();
            outcome_.exit_code =
                stop_.stopped() ? interrupted : static_cast<int>(exit_code(started.error().code));
        } else {
            watch();
        }
        end_all();
        return std::move(outcome_);
    }

  private:
    Result<> start() {
        std::string bind = "tcp://127.0.0.1:0";
        if (plan_.transport == Transport::ipc) {
            auto directory = PrivateDirectory::create();
            if (!directory) return tl::unexpected(directory.error());
            directory_.emplace(std::move(*directory));
            bind = "ipc://" + (directory_->path() / "bus").string();
        }
        ChildOptions broker{"broker", {"broker", "--bind", bind, "--json"}, plan_.broker_log};
        broker.arguments.insert(broker.arguments.end(), plan_.broker_arguments.begin(),
                                plan_.broker_arguments.end());
        if (Result<> spawned = spawn(broker); !spawned) return spawned;
        const auto endpoint = await_endpoint();
        if (!endpoint) return tl::unexpected(endpoint.error());
        for (ChildOptions member : plan_.members) {
            member.arguments.insert(member.arguments.end(), {"--broker", *endpoint});
            if (Result<> spawned = spawn(member); !spawned) return spawned;
        }
        ChildOptions master = plan_.master;
        master.arguments.insert(master.arguments.end(), {"--broker", *endpoint, "--parent-tells"});
        if (Result<> spawned = spawn(master); !spawned) return spawned;
        master_ = children_.back().get();
        return {};
    }

    Result<> spawn(const ChildOptions& options) {
        auto child = Child::spawn(options);
        if (!child) return tl::unexpected(child.error());
        children_.push_back(std::make_unique<Child>(std::move(*child)));
        return {};
    }

    Result<std::string> await_endpoint() {
        Child& broker = *children_.front();
        const auto until = Clock::now() + broker_start;
        while (broker.output().find('\n') == std::string::npos) {
            wait(until);
            if (stop_.stopped()) return fail(Errc::cancelled, "stopped before the run began");
            if (!broker.running() && broker.output().find('\n') == std::string::npos)
                return fail(Errc::internal, "the broker " + reason_of(broker));
            if (Clock::now() >= until)
                return fail(Errc::timed_out, "the broker did not start within 20 s; its log is " +
                                                 broker.log().string());
        }
        const auto said = nlohmann::json::parse(broker.output(), nullptr, false);
        if (said.is_object() && said.contains("endpoints") && !said["endpoints"].empty())
            return said["endpoints"][0].get<std::string>();
        return tl::unexpected(failure_of(broker));
    }

    /// Until a child says something or ends, a signal comes, or `until`.
    void wait(Clock::time_point until) {
        std::vector<pollfd> fds;
        if (!stop_seen_) fds.push_back({stop_.fd(), POLLIN, 0});
        bool blind = false;
        for (const auto& child : children_) {
            if (child->output_fd() >= 0) fds.push_back({child->output_fd(), POLLIN, 0});
            if (child->running() && child->end_fd() >= 0)
                fds.push_back({child->end_fd(), POLLIN, 0});
            blind = blind || (child->running() && child->end_fd() < 0);
        }
        auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
        left = std::clamp(left, std::chrono::milliseconds(0), std::chrono::milliseconds(1000));
        if (blind) left = std::min(left, std::chrono::milliseconds(20));  // a kernel before 5.3
        ::poll(fds.data(), static_cast<nfds_t>(fds.size()), static_cast<int>(left.count()));
        for (const auto& child : children_) {
            child->read_output();
            child->reap();
        }
    }

    /// Until the master has ended.
    void watch() {
        Child* first_lost = nullptr;
        auto until = Clock::time_point::max();
        bool asked = false;  // the master was told to end
        while (master_->running()) {
            wait(until == Clock::time_point::max() ? Clock::now() + std::chrono::seconds(1)
                                                   : until);
            if (stop_.stopped() && !stop_seen_) {
                stop_seen_ = true;
                asked = true;
                master_->signal(SIGTERM);
                until = Clock::now() + signal_answer;
            }
            for (const auto& child : children_) {
                const bool lost = !child->running() && child.get() != master_ &&
                                  (child->exit_status() != 0 || child == children_.front());
                if (lost && first_lost == nullptr) {
                    first_lost = child.get();
                    if (!asked) until = Clock::now() + master_explains;
                }
            }
            if (master_->running() && Clock::now() >= until) {
                master_->signal(asked ? SIGKILL : SIGTERM);
                asked = true;
                until = Clock::now() + signal_answer;
            }
        }
        outcome_.output = master_->output();
        outcome_.exit_code = master_->exit_status();
        if (stop_seen_) {
            outcome_.exit_code = outcome_.exit_code == 0 ? 0 : interrupted;
            if (outcome_.exit_code != 0)
                outcome_.failure = {Errc::cancelled, "stopped by a signal"};
        } else if (first_lost != nullptr && asked) {
            outcome_.failure = failure_of(*first_lost);
            outcome_.exit_code = first_lost->exit_status() == 0
                                     ? static_cast<int>(ExitCode::run_failed)
                                     : first_lost->exit_status();
        } else if (outcome_.exit_code != 0) {
            outcome_.failure = failure_of(*master_);
        }
    }

    /// Members end by themselves with the run; whoever does not is told to. The broker is last.
    void end_all() {
        const auto all_members_ended = [this] {
            for (const auto& child : children_)
                if (child->running() && child != children_.front()) return false;
            return true;
        };
        if (master_ != nullptr && outcome_.exit_code == 0 && !stop_seen_)
            wait_until(all_members_ended, members_end);
        else if (master_ != nullptr)
            wait_until(all_members_ended, std::chrono::seconds(2));
        for (std::size_t i = 1; i < children_.size(); ++i) children_[i]->signal(SIGTERM);
        wait_until(all_members_ended, signal_answer);
        for (std::size_t i = 1; i < children_.size(); ++i) children_[i]->signal(SIGKILL);
        if (!children_.empty()) {
            children_.front()->signal(SIGTERM);
            wait_until([this] { return !children_.front()->running(); }, signal_answer);
        }
        if (outcome_.exit_code == 0 && master_ != nullptr) {
            for (const auto& child : children_) {
                if (child == children_.front() || child->exit_status() == 0) continue;
                outcome_.exit_code = child->exit_status();
                outcome_.failure = failure_of(*child);
            }
        }
        children_.clear();
        directory_.reset();
    }

    template <class Condition>
    void wait_until(Condition condition, Clock::duration at_most) {
        const auto until = Clock::now() + at_most;
        while (!condition() && Clock::now() < until) wait(until);
    }

    const LocalPlan& plan_;
    bus::StopSignal stop_;
    SignalScope signals_;
    bool stop_seen_ = false;
    std::optional<PrivateDirectory> directory_;
    std::vector<std::unique_ptr<Child>> children_;  // the broker first
    Child* master_ = nullptr;
    LocalOutcome outcome_;
};

}  // namespace

LocalOutcome run_locally(const LocalPlan& plan) {
    return LocalRun(plan).run();
}

int report_local(const Common& common, const LocalOutcome& outcome) {
    if (outcome.failure.code == Errc::ok && outcome.exit_code == 0)
        print(outcome.output);
    else
        report_failure(common, outcome.failure);
    return outcome.exit_code;
}

}  // namespace vflbus::cli
