#include "local_run.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>

#include "bus/zmq/context.hpp"
#include "ended_child.hpp"
#include "ending_times.hpp"
#include "local_broker.hpp"
#include "output.hpp"
#include "run_keys.hpp"
#include "signals.hpp"
#include "supervisor.hpp"

namespace vflbus::cli {
namespace {

using Clock = Supervisor::Clock;

// How long each step may take besides. None of these passes in a run that goes well.
constexpr auto signal_answer = std::chrono::seconds(5);  // from SIGTERM to SIGKILL
constexpr auto master_stops = std::chrono::seconds(30);  // the same when all commit before

constexpr int podman_failed = 125;  // before there was a process in the container
constexpr int interrupted = static_cast<int>(ExitCode::interrupted);

// -- the second signal --------------------------------------------------------------
// Its handler ends all children and says one sentence, so the sentence stands ready here.

std::array<char, 1024> last_words{};
std::array<char, PATH_MAX> last_words_need{};  // a path without which they are not true
const std::string never_began_line = std::string("vflbus: ") + LocalPlan::never_began + "\n";
std::vector<char*> last_command;  // run by the handler; empty: none

void run_last_command() noexcept {
    if (last_command.empty()) return;
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::setpgid(0, 0);
        ::execv(last_command[0], last_command.data());
        ::_exit(1);
    }
    while (pid > 0 && ::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
}

void at_once() noexcept {
    kill_children();
    run_last_command();
    remove_private_directory();
    const bool begun = last_words_need[0] == '\0' || ::access(last_words_need.data(), F_OK) == 0;
    const char* const words = begun ? last_words.data() : never_began_line.c_str();
    if (::write(STDERR_FILENO, words, std::strlen(words)) < 0) return;
}

/// Keeps ready what `at_once` needs, as long as it lives.
class LastWords {
  public:
    explicit LastWords(const LocalPlan& plan) : command_(plan.at_once_command) {
        if (!plan.at_once_sentence.empty())
            std::snprintf(last_words.data(), last_words.size(), "vflbus: %s\n",
                          plan.at_once_sentence.c_str());
        std::snprintf(last_words_need.data(), last_words_need.size(), "%s",
                      plan.at_once_needs.c_str());
        for (std::string& word : command_) last_command.push_back(word.data());
        if (!last_command.empty()) last_command.push_back(nullptr);
    }
    ~LastWords() { last_command.clear(); }
    LastWords(const LastWords&) = delete;
    LastWords& operator=(const LastWords&) = delete;

  private:
    std::vector<std::string> command_;  ///< what last_command points into
};

/// The exit code of a launch that failed because of this child.
int status_of(const Child& child) {
    const bool no_process = child.exit_status() >= podman_failed && child.exit_status() < 128;
    return child.by_signal() != 0 || no_process ? static_cast<int>(ExitCode::run_failed)
                                                : child.exit_status();
}

/// The broker, the members and the master of one run. The master decides how the run ends; the
/// others are started before it and ended after it.
class StartedRun {
  public:
    explicit StartedRun(const LocalPlan& plan)
        : plan_(plan), last_words_(plan), signals_(stop_, at_once) {}

    LocalOutcome run() {
        if (Result<> started = start(); !started) {
            outcome_.failure = started.error();
            outcome_.exit_code =
                stop_.stopped() ? interrupted : static_cast<int>(exit_code(started.error().code));
        } else {
            watch();
            judge();
        }
        end_all();
        return std::move(outcome_);
    }

  private:
    // -- start ----------------------------------------------------------------------
    Result<> start() {
        if (const auto made = make_keys(); !made) return made;
        BrokerPlan plan;
        plan.transport = plan_.transport;
        plan.log = plan_.broker_log;
        plan.arguments = plan_.broker_arguments;
        plan.command = plan_.broker_command;
        plan.bind = plan_.broker_bind;
        plan.address = plan_.broker_address;
        append_keys(plan.arguments);
        RestartRule rule = rule_for("broker", !plan_.broker_command.empty());
        rule.address_taken.push_back(static_cast<int>(ExitCode::network));
        auto broker = LocalBroker::start(supervisor_, plan, std::move(rule), stop_);
        if (!broker) return tl::unexpected(broker.error());
        broker_.emplace(std::move(*broker));
        for (ChildOptions member : plan_.members) {
            member.arguments.insert(member.arguments.end(), {"--broker", broker_->address()});
            append_keys(member.arguments);
            auto started =
                supervisor_.start(member, rule_for(member.name, !member.command.empty()));
            if (!started) return tl::unexpected(started.error());
            members_.push_back(*started);
        }
        return start_master();
    }

    /// Over tcp each party gets a key for this run alone, and the broker lets in nobody else.
    Result<> make_keys() {
        if (plan_.transport != Transport::tcp || !plan_.broker_command.empty()) return {};
        std::vector<std::string> members;
        for (const ChildOptions& member : plan_.members) members.push_back(member.name);
        auto keys = RunKeys::make(plan_.master.name, members);
        if (!keys) return tl::unexpected(keys.error());
        keys_.emplace(std::move(*keys));
        return {};
    }

    void append_keys(std::vector<std::string>& arguments) const {
        if (!keys_) return;
        arguments.insert(arguments.end(), {"--certificates", keys_->directory().string()});
    }

    Result<> start_master() {
        ChildOptions master = plan_.master;
        std::vector<std::string> more{"--broker", broker_->address(), "--parent-tells"};
        append_keys(more);
        master.arguments.insert(master.arguments.end(), more.begin(), more.end());
        RestartRule rule = rule_for(master.name, !master.command.empty());
        if (plan_.master_again)
            rule.arguments = [this, more] {
                std::vector<std::string> words = plan_.master_again();
                words.insert(words.end(), more.begin(), more.end());
                return words;
            };
        auto started = supervisor_.start(std::move(master), std::move(rule));
        if (!started) return tl::unexpected(started.error());
        master_ = *started;
        return {};
    }

    [[nodiscard]] RestartRule rule_for(const std::string& name, bool contained) const {
        RestartRule rule;
        rule.at_most = plan_.restarts_max;
        rule.progress = plan_.progress;
        rule.say = [](const std::string& text) { error_line(text); };
        if (plan_.own_dirs) rule.files = plan_.own_dirs(name);
        if (contained) {
            rule.address_taken = {podman_failed};
            rule.pid_inside = 1;
        } else {
            rule.files.push_back(plan_.run_dir);
        }
        return rule;
    }

    // -- while it runs ----------------------------------------------------------------
    [[nodiscard]] bool start_again(Supervised& place) {
        return !stop_seen_ && !asked_ && supervisor_.start_again(place);
    }

    /// Until the master has ended.
    void watch() {
        while (master_->running() || start_again(*master_)) {
            const bool bounded = patience_ends_ != Clock::time_point::max();
            supervisor_.wait(bounded ? patience_ends_ : Clock::now() + std::chrono::seconds(1),
                             stop_seen_ ? -1 : stop_.fd());
            if (stop_.stopped() && !stop_seen_) {
                stop_seen_ = asked_ = true;
                master_->signal(SIGTERM);
                patience_ends_ = Clock::now() + master_stops;
            }
            for (Supervised* place : supervisor_.all()) {
                if (place == master_ || place->running() || place->accounted || start_again(*place))
                    continue;
                place->accounted = true;
                on_ended(*place);
            }
            if (master_->running() && Clock::now() >= patience_ends_) end_master();
        }
    }

    /// A member or the broker has ended, and stays so.
    void on_ended(Supervised& place) {
        const bool is_broker = &place == &broker_->process();
        const Child& child = place.child();
        if (child.exit_status() == 0 && !is_broker) return;
        // a member may hear of an orderly stop, and end by it, before the master has ended
        if (stop_seen_ && child.exit_status() == interrupted && child.by_signal() == 0 &&
            !is_broker)
            return;
        if (first_lost_ != nullptr) return;
        first_lost_ = &place;
        // without the broker nothing can be stopped in order
        if (stop_seen_ && is_broker)
            master_->signal(SIGTERM);
        else
            patience_ends_ = Clock::now() + master_explains;
    }

    /// Its patience has passed: first it is to close the run without waiting for anybody, which is
    /// what two signals mean to it, then it is killed.
    void end_master() {
        master_->signal(asked_ ? SIGKILL : SIGTERM);
        if (!asked_) master_->signal(SIGINT);
        asked_ = true;
        patience_ends_ = Clock::now() + signal_answer;
    }

    // -- what came of it ----------------------------------------------------------------
    void judge() {
        outcome_.output = master_->child().output();
        outcome_.exit_code = status_of(master_->child());
        if (stop_seen_) {
            if (outcome_.exit_code != 0) judge_stopped();
        } else if (first_lost_ != nullptr && asked_) {
            outcome_.failure = given_up(*first_lost_);
            outcome_.exit_code = first_lost_->child().exit_status() == 0
                                     ? static_cast<int>(ExitCode::run_failed)
                                     : status_of(first_lost_->child());
        } else if (outcome_.exit_code != 0) {
            outcome_.failure = given_up(*master_);
        }
    }

    void judge_stopped() {
        const Child& master = master_->child();
        auto said = said_by(master);
        const bool by_itself = master.by_signal() == 0 && said;
        if (by_itself && master.exit_status() != interrupted) {
            outcome_.failure = given_up(*master_);  // the stop itself has failed
            return;
        }
        outcome_.exit_code = interrupted;
        if (by_itself) {
            outcome_.failure = std::move(*said);
        } else {
            outcome_.failure = {Errc::cancelled, plan_.stopped_sentence};
            outcome_.failure.resumable = can_resume();
        }
    }

    [[nodiscard]] bool can_resume() const { return plan_.can_resume && plan_.can_resume(); }

    /// Why the run has ended with this child: what it said, otherwise how it ended. The master says
    /// itself whether the run can go on; for others that is said here.
    [[nodiscard]] Failure given_up(const Supervised& place) const {
        const Child& child = place.child();
        Failure failure = failure_of(child);
        const bool said = said_by(child).has_value();
        if (!can_resume() || (said && &place == master_)) return failure;
        failure.resumable = true;
        const std::uint64_t times = said ? 0 : place.restarts().count();
        if (!said) failure.sentence = end_of(child) + restarted_text("it", times);
        if (times > 0) failure.code = Errc::too_many_restarts;
        const std::uint64_t step = plan_.progress();
        failure.sentence += (step > 0 ? "; the last commit is that of step " + std::to_string(step)
                                      : std::string("; nothing is committed yet")) +
                            log_of(child);
        return failure;
    }

    // -- end --------------------------------------------------------------------------
    /// Members end by themselves with the run; whoever does not is told to. The broker is last.
    void end_all() {
        const bool good = master_ != nullptr && outcome_.exit_code == 0 && !stop_seen_;
        if (good && plan_.keep) {
            // the containers go on; what is killed is the `podman run` that attends each of them
            for (const Supervised* place : supervisor_.all()) place->signal(SIGKILL);
            return supervisor_.forget_all();
        }
        Supervisor::Group parties = members_;
        if (master_ != nullptr) parties.push_back(master_);
        // one that was started again may not know that the run is over
        const bool some_lost = this->some_lost();
        if (master_ != nullptr)
            supervisor_.wait_for([&] { return !any_running(parties); },
                                 good && !some_lost ? Clock::duration(members_end)
                                                    : Clock::duration(members_end_after_failure));
        for (Supervised* place : parties) place->told = place->running();
        supervisor_.end(parties, signal_answer);
        end_broker(good);
        for (const Supervised* place : supervisor_.all())
            if (!place->running() && place->child().by_signal() != 0)
                Supervisor::remove_unfinished_files(*place);
        if (good) judge_members(some_lost);
        supervisor_.forget_all();
    }

    [[nodiscard]] bool some_lost() const {
        const Supervisor::Group all = supervisor_.all();
        return std::ranges::any_of(all, [](const Supervised* place) {
            return place->restarts().ever() > 0 ||
                   (!place->running() && place->child().by_signal() != 0);
        });
    }

    void end_broker(bool good) {
        // in a container it holds nothing that the removal of the container could lose
        if (!broker_ || (good && !plan_.broker_command.empty())) return;
        broker_->process().signal(SIGTERM);
        supervisor_.wait_for([this] { return !broker_->process().running(); }, signal_answer);
    }

    /// Of a run that the master has completed: all parts of the model were written before it ended,
    /// so that only a member which failed by itself is to be told of.
    void judge_members(bool some_lost) {
        for (const Supervised* place : members_) {
            const Child& child = place->child();
            if (child.exit_status() == 0 || child.by_signal() != 0 || (place->told && some_lost))
                continue;
            outcome_.exit_code = child.exit_status();
            outcome_.failure = failure_of(child);
        }
    }

    const LocalPlan& plan_;
    LastWords last_words_;
    bus::StopSignal stop_;
    SignalScope signals_;
    StopsWithChildren stops_;
    bool stop_seen_ = false;
    bool asked_ = false;  ///< the master was told to end
    Clock::time_point patience_ends_ = Clock::time_point::max();
    std::optional<RunKeys> keys_;
    std::optional<LocalBroker> broker_;
    Supervisor supervisor_;
    Supervisor::Group members_;
    Supervised* master_ = nullptr;
    Supervised* first_lost_ = nullptr;
    LocalOutcome outcome_;
};

}  // namespace

LocalOutcome run_locally(const LocalPlan& plan) {
    return StartedRun(plan).run();
}

int report_local(const Common& common, const LocalOutcome& outcome) {
    if (outcome.failure.code == Errc::ok && outcome.exit_code == 0)
        print(outcome.output);
    else
        report_failure(common, outcome.failure);
    return outcome.exit_code;
}

}  // namespace vflbus::cli
