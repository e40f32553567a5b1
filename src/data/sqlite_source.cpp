#include "data/sqlite_source.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/location.hpp"
#include "base/text.hpp"
#include "data/place.hpp"
#include "data/query_rows.hpp"

namespace vflbus::data {
namespace {

/// Steps of its virtual machine between two looks at the clock.
constexpr int steps_between_looks = 10'000;
constexpr int busy_ms_max = 10'000;

class SqliteQuery {
  public:
    explicit SqliteQuery(const SourceOptions& options)
        : options_(options),
          asked_(split_query(options.location)),
          place_{options.party, std::string(sqlite_scheme) + asked_.where},
          deadline_(options.timeout) {}
    SqliteQuery(const SqliteQuery&) = delete;
    SqliteQuery& operator=(const SqliteQuery&) = delete;
    ~SqliteQuery() {
        ::sqlite3_finalize(statement_);
        ::sqlite3_close(database_);
    }

    Result<std::unique_ptr<Source>> run() {
        if (auto done = connect(); !done) return tl::unexpected(std::move(done.error()));
        if (asked_.query.empty()) return no_query();
        if (auto done = prepare(); !done) return tl::unexpected(std::move(done.error()));
        QueryRows rows;
        std::vector<std::string> names;
        for (int c = 0; c < ::sqlite3_column_count(statement_); ++c)
            names.emplace_back(::sqlite3_column_name(statement_, c));
        if (auto done = take_header(names, place_, rows); !done)
            return tl::unexpected(std::move(done.error()));
        if (auto done = take_rows(names, rows); !done)
            return tl::unexpected(std::move(done.error()));
        return rows.open(options_, place_);
    }

  private:
    /// `detail` may quote data, which others are not told.
    tl::unexpected<Failure> refuse(Errc code, const std::string& what, std::string_view detail) {
        const std::string more = detail.empty() ? "" : ": " + printable(detail);
        return tl::unexpected(fault(code, place_, " " + what + more, " " + what));
    }
    tl::unexpected<Failure> refuse_step(const std::string& what) {
        if (deadline_.over()) return refuse(Errc::io, not_in_time(options_.timeout), {});
        return refuse(Errc::bad_data, what, ::sqlite3_errmsg(database_));
    }

    Result<> connect() {
        if (asked_.where.empty())
            return refuse(Errc::bad_config,
                          "names no file: write sqlite:FILE?query=select * from TABLE", {});
        const int code = ::sqlite3_open_v2(asked_.where.c_str(), &database_,
                                           SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, nullptr);
        if (code != SQLITE_OK)
            return refuse(Errc::io,
                          asked_.query.empty() && asked_.where.find('?') != std::string::npos
                              ? "cannot be opened (a query begins with ?query=)"
                              : "cannot be opened",
                          database_ == nullptr ? "no memory" : ::sqlite3_errmsg(database_));
        // what is no database is found out when it is read first
        if (::sqlite3_exec(database_, "select 1 from sqlite_schema", nullptr, nullptr, nullptr) ==
            SQLITE_NOTADB)
            return refuse(Errc::bad_data, "is no database of SQLite", {});
        ::sqlite3_busy_timeout(database_, deadline_.milliseconds(busy_ms_max));
        ::sqlite3_progress_handler(
            database_, steps_between_looks,
            [](void* deadline) { return static_cast<Deadline*>(deadline)->over() ? 1 : 0; },
            &deadline_);
        return {};
    }

    Result<std::unique_ptr<Source>> no_query() {
        asked_.query =
            "select name from sqlite_schema where type in ('table', 'view') and name "
            "not like 'sqlite_%' order by name";
        if (auto done = prepare(); !done) return tl::unexpected(std::move(done.error()));
        std::vector<std::string> tables;
        while (::sqlite3_step(statement_) == SQLITE_ROW)
            tables.emplace_back(
                reinterpret_cast<const char*>(::sqlite3_column_text(statement_, 0)));
        const std::string advice = " needs a query: sqlite:FILE?query=select * from TABLE";
        return tl::unexpected(fault(
            Errc::bad_config, place_,
            advice +
                (tables.empty() ? "; it has no tables" : "; its tables are " + join_and(tables)),
            advice));
    }

    /// Whether more than blanks and comments stands there.
    bool has_statement(const char* text) {
        ::sqlite3_stmt* more = nullptr;
        const int code = ::sqlite3_prepare_v2(database_, text, -1, &more, nullptr);
        const bool found = code != SQLITE_OK || more != nullptr;
        ::sqlite3_finalize(more);
        return found;
    }

    Result<> prepare() {
        const char* rest = nullptr;
        const int code =
            ::sqlite3_prepare_v2(database_, asked_.query.c_str(), -1, &statement_, &rest);
        if (code != SQLITE_OK) return refuse_step("refuses the query");
        if (statement_ == nullptr) return refuse(Errc::bad_config, "was asked an empty query", {});
        if (has_statement(rest))
            return refuse(Errc::bad_config, "was asked more than one statement", {});
        if (::sqlite3_stmt_readonly(statement_) == 0 || ::sqlite3_column_count(statement_) == 0)
            return refuse(Errc::bad_config, gives_no_rows, {});
        return {};
    }

    Result<> take_rows(const std::vector<std::string>& names, QueryRows& rows) {
        for (;;) {
            const int code = ::sqlite3_step(statement_);
            if (code == SQLITE_DONE) return {};
            if (code != SQLITE_ROW) return refuse_step("failed while its rows were read");
            for (std::size_t c = 0; c < names.size(); ++c)
                if (!take_cell(static_cast<int>(c), rows))
                    return tl::unexpected(
                        fault(Errc::bad_data, place_,
                              ": column " + shown(names[c]) +
                                  " holds bytes (BLOB), which are no number and no text",
                              ": a column holds bytes, which are no number and no text"));
            if (auto done = rows.end_row(); !done)
                return refuse(Errc::io, "cannot be read", done.error().sentence);
        }
    }

    bool take_cell(int column, QueryRows& rows) {
        switch (::sqlite3_column_type(statement_, column)) {
            case SQLITE_NULL:
                rows.missing();
                return true;
            case SQLITE_FLOAT:  // SQLite's own text has fifteen digits only
                rows.cell(shortest(::sqlite3_column_double(statement_, column)));
                return true;
            case SQLITE_BLOB:
                return false;
            default:
                break;
        }
        const unsigned char* const text = ::sqlite3_column_text(statement_, column);
        const int bytes = ::sqlite3_column_bytes(statement_, column);
        rows.cell({reinterpret_cast<const char*>(text), static_cast<std::size_t>(bytes)});
        return true;
    }

    const SourceOptions& options_;
    Asked asked_;
    Place place_;
    Deadline deadline_;
    ::sqlite3* database_ = nullptr;
    ::sqlite3_stmt* statement_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Source>> open_sqlite(const SourceOptions& options) {
    return SqliteQuery(options).run();
}

}  // namespace vflbus::data
