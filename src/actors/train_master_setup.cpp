#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/master.hpp"
#include "actors/master_labels.hpp"
#include "actors/train_master.hpp"
#include "base/text.hpp"
#include "config/agreed.hpp"

namespace vflbus::actors {

using observe::log::Level;

TrainMaster::TrainMaster(MasterOptions options, std::unique_ptr<MasterProtocol> protocol,
                         RunRecord record)
    : RunMaster(std::move(options), Purpose::train),
      protocol_(std::move(protocol)),
      ledger_(*options_.env, options_.runs_dir, std::move(record)),
      store_(*options_.env, run_dir() / options_.name / "state") {}

// -- aligning ------------------------------------------------------------------------

void TrainMaster::on_gathered() {
    if (only_releases()) return release_all();
    log(Level::warn, protocol_->notice());
    const auto path = run_dir() / "agreed.txt";
    if (auto done = options_.env->write_file(path, config::canonical_agreed(options_.config));
        !done)
        return fail_run(
            room_first(options_.name + " cannot store the agreed configuration: ", done.error()));
    enter(Phase::aligning);
    ask_ids(TableKind::train);
    ask_ids(TableKind::test);
    for (const TableKind kind : {TableKind::train, TableKind::test})
        if (const auto aligned = own_->align(kind); !aligned) return fail_run(aligned.error());
}

void TrainMaster::on_aligned() {
    const auto test = present(TableKind::test);
    if (!test) return fail_run(test.error());
    if (const auto train = present(TableKind::train); !train) return fail_run(train.error());
    if (*test && options_.config.data.test_fraction > 0)
        return fail_run(Errc::bad_config,
                        "all parties have a test table and data.test_fraction is " +
                            shortest(options_.config.data.test_fraction) + ": use one of the two");
    enter(Phase::selecting);
    if (auto done = select_common(TableKind::train); !done) return fail_run(done.error());
    if (*test)
        if (auto done = select_common(TableKind::test); !done) return fail_run(done.error());
}

// -- beginning -----------------------------------------------------------------------

void TrainMaster::on_selected() {
    if (auto done = prepare_own(); !done) return fail_run(done.error());
    enter(Phase::beginning);
    run_rounds(Moment::setup, 0);
}

Result<> TrainMaster::prepare_own() {
    if (auto done = own_->split(); !done) return done;
    auto labels = prepare_labels();
    if (!labels) return tl::unexpected(std::move(labels.error()));
    if (auto done = own_->build(head_->outputs()); !done) return done;
    own_->drop_tables();
    if (model().label_holder_alone)
        if (auto done = prepare_alone(std::move(*labels)); !done) return done;
    report_own();
    steps_ = own_->schedule().steps();
    return {};
}

Result<models::Labels> TrainMaster::prepare_labels() {
    const bool separate = own_->selected(TableKind::test);
    const data::Table& train = *own_->table(TableKind::train);
    const data::Table& test = separate ? *own_->table(TableKind::test) : train;
    const auto train_rows = own_->rows(TableKind::train);
    const auto test_rows = own_->rows(TableKind::test);

    std::vector<std::uint32_t> fitted(train_rows.begin(), train_rows.end());
    if (!separate) fitted.insert(fitted.end(), test_rows.begin(), test_rows.end());
    auto coding = data::fit_labels(train, data_task(model().task), fitted);
    if (!coding) return tl::unexpected(std::move(coding.error()));
    coding_ = std::move(*coding);

    auto labels = labels_of(train, coding_, train_rows);
    if (!labels) return tl::unexpected(std::move(labels.error()));
    auto test_labels = labels_of(test, coding_, test_rows);
    if (!test_labels) return tl::unexpected(std::move(test_labels.error()));
    test_labels_ = std::move(*test_labels);
    auto head = models::Head::create(*labels, head_config(model()));
    if (!head) return tl::unexpected(std::move(head.error()));
    head_.emplace(std::move(*head));
    return labels;
}

Result<> TrainMaster::prepare_alone(models::Labels labels) {
    models::LocalConfig local;
    local.head = head_config(model());
    local.optimizer = optimizer_of(model());
    local.sequential = sequential();
    local.reg_lambda = model().reg_lambda;
    auto alone =
        models::LocalTrainer::create(own_->design(TableKind::train), std::move(labels), local);
    if (!alone) return tl::unexpected(std::move(alone.error()));
    alone_.emplace(std::move(*alone));
    return {};
}

void TrainMaster::report_own() {
    report_.rows_train = own_->rows(TableKind::train).size();
    report_.rows_test = own_->rows(TableKind::test).size();
    report_.epochs = model().epochs;
    auto& party = report_.parties[0];
    party.features = own_->features();
    party.missing_cells = own_->prepared().filled_cells;
    party.left_out.clear();
    for (const auto& column : own_->prepared().removed)
        party.left_out.push_back({column.name, column.reason});
}

void TrainMaster::begin() {
    if (auto done = next_own_scores(0); !done) return fail_run(done.error());
    send_all(message::begin, encode(BeginRequest{head_->outputs()}));
}

Result<> TrainMaster::on_begun(std::size_t member, const BeginReply& reply) {
    if (reply.train_rows != report_.rows_train || reply.test_rows != report_.rows_test)
        return fail(Errc::malformed_message, "splits into " + std::to_string(reply.train_rows) +
                                                 " and " + std::to_string(reply.test_rows) +
                                                 " rows, the master into " +
                                                 std::to_string(report_.rows_train) + " and " +
                                                 std::to_string(report_.rows_test));
    auto& party = report_.parties[member + 1];
    party.features = reply.features;
    party.missing_cells = reply.filled_cells;
    party.left_out.clear();
    for (const auto& [column, reason] : reply.left_out) party.left_out.push_back({column, reason});
    return take_scores(0, member, reply.scores);
}

// -- making one ----------------------------------------------------------------------

namespace {

RunRecord new_record(const MasterOptions& options) {
    RunRecord record;
    record.run = options.run;
    record.owner = options.name;
    record.term = options.term;
    for (std::uint64_t rank = 0; rank < options.config.run.world_size; ++rank)
        record.members.push_back(config::member_name(rank));
    record.agreed = config::canonical_agreed(options.config);
    return record;
}

/// The record of the run that is resumed, in its next term. What makes the two configurations
/// differ is named.
Result<RunRecord> next_record(const MasterOptions& options) {
    auto record = read_run_record(*options.env, options.runs_dir, options.run);
    if (!record) return record;
    if (record->owner != options.name)
        return fail(Errc::not_owner, "run " + options.run.short_hex() + " is owned by " +
                                         record->owner + ", not by " + options.name);
    const auto then = config::parse_canonical(record->agreed);
    if (!then) return tl::unexpected(then.error());
    if (const auto differing = config::differing_keys(options.config, *then, "its start");
        !differing.empty())
        return fail(Errc::config_differs,
                    "run " + options.run.short_hex() + " cannot be resumed with another " +
                        "configuration: it differs in " + join_and(differing) +
                        "; make them equal, or begin a new run");
    if (record->term == UINT32_MAX)
        return fail(Errc::too_many, "run " + options.run.short_hex() + " has used up its terms");
    ++record->term;
    return record;
}

/// The owner restarts once more. One time too often is an error, and the next one is looked at as
/// the first. Once it may even where nobody is started again: a user has said so.
Result<> count_own_restart(const MasterOptions& options, RunRecord& record) {
    const std::uint64_t restarts = ++record.restarts[options.name];
    if (restarts <= std::max<std::uint64_t>(1, options.config.bus.restarts_max)) return {};
    RunRecord forgotten = record;
    forgotten.restarts.clear();
    --forgotten.term;
    if (auto done = write_run_record(*options.env, options.runs_dir, forgotten); !done) return done;
    Failure failure{Errc::too_many_restarts, options.name + " was restarted " +
                                                 std::to_string(restarts) +
                                                 " times without a newer commit"};
    failure.hint = "see its log, or raise bus.restarts_max";
    failure.resumable = true;
    return tl::unexpected(std::move(failure));
}

/// Of a run that is complete.
Result<observe::RunReport> stored_report(const MasterOptions& options) {
    const auto text = options.env->read_file(options.runs_dir / options.run.hex() / "report.json");
    if (!text) return tl::unexpected(text.error());
    return observe::from_json(*text);
}

}  // namespace

Result<std::unique_ptr<RunMaster>> make_train_master(MasterOptions options) {
    const auto& config = options.config;
    if (config.run.world_size == 0)
        return fail(Errc::bad_config, "run.world_size is not set: say how many members take part");
    auto protocol = make_master_protocol(config::name_of(config.run.protocol),
                                         static_cast<std::size_t>(config.run.world_size));
    if (!protocol) return tl::unexpected(std::move(protocol.error()));
    if (auto sound = config::check(config); !sound) return tl::unexpected(std::move(sound.error()));
    Result<RunRecord> record = options.resume ? next_record(options) : new_record(options);
    if (!record) return tl::unexpected(std::move(record.error()));
    options.term = record->term;
    return std::make_unique<TrainMaster>(std::move(options), std::move(*protocol),
                                         std::move(*record));
}

/// The record is read again: what it said when this process was made may be old by now, as another
/// one may have had the run until a moment ago.
Result<> TrainMaster::on_welcome() {
    if (!options_.resume && options_.env->exists(run_record_path(options_.runs_dir, options_.run)))
        return fail(Errc::usage, "there is a run " + options_.run.hex() + " in " +
                                     options_.runs_dir.string() +
                                     " already, which is never overwritten; go on with it by "
                                     "--resume, or choose another --run-id");
    Result<RunRecord> record = options_.resume ? next_record(options_) : new_record(options_);
    if (!record) return tl::unexpected(std::move(record.error()));
    if (record->phase == RunRecord::Phase::finished) {
        auto stored = stored_report(options_);
        if (!stored) return tl::unexpected(std::move(stored.error()));
        report_ = std::move(*stored);
        only_release();
    } else if (options_.resume) {
        if (auto good = count_own_restart(options_, *record); !good) return good;
    }
    set_term(record->term);
    if (auto done = advised(ledger_.open(std::move(*record))); !done) return done;
    begun_ = true;
    return {};
}

}  // namespace vflbus::actors
