// Messages of a training, and the files that a run leaves: they are read again after a crash, by
// another version, or by a prediction years later.

#include <array>

#include "actors/alignment/psi_messages.hpp"
#include "actors/messages.hpp"
#include "actors/model_file.hpp"
#include "actors/run/commit_file.hpp"
#include "actors/run/run_record.hpp"
#include "actors/training/linear/arbitered.hpp"
#include "actors/training/linear/encrypted.hpp"
#include "actors/training/linear/lbfgs/messages.hpp"
#include "actors/training/linear/padded.hpp"
#include "actors/training/linear/part.hpp"
#include "observe/report.hpp"
#include "seeds.hpp"

namespace vflbus::fuzz {
namespace of_training {
namespace {

using namespace vflbus::actors;

/// Tensors point into the body: all of what they claim must be there.
bool read_tensor(const TensorView& tensor) {
    require(tensor.raw.size() == tensor.rows * tensor.cols * sizeof(double),
            "a tensor has other bytes than its shape says");
    std::vector<double> out(tensor.rows * tensor.cols);
    tensor.copy_to(out);
    return true;
}

bool try_training(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 29);
    const auto tensor_of = [](const auto& decoded, auto... parts) {
        return decoded && (read_tensor((*decoded).*parts) && ...);
    };
    switch (kind) {
        case 0:
            return decode_empty("finish", body).has_value();
        case 1:
            return round_trip(body, decode_align_request, encoded_again);
        case 2:
            return decode_align_reply(body).has_value();
        case 3:
            return round_trip(body, decode_select_request, encoded_again);
        case 4:
            return round_trip(body, decode_select_reply, encoded_again);
        case 5:
            return round_trip(body, decode_begin_request, encoded_again);
        case 6:
            return tensor_of(decode_begin_reply(body), &BeginReply::scores);
        case 7:
            return tensor_of(decode_step_request(body), &StepRequest::tensor);
        case 8:
            return tensor_of(decode_step_reply(body), &StepReply::scores);
        case 9:
            return tensor_of(decode_solve_request(body), &StepRequest::tensor);
        case 10:
            return tensor_of(decode_solve_reply(body), &SolveReply::scores, &SolveReply::next);
        case 11:
            return round_trip(body, decode_evaluate_request, encoded_again);
        case 12:
            return tensor_of(decode_evaluate_reply(body), &EvaluateReply::scores);
        case 13:
            return round_trip(body, decode_load_model_request, encoded_again);
        case 14:
            return round_trip(body, decode_load_model_reply, encoded_again);
        case 15:
            return round_trip(body, decode_round_request, encoded_again);
        case 16:
            return round_trip(body, decode_finish_reply, encoded_again);
        case 17:
            return round_trip(body, decode_commit_reply, encoded_again);
        case 18:
            return round_trip(body, decode_commits_reply,
                              [](const auto& commits) { return encode(std::span(commits)); });
        case 19:
            return tensor_of(decode_restore_reply(body), &RestoreReply::scores);
        case 22:
            return tensor_of(linear::decode_product_request(body),
                             &linear::ProductRequest::settings);
        case 23:
            return linear::decode_product_reply(body).has_value();
        case 24:
            return round_trip(body, linear::decode_arbiter_key_request, encoded_again);
        case 25:
            return round_trip(body, linear::decode_share_setup, encoded_again);
        case 26:
            return round_trip(body, linear::decode_open_request, encoded_again);
        case 27: {
            const auto opened = linear::decode_open_reply(body);
            if (!opened) return false;
            for (const TensorView& numbers : *opened) read_tensor(numbers);
            return true;
        }
        case 28:
            return tensor_of(linear::decode_padded_step(body), &linear::PaddedStep::opened,
                             &linear::PaddedStep::residual);
        case 20: {
            const auto asked = linear::decode_iterate_request(body);
            if (!asked) return false;
            (void)linear::settings_of(asked->settings, 1);
            return read_tensor(asked->settings) && read_tensor(asked->coefficients) &&
                   read_tensor(asked->residual);
        }
        default:
            return tensor_of(linear::decode_iterate_reply(body), &linear::IterateReply::scores,
                             &linear::IterateReply::products);
    }
}

std::vector<Bytes> training_seeds() {
    models::Matrix scores(3, 2);
    const auto view = models::ConstMatrixView(scores);
    BeginReply begun;
    begun.left_out = {{data::LeftOutKind{}, 1}};
    const StoredCommit stored{12, {}};
    const Bytes answer(20, 2);
    return {
        seed(0, encode_empty()),
        seed(1, encode(AlignRequest{TableKind::train})),
        seed(2, encode(AlignReply{}, data::LocalIds{})),
        seed(3, encode(SelectRequest{})),
        seed(4, encode(SelectReply{3, 1, 2})),
        seed(5, encode(BeginRequest{1, {}})),
        seed(6, encode(begun, view)),
        seed(7, encode_step(4, view)),
        seed(8, encode_scores(view)),
        seed(9, encode_step(4, view)),
        seed(10, encode_solved(view, view)),
        seed(11, encode(EvaluateRequest{TableKind::test, 0, 10})),
        seed(12, encode_scores(view)),
        seed(13, encode(LoadModelRequest{})),
        seed(14, encode(LoadModelReply{})),
        seed(15, encode(RoundRequest{Moment::step, 1, 2, {}})),
        seed(16, encode(FinishReply{{}, "runs/a/model.json", 100})),
        seed(17, encode(stored)),
        seed(18, encode(std::span<const StoredCommit>(&stored, 1))),
        seed(19, encode_restored(4, view)),
        seed(20, linear::encode_iterate(0, {.5, {1, 2}}, view, view)),
        seed(21, linear::encode_iterated(view, view)),
        seed(22, linear::encode(linear::ProductRequest{3, {}, 20, {}, {}, {}, {}}, view)),
        seed(23, linear::encode_product_reply({})),
        seed(24, encode(linear::ArbiterKeyRequest{256, 1, 100, {}, false})),
        seed(25, encode(linear::ShareSetup{{15, -3}, {}, Bytes(20, 1), true, 3})),
        seed(26, encode(linear::OpenRequest{3, {2, 0}, {Body(answer), {}}})),
        seed(27, linear::encode_open_reply({{1, 2}, {}})),
        seed(28, linear::encode(linear::PaddedStep{}, std::array<std::uint64_t, 4>{1, 2, 3, 4},
                                std::array<std::uint64_t, 6>{5}, 2)),
    };
}

// -- private set intersection ------------------------------------------------------------------

bool try_psi(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 13);
    std::uint64_t ids = 0;
    switch (kind) {
        case 0:
            return round_trip(body, decode_psi_begin, encode_psi_begin);
        case 1:
            return decode_psi_begun(body, ids).has_value();
        case 2:
            return round_trip(body, decode_psi_take, encoded_again);
        case 3:
            return round_trip(body, decode_psi_give, encoded_again);
        case 4:
            return round_trip(body, decode_psi_undo, encoded_again);
        case 5:
            return round_trip(body, decode_psi_common, encoded_again);
        case 6:
            return decode_points(body, 2).has_value();
        case 7:
            return decode_marks(body, 11, 2).has_value();
        case 8:
            return round_trip(body, decode_psi_digests, encoded_again);
        case 9:
            return round_trip(body, decode_psi_tags, encoded_again);
        case 10:
            return round_trip(body, decode_psi_digest, encode_psi_digest);
        case 11:
            return decode_digest(body).has_value();
        default:
            return decode_counts(body).has_value();
    }
}

std::vector<Bytes> psi_seeds() {
    const std::vector<privacy::psi::Point> points(2);
    const Bytes marks{1, 4};
    const std::vector<std::uint32_t> counts{1, 2};
    PsiGiveRequest give;
    give.total = 2;
    give.points = {points[0].data(), sizeof points[0]};
    return {
        seed(0, encode_psi_begin(TableKind::test)),
        seed(1, encode_psi_begun(AlignReply{}, 0)),
        seed(2, encode(PsiTakeRequest{TableKind::train, 1, 2, 3})),
        seed(3, encode(give)),
        seed(4, encode(PsiUndoRequest{TableKind::train, 1, marks})),
        seed(5, encode(PsiCommonRequest{TableKind::train, marks, {}})),
        seed(6, encode_points(points)),
        seed(7, encode_marks(marks)),
        seed(8, encode(PsiDigestsRequest{TableKind::train, marks})),
        seed(9, encode(PsiTagsRequest{TableKind::train, 1, {points[0].data(), 16}})),
        seed(10, encode_psi_digest(TableKind::test)),
        seed(11, encode_digest({})),
        seed(12, encode_counts(counts)),
    };
}

// -- files of a run ----------------------------------------------------------------------------

bool try_commit(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 2);
    if (kind == 0)
        return round_trip(
            body, [](const auto& bytes) { return decode_commit(text_of(bytes), "commit"); },
            [](const Commit& commit) {
                const std::string text = encode(commit);
                return Bytes(text.begin(), text.end());
            });
    return round_trip(
        body, [](const auto& bytes) { return parse_run_record(text_of(bytes), "run.json"); },
        [](const RunRecord& record) {
            const std::string text = to_json(record);
            return Bytes(text.begin(), text.end());
        });
}

std::vector<Bytes> commit_seeds() {
    Commit commit;
    commit.step = 12;
    commit.algorithm = {"linear", 1};
    commit.state = std::string(100, 's');
    Commit of_master = commit;
    of_master.master.emplace().loss = .5;
    RunRecord record;
    record.owner = "master";
    record.members = {"member-0", "member-1"};
    record.agreed = "model.task = \"logistic\"\n";
    record.commits = {{12, {{"master", {}}, {"member-0", {}}, {"member-1", {}}}}};
    return {seed(0, encode(commit)), seed(0, encode(of_master)), seed(1, to_json(record))};
}

/// Numbers are written such that they are read as the same bits.
bool try_model(std::span<const std::uint8_t> input) {
    (void)parse_model_head(text_of(input), "model.json");
    (void)model_content(text_of(input), "model.json");
    return round_trip(
        input, [](const auto& bytes) { return parse_model_part(text_of(bytes), "model.json"); },
        [](const ModelPart& part) {
            const std::string text = to_json(part);
            return Bytes(text.begin(), text.end());
        });
}

std::vector<Bytes> model_seeds() {
    ModelPart part;
    part.party = "master";
    part.role = "master";
    part.world_size = 2;
    part.protocol = "honest";
    part.task = "logistic";
    part.outputs = 1;
    part.intercept = {.25};
    const std::string text = to_json(part);
    return {Bytes(text.begin(), text.end())};
}

bool try_report(std::span<const std::uint8_t> input) {
    return round_trip(
        input, [](const auto& bytes) { return observe::from_json(text_of(bytes)); },
        [](const observe::RunReport& report) {
            const std::string text = observe::to_json(report);
            return Bytes(text.begin(), text.end());
        });
}

std::vector<Bytes> report_seeds() {
    observe::RunReport report;
    report.status = "completed";
    report.run_id = "a1b2c3";
    const std::string text = observe::to_json(report, -1);
    return {Bytes(text.begin(), text.end())};
}

}  // namespace
}  // namespace of_training

const Target training_target{"training", "messages between master and members",
                             of_training::try_training, of_training::training_seeds};
const Target psi_target{"psi", "messages of private set intersection", of_training::try_psi,
                        of_training::psi_seeds};
const Target commit_target{"commit", "commit files and run.json", of_training::try_commit,
                           of_training::commit_seeds};
const Target model_target{"model", "model.json of a party", of_training::try_model,
                          of_training::model_seeds};
const Target report_target{"report", "report.json", of_training::try_report,
                           of_training::report_seeds};

}  // namespace vflbus::fuzz
