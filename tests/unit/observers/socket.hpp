#pragma once
// One HTTP request over a socket, byte by byte as a test wants it.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

namespace vflbus::test {

/// What comes back until the other end closes; empty when nobody listens.
inline std::string ask(const std::string& url, const std::string& request) {
    const std::size_t colon = url.rfind(':');
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(colon + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    std::string reply;
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) {
        [[maybe_unused]] const ssize_t sent =
            ::send(fd, request.data(), request.size(), MSG_NOSIGNAL);
        char piece[4096];
        for (ssize_t got = 0; (got = ::recv(fd, piece, sizeof piece, 0)) > 0;)
            reply.append(piece, static_cast<std::size_t>(got));
    }
    ::close(fd);
    return reply;
}

inline std::string get(const std::string& url, const std::string& path,
                       const std::string& host = "127.0.0.1", const std::string& method = "GET") {
    return ask(
        url, method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
}

}  // namespace vflbus::test
