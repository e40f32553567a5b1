#include "actors/training/linear/rows.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::actors::linear {

Result<> check_rows(TableKind side, std::uint64_t rows, std::uint64_t first, std::uint64_t count,
                    std::size_t outputs) {
    if (first > rows || count > rows - first)
        return fail(Errc::malformed_message,
                    "rows " + std::to_string(first) + " to " + std::to_string(first + count) +
                        " of a " + std::string(name_of(side)) + " of " + std::to_string(rows));
    if (count * outputs * sizeof(double) > bus::message_bytes_max / 2)
        return fail(Errc::too_large, "scores of " + std::to_string(count) + " x " +
                                         std::to_string(outputs) +
                                         " are too large for one message; ask for fewer rows");
    return {};
}

void copy_rows(models::ConstMatrixView part, std::uint64_t first, models::Matrix& all) {
    for (std::size_t c = 0; c < part.cols; ++c)
        std::ranges::copy(part.col(c), all.col(c).begin() + static_cast<std::ptrdiff_t>(first));
}

Task<models::Matrix> summed_scores(Run& run, MasterProtocol& protocol, const RowScores& own,
                                   TableKind side, std::uint64_t rows, std::uint64_t outputs,
                                   std::uint64_t step, std::vector<models::Matrix>& shares) {
    const std::uint64_t most =
        std::max<std::uint64_t>(1, evaluate_reply_bytes_max / (outputs * sizeof(double)));
    models::Matrix all;
    models::Matrix mine;
    models::Matrix sum;
    models::Matrix theirs;
    all.resize_uninitialized(rows, outputs);
    shares.clear();
    if (protocol.sees_scores())
        shares.assign(1 + run.parties().size(), models::Matrix(rows, outputs));
    for (std::uint64_t first = 0; first < rows; first += most) {
        EvaluateRequest request;
        request.table = side;
        request.first = first;
        request.rows = std::min(most, rows - first);
        Stamp stamp;
        stamp.term = run.term();
        stamp.step = step;
        stamp.table = side;
        stamp.first_row = first;
        Replies asked = run.parties().ask_all(message::evaluate, encode(request));
        co_await own.scores(side, first, request.rows, mine);
        if (!shares.empty()) copy_rows(mine, first, shares[0]);
        co_await protocol.start(stamp, mine, sum);
        const std::vector<Bytes> replies = co_await asked;
        for (std::size_t i = 0; i < replies.size(); ++i) {
            const auto reply = co_await run.said_by(i, decode_evaluate_reply(replies[i]));
            co_await run.said_by(i, protocol.add(stamp, i, reply.scores, sum));
            if (shares.empty()) continue;
            copy_tensor(reply.scores, theirs);
            copy_rows(theirs, first, shares[i + 1]);
        }
        co_await protocol.finish(stamp, sum);
        copy_rows(sum, first, all);
    }
    co_return all;
}

Result<EvaluateRequest> rows_asked(const MemberCall& call) {
    auto request = decode_evaluate_request(call.body);
    if (request && (request->table == TableKind::predict) != call.predicts)
        return fail(Errc::handler_failed, "cannot evaluate a " +
                                              std::string(name_of(request->table)) + " in a " +
                                              (call.predicts ? "prediction" : "training"));
    return request;
}

Result<Bytes> answer_rows(const RowScores& own, MemberProtocol& protocol, std::uint32_t term,
                          const MemberCall& call, models::Matrix& scratch) {
    const auto request = rows_asked(call);
    if (!request) return tl::unexpected(request.error());
    if (auto done = own.scores(request->table, request->first, request->rows, scratch); !done)
        return tl::unexpected(std::move(done.error()));
    Stamp stamp;
    stamp.term = term;
    stamp.step = call.step;
    stamp.table = request->table;
    stamp.first_row = request->first;
    const auto shared = protocol.share(stamp, scratch);
    if (!shared) return tl::unexpected(shared.error());
    return encode_scores(*shared);
}

Result<> note_begun(Run& run, std::size_t rank, const BeginReply& reply) {
    observe::RunReport& report = run.results();
    if (reply.train_rows != report.rows_train || reply.test_rows != report.rows_test)
        return fail(Errc::malformed_message, "splits into " + std::to_string(reply.train_rows) +
                                                 " and " + std::to_string(reply.test_rows) +
                                                 " rows, the master into " +
                                                 std::to_string(report.rows_train) + " and " +
                                                 std::to_string(report.rows_test));
    auto& party = report.parties[rank + 1];
    party.features = reply.features;
    party.missing_cells = reply.filled_cells;
    party.left_out.clear();
    for (const auto& [kind, columns] : reply.left_out)
        party.left_out.push_back({{}, std::string(data::describe(kind)), columns});
    return {};
}

Result<RestoreReply> restored_at(std::uint64_t step, Body body) {
    auto reply = decode_restore_reply(body);
    if (reply && reply->step != step)
        return fail(Errc::malformed_message, "is at step " + std::to_string(reply->step) +
                                                 " where " + std::to_string(step) +
                                                 " was to be restored");
    return reply;
}

void warn_of_few_rows(const Run& run, std::size_t rank, std::uint64_t features,
                      std::uint64_t rows) {
    if (features == 0 || rows >= 4 * features) return;
    const config::AgreedHalf& agreed = run.config();
    const std::string& member = run.report().parties[rank + 1].name;
    const bool batches = agreed.model.solver != config::Solver::lbfgs;
    std::string line = member + " has " + std::to_string(features) + " columns, and " +
                       (batches ? "the shortest batch " : "the training ") + std::to_string(rows) +
                       " rows: ";
    line += rows <= features
                ? "from its own columns and its gradient alone it can compute the residuals of "
                  "these rows, and so their labels"
                : "with fewer than four rows for each column its gradients, over some steps, may "
                  "tell it labels";
    if (agreed.run.protocol != config::Protocol::encrypted) {
        // nothing that it is not told anyway, and no other size of batches would change that
        line += "; protocol " + std::string(config::name_of(agreed.run.protocol)) +
                " shows it the residuals as well";
        run.log(observe::log::Level::info, line);
        return;
    }
    const std::string enough = std::to_string(4 * features);
    line += batches ? ". Change model.batch_size (" + std::to_string(agreed.model.batch_size) +
                          ") so that no batch, the last one of an epoch included, has fewer than " +
                          enough + " rows; 0 is one batch of all rows"
                    : ". Train with " + enough + " rows at least, or with fewer of its columns";
    run.log(observe::log::Level::warn,
            (rows <= features ? "LABELS ARE NOT HIDDEN: " : "labels may not stay hidden: ") + line);
}

void say_encryption(const Run& run, std::size_t rank, const std::string& plan) {
    if (plan.empty()) return;
    run.log(observe::log::Level::info,
            "encryption for " + run.report().parties[rank + 1].name + ": " + plan);
}

BeginReply begin_reply(const Party& party) {
    BeginReply reply;
    reply.features = party.features();
    reply.filled_cells = party.prepared().filled_cells;
    std::map<data::LeftOutKind, std::uint64_t> left_out;
    for (const auto& column : party.prepared().removed) ++left_out[column.kind];
    reply.left_out.assign(left_out.begin(), left_out.end());
    reply.train_rows = party.rows(TableKind::train).size();
    reply.test_rows = party.rows(TableKind::test).size();
    return reply;
}

Result<> check_message_rows(std::uint64_t rows, std::uint64_t outputs,
                            std::uint64_t message_bytes_max, std::string_view advice) {
    const std::uint64_t row_bytes = outputs * sizeof(double);
    // a quarter is left for the numbers beside the tensor, and for what a protocol adds
    const std::uint64_t room = message_bytes_max - message_bytes_max / 4;
    if (rows == 0 || rows <= room / row_bytes) return {};
    return fail(Errc::too_large, "a batch of " + std::to_string(rows) + " rows with " +
                                     std::to_string(outputs) + " outputs makes messages of " +
                                     human_bytes(rows * row_bytes) + ", more than a message of " +
                                     human_bytes(message_bytes_max) +
                                     " (bus.message_bytes_max) holds: " + std::string(advice));
}

}  // namespace vflbus::actors::linear
