#include "apps/client_host.hpp"

#include <atomic>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "apps/processes.hpp"
#include "base/text.hpp"

namespace vflbus::apps {
namespace {

/// What a Context of a run of apps holds.
struct AppRun {
    std::uint64_t key = 0;
};

struct Job {
    std::uint64_t serial = 0;
    actors::Replier reply;
    std::uint64_t source = 0;
    std::string type;
    Bytes envelope;
    TimePoint expires;
    std::int64_t ttl_ms = 0;
    Processes::Timer timer = 0;  ///< of its expiry
};

class Host final : public ClientHost {
  public:
    Host(Helper helper, ClientHostOptions options)
        : options_(std::move(options)), processes_(Processes::make(std::move(helper), [this] {
              log(app::Level::error, {},
                  "the helper of apps has died; this node serves no more "
                  "apps: start it again");
          })) {}

    actors::ClientApp with(actors::ClientApp others) override {
        actors::ClientApp both = others;
        both.on_join([this, others](actors::Context& context) -> Result<> {
            const auto config = run_config_of(context.invitation().agreed);
            if (!config) return others.join(context);
            if (!*config) return tl::unexpected(config->error());
            return join(context, **config);
        });
        both.on_end([this, others](const actors::Ending& ending, actors::Context& context) {
            if (const AppRun* run = context.state<AppRun>())
                processes_->post([this, key = run->key] { end(key); });
            else
                others.end(ending, context);
        });
        both.on_deferred(app_message_type, [this](actors::Message&& message,
                                                  actors::Context& context, actors::Replier reply) {
            take(std::move(message), context, std::move(reply));
        });
        return both;
    }

  private:
    struct Run {
        RunId id;
        Begin begin;
        std::deque<Job> waiting;
        std::optional<Job> current;
        bool answered = false;  ///< current has expired
        Processes::Id process = 0;
        bool over = false;
    };

    // -- on the threads of the node ---------------------------------------------------------
    Result<> join(actors::Context& context, const app::Values& config) {
        const actors::Invitation& invitation = context.invitation();
        context.config_hash = hash256(invitation.agreed);
        auto state = std::make_shared<AppRun>();
        state->key = ++last_key_;
        Run run;
        run.id = invitation.run;
        run.begin = {invitation.run.hex(),
                     node_id_of(options_.node_name).value,
                     options_.node_name,
                     context.rank(),
                     config,
                     options_.node_config};
        processes_->post([this, key = state->key, run = std::make_shared<Run>(std::move(run))] {
            runs_.emplace(key, std::move(*run));
        });
        context.set_state(std::move(state));
        return {};
    }

    void take(actors::Message&& message, actors::Context& context, actors::Replier reply) {
        const AppRun* run = context.state<AppRun>();
        if (run == nullptr)
            return reply(fail(Errc::unknown_message,
                              options_.node_name + " takes part in no app in this run"));
        auto envelope = decode_envelope(message.content);
        if (!envelope) return reply(tl::unexpected(envelope.error()));
        auto job = std::make_shared<Job>(
            Job{0,
                std::move(reply),
                message.metadata.src_node_id.value,
                std::move(envelope->message_type),
                {},
                processes_->now() + std::chrono::milliseconds(envelope->ttl_ms),
                envelope->ttl_ms});
        job->envelope = std::move(message.content);
        processes_->post([this, key = run->key, job] {
            const auto found = runs_.find(key);
            if (found == runs_.end() || found->second.over) return;
            found->second.waiting.push_back(std::move(*job));
            advance(key, found->second);
        });
    }

    // -- on the thread of the processes -------------------------------------------------------
    void advance(std::uint64_t key, Run& run) {
        while (!run.current && !run.waiting.empty() && !run.over) {
            Job job = std::move(run.waiting.front());
            run.waiting.pop_front();
            if (processes_->now() >= job.expires) {
                job.reply(fail(Errc::expired, options_.node_name + ": message " + job.type +
                                                  " waited longer than its time to live of " +
                                                  ttl_of(job)));
                continue;
            }
            if (run.process == 0) begin(key, run);
            job.serial = ++last_serial_;
            processes_->tell(run.process, Told::request,
                             encode_addressed(job.source, job.envelope));
            Bytes().swap(job.envelope);
            job.timer = processes_->at(job.expires,
                                       [this, key, serial = job.serial] { expire(key, serial); });
            run.answered = false;
            run.current = std::move(job);
        }
    }

    void begin(std::uint64_t key, Run& run) {
        run.process =
            processes_->start({[this, key](Told kind, Bytes&& body) { told(key, kind, body); },
                               [this, key](const std::string& how, bool) { ended(key, how); }});
        processes_->tell(run.process, Told::begin, encode(run.begin));
    }

    void told(std::uint64_t key, Told kind, const Bytes& body) {
        const auto found = runs_.find(key);
        if (found == runs_.end()) return;
        Run& run = found->second;
        if (kind == Told::log) {
            if (const auto line = decode_log(body)) log(line->level, run.id, line->text);
            return;
        }
        if ((kind != Told::answer && kind != Told::refusal) || !run.current) return;
        const Job job = std::move(*run.current);
        run.current.reset();
        processes_->cancel(job.timer);
        if (!run.answered) {
            if (kind == Told::answer) {
                job.reply(body);
            } else {
                const auto refusal = decode_outcome(body);
                job.reply(refusal
                              ? Result<Bytes>(fail(static_cast<Errc>(refusal->code),
                                                   options_.node_name + ": " + refusal->sentence))
                              : tl::unexpected(refusal.error()));
            }
        }
        advance(key, run);
    }

    void ended(std::uint64_t key, const std::string& how) {
        const auto found = runs_.find(key);
        if (found == runs_.end()) return;
        Run& run = found->second;
        run.process = 0;
        if (run.current) processes_->cancel(run.current->timer);
        if (run.over) return forget(found);
        const std::string lost = "; its state of the run is lost";
        if (run.current && !run.answered) {
            log(app::Level::warning, run.id,
                "the app's process " + how + " in handler " + run.current->type + lost);
            run.current->reply(
                fail(Errc::handler_failed, options_.node_name + ": the app's process " + how +
                                               " in handler " + run.current->type + lost));
        } else {
            log(app::Level::warning, run.id, "the app's process " + how + lost);
        }
        run.current.reset();
        advance(key, run);
    }

    void expire(std::uint64_t key, std::uint64_t serial) {
        const auto found = runs_.find(key);
        if (found == runs_.end()) return;
        Run& run = found->second;
        if (!run.current || run.current->serial != serial || run.answered || run.over) return;
        run.answered = true;
        run.current->reply(fail(Errc::expired, options_.node_name + ": handler " +
                                                   run.current->type +
                                                   " did not answer within the time to live of " +
                                                   ttl_of(*run.current)));
        processes_->tell(run.process, Told::cancel, {});
        processes_->at(processes_->now() + options_.grace, [this, key, serial] {
            const auto again = runs_.find(key);
            if (again == runs_.end()) return;
            if (again->second.current && again->second.current->serial == serial)
                processes_->kill(again->second.process);
        });
    }

    void end(std::uint64_t key) {
        const auto found = runs_.find(key);
        if (found == runs_.end()) return;
        Run& run = found->second;
        run.over = true;
        run.waiting.clear();
        if (run.process == 0) return forget(found);
        if (run.current) processes_->tell(run.process, Told::cancel, {});
        processes_->tell(run.process, Told::end, {});
        processes_->at(processes_->now() + options_.grace, [this, key] {
            const auto again = runs_.find(key);
            if (again == runs_.end()) return;
            log(app::Level::warning, again->second.id,
                "the app's process did not leave in time and is killed");
            processes_->kill(again->second.process);
        });
    }

    void forget(std::map<std::uint64_t, Run>::iterator at) {
        const RunId run = at->second.id;
        runs_.erase(at);
        if (options_.run_over) options_.run_over(run);
    }

    static std::string ttl_of(const Job& job) {
        return human_seconds(static_cast<double>(job.ttl_ms) / 1000);
    }

    void log(app::Level level, const RunId& run, const std::string& text) const {
        if (options_.log) options_.log(level, run, text);
    }

    ClientHostOptions options_;
    std::atomic<std::uint64_t> last_key_{0};
    std::uint64_t last_serial_ = 0;
    std::map<std::uint64_t, Run> runs_;
    std::unique_ptr<Processes> processes_;
};

}  // namespace

std::unique_ptr<ClientHost> ClientHost::make(Helper helper, ClientHostOptions options) {
    return std::make_unique<Host>(std::move(helper), std::move(options));
}

}  // namespace vflbus::apps
