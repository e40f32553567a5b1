#include <algorithm>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>

#include "actors/evaluation.hpp"
#include "actors/master.hpp"
#include "actors/master_labels.hpp"
#include "base/text.hpp"
#include "models/metrics.hpp"

namespace vflbus::actors {
namespace {

using observe::log::Level;

std::string csv_cell(std::string_view text) {
    const bool plain = text.find_first_of(",\"\r\n") == std::string_view::npos &&
                       (text.empty() || (trim(text).size() == text.size()));
    if (plain) return std::string(text);
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"') out += '"';
        out += c;
    }
    return out += '"';
}

class Predict final : public PredictMaster {
  public:
    Predict(MasterOptions options, PredictOptions predict, ModelPart part,
            std::unique_ptr<MasterProtocol> protocol)
        : PredictMaster(std::move(options), Purpose::predict),
          predict_(std::move(predict)),
          part_(std::move(part)),
          protocol_(std::move(protocol)) {}

    const std::string& csv() const noexcept override { return csv_; }
    std::uint64_t rows() const noexcept override { return aligned_rows(TableKind::predict); }

  private:
    void on_gathered() override {
        log(Level::warn, protocol_->notice());
        if (auto done = own_->use(part_); !done) return fail_run(done.error());
        report_.model_dir = options_.model_dir.empty()
                                ? (options_.runs_dir / part_.run.hex()).string()
                                : options_.model_dir.string();
        report_.parties[0].features = part_.features();
        enter(Phase::aligning);
        send_all(message::load_model, encode(LoadModelRequest{part_.run}));
        ask_ids(TableKind::predict);
        if (const auto aligned = own_->align(TableKind::predict); !aligned)
            fail_run(aligned.error());
    }

    Result<> on_answer(std::size_t member, const Pending& request, Bytes&& body) override {
        switch (request.type) {
            case message::load_model: {
                const auto reply = decode_load_model_reply(body);
                if (!reply) return tl::unexpected(reply.error());
                if (reply->run != part_.run || reply->agreed != part_.agreed ||
                    reply->outputs != part_.outputs)
                    return fail(Errc::bad_data,
                                members_[member].name + " has a model part of another training");
                report_.parties[member + 1].features = reply->features;
                return {};
            }
            case message::align:
                return take_ids(member, request, body);
            case message::select:
                return take_selected(member, request, body);
            case message::evaluate: {
                const auto reply = decode_evaluate_reply(body);
                if (!reply) return tl::unexpected(reply.error());
                return protocol_->add(evaluation_.request().first, member, reply->scores);
            }
            default:
                return {};
        }
    }

    void on_all_answered() override {
        switch (phase()) {
            case Phase::aligning: {
                const auto all = present(TableKind::predict);
                if (!all) return fail_run(all.error());
                enter(Phase::selecting);
                if (auto done = select_common(TableKind::predict); !done) fail_run(done.error());
                return;
            }
            case Phase::selecting:
                if (auto done = own_->build_predict(); !done) return fail_run(done.error());
                enter(Phase::evaluating);
                evaluation_.begin(TableKind::predict, *own_);
                return next_part();
            case Phase::evaluating: {
                const auto more = evaluation_.take(*protocol_);
                if (!more) return fail_run(more.error());
                return *more ? next_part() : write();
            }
            default:
                return;
        }
    }

    void next_part() {
        send_all(message::evaluate, encode(evaluation_.request()));
        if (over()) return;
        if (auto done = evaluation_.start(*own_, *protocol_); !done) fail_run(done.error());
    }

    void write() {
        const auto predictions = models::predict(models_task(options_.config.model.task),
                                                 evaluation_.scores(), part_.intercept);
        const data::Table& table = *own_->table(TableKind::predict);
        if (!table.labels.empty()) {
            const auto labels = labels_of(table, *part_.labels, own_->rows(TableKind::predict));
            if (labels) {
                const auto metrics = models::metrics_for(*labels, predictions);
                report_.test = metrics.entries();
            } else {
                log(Level::warn, "no metrics: " + labels.error().sentence);
            }
        }
        report_.rows_test = rows();
        write_csv(table, predictions);
        if (!predict_.out.empty())
            if (auto done = options_.env->write_file(predict_.out, csv_); !done)
                return fail_run(then_again(
                    done.error().code,
                    options_.name + " cannot store the predictions: " + done.error().sentence,
                    "make room there"));
        enter(Phase::finishing);
        release_all();
    }

    void write_csv(const data::Table& table, const models::Matrix& predictions) {
        const bool softmax = part_.labels->task == data::Task::softmax;
        const auto names = part_.labels->output_names();
        const auto section = options_.config.parties.find(options_.name);
        csv_ = csv_cell(section == options_.config.parties.end() ? "id" : section->second.id);
        if (softmax || part_.outputs == 1) csv_ += ",prediction";
        if (softmax || part_.outputs > 1)
            for (const std::string& name : names)
                csv_ += "," + csv_cell((softmax ? "probability_" : "prediction_") + name);
        csv_ += '\n';

        // in the order of the master's file; rows of one id keep their aligned order
        const auto rows = own_->rows(TableKind::predict);
        std::vector<std::uint32_t> order(rows.size());
        std::iota(order.begin(), order.end(), 0U);
        std::ranges::sort(order, {}, [&](std::uint32_t i) { return std::pair(rows[i], i); });
        for (const std::uint32_t i : order) {
            csv_ += csv_cell(table.ids[rows[i]]);
            if (softmax) {
                std::size_t best = 0;
                for (std::size_t c = 1; c < predictions.cols(); ++c)
                    if (predictions(i, c) > predictions(i, best)) best = c;
                csv_ += "," + csv_cell(names[best]);
            }
            for (std::size_t c = 0; c < predictions.cols(); ++c)
                csv_ += "," + shortest(predictions(i, c));
            csv_ += '\n';
        }
    }

    PredictOptions predict_;
    ModelPart part_;
    std::unique_ptr<MasterProtocol> protocol_;
    Evaluation evaluation_;
    std::string csv_;
};

}  // namespace

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
    auto part = parse_model_part(*text, path.string());
    if (!part) return tl::unexpected(std::move(part.error()));
    if (!predict.model.none() && part->run != predict.model)
        return fail(Errc::bad_data, path.string() + " is of run " + part->run.hex() + ", not of " +
                                        predict.model.hex());
    if (!part->labels) return fail(Errc::bad_data, path.string() + " is not the part of a master");
    if (part->task != config::name_of(options.config.model.task))
        return fail(Errc::bad_config, "the model is " + part->task + ", model.task says " +
                                          std::string(config::name_of(options.config.model.task)) +
                                          ": use the configuration of the training");
    if (options.config.run.world_size == 0) options.config.run.world_size = part->world_size;
    if (options.config.run.world_size != part->world_size)
        return fail(Errc::bad_config, "the model has " + std::to_string(part->world_size) +
                                          " members, run.world_size says " +
                                          std::to_string(options.config.run.world_size));
    auto protocol = make_master_protocol(config::name_of(options.config.run.protocol),
                                         static_cast<std::size_t>(part->world_size));
    if (!protocol) return tl::unexpected(std::move(protocol.error()));
    return std::make_unique<Predict>(std::move(options), std::move(predict), std::move(*part),
                                     std::move(*protocol));
}

}  // namespace vflbus::actors
