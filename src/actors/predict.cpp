// `vflbus predict`: all parties score their prediction tables with their own parts of a model.

#include <algorithm>
#include <future>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "actors/alignment/alignment.hpp"
#include "actors/master.hpp"
#include "actors/model_file.hpp"
#include "actors/predictions_csv.hpp"
#include "actors/programs.hpp"
#include "actors/protocols/noise.hpp"
#include "actors/protocols/protocol.hpp"
#include "actors/table_notes.hpp"
#include "actors/training/algorithm.hpp"
#include "base/text.hpp"
#include "models/metrics.hpp"

namespace vflbus::actors {
namespace {

using observe::log::Level;

/// In the order of the master's file; rows of one id keep their aligned order.
std::string csv_of(Run& run, const MasterHalf& model, const Party& own,
                   const models::Matrix& predictions) {
    constexpr std::uint64_t told_every = 65'536;
    const data::Table& table = *own.table(TableKind::predict);
    PredictionsCsv csv(model.coding());
    csv.head(id_column(run.config(), run.options().name));
    const auto rows = own.rows(TableKind::predict);
    const auto tell = [&](std::uint64_t done) {
        run.report_job({run.options().name + ": writes the predictions", done, rows.size(),
                        observe::JobState::Unit::count});
    };
    const std::vector<std::uint32_t> order = file_order(rows);
    // the predictions are in the order of the hashes: each is fetched while others are written
    constexpr std::size_t ahead = 16;
    for (std::size_t at = 0; at < order.size(); ++at) {
        if (at % told_every == 0) tell(at);
        if (at + ahead < order.size()) {
            const std::uint32_t next = order[at + ahead];
            __builtin_prefetch(&rows[next]);
            for (std::size_t c = 0; c < predictions.cols(); ++c)
                __builtin_prefetch(predictions.view().col(c).data() + next);
        }
        csv.row(table.ids[rows[order[at]]], {}, predictions, order[at]);
    }
    tell(rows.size());
    return csv.text();
}

struct Measured {
    std::uint64_t unlabelled = 0;  ///< rows
    std::vector<std::pair<std::string, double>> metrics;
    std::string why_not;  ///< there are none
};

/// Metrics of the rows that have a label, when the master's table has labels at all. Touches
/// nothing of the run, as it is done beside other work.
Measured measured(const MasterHalf& model, const Party& own, const models::Matrix& predictions) {
    Measured out;
    const data::Table& table = *own.table(TableKind::predict);
    if (table.labels.empty()) return out;
    const auto rows = own.rows(TableKind::predict);
    std::vector<std::uint32_t> labelled;  // table rows
    std::vector<std::size_t> at;          // where they are in `rows`
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const auto has_none = [&](const data::Column& label) { return label.is_missing(rows[i]); };
        if (std::ranges::any_of(table.labels, has_none)) continue;
        labelled.push_back(rows[i]);
        at.push_back(i);
    }
    out.unlabelled = rows.size() - labelled.size();
    if (labelled.empty()) return out;
    const auto labels = labels_of(table, model.coding(), labelled);
    if (!labels) {
        out.why_not = labels.error().sentence;
        return out;
    }
    models::Matrix of_labelled;
    of_labelled.resize_uninitialized(at.size(), predictions.cols());
    for (std::size_t c = 0; c < predictions.cols(); ++c)
        for (std::size_t i = 0; i < at.size(); ++i) of_labelled(i, c) = predictions(at[i], c);
    const models::Metrics metrics = models::metrics_for(*labels, of_labelled);
    out.metrics.assign(metrics.entries().begin(), metrics.entries().end());
    return out;
}

/// The text of `written`, the predictions as they are written. Metrics are made beside it: of a
/// million rows each of both takes as long as all that the members do.
std::string csv_and_metrics(Run& run, const MasterHalf& model, const Party& own,
                            const models::Matrix& predictions, const models::Matrix& written) {
    std::future<Measured> beside;
    try {
        beside = std::async(std::launch::async, [&] { return measured(model, own, predictions); });
    } catch (const std::system_error&) {  // no thread is to be had
    }
    std::string csv = csv_of(run, model, own, written);
    const Measured result = beside.valid() ? beside.get() : measured(model, own, predictions);
    run.results().rows_unlabelled = result.unlabelled;
    if (!result.why_not.empty()) run.log(Level::warn, "no metrics: " + result.why_not);
    if (!result.metrics.empty()) run.results().test = result.metrics;
    return csv;
}

/// The predictions by one unit of exposure as those of the rows.
Result<models::Matrix> of_rows(const Party& own, const data::LabelCoding& coding,
                               const models::Matrix& predictions) {
    auto exposure =
        exposure_of(*own.table(TableKind::predict), coding, own.rows(TableKind::predict));
    if (!exposure) return tl::unexpected(own.named(std::move(exposure.error())));
    return models::in_label_units(*exposure, predictions);
}

/// What the parties met in the rows that are predicted.
void count_cells(Run& run, const Party& own, const Alignment& alignment) {
    auto& parties = run.results().parties;
    parties[0].missing_cells = own.transformed().filled_cells;
    parties[0].unseen_values = own.transformed().unseen_values;
    for (std::size_t i = 0; i + 1 < parties.size(); ++i) {
        const SelectReply& told = alignment.selected(TableKind::predict, i);
        parties[i + 1].missing_cells = told.filled_cells;
        parties[i + 1].unseen_values = told.unseen_values;
    }
}

Result<> loaded(Run& run, const PredictJob& job, std::size_t member, std::uint64_t outputs,
                Body body) {
    const auto reply = decode_load_model_reply(body);
    if (!reply) return tl::unexpected(reply.error());
    if (reply->run != job.head.run || reply->agreed != job.head.agreed || reply->outputs != outputs)
        return fail(Errc::bad_data, "the model part is of another training");
    run.results().parties[member + 1].features = reply->features;
    return {};
}

}  // namespace

Task<> predict(Run& run, const PredictJob& job, PredictResult& result) {
    Party own(run.options().name, run.config(), run.options().tables);
    const Algorithm* const algorithm = co_await algorithm_of(run.config());
    const MasterSetting setting{run, own, nullptr};
    // before the table: it is read as the model knows its columns
    const std::unique_ptr<MasterHalf> model =
        co_await algorithm->predict(setting, job.text, job.path);
    co_await load_own(run, own, TableKind::predict);
    co_await run.gathered();
    run.log(Level::warn, prediction_notice(run.config()));
    if (const std::string noise = privacy_notice(run.config(), true); !noise.empty())
        run.log(Level::warn, noise);
    run.results().differential_privacy = privacy_report(run.config(), true);
    if (const std::string unsealed = unsealed_notice(run.config()); !unsealed.empty())
        run.log(Level::warn, unsealed);
    run.results().model_dir = job.root.string();
    run.results().parties[0].features = model->features();

    run.enter(Phase::aligning);
    LoadModelRequest load;
    load.run = job.head.run;
    Replies loading = run.parties().ask_all(message::load_model, encode(load));
    Alignment alignment(run, own);
    const std::vector<TableKind> kinds{TableKind::predict};
    co_await alignment.gather(kinds);
    const std::vector<Bytes> replies = co_await loading;
    for (std::size_t i = 0; i < replies.size(); ++i)
        co_await run.said_by(i, loaded(run, job, i, model->outputs(), replies[i]));
    co_await alignment.present(TableKind::predict);
    run.enter(Phase::selecting);
    co_await alignment.select(kinds);
    co_await own.build_predict();
    count_cells(run, own, alignment);

    run.enter(Phase::evaluating);
    const models::Matrix scores = co_await model->scores(TableKind::predict, 0);
    const models::Matrix predictions = model->predict(scores);
    result.rows = alignment.rows(TableKind::predict);
    run.results().rows_test = result.rows;
    note_positive(run.results(), model->coding());
    const models::Matrix written = co_await of_rows(own, model->coding(), predictions);
    result.csv = csv_and_metrics(run, *model, own, predictions, written);
    if (!job.out.empty())
        co_await run.stored("the predictions", run.env().write_file(job.out, result.csv));
    run.enter(Phase::finishing);
}

Result<std::unique_ptr<PredictMaster>> make_predict_master(MasterOptions options,
                                                           PredictOptions predict) {
    const auto root =
        options.model_dir.empty() ? options.runs_dir / predict.model.hex() : options.model_dir;
    const auto path = root / options.name / "model.json";
    const auto text = options.env->read_file(path);
    if (!text)
        return fail(text.error().code, options.name +
                                           " has no part of the model: " + text.error().sentence +
                                           "; name the run or directory of a training");
    auto part = parse_model_head(*text, path.string());
    if (!part) return tl::unexpected(std::move(part.error()));
    if (!predict.model.none() && part->run != predict.model)
        return fail(Errc::bad_data, path.string() + " is of run " + part->run.hex() + ", not of " +
                                        predict.model.hex());
    if (part->role != "master")
        return fail(Errc::bad_data, path.string() + " is not the part of a master");
    if (part->task != config::name_of(options.config.model.task))
        return fail(Errc::bad_config, "the model is " + part->task + ", model.task says " +
                                          std::string(config::name_of(options.config.model.task)) +
                                          ": use the configuration of the training");
    if (options.config.run.world_size == 0) options.config.run.world_size = part->world_size;
    if (options.config.run.world_size != part->world_size)
        return fail(Errc::bad_config, "the model has " + std::to_string(part->world_size) +
                                          " members, run.world_size says " +
                                          std::to_string(options.config.run.world_size));
    const auto algorithm = algorithm_of(options.config);
    if (!algorithm) return tl::unexpected(algorithm.error());
    if (auto same = check_format(*part, {std::string((*algorithm)->format), part->format.version},
                                 path.string());
        !same)
        return tl::unexpected(std::move(same.error()));
    PredictJob job{std::move(*part), *text, path.string(), root, predict.out};
    return std::make_unique<PredictMaster>(std::move(options), std::move(job));
}

PredictMaster::PredictMaster(MasterOptions options, PredictJob job)
    : Run(std::move(options), Purpose::predict,
          [this](Run& run) { return predict(run, job_, result_); }),
      job_(std::move(job)) {}

}  // namespace vflbus::actors
