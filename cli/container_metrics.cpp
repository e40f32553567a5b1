#include "container_metrics.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <system_error>

#include "observers/http_client.hpp"
#include "observers/http_server.hpp"
#include "observers/metrics.hpp"

namespace vflbus::cli {
namespace {

constexpr std::chrono::seconds scrape_patience{5};

/// A directory that is kept open: the name of a socket may have 107 bytes, and by this number it is
/// short wherever the directory lies.
class OpenDirectory {
  public:
    explicit OpenDirectory(const std::filesystem::path& path)
        : fd_(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}
    ~OpenDirectory() {
        if (fd_ >= 0) ::close(fd_);
    }
    OpenDirectory(const OpenDirectory&) = delete;
    OpenDirectory& operator=(const OpenDirectory&) = delete;
    [[nodiscard]] bool is_open() const { return fd_ >= 0; }
    [[nodiscard]] std::string file(const std::string& name) const {
        return "/proc/self/fd/" + std::to_string(fd_) + "/" + name;
    }

  private:
    int fd_;
};

}  // namespace

Result<std::unique_ptr<observers::HttpServer>> relay_metrics(
    const std::string& address, bool remote, const std::filesystem::path& directory) {
    const auto opened = std::make_shared<OpenDirectory>(directory);
    if (!opened->is_open())
        return fail(Errc::io, "cannot open " + directory.string() + ": " +
                                  std::generic_category().message(errno));
    observers::HttpServer::Options http;
    http.address = address;
    http.remote = remote;
    http.pages["/metrics"] = [opened](const observers::HttpQuery&) {
        static const std::atomic<bool> never{false};
        const auto reply = observers::send(
            {.url = "http://localhost/metrics", .socket_file = opened->file("metrics")}, {},
            scrape_patience, never);
        if (!reply)
            return observers::HttpAnswer{503, "text/plain", "the container does not answer\n"};
        return observers::HttpAnswer{static_cast<int>(reply->status), observers::metrics_type,
                                     reply->body};
    };
    return observers::HttpServer::start(std::move(http));
}

}  // namespace vflbus::cli
