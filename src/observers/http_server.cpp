#include "observers/http_server.hpp"

#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <set>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.hpp"

namespace vflbus::observers {
namespace {

constexpr std::size_t threads_max = 8;
constexpr std::size_t requests_max = 100;  ///< over one connection
constexpr std::size_t request_bytes_max = 16u << 10;
/// For a whole request, for the next one, and for the other end to read.
constexpr std::chrono::milliseconds patience{5000};
/// For a request while others wait for a thread.
constexpr std::chrono::milliseconds patience_of_others{250};

struct Place {
    std::string host;
    int port = 0;
    bool v6 = false;
    std::string file;  ///< of a socket, in place of the others
};

constexpr std::string_view socket_file = "unix:";

Result<Place> parse_place(const std::string& address) {
    const auto wrong = [&] {
        return fail(Errc::usage, "\"" + address +
                                     "\" is no address to listen at; write HOST:PORT, "
                                     "such as 127.0.0.1:9464, or unix:FILE");
    };
    if (address.starts_with(socket_file)) {
        Place place;
        place.file = address.substr(socket_file.size());
        if (place.file.empty() || place.file.size() >= sizeof(sockaddr_un::sun_path))
            return wrong();
        return place;
    }
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

/// A socket that listens at `file`; what a process that was killed has left there is taken away.
/// The error is an errno.
tl::expected<socket_t, int> listening_socket(const std::string& file) {
    sockaddr_un place{};
    place.sun_family = AF_UNIX;
    std::memcpy(place.sun_path, file.data(), file.size());
    const auto* const address = reinterpret_cast<const sockaddr*>(&place);
    const socket_t socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket < 0) return tl::unexpected(errno);
    int error = 0;
    struct stat there{};
    if (::connect(socket, address, sizeof place) == 0)
        error = EADDRINUSE;
    else if (errno == ECONNREFUSED && ::lstat(file.c_str(), &there) == 0 && S_ISSOCK(there.st_mode))
        ::unlink(file.c_str());  // a socket that nobody listens at
    if (error == 0 && ::bind(socket, address, sizeof place) != 0) error = errno;
    if (error == 0 && ::listen(socket, 16) != 0) error = errno;
    if (error == 0) return socket;
    ::close(socket);
    return tl::unexpected(error);
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

/// Whether both texts are the same; how long this takes tells nothing of where they differ.
bool same_secret(const std::string& a, const std::string& b) {
    unsigned differs = a.size() == b.size() ? 0 : 1;
    for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
        differs |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
    return differs == 0;
}

// -- connections -----------------------------------------------------------------------

/// Which connections there are, and how many of them wait for a thread.
class Connections {
  public:
    void add(socket_t socket) {
        const std::lock_guard lock(mutex_);
        all_.insert(socket);
        if (ending_) ::shutdown(socket, SHUT_RDWR);
    }
    void remove(socket_t socket) {
        const std::lock_guard lock(mutex_);
        all_.erase(socket);
    }
    void close_all() {
        const std::lock_guard lock(mutex_);
        ending_ = true;
        for (const socket_t socket : all_) ::shutdown(socket, SHUT_RDWR);
    }
    std::atomic<std::size_t> without_thread{0};

  private:
    std::mutex mutex_;
    std::set<socket_t> all_;
    bool ending_ = false;
};

/// Threads as they are needed, up to a bound.
class Workers final : public httplib::TaskQueue {
  public:
    Workers(std::size_t most, Connections& connections) : most_(most), connections_(connections) {}

    void enqueue(std::function<void()> task) override {
        {
            const std::lock_guard lock(mutex_);
            tasks_.push_back(std::move(task));
            if (tasks_.size() > idle_ && threads_.size() < most_)
                threads_.emplace_back([this] { work(); });
            connections_.without_thread = tasks_.size();
        }
        wakes_.notify_one();
    }

    void shutdown() override {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        wakes_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

  private:
    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            ++idle_;
            wakes_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
            --idle_;
            if (tasks_.empty()) return;
            const std::function<void()> task = std::move(tasks_.front());
            tasks_.pop_front();
            connections_.without_thread = tasks_.size();
            lock.unlock();
            task();
            lock.lock();
        }
    }

    std::size_t most_;
    Connections& connections_;
    std::mutex mutex_;
    std::condition_variable wakes_;
    std::deque<std::function<void()>> tasks_;
    std::vector<std::thread> threads_;
    std::size_t idle_ = 0;
    bool ending_ = false;
};

/// A socket with a deadline for a whole request, in place of one for each of its bytes. A request
/// that has been waited for a while is given up as soon as others wait for a thread.
class Connection final : public httplib::Stream {
  public:
    Connection(socket_t socket, const Connections& connections)
        : socket_(socket), connections_(connections) {}

    /// Whether the next request has begun.
    [[nodiscard]] bool wait_for_request() {
        waits_since_ = clock_now();
        return is_readable();
    }

    bool is_readable() const override {
        if (at_ < got_) return true;
        for (;;) {
            const auto waited = clock_now() - waits_since_;
            if (waited >= patience) return false;
            if (waited >= patience_of_others && connections_.without_thread != 0) return false;
            if (ready(POLLIN, patience_of_others / 4)) return true;
        }
    }
    bool is_writable() const override { return ready(POLLOUT, patience); }
    ssize_t read(char* to, size_t size) override {
        if (at_ == got_) {
            if (!is_readable()) return -1;
            const ssize_t got = ::recv(socket_, buffer_, sizeof buffer_, 0);
            if (got <= 0) return got;
            at_ = 0;
            got_ = static_cast<std::size_t>(got);
        }
        const std::size_t n = std::min(size, got_ - at_);
        std::memcpy(to, buffer_ + at_, n);
        at_ += n;
        return static_cast<ssize_t>(n);
    }
    ssize_t write(const char* from, size_t size) override {
        if (!is_writable()) return -1;
        return ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    // nobody here asks who is at the other end
    void get_remote_ip_and_port(std::string&, int&) const override {}
    void get_local_ip_and_port(std::string&, int&) const override {}
    socket_t socket() const override { return socket_; }

  private:
    [[nodiscard]] bool ready(short what, std::chrono::milliseconds at_most) const {
        pollfd waited{socket_, what, 0};
        const int n = ::poll(&waited, 1, static_cast<int>(at_most.count()));
        return n > 0;
    }

    socket_t socket_;
    const Connections& connections_;
    TimePoint waits_since_{};
    char buffer_[4096];
    std::size_t at_ = 0;
    std::size_t got_ = 0;
};

/// cpp-httplib's server with connections of our own.
class OwnServer final : public httplib::Server {
  public:
    explicit OwnServer(Connections& connections) : connections_(connections) {}

    /// Answers whoever is at the other end of `socket`, which is closed then.
    void serve(socket_t socket) { process_and_close_socket(socket); }

  private:
    bool process_and_close_socket(socket_t socket) override {
        connections_.add(socket);
        Connection connection(socket, connections_);
        for (std::size_t i = 0; i < requests_max && connection.wait_for_request(); ++i) {
            bool closed = false;
            const bool good = process_request(connection, i + 1 == requests_max, closed, nullptr);
            if (!good || closed) break;
        }
        connections_.remove(socket);  // its number may be another one's as soon as it is closed
        ::shutdown(socket, SHUT_RDWR);
        ::close(socket);
        return true;
    }

    Connections& connections_;
};

// -- the server ------------------------------------------------------------------------

class Server final : public HttpServer {
  public:
    Server(Options options, Place place)
        : options_(std::move(options)), place_(std::move(place)), server_(connections_) {
        const std::size_t threads = threads_max + (options_.events.empty() ? 0 : events_max);
        server_.new_task_queue = [this, threads] { return new Workers(threads, connections_); };
        // not SO_REUSEPORT, with which two processes would share the port and nobody be told
        server_.set_socket_options([](socket_t socket) {
            const int yes = 1;
            ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        });
        server_.set_payload_max_length(request_bytes_max);
        server_.set_error_handler([](const httplib::Request&, httplib::Response& response) {
            if (!response.body.empty()) return;  // a refusal has its own words
            const char* const what = response.status == 404   ? "there is no such page here\n"
                                     : response.status == 413 ? "that is too long\n"
                                                              : "this request makes no sense\n";
            response.set_content(what, "text/plain; charset=utf-8");
        });
        server_.set_address_family(place_.v6 ? AF_INET6 : AF_UNSPEC);
        for (const auto& [path, handler] : options_.pages)
            server_.Get(path, [this, &handler](const httplib::Request& request,
                                               httplib::Response& response) {
                if (let_in(request, response)) answer(handler, request, response);
            });
        for (const auto& [path, handler] : options_.actions)
            server_.Post(path, [this, &handler](const httplib::Request& request,
                                                httplib::Response& response) {
                if (let_in(request, response) && let_act(request, response))
                    answer(handler, request, response);
            });
        for (const auto& [path, handler] : options_.events)
            server_.Get(path, [this, &handler](const httplib::Request& request,
                                               httplib::Response& response) {
                if (let_in(request, response)) stream(handler, request, response);
            });
    }

    ~Server() override {
        ending_ = true;
        connections_.close_all();
        server_.stop();
        if (thread_.joinable()) thread_.join();
        if (at_file_ < 0) return;
        ::close(at_file_);
        ::unlink(place_.file.c_str());
    }

    Result<> listen() {
        if (!place_.file.empty()) return listen_at_file();
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
        cookie_ = "vflbus-" + std::to_string(place_.port);
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
    /// As httplib's own loop, which knows no sockets of files.
    Result<> listen_at_file() {
        const auto socket = listening_socket(place_.file);
        if (!socket)
            return fail(Errc::address, "cannot listen at " + options_.address + ": " +
                                           (socket.error() == EADDRINUSE
                                                ? "it is in use by another process, or a file "
                                                  "that is no socket"
                                                : std::generic_category().message(socket.error())));
        at_file_ = *socket;
        url_ = options_.address;
        cookie_ = "vflbus";
        thread_ = std::thread([this] {
            Workers workers(threads_max, connections_);
            while (!ending_) {
                pollfd waited{at_file_, POLLIN, 0};
                if (::poll(&waited, 1, 100) <= 0) continue;
                const socket_t one = ::accept4(at_file_, nullptr, nullptr, SOCK_CLOEXEC);
                if (one >= 0)
                    workers.enqueue([this, one] { server_.serve(one); });
                else  // no descriptor is free: poll() would return again at once, until one is
                    std::this_thread::sleep_for(std::chrono::milliseconds(100));
            }
            workers.shutdown();
        });
        return {};
    }

    /// Whether this request may be answered at all; refuses it otherwise.
    bool let_in(const httplib::Request& request, httplib::Response& response) {
        response.set_header("Cache-Control", "no-store");
        response.set_header("X-Content-Type-Options", "nosniff");
        response.set_header("Referrer-Policy", "no-referrer");
        response.set_header("Cross-Origin-Resource-Policy", "same-origin");
        if (!options_.content_policy.empty()) {
            response.set_header("Content-Security-Policy", options_.content_policy);
            response.set_header("X-Frame-Options", "DENY");
        }
        // a thousand ranges of a page in one request would be a thousand times its size
        if (request.ranges.size() > 1) return refuse(response, 416, "one range at a time\n");
        const std::string host = request.get_header_value("Host");
        // who may be asked from elsewhere has any name
        if (!options_.remote && !is_loopback(host_of(host)))
            return refuse(response, 403, "this address is for this machine alone\n");
        // "null" as well, which a page without an origin of its own sends
        if (request.has_header("Origin") &&
            request.get_header_value("Origin") != "http://" + host &&
            request.get_header_value("Origin") != "https://" + host)
            return refuse(response, 403, "another page asks here\n");
        if (options_.token.empty()) return true;
        if (request.has_param("token") && request.method == "GET") {
            if (!same_secret(request.get_param_value("token"), options_.token))
                return refuse(response, 401, "that is not the token\n");
            // out of the address, where others would see it
            response.set_header("Set-Cookie", cookie_ + "=" + options_.token +
                                                  "; HttpOnly; SameSite=Strict; Path=/");
            response.set_header("Location", request.path);
            return refuse(response, 303, "");
        }
        if (same_secret(cookie_of(request), options_.token)) return true;
        return refuse(response, 401,
                      "open the address that this program has printed, with its token\n");
    }

    /// Whether this request may change something; refuses it otherwise.
    bool let_act(const httplib::Request& request, httplib::Response& response) const {
        if (!options_.action_word.empty() &&
            same_secret(request.get_header_value("X-Vflbus-Action"), options_.action_word))
            return true;
        return refuse(response, 403, "only the page of this server may do that\n");
    }

    static bool refuse(httplib::Response& response, int status, const char* text) {
        response.status = status;
        response.set_content(text, "text/plain; charset=utf-8");
        return false;
    }

    [[nodiscard]] std::string cookie_of(const httplib::Request& request) const {
        const std::string all = "; " + request.get_header_value("Cookie");
        const std::string name = "; " + cookie_ + "=";
        const std::size_t at = all.find(name);
        if (at == std::string::npos) return {};
        const std::size_t begin = at + name.size();
        return all.substr(begin, all.find(';', begin) - begin);
    }

    static HttpQuery plain(const httplib::Request& request) {
        HttpQuery made;
        for (const auto& [name, value] : request.params) made.parameters[name] = value;
        made.body = request.body;
        return made;
    }

    static void answer(const Handler& handler, const httplib::Request& request,
                       httplib::Response& response) {
        HttpAnswer made = handler(plain(request));
        response.status = made.status;
        response.set_content(made.body, made.type.c_str());
    }

    void stream(const EventsHandler& handler, const httplib::Request& request,
                httplib::Response& response) {
        if (streams_.fetch_add(1) >= events_max) {
            --streams_;
            refuse(response, 503, "too many pages are open here already\n");
            return;
        }
        const std::shared_ptr<void> one(nullptr, [this](void*) { --streams_; });
        const std::shared_ptr<HttpEvents> events = handler(plain(request));
        if (events == nullptr) {
            refuse(response, 404, "there is no such thing to watch\n");
            return;
        }
        response.set_chunked_content_provider(
            "text/event-stream", [this, one, events](std::size_t, httplib::DataSink& sink) {
                std::string text;
                const bool more = events->next(text) && !ending_;
                // a comment, by which a page that has gone away is noticed
                if (text.empty()) text = ":\n\n";
                sink.write(text.data(), text.size());
                if (!more) sink.done();
                return true;
            });
    }

    Options options_;
    Place place_;
    std::string url_;
    std::string cookie_;
    Connections connections_;
    OwnServer server_;
    std::atomic<std::size_t> streams_{0};
    std::atomic<bool> ending_{false};
    std::atomic<bool> over_{false};
    socket_t at_file_ = -1;  ///< listens at place_.file
    std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(Options options) {
    if (auto good = check_address(options.address, options.remote); !good)
        return tl::unexpected(good.error());
    auto place = parse_place(options.address);
    auto server = std::make_unique<Server>(std::move(options), std::move(*place));
    if (auto listens = server->listen(); !listens) return tl::unexpected(listens.error());
    return server;
}

Result<> check_address(const std::string& address, bool remote) {
    const auto place = parse_place(address);
    if (!place) return tl::unexpected(place.error());
    if (!place->file.empty() || remote || is_loopback(place->host)) return {};
    return fail(Errc::insecure,
                "address " + address +
                    " is open to other machines, and whoever asks there is answered in the "
                    "clear; use 127.0.0.1, or allow it with observe.remote = true");
}

bool is_loopback_address(const std::string& address) {
    const auto place = parse_place(address);
    return place && (!place->file.empty() || is_loopback(place->host));
}

}  // namespace vflbus::observers
