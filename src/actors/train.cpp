// A training, from gathering to the model parts. docs/training.md, section 4.

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/alignment/alignment.hpp"
#include "actors/alignment/shared_alignment.hpp"
#include "actors/early_stop.hpp"
#include "actors/evaluation.hpp"
#include "actors/folds.hpp"
#include "actors/master.hpp"
#include "actors/model_file.hpp"
#include "actors/programs.hpp"
#include "actors/protocols/noise.hpp"
#include "actors/protocols/protocol.hpp"
#include "actors/run/commits.hpp"
#include "actors/table_notes.hpp"
#include "actors/training/algorithm.hpp"
#include "actors/verdict.hpp"
#include "base/text.hpp"
#include "bus/zmq/address.hpp"
#include "config/agreed.hpp"
#include "models/metrics.hpp"

namespace vflbus::actors {

/// One training of the run: the only one, or one of a cross-validation.
struct Fit {
    Labels labels;
    std::unique_ptr<MasterHalf> model;  ///< on `labels`
    EarlyStop* early = nullptr;         ///< `model`, where it stops early
    Evaluated last;
};

namespace {

using observe::log::Level;

/// Test rows come from one place. `test`: there are test tables.
Result<> check_test_rows(const config::DataConfig& data, bool test) {
    if (test && data.folds > 0)
        return fail(Errc::bad_config, "all parties have a test table and data.folds is " +
                                          std::to_string(data.folds) +
                                          ": the rows of each fold are tested; use one of the two");
    if (test && data.test_fraction > 0)
        return fail(Errc::bad_config, "all parties have a test table and data.test_fraction is " +
                                          shortest(data.test_fraction) + ": use one of the two");
    return {};
}

Task<> load_tables(Run& run, Party& own) {
    co_await load_own(run, own, TableKind::train);
    co_await load_more(run, own, TableKind::test);
}

/// The alignment of an earlier run of this process, with which this one may begin; or null.
std::shared_ptr<const MadeAlignment> made_before(const Run& run) {
    return run.options().alignment == nullptr ? nullptr : run.options().alignment->made();
}

/// Phases aligning and selecting. Where there is no alignment that was made before, the own tables
/// are loaded.
Task<> align(Run& run, Party& own, std::shared_ptr<const MadeAlignment> before) {
    run.enter(Phase::aligning);
    Alignment alignment(run, own);
    if (before != nullptr) {
        if (co_await alignment.recall(*before)) {
            co_await check_test_rows(run.config().data, own.selected(TableKind::test));
            co_return;
        }
        co_await load_tables(run, own);
    }
    std::vector<TableKind> kinds{TableKind::train, TableKind::test};
    co_await alignment.gather(kinds);
    const bool test = co_await alignment.present(TableKind::test);
    co_await alignment.present(TableKind::train);
    co_await check_test_rows(run.config().data, test);
    run.enter(Phase::selecting);
    if (!test) kinds.pop_back();
    co_await alignment.select(kinds);
    if (run.options().alignment != nullptr)
        run.options().alignment->keep(
            {{run.spec().run, run.term()}, own.aligned_tables(), alignment.result()});
}

void report_own(Run& run, const Party& own, const MasterHalf& model) {
    observe::RunReport& report = run.results();
    report.rows_train = own.rows(TableKind::train).size();
    report.rows_test = own.rows(TableKind::test).size();
    note_positive(report, model.coding());
    report.solver = config::name_of(run.config().model.solver);
    report.differential_privacy = privacy_report(run.config(), false);
    report.epochs = model.converges() ? 0 : run.config().model.epochs;
    auto& party = report.parties[0];
    party.features = own.features();
    party.missing_cells = own.prepared().filled_cells;
    party.left_out.clear();
    for (const auto& column : own.prepared().removed)
        party.left_out.push_back({column.name, column.reason});
}

Result<> store_agreed(Run& run) {
    return run.stored("the agreed configuration",
                      run.env().write_file(run.directory() / "agreed.txt",
                                           config::canonical_agreed(run.config())));
}

std::string positive_class(const config::Config& config) {
    return config::section_of(config, "master").positive;
}

/// Which records the test metrics are about stays at the master, as its own ids.
Result<> store_test_ids(Run& run, const Party& own) {
    if (own.rows(TableKind::test).empty()) return {};
    return run.stored(
        "the ids of the test rows",
        run.env().write_file(run.directory() / run.options().name / "test_ids.csv",
                             test_ids_csv(own, id_column(run.config(), run.options().name))));
}

/// What the folds predict of rows that their models have not seen stays at the master as well.
Result<> store_out_of_fold(Run& run, const Party& own, const Folds& folds,
                           const data::LabelCoding& coding) {
    if (!folds.any()) return {};
    return run.stored(
        "the predictions of the folds",
        run.env().write_file(run.directory() / run.options().name / "out_of_fold.csv",
                             folds.csv(own, coding, id_column(run.config(), run.options().name))));
}

/// The rows that the model is judged by, with their labels: what a report draws its curves of.
Result<> store_evaluation(Run& run, const Folds& folds, const Fit& fit) {
    const bool test = fit.last.test.rows() != 0;
    const models::Labels& labels = test ? fit.labels.test : fit.labels.train;
    const models::Matrix& predictions =
        folds.any() ? folds.predictions() : (test ? fit.last.test : fit.last.train);
    run.results().evaluated = folds.any() ? "out of fold" : (test ? "test" : "train");
    return run.stored("the evaluated rows",
                      run.env().write_file(run.directory() / run.options().name / evaluation_name,
                                           evaluation_npy(labels, predictions)));
}

/// The end of a training that the user stops: all parties commit the step that was done last.
Task<> stop(Run& run, std::uint64_t step) {
    const bool committed = run.commits().last_recorded_here() == step;
    const Parties::Peer* const gone = run.parties().first_down();
    if (!committed && gone != nullptr) co_await run.stops_without(gone->name);
    co_await run.commits().recorded(step);
    const Result<> stopped = tl::unexpected(run.commits().stopped());
    co_await stopped;
}

/// What is due after `step` steps, or when the commit of that step was restored.
Task<> settle(Run& run, Fit& fit, std::uint64_t step, double loss) {
    MasterHalf& model = *fit.model;
    Evaluated& last = fit.last;
    run.note_step(step, model.steps());
    if (model.done(step)) run.training_ends();
    co_await run.commits().after(step, loss);
    const LossCurve& curve = run.commits().curve();
    if (model.converges()) note_loss(run, model, last.prefix, step, loss);
    // whoever asks for metrics on the way has a curve of their own
    if (model.knows_loss() && curve.due(step) &&
        run.config().model.report_train_metrics_iteration == 0)
        note_loss(run, model, last.prefix, step, curve.mean());
    run.report_step(progress_of(model, step, loss));
    co_await evaluate(run, model, fit.labels, step, last);
    if (fit.early != nullptr) co_await fit.early->looked(run, step);
}

/// Early stopping: the step of the model that is kept, whose metrics are those of the run.
Task<std::uint64_t> keep_best(Run& run, Fit& fit, std::uint64_t step) {
    EarlyStop& early = *fit.early;
    const bool early_end = !early.done(step);
    co_await run.commits().recorded(step);
    observe::RunReport& report = run.results();
    const std::uint64_t best = co_await early.go_back(run, step);
    report.early_stopping = {early.metric(), early.best().value, best, step};
    if (best == step && !early_end) co_return step;
    run.log(Level::info, "the best " + early.metric() + ", " + shortest(early.best().value) +
                             ", was that of step " + std::to_string(best) +
                             ", whose model is kept; step " + std::to_string(step) +
                             " was the last one");
    run.training_ends();
    run.note_step(best, early.steps());
    std::erase_if(report.history, [&](const observe::HistoryEntry& entry) {
        return entry.step == best && !entry.metrics.empty();
    });
    co_await evaluate(run, early, fit.labels, best, fit.last);
    std::ranges::stable_sort(report.history, {}, &observe::HistoryEntry::step);
    co_return best;
}

/// One line for each thing that a user should know of the model, here and in the report.
void note(Run& run, const std::string& prefix, std::string sentence) {
    run.log(Level::warn, prefix + sentence);
    run.results().notes.push_back(std::move(sentence));
}

void report_end(Run& run, const MasterHalf& model, const Labels& labels, const Evaluated& last) {
    observe::RunReport& report = run.results();
    const std::optional<Convergence> convergence = model.convergence();
    if (convergence) {
        report.converged = convergence->converged;
        report.iterations = convergence->iterations;
    }
    report.notes.clear();
    if (const std::string weak = weakness(run.config().run); !weak.empty())
        report.notes.push_back("protocol arbitered" + weak);
    const config::DataConfig& data = run.config().data;
    if (report.rows_test == 0 && data.test_fraction > 0 && data.folds == 0)
        note(run, last.prefix,
             "no test rows: data.test_fraction = " + shortest(run.config().data.test_fraction) +
                 " of " + std::to_string(report.rows_common) + " rows came to none");
    for (std::string& sentence : verdicts(run.config(), labels, convergence, last))
        note(run, last.prefix, std::move(sentence));
}

void warn_of_empty_parties(const Run& run) {
    for (const auto& party : run.report().parties)
        if (party.features == 0 && party.role != "arbiter")
            run.log(party.role == "master" ? Level::info : Level::warn,
                    party.name + " has no features in the model");
    std::vector<std::uint64_t> features;
    for (const auto& party : run.report().parties)
        if (party.role == "member") features.push_back(party.features);
    if (const std::string lonely = lonely_notice(run.config(), features); !lonely.empty())
        run.log(Level::warn, lonely);
}

/// Trains the label holder alone, some steps at a time, for comparison.
Task<> compare(Run& run, MasterHalf& model, const Labels& labels, const Evaluated& last) {
    Baseline* const baseline = model.baseline();
    if (baseline == nullptr) co_return;
    run.enter(Phase::comparing);
    for (bool more = true; more;) {
        co_await run.pause();
        if (run.stopping()) co_return;
        const Result<bool> trained = baseline->slice();
        if (!trained)
            run.log(Level::warn, "the label holder alone diverged: " + trained.error().sentence);
        more = trained && *trained;
    }
    observe::RunReport& report = run.results();
    Evaluated alone;
    alone.train = baseline->predict(TableKind::train);
    const models::Metrics train = models::metrics_for(labels.train, alone.train);
    report.label_holder_alone_train = train.entries();
    if (report.rows_test != 0) {
        alone.test = baseline->predict(TableKind::test);
        const models::Metrics test = models::metrics_for(labels.test, alone.test);
        report.label_holder_alone_test = test.entries();
    }
    std::string verdict = verdict_against_alone(run.config(), labels, last, alone);
    if (!verdict.empty()) note(run, last.prefix, std::move(verdict));
}

Result<> store_part(Run& run, const MasterHalf& model) {
    ModelHead head = model_head(run.config(), run.options().name);
    head.run = run.options().run;
    head.role = "master";
    head.agreed = run.spec().config_hash;
    head.format = model.part_format();
    if (run.results().early_stopping) head.stopped_at = run.results().early_stopping->step;
    const auto text = model.part(std::move(head));
    if (!text) return tl::unexpected(text.error());
    if (auto fits = check_model_size(text->size()); !fits) return fits;
    run.results().model_dir = run.model_root().string();
    return run.stored(
        "its model part",
        run.env().write_file(run.model_root() / run.options().name / "model.json", *text));
}

/// Whether others on the way to the broker could read and change what was sent. The log of every
/// party has a line about its own link; the report is what is left afterwards.
bool link_is_in_the_clear(const config::BusConfig& bus) {
    const auto address = bus::parse_address(bus.broker);
    return address && !address->local_only && bus.certificates.empty();
}

/// All parties write their parts of the model.
Task<> finish(Run& run, const MasterHalf& model) {
    if (link_is_in_the_clear(run.config().bus))
        run.results().notes.emplace_back(
            "the link to the broker was in the clear: everybody on the way could read and change "
            "what was sent; use --certificates (docs/security.md)");
    if (std::string noise = privacy_notice(run.config(), false); !noise.empty())
        run.results().notes.push_back(std::move(noise));
    Replies asked = run.parties().ask_all(message::finish, encode_empty());
    const std::vector<Bytes> replies = co_await asked;
    for (std::size_t i = 0; i < replies.size(); ++i) {
        const FinishReply reply = co_await run.said_by(i, decode_finish_reply(replies[i]));
        run.log(run.options().routine_level, run.parties()[i].name +
                                                 " has written its model part (" +
                                                 human_bytes(reply.bytes) + ")");
    }
    co_await store_part(run, model);
}

/// All parties begin the fit that `folds` has at hand, with rows and designs of their own.
Task<std::unique_ptr<Fit>> begin_fit(Run& run, Party& own, const Algorithm& algorithm,
                                     const Folds& folds) {
    if (folds.any())
        co_await folds.split(own);
    else
        co_await split_own(own);
    auto fit = std::make_unique<Fit>();
    fit->last.prefix = folds.prefix();
    const std::string positive = positive_class(run.config());
    Labels labels = co_await read_labels(own, run.config().model.task, positive);
    fit->labels = std::move(labels);
    co_await own.build();
    if (!folds.any()) co_await store_test_ids(run, own);
    if (folds.fit() == 0)
        for (const std::string& note : notes_of(own.prepared())) run.log(Level::info, note);
    if (!folds.any()) own.drop_tables();
    const MasterSetting setting{run, own, &fit->labels};
    auto model = co_await algorithm.train(setting);
    fit->model = folds.any() ? counted_from(folds.first(), std::move(model)) : std::move(model);
    if (stops_early(run.config())) {
        co_await can_stop_early(run.config().model, fit->labels.test);
        auto early = std::make_unique<EarlyStop>(std::move(fit->model), run.config().model);
        fit->early = early.get();
        fit->model = std::move(early);
    }
    report_own(run, own, *fit->model);
    run.enter(Phase::beginning);
    co_await fit->model->begin(folds.first());
    run.commits().bind(own, *fit->model, folds);
    co_return std::move(fit);
}

/// Trains, evaluates and compares one fit from `step` on, the last commit of it included. The steps
/// of the run that are done then.
Task<std::uint64_t> run_fit(Run& run, Fit& fit, std::uint64_t step) {
    MasterHalf& model = *fit.model;
    const auto over = [&] { return fit.early != nullptr && fit.early->over(); };
    while (!model.done(step) && !over() && !run.stopping()) {
        co_await run.commits().room_after(step);
        if (run.stopping()) break;
        const StepResult done = co_await model.step(step);
        ++step;
        co_await settle(run, fit, step, done.loss);
    }
    const bool stopped_early = fit.early != nullptr && !run.stopping();
    if (stopped_early) step = co_await keep_best(run, fit, step);
    if (!model.done(step)) co_await stop(run, step);
    report_end(run, model, fit.labels, fit.last);
    if (!run.stopping()) co_await compare(run, model, fit.labels, fit.last);
    run.enter(Phase::finishing);
    if (stopped_early) co_return step;  // what is recorded leads back here
    if (run.stopping()) co_await stop(run, step);
    co_await run.commits().recorded(step);
    if (run.stopping()) co_await stop(run, step);
    co_return step;
}

/// The results of a fold move from where those of the run stand to those of the folds.
void finish_fold(Run& run, Folds& folds, const Fit& fit, std::uint64_t step) {
    observe::RunReport& report = run.results();
    observe::FoldReport result;
    result.rows_train = report.rows_train;
    result.rows_test = report.rows_test;
    result.steps = step - folds.first();
    result.converged = std::exchange(report.converged, {});
    result.iterations = std::exchange(report.iterations, 0);
    result.train = std::exchange(report.train, {});
    result.test = std::exchange(report.test, {});
    result.label_holder_alone = std::exchange(report.label_holder_alone_test, {});
    report.label_holder_alone_train.clear();
    result.notes = std::exchange(report.notes, {});
    folds.finish(std::move(result), fit.last.test, step);
    report.folds = folds.results();
}

void say_fit(const Run& run, const Folds& folds) {
    if (!folds.any()) return;
    const std::uint64_t count = run.config().data.folds;
    run.log(Level::info, folds.last() ? "trains on all rows, after " + std::to_string(count) +
                                            " folds: the model that is kept"
                                      : "trains without the rows of fold " +
                                            std::to_string(folds.fit() + 1) + " of " +
                                            std::to_string(count));
}

}  // namespace

Result<bool> load_more(Run& run, Party& own, TableKind kind) {
    auto there = own.load(kind);
    if (there && *there)
        for (const std::string& note : notes_of(*own.table(kind))) run.log(Level::info, note);
    return there;
}

Result<> load_own(Run& run, Party& own, TableKind kind) {
    const auto there = load_more(run, own, kind);
    if (!there) return tl::unexpected(there.error());
    if (*there) return {};
    const std::string setting = kind == TableKind::predict ? "predict_data" : "data";
    return fail(Errc::bad_config, own.name() + " has no " + std::string(name_of(kind)) + ": set " +
                                      setting + " in [party." + own.name() + "]");
}

Task<> train(Run& run) {
    if (run.only_releases()) {
        co_await run.gathered();
        co_return;
    }
    Party own(run.options().name, run.config(), run.options().tables);
    const std::shared_ptr<const MadeAlignment> before = made_before(run);
    if (before == nullptr) co_await load_tables(run, own);
    co_await run.gathered();
    const Algorithm* const algorithm = co_await algorithm_of(run.config());
    run.log(Level::warn, protocol_notice(run.config()));
    if (const std::string noise = privacy_notice(run.config(), false); !noise.empty())
        run.log(Level::warn, noise);
    if (const std::string unsealed = unsealed_notice(run.config()); !unsealed.empty())
        run.log(Level::warn, unsealed);
    co_await store_agreed(run);

    co_await align(run, own, before);
    Folds folds = co_await Folds::create(own);
    if (folds.any()) folds.restore(run.commits().newest_folds());
    std::unique_ptr<Fit> fit = co_await begin_fit(run, own, *algorithm, folds);
    const std::optional<RecordedCommit> commit = co_await run.commits().choose();
    std::optional<FoldsCommit> saved;
    if (commit && folds.any()) saved = run.commits().folds_of(*commit);
    if (folds.any() && folds.fit() != (saved ? saved->fit : 0)) {
        // the newest commit of the own is not one that all hold
        folds.restore(saved);
        fit = co_await begin_fit(run, own, *algorithm, folds);
    }
    run.results().folds = folds.results();
    std::uint64_t step = 0;
    if (commit) step = co_await run.commits().restore(*commit);
    run.enter(Phase::training);
    warn_of_empty_parties(run);
    run.training_begins();
    run.note_step(step, fit->model->steps());
    say_fit(run, folds);
    if (step != 0) co_await settle(run, *fit, step, run.commits().loss());
    step = co_await run_fit(run, *fit, step);
    while (!folds.last()) {
        finish_fold(run, folds, *fit, step);
        fit = co_await begin_fit(run, own, *algorithm, folds);
        run.enter(Phase::training);
        run.note_step(step, fit->model->steps());
        say_fit(run, folds);
        step = co_await run_fit(run, *fit, step);
    }
    co_await store_out_of_fold(run, own, folds, fit->labels.coding);
    co_await store_evaluation(run, folds, *fit);
    co_await finish(run, *fit->model);
    if (run.options().alignment != nullptr && run.options().alignment->is_last(run.options().run)) {
        Replies forgotten = run.parties().ask_all(message::forget, encode_empty());
        co_await forgotten;
    }
}

// -- making one ----------------------------------------------------------------------

Result<std::unique_ptr<Run>> make_train_master(MasterOptions options) {
    const auto& config = options.config;
    if (config.run.world_size == 0)
        return fail(Errc::bad_config, "run.world_size is not set: say how many members take part");
    if (auto algorithm = algorithm_of(config); !algorithm)
        return tl::unexpected(std::move(algorithm.error()));
    if (auto sound = config::check(config); !sound) return tl::unexpected(std::move(sound.error()));
    Result<RunRecord> record = options.resume ? next_record(options) : new_record(options);
    if (!record) return tl::unexpected(std::move(record.error()));
    options.term = record->term;
    return std::make_unique<Run>(std::move(options), Purpose::train, train, std::move(*record));
}

}  // namespace vflbus::actors
