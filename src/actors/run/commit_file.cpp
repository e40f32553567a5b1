#include "actors/run/commit_file.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>
#include <tuple>
#include <utility>

#include "base/planted.hpp"
#include "base/text.hpp"
#include "bus/wire/codec.hpp"

namespace vflbus::actors {
namespace {

using bus::Reader;
using bus::Writer;

constexpr std::string_view magic = "vflbus-commit-2\n";
/// How the files of version 1 begin: an array of six elements, then its version.
constexpr std::string_view magic_of_version_1 = "\x96\x01";
constexpr std::size_t length_bytes = 8;
constexpr std::size_t checksum_bytes = std::tuple_size_v<Hash256>;
constexpr std::string_view prefix = "commit-";
/// A history grows with the run, other than a message.
constexpr bus::DecodeLimits limits{.elements_max = std::size_t{1} << 26,
                                   .bytes_max = state_bytes_max,
                                   .elements_total_max = std::size_t{1} << 29};

void put(Writer& w, const observe::Metrics& metrics) {
    w.array(metrics.size());
    for (const auto& [name, value] : metrics) w.array(2).str(name).f64(value);
}

observe::Metrics metrics_of(Reader& r) {
    observe::Metrics out;
    const std::size_t metrics = r.enter();
    for (std::size_t m = 0; m < metrics && r.ok(); ++m) {
        r.enter(2);
        std::string name = r.str();
        out.emplace_back(std::move(name), r.f64());
        r.leave();
    }
    r.leave();
    return out;
}

void put(Writer& w, const FoldsCommit& folds) {
    w.array(5).u64(folds.fit).u64(folds.first).array(folds.results.size());
    for (const observe::FoldReport& fold : folds.results) {
        // 0: the solver does not converge; 1: it has not; 2: it has
        const std::uint64_t converged = !fold.converged ? 0 : *fold.converged ? 2 : 1;
        w.array(9).u64(fold.rows_train).u64(fold.rows_test).u64(fold.steps).u64(converged);
        w.u64(fold.iterations);
        for (const observe::Metrics* metrics : {&fold.train, &fold.test, &fold.label_holder_alone})
            put(w, *metrics);
        w.array(fold.notes.size());
        for (const std::string& note : fold.notes) w.str(note);
    }
    w.u64(folds.outputs);
    w.bin({reinterpret_cast<const std::uint8_t*>(folds.predictions.data()),
           folds.predictions.size() * sizeof(double)});
}

observe::FoldReport fold_of(Reader& r) {
    observe::FoldReport fold;
    r.enter(9);
    fold.rows_train = r.u64();
    fold.rows_test = r.u64();
    fold.steps = r.u64();
    if (const std::uint64_t converged = r.u64(2); converged != 0) fold.converged = converged == 2;
    fold.iterations = r.u64();
    for (observe::Metrics* metrics : {&fold.train, &fold.test, &fold.label_holder_alone})
        *metrics = metrics_of(r);
    const std::size_t notes = r.enter();
    for (std::size_t n = 0; n < notes && r.ok(); ++n) fold.notes.push_back(r.sentence());
    r.leave();
    r.leave();
    return fold;
}

FoldsCommit folds_of(Reader& r) {
    FoldsCommit folds;
    r.enter(5);
    folds.fit = r.u64();
    folds.first = r.u64();
    const std::size_t results = r.enter();
    for (std::size_t i = 0; i < results && r.ok(); ++i) folds.results.push_back(fold_of(r));
    r.leave();
    folds.outputs = r.u64();
    const auto bytes = r.bin(state_bytes_max);
    folds.predictions.resize(bytes.size() / sizeof(double));
    if (!folds.predictions.empty())
        std::memcpy(folds.predictions.data(), bytes.data(),
                    folds.predictions.size() * sizeof(double));
    r.leave();
    return folds;
}

void put(Writer& w, const MasterCommit& master) {
    w.array(master.folds ? 5 : 4).f64(master.loss).f64(master.losses.sum).u64(master.losses.steps);
    w.array(master.history.size());
    for (const observe::HistoryEntry& entry : master.history) {
        w.array(5).u64(entry.step).u64(entry.epoch).f64(entry.loss).str(entry.split);
        put(w, entry.metrics);
    }
    if (master.folds) put(w, *master.folds);
}

MasterCommit master_of(Reader& r, bool folds) {
    MasterCommit master;
    master.loss = r.f64();
    master.losses.sum = r.f64();
    master.losses.steps = r.u64();
    const std::size_t entries = r.enter();
    for (std::size_t i = 0; i < entries && r.ok(); ++i) {
        observe::HistoryEntry entry;
        r.enter(5);
        entry.step = r.u64();
        entry.epoch = r.u64();
        entry.loss = r.f64();
        entry.split = r.str();
        entry.metrics = metrics_of(r);
        r.leave();
        master.history.push_back(std::move(entry));
    }
    r.leave();
    if (folds) master.folds = folds_of(r);
    return master;
}

std::span<const std::uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::uint64_t length_at(std::string_view file, std::size_t at) {
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < length_bytes; ++i)
        length |= std::uint64_t{static_cast<std::uint8_t>(file[at + i])} << (8 * i);
    return length;
}

/// The number behind `name`, when that is all there is.
template <class T>
std::optional<T> number(std::string_view text) {
    T value{};
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (ec != std::errc() || end != text.data() + text.size()) return {};
    return value;
}

}  // namespace

std::string encode(const Commit& commit) {
    Writer w;
    w.array(7).bin(commit.run.bytes).u64(commit.step);
    w.array(3).bin(commit.alignment.table).bin(commit.alignment.rows);
    w.bin(commit.alignment.features);
    w.str(commit.algorithm.name).u64(commit.algorithm.version).u64(commit.state.size());
    if (commit.master)
        put(w, *commit.master);
    else
        w.array(0);
    const Bytes head = w.take();
    std::string file;
    file.reserve(magic.size() + length_bytes + head.size() + commit.state.size() + checksum_bytes);
    file += magic;
    for (std::size_t i = 0; i < length_bytes; ++i)
        file += static_cast<char>(std::uint64_t{head.size()} >> (8 * i));
    file.append(reinterpret_cast<const char*>(head.data()), head.size());
    file += commit.state;
    const Hash256 checksum = hash256(file);
    file.append(reinterpret_cast<const char*>(checksum.data()), checksum.size());
    return file;
}

Result<Commit> decode_commit(std::string_view file, std::string_view path) {
    const auto damaged = [&](const std::string& why) {
        return fail(Errc::state_lost, std::string(path) + " is damaged: " + why);
    };
    if (file.starts_with(magic_of_version_1))
        return fail(Errc::state_lost,
                    std::string(path) +
                        " was written by an earlier version of vflbus (commits of version 1, this "
                        "one has version 2): finish the run with that version");
    if (file.size() < magic.size() + length_bytes + checksum_bytes)
        return damaged("it is too short");
    if (!file.starts_with(magic)) return damaged("it is no commit of version 2");
    const std::string_view body = file.substr(0, file.size() - checksum_bytes);
    Hash256 checksum{};
    std::ranges::copy(bytes_of(file.substr(body.size())), checksum.begin());
    if (hash256(body) != checksum && !VFLBUS_PLANTED(digest_not_checked))
        return damaged("its checksum is wrong");
    const std::uint64_t head_bytes = length_at(file, magic.size());
    const std::string_view rest = body.substr(magic.size() + length_bytes);
    if (head_bytes > rest.size()) return damaged("its head is cut off");

    Commit commit;
    Reader r("commit file", bytes_of(rest.substr(0, head_bytes)), 7, limits);
    r.fixed_bin(commit.run.bytes);
    commit.step = r.u64();
    r.enter(3);
    r.fixed_bin(commit.alignment.table);
    r.fixed_bin(commit.alignment.rows);
    r.fixed_bin(commit.alignment.features);
    r.leave();
    commit.algorithm.name = r.str();
    commit.algorithm.version = r.u64();
    const std::uint64_t state_bytes = r.u64();
    const std::size_t parts = r.enter();
    if (r.ok() && (parts == 4 || parts == 5)) commit.master = master_of(r, parts == 5);
    if (r.ok()) r.leave();
    if (auto done = r.finish(); !done) return damaged(done.error().sentence);
    if (state_bytes != rest.size() - head_bytes) return damaged("its state is cut off");
    commit.state = rest.substr(head_bytes);
    return commit;
}

Result<> same_alignment(const Commit& commit, const AlignmentDigest& now) {
    const AlignmentDigest& then = commit.alignment;
    if (then.table != now.table || (then.rows == now.rows && then.features != now.features))
        return fail(Errc::bad_data,
                    "the table is another one than at step " + std::to_string(commit.step) +
                        " of this run: put the earlier one back, or begin a new run");
    if (then != now)
        return fail(Errc::handler_failed, "the aligned rows are others than at step " +
                                              std::to_string(commit.step) +
                                              " of this run: the table of another party was "
                                              "changed");
    return {};
}

Result<> same_algorithm(const Commit& commit, const StateFormat& format) {
    if (commit.algorithm == format) return {};
    return fail(Errc::state_lost, "the commit of step " + std::to_string(commit.step) +
                                      " holds a state of " + commit.algorithm.name + ", version " +
                                      std::to_string(commit.algorithm.version) +
                                      "; this version of vflbus reads " + format.name +
                                      ", version " + std::to_string(format.version) +
                                      ": finish the run with the version that began it");
}

// -- the directory --------------------------------------------------------------------

std::filesystem::path CommitStore::path_of(std::uint64_t step) const {
    return directory_ / (std::string(prefix) + std::to_string(step));
}

Result<std::vector<std::uint64_t>> CommitStore::steps() {
    const auto names = env_->list(directory_);
    if (!names) return tl::unexpected(names.error());
    std::vector<std::uint64_t> out;
    for (const std::string& name : *names)
        if (name.starts_with(prefix))
            if (const auto step = number<std::uint64_t>(name.substr(prefix.size())))
                out.push_back(*step);
    std::ranges::sort(out);
    return out;
}

Result<Hash256> CommitStore::write(const Commit& commit) {
    if (commit.state.size() > bytes_max_)
        return fail(Errc::too_large, "the state of step " + std::to_string(commit.step) + " has " +
                                         human_bytes(commit.state.size()) + ", more than the " +
                                         human_bytes(bytes_max_) +
                                         " that a commit may have: use fewer features");
    const std::string file = encode(commit);
    if (auto done = env_->write_file(path_of(commit.step), file); !done)
        return tl::unexpected(done.error());
    const auto all = steps();
    if (!all) return tl::unexpected(all.error());
    // later ones are of a future that was given up: the owner never recorded them
    const auto self = std::ranges::find(*all, commit.step);
    for (auto at = all->begin(); at != all->end(); ++at) {
        const bool before = at < self && self - at == 1 && !VFLBUS_PLANTED(commit_removed_early);
        if (at == self || before) continue;
        if (auto done = env_->remove(path_of(*at)); !done) return tl::unexpected(done.error());
    }
    return hash256(file);
}

Result<std::vector<StoredCommit>> CommitStore::intact(const RunId& run) {
    const auto all = steps();
    if (!all) return tl::unexpected(all.error());
    std::vector<StoredCommit> out;
    for (const std::uint64_t step : *all) {
        const auto file = env_->read_file(path_of(step));
        if (!file) continue;
        const auto commit = decode_commit(*file, path_of(step).string());
        // said by name, and not taken for one that is lost
        if (file->starts_with(magic_of_version_1)) return tl::unexpected(commit.error());
        if (commit && commit->run == run && commit->step == step)
            out.push_back({step, hash256(*file)});
    }
    if (out.size() > commits_listed_max)
        out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(commits_listed_max));
    return out;
}

Result<Commit> CommitStore::read(const StoredCommit& which) {
    const std::filesystem::path path = path_of(which.step);
    const auto file = env_->read_file(path);
    if (!file) return fail(Errc::state_lost, file.error().sentence);
    if (hash256(*file) != which.digest && !VFLBUS_PLANTED(digest_not_checked))
        return fail(Errc::state_lost, path.string() + " is not the commit that the run recorded");
    return decode_commit(*file, path.string());
}

Result<> CommitStore::forget_after(std::uint64_t step) {
    const auto all = steps();
    if (!all) return tl::unexpected(all.error());
    for (const std::uint64_t at : *all)
        if (at > step && !VFLBUS_PLANTED(later_commits_kept))
            if (auto done = env_->remove(path_of(at)); !done) return done;
    return {};
}

Result<std::uint32_t> CommitStore::term() {
    const std::filesystem::path path = directory_ / "term";
    if (!env_->exists(path)) return 0;
    const auto text = env_->read_file(path);
    if (!text) return tl::unexpected(text.error());
    const auto term = number<std::uint32_t>(std::string_view(*text).substr(0, text->find('\n')));
    if (!term)
        return fail(Errc::state_lost, path.string() +
                                          " is damaged: it holds no number; remove it when the "
                                          "run's owner is the right one");
    return *term;
}

Result<> CommitStore::write_term(std::uint32_t term) {
    return env_->write_file(directory_ / "term", std::to_string(term) + "\n");
}

Result<> CommitStore::remove() {
    return env_->remove(directory_);
}

}  // namespace vflbus::actors
