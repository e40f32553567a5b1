// Whatever connects to the broker's port, a training that is under way is not disturbed.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace proc;

namespace {

int connect_to(int port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        ::close(fd);
        return -1;
    }
    return fd;
}

void say(int fd, const std::string& bytes) {
    // the broker may hang up in the middle: that is its right
    (void)!::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

std::string zmtp_greeting() {
    std::string greeting("\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL", 16);
    greeting.resize(64, '\0');
    return greeting;
}

std::string zmtp_ready(const std::string& socket_type) {
    std::string body("\5READY", 6);
    body += std::string("\x0bSocket-Type", 12) + std::string("\0\0\0", 3) +
            static_cast<char>(socket_type.size()) + socket_type;
    return std::string("\4", 1) + static_cast<char>(body.size()) + body;
}

std::string noise(std::size_t bytes, unsigned seed) {
    std::string text(bytes, '\0');
    for (char& c : text) {
        seed = seed * 1664525u + 1013904223u;
        c = static_cast<char>(seed >> 24);
    }
    return text;
}

}  // namespace

TEST_CASE("garbage and port scanners do not disturb a run", "[hostile][short]") {
    const TempDir dir;
    make_example(dir);
    Process broker(dir, {"broker", "--bind", "tcp://127.0.0.1:0"});
    const std::string address = first_endpoint(broker);
    const int port = std::stoi(address.substr(address.rfind(':') + 1));
    const auto member = [&](const std::string& rank) {
        return Words{"actor",    "--role", "member",   "--rank",   rank,    "--once",
                     "--broker", address,  "--config", "run.toml", "--set", "model.epochs=150"};
    };
    Process first(dir, member("0"));
    Process second(dir, member("1"));
    Process master(dir, {"actor", "--role", "master", "--broker", address, "--config", "run.toml",
                         "--set", "model.epochs=150"});

    std::vector<int> half_open;
    for (unsigned round = 0; round < 20; ++round) {
        const std::vector<std::string> openings{
            "", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", noise(3000, round), zmtp_greeting(),
            // a good handshake, then frames that mean nothing
            zmtp_greeting() + zmtp_ready("DEALER") + std::string("\0\4abcd", 6),
            zmtp_greeting() + zmtp_ready("DEALER") + std::string("\1\0\0\x20", 4) +
                noise(32, round + 100),
            zmtp_greeting() + zmtp_ready("DEALER") + std::string("\0\xc8", 2) + noise(200, round),
            zmtp_greeting() + zmtp_ready("PUB"),
            // a frame that announces 2^62 bytes
            zmtp_greeting() + zmtp_ready("DEALER") + std::string("\2\x40\0\0\0\0\0\0\0", 9)};
        for (const std::string& opening : openings) {
            const int fd = connect_to(port);
            REQUIRE(fd >= 0);
            say(fd, opening);
            if (round % 2 == 0)
                half_open.push_back(fd);
            else
                ::close(fd);
        }
    }
    for (Process* const process : {&master, &first, &second}) {
        const Finished finished = process->wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
    }
    for (const int fd : half_open) ::close(fd);

    // and the broker still serves
    Process third(dir, member("0"));
    Process fourth(dir, member("1"));
    const Finished again = run(dir, {"actor", "--role", "master", "--broker", address, "--config",
                                     "run.toml", "--set", "model.epochs=150"});
    INFO(again.err);
    CHECK(again.exit_code == 0);
    CHECK(third.wait().exit_code == 0);
    CHECK(fourth.wait().exit_code == 0);
    broker.signal(SIGTERM);
    CHECK(broker.wait().exit_code == 0);
    CHECK(left_behind(dir) == "");
}
