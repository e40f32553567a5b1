// vflbus actor --role master --serve: waits for runs that `vflbus run submit` hands over. Each is a
// process of its own, `actor --role master` with this party's own files and the agreed half that
// was submitted, so that runs go on beside each other and a fault of one is its own.

#include <csignal>
#include <deque>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "ask.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "bus/zmq/link_loop.hpp"
#include "commands.hpp"
#include "config/agreed.hpp"
#include "config/document.hpp"
#include "observe/log.hpp"
#include "output.hpp"
#include "process.hpp"
#include "resume.hpp"
#include "run_desk.hpp"
#include "settings.hpp"
#include "signals.hpp"
#include "version.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;
namespace log = observe::log;
using bus::Question;
using bus::RunState;

constexpr Duration poll_while_running = std::chrono::milliseconds(100);
constexpr Duration children_end = std::chrono::seconds(30);
constexpr Duration note_patience = std::chrono::seconds(20);
/// What became of so many runs is remembered, for those who submit twice.
constexpr std::size_t known_max = 1024;

TimePoint clock_now() {
    return std::chrono::steady_clock::now();
}

std::string child_name(const std::string& name, const RunId& run) {
    return name + "-" + run.short_hex();
}

class Server {
  public:
    Server(config::Config config, std::string name, std::unique_ptr<bus::LinkLoop> loop)
        : config_(std::move(config)),
          name_(std::move(name)),
          loop_(std::move(loop)),
          desk_("master", config_.output.runs_dir, config_.output.share_log) {}

    Failure run(const bus::StopSignal& stop) {
        loop_->start();
        log::info("waits for submissions broker={} at_once={} queue={}",
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
        end_all();
        link().bye("done");
        loop_->close();
        return {Errc::ok, {}};
    }

  private:
    struct Waiting {
        RunId run;
        config::Config config;
        std::string label;
    };

    bus::LinkCore& link() { return loop_->core(); }

    std::optional<Failure> take_events() {
        bus::LinkEvent event;
        while (link().next_event(event)) {
            if (const auto* fatal = std::get_if<bus::LinkFatal>(&event)) return fatal->failure;
            if (const auto* down = std::get_if<bus::LinkDown>(&event))
                log::warn("link down: {}", down->sentence);
            if (std::holds_alternative<bus::LinkUp>(event))  // a broker that came back empty
                for (const Waiting& waiting : queue_) note(waiting.run, RunState::pending, {});
        }
        return {};
    }

    void take_queries() {
        bus::QueryArrived query;
        while (link().next_query(query)) link().answer(query, answer(query));
    }

    Result<bus::Bytes> answer(const bus::QueryArrived& query) {
        switch (static_cast<Question>(query.question)) {
            case Question::submit: {
                auto submitted = bus::decode_submit(query.body);
                if (!submitted) return tl::unexpected(submitted.error());
                const auto taken = submit(query.run, *submitted);
                if (!taken) {
                    log::warn({query.run, {}, {}}, "submission refused: {}",
                              taken.error().sentence);
                    return tl::unexpected(taken.error());
                }
                return bus::encode(*taken);
            }
            case Question::stop:
                return stop_run(query.run);
            default:
                return desk_.answer(query);
        }
    }

    // -- the queue ---------------------------------------------------------------

    Result<bus::SubmitAnswer> submit(const RunId& run, const bus::SubmitQuery& submitted) {
        if (run.none()) return fail(Errc::malformed_message, "the submission has no run id");
        if (const auto known = known_.find(run); known != known_.end())
            return bus::SubmitAnswer{known->second, 0};
        if (queue_.size() >= config_.bus.submitted_max &&
            running_.size() >= config_.bus.submitted_at_once)
            return fail(Errc::too_many, std::to_string(queue_.size()) +
                                            " runs wait already (bus.submitted_max); submit it "
                                            "again later");
        auto agreed = config::parse_canonical(submitted.agreed);
        if (!agreed) return tl::unexpected(agreed.error());
        config::Config config = config_;
        static_cast<config::AgreedHalf&>(config) = std::move(*agreed);
        if (config.run.world_size == 0) config.run.world_size = config_.run.world_size;
        if (config.run.world_size == 0)
            return fail(Errc::bad_config,
                        "run.world_size, the number of members, is missing in the submission");
        if (const auto good = config::check(config); !good) return tl::unexpected(good.error());
        if (const auto good = config::check_party(config, "master"); !good)
            return tl::unexpected(good.error());
        if (const auto good = config::check_files(config, "master"); !good)
            return tl::unexpected(good.error());
        if (can_resume(config_.output.runs_dir, run))
            return fail(Errc::usage, "there is a run " + run.hex() + " already");
        const std::uint64_t ahead = queue_.size();
        queue_.push_back({run, std::move(config), submitted.label});
        log::info({run, {}, {}}, "submitted label={} ahead={}", log::value(submitted.label), ahead);
        remember(run, RunState::pending);
        start_next();
        const RunState state = known_.at(run);
        if (state == RunState::pending) note(run, state, {});
        return bus::SubmitAnswer{state, state == RunState::pending ? ahead : 0};
    }

    void start_next() {
        while (!queue_.empty() && running_.size() < config_.bus.submitted_at_once) {
            Waiting next = std::move(queue_.front());
            queue_.pop_front();
            if (const auto started = start(next); !started) {
                log::error({next.run, {}, {}}, "{}", started.error().sentence);
                over(next.run, RunState::failed, started.error().sentence);
            }
        }
    }

    Result<> start(const Waiting& next) {
        const fs::path dir = fs::path(config_.output.runs_dir) / next.run.hex();
        const fs::path file = dir / "vflbus.toml";
        std::error_code ec;
        fs::create_directories(dir, ec);
        if (const auto written = write_file_atomically(file, config::to_toml(next.config, dir));
            !written)
            return tl::unexpected(written.error());
        const std::string name = child_name(name_, next.run);
        ChildOptions options;
        options.name = name;
        options.arguments = {"actor",        "--role",
                             "master",       "--name",
                             name,           "--run-id",
                             next.run.hex(), "--config",
                             file.string(),  "--json",
                             "--set",        "output.runs_dir=" + config_.output.runs_dir,
                             "--state-dir",  (dir / "master" / "node").string()};
        options.log = dir / "master" / "output";
        auto child = Child::spawn(options);
        if (!child) return tl::unexpected(child.error());
        remember(next.run, RunState::starting);
        note(next.run, RunState::starting, {});
        log::info({next.run, {}, {}}, "started as={} pid={}", name, child->pid());
        running_.emplace(next.run, std::move(*child));
        return {};
    }

    void reap() {
        for (auto at = running_.begin(); at != running_.end();) {
            at->second.read_output();
            if (!at->second.reap()) {
                ++at;
                continue;
            }
            const RunId run = at->first;
            const Child child = std::move(at->second);
            at = running_.erase(at);
            const bool good = child.by_signal() == 0 && child.exit_status() == 0;
            const bool stopped = child.exit_status() == static_cast<int>(ExitCode::interrupted);
            std::string reason = good ? "" : reason_of(child);
            log::info({run, {}, {}}, "ended exit={} reason={}", child.exit_status(),
                      log::value(reason));
            over(run,
                 good      ? RunState::completed
                 : stopped ? RunState::stopped
                           : RunState::failed,
                 std::move(reason));
        }
    }

    static std::string reason_of(const Child& child) {
        const auto said = nlohmann::json::parse(child.output(), nullptr, false);
        if (said.is_object() && said.contains("reason") && said["reason"].is_string())
            return said["reason"].get<std::string>();
        return child.name() + " " + child.ending() + "; its output is " + child.log().string();
    }

    /// A run that the broker saw open and close ended there; one that never came so far ends here.
    void over(const RunId& run, RunState state, std::string reason) {
        remember(run, state);
        if (state == RunState::completed) return;
        const TimePoint now = clock_now();
        const auto number =
            link().query(broker_node, {}, Question::run, bus::encode_run_query(run.hex()),
                         now + note_patience, now);
        ends_.emplace(number, End{run, state, std::move(reason)});
    }

    void take_answers() {
        bus::AnswerArrived answer;
        while (link().next_answer(answer)) {
            const auto found = ends_.find(answer.number);
            if (found == ends_.end()) continue;
            const End end = std::move(found->second);
            ends_.erase(found);
            const auto rows = bus::decode_run_rows(answer.body);
            const bool known = rows && rows->size() == 1;
            if (!known || rows->front().state == RunState::pending ||
                (rows->front().state == RunState::starting && rows->front().owner == name_))
                note(end.run, end.state, end.reason);
        }
    }

    void note(const RunId& run, RunState state, const std::string& sentence) {
        const TimePoint now = clock_now();
        (void)link().query(broker_node, run, Question::note,
                           bus::encode(bus::NoteQuery{state, sentence.substr(0, 2000)}),
                           now + note_patience, now);
    }

    void remember(const RunId& run, RunState state) {
        if (known_.emplace(run, state).second) order_.push_back(run);
        known_[run] = state;
        if (order_.size() <= known_max) return;
        known_.erase(order_.front());
        order_.pop_front();
    }

    // -- stopping ----------------------------------------------------------------

    Result<bus::Bytes> stop_run(const RunId& run) {
        for (auto at = queue_.begin(); at != queue_.end(); ++at) {
            if (at->run != run) continue;
            queue_.erase(at);
            remember(run, RunState::stopped);
            note(run, RunState::stopped, "it was stopped before it began");
            return bus::encode_empty();
        }
        const auto found = running_.find(run);
        if (found == running_.end())
            return fail(Errc::not_owner, name_ + " does not drive run " + run.short_hex());
        found->second.signal(SIGTERM);
        return bus::encode_empty();
    }

    void end_all() {
        for (const Waiting& waiting : queue_) {
            log::info({waiting.run, {}, {}}, "given up, it was not begun");
            note(waiting.run, RunState::stopped, name_ + " was stopped before the run began");
        }
        queue_.clear();
        for (auto& [run, child] : running_) child.signal(SIGTERM);
        const TimePoint until = clock_now() + children_end;
        while (!running_.empty() && clock_now() < until) {
            loop_->poll(clock_now() + poll_while_running, nullptr);
            (void)take_events();
            take_queries();
            take_answers();
            reap();
        }
        running_.clear();  // what has not ended by now is killed
        const TimePoint notes = clock_now() + std::chrono::milliseconds(200);
        while (clock_now() < notes && link().up()) {
            loop_->poll(notes, nullptr);
            take_answers();
        }
    }

    struct End {
        RunId run;
        RunState state{};
        std::string reason;
    };

    config::Config config_;
    std::string name_;
    std::unique_ptr<bus::LinkLoop> loop_;
    RunDesk desk_;
    std::deque<Waiting> queue_;
    std::map<RunId, Child> running_;
    std::map<RunId, RunState> known_;
    std::deque<RunId> order_;
    std::map<std::uint64_t, End> ends_;
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
    const fs::path state = arguments.state_dir.empty()
                               ? fs::path(config->output.runs_dir) / "nodes" / name
                               : fs::path(arguments.state_dir);
    const auto directory = DirectoryLock::acquire(state);
    if (!directory) return report_failure(arguments, directory.error());
    const auto incarnation = next_incarnation(state, wall_now_ms());
    if (!incarnation) return report_failure(arguments, incarnation.error());
    log::set_identity(name);

    bus::StopSignal stop;
    const SignalScope signals(stop, kill_children);
    bus::LinkConfig link;
    link.hello = {name,
                  "master",
                  -1,
                  *incarnation,
                  random_u64(),
                  version_text,
                  {std::string(bus::feature_serve)}};
    link.timings = timings_of(config->bus);
    link.seed = link.hello.instance;
    auto loop = bus::LinkLoop::create(bus::make_context(), config->bus.broker, std::move(link));
    if (!loop) return report_failure(arguments, loop.error());
    Server server(*config, name, std::move(*loop));
    const Failure ending = server.run(stop);
    if (ending.code != Errc::ok) return report_failure(arguments, ending);
    return 0;
}

}  // namespace vflbus::cli
