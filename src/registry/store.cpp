#include "registry/store.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "bus/keys/allow_list.hpp"
#include "registry/registry.hpp"

namespace vflbus::registry {
namespace {

namespace fs = std::filesystem;
using bus::NodeRow;
using bus::NodeState;
using bus::RunRow;
using bus::RunState;

constexpr int application_id = 0x76666c62;  // "vflb"
constexpr int schema_version = 1;

constexpr const char* schema = R"(
CREATE TABLE runs(
  run BLOB PRIMARY KEY, state INTEGER, code INTEGER, reason TEXT, owner TEXT, role TEXT,
  open INTEGER, participants INTEGER, names TEXT, created INTEGER, started INTEGER,
  finished INTEGER, messages INTEGER, bytes INTEGER, term INTEGER,
  messages_before INTEGER DEFAULT 0, bytes_before INTEGER DEFAULT 0) WITHOUT ROWID;
CREATE INDEX runs_by_time ON runs(created);
CREATE TABLE nodes(
  name TEXT PRIMARY KEY, role TEXT, rank INTEGER, state INTEGER, version TEXT, features TEXT,
  first_seen INTEGER, last_seen INTEGER, runs INTEGER, messages INTEGER, bytes INTEGER,
  messages_before INTEGER DEFAULT 0, bytes_before INTEGER DEFAULT 0) WITHOUT ROWID;
)";

// A run that was noted before, by a serving master or by an earlier broker, keeps its beginning.
// Sizes count from its opening at this broker and are added to what they were when it was last
// over; a new one that was over begins there.
constexpr const char* put_run = R"(
INSERT INTO runs(run, state, code, reason, owner, role, open, participants, names, created,
                 started, finished, messages, bytes, term)
VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
ON CONFLICT(run) DO UPDATE SET
  messages_before = CASE WHEN runs.state IN (3,4,5,6) AND excluded.state IN (0,1,2)
                         THEN runs.messages ELSE runs.messages_before END,
  bytes_before = CASE WHEN runs.state IN (3,4,5,6) AND excluded.state IN (0,1,2)
                      THEN runs.bytes ELSE runs.bytes_before END,
  messages = excluded.messages + CASE WHEN runs.state IN (3,4,5,6) AND excluded.state IN (0,1,2)
                                      THEN runs.messages ELSE runs.messages_before END,
  bytes = excluded.bytes + CASE WHEN runs.state IN (3,4,5,6) AND excluded.state IN (0,1,2)
                                THEN runs.bytes ELSE runs.bytes_before END,
  state = excluded.state, code = excluded.code, reason = excluded.reason, owner = excluded.owner,
  role = excluded.role, open = excluded.open, participants = excluded.participants,
  names = CASE WHEN excluded.names = '' THEN runs.names ELSE excluded.names END,
  created = min(runs.created, excluded.created),
  started = CASE WHEN runs.started > 0 AND excluded.started > 0
                 THEN min(runs.started, excluded.started)
                 ELSE max(runs.started, excluded.started) END,
  finished = excluded.finished, term = excluded.term
)";

constexpr const char* owner_of_run = "SELECT owner FROM runs WHERE run = ?1";

constexpr const char* put_node = R"(
INSERT INTO nodes(name, role, rank, state, version, features, first_seen, last_seen, runs,
                  messages, bytes)
VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT(name) DO UPDATE SET
  messages_before = CASE WHEN excluded.first_seen > nodes.last_seen
                         THEN nodes.messages ELSE nodes.messages_before END,
  bytes_before = CASE WHEN excluded.first_seen > nodes.last_seen
                      THEN nodes.bytes ELSE nodes.bytes_before END,
  messages = excluded.messages + CASE WHEN excluded.first_seen > nodes.last_seen
                                      THEN nodes.messages ELSE nodes.messages_before END,
  bytes = excluded.bytes + CASE WHEN excluded.first_seen > nodes.last_seen
                                THEN nodes.bytes ELSE nodes.bytes_before END,
  role = excluded.role, rank = excluded.rank, state = excluded.state, version = excluded.version,
  features = excluded.features, last_seen = excluded.last_seen, runs = excluded.runs,
  first_seen = min(nodes.first_seen, excluded.first_seen)
)";

constexpr const char* run_columns =
    "run, state, code, reason, owner, role, open, participants, names, created, started, "
    "finished, messages, bytes, term";

std::string joined(const std::vector<std::string>& texts) {
    std::string out;
    for (const std::string& text : texts) {
        if (!out.empty()) out += ' ';
        out += text;
    }
    return out;
}

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        if (end != 0) out.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

}  // namespace

// -- a statement -----------------------------------------------------------------

struct Store::Impl {
    fs::path file;
    sqlite3* db = nullptr;
    std::map<std::string, sqlite3_stmt*> prepared;

    ~Impl() {
        for (const auto& [sql, statement] : prepared) sqlite3_finalize(statement);
        sqlite3_close(db);
    }

    [[nodiscard]] std::string name() const {
        return file.empty() ? "the registry in memory" : file.string();
    }

    [[nodiscard]] tl::unexpected<Failure> failure(const std::string& doing) const {
        const int code = sqlite3_errcode(db);
        if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
            return fail(Errc::bad_data,
                        name() + " is damaged or no registry of vflbus (" + sqlite3_errmsg(db) +
                            "); move it away, or name another directory with --state-dir");
        return fail(Errc::io, "cannot " + doing + " " + name() + ": " + sqlite3_errmsg(db));
    }

    Result<> execute(const char* sql, const std::string& doing) {
        if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return failure(doing);
        return {};
    }
};

namespace {

/// A prepared statement on its way; reset at the end.
class Statement {
  public:
    Statement(sqlite3* db, std::map<std::string, sqlite3_stmt*>& prepared, const std::string& sql) {
        sqlite3_stmt*& slot = prepared[sql];
        if (slot == nullptr)
            sqlite3_prepare_v3(db, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &slot, nullptr);
        statement_ = slot;
    }
    ~Statement() {
        if (statement_ == nullptr) return;
        sqlite3_reset(statement_);
        sqlite3_clear_bindings(statement_);
    }
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;

    Statement& text(std::string_view value) {
        sqlite3_bind_text(statement_, ++at_, value.data(), static_cast<int>(value.size()),
                          SQLITE_TRANSIENT);
        return *this;
    }
    Statement& number(std::uint64_t value) {
        return integer(static_cast<std::int64_t>(std::min<std::uint64_t>(value, INT64_MAX)));
    }
    Statement& integer(std::int64_t value) {
        sqlite3_bind_int64(statement_, ++at_, value);
        return *this;
    }
    Statement& blob(std::span<const std::uint8_t> value) {
        sqlite3_bind_blob(statement_, ++at_, value.data(), static_cast<int>(value.size()),
                          SQLITE_TRANSIENT);
        return *this;
    }
    /// True: a row; false: done, or a failure that `ok` tells.
    bool step() {
        column_ = 0;
        result_ = statement_ == nullptr ? SQLITE_ERROR : sqlite3_step(statement_);
        return result_ == SQLITE_ROW;
    }
    [[nodiscard]] bool ok() const { return result_ == SQLITE_DONE || result_ == SQLITE_ROW; }

    std::string text() {
        const int column = column_++;
        const auto* chars = sqlite3_column_text(statement_, column);
        return chars == nullptr
                   ? std::string()
                   : std::string(
                         reinterpret_cast<const char*>(chars),
                         static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
    }
    std::int64_t integer() { return sqlite3_column_int64(statement_, column_++); }
    std::uint64_t number() {
        return static_cast<std::uint64_t>(std::max<std::int64_t>(0, integer()));
    }
    RunId run() {
        RunId id;
        const int column = column_++;
        const void* bytes = sqlite3_column_blob(statement_, column);
        if (bytes != nullptr && sqlite3_column_bytes(statement_, column) == 16)
            std::memcpy(id.bytes.data(), bytes, 16);
        return id;
    }

  private:
    sqlite3_stmt* statement_ = nullptr;
    int at_ = 0;
    int column_ = 0;
    int result_ = SQLITE_OK;
};

template <class State>
State state_of(std::int64_t number, State last) {
    return number < 0 || number > static_cast<std::int64_t>(last) ? last
                                                                  : static_cast<State>(number);
}

RunRow run_row(Statement& s) {
    RunRow row;
    row.run = s.run();
    row.state = state_of(s.integer(), RunState::unknown);
    row.code = static_cast<Errc>(s.integer());
    row.reason = s.text();
    row.owner = s.text();
    row.role = s.text();
    row.open = s.integer() != 0;
    row.participants = s.number();
    row.names = split(s.text());
    row.created_ms = s.number();
    row.started_ms = s.number();
    row.finished_ms = s.number();
    row.messages = s.number();
    row.bytes = s.number();
    row.term = static_cast<std::uint32_t>(s.integer());
    return row;
}

}  // namespace

// -- the store -------------------------------------------------------------------

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(const fs::path& file) {
    auto impl = std::make_unique<Impl>();
    impl->file = file;
    const std::string path = file.empty() ? ":memory:" : file.string();
    constexpr int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path.c_str(), &impl->db, flags, nullptr) != SQLITE_OK)
        return impl->failure("open");
    sqlite3_busy_timeout(impl->db, 5000);
    sqlite3_db_config(impl->db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);

    const auto pragma = [&](const char* sql) -> Result<std::string> {
        Statement s(impl->db, impl->prepared, sql);
        if (s.step()) return s.text();
        if (!s.ok()) return impl->failure("read");
        return std::string();
    };
    const auto id = pragma("PRAGMA application_id");
    if (!id) return tl::unexpected(id.error());
    const auto version = pragma("PRAGMA user_version");
    if (!version) return tl::unexpected(version.error());
    const auto tables = pragma("SELECT count(*) FROM sqlite_schema");
    if (!tables) return tl::unexpected(tables.error());
    const bool fresh = *tables == "0" && *id == "0";
    if (!fresh && *id != std::to_string(application_id))
        return fail(Errc::bad_data, impl->name() +
                                        " is the database of another program; move it away, or "
                                        "name another directory with --state-dir");
    if (!fresh && *version != std::to_string(schema_version))
        return fail(Errc::bad_data, impl->name() + " was written by another version of vflbus (" +
                                        *version + ", this one writes " +
                                        std::to_string(schema_version) +
                                        "); move it away, or use that version");
    if (!fresh) {
        const auto check = pragma("PRAGMA quick_check(1)");
        if (!check) return tl::unexpected(check.error());
        if (*check != "ok")
            return fail(Errc::bad_data,
                        impl->name() +
                            " is damaged; move it away, or name another directory with "
                            "--state-dir");
    }
    if (const auto wal = pragma("PRAGMA journal_mode = WAL"); !wal)
        return tl::unexpected(wal.error());
    // what a power failure takes back is the last moments of a table that nothing depends on
    const std::string set_up =
        "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -2000; PRAGMA temp_store = MEMORY;" +
        (fresh ? std::string("BEGIN;") + schema +
                     "PRAGMA application_id = " + std::to_string(application_id) +
                     "; PRAGMA user_version = " + std::to_string(schema_version) + "; COMMIT;"
               : std::string());
    if (const auto done = impl->execute(set_up.c_str(), "write"); !done)
        return tl::unexpected(done.error());
    return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Result<> Store::begin() {
    return impl_->execute("BEGIN IMMEDIATE", "write");
}
Result<> Store::commit() {
    return impl_->execute("COMMIT", "write");
}
void Store::rollback() noexcept {
    sqlite3_exec(impl_->db, "ROLLBACK", nullptr, nullptr, nullptr);
}

Result<> Store::put(const RunRow& row) {
    {
        // whoever learns the id of a run could otherwise rewrite what is known of it
        Statement before(impl_->db, impl_->prepared, owner_of_run);
        before.blob(row.run.bytes);
        if (before.step()) {
            const std::string owner = before.text();
            if (!bus::speaks_for(owner, row.owner) && !bus::speaks_for(row.owner, owner)) return {};
        }
    }
    Statement s(impl_->db, impl_->prepared, put_run);
    s.blob(row.run.bytes).integer(static_cast<int>(row.state));
    s.integer(static_cast<int>(row.code)).text(row.reason).text(row.owner).text(row.role);
    s.integer(row.open ? 1 : 0).number(row.participants).text(joined(row.names));
    s.number(row.created_ms).number(row.started_ms).number(row.finished_ms);
    s.number(row.messages).number(row.bytes).number(row.term);
    s.step();
    if (!s.ok()) return impl_->failure("write");
    return {};
}

Result<> Store::put(const NodeRow& row) {
    Statement s(impl_->db, impl_->prepared, put_node);
    s.text(row.name).text(row.role).integer(row.rank).integer(static_cast<int>(row.state));
    s.text(row.version).text(joined(row.features)).number(row.first_seen_ms);
    s.number(row.last_seen_ms).number(row.runs).number(row.messages).number(row.bytes);
    s.step();
    if (!s.ok()) return impl_->failure("write");
    return {};
}

Result<> Store::forget_what_ran() {
    return impl_->execute(
        "UPDATE runs SET state = 6 WHERE state IN (0,1,2);"
        "UPDATE nodes SET state = 4, runs = 0 WHERE state IN (0,1,2);",
        "write");
}

Result<> Store::trim(std::uint64_t runs_max, std::uint64_t nodes_max) {
    {
        Statement s(impl_->db, impl_->prepared,
                    "DELETE FROM runs WHERE run IN (SELECT run FROM runs WHERE state > 2 "
                    "ORDER BY created DESC LIMIT -1 OFFSET ?1)");
        s.number(runs_max);
        s.step();
        if (!s.ok()) return impl_->failure("write");
    }
    Statement s(impl_->db, impl_->prepared,
                "DELETE FROM nodes WHERE name IN (SELECT name FROM nodes WHERE state > 1 "
                "ORDER BY last_seen DESC LIMIT -1 OFFSET ?1)");
    s.number(nodes_max);
    s.step();
    if (!s.ok()) return impl_->failure("write");
    return {};
}

Result<std::vector<RunRow>> Store::runs(const std::string& status, std::uint64_t limit) {
    std::string states;
    for (int i = 0; i <= static_cast<int>(RunState::unknown); ++i)
        if (bus::matches(static_cast<RunState>(i), status))
            states += (states.empty() ? "" : ",") + std::to_string(i);
    if (states.empty())
        return fail(Errc::usage, "\"" + status +
                                     "\" is no state of a run; there are pending, starting, "
                                     "running, completed, failed, stopped, unknown and finished");
    Statement s(impl_->db, impl_->prepared,
                "SELECT " + std::string(run_columns) + " FROM runs WHERE state IN (" + states +
                    ") ORDER BY state > 2, created DESC, run LIMIT ?1");
    s.number(limit);
    std::vector<RunRow> rows;
    while (s.step()) rows.push_back(run_row(s));
    if (!s.ok()) return impl_->failure("read");
    return rows;
}

Result<std::vector<RunRow>> Store::runs_with(const std::string& prefix, std::uint64_t limit) {
    Statement s(impl_->db, impl_->prepared,
                "SELECT " + std::string(run_columns) +
                    " FROM runs WHERE lower(hex(run)) GLOB ?1 || '*' "
                    "ORDER BY state > 2, created DESC, run LIMIT ?2");
    s.text(prefix).number(limit);
    std::vector<RunRow> rows;
    while (s.step()) rows.push_back(run_row(s));
    if (!s.ok()) return impl_->failure("read");
    return rows;
}

Result<std::vector<NodeRow>> Store::nodes(std::uint64_t limit) {
    Statement s(impl_->db, impl_->prepared,
                "SELECT name, role, rank, state, version, features, first_seen, last_seen, runs, "
                "messages, bytes FROM nodes ORDER BY state > 1, name LIMIT ?1");
    s.number(limit);
    std::vector<NodeRow> rows;
    while (s.step()) {
        NodeRow row;
        row.name = s.text();
        row.role = s.text();
        row.rank = s.integer();
        row.state = state_of(s.integer(), NodeState::unknown);
        row.version = s.text();
        row.features = split(s.text());
        row.first_seen_ms = s.number();
        row.last_seen_ms = s.number();
        row.runs = s.number();
        row.messages = s.number();
        row.bytes = s.number();
        rows.push_back(std::move(row));
    }
    if (!s.ok()) return impl_->failure("read");
    return rows;
}

std::string sqlite_version() {
    return sqlite3_libversion();
}

}  // namespace vflbus::registry
