// vflbus actor --role master --serve: waits for runs that `vflbus run submit` hands over. Each is a
// process of its own, `actor --role master` with this party's own files and the agreed half that
// was submitted, so that runs go on beside each other and a fault of one is its own. One that a
// signal ends is resumed, and what is not over when this process dies is gone on with by the next.

#include <algorithm>
#include <csignal>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "ask.hpp"
#include "base/clock.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "bus/zmq/link_loop.hpp"
#include "commands.hpp"
#include "config/agreed.hpp"
#include "config/document.hpp"
#include "ended_child.hpp"
#include "local_runs.hpp"
#include "observe/log.hpp"
#include "output.hpp"
#include "parties.hpp"
#include "resume.hpp"
#include "run_desk.hpp"
#include "settings.hpp"
#include "signals.hpp"
#include "submission.hpp"
#include "submitted.hpp"
#include "supervisor.hpp"
#include "version.hpp"
#include "wall_clock.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;
namespace log = observe::log;
using bus::Question;
using bus::RunState;

constexpr Duration poll_while_running = std::chrono::milliseconds(100);
constexpr Duration children_end = std::chrono::seconds(30);
constexpr Duration note_patience = std::chrono::seconds(20);
/// Children of a process that was killed are killed with it, but may take a moment.
constexpr Duration predecessors_end = std::chrono::seconds(5);
/// What became of so many runs is remembered, for those who submit twice.
constexpr std::size_t submissions_known_max = 1024;
constexpr const char* predictions_name = "predictions.csv";
/// In the directory of a submitted run: of the agreed half as it was handed over.
constexpr const char* submitted_digest_name = "submitted.hash";

using CommandWords = std::vector<std::string>;

std::string child_name(const std::string& name, const RunId& run) {
    return name + "-" + run.short_hex();
}

class Server {
  public:
    Server(config::Config config, std::string name, const fs::path& state_dir,
           std::unique_ptr<bus::LinkLoop> loop)
        : config_(std::move(config)),
          name_(std::move(name)),
          file_(state_dir),
          loop_(std::move(loop)),
          desk_("master", config_.output.runs_dir, config_.output.share_log) {
        replies_->loop = loop_.get();
    }

    Failure run(const bus::StopSignal& stop) {
        if (const auto taken = take_over(); !taken) return taken.error();
        loop_->start();
        log::info({.part = "serve"}, "waits for submissions broker={} at_once={} queue={}",
                  log::value(config_.bus.broker), config_.bus.submitted_at_once,
                  config_.bus.submitted_max);
        const TimePoint begin = clock_now();
        bool was_up = false;
        while (!stop.stopped()) {
            const TimePoint now = clock_now();
            loop_->poll(now + (running_.empty() ? std::chrono::seconds(1) : poll_while_running),
                        &stop);
            if (const auto fatal = take_events()) return *fatal;
            was_up = was_up || link().up();
            if (!was_up && clock_now() - begin >= seconds(config_.bus.rendezvous_timeout))
                return {Errc::unreachable, name_ + " could not reach the broker at " +
                                               config_.bus.broker + "; is it running there?"};
            take_queries();
            take_answers();
            reap();
            start_next();
        }
        if (ready_) end_all();  // otherwise it has begun nothing, and leaves all to the next one
        link().bye("done");
        loop_->close();
        return {Errc::ok, {}};
    }

  private:
    struct Running {
        Submitted what;
        Supervised* process;
    };
    /// What the desk's thread has answered, for the loop to send.
    struct Reply {
        bus::QueryArrived query;
        Result<bus::Bytes> answer;
    };
    struct Replies {
        std::mutex mutex;
        std::vector<Reply> waiting;
        bus::LinkLoop* loop = nullptr;
    };

    bus::LinkCore& link() { return loop_->core(); }

    std::optional<Failure> take_events() {
        bus::LinkEvent event;
        while (link().next_event(event)) {
            if (const auto* fatal = std::get_if<bus::LinkFatal>(&event)) return fatal->failure;
            if (const auto* down = std::get_if<bus::LinkDown>(&event))
                log::warn({.part = "serve"}, "link down: {}", down->sentence);
            if (!std::holds_alternative<bus::LinkUp>(event)) continue;
            if (!ready_) go_on();
            note_all();  // to a broker that came back empty as well
        }
        return {};
    }

    void take_queries() {
        bus::QueryArrived query;
        while (link().next_query(query)) answer(query);
        std::vector<Reply> replies;
        {
            const std::lock_guard lock(replies_->mutex);
            replies.swap(replies_->waiting);
        }
        for (const Reply& reply : replies) link().answer(reply.query, reply.answer);
    }

    void answer(const bus::QueryArrived& query) {
        switch (static_cast<Question>(query.question)) {
            case Question::submit:
                return link().answer(query, submit(query));
            case Question::stop:
                return link().answer(query, stop_run(query.run));
            default:
                // from files, by another thread
                desk_.answer(query, [query, replies = replies_](Result<bus::Bytes> answer) {
                    {
                        const std::lock_guard lock(replies->mutex);
                        replies->waiting.push_back({query, std::move(answer)});
                    }
                    replies->loop->wake();
                });
        }
    }

    Result<bus::Bytes> submit(const bus::QueryArrived& query) {
        auto submitted = bus::decode_submit(query.body);
        if (!submitted) return tl::unexpected(submitted.error());
        const auto taken = submit(query.run, *submitted, query.asker);
        if (taken) return bus::encode(*taken);
        log::warn({query.run, {}, {}, "serve"}, "submission refused: {}", taken.error().sentence);
        return tl::unexpected(taken.error());
    }

    // -- the queue ---------------------------------------------------------------

    /// What the process before us has left.
    Result<> take_over() {
        auto left = file_.load();
        if (!left) return tl::unexpected(left.error());
        for (Submitted& what : *left) {
            if (what.begun) {
                const fs::path node = run_dir(what.run) / "master" / "node";
                const TimePoint until = clock_now() + predecessors_end;
                while (!DirectoryLock::acquire(node) && clock_now() < until)
                    std::this_thread::sleep_for(std::chrono::milliseconds(20));
            }
            log::info({what.run, {}, {}, "serve"}, "taken over label={} begun={}",
                      log::value(what.label), what.begun);
            remember(what.run, RunState::pending);
            queue_.push_back(std::move(what));
        }
        return store();  // where that cannot be, nothing is promised
    }

    /// The broker has let us in: only now is it a restart.
    void go_on() {
        ready_ = true;
        std::vector<RunId> given_up;
        for (Submitted& what : queue_)
            if (what.begun && !count_restart(what)) given_up.push_back(what.run);
        for (const RunId& run : given_up) {
            const auto at = std::ranges::find(queue_, run, &Submitted::run);
            Failure why = too_often(*at, name_ + " was ended");
            log::error({run, {}, {}, "serve"}, "{}", explained(why, resume_of(run)));
            queue_.erase(at);
            over(run, RunState::failed, std::move(why));
        }
        store_or_warn();
    }

    /// Whether another process may go on with it.
    bool count_restart(Submitted& what) {
        if (!what.model.empty()) return false;
        return what.restarts.again(config_.bus.restarts_max,
                                   last_commit(config_.output.runs_dir, what.run));
    }

    Failure too_often(const Submitted& what, const std::string& again) const {
        if (!what.model.empty()) {
            Failure failure{Errc::too_many_restarts,
                            again +
                                "; the prediction was not made: ask for it again (`vflbus run "
                                "predict`)"};
            failure.party = name_;
            return failure;
        }
        Failure failure{Errc::too_many_restarts,
                        again +
                            restarted_text("run " + what.run.short_hex(), what.restarts.count()) +
                            "; its output is " + output_of(what.run).string()};
        failure.party = name_;
        failure.resumable = can_resume(config_.output.runs_dir, what.run);
        return failure;
    }

    /// The command that goes on with a run without this master.
    [[nodiscard]] std::string resume_of(const RunId& run) const {
        return resume_command("vflbus actor --role master --name " + child_name(name_, run),
                              config_, run, {});
    }

    [[nodiscard]] fs::path run_dir(const RunId& run) const {
        return fs::path(config_.output.runs_dir) / run.hex();
    }
    [[nodiscard]] fs::path output_of(const RunId& run) const {
        return run_dir(run) / "master" / "output";
    }

    Result<> store() {
        if (ending_) return file_.store({});
        std::vector<const Submitted*> all;
        for (const auto& [run, running] : running_) all.push_back(&running.what);
        for (const Submitted& waiting : queue_) all.push_back(&waiting);
        return file_.store(all);
    }
    /// Where nothing else can be done about it: the file is of use only when this process is
    /// killed, and says then what was so before.
    void store_or_warn() {
        if (const auto stored = store(); !stored)
            log::warn({.part = "serve"}, "{}", stored.error().sentence);
    }

    /// Of one that was taken, as this process knows it or its files tell.
    bus::RunState state_of_submitted(const RunId& run) const {
        if (const auto known = known_.find(run); known != known_.end()) return known->second;
        const auto local = local_run(config_.output.runs_dir, run.hex());
        return local ? state_of(*local) : RunState::unknown;
    }

    /// `by`: the key of the asker.
    Result<bus::SubmitAnswer> submit(const RunId& run, const bus::SubmitQuery& submitted,
                                     const std::string& by) {
        if (run.none()) return fail(Errc::malformed_message, "the submission has no run id");
        // the same submission once more, such as of one token: it is the same run
        const std::string digest = to_hex(hash256(submitted.agreed)) + "\n";
        const fs::path digest_file = run_dir(run) / submitted_digest_name;
        if (const auto before = read_file(digest_file); before && *before != digest)
            return fail(Errc::usage, "run " + run.short_hex() +
                                         " was submitted with another configuration; give this one "
                                         "another token");
        else if (before || known_.contains(run))
            return bus::SubmitAnswer{state_of_submitted(run), 0};
        if (ending_)
            return fail(Errc::refused,
                        name_ + " is being stopped; submit it again when it is back");
        if (running_.size() >= config_.bus.submitted_at_once)
            if (const auto room = check_room(queue_, by, config_.bus.submitted_max); !room)
                return tl::unexpected(room.error());
        const auto config = accept(submitted.agreed);
        if (!config) return tl::unexpected(config.error());
        const fs::path file = run_dir(run) / "vflbus.toml";
        std::error_code ec;
        if (can_resume(config_.output.runs_dir, run) || fs::exists(file, ec))
            return fail(Errc::usage, "there is a run " + run.hex() + " already");
        const std::uint64_t ahead = queue_.size();
        queue_.push_back({run, submitted.label, false, {}, by, config->parts.string()});
        auto stored = write_configuration(file, config->config, run_dir(run));
        if (stored) stored = write_file_atomically(digest_file, digest);
        if (stored) stored = store();
        if (!stored) {
            queue_.pop_back();
            fs::remove(file, ec);
            fs::remove(digest_file, ec);
            return tl::unexpected(stored.error());
        }
        log::info({run, {}, {}, "serve"}, "submitted label={} ahead={}{}",
                  log::value(submitted.label), ahead, by.empty() ? by : " by=" + log::value(by));
        remember(run, RunState::pending);
        start_next();
        const RunState state = known_.at(run);
        if (state == RunState::pending) note(run, state, {});
        return bus::SubmitAnswer{state, state == RunState::pending ? ahead : 0};
    }

    /// The configuration of what was submitted; a prediction has the parts of its model as well.
    Result<Prediction> accept(std::string_view submitted) const {
        const auto model = predicted_model(submitted);
        if (!model) return tl::unexpected(model.error());
        if (!model->empty()) return accept_prediction(config_, *model);
        auto config = accept_submission(config_, submitted);
        if (!config) return tl::unexpected(std::move(config.error()));
        return Prediction{std::move(*config), {}};
    }

    void start_next() {
        while (ready_ && !queue_.empty() && running_.size() < config_.bus.submitted_at_once) {
            Submitted next = std::move(queue_.front());
            queue_.pop_front();
            start(std::move(next));
        }
    }

    /// The arguments of the process that drives this run.
    [[nodiscard]] CommandWords command_of(const Submitted& what, const std::string& name) const {
        const fs::path dir = run_dir(what.run);
        CommandWords words;
        if (what.model.empty())
            words = {"actor", "--role", "master", "--or-resume", "--parent-goes-on"};
        else
            words = {"predict", "--model", what.model, "--out", (dir / predictions_name).string()};
        const CommandWords both{"--name",
                                name,
                                "--run-id",
                                what.run.hex(),
                                "--config",
                                (dir / "vflbus.toml").string(),
                                "--json",
                                "--set",
                                "output.runs_dir=" + config_.output.runs_dir,
                                "--state-dir",
                                (dir / "master" / "node").string()};
        words.insert(words.end(), both.begin(), both.end());
        return words;
    }

    void start(Submitted next) {
        const RunId run = next.run;
        const std::string name = child_name(name_, run);
        ChildOptions options;
        options.name = name;
        options.arguments = command_of(next, name);
        options.log = output_of(run);
        auto process = processes_.start(std::move(options), restart_rule(next));
        if (!process) {
            log::error({run, {}, {}, "serve"}, "{}", process.error().sentence);
            return over(run, RunState::failed, process.error());
        }
        (*process)->restore(next.restarts);
        next.begun = true;
        running_.emplace(run, Running{std::move(next), *process});
        note_started(run);
    }

    /// A prediction keeps nothing that another process could go on with.
    [[nodiscard]] RestartRule restart_rule(const Submitted& what) const {
        const RunId run = what.run;
        RestartRule rule;
        rule.at_most = what.model.empty() ? config_.bus.restarts_max : 0;
        rule.progress = [this, run] { return last_commit(config_.output.runs_dir, run); };
        rule.files = {run_dir(run)};
        rule.say = [run](const std::string& text) {
            log::warn({run, {}, {}, "serve"}, "{}", text);
        };
        return rule;
    }

    void note_started(const RunId& run) {
        const Child& child = running_.at(run).process->child();
        log::info({run, {}, {}, "serve"}, "started as={} pid={}", child.name(), child.pid());
        store_or_warn();
        remember(run, RunState::starting);
        note(run, RunState::starting, {});
    }

    /// Looks which processes have ended.
    void reap() {
        processes_.look();
        std::vector<RunId> ended;
        for (const auto& [run, running] : running_)
            if (!running.process->running()) ended.push_back(run);
        for (const RunId& run : ended) on_ended(run);
    }

    void on_ended(const RunId& run) {
        Running& running = running_.at(run);
        Supervised& process = *running.process;
        const bool by_signal = process.child().by_signal() != 0;
        if (!process.told && processes_.start_again(process)) {
            running.what.restarts = process.restarts();
            return note_started(run);
        }
        const Running gone = std::move(running);
        running_.erase(run);
        if (by_signal && !process.told) {
            Failure why = too_often(gone.what, process.name() + " " + process.child().ending());
            log::error({run, {}, {}, "serve"}, "{}", explained(why, resume_of(run)));
            over(run, RunState::failed, std::move(why));
        } else {
            finish(run, process.child(), process.told);
        }
        processes_.forget(process);
    }

    void finish(const RunId& run, const Child& child, bool told) {
        const bool good = child.by_signal() == 0 && child.exit_status() == 0;
        const bool stopped = child.by_signal() != 0
                                 ? told
                                 : child.exit_status() == static_cast<int>(ExitCode::interrupted);
        Failure why = good ? Failure{Errc::ok, {}} : failure_of(child);
        log::info({run, {}, {}, "serve"}, "ended exit={} reason={}", child.exit_status(),
                  log::value(why.sentence));
        over(run,
             good      ? RunState::completed
             : stopped ? RunState::stopped
                       : RunState::failed,
             std::move(why));
    }

    /// The broker knows how a run ended that was closed there; of others it is told.
    void over(const RunId& run, RunState state, Failure why) {
        remember(run, state);
        store_or_warn();
        if (state == RunState::completed) return;
        why.code = state == RunState::stopped ? Errc::cancelled : why.code;
        settle(run, state, std::move(why));
    }

    /// Asks the broker what it knows of a run before it is told.
    void settle(const RunId& run, RunState state, Failure why) {
        const TimePoint now = clock_now();
        const auto number =
            link().query(broker_node, {}, Question::run, bus::encode_run_query(run.hex()),
                         now + note_patience, now);
        unsettled_.emplace(number, Unsettled{run, state, std::move(why)});
    }

    /// A broker that came back knows nothing, and one that we come back to waits to hear of what it
    /// knows. What was opened, its owner says itself.
    void note_all() {
        for (const Submitted& waiting : queue_) note(waiting.run, RunState::pending, {});
        for (const auto& [run, running] : running_) settle(run, RunState::starting, {});
    }

    void take_answers() {
        bus::AnswerArrived answer;
        while (link().next_answer(answer)) {
            const auto found = unsettled_.find(answer.number);
            if (found == unsettled_.end()) {  // to a note
                if (answer.error.code != Errc::ok)
                    log::warn({answer.run, {}, {}, "serve"}, "not noted: {}",
                              answer.error.sentence);
                continue;
            }
            const Unsettled it = std::move(found->second);
            unsettled_.erase(found);
            const auto rows = bus::decode_run_rows(answer.body);
            const bool known = rows && rows->size() == 1;
            const bool opened = known && rows->front().owner != name_;
            const bool ended = known && bus::finished(rows->front().state);
            if (it.state == RunState::starting ? !opened && running_.count(it.run) != 0
                                               : !opened || !ended)
                note(it.run, it.state, it.why);
        }
    }

    void note(const RunId& run, RunState state, const Failure& why) {
        const TimePoint now = clock_now();
        const Errc code = bus::finished(state) ? why.code : Errc::ok;
        (void)link().query(broker_node, run, Question::note,
                           bus::encode(bus::NoteQuery{
                               state, code, explained(why, resume_of(run)).substr(0, 2000)}),
                           now + note_patience, now);
    }

    void remember(const RunId& run, RunState state) {
        if (known_.emplace(run, state).second) order_.push_back(run);
        known_[run] = state;
        if (order_.size() <= submissions_known_max) return;
        known_.erase(order_.front());
        order_.pop_front();
    }

    // -- stopping ----------------------------------------------------------------

    Result<bus::Bytes> stop_run(const RunId& run) {
        for (auto at = queue_.begin(); at != queue_.end(); ++at) {
            if (at->run != run) continue;
            const bool begun = at->begun;
            queue_.erase(at);
            over(run, RunState::stopped,
                 {Errc::cancelled,
                  begun ? "it was stopped before it went on" : "it was stopped before it began"});
            return bus::encode_empty();
        }
        const auto found = running_.find(run);
        if (found == running_.end())
            return fail(Errc::not_owner, name_ + " does not drive run " + run.short_hex());
        tell_to_end(found->second);
        return bus::encode_empty();
    }

    /// Once: a second signal would end the run without a commit.
    static void tell_to_end(const Running& running) {
        if (!std::exchange(running.process->told, true)) running.process->signal(SIGTERM);
    }

    /// In order, so that nothing is gone on with.
    void end_all() {
        ending_ = true;
        store_or_warn();
        for (const Submitted& waiting : queue_) {
            log::info({waiting.run, {}, {}, "serve"}, "given up, it was not begun");
            note(waiting.run, RunState::stopped,
                 {Errc::cancelled, name_ + " was stopped before the run began"});
        }
        queue_.clear();
        for (auto& [run, running] : running_) tell_to_end(running);
        const TimePoint until = clock_now() + children_end;
        while (!running_.empty() && clock_now() < until) {
            loop_->poll(clock_now() + poll_while_running, nullptr);
            (void)take_events();
            take_queries();
            take_answers();
            reap();
        }
        for (const auto& [run, running] : running_)
            note(run, RunState::stopped,
                 {Errc::cancelled, running.process->name() + " did not end when it was stopped"});
        running_.clear();
        processes_.forget_all();  // what has not ended by now is killed
        const TimePoint notes = clock_now() + std::chrono::milliseconds(200);
        while (clock_now() < notes && link().up()) {
            loop_->poll(notes, nullptr);
            take_answers();
        }
    }

    /// What the broker is told of a run once it has said what it knows.
    struct Unsettled {
        RunId run;
        RunState state{};
        Failure why;
    };

    config::Config config_;
    std::string name_;
    SubmittedFile file_;
    std::unique_ptr<bus::LinkLoop> loop_;
    std::shared_ptr<Replies> replies_ = std::make_shared<Replies>();
    RunDesk desk_;  ///< its thread ends before what it replies into
    std::deque<Submitted> queue_;
    Supervisor processes_;
    std::map<RunId, Running> running_;
    bool ready_ = false;   ///< it was on the bus
    bool ending_ = false;  ///< it is being stopped
    std::map<RunId, RunState> known_;
    std::deque<RunId> order_;
    std::map<std::uint64_t, Unsettled> unsettled_;
};

}  // namespace

int serve(const ActorArguments& arguments) {
    LoadMore more;
    more.self = "master";
    const auto config = load_config(arguments, broker_flag(arguments.broker), more);
    if (!config) return report_failure(arguments, config.error());
    if (const auto good = config::check_party(*config, "master"); !good)
        return report_failure(arguments, good.error());
    if (const auto good = config::check_files(*config, "master"); !good)
        return report_failure(arguments, good.error());
    const std::string name = arguments.name.empty() ? "master" : arguments.name;
    if (name.size() > 55)
        return report_failure(arguments, {Errc::usage, "--name " + name +
                                                           " is too long: its runs are called so "
                                                           "with 9 more characters"});
    const fs::path state =
        arguments.state_dir.empty() ? node_directory(*config, name) : fs::path(arguments.state_dir);
    const auto directory = DirectoryLock::acquire(state);
    if (!directory) return report_failure(arguments, directory.error());
    const auto incarnation = next_incarnation(state, wall_now_ms());
    if (!incarnation) return report_failure(arguments, incarnation.error());
    log::set_identity(name);

    bus::StopSignal stop;
    const SignalScope signals(stop, kill_children);
    const StopsWithChildren stops;
    bus::LinkConfig link = link_config(*config, {name,
                                                 "master",
                                                 -1,
                                                 *incarnation,
                                                 random_u64(),
                                                 version_text,
                                                 {std::string(bus::feature_serve)}});
    auto loop = bus::LinkLoop::create(bus::make_context(), config->bus.broker, std::move(link),
                                      key_source(*config));
    if (!loop) return report_failure(arguments, loop.error());
    Server server(*config, name, state, std::move(*loop));
    const Failure ending = server.run(stop);
    if (ending.code != Errc::ok) return report_failure(arguments, ending);
    log::info("{}", ended_by_signal);
    return 0;
}

}  // namespace vflbus::cli
