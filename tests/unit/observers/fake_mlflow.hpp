#pragma once
// A tracking server that writes down what it is asked, and can be killed or fall silent.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/json.hpp"

namespace vflbus::test {

class FakeMlflow {
  public:
    struct Request {
        std::string line;  ///< "POST /api/2.0/mlflow/runs/create"
        std::string head;
        std::string body;
    };

    FakeMlflow() { start(); }
    ~FakeMlflow() { kill(); }

    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

    void kill() {
        if (!thread_.joinable()) return;
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t n = ::write(stop_, &one, sizeof one);
        thread_.join();
        ::close(stop_);
        ::close(listener_);
    }
    /// At the same port.
    void start() {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int yes = 1;
        ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_port = htons(port_);
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        bound_ = ::bind(listener_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 &&
                 ::listen(listener_, 16) == 0;
        socklen_t size = sizeof at;
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
        port_ = ntohs(at.sin_port);
        stop_ = ::eventfd(0, EFD_CLOEXEC);
        thread_ = std::thread([this] { serve(); });
    }
    [[nodiscard]] bool bound() const { return bound_; }

    /// Accepts from now on, and never answers.
    void fall_silent(bool silent) {
        const std::lock_guard lock(mutex_);
        silent_ = silent;
    }
    /// Requests whose line has this in it get that status.
    void refuse(const std::string& part, int status) {
        const std::lock_guard lock(mutex_);
        refused_[part] = status;
    }

    /// Requests whose line has this in it get that status and body.
    void answer_with(const std::string& part, int status, const std::string& body) {
        const std::lock_guard lock(mutex_);
        answers_[part] = {status, body};
    }

    /// The next runs/create is done, and its answer gets lost.
    void lose_answer() {
        const std::lock_guard lock(mutex_);
        lose_ = true;
    }

    [[nodiscard]] std::vector<Request> requests(const std::string& part = {}) const {
        const std::lock_guard lock(mutex_);
        std::vector<Request> out;
        for (const Request& request : requests_)
            if (request.line.find(part) != std::string::npos) out.push_back(request);
        return out;
    }
    /// "KEY@STEP=VALUE" of all metrics that were logged, in order.
    [[nodiscard]] std::vector<std::string> metrics() const {
        std::vector<std::string> out;
        for (const Request& request : requests("runs/log-batch")) {
            const Json body = Json::parse(request.body);
            for (const Json& metric : body["metrics"])
                out.push_back(metric["key"].get<std::string>() + "@" +
                              std::to_string(metric["step"].get<std::uint64_t>()) + "=" +
                              metric["value"].dump());
        }
        return out;
    }
    [[nodiscard]] std::map<std::string, std::string> pairs(const char* kind) const {
        std::map<std::string, std::string> out;
        for (const Request& request : requests("runs/log-batch")) {
            const Json body = Json::parse(request.body);
            for (const Json& one : body[kind])
                out[one["key"].get<std::string>()] = one["value"].get<std::string>();
        }
        return out;
    }

  private:
    void serve() {
        std::vector<int> silent;
        for (;;) {
            pollfd ready[] = {{stop_, POLLIN, 0}, {listener_, POLLIN, 0}};
            ::poll(ready, 2, -1);
            if (ready[0].revents != 0) break;
            const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) continue;
            bool answers = true;
            {
                const std::lock_guard lock(mutex_);
                answers = !silent_;
            }
            if (answers) {
                answer(fd);
                ::close(fd);
            } else {
                silent.push_back(fd);
            }
        }
        for (const int fd : silent) ::close(fd);
    }

    void answer(int fd) {
        Request request;
        std::string got;
        char piece[65536];
        std::size_t head_end = std::string::npos;
        std::size_t length = 0;
        while (head_end == std::string::npos || got.size() < head_end + 4 + length) {
            const ssize_t n = ::recv(fd, piece, sizeof piece, 0);
            if (n <= 0) return;
            got.append(piece, static_cast<std::size_t>(n));
            if (head_end != std::string::npos) continue;
            head_end = got.find("\r\n\r\n");
            if (head_end == std::string::npos) continue;
            request.head = got.substr(0, head_end);
            const std::size_t at = request.head.find("Content-Length: ");
            if (at != std::string::npos) length = std::stoul(request.head.substr(at + 16));
            if (request.head.find("Expect: 100-continue") != std::string::npos)
                say(fd, "HTTP/1.1 100 Continue\r\n\r\n");
        }
        request.line = request.head.substr(0, request.head.find(" HTTP/"));
        request.body = got.substr(head_end + 4);
        int status = 200;
        const std::string body = reply_to(request, status);
        say(fd, "HTTP/1.1 " + std::to_string(status) + " x\r\nContent-Type: application/json\r\n" +
                    "Connection: close\r\nContent-Length: " + std::to_string(body.size()) +
                    "\r\n\r\n" + body);
    }

    std::string reply_to(const Request& request, int& status) {
        const std::lock_guard lock(mutex_);
        for (const auto& [part, code] : refused_)
            if (request.line.find(part) != std::string::npos) {
                status = code;
                return R"({"error_code":"INVALID_PARAMETER_VALUE","message":"no"})";
            }
        requests_.push_back(request);
        for (const auto& [part, given] : answers_)
            if (request.line.find(part) != std::string::npos) {
                status = given.first;
                return given.second;
            }
        const auto is = [&](const char* part) {
            return request.line.find(part) != std::string::npos;
        };
        if (is("experiments/get-by-name")) {
            if (made_) return R"({"experiment":{"experiment_id":"7","lifecycle_stage":"active"}})";
            status = 404;
            return R"({"error_code":"RESOURCE_DOES_NOT_EXIST","message":"none"})";
        }
        if (is("experiments/create")) {
            made_ = true;
            return R"({"experiment_id":"7"})";
        }
        if (is("runs/search") && lost_ > 0)
            return R"({"runs":[{"info":{"run_id":"abc","artifact_uri":"mlflow-artifacts:/7/abc/artifacts"}}]})";
        if (is("runs/create") && lose_) {
            lose_ = false;
            ++lost_;
            status = 502;
            return "{}";
        }
        if (is("runs/create"))
            return R"({"run":{"info":{"run_id":"abc","artifact_uri":"mlflow-artifacts:/7/abc/artifacts"}}})";
        return "{}";
    }

    static void say(int fd, const std::string& text) {
        [[maybe_unused]] const ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    }

    std::uint16_t port_ = 0;
    int listener_ = -1;
    int stop_ = -1;
    bool bound_ = false;
    std::thread thread_;
    mutable std::mutex mutex_;
    bool silent_ = false;
    bool made_ = false;
    bool lose_ = false;
    int lost_ = 0;
    std::map<std::string, int> refused_;
    std::map<std::string, std::pair<int, std::string>> answers_;
    std::vector<Request> requests_;
};

}  // namespace vflbus::test
