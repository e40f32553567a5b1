#include "actors/member.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "actors/alignment/alignment.hpp"
#include "actors/alignment/kept_alignment.hpp"
#include "actors/alignment/psi_member.hpp"
#include "actors/early_stop.hpp"
#include "actors/feature_counts.hpp"
#include "actors/features.hpp"
#include "actors/messages.hpp"
#include "actors/model_file.hpp"
#include "actors/party.hpp"
#include "actors/protocols/noise.hpp"
#include "actors/purpose.hpp"
#include "actors/run/commit_file.hpp"
#include "actors/table_notes.hpp"
#include "actors/training/algorithm.hpp"
#include "actors/training/schedule.hpp"
#include "base/node_names.hpp"
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

/// What a member keeps of one run in one term.
struct MemberRun {
    MemberRun(Purpose what_for, config::AgreedHalf agreed, const MemberOptions& options)
        : purpose(what_for), party({}, std::move(agreed), options.tables) {}

    [[nodiscard]] bool training_over() const { return gone_back || half->done(step); }

    Purpose purpose;
    Party party;
    const Algorithm* algorithm = nullptr;
    std::unique_ptr<MemberHalf> half;     ///< on `party`
    std::unique_ptr<PsiMember> psi;       ///< with data.alignment = "psi"
    std::optional<BinnedColumns> binned;  ///< what `bins` has told of
    bool described = false;               ///< `describe` was answered
    /// Of a training that shares its alignment with others; without a name in any other run.
    AlignmentKey alignment;
    std::shared_ptr<const KeptAlignment> kept;  ///< from which it may go on; null: there is none
    State state = State::joined;
    std::uint64_t step = 0;   ///< the next one of the training
    std::uint64_t first = 0;  ///< steps of earlier folds; commits are numbered from there on
    /// Trainings in which more than `begin` was answered. That alone tells nothing, and is asked
    /// again when members have lost the commit that the owner would go on from.
    std::uint64_t trainings = 0;
    bool training_counted = false;  ///< the present one, in `trainings`
    BestState best;                 ///< of early stopping
    /// A `begin` has failed behind an earlier one, and nothing of the training is to be relied on.
    bool begin_failed = false;
    bool gone_back = false;  ///< to the best state, which is the one that is written
    bool model_loaded = false;
    FinishReply written;
    CommitStore store;
    std::uint64_t people = 0;    ///< different ids of the training table that are in use
    std::uint64_t bytes_in = 0;  ///< of bodies
    std::uint64_t bytes_out = 0;
};

policy::Use use_of(Purpose purpose) {
    if (purpose == Purpose::predict) return policy::Use::predict;
    if (purpose == Purpose::features) return policy::Use::features;
    return purpose == Purpose::check ? policy::Use::check : policy::Use::train;
}

/// Rows of the shortest batch that an algorithm makes of `rows`.
std::uint64_t smallest_batch(const config::AgreedHalf& agreed, std::uint64_t rows) {
    if (agreed.model.solver == config::Solver::lbfgs || rows == 0) return rows;
    const BatchSchedule schedule(agreed, static_cast<std::uint32_t>(rows));
    return std::min(schedule.batch_rows(0), schedule.batch_rows(schedule.batches() - 1));
}

/// How many different people the smallest batch has at least. Repeats of an id are not more people,
/// and where the batches are cut from a shuffled order, all rows of an id may fall into one.
/// A batch may consist of rows that the party lacks (data.join = "left"), as far as they go.
std::uint64_t fewest_people(const Party& party) {
    const std::span<const std::uint32_t> rows = party.rows(TableKind::train);
    const data::Repeats repeats = data::repeats_of(party.common(TableKind::train), rows);
    const std::uint64_t smallest = smallest_batch(party.agreed(), rows.size());
    if (smallest == rows.size()) return repeats.ids;
    const std::uint64_t absent = party.absent(TableKind::train);
    if (smallest <= absent) return 0;
    return (smallest - absent + repeats.most - 1) / repeats.most;
}

/// Rows of the smallest bin of all columns.
std::uint64_t fewest_rows(std::span<const data::FeatureFigures> figures) {
    std::uint64_t fewest = UINT64_MAX;
    for (const data::FeatureFigures& one : figures)
        for (const data::FeatureBin& bin : one.bins) fewest = std::min(fewest, bin.rows);
    return fewest;
}

/// Different ids that a selection takes. Its rows are more where it repeats some.
std::uint64_t people_in(const data::Selection& selection) {
    std::uint64_t people = 0;
    for (const std::uint8_t byte : selection.bitmap)
        people += static_cast<std::uint64_t>(std::popcount(byte));
    return people;
}

/// Serves runs. What it answers to errors does not name it: who receives them knows whom they are
/// from.
class MemberApp {
  public:
    explicit MemberApp(MemberOptions options) : options_(std::move(options)) {}

    // -- joining ------------------------------------------------------------------
    Result<> join(Context& context) const {
        bool let_in = false;
        auto joined = join(context, let_in);
        if (!joined && let_in) judge().ended(context.invitation().run, {joined.error().code});
        return joined;
    }

    /// `let_in`: the judge has let the run in, and hears of its end.
    Result<> join(Context& context, bool& let_in) const {
        const Invitation& invitation = context.invitation();
        const policy::Owner owner{invitation.owner_name, invitation.owner_fingerprint};
        if (judged())
            if (auto good = judge().admit_owner(owner, invitation.run); !good) return good;
        const auto open = parse_open_text(invitation.agreed);
        if (!open) return tl::unexpected(open.error());
        if (auto good = takes(open->purpose); !good) return good;

        config::Config mine = options_.config;
        if (auto agreed = config::agree(mine, open->canonical, invitation.owner_name); !agreed)
            return agreed;
        if (mine.run.world_size != 0 &&
            (context.rank() < 0 ||
             static_cast<std::uint64_t>(context.rank()) >= mine.run.world_size))
            return fail(Errc::not_a_participant,
                        "has rank " + std::to_string(context.rank()) +
                            ", but the run has members 0 to " +
                            std::to_string(mine.run.world_size - 1) +
                            " (run.world_size): start it with another --rank");

        const auto algorithm = algorithm_of(mine);
        if (!algorithm) return tl::unexpected(algorithm.error());
        if (judged() && !VFLBUS_PLANTED(policy_too_late))
            if (auto good = judge().admit(request_of(owner, *open, invitation, mine)); !good)
                return good;
        let_in = judged();
        context.config_hash = config::agreed_hash(mine);
        auto run = std::make_shared<MemberRun>(open->purpose, mine, options_);
        run->algorithm = *algorithm;
        auto half = run->algorithm->member(setting_of(*run, context));
        if (!half) return tl::unexpected(std::move(half.error()));
        run->half = std::move(*half);
        if (auto ready = prepare_intersection(*run, mine, context.rank()); !ready) return ready;
        if (run->purpose == Purpose::train) {
            run->store = CommitStore(*options_.env, own_directory(invitation) / "state");
            const auto known = run->store.term();
            if (!known) return tl::unexpected(known.error());
            if (invitation.term < *known && !VFLBUS_PLANTED(term_not_checked))
                return fail(Errc::stale_term, "has joined term " + std::to_string(*known) +
                                                  " of run " + invitation.run.short_hex() +
                                                  " and takes no part in term " +
                                                  std::to_string(invitation.term) +
                                                  ": another process has taken the run over");
        }
        const Tables earlier = tables_of(invitation.run);
        if (!open->alignment.none()) find_kept(*run, open->alignment, invitation);
        if (run->kept == nullptr && run->purpose != Purpose::predict)
            if (auto loaded = load(*run, TableKind::train, invitation.run); !loaded) return loaded;
        if (judged() && VFLBUS_PLANTED(policy_too_late))
            if (auto good = judge().admit(request_of(owner, *open, invitation, mine)); !good)
                return good;
        if (run->purpose == Purpose::train && !VFLBUS_PLANTED(term_not_stored))
            if (auto stored = run->store.write_term(invitation.term); !stored)
                return fail(stored.error().code,
                            "cannot store the term: " + stored.error().sentence);
        const MemberRun& joined = *run;
        context.set_state(std::move(run));
        note_table(joined.party, TableKind::train, context);
        log(Level::info, context,
            "joined a " + purpose_text(open->purpose) + " run of " + invitation.owner_name +
                (invitation.term > 1 ? ", term " + std::to_string(invitation.term) : ""));
        return {};
    }

    MemberSetting setting_of(MemberRun& run, const Context& context) const {
        const auto noise = [this, directory = own_directory(context.invitation()),
                            agreed = run.party.agreed()] {
            return noise_key(*options_.env, directory, agreed, options_.name);
        };
        return {run.party, context.invitation().term, static_cast<std::uint64_t>(context.rank()),
                context.message_bytes_max, noise};
    }

    /// What this party has kept of an earlier run of the same owner on the same tables.
    void find_kept(MemberRun& run, const RunId& name, const Invitation& invitation) const {
        run.alignment = {name, std::string(without_suffix(invitation.owner_name)),
                         invitation.owner_fingerprint, invitation.participants,
                         aligned_by(run.party.agreed())};
        run.kept = kept_alignments_.find(run.alignment);
    }

    /// What this party stores of a run.
    [[nodiscard]] fs::path own_directory(const Invitation& invitation) const {
        return options_.runs_dir / invitation.run.hex() / options_.name;
    }

    [[nodiscard]] Result<> takes(Purpose purpose) const {
        if (!options_.on_common || purpose == Purpose::check) return {};
        return fail(Errc::bad_config, "takes part in set intersections alone, not in a " +
                                          purpose_text(purpose) + " run");
    }

    static Result<> prepare_intersection(MemberRun& run, const config::AgreedHalf& agreed,
                                         std::int64_t rank) {
        if (agreed.data.alignment != config::Alignment::psi) return {};
        if (agreed.run.world_size == 0)
            return fail(Errc::bad_config,
                        "data.alignment = \"psi\" needs run.world_size: the number of members");
        const bool with_all = agreed.data.join == config::Join::inner;
        run.psi = std::make_unique<PsiMember>(with_all ? static_cast<std::size_t>(rank) + 1 : 1,
                                              with_all ? agreed.run.world_size + 1 : 2,
                                              agreed.data.common_min);
        return {};
    }

    void end(const Ending& ending, Context& context) const {
        MemberRun* run = context.state<MemberRun>();
        if (run == nullptr) return;
        if (judged())
            judge().ended(context.invitation().run,
                          {run->state == State::released ? Errc::ok : ending.code, run->bytes_in,
                           run->bytes_out});
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

    /// What the owner is told of a failure here. A sentence that quotes this party's table stays in
    /// its own log.
    tl::unexpected<Failure> for_the_owner(Failure failure, const Context& context) const {
        if (!failure.for_others.empty()) {
            log(Level::error, context, failure.sentence);
            failure.sentence = std::move(failure.for_others);
            failure.for_others.clear();
        }
        return tl::unexpected(std::move(failure));
    }

    // -- messages of every run ------------------------------------------------------
    using Method = Result<Bytes> (MemberApp::*)(MemberRun&, Body, Context&) const;

    /// When a message is taken. Anything else is refused and changes nothing.
    enum class When : std::uint8_t {
        before_training,  ///< while the run is set up
        first_step,       ///< the training has begun and no step is done
        between_steps,    ///< the training has begun
        after_last_step,  ///< also again, for the same answer
        any_moment,
    };
    struct Row {
        MessageType type;
        When when;
        Method method;
    };
    static const std::array<Row, 23>& rows();

    Result<Bytes> handle(const Message& message, Context& context) const {
        MemberRun* run = context.state<MemberRun>();
        if (run == nullptr) return fail(Errc::unknown_run, "not in this run");
        if (context.cancelled()) return fail(Errc::cancelled, "was told to stop");
        const MessageType type = message.metadata.message_type;
        run->bytes_in += message.content.size();
        try {
            auto reply = answer(*run, message, context);
            if (reply) run->bytes_out += reply->size();
            return reply;
        } catch (const std::exception& e) {  // bad_alloc
            return fail(Errc::handler_failed,
                        "failed in " + message::name_of(type) + ": " + e.what());
        }
    }

    Result<Bytes> answer(MemberRun& run, const Message& message, Context& context) const {
        const MessageType type = message.metadata.message_type;
        for (const Row& row : rows())
            if (row.type == type)
                return allowed(run, row.when) ? (this->*row.method)(run, message.content, context)
                                              : out_of_order(run, type);
        return answer_half(run, message, context);
    }

    static bool allowed(const MemberRun& run, When when) {
        const bool trains = run.state == State::training && !run.begin_failed;
        switch (when) {
            case When::before_training:
                return run.state == State::joined;
            case When::first_step:
                return trains && run.step == 0;
            case When::between_steps:
                return trains;
            case When::after_last_step:
                return run.state == State::finished ||
                       (trains && (run.gone_back || run.half->may_finish(run.step)));
            case When::any_moment:
                return true;
        }
        return false;
    }

    /// A run was let in for the tables of its purpose: a prediction sees nothing of the training
    /// table, and everything else nothing of the prediction table.
    static bool reads(const MemberRun& run, TableKind table) {
        return (run.purpose == Purpose::predict) == (table == TableKind::predict);
    }

    /// The model part says how the columns of a prediction table are read.
    static bool may_align(const MemberRun& run, TableKind table) {
        const bool unknown = run.purpose == Purpose::predict && !run.model_loaded;
        return !unknown && reads(run, table) && !run.party.aligned(table);
    }

    Result<Bytes> align(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_align_request(body);
        if (!request) return tl::unexpected(request.error());
        if (run.psi != nullptr || !may_align(run, request->table))
            return out_of_order(run, message::align);
        const bool loaded = run.party.table(request->table) != nullptr;
        if (!loaded)
            if (auto good = load(run, request->table, context.invitation().run); !good)
                return tl::unexpected(std::move(good.error()));
        auto reply = answer_align(run.party, request->table);
        if (!loaded) note_table(run.party, request->table, context);
        if (reply && run.party.aligned(request->table))
            log(Level::info, context,
                "sends " + std::to_string(run.party.local(request->table).ids.size()) +
                    (run.party.agreed().data.alignment == config::Alignment::plain
                         ? " ids, as they are, of its "
                         : " hashed ids of its ") +
                    std::string(actors::name_of(request->table)));
        return reply;
    }

    Result<Bytes> select(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_select_request(body);
        if (!request) return tl::unexpected(request.error());
        // the rows of a prediction become numbers as the model part says
        const bool unknown = request->table == TableKind::predict && !run.model_loaded;
        const bool intersected = run.psi == nullptr || run.psi->done(request->table);
        if (unknown || !intersected || !reads(run, request->table) ||
            !run.party.aligned(request->table) || run.party.selected(request->table))
            return out_of_order(run, message::select);
        if (judged() && request->table != TableKind::test)
            if (auto good = judge().rows(context.invitation().run, people_in(request->selection));
                !good)
                return tl::unexpected(std::move(good.error()));
        auto reply = answer_select(run.party, *request);
        if (reply && request->table == TableKind::train) run.people = people_in(request->selection);
        if (reply && !run.alignment.name.none() && run.party.wholly_aligned())
            kept_alignments_.keep(std::make_shared<const KeptAlignment>(
                KeptAlignment{run.alignment,
                              {context.invitation().run, context.invitation().term},
                              run.party.aligned_tables(),
                              run.people}));
        if (reply && options_.on_common && request->table == TableKind::train)
            if (auto taken = options_.on_common(run.party); !taken)
                return tl::unexpected(std::move(taken.error()));
        if (reply)
            log(Level::info, context,
                run.party.agreed().data.join == config::Join::inner
                    ? std::to_string(request->rows) + " rows of its " +
                          std::string(actors::name_of(request->table)) + " are common"
                    : std::to_string(people_in(request->selection)) + " ids of its " +
                          std::string(actors::name_of(request->table)) +
                          " are among those of the " + std::to_string(request->rows) +
                          " rows of the master");
        return reply;
    }

    /// Goes on from the alignment that was kept, or says whether that can be. The policy is asked
    /// about columns and rows as if they were new.
    Result<Bytes> recall(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_recall_request(body);
        if (!request) return tl::unexpected(request.error());
        if (run.alignment.name.none() || run.party.aligned(TableKind::train) ||
            run.party.aligned(TableKind::test) || (run.psi != nullptr && run.psi->begun()))
            return out_of_order(run, message::recall);
        RecallReply reply;
        reply.kept = run.kept != nullptr && run.kept->made_in == request->made_in;
        if (!reply.kept) {
            if (request->take)
                return fail(Errc::handler_failed, "has kept no alignment of that name");
            return encode(reply);
        }
        const auto& tables = run.kept->tables.tables;
        reply.train_rows = tables[0].common.rows.size();
        reply.test_rows = tables[1].common.rows.size();
        if (!request->take) return encode(reply);
        const RunId& id = context.invitation().run;
        for (const TableKind kind : {TableKind::train, TableKind::test})
            if (const auto& table = tables[static_cast<std::size_t>(kind)].table)
                if (auto good = may_use(run, kind, *table, id); !good)
                    return tl::unexpected(std::move(good.error()));
        if (judged())
            if (auto good = judge().rows(id, run.kept->people); !good)
                return tl::unexpected(std::move(good.error()));
        run.party.use(run.kept->tables);
        run.people = run.kept->people;
        if (run.psi != nullptr) run.psi->recalled(run.party);
        log(Level::info, context,
            "goes on from an alignment that it has kept: " + std::to_string(reply.train_rows) +
                " rows of its training table");
        return encode(reply);
    }

    Result<Bytes> forget(MemberRun& run, Body body, Context&) const {
        if (auto decoded = decode_empty("forget", body); !decoded)
            return tl::unexpected(decoded.error());
        if (!run.alignment.name.none()) kept_alignments_.drop(run.alignment);
        return encode_empty();
    }

    // -- private set intersection -------------------------------------------------------
    Result<Bytes> psi_begin(MemberRun& run, Body body, Context& context) const {
        const auto table = decode_psi_begin(body);
        if (!table) return tl::unexpected(table.error());
        if (run.psi == nullptr || run.psi->done(*table) || !may_align(run, *table))
            return out_of_order(run, message::psi_begin);
        const bool loaded = run.party.table(*table) != nullptr;
        if (!loaded)
            if (auto good = load(run, *table, context.invitation().run); !good)
                return tl::unexpected(std::move(good.error()));
        auto reply = run.psi->begin(
            run.party, *table, [this](std::span<std::uint8_t> out) { options_.env->random(out); });
        if (!loaded) note_table(run.party, *table, context);
        if (reply && run.party.aligned(*table))
            log(Level::info, context,
                "takes part in a private set intersection with " +
                    std::to_string(run.party.local(*table).ids.size()) + " ids of its " +
                    std::string(actors::name_of(*table)));
        return reply;
    }

    /// Passes on to the intersection what a body holds.
    template <class Request, class Answer>
    Result<Bytes> pass_to_psi(MemberRun& run, MessageType type, const Result<Request>& request,
                              Answer handler) const {
        if (!request) return tl::unexpected(request.error());
        if (run.psi == nullptr) return out_of_order(run, type);
        return ((*run.psi).*handler)(*request);
    }
    Result<Bytes> psi_take(MemberRun& run, Body body, Context&) const {
        return pass_to_psi(run, message::psi_take, decode_psi_take(body), &PsiMember::take);
    }
    Result<Bytes> psi_digest(MemberRun& run, Body body, Context&) const {
        return pass_to_psi(run, message::psi_digest, decode_psi_digest(body), &PsiMember::digest);
    }
    Result<Bytes> psi_digests(MemberRun& run, Body body, Context&) const {
        return pass_to_psi(run, message::psi_digests, decode_psi_digests(body),
                           &PsiMember::digests);
    }
    Result<Bytes> psi_tags(MemberRun& run, Body body, Context&) const {
        return pass_to_psi(run, message::psi_tags, decode_psi_tags(body), &PsiMember::tags);
    }

    Result<Bytes> psi_give(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_psi_give(body);
        if (!request) return tl::unexpected(request.error());
        if (run.psi == nullptr) return out_of_order(run, message::psi_give);
        // no list has more points than its first message says, so the first one would do
        if (judged())
            if (auto good = judge().psi_list(context.invitation().run, request->total); !good)
                return tl::unexpected(std::move(good.error()));
        return run.psi->give(*request);
    }

    /// Before anything is undone, the policy hears how many ids would be known to be common.
    Result<> may_reveal(MemberRun& run, TableKind table, Body marks, const Context& context) const {
        if (!judged() || table == TableKind::test || run.psi->revealed(table)) return {};
        return judge().rows(context.invitation().run, privacy::psi::marked(marks));
    }

    Result<Bytes> psi_undo(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_psi_undo(body);
        if (!request) return tl::unexpected(request.error());
        if (run.psi == nullptr) return out_of_order(run, message::psi_undo);
        if (auto good = may_reveal(run, request->table, request->marks, context); !good)
            return tl::unexpected(std::move(good.error()));
        return run.psi->undo(*request);
    }

    Result<Bytes> psi_common(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_psi_common(body);
        if (!request) return tl::unexpected(request.error());
        if (run.psi == nullptr) return out_of_order(run, message::psi_common);
        if (auto good = may_reveal(run, request->table, request->marks, context); !good)
            return tl::unexpected(std::move(good.error()));
        auto reply = run.psi->common(run.party, *request);
        if (reply)
            log(Level::info, context,
                std::to_string(run.party.local(request->table).ids.size()) + " ids of its " +
                    std::string(actors::name_of(request->table)) +
                    (run.party.agreed().data.join == config::Join::inner
                         ? " are common to all parties"
                         : " are the master's as well"));
        return reply;
    }

    // -- messages of the algorithm ----------------------------------------------------
    static bool cross_validates(const MemberRun& run) { return run.party.agreed().data.folds > 0; }
    /// Each fold of a cross-validation is a training of its own, and so is the last one, on all
    /// rows. More are refused, as nobody has counted what they would tell.
    static bool may_begin(const MemberRun& run) {
        return run.state == State::joined ||
               (run.state == State::training && cross_validates(run) &&
                run.trainings <= run.party.agreed().data.folds);
    }

    static bool allowed(const MemberRun& run, actors::When when) {
        const bool trains = run.state == State::training && !run.begin_failed;
        switch (when) {
            case actors::When::begins:
                return run.purpose == Purpose::train && run.party.selected(TableKind::train) &&
                       may_begin(run);
            case actors::When::in_step:
            case actors::When::ends_step:
                return trains && !run.training_over();
            case actors::When::any_rows:
                return run.purpose == Purpose::predict
                           ? run.state == State::joined && run.model_loaded &&
                                 run.party.selected(TableKind::predict)
                           : trains || run.state == State::finished;
            case actors::When::any_moment:
                return true;
        }
        return false;
    }

    Result<Bytes> answer_half(MemberRun& run, const Message& message, Context& context) const {
        const MessageType type = message.metadata.message_type;
        const MemberHandler* handler = nullptr;
        for (const MemberHandler& row : run.algorithm->handlers)
            if (row.type == type) handler = &row;
        if (handler == nullptr || !allowed(run, handler->when)) return out_of_order(run, type);
        const bool begins = handler->when == actors::When::begins;
        if (begins) run.begin_failed = true;
        if (auto ready = prepare(run, handler->when, message); !ready)
            return tl::unexpected(std::move(ready.error()));
        MemberCall call;
        call.type = type;
        call.body = message.content;
        call.step = run.step;
        call.steps = run.state == State::joined ? 0 : run.half->steps();
        call.predicts = run.purpose == Purpose::predict;
        const bool tells = !begins && handler->when != actors::When::any_moment;
        if (tells && run.state == State::training && !std::exchange(run.training_counted, true))
            ++run.trainings;
        auto reply = handler->handle(*run.half, call);
        if (!reply) return reply;
        if (begins) begun(run, context);
        if (handler->when == actors::When::ends_step) ++run.step;
        return reply;
    }

    /// The numbers that a message needs, made when it is the first to need them. Those of a
    /// prediction are made by `select`.
    Result<> prepare(MemberRun& run, actors::When when, const Message& message) const {
        if (when != actors::When::begins) return {};
        const auto asked = run.half->beginning(message.content);
        if (!asked) return tl::unexpected(asked.error());
        if (auto done = run.party.split(asked->test_rows); !done) return done;
        if (judged())
            if (auto good = judge().batch(message.metadata.run, fewest_people(run.party)); !good)
                return good;
        if (auto done = run.party.build(); !done) return done;
        run.first = asked->first;
        run.step = 0;
        return {};
    }

    void begun(MemberRun& run, const Context& context) const {
        for (const std::string& note : notes_of(run.party.prepared()))
            log(Level::info, context, note);
        if (!cross_validates(run)) run.party.drop_tables();
        run.state = State::training;
        run.begin_failed = false;
        run.training_counted = false;
        log(Level::info, context,
            "trains " + std::to_string(run.party.features()) + " features on " +
                std::to_string(run.party.rows(TableKind::train).size()) + " rows, " +
                std::to_string(run.half->steps()) + " steps");
    }

    // -- commits ------------------------------------------------------------------
    Result<Bytes> commit(MemberRun& run, Body body, Context& context) const {
        const auto step = decode_commit_request(body);
        if (!step) return tl::unexpected(step.error());
        MemberCall call;
        call.type = message::commit;
        call.step = run.first + run.step;
        call.steps = run.first + run.half->steps();
        if (auto due = call.due(*step); !due) return tl::unexpected(std::move(due.error()));
        Commit commit;
        commit.run = context.invitation().run;
        commit.step = call.step;
        commit.alignment = run.party.alignment();
        commit.algorithm = run.half->format();
        commit.state = run.half->save();
        if (stops_early(run.party.agreed()))
            commit.state = with_best(std::move(commit.state), run.best);
        const auto digest = run.store.write(commit);
        if (!digest)
            return fail(digest.error().code, "cannot store its commit: " + digest.error().sentence);
        return encode(StoredCommit{commit.step, *digest});
    }

    Result<Bytes> commits(MemberRun& run, Body body, Context& context) const {
        if (auto decoded = decode_empty("commits", body); !decoded)
            return tl::unexpected(decoded.error());
        const auto stored = run.store.intact(context.invitation().run);
        if (!stored) return tl::unexpected(stored.error());
        return encode(std::span<const StoredCommit>(*stored));
    }

    Result<Bytes> restore(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_restore_request(body);
        if (!request) return tl::unexpected(request.error());
        if (request->step < run.first || request->step - run.first > run.half->steps())
            return out_of_order(run, message::restore);
        const std::uint64_t step = request->step - run.first;
        const auto commit = run.store.read(*request);
        if (!commit) return tl::unexpected(commit.error());
        if (commit->run != context.invitation().run || commit->step != request->step)
            return fail(Errc::state_lost, "has a commit of another run");
        if (auto same = same_alignment(*commit, run.party.alignment()); !same)
            return tl::unexpected(std::move(same.error()));
        if (auto same = same_algorithm(*commit, run.half->format()); !same)
            return tl::unexpected(std::move(same.error()));
        std::string_view state = commit->state;
        if (stops_early(run.party.agreed())) {
            const auto own = without_best(state, run.best);
            if (!own) return tl::unexpected(own.error());
            state = *own;
        }
        auto reply = run.half->restore(step, state);
        if (!reply) return reply;
        if (auto done = run.store.forget_after(request->step); !done)
            return tl::unexpected(std::move(done.error()));
        run.step = step;
        log(Level::info, context, "is back at step " + std::to_string(request->step));
        return reply;
    }

    // -- early stopping -----------------------------------------------------------
    Result<Bytes> keep(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_keep(body);
        if (!request) return tl::unexpected(request.error());
        if (!stops_early(run.party.agreed()) || run.gone_back)
            return out_of_order(run, message::keep);
        if (!request->back) {
            MemberCall call;
            call.type = message::keep;
            call.step = run.step;
            call.steps = run.half->steps();
            if (auto due = call.due(request->step); !due)
                return tl::unexpected(std::move(due.error()));
            run.best.kept = true;
            run.best.step = run.step;
            run.best.state = run.half->save();
            return encode_empty();
        }
        if (!run.best.kept || run.best.step != request->step)
            return fail(Errc::handler_failed,
                        "has not kept its state after step " + std::to_string(request->step));
        auto restored = run.half->restore(run.best.step, run.best.state);
        if (!restored) return restored;
        run.step = run.best.step;
        run.gone_back = true;
        log(Level::info, context, "is back at step " + std::to_string(run.step) + ", the best one");
        return encode_empty();
    }

    // -- what columns tell of the label -------------------------------------------------
    /// `openly`: the labels come in the clear.
    static bool describes(const MemberRun& run, bool openly) {
        const bool honest = run.party.agreed().run.protocol == config::Protocol::honest;
        return run.purpose == Purpose::features && run.party.selected(TableKind::train) &&
               honest == openly;
    }

    /// The owner learns sums over the rows of a bin: a bin has batch_min rows, as a batch has.
    Result<> judge_bins(std::span<const data::FeatureFigures> figures,
                        const Context& context) const {
        if (!judged()) return {};
        return judge().batch(context.invitation().run, fewest_rows(figures));
    }

    /// The names and bins of its columns stay here, in a file of the party.
    Result<> keep_figures(std::span<const data::FeatureFigures> figures, bool labels_known,
                          const Context& context) const {
        const Invitation& invitation = context.invitation();
        const fs::path path = own_directory(invitation) / "features.json";
        if (auto done = options_.env->write_file(
                path, features_json(invitation.run.hex(), options_.name, figures, labels_known));
            !done)
            return fail(done.error().code,
                        "cannot store the figures of its columns: " + done.error().sentence);
        log(Level::info, context,
            "tells what its " + std::to_string(figures.size()) +
                " columns say of the label; their names are in " + path.string());
        return {};
    }

    /// Once in a term, as `count`: other labels would tell more of which rows are in a bin.
    Result<Bytes> describe(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_describe_request(body);
        if (!request) return tl::unexpected(request.error());
        if (!describes(run, true) || run.described) return out_of_order(run, message::describe);
        const auto figures = describe_columns(run.party, *request);
        if (!figures) return tl::unexpected(figures.error());
        if (auto good = judge_bins(*figures, context); !good)
            return tl::unexpected(std::move(good.error()));
        run.described = true;
        if (auto kept = keep_figures(*figures, true, context); !kept)
            return tl::unexpected(std::move(kept.error()));
        return encode_described(*figures);
    }

    Result<Bytes> bins(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_bins_request(body);
        if (!request) return tl::unexpected(request.error());
        if (!describes(run, false) || run.binned) return out_of_order(run, message::bins);
        Hash256 nonce{};
        options_.env->random(nonce);
        auto binned = bin_columns(run.party, *request, nonce, context.message_bytes_max);
        if (!binned) return tl::unexpected(std::move(binned.error()));
        if (auto good = judge_bins(binned->table.figures, context); !good)
            return tl::unexpected(std::move(good.error()));
        run.binned = std::move(*binned);
        return encode_bins_reply(nonce, run.binned->table.figures);
    }

    /// Once in a term: each answer tells the master sums of rows that it may choose.
    Result<Bytes> count(MemberRun& run, Body body, Context&) const {
        const auto request = decode_count_request(body);
        if (!request) return tl::unexpected(request.error());
        const bool again = run.binned && run.binned->counted && !VFLBUS_PLANTED(counted_twice);
        if (!describes(run, false) || !run.binned || again)
            return out_of_order(run, message::count);
        run.binned->counted = true;
        return count_positives(*run.binned->plan, run.binned->seed, *request, run.binned->table);
    }

    Result<Bytes> informed(MemberRun& run, Body body, Context& context) const {
        if (!describes(run, false) || !run.binned || !run.binned->counted)
            return out_of_order(run, message::informed);
        std::vector<data::FeatureFigures>& figures = run.binned->table.figures;
        const auto told = decode_informed(body, figures.size());
        if (!told) return tl::unexpected(told.error());
        for (std::size_t i = 0; i < figures.size(); ++i) figures[i].information = (*told)[i];
        if (auto kept = keep_figures(figures, false, context); !kept)
            return tl::unexpected(std::move(kept.error()));
        return encode_empty();
    }

    // -- parts of models ------------------------------------------------------------
    Result<Bytes> load_model(MemberRun& run, Body body, Context& context) const {
        const auto request = decode_load_model_request(body);
        if (!request) return tl::unexpected(request.error());
        if (run.purpose != Purpose::predict || run.model_loaded)
            return out_of_order(run, message::load_model);
        const fs::path root = options_.model_dir.empty() ? options_.runs_dir / request->run.hex()
                                                         : options_.model_dir;
        const fs::path path = root / options_.name / "model.json";
        const auto text = options_.env->read_file(path);
        // an owner that may not use a model hears the same as of one that is not there
        const auto none = [&](const Failure& why) {
            Failure failure{Errc::io, "has no part of model " + request->run.short_hex() + " for " +
                                          context.invitation().owner_name};
            failure.for_others = failure.sentence;
            failure.sentence += ": " + why.sentence;
            return tl::unexpected(std::move(failure));
        };
        if (!text) return none(text.error());
        if (judged())
            if (auto good = judge().model(context.invitation().run, request->run); !good)
                return none(good.error());
        const auto head = parse_model_head(*text, path.string());
        if (!head) return tl::unexpected(head.error());
        if (auto same = check_format(*head, run.half->part_format(), path.string()); !same)
            return tl::unexpected(std::move(same.error()));
        if (head->run != request->run)
            return fail(Errc::bad_data, "has a part of run " + head->run.short_hex() + " in " +
                                            path.string() + ", the master asks for run " +
                                            request->run.short_hex());
        if (auto done = run.half->use(*text, path.string()); !done)
            return tl::unexpected(std::move(done.error()));
        run.model_loaded = true;
        log(Level::info, context, "uses its part of model " + head->run.short_hex());
        LoadModelReply reply;
        reply.run = head->run;
        reply.agreed = head->agreed;
        reply.features = run.half->features();
        reply.outputs = run.half->outputs();
        return encode(reply);
    }

    Result<Bytes> finish(MemberRun& run, Body body, Context& context) const {
        if (auto decoded = decode_empty("finish", body); !decoded)
            return tl::unexpected(decoded.error());
        if (run.state == State::finished) return encode(run.written);
        ModelHead head = model_head(run.party.agreed(), options_.name);
        head.run = context.invitation().run;
        head.role = "member";
        head.rank = context.rank();
        head.agreed = context.config_hash;
        head.format = run.half->part_format();
        if (run.gone_back) head.stopped_at = run.step;
        const auto text = run.half->part(std::move(head));
        if (!text) return tl::unexpected(text.error());
        if (auto fits = check_model_size(text->size()); !fits)
            return tl::unexpected(std::move(fits.error()));
        const fs::path root = options_.out_dir.empty()
                                  ? options_.runs_dir / context.invitation().run.hex()
                                  : options_.out_dir;
        const fs::path path = root / options_.name / "model.json";
        if (auto done = options_.env->write_file(path, *text); !done)
            return fail(done.error().code, "cannot store its model part: " + done.error().sentence);
        run.written = {hash256(*text), path.string(), text->size()};
        run.state = State::finished;
        log(Level::info, context, "has written its model part to " + path.string());
        return encode(run.written);
    }

    Result<Bytes> release(MemberRun& run, Body body, Context& context) const {
        if (auto decoded = bus::decode_ending(body); !decoded)
            return tl::unexpected(decoded.error());
        run.state = State::released;
        remove_state(run, context);
        return encode_empty();
    }

    // -- what the party's own policy says -----------------------------------------------
    [[nodiscard]] bool judged() const { return options_.judge != nullptr; }
    [[nodiscard]] policy::Judge& judge() const { return *options_.judge; }

    static policy::Request request_of(const policy::Owner& owner, const OpenText& open,
                                      const Invitation& invitation,
                                      const config::AgreedHalf& agreed) {
        policy::Request request;
        request.owner = owner;
        request.run = invitation.run;
        request.term = invitation.term;
        request.use = use_of(open.purpose);
        // the same request whatever its alignment is called
        request.agreed_text = to_text({open.purpose, {}, open.canonical});
        request.agreed = agreed;
        request.parties = 1;  // with data: an arbiter has none
        for (const bus::Participant& one : invitation.participants) {
            if (one.role == "member") ++request.parties;
            request.participants.push_back(policy::participant_text(one.name, one.role, one.rank));
        }
        return request;
    }

    /// Reads the table, and asks whether its columns may be used.
    Result<> load(MemberRun& run, TableKind kind, const RunId& id) const {
        const auto present = run.party.load(kind);
        if (!present) return tl::unexpected(present.error());
        const data::Table* const table = run.party.table(kind);
        return table == nullptr ? Result<>() : may_use(run, kind, *table, id);
    }

    /// What the policy says of the columns of a table.
    Result<> may_use(const MemberRun& run, TableKind kind, const data::Table& table,
                     const RunId& id) const {
        if (!judged()) return {};
        std::vector<std::string> names;
        for (const data::Column& column : table.features) names.push_back(column.name);
        if (const std::string id_column = id_of_owners_choice(run); !id_column.empty())
            names.push_back(id_column);
        return judge().columns(id, std::string(actors::name_of(kind)), names, table.rows());
    }

  private:
    /// The column that the owner has made the id of this member's rows (`data.id`), where that is
    /// not the one that the member's own section names: others get to know about it what they get
    /// to know of ids. Empty: the member has chosen it, or ids are numbers of rows.
    [[nodiscard]] std::string id_of_owners_choice(const MemberRun& run) const {
        const std::string& chosen = run.party.agreed().data.id;
        if (chosen.empty() || chosen == data::row_number_id) return {};
        const auto own = options_.config.parties.find(options_.name);
        return own != options_.config.parties.end() && own->second.id == chosen ? std::string()
                                                                                : chosen;
    }

    static std::string purpose_text(Purpose purpose) {
        if (purpose == Purpose::train) return "training";
        return std::string(name_of(purpose));
    }

    /// The owner has stored all that it needs: it will never ask for a commit of this run again.
    /// RELEASE says so, and CLOSE with ok to a process that came back too late for it.
    void remove_state(MemberRun& run, Context& context) const {
        if (run.party.agreed().privacy.any())
            if (auto done = options_.env->remove(own_directory(context.invitation()) / noise_file);
                !done)
                log(Level::warn, context,
                    "cannot remove the secret of its noise: " + done.error().sentence);
        if (run.purpose != Purpose::train) return;
        if (auto done = run.store.remove(); !done)
            log(Level::warn, context, "cannot remove its state: " + done.error().sentence);
    }

    void note_table(const Party& party, TableKind kind, const Context& context) const {
        if (const data::Table* const table = party.table(kind))
            for (const std::string& note : notes_of(*table)) log(Level::info, context, note);
    }

    void log(Level level, const Context& context, const std::string& text) const {
        if (options_.log) options_.log(level, context.invitation().run, text);
    }

    /// Whether an owner that asks this of a party that merely joined takes it for one that was
    /// further: a process that has given up the run in between, and lost its state.
    static bool meant_for_later(const MemberRun& run, MessageType type) {
        if (run.purpose != Purpose::train || run.state != State::joined) return false;
        if (type == message::commit || type == message::finish) return true;
        const bool fresh = !run.party.aligned(TableKind::train);
        if (type == message::select || type == message::commits || type == message::restore ||
            (type >= message::psi_take && type <= message::psi_tags))
            return fresh;
        for (const MemberHandler& row : run.algorithm->handlers)
            if (row.type == type && row.when != actors::When::any_moment)
                return fresh || row.when != actors::When::begins;
        return false;
    }

    tl::unexpected<Failure> out_of_order(const MemberRun& run, MessageType type) const {
        const bool lost = meant_for_later(run, type);
        // of a restore, state_lost says that the commit is not there
        return fail(
            !lost                      ? Errc::handler_failed
            : type == message::restore ? Errc::unknown_run
                                       : Errc::state_lost,
            "cannot take " + message::name_of(type) + " while " + std::string(name_of(run.state)));
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
    mutable KeptAlignments kept_alignments_;
};

const std::array<MemberApp::Row, 23>& MemberApp::rows() {
    static constexpr std::array<Row, 23> table{{
        {message::psi_begin, When::before_training, &MemberApp::psi_begin},
        {message::psi_take, When::before_training, &MemberApp::psi_take},
        {message::psi_give, When::before_training, &MemberApp::psi_give},
        {message::psi_undo, When::before_training, &MemberApp::psi_undo},
        {message::psi_common, When::before_training, &MemberApp::psi_common},
        {message::psi_digest, When::before_training, &MemberApp::psi_digest},
        {message::psi_digests, When::before_training, &MemberApp::psi_digests},
        {message::psi_tags, When::before_training, &MemberApp::psi_tags},
        {message::align, When::before_training, &MemberApp::align},
        {message::recall, When::before_training, &MemberApp::recall},
        {message::forget, When::any_moment, &MemberApp::forget},
        {message::select, When::before_training, &MemberApp::select},
        {message::describe, When::before_training, &MemberApp::describe},
        {message::bins, When::before_training, &MemberApp::bins},
        {message::count, When::before_training, &MemberApp::count},
        {message::informed, When::before_training, &MemberApp::informed},
        {message::load_model, When::before_training, &MemberApp::load_model},
        {message::commit, When::between_steps, &MemberApp::commit},
        {message::commits, When::first_step, &MemberApp::commits},
        {message::restore, When::first_step, &MemberApp::restore},
        {message::keep, When::between_steps, &MemberApp::keep},
        {message::finish, When::after_last_step, &MemberApp::finish},
        {message::release, When::any_moment, &MemberApp::release},
    }};
    return table;
}

}  // namespace

ClientApp make_member_app(MemberOptions options) {
    const auto member = std::make_shared<const MemberApp>(std::move(options));
    ClientApp app;
    app.on_join([member](Context& context) {
        auto joined = member->join(context);
        return joined ? joined : member->for_the_owner(std::move(joined.error()), context);
    });
    app.on_end([member](const Ending& ending, Context& context) { member->end(ending, context); });
    std::set<MessageType> types;
    for (const MemberApp::Row& row : MemberApp::rows()) types.insert(row.type);
    for (const Algorithm* algorithm : algorithms())
        for (const MemberHandler& handler : algorithm->handlers) types.insert(handler.type);
    for (const MessageType type : types)
        app.on(type, [member](const Message& message, Context& context) {
            auto reply = member->handle(message, context);
            return reply ? std::move(reply)
                         : member->for_the_owner(std::move(reply.error()), context);
        });
    return app;
}

}  // namespace vflbus::actors
