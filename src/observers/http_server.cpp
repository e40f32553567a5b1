#include "observers/http_server.hpp"

#include <httplib.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <thread>
#include <utility>

namespace vflbus::observers {
namespace {

constexpr std::size_t threads = 2;
constexpr std::size_t request_bytes_max = 16u << 10;
constexpr std::time_t patience_s = 5;

struct Place {
    std::string host;
    int port = 0;
    bool v6 = false;
};

Result<Place> parse_place(const std::string& address) {
    const auto wrong = [&] {
        return fail(Errc::usage, "\"" + address +
                                     "\" is no address to listen at; write HOST:PORT, "
                                     "such as 127.0.0.1:9464");
    };
    const std::size_t colon = address.rfind(':');
    if (colon == std::string::npos) return wrong();
    Place place;
    place.host = address.substr(0, colon);
    if (place.host.empty()) place.host = "127.0.0.1";
    if (place.host.size() > 2 && place.host.front() == '[' && place.host.back() == ']') {
        place.host = place.host.substr(1, place.host.size() - 2);
        place.v6 = true;
    }
    if (!place.v6 && place.host.find(':') != std::string::npos) return wrong();
    const char* const begin = address.data() + colon + 1;
    const char* const end = address.data() + address.size();
    const auto [at, error] = std::from_chars(begin, end, place.port);
    if (error != std::errc{} || at != end || begin == end || place.port < 0 || place.port > 65535)
        return wrong();
    return place;
}

/// "127.0.0.1.evil.example" is a name like any other.
bool is_loopback(const std::string& host) {
    return host == "localhost" || host == "::1" ||
           (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}

/// The host of a Host header: "127.0.0.1:9464", "[::1]:9464", "localhost".
std::string host_of(const std::string& header) {
    if (header.starts_with('[')) {
        const std::size_t end = header.find(']');
        return end == std::string::npos ? header : header.substr(1, end - 1);
    }
    return header.substr(0, header.find(':'));
}

class Server final : public HttpServer {
  public:
    Server(Options options, Place place) : options_(std::move(options)), place_(std::move(place)) {
        server_.new_task_queue = [] { return new httplib::ThreadPool(threads); };
        // not SO_REUSEPORT, with which two processes would share the port and nobody be told
        server_.set_socket_options([](socket_t socket) {
            const int yes = 1;
            ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        });
        server_.set_payload_max_length(request_bytes_max);
        server_.set_read_timeout(patience_s);
        server_.set_write_timeout(patience_s);
        server_.set_keep_alive_timeout(patience_s);
        server_.set_address_family(place_.v6 ? AF_INET6 : AF_UNSPEC);
        for (const auto& [path, handler] : options_.pages)
            server_.Get(path, [this, &handler](const httplib::Request& request,
                                               httplib::Response& response) {
                answer(handler, request, response);
            });
    }

    ~Server() override {
        server_.stop();
        if (thread_.joinable()) thread_.join();
    }

    Result<> listen() {
        if (place_.port == 0)
            place_.port = server_.bind_to_any_port(place_.host);
        else if (!server_.bind_to_port(place_.host, place_.port))
            place_.port = -1;
        if (place_.port < 0)
            return fail(Errc::address, "cannot listen at " + options_.address +
                                           ": it is in use by another process, or this machine "
                                           "has no such address; choose another");
        url_ = "http://" + (place_.v6 ? "[" + place_.host + "]" : place_.host) + ":" +
               std::to_string(place_.port);
        thread_ = std::thread([this] {
            server_.listen_after_bind();
            over_ = true;
        });
        // stop() before it listens would be forgotten
        while (!server_.is_running() && !over_)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return {};
    }

    const std::string& url() const override { return url_; }

  private:
    void answer(const Handler& handler, const httplib::Request& request,
                httplib::Response& response) const {
        // who may be asked from elsewhere has any name
        if (!options_.remote && !is_loopback(host_of(request.get_header_value("Host")))) {
            response.status = 403;
            response.set_content("this address is for this machine alone\n", "text/plain");
            return;
        }
        HttpAnswer made = handler();
        response.status = made.status;
        response.set_header("Cache-Control", "no-store");
        response.set_header("X-Content-Type-Options", "nosniff");
        response.set_content(made.body, made.type.c_str());
    }

    Options options_;
    Place place_;
    std::string url_;
    httplib::Server server_;
    std::atomic<bool> over_{false};
    std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(Options options) {
    auto place = parse_place(options.address);
    if (!place) return tl::unexpected(place.error());
    if (!options.remote && !is_loopback(place->host))
        return fail(Errc::insecure,
                    "address " + options.address +
                        " is open to other machines, and whoever asks there is answered in the "
                        "clear; use 127.0.0.1, or allow it with observe.remote = true");
    auto server = std::make_unique<Server>(std::move(options), std::move(*place));
    if (auto listens = server->listen(); !listens) return tl::unexpected(listens.error());
    return server;
}

}  // namespace vflbus::observers
