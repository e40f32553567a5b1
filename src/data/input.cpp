#include "data/input.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/assert.hpp"

namespace vflbus::data {

/// Where the bytes are: in a file, or in memory.
struct Input::Store {
    Store() = default;
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    ~Store() {
        if (fd >= 0) ::close(fd);
    }

    int fd = -1;  ///< -1: in memory
    std::string bytes;
};

Input::Input(std::shared_ptr<const Store> store, std::uint64_t size)
    : store_(std::move(store)), size_(size) {}

Result<Input> Input::open(const std::string& path) {
    auto store = std::make_shared<Store>();
    // O_NONBLOCK: opening a named pipe must not wait for a writer
    store->fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (store->fd < 0)
        return fail(Errc::io, std::string("cannot be opened: ") + std::strerror(errno));
    struct stat info{};
    if (::fstat(store->fd, &info) != 0)
        return fail(Errc::io, std::string("cannot be read: ") + std::strerror(errno));
    if (S_ISDIR(info.st_mode))
        return fail(Errc::io,
                    "is a directory, not a regular file; for a table in several parts give a "
                    "pattern, such as '*.csv' in it");
    if (!S_ISREG(info.st_mode))
        return fail(Errc::io,
                    "is not a regular file; give the path of a CSV file, or exec:cat and the path "
                    "of a pipe");
    (void)::posix_fadvise(store->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return Input(std::move(store), static_cast<std::uint64_t>(info.st_size));
}

Input Input::of_bytes(std::string bytes) {
    auto store = std::make_shared<Store>();
    store->bytes = std::move(bytes);
    const std::uint64_t size = store->bytes.size();
    return {std::move(store), size};
}

Result<> Input::read(std::uint64_t offset, char* out, std::size_t count) const {
    if (count == 0) return {};
    VFLBUS_ASSERT(store_ != nullptr, "what has no bytes is not read");
    if (store_->fd < 0) {
        VFLBUS_ASSERT(offset <= size_ && count <= size_ - offset,
                      "what is read of bytes in memory lies within them");
        std::copy_n(store_->bytes.data() + offset, count, out);
        return {};
    }
    while (count > 0) {
        const ssize_t n = ::pread(store_->fd, out, count, static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(Errc::io, std::string("cannot be read: ") + std::strerror(errno));
        if (n == 0)
            return fail(Errc::io,
                        "became shorter while it was read; start again when nobody writes to it");
        offset += static_cast<std::uint64_t>(n);
        out += n;
        count -= static_cast<std::size_t>(n);
    }
    return {};
}

Result<std::string> Input::head(std::size_t count) const {
    std::string bytes(static_cast<std::size_t>(std::min<std::uint64_t>(count, size_)), '\0');
    if (auto ok = read(0, bytes.data(), bytes.size()); !ok) return tl::unexpected(ok.error());
    return bytes;
}

// -- Spool ------------------------------------------------------------------------

namespace {

std::string temporary_directory() {
    const char* const named = std::getenv("TMPDIR");
    return named != nullptr && *named != '\0' ? named : "/tmp";
}

Failure cannot_store(int error) {
    const std::string directory = temporary_directory();
    return {Errc::io, "cannot be unpacked into " + directory + ": " + std::strerror(error) +
                          "; make room there, or name another directory in TMPDIR"};
}

Result<> write_all(int fd, const char* data, std::size_t count) {
    while (count > 0) {
        const ssize_t n = ::write(fd, data, count);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tl::unexpected(cannot_store(errno));
        data += n;
        count -= static_cast<std::size_t>(n);
    }
    return {};
}

}  // namespace

Spool::~Spool() {
    if (fd_ >= 0) ::close(fd_);
}

Result<> Spool::to_file() {
    std::string path = temporary_directory() + "/vflbus-table-XXXXXX";
    fd_ = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd_ < 0) return tl::unexpected(cannot_store(errno));
    ::unlink(path.c_str());
    if (auto ok = write_all(fd_, bytes_.data(), bytes_.size()); !ok) return ok;
    bytes_ = {};
    return {};
}

Result<> Spool::append(const char* data, std::size_t count) {
    if (fd_ < 0 && bytes_.size() + count > spool_memory_bytes)
        if (auto ok = to_file(); !ok) return ok;
    size_ += count;
    if (fd_ >= 0) return write_all(fd_, data, count);
    bytes_.append(data, count);
    return {};
}

Input Spool::finish() {
    auto store = std::make_shared<Input::Store>();
    store->fd = std::exchange(fd_, -1);
    store->bytes = std::move(bytes_);
    return {std::move(store), std::exchange(size_, 0)};
}

Result<> receive(int fd, Spool& spool) {
    std::string block(std::size_t{256} << 10, '\0');
    for (;;) {
        const ssize_t n = ::read(fd, block.data(), block.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(Errc::io, std::string("cannot be read: ") + std::strerror(errno));
        if (n == 0) return {};
        if (auto ok = spool.append(block.data(), static_cast<std::size_t>(n)); !ok) return ok;
    }
}

}  // namespace vflbus::data
