#include "actors/training/linear/rows.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace vflbus::actors::linear {

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

void warn_of_few_rows(const Run& run, std::size_t rank, std::uint64_t features,
                      std::uint64_t rows) {
    if (features == 0 || rows >= 4 * features) return;
    const config::AgreedHalf& agreed = run.config();
    if (agreed.privacy.noise_multiplier >= 1) return;  // what it gets of them has noise
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
    if (agreed.run.protocol != config::Protocol::encrypted &&
        agreed.run.protocol != config::Protocol::arbitered) {
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

void say_lines(const Run& run, const std::vector<std::string>& lines) {
    for (std::size_t rank = 0; rank < lines.size(); ++rank)
        if (!lines[rank].empty())
            run.log(observe::log::Level::info,
                    "line to " + run.report().parties[rank + 1].name + ": " + lines[rank]);
}

}  // namespace vflbus::actors::linear
