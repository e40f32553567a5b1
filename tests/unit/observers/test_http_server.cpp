#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "observers/http_client.hpp"
#include "observers/http_server.hpp"
#include "socket.hpp"

using namespace vflbus;
using namespace vflbus::observers;
using test::get;

namespace {

HttpServer::Options page_at(const std::string& address) {
    HttpServer::Options options;
    options.address = address;
    options.pages["/metrics"] = [](const HttpQuery&) {
        return HttpAnswer{200, "text/plain", "up 1\n"};
    };
    return options;
}

}  // namespace

TEST_CASE("a page is answered at a loopback address") {
    const auto server = HttpServer::start(page_at("127.0.0.1:0"));
    REQUIRE(server.has_value());
    CHECK((*server)->url().starts_with("http://127.0.0.1:"));
    const std::string reply = get((*server)->url(), "/metrics");
    CHECK(reply.starts_with("HTTP/1.1 200"));
    CHECK(reply.ends_with("up 1\n"));
    CHECK(get((*server)->url(), "/metrics", "localhost:1").starts_with("HTTP/1.1 200"));
    CHECK(get((*server)->url(), "/other").starts_with("HTTP/1.1 404"));
    CHECK_FALSE(get((*server)->url(), "/metrics", "127.0.0.1", "POST").starts_with("HTTP/1.1 200"));
}

TEST_CASE("a page is answered at a socket file, which is gone afterwards") {
    const std::string file = "/tmp/vflbus-http-" + std::to_string(::getpid());
    ::unlink(file.c_str());
    const std::atomic<bool> never{false};
    const auto ask = [&] {
        return send({.url = "http://localhost/metrics", .socket_file = file}, {},
                    std::chrono::seconds(20), never);
    };
    {
        const auto server = HttpServer::start(page_at("unix:" + file));
        REQUIRE(server.has_value());
        CHECK((*server)->url() == "unix:" + file);
        for (int i = 0; i < 3; ++i) {
            const auto reply = ask();
            REQUIRE(reply.has_value());
            CHECK(reply->status == 200);
            CHECK(reply->body == "up 1\n");
        }
        // a second server there would take the place of the first
        const auto second = HttpServer::start(page_at("unix:" + file));
        REQUIRE_FALSE(second.has_value());
        CHECK(second.error().code == Errc::address);
        CHECK(ask().has_value());
    }
    CHECK(::access(file.c_str(), F_OK) != 0);
    CHECK_FALSE(ask().has_value());

    // what a killed process has left is no obstacle, a file of somebody's is
    sockaddr_un place{};
    place.sun_family = AF_UNIX;
    file.copy(place.sun_path, sizeof place.sun_path - 1);
    const int left = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::bind(left, reinterpret_cast<const sockaddr*>(&place), sizeof place) == 0);
    ::close(left);
    {
        const auto server = HttpServer::start(page_at("unix:" + file));
        REQUIRE(server.has_value());
        CHECK(ask().has_value());
    }
    std::ofstream(file) << "somebody's";
    CHECK_FALSE(HttpServer::start(page_at("unix:" + file)).has_value());
    CHECK(std::filesystem::file_size(file) == 10);
    ::unlink(file.c_str());
    for (const std::string& bad : {std::string("unix:"), "unix:/tmp/" + std::string(200, 'x')})
        CHECK(HttpServer::start(page_at(bad)).error().code == Errc::usage);
}

TEST_CASE("many ranges of a page in one request are refused") {
    auto options = page_at("127.0.0.1:0");
    options.pages["/large"] = [](const HttpQuery&) {
        return HttpAnswer{200, "text/plain", std::string(20'000, 'x')};
    };
    const auto server = HttpServer::start(std::move(options));
    REQUIRE(server.has_value());
    std::string ranges = "0-";
    for (int i = 1; i < 500; ++i) ranges += ",0-";
    const std::string reply = test::ask(
        (*server)->url(), "GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=" + ranges +
                              "\r\nConnection: close\r\n\r\n");
    CHECK(reply.starts_with("HTTP/1.1 416"));
    CHECK(reply.size() < 200'000);
}

TEST_CASE("a page in a browser cannot ask under a name of its own") {
    const auto server = HttpServer::start(page_at("127.0.0.1:0"));
    REQUIRE(server.has_value());
    for (const char* host : {"evil.example", "evil.example:9464", "127.0.0.1.evil.example", ""})
        CHECK(get((*server)->url(), "/metrics", host).starts_with("HTTP/1.1 403"));
}

TEST_CASE("addresses that make no sense, and those of others, are refused") {
    for (const char* address : {"", "9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x",
                                "127.0.0.1:70000", "::1:9464", "127.0.0.1:-1"}) {
        const auto server = HttpServer::start(page_at(address));
        REQUIRE_FALSE(server.has_value());
        CHECK(server.error().code == Errc::usage);
    }
    const auto open = HttpServer::start(page_at("0.0.0.0:0"));
    REQUIRE_FALSE(open.has_value());
    CHECK(open.error().code == Errc::insecure);
    auto allowed = page_at("0.0.0.0:0");
    allowed.remote = true;
    const auto remote = HttpServer::start(std::move(allowed));
    REQUIRE(remote.has_value());
    CHECK(get((*remote)->url(), "/metrics", "broker.example").starts_with("HTTP/1.1 200"));
}

TEST_CASE("an address in use is said") {
    const auto first = HttpServer::start(page_at("127.0.0.1:0"));
    REQUIRE(first.has_value());
    const std::string taken = (*first)->url().substr(sizeof "http://" - 1);
    const auto second = HttpServer::start(page_at(taken));
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().code == Errc::address);
    CHECK(second.error().sentence.find(taken) != std::string::npos);
}

// -- a page that can do something -------------------------------------------------------------

namespace {

struct CountedEvents final : HttpEvents {
    explicit CountedEvents(int last) : last_(last) {}
    bool next(std::string& out) override {
        out += "data: " + std::to_string(++told_) + "\n\n";
        return told_ < last_;
    }
    int last_;
    int told_ = 0;
};

HttpServer::Options page_that_acts(std::atomic<int>& acted) {
    HttpServer::Options options = page_at("127.0.0.1:0");
    options.action_word = "word";
    options.content_policy = "default-src 'none'";
    options.actions["/act"] = [&acted](const HttpQuery& request) {
        ++acted;
        return HttpAnswer{200, "text/plain", "did " + request.parameters.at("what")};
    };
    options.events["/events"] = [](const HttpQuery& request) {
        return request.parameters.contains("none") ? nullptr : std::make_unique<CountedEvents>(3);
    };
    return options;
}

std::string request(const std::string& method, const std::string& path,
                    const std::string& headers) {
    return method + " " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n" + headers +
           "Connection: close\r\n\r\n";
}

}  // namespace

TEST_CASE("only a page of its own, by POST and with its word, may do something") {
    std::atomic<int> acted{0};
    const auto server = HttpServer::start(page_that_acts(acted));
    REQUIRE(server.has_value());
    const std::string& url = (*server)->url();
    const std::string own = "Origin: http://127.0.0.1\r\n";
    const std::string word = "X-Vflbus-Action: word\r\n";
    for (const std::string& refused :
         {test::ask(url, request("POST", "/act?what=it", own)),
          test::ask(url, request("POST", "/act?what=it", own + "X-Vflbus-Action: other\r\n")),
          test::ask(url, request("POST", "/act?what=it", "Origin: http://evil.example\r\n" + word)),
          test::ask(url, request("POST", "/act?what=it", "Origin: null\r\n" + word)),
          test::ask(url, request("GET", "/metrics", "Origin: http://evil.example\r\n"))})
        CHECK(refused.starts_with("HTTP/1.1 403"));
    for (const char* method : {"GET", "HEAD", "PUT", "DELETE"})
        CHECK(
            test::ask(url, request(method, "/act?what=it", own + word)).starts_with("HTTP/1.1 4"));
    // who asks without a browser is told in words as well
    CHECK(test::ask(url, "POST /act HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
              .ends_with("this request makes no sense\n"));
    CHECK(test::ask(url, request("POST", "/elsewhere", own + word))
              .ends_with("there is no such page here\n"));
    CHECK(acted == 0);
    const std::string done = test::ask(url, request("POST", "/act?what=it", own + word));
    CHECK(done.starts_with("HTTP/1.1 200"));
    CHECK(done.ends_with("did it"));
    CHECK(done.find("Content-Security-Policy: default-src 'none'") != std::string::npos);
    CHECK(acted == 1);
}

TEST_CASE("whoever asks has to know the token, which leaves the address at once") {
    std::atomic<int> acted{0};
    auto options = page_that_acts(acted);
    options.token = "secret";
    const auto server = HttpServer::start(std::move(options));
    REQUIRE(server.has_value());
    const std::string& url = (*server)->url();
    for (const std::string& headers : {std::string(), std::string("Cookie: vflbus-1=secret\r\n"),
                                       std::string("Cookie: other=secret\r\n")})
        CHECK(test::ask(url, request("GET", "/metrics", headers)).starts_with("HTTP/1.1 401"));
    CHECK(test::ask(url, request("GET", "/metrics?token=secre", "")).starts_with("HTTP/1.1 401"));
    const std::string let_in = test::ask(url, request("GET", "/metrics?token=secret", ""));
    CHECK(let_in.starts_with("HTTP/1.1 303"));
    CHECK(let_in.find("Location: /metrics\r\n") != std::string::npos);
    CHECK(let_in.find("up 1") == std::string::npos);
    const std::size_t at = let_in.find("Set-Cookie: ") + 12;
    const std::string cookie = let_in.substr(at, let_in.find(';', at) - at);
    CHECK(let_in.find("HttpOnly; SameSite=Strict") != std::string::npos);
    CHECK(test::ask(url, request("GET", "/metrics", "Cookie: a=b; " + cookie + "; c=d\r\n"))
              .ends_with("up 1\n"));
    CHECK(test::ask(url, request("GET", "/events", "")).starts_with("HTTP/1.1 401"));
    CHECK(test::ask(url, request("POST", "/act?what=it", "X-Vflbus-Action: word\r\n"))
              .starts_with("HTTP/1.1 401"));
    CHECK(acted == 0);
}

TEST_CASE("events are told until there are no more") {
    std::atomic<int> acted{0};
    const auto server = HttpServer::start(page_that_acts(acted));
    REQUIRE(server.has_value());
    const std::string told = get((*server)->url(), "/events");
    CHECK(told.find("Content-Type: text/event-stream") != std::string::npos);
    for (const char* event : {"data: 1\n\n", "data: 2\n\n", "data: 3\n\n"})
        CHECK(told.find(event) != std::string::npos);
    CHECK(get((*server)->url(), "/events?none=1").starts_with("HTTP/1.1 404"));
}

TEST_CASE("connections that send half a request keep nobody from being answered") {
    const auto server = HttpServer::start(page_at("127.0.0.1:0"));
    REQUIRE(server.has_value());
    std::vector<std::unique_ptr<test::Connected>> halves;
    for (int i = 0; i < 100; ++i) {
        halves.push_back(std::make_unique<test::Connected>((*server)->url()));
        halves.back()->send("GET /metrics HTTP/1.1\r\nHost: 127");
    }
    // the whole of it is answered although each of them may wait for seconds
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 20; ++i) CHECK(get((*server)->url(), "/metrics").ends_with("up 1\n"));
    const auto took = std::chrono::steady_clock::now() - begin;
    CHECK(took < std::chrono::seconds(60));  // with five seconds for each eight it were more
}
