#include "actors/training/halves.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <string>

#include "actors/run/run.hpp"
#include "base/text.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::actors {
namespace {

/// `scores` with the part of one party, `share`, replaced by its mean over the rows, the same for
/// every row.
models::Matrix scores_with_mean(const models::Matrix& scores, const models::Matrix& share) {
    models::Matrix rest = scores;
    for (std::size_t c = 0; c < rest.cols(); ++c) {
        const auto own = share.col(c);
        const double mean =
            std::accumulate(own.begin(), own.end(), 0.0) / static_cast<double>(own.size());
        for (std::size_t i = 0; i < own.size(); ++i) rest(i, c) -= own[i] - mean;
    }
    return rest;
}

}  // namespace

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

Result<EvaluateRequest> rows_asked(const MemberCall& call) {
    auto request = decode_evaluate_request(call.body);
    if (request && (request->table == TableKind::predict) != call.predicts)
        return fail(Errc::handler_failed, "cannot evaluate a " +
                                              std::string(name_of(request->table)) + " in a " +
                                              (call.predicts ? "prediction" : "training"));
    return request;
}

Result<> check_rows_asked(TableKind side, std::uint64_t rows, std::uint64_t first,
                          std::uint64_t count, std::size_t outputs) {
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

Task<std::vector<models::Matrix>> MasterHalf::scores_without(TableKind /*side*/,
                                                             std::uint64_t /*step*/,
                                                             const models::Matrix& scores) {
    std::vector<models::Matrix> all;
    for (const models::Matrix& share : shares()) all.push_back(scores_with_mean(scores, share));
    co_return all;
}

void copy_rows(models::ConstMatrixView part, std::uint64_t first, models::Matrix& all) {
    for (std::size_t c = 0; c < part.cols; ++c)
        std::ranges::copy(part.col(c), all.col(c).begin() + static_cast<std::ptrdiff_t>(first));
}

Result<RestoreReply> restored_at(std::uint64_t step, Body body) {
    auto reply = decode_restore_reply(body);
    if (reply && reply->step != step)
        return fail(Errc::malformed_message, "is at step " + std::to_string(reply->step) +
                                                 " where " + std::to_string(step) +
                                                 " was to be restored");
    return reply;
}

}  // namespace vflbus::actors
