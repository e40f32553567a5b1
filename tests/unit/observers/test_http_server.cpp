#include <catch.hpp>

#include "observers/http_server.hpp"
#include "socket.hpp"

using namespace vflbus;
using namespace vflbus::observers;
using test::get;

namespace {

HttpServer::Options page_at(const std::string& address) {
    HttpServer::Options options;
    options.address = address;
    options.pages["/metrics"] = [] { return HttpAnswer{200, "text/plain", "up 1\n"}; };
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
