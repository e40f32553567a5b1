#include "base/file_writer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "base/durable.hpp"
#include "base/files.hpp"
#include "base/posix.hpp"

namespace vflbus {
namespace {

namespace fs = std::filesystem;

/// Whether it is of any use to try again.
Errc of_errno() {
    const int never[] = {EACCES, EPERM, EROFS, EINVAL, ENOTSUP, EBADF};
    return std::ranges::find(never, errno) != std::end(never) ? Errc::refused : Errc::io;
}

/// Where a file is written, and whether in place: a device, a pipe and an open file of a process
/// (/dev/stdout) keep their names, which a rename would take from them.
struct Place {
    fs::path path;
    bool in_place = false;
};

/// Follows symlinks, also to files that are not there yet.
Result<Place> place_of(fs::path path) {
    constexpr int links_max = 40;  // as Linux has it
    for (int links = 0; links <= links_max; ++links) {
        std::error_code ec;
        const fs::file_status status = fs::symlink_status(path, ec);
        if (!fs::is_symlink(status))
            return Place{path, fs::exists(status) && !fs::is_regular_file(status) &&
                                   !fs::is_directory(status)};
        // such a link may lead to a pipe that has no path at all
        if (fs::weakly_canonical(path.parent_path(), ec).string().starts_with("/proc/"))
            return Place{path, true};
        const fs::path to = fs::read_symlink(path, ec);
        if (ec) return fail(Errc::io, "cannot follow " + path.string() + ": " + ec.message());
        path = to.is_absolute() ? to : path.parent_path() / to;
    }
    errno = ELOOP;
    return fail(Errc::io, because("cannot write", path));
}

}  // namespace

class FileWriter::Steps final : public FileSteps {
  public:
    explicit Steps(mode_t mode) : mode_(mode) {}
    ~Steps() override { close(); }
    Steps(const Steps&) = delete;
    Steps& operator=(const Steps&) = delete;

    bool is_directory(const fs::path& path) override {
        std::error_code ignored;
        return fs::is_directory(path, ignored);
    }
    Result<> make_directory(const fs::path& path) override {
        std::error_code ec;
        fs::create_directory(path, ec);
        if (ec) return fail(Errc::io, "cannot create " + path.string() + ": " + ec.message());
        return {};
    }
    Result<> write(const fs::path& path, std::string_view content) override {
        close();
        ::unlink(path.c_str());  // one that is left may be open to others
        fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode_);
        if (fd_ < 0) return fail(Errc::io, because("cannot write", path));
        return append(path, content);
    }
    /// To the file that write() has begun, or that was opened last.
    Result<> append(const fs::path& path, std::string_view piece) const {
        if (write_all(fd_, piece)) return {};
        return fail(Errc::io, because("cannot write", path));
    }
    /// To be written into as it is.
    Result<> open(const fs::path& path) {
        close();
        // to the end: where /dev/stdout is a file, there may be something before it
        fd_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
        return fd_ < 0 ? fail(of_errno(), because("cannot write", path)) : Result<>{};
    }
    Result<> close_whole(const fs::path& path) {
        const bool closed = ::close(std::exchange(fd_, -1)) == 0;
        return closed ? Result<>{} : fail(Errc::io, because("cannot write", path));
    }
    Result<> sync(const fs::path& path) override {
        const bool synced = fd_ >= 0 && ::fsync(fd_) == 0;
        Result<> done = synced ? Result<>{} : fail(Errc::io, because("cannot sync", path));
        close();
        return done;
    }
    Result<> rename(const fs::path& from, const fs::path& to) override {
        if (::rename(from.c_str(), to.c_str()) == 0) return {};
        return fail(Errc::io, because("cannot put in place", to));
    }
    Result<> sync_directory(const fs::path& path) override {
        const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) return fail(of_errno(), because("cannot open directory", path));
        auto done = ::fsync(fd) == 0 ? Result<>{}
                                     : fail(of_errno(), because("cannot sync directory", path));
        ::close(fd);
        return done;
    }
    void discard(const fs::path& path) noexcept override { ::unlink(path.c_str()); }
    bool is_durable(const fs::path& directory) override {
        const std::lock_guard lock(durable_mutex);
        return durable.contains(directory.string()) && is_directory(directory);
    }
    void note_durable(const fs::path& directory) override {
        const std::lock_guard lock(durable_mutex);
        // directories come and go with the runs of a process that goes on for months
        if (durable.size() >= durable_max) durable.clear();
        durable.insert(directory.string());
    }

  private:
    static constexpr std::size_t durable_max = 32;
    static inline std::mutex durable_mutex;
    static inline std::set<std::string> durable;

    void close() noexcept {
        if (fd_ >= 0) ::close(fd_);
        fd_ = -1;
    }
    mode_t mode_;
    int fd_ = -1;  ///< of the file written last, until it is synced
};

FileWriter::FileWriter(std::unique_ptr<Steps> steps, fs::path path)
    : steps_(std::move(steps)), path_(std::move(path)) {}
FileWriter::FileWriter(FileWriter&&) noexcept = default;

FileWriter::~FileWriter() {
    if (steps_ != nullptr && !temporary_.empty()) steps_->discard(temporary_);
}

Result<FileWriter> FileWriter::open(fs::path path, mode_t mode) {
    auto place = place_of(std::move(path));
    if (!place) return tl::unexpected(place.error());
    FileWriter writer(std::make_unique<Steps>(mode), std::move(place->path));
    Steps& steps = *writer.steps_;
    if (place->in_place) {
        if (auto opened = steps.open(writer.path_); !opened) return tl::unexpected(opened.error());
        return writer;
    }
    if (auto made = make_directories_above(steps, writer.path_); !made)
        return tl::unexpected(made.error());
    const fs::path temporary = unfinished_name(writer.path_);
    if (auto begun = steps.write(temporary, {}); !begun) return tl::unexpected(begun.error());
    writer.temporary_ = temporary;
    return writer;
}

Result<> FileWriter::write(std::string_view piece) {
    return steps_->append(temporary_.empty() ? path_ : temporary_, piece);
}

Result<> FileWriter::finish() {
    if (temporary_.empty()) return steps_->close_whole(path_);
    return put_in_place(*steps_, path_, std::exchange(temporary_, {}));
}

}  // namespace vflbus
