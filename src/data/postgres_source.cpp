#include "data/postgres_source.hpp"

#include <dlfcn.h>
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "data/place.hpp"
#include "data/query_rows.hpp"

namespace vflbus::data {
namespace {

constexpr std::chrono::duration<double> connect_timeout{30};
constexpr const char* library_name = "libpq.so.5";

/// What is used of libpq. It is loaded when the first query is asked: who has no PostgreSQL needs
/// no libpq, and no process starts slower for it.
struct Libpq {
    decltype(&::PQconninfoParse) parse = nullptr;
    decltype(&::PQconninfoFree) free_parsed = nullptr;
    decltype(&::PQfreemem) free_text = nullptr;
    decltype(&::PQconnectStartParams) connect = nullptr;
    decltype(&::PQconnectPoll) connecting = nullptr;
    decltype(&::PQstatus) status = nullptr;
    decltype(&::PQsocket) socket = nullptr;
    decltype(&::PQerrorMessage) error = nullptr;
    decltype(&::PQfinish) finish = nullptr;
    decltype(&::PQsetnonblocking) set_nonblocking = nullptr;
    decltype(&::PQsendQueryParams) send = nullptr;
    decltype(&::PQflush) flush = nullptr;
    decltype(&::PQsetSingleRowMode) one_row_at_a_time = nullptr;
    decltype(&::PQconsumeInput) consume = nullptr;
    decltype(&::PQisBusy) busy = nullptr;
    decltype(&::PQgetResult) result = nullptr;
    decltype(&::PQresultStatus) result_status = nullptr;
    decltype(&::PQresultErrorMessage) result_error = nullptr;
    decltype(&::PQclear) clear = nullptr;
    decltype(&::PQnfields) fields = nullptr;
    decltype(&::PQfname) field_name = nullptr;
    decltype(&::PQntuples) rows = nullptr;
    decltype(&::PQgetisnull) is_null = nullptr;
    decltype(&::PQgetvalue) value = nullptr;
    decltype(&::PQgetlength) length = nullptr;

    /// Null when the library, or one of these in it, is not there.
    static const Libpq* get() {
        static const Libpq loaded = load();
        return loaded.length == nullptr ? nullptr : &loaded;
    }

  private:
    static Libpq load() {
        Libpq out;
        void* const library = ::dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) return out;
        bool all = true;
        const auto take = [&](auto& function, const char* name) {
            function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(
                ::dlsym(library, name));
            all = all && function != nullptr;
        };
        take(out.parse, "PQconninfoParse");
        take(out.free_parsed, "PQconninfoFree");
        take(out.free_text, "PQfreemem");
        take(out.connect, "PQconnectStartParams");
        take(out.connecting, "PQconnectPoll");
        take(out.status, "PQstatus");
        take(out.socket, "PQsocket");
        take(out.error, "PQerrorMessage");
        take(out.finish, "PQfinish");
        take(out.set_nonblocking, "PQsetnonblocking");
        take(out.send, "PQsendQueryParams");
        take(out.flush, "PQflush");
        take(out.one_row_at_a_time, "PQsetSingleRowMode");
        take(out.consume, "PQconsumeInput");
        take(out.busy, "PQisBusy");
        take(out.result, "PQgetResult");
        take(out.result_status, "PQresultStatus");
        take(out.result_error, "PQresultErrorMessage");
        take(out.clear, "PQclear");
        take(out.fields, "PQnfields");
        take(out.field_name, "PQfname");
        take(out.rows, "PQntuples");
        take(out.is_null, "PQgetisnull");
        take(out.value, "PQgetvalue");
        take(out.length, "PQgetlength");
        return all ? out : Libpq{};
    }
};

/// What stands for an address that cannot be shown.
constexpr std::string_view hidden_server = "postgresql://...";

/// Whether all ports of "db:5432,[::1]:5433" are numbers.
bool has_plain_ports(std::string_view hosts) {
    bool bracket = false;
    bool port = false;
    for (const char c : hosts) {
        if (c == '[' || c == ']')
            bracket = c == '[';
        else if (c == ',')
            port = false;
        else if (c == ':' && !bracket)
            port = true;
        else if (port && (c < '0' || c > '9'))
            return false;
    }
    return true;
}

/// "//shop:secret@db/sales?sslmode=require": without what stands behind the name of the user and
/// behind the name of the database, as a sentence may show it. A password with a '/' or '@' in it
/// that is not percent-encoded reads as a port and a database to libpq: nothing is shown of an
/// address that can be of this kind.
std::string shown_server(std::string_view where) {
    if (!where.starts_with("//")) return std::string(hidden_server);
    std::string_view rest = where.substr(2);
    std::string user;
    const std::size_t end = rest.find_first_of("@/");
    if (end != std::string_view::npos && rest[end] == '@') {
        user = std::string(rest.substr(0, std::min(end, rest.find(':')))) + "@";
        rest = rest.substr(end + 1);
    }
    const std::string_view place = rest.substr(0, rest.find('?'));
    // a user of a parameter, as in ?user=shop@corp, is one behind a question mark
    const bool plain = place.find('@') == std::string_view::npos &&
                       user.find('?') == std::string::npos &&
                       has_plain_ports(place.substr(0, place.find('/')));
    return plain ? "postgresql://" + user + std::string(place) : std::string(hidden_server);
}

class PostgresQuery {
  public:
    PostgresQuery(const SourceOptions& options, const Libpq& pq)
        : options_(options),
          pq_(pq),
          asked_(split_query(options.location)),
          place_{options.party, shown_server(asked_.where)},
          deadline_(options.timeout) {}
    PostgresQuery(const PostgresQuery&) = delete;
    PostgresQuery& operator=(const PostgresQuery&) = delete;
    ~PostgresQuery() {
        // no question to cancel is sent, which could wait as well: the server ends the statement by
        // its own statement_timeout
        if (connection_ != nullptr) pq_.finish(connection_);
    }

    Result<std::unique_ptr<Source>> run() {
        if (auto done = check(); !done) return tl::unexpected(std::move(done.error()));
        if (auto done = connect(); !done) return tl::unexpected(std::move(done.error()));
        QueryRows rows;
        for (const std::string& before :
             {std::string("begin transaction read only"),
              "set local statement_timeout = " +
                  std::to_string(static_cast<std::int64_t>(
                                     std::min(options_.timeout.count(), 1'000'000.0) * 1000) +
                                 1)})
            if (auto done = ask(before, nullptr); !done)
                return tl::unexpected(std::move(done.error()));
        if (auto done = ask(asked_.query, &rows); !done)
            return tl::unexpected(std::move(done.error()));
        return rows.open(options_, place_);
    }

  private:
    /// `detail` may quote data, which others are not told.
    tl::unexpected<Failure> refuse(Errc code, const std::string& what, std::string_view detail) {
        const std::string more = detail.empty() ? "" : ": " + printable(one_line(detail));
        return tl::unexpected(fault(code, place_, " " + what + more, " " + what));
    }
    /// The lines of libpq's sentences as one.
    static std::string one_line(std::string_view text) {
        std::string out;
        for (const std::string& line : split(text, '\n'))
            if (!trim(line).empty()) out += (out.empty() ? "" : " / ") + std::string(trim(line));
        return out;
    }
    tl::unexpected<Failure> late(std::chrono::duration<double> timeout) {
        return refuse(Errc::io, not_in_time(timeout), {});
    }

    Result<> check() {
        const std::string full = "postgresql:" + asked_.where;
        char* error = nullptr;
        PQconninfoOption* const parsed =
            place_.file == hidden_server ? nullptr : pq_.parse(full.c_str(), &error);
        if (error != nullptr) pq_.free_text(error);  // it may quote a password
        if (parsed == nullptr)
            return refuse(Errc::bad_config,
                          "is no address of a PostgreSQL server: write "
                          "postgresql://USER@HOST/DATABASE?query=select ...",
                          {});
        bool password = false;
        for (const PQconninfoOption* option = parsed; option->keyword != nullptr; ++option)
            password = password || (option->val != nullptr && *option->val != '\0' &&
                                    (std::string_view(option->keyword) == "password" ||
                                     std::string_view(option->keyword) == "sslpassword"));
        pq_.free_parsed(parsed);
        if (password)
            return refuse(Errc::bad_config,
                          "has a password in its location, which logs and lists of processes show: "
                          "leave it out, and keep it in ~/.pgpass or in PGPASSWORD",
                          {});
        if (asked_.query.empty())
            return refuse(Errc::bad_config,
                          "needs a query at the end: ...?query=select * from TABLE", {});
        return {};
    }

    Result<> connect() {
        const std::string full = "postgresql:" + asked_.where;
        // of these the last one counts, and those of the address come last
        const std::array<const char*, 7> names = {"keepalives_idle",
                                                  "keepalives_interval",
                                                  "keepalives_count",
                                                  "client_encoding",
                                                  "fallback_application_name",
                                                  "dbname",
                                                  nullptr};
        const std::array<const char*, 7> values = {"30",     "10",         "3",    "UTF8",
                                                   "vflbus", full.c_str(), nullptr};
        connection_ = pq_.connect(names.data(), values.data(), 1);
        if (connection_ == nullptr) return refuse(Errc::io, "cannot be reached", "no memory");
        const auto timeout = std::min(options_.timeout, connect_timeout);
        const Deadline deadline(timeout);
        PostgresPollingStatusType state = PGRES_POLLING_WRITING;
        while (state != PGRES_POLLING_OK) {
            if (pq_.status(connection_) == CONNECTION_BAD || state == PGRES_POLLING_FAILED)
                return refuse(Errc::io, "cannot be reached", pq_.error(connection_));
            if (deadline.over()) return late(timeout);
            if (wait(state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline))
                state = pq_.connecting(connection_);
        }
        pq_.set_nonblocking(connection_, 1);
        return {};
    }

    /// False when nothing has come within a second, or by the deadline.
    bool wait(short what, const Deadline& deadline) {
        pollfd wanted{pq_.socket(connection_), what, 0};
        return ::poll(&wanted, 1, deadline.milliseconds(1'000)) > 0;
    }

    /// Sends one statement, and takes its rows until its end.
    Result<> ask(const std::string& statement, QueryRows* rows) {
        if (pq_.send(connection_, statement.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0) == 0)
            return lost();
        pq_.one_row_at_a_time(connection_);
        for (int left = 1; left != 0;) {
            left = pq_.flush(connection_);
            if (left < 0) return lost();
            if (deadline_.over()) return late(options_.timeout);
            if (left > 0 && wait(POLLOUT | POLLIN, deadline_) && pq_.consume(connection_) == 0)
                return lost();
        }
        bool begun = false;
        for (;;) {
            while (pq_.busy(connection_) != 0) {
                if (deadline_.over()) return late(options_.timeout);
                if (wait(POLLIN, deadline_) && pq_.consume(connection_) == 0) return lost();
            }
            PGresult* const result = pq_.result(connection_);
            if (result == nullptr) break;
            auto taken = take(result, rows, begun);
            pq_.clear(result);
            if (!taken) return taken;
        }
        if (rows == nullptr || begun) return {};
        return refuse(Errc::bad_config, gives_no_rows, {});
    }

    tl::unexpected<Failure> lost() {
        return refuse(Errc::io, "closed the connection", pq_.error(connection_));
    }

    Result<> take(PGresult* result, QueryRows* rows, bool& begun) {
        const ExecStatusType status = pq_.result_status(result);
        if (status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY) return {};
        if (status == PGRES_COPY_OUT || status == PGRES_COPY_IN || status == PGRES_COPY_BOTH)
            return refuse(Errc::bad_config, gives_no_rows, {});
        if (status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK) {
            if (pq_.status(connection_) == CONNECTION_BAD) return lost();
            if (deadline_.over()) return late(options_.timeout);
            return refuse(Errc::bad_data,
                          begun ? "failed while its rows were read" : "refuses the query",
                          pq_.result_error(result));
        }
        if (rows == nullptr) return {};
        const int columns = pq_.fields(result);
        if (!std::exchange(begun, true)) {
            std::vector<std::string> names;
            for (int c = 0; c < columns; ++c) names.emplace_back(pq_.field_name(result, c));
            if (auto done = take_header(names, place_, *rows); !done) return done;
        }
        for (int r = 0; r < pq_.rows(result); ++r) {
            for (int c = 0; c < columns; ++c) {
                if (pq_.is_null(result, r, c) != 0)
                    rows->missing();
                else
                    rows->cell({pq_.value(result, r, c),
                                static_cast<std::size_t>(pq_.length(result, r, c))});
            }
            if (auto done = rows->end_row(); !done)
                return refuse(Errc::io, "cannot be read", done.error().sentence);
        }
        return {};
    }

    const SourceOptions& options_;
    const Libpq& pq_;
    Asked asked_;
    Place place_;
    Deadline deadline_;
    PGconn* connection_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Source>> open_postgres(const SourceOptions& options) {
    const Libpq* const pq = Libpq::get();
    if (pq != nullptr) return PostgresQuery(options, *pq).run();
    const Place place{options.party, shown_server(split_query(options.location).where)};
    return tl::unexpected(fault(Errc::io, place,
                                " needs the library of PostgreSQL's clients, " +
                                    std::string(library_name) +
                                    ", which is not there; install libpq5"));
}

}  // namespace vflbus::data
