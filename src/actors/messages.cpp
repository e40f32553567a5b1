#include "actors/messages.hpp"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "data/labels.hpp"

namespace vflbus::actors {
namespace {

using bus::Reader;
using bus::Writer;

constexpr std::size_t id_bytes = std::tuple_size_v<Hash128>;
/// Around the raw bytes of a tensor: array and string markers, shape, length.
constexpr std::size_t tensor_overhead_bytes = 48;

Body bytes_of(std::span<const Hash128> ids) {
    return {reinterpret_cast<const std::uint8_t*>(ids.data()), ids.size() * id_bytes};
}

TableKind read_table(Reader& r) {
    return static_cast<TableKind>(r.u64(table_kinds - 1));
}

Result<StoredCommit> decode_stored(std::string_view what, Body body) {
    Reader r(what, body, 2);
    StoredCommit m;
    m.step = r.u64();
    r.fixed_bin(m.digest);
    return finished(r, std::move(m));
}

Result<StepRequest> decode_stepping(std::string_view what, Body body) {
    Reader r(what, body, 2);
    StepRequest m;
    m.step = r.u64();
    m.tensor = r.tensor();
    return finished(r, std::move(m));
}

}  // namespace

namespace message {

std::string name_of(MessageType type) {
    switch (type) {
        case echo:
            return "echo";
        case finish:
            return "finish";
        case release:
            return "release";
        case commit:
            return "commit";
        case commits:
            return "commits";
        case restore:
            return "restore";
        case keep:
            return "keep";
        case psi_begin:
            return "psi_begin";
        case psi_take:
            return "psi_take";
        case psi_give:
            return "psi_give";
        case psi_undo:
            return "psi_undo";
        case psi_common:
            return "psi_common";
        case psi_digest:
            return "psi_digest";
        case psi_digests:
            return "psi_digests";
        case psi_tags:
            return "psi_tags";
        case align:
            return "align";
        case select:
            return "select";
        case begin:
            return "begin";
        case step:
            return "step";
        case solve:
            return "solve";
        case evaluate:
            return "evaluate";
        case load_model:
            return "load_model";
        case round:
            return "round";
        case describe:
            return "describe";
        case bins:
            return "bins";
        case count:
            return "count";
        case informed:
            return "informed";
        case recall:
            return "recall";
        case forget:
            return "forget";
        case arbiter_key:
            return "arbiter_key";
        case open:
            return "open";
        default:
            return "message " + std::to_string(type);
    }
}

}  // namespace message

std::string_view name_of(TableKind kind) noexcept {
    switch (kind) {
        case TableKind::train:
            return "training table";
        case TableKind::test:
            return "test table";
        case TableKind::predict:
            return "prediction table";
    }
    return "table";
}

Writer& put_tensor(Writer& writer, const SentTensor& tensor) {
    const models::ConstMatrixView& values = tensor.values;
    return tensor.is_ring ? writer.ring_tensor(tensor.words, values.rows, values.cols)
                          : writer.tensor(values.span(), values.rows, values.cols);
}

void copy_tensor(const TensorView& from, models::Matrix& out) {
    out.resize_uninitialized(from.rows, from.cols);
    from.copy_to(out.span());
}

// -- encoding -------------------------------------------------------------------

Bytes encode_empty() {
    Writer w;
    return w.array(0).take();
}

Bytes encode(const AlignRequest& m) {
    Writer w;
    return w.array(1).u64(static_cast<std::uint64_t>(m.table)).take();
}

namespace {

/// Each with its length in front: 4 bytes, the low one first.
Bytes packed_ids(const std::vector<std::string_view>& ids) {
    Bytes out;
    for (const std::string_view id : ids) {
        for (int byte = 0; byte < 4; ++byte)
            out.push_back(static_cast<std::uint8_t>(id.size() >> (8 * byte)));
        out.insert(out.end(), id.begin(), id.end());
    }
    return out;
}

void hash_packed_ids(Body ids, const std::string& salt, std::vector<Hash128>& out, Reader& r) {
    while (!ids.empty()) {
        std::size_t size = 0;
        for (std::size_t byte = 0; byte < 4 && byte < ids.size(); ++byte)
            size |= std::size_t{ids[byte]} << (8 * byte);
        if (ids.size() < 4 || size > ids.size() - 4)
            return r.fault("the ids are not each as long as it says");
        // no table has one, and a list of them would take four times its own size
        if (size == 0) return r.fault("an id has no characters");
        out.push_back(hash128({reinterpret_cast<const char*>(ids.data()) + 4, size}, salt));
        ids = ids.subspan(4 + size);
    }
}

}  // namespace

Bytes encode(const AlignReply& m, const data::LocalIds& local,
             const std::vector<std::string_view>* clear) {
    Writer w;
    const Bytes texts = clear == nullptr ? Bytes{} : packed_ids(*clear);
    const Body ids = clear == nullptr ? bytes_of(local.ids) : Body(texts);
    w.reserve(ids.size() + local.counts.size() * sizeof(std::uint32_t) + 128);
    w.array(8).boolean(m.present).bin(ids).u32s(local.counts);
    w.u64(m.rows).u64(m.duplicate_rows).u64(m.missing_cells).u64(m.columns);
    return w.bin(data::packed(local.shape)).take();
}

Bytes encode(const SelectRequest& m) {
    Writer w;
    const auto& s = m.selection;
    w.reserve(s.bitmap.size() + (s.outer.size() + s.inner.size()) * sizeof(std::uint32_t) +
              s.held.size() + 64);
    w.array(6).u64(static_cast<std::uint64_t>(m.table));
    return w.bin(s.bitmap).u32s(s.outer).u32s(s.inner).u64(m.rows).bin(s.held).take();
}

Bytes encode(const SelectReply& m) {
    Writer w;
    return w.array(3).u64(m.rows).u64(m.filled_cells).u64(m.unseen_values).take();
}

Bytes encode(const RecallRequest& m) {
    Writer w;
    w.array(3).u64(m.take ? 1 : 0).bin(m.made_in.run.bytes);
    return w.u64(m.made_in.term).take();
}

Bytes encode(const RecallReply& m) {
    Writer w;
    return w.array(3).u64(m.kept ? 1 : 0).u64(m.train_rows).u64(m.test_rows).take();
}

Bytes encode(const BeginRequest& m) {
    Writer w;
    w.reserve(m.test_rows.size() + 64);
    return w.array(3).u64(m.outputs).bin(m.test_rows).u64(m.first).take();
}

Bytes encode(const BeginReply& m, const SentTensor& scores) {
    Writer w;
    w.reserve(scores.values.size() * sizeof(double) + 4096);
    w.array(6).u64(m.features).u64(m.filled_cells);
    w.array(m.left_out.size());
    for (const auto& [kind, columns] : m.left_out)
        w.array(2).u64(static_cast<std::uint64_t>(kind)).u64(columns);
    w.u64(m.train_rows).u64(m.test_rows);
    return put_tensor(w, scores).take();
}

Bytes encode_step(std::uint64_t step, const SentTensor& values) {
    Writer w;
    w.reserve(values.values.size() * sizeof(double) + tensor_overhead_bytes);
    w.array(2).u64(step);
    return put_tensor(w, values).take();
}

Bytes encode_scores(const SentTensor& scores) {
    Writer w;
    w.reserve(scores.values.size() * sizeof(double) + tensor_overhead_bytes);
    w.array(1);
    return put_tensor(w, scores).take();
}

Bytes encode_solved(models::ConstMatrixView scores, models::ConstMatrixView next) {
    Writer w;
    w.reserve((scores.size() + next.size()) * sizeof(double) + 2 * tensor_overhead_bytes);
    w.array(2);
    put_tensor(w, scores);
    return put_tensor(w, next).take();
}

Bytes encode(const EvaluateRequest& m) {
    Writer w;
    return w.array(3).u64(static_cast<std::uint64_t>(m.table)).u64(m.first).u64(m.rows).take();
}

Bytes encode(const LoadModelRequest& m) {
    Writer w;
    return w.array(1).bin(m.run.bytes).take();
}

Bytes encode(const LoadModelReply& m) {
    Writer w;
    return w.array(4).bin(m.run.bytes).bin(m.agreed).u64(m.features).u64(m.outputs).take();
}

Bytes encode(const RoundRequest& m) {
    Writer w;
    w.array(4).u64(static_cast<std::uint64_t>(m.moment)).u64(m.step).u64(m.round);
    return w.bin(m.payload).take();
}

Bytes encode(const RoundReply& m) {
    Writer w;
    return w.array(1).bin(m.payload).take();
}

Bytes encode(const FinishReply& m) {
    Writer w;
    return w.array(3).bin(m.digest).str(m.path).u64(m.bytes).take();
}

Bytes encode_commit(std::uint64_t step) {
    Writer w;
    return w.array(1).u64(step).take();
}

Bytes encode_keep(std::uint64_t step, bool back) {
    Writer w;
    return w.array(2).u64(step).u64(back ? 1 : 0).take();
}

Bytes encode(const StoredCommit& m) {
    Writer w;
    return w.array(2).u64(m.step).bin(m.digest).take();
}

Bytes encode(std::span<const StoredCommit> commits) {
    Writer w;
    w.array(commits.size());
    for (const StoredCommit& commit : commits) w.array(2).u64(commit.step).bin(commit.digest);
    return w.take();
}

Bytes encode_restored(std::uint64_t step, const SentTensor& scores) {
    return encode_step(step, scores);
}

// -- decoding -------------------------------------------------------------------

Result<> decode_empty(std::string_view what, Body body) {
    Reader r(what, body, 0);
    return r.finish();
}

Result<AlignRequest> decode_align_request(Body body) {
    Reader r("align", body, 1);
    AlignRequest m;
    m.table = read_table(r);
    return finished(r, std::move(m));
}

Result<AlignReply> decode_align_reply(Body body, const std::string* salt) {
    Reader r("align reply", body, 8);
    AlignReply m;
    m.present = r.boolean();
    const Body ids = r.bin();
    if (salt == nullptr && ids.size() % id_bytes != 0)
        r.fault("the ids are not a multiple of 16 bytes");
    m.counts = r.u32s();
    m.rows = r.u64();
    m.duplicate_rows = r.u64();
    m.missing_cells = r.u64();
    m.columns = r.u64();
    std::array<std::uint8_t, data::id_shape_bytes> shape{};
    r.fixed_bin(shape);
    if (!data::unpack(shape, m.shape)) r.fault("the shape of the ids is none");
    if (salt != nullptr && r.ok()) hash_packed_ids(ids, *salt, m.ids, r);
    if (auto done = r.finish(); !done) return tl::unexpected(done.error());
    if (salt != nullptr) return m;
    m.ids.resize(ids.size() / id_bytes);
    if (!ids.empty()) std::memcpy(m.ids.data(), ids.data(), ids.size());
    return m;
}

Result<SelectRequest> decode_select_request(Body body) {
    Reader r("select", body, 6);
    SelectRequest m;
    m.table = read_table(r);
    const Body bitmap = r.bin();
    m.selection.bitmap.assign(bitmap.begin(), bitmap.end());
    m.selection.outer = r.u32s();
    m.selection.inner = r.u32s();
    m.rows = r.u64(UINT32_MAX);
    const Body held = r.bin();
    m.selection.held.assign(held.begin(), held.end());
    return finished(r, std::move(m));
}

Result<SelectReply> decode_select_reply(Body body) {
    Reader r("select reply", body, 3);
    SelectReply m;
    m.rows = r.u64();
    m.filled_cells = r.u64();
    m.unseen_values = r.u64();
    return finished(r, std::move(m));
}

Result<RecallRequest> decode_recall_request(Body body) {
    Reader r("recall", body, 3);
    RecallRequest m;
    m.take = r.u64(1) == 1;
    r.fixed_bin(m.made_in.run.bytes);
    m.made_in.term = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
    return finished(r, std::move(m));
}

Result<RecallReply> decode_recall_reply(Body body) {
    Reader r("recall reply", body, 3);
    RecallReply m;
    m.kept = r.u64(1) == 1;
    m.train_rows = r.u64();
    m.test_rows = r.u64();
    return finished(r, std::move(m));
}

Result<BeginRequest> decode_begin_request(Body body) {
    Reader r("begin", body, 3);
    BeginRequest m;
    m.outputs = r.u64(data::classes_max);
    if (r.ok() && m.outputs == 0) r.fault("no outputs");
    m.test_rows = r.bin();
    m.first = r.u64();
    return finished(r, std::move(m));
}

Result<BeginReply> decode_begin_reply(Body body) {
    Reader r("begin reply", body, 6);
    BeginReply m;
    m.features = r.u64();
    m.filled_cells = r.u64();
    const std::size_t listed = r.enter();
    for (std::size_t i = 0; i < listed && r.ok(); ++i) {
        r.enter(2);
        const auto kind = static_cast<data::LeftOutKind>(r.u64(data::left_out_kinds - 1));
        if (r.ok() && !m.left_out.empty() && kind <= m.left_out.back().first)
            r.fault("kinds of left out columns that do not ascend");
        m.left_out.emplace_back(kind, r.u64());
        r.leave();
    }
    r.leave();
    m.train_rows = r.u64();
    m.test_rows = r.u64();
    m.scores = r.tensor();
    return finished(r, std::move(m));
}

Result<StepRequest> decode_step_request(Body body) {
    return decode_stepping("step", body);
}
Result<StepRequest> decode_solve_request(Body body) {
    return decode_stepping("solve", body);
}

Result<StepReply> decode_step_reply(Body body) {
    Reader r("step reply", body, 1);
    StepReply m;
    m.scores = r.tensor();
    return finished(r, std::move(m));
}

Result<SolveReply> decode_solve_reply(Body body) {
    Reader r("solve reply", body, 2);
    SolveReply m;
    m.scores = r.tensor();
    m.next = r.tensor();
    return finished(r, std::move(m));
}

Result<EvaluateRequest> decode_evaluate_request(Body body) {
    Reader r("evaluate", body, 3);
    EvaluateRequest m;
    m.table = read_table(r);
    m.first = r.u64(UINT32_MAX);
    m.rows = r.u64(UINT32_MAX);
    return finished(r, std::move(m));
}

Result<EvaluateReply> decode_evaluate_reply(Body body) {
    Reader r("evaluate reply", body, 1);
    EvaluateReply m;
    m.scores = r.tensor();
    return finished(r, std::move(m));
}

Result<LoadModelRequest> decode_load_model_request(Body body) {
    Reader r("load_model", body, 1);
    LoadModelRequest m;
    r.fixed_bin(m.run.bytes);
    return finished(r, std::move(m));
}

Result<LoadModelReply> decode_load_model_reply(Body body) {
    Reader r("load_model reply", body, 4);
    LoadModelReply m;
    r.fixed_bin(m.run.bytes);
    r.fixed_bin(m.agreed);
    m.features = r.u64();
    m.outputs = r.u64();
    return finished(r, std::move(m));
}

Result<RoundRequest> decode_round_request(Body body) {
    Reader r("round", body, 4);
    RoundRequest m;
    m.moment = static_cast<Moment>(r.u64(1));
    m.step = r.u64();
    m.round = r.u64();
    m.payload = r.bin();
    return finished(r, std::move(m));
}

Result<RoundReply> decode_round_reply(Body body) {
    Reader r("round reply", body, 1);
    RoundReply m;
    m.payload = r.bin();
    return finished(r, std::move(m));
}

Result<FinishReply> decode_finish_reply(Body body) {
    Reader r("finish reply", body, 3);
    FinishReply m;
    r.fixed_bin(m.digest);
    m.path = r.str();
    m.bytes = r.u64();
    return finished(r, std::move(m));
}

Result<std::uint64_t> decode_commit_request(Body body) {
    Reader r("commit", body, 1);
    const std::uint64_t step = r.u64();
    return finished(r, std::uint64_t{step});
}

Result<KeepRequest> decode_keep(Body body) {
    Reader r("keep", body, 2);
    KeepRequest request;
    request.step = r.u64();
    const std::uint64_t back = r.u64();
    if (back > 1) return fail(Errc::malformed_message, "keep says neither 0 nor 1");
    request.back = back == 1;
    return finished(r, std::move(request));
}

Result<StoredCommit> decode_commit_reply(Body body) {
    return decode_stored("commit reply", body);
}
Result<StoredCommit> decode_restore_request(Body body) {
    return decode_stored("restore", body);
}

Result<std::vector<StoredCommit>> decode_commits_reply(Body body) {
    // an array of as many as there are: read as one element
    Bytes wrapped{0x91};
    wrapped.insert(wrapped.end(), body.begin(), body.end());
    Reader r("commits reply", wrapped, 1);
    std::vector<StoredCommit> out;
    const std::size_t count = r.enter();
    if (count > commits_listed_max) r.fault("too many commits");
    for (std::size_t i = 0; i < count && r.ok(); ++i) {
        r.enter(2);
        StoredCommit m;
        m.step = r.u64();
        r.fixed_bin(m.digest);
        r.leave();
        if (!out.empty() && m.step <= out.back().step) r.fault("the steps do not ascend");
        out.push_back(m);
    }
    if (r.ok()) r.leave();
    return finished(r, std::move(out));
}

Result<RestoreReply> decode_restore_reply(Body body) {
    auto read = decode_stepping("restore reply", body);
    if (!read) return tl::unexpected(std::move(read.error()));
    return RestoreReply{read->step, read->tensor};
}

}  // namespace vflbus::actors
