#include "bus/keys/allow_list_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/files.hpp"

namespace vflbus::bus {
namespace {

namespace fs = std::filesystem;

constexpr const char* head =
    "# Who may connect to this broker, one key a line:\n"
    "#   NAME PUBLIC-KEY-OR-FINGERPRINT role=... rank=... may=... expires=...\n"
    "# Changed by `vflbus allow` and `vflbus revoke`, or by hand; the broker reads it again by "
    "itself.\n";

constexpr std::size_t faults_told = 20;
constexpr Duration unreadable_told_every = std::chrono::minutes(1);
constexpr mode_t mode_bits = S_IRWXU | S_IRWXG | S_IRWXO;

/// Whose a file is and who may read it.
struct Ownership {
    uid_t user = 0;
    gid_t group = 0;
    mode_t mode = 0;
};

/// Those of the list, or of the first one: the owner of its directory.
Ownership ownership_of_list(const fs::path& file) {
    struct stat found{};
    if (::stat(file.c_str(), &found) == 0)
        return {found.st_uid, found.st_gid, found.st_mode & mode_bits};
    constexpr mode_t first = S_IRUSR | S_IWUSR | S_IRGRP;
    if (::stat(file.parent_path().c_str(), &found) == 0 && ::geteuid() == 0)
        return {found.st_uid, found.st_gid, first};
    return {::geteuid(), ::getegid(), first};
}

/// The open file is so from now on. False: it cannot be, errno says why.
bool give(int fd, const Ownership& to) {
    struct stat found{};
    if (::fstat(fd, &found) != 0) return false;
    if ((found.st_uid != to.user || found.st_gid != to.group) &&
        ::fchown(fd, to.user, to.group) != 0)
        return false;
    return ::fchmod(fd, to.mode) == 0;
}

/// As write_file_atomically, for a file whose reader is perhaps another user.
Result<> write_for_reader(const fs::path& file, std::string_view content, const Ownership& owner) {
    const std::string temporary = file.string() + ".tmp-" + std::to_string(::getpid());
    const auto failed = [&](int error) {
        ::unlink(temporary.c_str());
        return fail(Errc::io, "cannot replace " + file.string() +
                                  " by one that the same users can read: " + std::strerror(error) +
                                  (error == EACCES || error == EPERM
                                       ? "; run this as the user that the broker runs as"
                                       : ""));
    };
    ::unlink(temporary.c_str());
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                          S_IRUSR | S_IWUSR);
    if (fd < 0) return failed(errno);
    const bool written = write_all(fd, content) && give(fd, owner) && ::fsync(fd) == 0;
    const int error = errno;
    ::close(fd);
    if (!written) return failed(error);
    if (::rename(temporary.c_str(), file.c_str()) != 0) return failed(errno);
    sync_directory_of(file);
    return {};
}

/// Held while the list is read, changed and written.
class ChangeLock {
  public:
    /// `owner`: of the list, so that whoever may change it may lock it.
    ChangeLock(const fs::path& path, const Ownership& owner, OnLocked on_locked)
        : fd_(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW)) {
        if (fd_ < 0 && errno == ENOENT) {
            fd_ =
                ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
            if (fd_ >= 0 && !give(fd_, owner)) {
                const int error = errno;
                ::unlink(path.c_str());
                ::close(fd_);
                fd_ = -1;
                errno = error;
            }
        } else if (fd_ >= 0) {
            (void)give(fd_, owner);  // one that root has left behind
        }
        const int how = on_locked == OnLocked::fail ? LOCK_EX | LOCK_NB : LOCK_EX;
        int taken = 0;
        while (fd_ >= 0 && (taken = ::flock(fd_, how)) != 0 && errno == EINTR) {
        }
        if (fd_ < 0 || taken == 0) return;
        const int error = errno;
        ::close(fd_);
        fd_ = -1;
        errno = error;
    }
    ~ChangeLock() {
        if (fd_ >= 0) ::close(fd_);
    }
    ChangeLock(const ChangeLock&) = delete;
    ChangeLock& operator=(const ChangeLock&) = delete;
    [[nodiscard]] bool held() const noexcept { return fd_ >= 0; }

  private:
    int fd_;
};

}  // namespace

fs::path allow_list_path(const fs::path& directory) {
    std::error_code ec;
    const fs::path elsewhere = directory / allow_list_elsewhere_name;
    if (fs::exists(elsewhere, ec))
        if (const auto text = read_file(elsewhere))
            if (const std::string line = text->substr(0, text->find_first_of("\r\n"));
                !line.empty())
                return directory / line / allow_list_name;
    return directory / allow_list_name;
}

Result<> begin_allow_list(const fs::path& directory) {
    const fs::path file = allow_list_path(directory);
    const fs::path beside = directory / allow_list_name;
    std::error_code ec;
    if (file == beside || fs::exists(file, ec) || !fs::exists(beside, ec)) return {};
    fs::create_directories(file.parent_path(), ec);
    const auto text = read_file(beside);
    if (!text) return tl::unexpected(text.error());
    return write_file_atomically(file, *text);
}

AllowListFile::AllowListFile(fs::path file, Log log)
    : file_(std::move(file)), log_(std::move(log)), list_(std::make_shared<AllowList>()) {}

Result<std::shared_ptr<AllowListFile>> AllowListFile::open(fs::path file, Log log) {
    std::shared_ptr<AllowListFile> opened(new AllowListFile(std::move(file), std::move(log)));
    std::vector<std::string> faults;
    const FileMark found = mark_of(opened->file_);
    if (const std::string why = found.there ? opened->read(faults) : std::string(); !why.empty())
        return fail(Errc::io, "cannot read " + opened->file_.string() + ", the allow-list: " + why);
    opened->read_at_ = found;
    if (!faults.empty())
        return fail(Errc::bad_config,
                    opened->file_.string() + ", " + faults.front() +
                        (faults.size() == 1
                             ? std::string()
                             : "; and " + std::to_string(faults.size() - 1) + " lines more"));
    return opened;
}

std::shared_ptr<const AllowList> AllowListFile::list() const {
    const std::lock_guard held(lock_);
    return list_;
}

std::string AllowListFile::read(std::vector<std::string>& faults) {
    // (a pipe would make the gate wait for who writes to it)
    const int fd = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return std::strerror(errno);
    struct stat found{};
    std::string why;
    if (::fstat(fd, &found) != 0)
        why = std::strerror(errno);
    else if (!S_ISREG(found.st_mode))
        why = "it is no file";
    std::string text;
    char buffer[65536];
    while (why.empty()) {
        const ssize_t n = ::read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) why = std::strerror(errno);
        if (n <= 0) break;
        text.append(buffer, static_cast<std::size_t>(n));
        if (text.size() > allow_list_bytes_max) why = "it is larger than 8 MiB";
    }
    ::close(fd);
    if (!why.empty()) return why;
    auto fresh = std::make_shared<const AllowList>(AllowList::parse(text, faults));
    const std::lock_guard held(lock_);
    list_ = std::move(fresh);
    return {};
}

/// Said again every minute: until it is mended, a key that was revoked still counts.
void AllowListFile::tell_unreadable(const std::string& why) {
    const TimePoint now = clock_now();
    if (told_ == why && now - told_at_ < unreadable_told_every) return;
    told_ = why;
    told_at_ = now;
    if (log_)
        log_(file_.string() + " cannot be read: " + why + "; what it said before still counts");
}

void AllowListFile::tell_faults(const std::vector<std::string>& faults) const {
    if (!log_) return;
    for (std::size_t i = 0; i < faults.size() && i < faults_told; ++i)
        log_(file_.string() + ", " + faults[i] + "; this line counts as not there");
    if (faults.size() > faults_told)
        log_(file_.string() + ": " + std::to_string(faults.size() - faults_told) +
             " lines more make no sense, and count as not there");
}

bool AllowListFile::refresh(bool always) {
    const FileMark now = mark_of(file_);
    if (!always && now == read_at_) return false;
    std::vector<std::string> faults;
    // to let nobody in because a disk is full would end every run
    const std::string why = now.there ? read(faults) : "it is not there";
    if (!why.empty()) {
        tell_unreadable(why);
        return false;
    }
    // (taken before it was read: a change in between is read the next time)
    read_at_ = now;
    told_.clear();
    tell_faults(faults);
    return true;
}

Result<> change_allow_list(const fs::path& directory,
                           const std::function<Result<std::string>(const std::string&)>& change,
                           OnLocked on_locked) {
    const fs::path file = allow_list_path(directory);
    std::error_code ec;
    fs::create_directories(file.parent_path(), ec);
    if (auto begun = begin_allow_list(directory); !begun) return begun;
    const Ownership owner = ownership_of_list(file);
    const ChangeLock lock(file.string() + ".lock", owner, on_locked);
    if (!lock.held() && errno == EWOULDBLOCK)
        return fail(Errc::timed_out, "somebody else changes " + file.string() + "; try again");
    if (!lock.held())
        return fail(Errc::io, "cannot change " + file.string() + ": " + std::strerror(errno));
    std::string before = head;
    if (fs::exists(file, ec)) {
        auto text = read_file(file);
        if (!text) return tl::unexpected(text.error());
        before = std::move(*text);
    }
    const auto after = change(before);
    if (!after) return tl::unexpected(after.error());
    if (*after == before && fs::exists(file, ec)) return {};
    return write_for_reader(file, *after, owner);
}

}  // namespace vflbus::bus
