#include "base/files.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <exception>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>

#include "base/file_writer.hpp"
#include "base/posix.hpp"

namespace vflbus {
namespace {

namespace fs = std::filesystem;

}  // namespace

Result<std::string> read_file(const fs::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(Errc::io, because("cannot read", path));
    std::string content;
    char buffer[65536];
    for (;;) {
        const ssize_t n = ::read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            const auto failure = fail(Errc::io, because("cannot read", path));
            ::close(fd);
            return failure;
        }
        if (n == 0) break;
        content.append(buffer, static_cast<std::size_t>(n));
    }
    ::close(fd);
    return content;
}

Result<> write_file_atomically(const fs::path& path, std::string_view content) {
    auto writer = FileWriter::open(path);
    if (!writer) return tl::unexpected(writer.error());
    if (auto written = writer->write(content); !written) return written;
    return writer->finish();
}

Result<> give_as(const fs::path& file, const fs::path& like) {
    struct stat found{};
    struct stat mine{};
    if (::stat(like.c_str(), &found) == 0 && ::stat(file.c_str(), &mine) == 0 &&
        ((mine.st_uid == found.st_uid && mine.st_gid == found.st_gid) ||
         ::lchown(file.c_str(), found.st_uid, found.st_gid) == 0) &&
        ::chmod(file.c_str(), found.st_mode & (S_IRWXU | S_IRWXG | S_IRWXO)) == 0)
        return {};
    return fail(Errc::io, "cannot give " + file.string() + " the owner and mode of " +
                              like.string() + ": " + std::strerror(errno) +
                              "; run this as the user whose file that is");
}

Result<> replace_file_of_others(const fs::path& path, std::string_view content) {
    std::error_code ec;
    fs::path real = fs::canonical(path, ec);  // what a link leads to is replaced, not the link
    if (ec) real = path;
    const fs::path next = real.string() + ".tmp-" + std::to_string(::getpid());
    ::unlink(next.c_str());
    const auto written = write_new_file(next, content, S_IRUSR | S_IWUSR);
    Result<> done;
    if (!written)
        done = tl::unexpected(written.error());
    else if (auto given = give_as(next, real); !given)
        done = given;
    else if (::rename(next.c_str(), real.c_str()) != 0)
        done = fail(Errc::io, because("cannot replace", real));
    if (!done)
        ::unlink(next.c_str());
    else
        sync_directory_of(real);
    return done;
}

bool write_all(int fd, std::string_view content) noexcept {
    while (!content.empty()) {
        const ssize_t n = ::write(fd, content.data(), content.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        content.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

void sync_directory_of(const fs::path& path) {
    const fs::path directory = path.has_parent_path() ? path.parent_path() : fs::path(".");
    const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)::fsync(fd);
    ::close(fd);
}

Result<bool> write_new_file(const fs::path& path, std::string_view content, mode_t mode) {
    const std::string temporary = unfinished_name(path);
    ::unlink(temporary.c_str());
    const auto failed = [](int error, std::string_view what, const fs::path& which) {
        errno = error;
        auto failure = fail(Errc::io, because(what, which));
        errno = error;
        return failure;
    };
    const int fd =
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) return failed(errno, "cannot make", temporary);
    const bool written = ::fchmod(fd, mode) == 0 && write_all(fd, content) && ::fsync(fd) == 0;
    int error = errno;
    ::close(fd);
    // link(2) refuses a name that is taken, where rename(2) would replace it
    const bool placed = written && ::link(temporary.c_str(), path.c_str()) == 0;
    if (written) error = errno;
    ::unlink(temporary.c_str());
    if (!written) return failed(error, "cannot write", path);
    if (!placed && error != EEXIST) return failed(error, "cannot make", path);
    // also where another process was first: whoever goes on with its file may do so after it
    sync_directory_of(path);
    return placed;
}

// -- files that a killed process has begun --------------------------------------------------

namespace {

/// The process that a file FILE.tmp-PID was begun by; none for other names.
std::optional<int> writer_of(const fs::path& file) {
    constexpr std::string_view mark = ".tmp-";
    const std::string name = file.filename().string();
    const std::size_t at = name.rfind(mark);
    if (at == std::string::npos) return std::nullopt;
    const char* const begin = name.data() + at + mark.size();
    const char* const end = name.data() + name.size();
    int pid = 0;
    const auto parsed = std::from_chars(begin, end, pid);
    if (parsed.ec != std::errc{} || parsed.ptr != end || pid <= 0) return std::nullopt;
    return pid;
}

bool is_gone(int pid) {
    return pid == ::getpid() || (::kill(pid, 0) != 0 && errno == ESRCH);
}

/// Removes the files begun by processes that `left` is true of, `depth` levels down.
template <class Left>
void remove_begun(const fs::path& directory, int depth, const Left& left) {
    std::error_code ec;
    for (const fs::path& entry : entries_of(directory)) {
        if (fs::is_directory(fs::symlink_status(entry, ec))) {
            if (depth > 0) remove_begun(entry, depth - 1, left);
        } else if (const auto pid = writer_of(entry); pid && left(*pid)) {
            fs::remove(entry, ec);
        }
    }
}

constexpr int any_depth = 16;  // of what we make ourselves, four at most

}  // namespace

std::vector<fs::path> entries_of(const fs::path& directory) {
    std::vector<fs::path> paths;
    std::error_code ec;
    for (fs::directory_iterator at(directory, ec), end; !ec && at != end; at.increment(ec))
        paths.push_back(at->path());
    return paths;
}

void remove_unfinished(const fs::path& directory, int pid) noexcept {
    try {
        remove_begun(directory, any_depth, [pid](int writer) { return writer == pid; });
    } catch (const std::exception&) {  // no memory for a name: the file stays for the next start
    }
}

void sweep_unfinished(const fs::path& directory, int depth) noexcept {
    try {
        remove_begun(directory, depth, is_gone);
    } catch (const std::exception&) {  // as above
    }
}

DirectoryLock::DirectoryLock(DirectoryLock&& other) noexcept : fd_(other.fd_) {
    other.fd_ = -1;
}

DirectoryLock& DirectoryLock::operator=(DirectoryLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
}

DirectoryLock::~DirectoryLock() {
    if (fd_ >= 0) ::close(fd_);
}

Result<DirectoryLock> DirectoryLock::acquire(const fs::path& directory) {
    std::error_code ec;
    fs::create_directories(directory, ec);
    if (ec) return fail(Errc::io, "cannot create " + directory.string() + ": " + ec.message());
    const fs::path path = directory / "lock";
    DirectoryLock lock;
    lock.fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock.fd_ < 0) return fail(Errc::io, because("cannot open", path));
    if (::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
        std::string holder(32, '\0');
        const ssize_t n = ::read(lock.fd_, holder.data(), holder.size());
        holder.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
        return fail(Errc::io, "directory " + directory.string() + " is in use by process " +
                                  (holder.empty() ? "(unknown)" : holder) +
                                  "; stop it, or choose another directory");
    }
    const std::string pid = std::to_string(::getpid());
    if (::ftruncate(lock.fd_, 0) != 0 || !write_all(lock.fd_, pid))
        return fail(Errc::io, because("cannot write", path));
    return lock;
}

std::optional<int> lock_holder(const fs::path& directory) {
    struct stat file{};
    if (::stat((directory / "lock").c_str(), &file) != 0) return std::nullopt;
    std::ifstream locks("/proc/locks");
    // 1: FLOCK  ADVISORY  WRITE 4711 08:01:123456 0 EOF
    for (std::string line; std::getline(locks, line);) {
        std::istringstream words(line);
        std::string number, kind, mode, access, where;
        int pid = 0;
        if (!(words >> number >> kind >> mode >> access >> pid >> where) || kind != "FLOCK")
            continue;
        const auto inode = where.rfind(':');
        if (inode != std::string::npos && where.substr(inode + 1) == std::to_string(file.st_ino))
            return pid;
    }
    return std::nullopt;
}

Result<std::uint64_t> next_incarnation(const fs::path& directory, std::uint64_t wall_clock_ms) {
    const fs::path path = directory / "incarnation";
    std::uint64_t stored = 0;
    std::error_code ec;
    if (const bool there = fs::exists(path, ec); ec) {
        return fail(Errc::io, "cannot look for " + path.string() + ": " + ec.message());
    } else if (there) {
        const auto text = read_file(path);
        if (!text) return tl::unexpected(text.error());
        const auto parsed = std::from_chars(text->data(), text->data() + text->size(), stored);
        if (parsed.ec != std::errc{})
            return fail(Errc::io,
                        path.string() + " holds no number; delete it if no process uses it");
    }
    const std::uint64_t next = std::max(stored + 1, wall_clock_ms);
    if (auto written = write_file_atomically(path, std::to_string(next)); !written)
        return tl::unexpected(written.error());
    return next;
}

}  // namespace vflbus
