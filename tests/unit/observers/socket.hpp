#pragma once
// One HTTP request over a socket, byte by byte as a test wants it.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>

namespace vflbus::test {

/// A connection to "http://127.0.0.1:PORT".
class Connected {
  public:
    explicit Connected(const std::string& url) {
        const std::size_t colon = url.rfind(':');
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(colon + 1))));
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    }
    ~Connected() { ::close(fd_); }
    Connected(const Connected&) = delete;
    Connected& operator=(const Connected&) = delete;

    void send(const std::string& text) const {
        if (!connected_) return;
        [[maybe_unused]] const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    }
    /// What has come, waiting for the first of it; empty when the other end has closed.
    [[nodiscard]] std::string receive() const {
        char piece[4096];
        const ssize_t got = connected_ ? ::recv(fd_, piece, sizeof piece, 0) : 0;
        return got <= 0 ? std::string() : std::string(piece, static_cast<std::size_t>(got));
    }

  private:
    int fd_ = -1;
    bool connected_ = false;
};

/// What comes back until the other end closes; empty when nobody listens.
inline std::string ask(const std::string& url, const std::string& request) {
    const Connected connection(url);
    connection.send(request);
    std::string reply;
    for (std::string piece; !(piece = connection.receive()).empty();) reply += piece;
    return reply;
}

inline std::string get(const std::string& url, const std::string& path,
                       const std::string& host = "127.0.0.1", const std::string& method = "GET") {
    return ask(
        url, method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
}

}  // namespace vflbus::test
