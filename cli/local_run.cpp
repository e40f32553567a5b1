#include "local_run.hpp"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "bus/zmq/context.hpp"
#include "ended_child.hpp"
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
constexpr auto master_stops = std::chrono::seconds(30);    // the same when all commit before

constexpr int podman_failed = 125;  // before there was a process in the container
constexpr int interrupted = static_cast<int>(ExitCode::interrupted);

// what a signal handler says: a line, and where that must be for it to be true (empty: nothing)
std::array<char, 1024> last_words{};
std::array<char, PATH_MAX> last_words_need{};
const std::string never_began_line = std::string("vflbus: ") + LocalPlan::never_began + "\n";

std::vector<char*> last_command;  // run by a signal handler; empty: none

void at_once() noexcept {
    kill_children();
    if (!last_command.empty()) {
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::setpgid(0, 0);
            ::execv(last_command[0], last_command.data());
            ::_exit(1);
        }
        while (pid > 0 && ::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
    }
    remove_private_directory();
    const bool begun = last_words_need[0] == '\0' || ::access(last_words_need.data(), F_OK) == 0;
    const char* const words = begun ? last_words.data() : never_began_line.c_str();
    if (::write(STDERR_FILENO, words, std::strlen(words)) < 0) return;
}

/// The exit code of a launch that this child is the cause of.
int status_of(const Child& child) {
    const bool no_process = child.exit_status() >= podman_failed && child.exit_status() < 128;
    return child.by_signal() != 0 || no_process ? static_cast<int>(ExitCode::run_failed)
                                                : child.exit_status();
}

class LocalRun {
  public:
    explicit LocalRun(const LocalPlan& plan)
        : plan_(plan), at_once_command_(plan.at_once_command), signals_(stop_, at_once) {
        if (!plan.at_once_sentence.empty())
            std::snprintf(last_words.data(), last_words.size(), "vflbus: %s\n",
                          plan.at_once_sentence.c_str());
        std::snprintf(last_words_need.data(), last_words_need.size(), "%s",
                      plan.at_once_needs.c_str());
        for (std::string& word : at_once_command_) last_command.push_back(word.data());
        if (!last_command.empty()) last_command.push_back(nullptr);
    }
    ~LocalRun() { last_command.clear(); }
    LocalRun(const LocalRun&) = delete;
    LocalRun& operator=(const LocalRun&) = delete;

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
    /// One process, and those that took its place.
    struct Place {
        ChildOptions options;
        std::unique_ptr<Child> child;
        Restarts restarts;
        bool told = false;  ///< to end
        bool seen = false;  ///< its end was dealt with
        [[nodiscard]] bool running() const { return child->running(); }
    };

    // -- start ----------------------------------------------------------------------
    Result<> start() {
        std::string bind = plan_.broker_bind.empty() ? "tcp://127.0.0.1:0" : plan_.broker_bind;
        if (plan_.broker_bind.empty() && plan_.transport == Transport::ipc) {
            auto directory = PrivateDirectory::create();
            if (!directory) return tl::unexpected(directory.error());
            directory_.emplace(std::move(*directory));
            bind = "ipc://" + (directory_->path() / "bus").string();
        }
        const auto broker_at = [&](const std::string& address) {
            ChildOptions broker{"broker",
                                {"broker", "--bind", address, "--json"},
                                plan_.broker_log,
                                plan_.broker_command};
            broker.arguments.insert(broker.arguments.end(), plan_.broker_arguments.begin(),
                                    plan_.broker_arguments.end());
            return broker;
        };
        places_.reserve(plan_.members.size() + 2);
        if (Result<> spawned = spawn(broker_at(bind)); !spawned) return spawned;
        Result<std::string> endpoint = plan_.broker_address;
        if (endpoint->empty()) {
            endpoint = await_endpoint();
            if (!endpoint) return tl::unexpected(endpoint.error());
            broker().options = broker_at(*endpoint);  // where the others look for it
        }
        for (ChildOptions member : plan_.members) {
            member.arguments.insert(member.arguments.end(), {"--broker", *endpoint});
            if (Result<> spawned = spawn(std::move(member)); !spawned) return spawned;
        }
        master_more_ = {"--broker", *endpoint, "--parent-tells"};
        ChildOptions master = plan_.master;
        master.arguments.insert(master.arguments.end(), master_more_.begin(), master_more_.end());
        if (Result<> spawned = spawn(std::move(master)); !spawned) return spawned;
        master_ = &places_.back();
        return {};
    }

    Result<> spawn(ChildOptions options) {
        auto child = Child::spawn(options);
        if (!child) return tl::unexpected(child.error());
        places_.push_back({std::move(options), std::make_unique<Child>(std::move(*child)), {}});
        return {};
    }

    Result<std::string> await_endpoint() {
        const auto until = Clock::now() + broker_start;
        const auto told = [&] { return broker().child->output().find('\n') != std::string::npos; };
        while (!told()) {
            wait(until);
            if (stop_.stopped()) return fail(Errc::cancelled, "stopped before the run began");
            if (!broker().running() && !told() && !start_again(broker()))
                return tl::unexpected(failure_of(*broker().child));
            if (Clock::now() >= until)
                return fail(Errc::timed_out, "the broker did not start within 20 s; its log is " +
                                                 plan_.broker_log.string());
        }
        const auto said = nlohmann::json::parse(broker().child->output(), nullptr, false);
        if (said.is_object() && said.contains("endpoints") && !said["endpoints"].empty())
            return said["endpoints"][0].get<std::string>();
        return tl::unexpected(failure_of(*broker().child));
    }

    // -- while it runs ----------------------------------------------------------------
    /// Until a child says something or ends, a signal comes, or `until`.
    void wait(Clock::time_point until) {
        std::vector<pollfd> fds;
        if (!stop_seen_) fds.push_back({stop_.fd(), POLLIN, 0});
        bool blind = false;
        for (const Place& place : places_) {
            const Child& child = *place.child;
            if (child.output_fd() >= 0) fds.push_back({child.output_fd(), POLLIN, 0});
            if (child.running() && child.end_fd() >= 0) fds.push_back({child.end_fd(), POLLIN, 0});
            blind = blind || (child.running() && child.end_fd() < 0);
        }
        auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
        left = std::clamp(left, std::chrono::milliseconds(0), std::chrono::milliseconds(1000));
        if (blind) left = std::min(left, std::chrono::milliseconds(20));  // a kernel before 5.3
        ::poll(fds.data(), static_cast<nfds_t>(fds.size()), static_cast<int>(left.count()));
        for (const Place& place : places_) {
            place.child->read_output();
            place.child->reap();
        }
    }

    /// Whether a child that has ended is running again.
    bool start_again(Place& place) {
        // a restarted broker may find its port taken by one of the attempts to reach it
        const bool by_signal = place.child->by_signal() != 0;
        const bool no_address = &place == &broker() && place.restarts.ever() > 0 &&
                                place.child->exit_status() == static_cast<int>(ExitCode::network);
        // the address of a container that was killed may not be free yet
        const bool no_container = !place.options.command.empty() && place.restarts.ever() > 0 &&
                                  place.child->exit_status() == podman_failed;
        if (stop_seen_ || asked_ || (!by_signal && !no_address && !no_container)) return false;
        sweep(place);
        if (!place.restarts.again(plan_.restarts_max, plan_.progress ? plan_.progress() : 0))
            return false;
        if (no_address || no_container) wait(Clock::now() + std::chrono::milliseconds(200));
        if (&place == master_ && plan_.master_again) {
            place.options.arguments = plan_.master_again();
            place.options.arguments.insert(place.options.arguments.end(), master_more_.begin(),
                                           master_more_.end());
        }
        return spawn_again(place.options, place.restarts, plan_.restarts_max,
                           "without a new commit", place.child);
    }

    [[nodiscard]] bool can_resume() const { return plan_.can_resume && plan_.can_resume(); }

    /// Why the run has ended with this child: what it said, otherwise how it ended. The master says
    /// itself whether the run can go on; for others that is said here.
    [[nodiscard]] Failure given_up(const Place& place) const {
        const Child& child = *place.child;
        Failure failure = failure_of(child);
        const bool said = said_by(child).has_value();
        if (!can_resume() || (said && &place == master_)) return failure;
        failure.resumable = true;
        const std::uint64_t times = said ? 0 : place.restarts.count();
        const std::uint64_t step = plan_.progress();
        if (!said) failure.sentence = end_of(child);
        if (times > 0) {
            failure.code = Errc::too_many_restarts;
            failure.sentence += " after it had been started again " + std::to_string(times) +
                                (times == 1 ? " time" : " times") +
                                " without a newer commit (bus.restarts_max)";
        }
        failure.sentence += (step > 0 ? "; the last commit is that of step " + std::to_string(step)
                                      : std::string("; nothing is committed yet")) +
                            log_of(child);
        return failure;
    }

    /// Files that a killed process has begun and not put in place.
    void sweep(const Place& place) const {
        const bool contained = !place.options.command.empty();
        const std::filesystem::path dir =
            contained ? (plan_.own_dir ? plan_.own_dir(place.options.name) : "") : plan_.run_dir;
        if (!dir.empty()) remove_half_written(dir, contained ? 1 : place.child->pid());
    }

    /// Until the master has ended.
    void watch() {
        Place* first_lost = nullptr;
        auto until = Clock::time_point::max();
        while (master_->running() || start_again(*master_)) {
            wait(until == Clock::time_point::max() ? Clock::now() + std::chrono::seconds(1)
                                                   : until);
            if (stop_.stopped() && !stop_seen_) {
                stop_seen_ = asked_ = true;
                master_->child->signal(SIGTERM);
                until = Clock::now() + master_stops;
            }
            for (Place& place : places_) {
                if (&place == master_ || place.running() || place.seen || start_again(place))
                    continue;
                place.seen = true;
                if (place.child->exit_status() == 0 && &place != &broker()) continue;
                // a member may hear of an orderly stop, and end by it, before the master has ended
                if (stop_seen_ && place.child->exit_status() == interrupted &&
                    place.child->by_signal() == 0 && &place != &broker())
                    continue;
                if (first_lost != nullptr) continue;
                first_lost = &place;
                // without it nothing can be stopped in order
                if (stop_seen_ && &place == &broker())
                    master_->child->signal(SIGTERM);
                else
                    until = Clock::now() + master_explains;
            }
            if (master_->running() && Clock::now() >= until) {
                // the second SIGTERM ends a run without waiting for anybody
                master_->child->signal(asked_ ? SIGKILL : SIGTERM);
                if (!asked_) master_->child->signal(SIGINT);
                asked_ = true;
                until = Clock::now() + signal_answer;
            }
        }
        outcome_.output = master_->child->output();
        outcome_.exit_code = status_of(*master_->child);
        if (stop_seen_) {
            if (outcome_.exit_code == 0) return;
            auto said = said_by(*master_->child);
            const bool by_itself = master_->child->by_signal() == 0 && said;
            if (by_itself && master_->child->exit_status() != interrupted) {
                outcome_.failure = given_up(*master_);  // the stop itself has failed
                return;
            }
            outcome_.exit_code = interrupted;
            outcome_.failure =
                by_itself ? std::move(*said) : Failure{Errc::cancelled, plan_.stopped_sentence};
            if (!by_itself) outcome_.failure.resumable = can_resume();
        } else if (first_lost != nullptr && asked_) {
            outcome_.failure = given_up(*first_lost);
            outcome_.exit_code = first_lost->child->exit_status() == 0
                                     ? static_cast<int>(ExitCode::run_failed)
                                     : status_of(*first_lost->child);
        } else if (outcome_.exit_code != 0) {
            outcome_.failure = given_up(*master_);
        }
    }

    // -- end --------------------------------------------------------------------------
    /// Members end by themselves with the run; whoever does not is told to. The broker is last.
    void end_all() {
        const auto all_members_ended = [this] {
            return std::ranges::all_of(places_, [this](const Place& place) {
                return !place.running() || &place == &places_.front();
            });
        };
        const bool good = master_ != nullptr && outcome_.exit_code == 0 && !stop_seen_;
        // a member, or a broker, that was started again may not know that the run is over
        const bool some_lost = std::ranges::any_of(places_, [](const Place& place) {
            return place.restarts.ever() > 0 || (!place.running() && place.child->by_signal() != 0);
        });
        if (good && plan_.keep) {
            for (const Place& place : places_) place.child->signal(SIGKILL);  // not what it attends
            places_.clear();
            return;
        }
        if (good && !some_lost)
            wait_until(all_members_ended, members_end);
        else if (master_ != nullptr)
            wait_until(all_members_ended, std::chrono::seconds(2));
        for (std::size_t i = 1; i < places_.size(); ++i) {
            places_[i].told = places_[i].running();
            places_[i].child->signal(SIGTERM);
        }
        wait_until(all_members_ended, signal_answer);
        for (std::size_t i = 1; i < places_.size(); ++i) places_[i].child->signal(SIGKILL);
        // a broker in a container holds nothing that its removal could lose
        if (!places_.empty() && !(good && !plan_.broker_command.empty())) {
            broker().child->signal(SIGTERM);
            wait_until([this] { return !broker().running(); }, signal_answer);
        }
        for (const Place& place : places_)
            if (!place.running() && place.child->by_signal() != 0) sweep(place);
        if (good) {
            for (const Place& place : places_) {
                // all parts of the model were written before the master ended
                if (&place == &broker() || place.child->exit_status() == 0 ||
                    place.child->by_signal() != 0 || (place.told && some_lost))
                    continue;
                outcome_.exit_code = place.child->exit_status();
                outcome_.failure = failure_of(*place.child);
            }
        }
        places_.clear();
        directory_.reset();
    }

    template <class Condition>
    void wait_until(Condition condition, Clock::duration at_most) {
        const auto until = Clock::now() + at_most;
        while (!condition() && Clock::now() < until) wait(until);
    }

    [[nodiscard]] Place& broker() { return places_.front(); }

    const LocalPlan& plan_;
    std::vector<std::string> at_once_command_;  ///< what last_command points into
    bus::StopSignal stop_;
    SignalScope signals_;
    bool stop_seen_ = false;
    bool asked_ = false;  ///< the master was told to end
    std::optional<PrivateDirectory> directory_;
    std::vector<Place> places_;  ///< the broker first, the master last; never moves
    Place* master_ = nullptr;
    std::vector<std::string> master_more_;
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
