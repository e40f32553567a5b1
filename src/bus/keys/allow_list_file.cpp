#include "bus/keys/allow_list_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
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

/// Held while the list is read, changed and written.
class ChangeLock {
  public:
    explicit ChangeLock(const fs::path& path)
        : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR)) {
        while (fd_ >= 0 && ::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
        }
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
    return directory / allow_list_name;
}

bool AllowListFile::Mark::same(const Mark& other) const noexcept {
    return there == other.there && device == other.device && inode == other.inode &&
           size == other.size && changed.tv_sec == other.changed.tv_sec &&
           changed.tv_nsec == other.changed.tv_nsec;
}

AllowListFile::AllowListFile(fs::path file, Log log)
    : file_(std::move(file)), log_(std::move(log)), list_(std::make_shared<AllowList>()) {}

Result<std::shared_ptr<AllowListFile>> AllowListFile::open(fs::path file, Log log) {
    std::shared_ptr<AllowListFile> opened(new AllowListFile(std::move(file), std::move(log)));
    std::vector<std::string> faults;
    const Mark found = opened->mark();
    if (found.there && !opened->read(faults))
        return fail(Errc::io, "cannot read " + opened->file_.string() + ", the allow-list");
    opened->read_at_ = found;
    if (!faults.empty())
        return fail(Errc::bad_config,
                    opened->file_.string() + ", " + faults.front() +
                        (faults.size() == 1
                             ? std::string()
                             : "; and " + std::to_string(faults.size() - 1) + " lines more"));
    return opened;
}

AllowListFile::Mark AllowListFile::mark() const {
    struct stat found{};
    if (::stat(file_.c_str(), &found) != 0) return {};
    return {found.st_dev, found.st_ino, found.st_size, found.st_ctim, true};
}

std::shared_ptr<const AllowList> AllowListFile::list() const {
    const std::lock_guard held(lock_);
    return list_;
}

bool AllowListFile::read(std::vector<std::string>& faults) {
    const auto text = read_file(file_);
    if (!text) return false;
    auto fresh = std::make_shared<const AllowList>(AllowList::parse(*text, faults));
    const std::lock_guard held(lock_);
    list_ = std::move(fresh);
    return true;
}

bool AllowListFile::refresh(bool always) {
    const Mark now = mark();
    if (!always && now.same(read_at_)) return false;
    std::vector<std::string> faults;
    if (!now.there || !read(faults)) {
        // to let nobody in because a disk is full would end every run
        const std::string why =
            file_.string() + " cannot be read: what it said before still counts";
        if (std::exchange(told_, why) != why && log_) log_(why);
        return false;
    }
    // (taken before it was read: a change in between is read the next time)
    read_at_ = now;
    told_.clear();
    for (const std::string& fault : faults)
        if (log_) log_(file_.string() + ", " + fault + "; this line counts as not there");
    return true;
}

Result<> change_allow_list(const fs::path& directory,
                           const std::function<Result<std::string>(const std::string&)>& change) {
    const fs::path file = allow_list_path(directory);
    std::error_code ec;
    fs::create_directories(directory, ec);
    const ChangeLock lock(file.string() + ".lock");
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
    return write_file_atomically(file, *after);
}

}  // namespace vflbus::bus
