#pragma once
// A small HTTP server for those who watch: Prometheus, a browser. Only http_server.cpp sees
// cpp-httplib.
//
// The problem: whatever listens at a port of this machine can be asked by every page that somebody
// has open in a browser, and by clients that send half a request and wait. So a request whose Host
// names another machine is refused (DNS rebinding), and one whose Origin is another page; what
// changes something is done by POST alone and asks for a word that only our own page knows; and
// who keeps a thread waiting for a request is cut off as soon as others wait for a thread.

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/errc.hpp"

namespace vflbus::observers {

struct HttpQuery {
    std::map<std::string, std::string> parameters;  ///< of the address; the last one of a name
    std::string body;
};

struct HttpAnswer {
    int status = 200;
    std::string type = "text/plain; charset=utf-8";
    std::string body;
};

/// What one browser is told as it happens (server-sent events).
class HttpEvents {
  public:
    virtual ~HttpEvents() = default;
    /// Waits up to a second for something to tell and adds it to `out`, as text of server-sent
    /// events; nothing is fine. False: there will be no more. Called by one thread.
    virtual bool next(std::string& out) = 0;
};

class HttpServer {
  public:
    /// Called by threads of the server, several at once.
    using Handler = std::function<HttpAnswer(const HttpQuery&)>;
    /// Null: refused with 404.
    using EventsHandler = std::function<std::unique_ptr<HttpEvents>(const HttpQuery&)>;

    struct Options {
        /// HOST:PORT, [V6]:PORT or :PORT, port 0 being any free one; or unix:PATH, a socket file,
        /// which is removed at the end.
        std::string address;
        bool remote = false;                   ///< an address that other machines reach is allowed
        std::map<std::string, Handler> pages;  ///< by path; GET and HEAD only
        std::map<std::string, Handler> actions;       ///< by path; POST only
        std::map<std::string, EventsHandler> events;  ///< by path; GET
        /// Whoever asks has to know it: `?token=` once, then a cookie. Empty: nobody is asked.
        std::string token;
        /// Actions ask for it in the header X-Vflbus-Action.
        std::string action_word;
        /// Content-Security-Policy of every answer; empty: none.
        std::string content_policy;
    };
    /// So many event streams are served at a time; further ones are answered with 503.
    static constexpr std::size_t events_max = 16;

    /// Listens, and answers from then on in threads of its own. Errors: usage (no such form of
    /// address), insecure (not loopback, and not `remote`), address (in use, not local).
    static Result<std::unique_ptr<HttpServer>> start(Options options);
    virtual ~HttpServer() = default;
    /// "http://127.0.0.1:9464", "unix:/run/vflbus/metrics"
    [[nodiscard]] virtual const std::string& url() const = 0;
};

/// Whether HttpServer::start takes an address of this form. Errors: usage, insecure.
Result<> check_address(const std::string& address, bool remote);
/// Whether an address to listen at is of this machine alone; false for one that makes no sense.
bool is_loopback_address(const std::string& address);

}  // namespace vflbus::observers
