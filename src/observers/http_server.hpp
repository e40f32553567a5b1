#pragma once
// A small HTTP server for those who watch: Prometheus, a browser. Only http_server.cpp sees
// cpp-httplib.
//
// What it answers is for people of this machine: it listens at loopback addresses unless its caller
// says that other machines may ask, and a request whose Host names another machine is refused, so
// that a page in a browser cannot ask in its user's name (DNS rebinding).

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/errc.hpp"

namespace vflbus::observers {

struct HttpAnswer {
    int status = 200;
    std::string type = "text/plain; charset=utf-8";
    std::string body;
};

class HttpServer {
  public:
    /// Called by threads of the server, several at once.
    using Handler = std::function<HttpAnswer()>;

    struct Options {
        std::string address;                   ///< HOST:PORT, [V6]:PORT or :PORT; port 0: any free
        bool remote = false;                   ///< an address that other machines reach is allowed
        std::map<std::string, Handler> pages;  ///< by path; GET and HEAD only
    };

    /// Listens, and answers from then on in threads of its own. Errors: usage (no such form of
    /// address), insecure (not loopback, and not `remote`), address (in use, not local).
    static Result<std::unique_ptr<HttpServer>> start(Options options);
    virtual ~HttpServer() = default;
    /// "http://127.0.0.1:9464"
    [[nodiscard]] virtual const std::string& url() const = 0;
};

}  // namespace vflbus::observers
