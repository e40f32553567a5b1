#include "actors/member.hpp"

#include <array>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "actors/commit_file.hpp"
#include "actors/messages.hpp"
#include "actors/model_file.hpp"
#include "actors/party.hpp"
#include "actors/protocols/protocol.hpp"
#include "actors/purpose.hpp"
#include "base/planted.hpp"
#include "base/text.hpp"
#include "config/agreed.hpp"

namespace vflbus::actors {
namespace {

namespace fs = std::filesystem;
using observe::log::Level;

enum class State : std::uint8_t { joined, training, finished, released };

std::string_view name_of(State state) noexcept {
    switch (state) {
        case State::joined:
            return "joined";
        case State::training:
            return "training";
        case State::finished:
            return "finished";
        case State::released:
            return "released";
    }
    return "unknown";
}

/// What a member keeps of one run.
struct MemberRun {
    MemberRun(Purpose what_for, config::AgreedHalf agreed, const MemberOptions& options)
        : purpose(what_for), party(options.name, std::move(agreed), options.tables) {}

    Purpose purpose;
    Party party;
    std::unique_ptr<MemberProtocol> protocol;
    State state = State::joined;
    std::uint64_t step = 0;  ///< the next one
    bool model_loaded = false;
    bool predict_built = false;
    models::Matrix scores;
    models::Matrix next;
    models::Matrix target;
    FinishReply written;
    CommitStore store;
};

class MemberApp {
  public:
    explicit MemberApp(MemberOptions options) : options_(std::move(options)) {}

    // -- joining ------------------------------------------------------------------
    Result<> join(Context& context) const {
        const Invitation& invitation = context.invitation();
        const auto purpose = purpose_of(invitation.agreed);
        if (!purpose) return tl::unexpected(purpose.error());

        config::Config mine = options_.config;
        if (auto agreed = config::agree(mine, purpose->second, invitation.owner_name); !agreed)
            return agreed;
        if (mine.run.world_size != 0 &&
            (context.rank() < 0 ||
             static_cast<std::uint64_t>(context.rank()) >= mine.run.world_size))
            return fail(Errc::not_a_participant,
                        options_.name + " has rank " + std::to_string(context.rank()) +
                            ", but the run has members 0 to " +
                            std::to_string(mine.run.world_size - 1) +
                            " (run.world_size): start it with another --rank");

        auto protocol = make_member_protocol(config::name_of(mine.run.protocol));
        if (!protocol) return tl::unexpected(std::move(protocol.error()));

        context.config_hash = config::agreed_hash(mine);
        auto run = std::make_shared<MemberRun>(purpose->first, mine, options_);
        run->protocol = std::move(*protocol);
        if (run->purpose == Purpose::train) {
            run->store = CommitStore(
                *options_.env, options_.runs_dir / invitation.run.hex() / options_.name / "state");
            const auto known = run->store.term();
            if (!known) return tl::unexpected(own(known.error()));
            if (invitation.term < *known && !VFLBUS_PLANTED(term_not_checked))
                return fail(Errc::stale_term,
                            options_.name + " has joined term " + std::to_string(*known) +
                                " of run " + invitation.run.short_hex() +
                                " and takes no part in term " + std::to_string(invitation.term) +
                                ": another process has taken the run over");
        }
        const Tables earlier = tables_of(invitation.run);
        if (run->purpose != Purpose::predict)
            if (auto loaded = run->party.load(TableKind::train); !loaded)
                return tl::unexpected(std::move(loaded.error()));
        if (run->purpose == Purpose::train && !VFLBUS_PLANTED(term_not_stored))
            if (auto stored = run->store.write_term(invitation.term); !stored)
                return fail(stored.error().code,
                            options_.name + " cannot store the term: " + stored.error().sentence);
        context.set_state(std::move(run));
        log(Level::info, context,
            "joined a " + purpose_text(purpose->first) + " run of " + invitation.owner_name +
                (invitation.term > 1 ? ", term " + std::to_string(invitation.term) : ""));
        return {};
    }

    void end(const Ending& ending, Context& context) const {
        MemberRun* run = context.state<MemberRun>();
        if (run == nullptr) return;
        if (ending.code == Errc::stale_term) keep_tables(context.invitation().run, run->party);
        if (ending.code == Errc::ok || run->state == State::released) {
            log(Level::info, context, "the run has ended");
            remove_state(*run, context);
        } else if (ending.code == Errc::stale_term)
            log(Level::info, context, ending.sentence);
        else
            log(Level::warn, context,
                "the run has ended: " + ending.sentence +
                    (run->state == State::finished ? " (its model part is written, unconfirmed)"
                                                   : ""));
        context.set_state(std::shared_ptr<MemberRun>{});
    }

    // -- messages -----------------------------------------------------------------
    using Method = Result<Bytes> (MemberApp::*)(MemberRun&, Body, Context&) const;

    Result<Bytes> handle(Method method, const Message& message, Context& context) const {
        MemberRun* run = context.state<MemberRun>();
        if (run == nullptr) return fail(Errc::unknown_run, options_.name + " is not in this run");
        if (context.cancelled()) return fail(Errc::cancelled, options_.name + " was told to stop");
        try {
            return (this->*method)(*run, message.content, context);
        } catch (const std::exception& e) {  // bad_alloc
            return fail(Errc::handler_failed, options_.name + " failed in " +
                                                  message::name_of(message.metadata.message_type) +
                                                  ": " + e.what());
        }
    }

    Result<Bytes> align(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_align_request(body);
        if (!request) return tl::unexpected(request.error());
        if (run.state != State::joined || run.party.aligned(request->table))
            return out_of_order(run, message::align);
        auto reply = run.party.align(request->table);
        if (!reply) return tl::unexpected(std::move(reply.error()));
        if (reply->present)
            log(Level::info, context,
                "sends " + std::to_string(run.party.local(request->table).ids.size()) +
                    " hashed ids of its " + std::string(name_of(request->table)));
        return encode(*reply, run.party.local(request->table));
    }

    Result<Bytes> select(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_select_request(body);
        if (!request) return tl::unexpected(request.error());
        if (run.state != State::joined || !run.party.aligned(request->table) ||
            run.party.selected(request->table))
            return out_of_order(run, message::select);
        if (auto done = run.party.select(request->table, request->selection, request->rows); !done)
            return tl::unexpected(std::move(done.error()));
        log(Level::info, context,
            std::to_string(request->rows) + " rows of its " + std::string(name_of(request->table)) +
                " are common");
        return encode(SelectReply{request->rows});
    }

    Result<Bytes> begin(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_begin_request(body);
        if (!request) return tl::unexpected(request.error());
        if (run.state != State::joined || run.purpose != Purpose::train ||
            !run.party.selected(TableKind::train))
            return out_of_order(run, message::begin);
        if (auto done = run.party.split(); !done) return tl::unexpected(std::move(done.error()));
        if (auto done = run.party.build(request->outputs); !done)
            return tl::unexpected(std::move(done.error()));
        BeginReply reply;
        reply.features = run.party.features();
        reply.filled_cells = run.party.prepared().filled_cells;
        for (const auto& column : run.party.prepared().removed)
            reply.left_out.emplace_back(column.name.substr(0, 1024), column.reason.substr(0, 1024));
        reply.train_rows = run.party.rows(TableKind::train).size();
        reply.test_rows = run.party.rows(TableKind::test).size();
        auto shared = scores_of(run, 0, run.scores);
        if (!shared) return tl::unexpected(std::move(shared.error()));
        run.party.drop_tables();
        run.state = State::training;
        log(Level::info, context,
            "trains " + std::to_string(reply.features) + " features on " +
                std::to_string(reply.train_rows) + " rows, " +
                std::to_string(run.party.schedule().steps()) + " steps");
        return encode(reply, *shared);
    }

    Result<Bytes> step(MemberRun& run, Body body, Context&) const {
        const auto request = decode_step_request(body);
        if (!request) return tl::unexpected(request.error());
        if (!expects(run, request->step)) return wrong_step(run, message::step, request->step);
        if (auto done = run.protocol->gradient(run.step, request->tensor, run.party); !done)
            return tl::unexpected(std::move(done.error()));
        ++run.step;
        auto shared = scores_of(run, run.step, run.scores);
        if (!shared) return tl::unexpected(std::move(shared.error()));
        return encode_scores(*shared);
    }

    // -- commits ------------------------------------------------------------------
    Result<Bytes> commit(MemberRun& run, Body body, Context& context) const {
        const auto step = decode_commit_request(body);
        if (!step) return tl::unexpected(step.error());
        if (run.state != State::training || *step != run.step)
            return wrong_step(run, message::commit, *step);
        const auto digest = run.store.write(
            {context.invitation().run, run.step, run.party.alignment(), run.party.state(), {}});
        if (!digest)
            return fail(digest.error().code,
                        options_.name + " cannot store its commit: " + digest.error().sentence);
        return encode(StoredCommit{run.step, *digest});
    }

    Result<Bytes> commits(MemberRun& run, Body body, Context& context) const {
        if (auto decoded = decode_empty("commits", body); !decoded)
            return tl::unexpected(decoded.error());
        if (run.state != State::training || run.step != 0)
            return out_of_order(run, message::commits);
        const auto stored = run.store.intact(context.invitation().run);
        if (!stored) return tl::unexpected(own(stored.error()));
        return encode(std::span<const StoredCommit>(*stored));
    }

    Result<Bytes> restore(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_restore_request(body);
        if (!request) return tl::unexpected(request.error());
        if (run.state != State::training || run.step != 0 ||
            request->step > run.party.schedule().steps())
            return out_of_order(run, message::restore);
        auto commit = run.store.read(*request);
        if (!commit) return tl::unexpected(own(std::move(commit.error())));
        if (commit->run != context.invitation().run || commit->step != request->step)
            return fail(Errc::state_lost, options_.name + " has a commit of another run");
        if (auto same = same_alignment(options_.name, *commit, run.party); !same)
            return tl::unexpected(std::move(same.error()));
        if (VFLBUS_PLANTED(optimizer_not_restored))
            commit->party.optimizer = run.party.state().optimizer;
        if (auto done = run.party.restore(std::move(commit->party)); !done)
            return tl::unexpected(std::move(done.error()));
        if (auto done = run.store.forget_after(request->step); !done)
            return tl::unexpected(own(std::move(done.error())));
        run.step = request->step;
        log(Level::info, context, "is back at step " + std::to_string(run.step));
        auto shared = scores_of(run, run.step, run.scores);
        if (!shared) return tl::unexpected(std::move(shared.error()));
        return encode_restored(run.step, *shared);
    }

    Result<Bytes> solve(MemberRun& run, Body body, Context&) const {
        const auto request = decode_solve_request(body);
        if (!request) return tl::unexpected(request.error());
        if (!expects(run, request->step) || !run.party.agreed().model.sequential)
            return wrong_step(run, message::solve, request->step);
        copy_tensor(request->tensor, run.target);
        if (auto done = run.party.solve(run.target, run.scores); !done)
            return tl::unexpected(std::move(done.error()));
        ++run.step;
        if (auto done = run.party.batch_scores(run.step, run.next); !done)
            return tl::unexpected(std::move(done.error()));
        return encode_solved(run.scores, run.next);
    }

    Result<Bytes> evaluate(MemberRun& run, Body body, Context&) const {
        const auto request = decode_evaluate_request(body);
        if (!request) return tl::unexpected(request.error());
        const bool training = run.state == State::training || run.state == State::finished;
        const bool predicting = run.state == State::joined && run.model_loaded &&
                                run.party.selected(TableKind::predict);
        if (request->table == TableKind::predict ? !predicting : !training)
            return out_of_order(run, message::evaluate);
        if (predicting && !run.predict_built) {
            if (auto done = run.party.build_predict(); !done)
                return tl::unexpected(std::move(done.error()));
            run.predict_built = true;
        }
        if (auto done = run.party.scores(request->table, request->first, request->rows, run.target);
            !done)
            return tl::unexpected(std::move(done.error()));
        auto shared = run.protocol->share(run.step, run.target);
        if (!shared) return tl::unexpected(std::move(shared.error()));
        return encode_scores(*shared);
    }

    Result<Bytes> round(MemberRun& run, Body body, Context&) const {
        const auto request = decode_round_request(body);
        if (!request) return tl::unexpected(request.error());
        auto payload =
            run.protocol->answer(request->moment, request->step, request->round, request->payload);
        if (!payload) return tl::unexpected(std::move(payload.error()));
        return encode(RoundReply{*payload});
    }

    Result<Bytes> load_model(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_load_model_request(body);
        if (!request) return tl::unexpected(request.error());
        if (run.state != State::joined || run.purpose != Purpose::predict || run.model_loaded)
            return out_of_order(run, message::load_model);
        const fs::path root = options_.model_dir.empty() ? options_.runs_dir / request->run.hex()
                                                         : options_.model_dir;
        const fs::path path = root / options_.name / "model.json";
        const auto text = options_.env->read_file(path);
        if (!text)
            return fail(text.error().code, options_.name + " has no part of model " +
                                               request->run.short_hex() + ": " +
                                               text.error().sentence);
        const auto part = parse_model_part(*text, path.string());
        if (!part) return tl::unexpected(part.error());
        if (part->run != request->run)
            return fail(Errc::bad_data, options_.name + " has a part of run " +
                                            part->run.short_hex() + " in " + path.string() +
                                            ", the master asks for run " +
                                            request->run.short_hex());
        if (auto done = run.party.use(*part); !done) return tl::unexpected(std::move(done.error()));
        run.model_loaded = true;
        log(Level::info, context, "uses its part of model " + part->run.short_hex());
        return encode(LoadModelReply{part->run, part->agreed, part->features(), part->outputs});
    }

    Result<Bytes> finish(MemberRun& run, Body body, Context& context) const {
        if (auto decoded = decode_empty("finish", body); !decoded)
            return tl::unexpected(decoded.error());
        if (run.state == State::finished) return encode(run.written);
        if (run.state != State::training || run.step != run.party.schedule().steps())
            return out_of_order(run, message::finish);
        ModelPart part = run.party.part();
        part.run = context.invitation().run;
        part.role = "member";
        part.rank = context.rank();
        part.agreed = context.config_hash;
        const std::string text = to_json(part);
        const fs::path root =
            options_.out_dir.empty() ? options_.runs_dir / part.run.hex() : options_.out_dir;
        const fs::path path = root / options_.name / "model.json";
        if (auto done = options_.env->write_file(path, text); !done)
            return fail(done.error().code,
                        options_.name + " cannot store its model part: " + done.error().sentence);
        run.written = {hash256(text), path.string(), text.size()};
        run.state = State::finished;
        log(Level::info, context, "has written its model part to " + path.string());
        return encode(run.written);
    }

    /// The owner has stored all that it needs: it will never ask for a commit of this run again.
    /// RELEASE says so, and CLOSE with ok to a process that came back too late for it.
    void remove_state(MemberRun& run, Context& context) const {
        if (run.purpose != Purpose::train) return;
        if (auto done = run.store.remove(); !done)
            log(Level::warn, context, "cannot remove its state: " + done.error().sentence);
    }

    Result<Bytes> release(MemberRun& run, Body body, Context& context) const {
        if (auto decoded = bus::decode_ending(body); !decoded)
            return tl::unexpected(decoded.error());
        run.state = State::released;
        remove_state(run, context);
        return encode_empty();
    }

  private:
    static std::string purpose_text(Purpose purpose) {
        if (purpose == Purpose::train) return "training";
        return purpose == Purpose::check ? "check" : "predict";
    }

    /// Sentences of the store know files, not whose they are.
    [[nodiscard]] Failure own(Failure failure) const {
        failure.sentence = options_.name + ": " + failure.sentence;
        return failure;
    }

    void log(Level level, const Context& context, const std::string& text) const {
        if (options_.log) options_.log(level, context.invitation().run, text);
    }

    static bool expects(const MemberRun& run, std::uint64_t step) {
        return run.state == State::training && step == run.step &&
               step < run.party.schedule().steps();
    }

    tl::unexpected<Failure> out_of_order(const MemberRun& run, MessageType type) const {
        // an owner that asks this of a party that only joined takes it for one that was further
        const bool fresh = !run.party.aligned(TableKind::train);
        const bool lost =
            run.purpose == Purpose::train && run.state == State::joined &&
            (type == message::step || type == message::solve || type == message::commit ||
             type == message::evaluate || type == message::finish ||
             (fresh && (type == message::select || type == message::begin ||
                        type == message::commits || type == message::restore)));
        // of a restore, state_lost says that the commit is not there
        return fail(!lost                      ? Errc::handler_failed
                    : type == message::restore ? Errc::unknown_run
                                               : Errc::state_lost,
                    options_.name + " cannot take " + message::name_of(type) + " while " +
                        std::string(name_of(run.state)));
    }
    tl::unexpected<Failure> wrong_step(const MemberRun& run, MessageType type,
                                       std::uint64_t step) const {
        if (run.state != State::training) return out_of_order(run, type);
        return fail(Errc::handler_failed,
                    options_.name + " got " + message::name_of(type) + " " + std::to_string(step) +
                        " where step " + std::to_string(run.step) + " of " +
                        std::to_string(run.party.schedule().steps()) + " is due");
    }

    static Result<models::ConstMatrixView> scores_of(MemberRun& run, std::uint64_t step,
                                                     models::Matrix& z) {
        if (auto done = run.party.batch_scores(step, z); !done)
            return tl::unexpected(std::move(done.error()));
        return run.protocol->share(step, z);
    }

    // -- tables from one term to the next -------------------------------------------
    using Tables = std::array<std::shared_ptr<const data::Table>, 2>;

    /// What a party has not let go yet need not be read again by the join that follows at once.
    void keep_tables(const RunId& run, const Party& party) const {
        const std::lock_guard lock(mutex_);
        kept_[run] = {party.shared_table(TableKind::train), party.shared_table(TableKind::test)};
    }
    Tables tables_of(const RunId& run) const {
        const std::lock_guard lock(mutex_);
        const auto found = kept_.find(run);
        if (found == kept_.end()) return {};
        Tables tables = std::move(found->second);
        kept_.erase(found);
        return tables;
    }

    MemberOptions options_;
    mutable std::mutex mutex_;
    mutable std::map<RunId, Tables> kept_;
};

}  // namespace

ClientApp make_member_app(MemberOptions options) {
    const auto member = std::make_shared<const MemberApp>(std::move(options));
    ClientApp app;
    app.on_join([member](Context& context) { return member->join(context); });
    app.on_end([member](const Ending& ending, Context& context) { member->end(ending, context); });
    const std::pair<MessageType, MemberApp::Method> table[] = {
        {message::align, &MemberApp::align},     {message::select, &MemberApp::select},
        {message::begin, &MemberApp::begin},     {message::step, &MemberApp::step},
        {message::solve, &MemberApp::solve},     {message::evaluate, &MemberApp::evaluate},
        {message::round, &MemberApp::round},     {message::load_model, &MemberApp::load_model},
        {message::finish, &MemberApp::finish},   {message::release, &MemberApp::release},
        {message::commit, &MemberApp::commit},   {message::commits, &MemberApp::commits},
        {message::restore, &MemberApp::restore},
    };
    for (const auto& [type, method] : table)
        app.on(type, [member, call = method](const Message& message, Context& context) {
            return member->handle(call, message, context);
        });
    return app;
}

}  // namespace vflbus::actors
