#include "observe/audit.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <istream>
#include <optional>
#include <sstream>
#include <utility>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "observe/utc.hpp"

namespace vflbus::observe {
namespace {

namespace fs = std::filesystem;

/// Before what is signed, so that a signature of something else is never one of a log.
constexpr std::string_view signed_prefix = "vflbus-audit-1:";
constexpr std::string_view signature_member = ",\"signature\":\"";
constexpr std::string_view signature_event = "signature";
constexpr std::string_view torn_event = "torn";
constexpr std::string_view head_missing_event = "head missing";

std::string hash_of(std::string_view line) {
    return to_hex(sha256(line));
}

std::string first_previous() {
    return std::string(64, '0');
}

/// What the members of a line say that every line has.
struct AuditLine {
    Json content;
    std::uint64_t number = 0;
    std::string previous;
    std::string event;
};

std::optional<AuditLine> parse_line(std::string_view text) {
    AuditLine line;
    line.content = Json::parse(text);
    if (!line.content.is_object()) return std::nullopt;
    const Json* const number = line.content.find("n");
    const Json* const previous = line.content.find("prev");
    const Json* const event = line.content.find("event");
    const bool whole = number != nullptr && number->is_number_unsigned() && previous != nullptr &&
                       previous->is_string() && event != nullptr && event->is_string();
    if (!whole) return std::nullopt;
    line.number = number->get<std::uint64_t>();
    line.previous = previous->get<std::string>();
    line.event = event->get<std::string>();
    return line;
}

/// What a signature line signs: its own bytes up to its last member.
std::optional<std::string> signed_part(std::string_view text) {
    const std::size_t at = text.rfind(signature_member);
    if (at == std::string_view::npos) return std::nullopt;
    return std::string(signed_prefix) + std::string(text.substr(0, at));
}

std::string text_member(const AuditLine& line, std::string_view key) {
    const Json* const found = line.content.find(key);
    return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
}

/// The signature must be the last member, or what stands behind it would not be signed.
bool well_signed(std::string_view text, const AuditLine& line) {
    const auto part = signed_part(text);
    const std::string signature = text_member(line, "signature");
    return part &&
           text == part->substr(signed_prefix.size()) + std::string(signature_member) + signature +
                       "\"}" &&
           is_signature_of(*part, signature, text_member(line, "key"));
}

/// What the line behind a torn one says of it.
bool tells_of(const AuditLine& line, std::string_view torn) {
    const Json* const bytes = line.content.find("bytes");
    return line.event == torn_event && bytes != nullptr && bytes->is_number_unsigned() &&
           bytes->get<std::uint64_t>() == torn.size() && text_member(line, "hash") == hash_of(torn);
}

/// Whether one of the lines that are left is this one.
bool has_line(std::istream& in, std::string_view wanted) {
    for (std::string text; std::getline(in, text);)
        if (text == wanted) return true;
    return false;
}

/// What the head file holds: the last signature, without its line feed.
struct Head {
    bool there = false;               ///< a file has that name
    std::optional<AuditLine> parsed;  ///< none: the file holds no signature
    std::string text;
};

/// Errors: io, when there is a head file that cannot be read. It may be in order, so that nothing
/// is decided without it.
Result<Head> read_head(const fs::path& directory) {
    const fs::path file = audit_head_file(directory);
    Head head;
    std::error_code ec;
    head.there = fs::exists(fs::symlink_status(file, ec));
    auto text = read_file(file);
    if (!text) {
        if (head.there) return tl::unexpected(std::move(text.error()));
        return head;
    }
    if (text->ends_with('\n')) text->pop_back();
    auto line = parse_line(*text);
    if (!line || line->event != signature_event || !well_signed(*text, *line)) return head;
    head.parsed = std::move(line);
    head.text = std::move(*text);
    return head;
}

}  // namespace

fs::path audit_file(const fs::path& directory) {
    return directory / "log";
}
fs::path audit_head_file(const fs::path& directory) {
    return directory / "head";
}
fs::path audit_key_file(const fs::path& directory) {
    return directory / "key";
}

// -- writing ----------------------------------------------------------------------------

/// The end of the log's file; all of it where that is short.
struct AuditLog::Tail {
    std::string text;
    std::uint64_t size = 0;  ///< of the file

    /// Whether one of its whole lines is this one.
    [[nodiscard]] bool has(std::string_view line) const {
        std::istringstream in(text);
        std::string cut;  // the rest of a line that begins before it
        if (text.size() < size) std::getline(in, cut);
        return has_line(in, line);
    }
};

/// The lock of the log's file, among processes.
class AuditLog::Lock {
  public:
    explicit Lock(int fd) : fd_(fd) {
        while (::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
        }
    }
    ~Lock() { ::flock(fd_, LOCK_UN); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

  private:
    int fd_;
};

AuditLog::AuditLog(fs::path directory, SigningKey key, AuditOptions options)
    : directory_(std::move(directory)), key_(std::move(key)), options_(std::move(options)) {
    if (!options_.utc_now) options_.utc_now = utc_now;
}

AuditLog::~AuditLog() {
    if (fd_ < 0) return;
    (void)sign();
    ::close(fd_);
}

Failure AuditLog::damaged(std::string what) const {
    return {Errc::bad_data, "the audit log " + audit_file(directory_).string() + " " +
                                std::move(what) + "; nothing can be added to it honestly: keep " +
                                directory_.string() + " elsewhere as it is, and a new log begins"};
}

Result<std::unique_ptr<AuditLog>> AuditLog::open(const fs::path& directory, AuditOptions options) {
    std::error_code ec;
    const bool made = fs::create_directories(directory, ec);
    if (ec) return fail(Errc::io, "cannot make " + directory.string() + ": " + ec.message());
    if (made) fs::permissions(directory, fs::perms::owner_all, ec);
    auto key = SigningKey::open(audit_key_file(directory));
    if (!key) return tl::unexpected(std::move(key.error()));
    std::unique_ptr<AuditLog> log(new AuditLog(directory, std::move(*key), std::move(options)));
    if (auto started = log->start(); !started) {
        if (log->fd_ >= 0) ::close(std::exchange(log->fd_, -1));
        return tl::unexpected(std::move(started.error()));
    }
    return log;
}

Result<> AuditLog::start() {
    const std::string path = audit_file(directory_).string();
    fd_ = ::open(path.c_str(), O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
    if (fd_ < 0) return fail(Errc::io, "cannot open " + path + ": " + std::strerror(errno));
    const std::lock_guard guard(mutex_);
    const Lock lock(fd_);
    if (auto same = check_place(); !same) return same;
    const auto tail = read_tail();
    if (!tail) return tl::unexpected(tail.error());
    if (auto found = find_end(*tail); !found) return found;
    if (lines_ == 0)
        if (auto begun = begin(); !begun) return begun;
    if (auto mended = mend_end(); !mended) return mended;
    if (auto checked = check_head(*tail); !checked) return checked;
    if (!options_.says_started) return {};
    if (auto written = write("started", Json::object()); !written) return written;
    return write_signature();
}

/// Writes the first line of a new log. It is a signature, and the head file has it before the log
/// does: whatever moment the node is killed in, a log that has a line has a head file too. So a
/// head file that is missing was removed, and is never what a crash has left.
Result<> AuditLog::begin() {
    auto head = read_head(directory_);
    if (!head) return tl::unexpected(std::move(head.error()));
    std::string first;
    if (!head->there && torn_.empty()) {
        first = compose(signature_event, Json{{"key", public_key()}}, true);
        auto stored = write_file_atomically(audit_head_file(directory_), first + "\n");
        if (!stored) return stored;
    } else if (head->parsed && head->parsed->number == 1 && head->text.starts_with(torn_) &&
               text_member(*head->parsed, "key") == public_key()) {
        first = head->text;  // a crash came between head file and log, or within the first line
    } else {
        return {};  // check_head() says what is wrong
    }
    if (auto written = write_bytes(first.substr(torn_.size()) + "\n"); !written) return written;
    torn_.clear();
    lines_ = 1;
    previous_ = hash_of(first);
    last_bytes_ = first.size();
    return {};
}

/// Compares the log with its last signature in the head file.
///
/// The next signature replaces the head file, and with it what shows that the end of the log was
/// cut off. So what is wrong with the head file is told before that, in a line that nobody can
/// remove any more without breaking the chain. The node goes on then: a backup that was put back
/// without this file shall not stop it.
///
/// `tail` is what was read of it on opening: the last signature mostly stands there.
Result<> AuditLog::check_head(const Tail& tail) {
    auto head = read_head(directory_);
    if (!head) return tl::unexpected(std::move(head.error()));
    if (!head->parsed) {
        const Json fields{{"head", head->there ? "no signature" : "absent"}};
        if (auto written = write(head_missing_event, fields); !written) return written;
        return write_signature();
    }
    if (text_member(*head->parsed, "key") != public_key())
        return tl::unexpected(damaged("was signed with another key, which is gone"));
    const std::string number = std::to_string(head->parsed->number);
    if (head->parsed->number > lines_)
        return tl::unexpected(damaged("has " + std::to_string(lines_) + " lines, and line " +
                                      number + " was signed: its end was cut off"));
    if (tail.has(head->text)) return {};
    std::ifstream in(audit_file(directory_), std::ios::binary);
    if (!has_line(in, head->text))
        return tl::unexpected(damaged("has another line " + number +
                                      " than the one that was signed: its end was cut off and "
                                      "written anew"));
    return {};
}

Result<AuditLog::Tail> AuditLog::read_tail() const {
    const fs::path path = audit_file(directory_);
    std::ifstream in(path, std::ios::binary | std::ios::ate);
    if (!in) return fail(Errc::io, "cannot read " + path.string() + ": " + std::strerror(errno));
    Tail tail;
    tail.size = static_cast<std::uint64_t>(in.tellg());
    tail.text.resize(std::min<std::uint64_t>(tail.size, 4 * audit_line_bytes_max));
    in.seekg(static_cast<std::streamoff>(tail.size - tail.text.size()));
    in.read(tail.text.data(), static_cast<std::streamsize>(tail.text.size()));
    if (!in) return fail(Errc::io, "cannot read " + path.string() + ": " + std::strerror(errno));
    return tail;
}

/// Finds the last whole line, from the end of the file. What stands behind it was torn by a crash.
Result<> AuditLog::find_end(const Tail& read) {
    const std::string& tail = read.text;
    const bool whole = tail.size() == read.size;
    std::size_t end = tail.rfind('\n');
    if (tail.size() - (end + 1) >= audit_line_bytes_max)  // npos + 1 is 0
        return tl::unexpected(damaged("ends with what no node writes"));
    while (end != std::string::npos) {
        const std::size_t before = end == 0 ? std::string::npos : tail.rfind('\n', end - 1);
        if (before == std::string::npos && !whole) break;
        const std::size_t begin = before == std::string::npos ? 0 : before + 1;
        const std::string_view last(tail.data() + begin, end - begin);
        if (const auto line = parse_line(last)) {
            size_ = read.size;
            lines_ = line->number;
            previous_ = hash_of(last);
            last_bytes_ = last.size();
            torn_ = tail.substr(end + 1);
            return {};
        }
        end = before;
    }
    if (!whole) return tl::unexpected(damaged("ends with what no node writes"));
    size_ = read.size;
    lines_ = 0;
    previous_ = first_previous();
    last_bytes_ = 0;
    torn_ = tail;
    return {};
}

Result<> AuditLog::read_end() {
    const auto tail = read_tail();
    if (!tail) return tl::unexpected(tail.error());
    return find_end(*tail);
}

/// Ends what a crash has cut off, and tells of it in a line of its own. A line that lacks nothing
/// but its end is whole.
Result<> AuditLog::mend_end() {
    if (torn_.empty()) return {};
    const std::string torn = torn_;
    const auto line = parse_line(torn);
    const bool whole = line && line->number == lines_ + 1 && line->previous == previous_;
    if (line && !whole) return tl::unexpected(damaged("ends with a line that does not follow"));
    if (!torn.ends_with('\n'))
        if (auto ended = write_bytes("\n"); !ended) return ended;
    torn_.clear();
    if (whole) {
        ++lines_;
        previous_ = hash_of(torn);
        last_bytes_ = torn.size();
        ++unsigned_;
        return {};
    }
    const std::string_view told =
        std::string_view(torn).substr(0, torn.ends_with('\n') ? torn.size() - 1 : torn.size());
    return write(torn_event, Json{{"bytes", told.size()}, {"hash", hash_of(told)}});
}

/// The file that is open must be the one that has the log's name: who removes or replaces the log
/// of a running node would have it write where nobody reads.
Result<> AuditLog::check_place() const {
    const std::string path = audit_file(directory_).string();
    struct stat opened{};
    struct stat named{};
    if (::fstat(fd_, &opened) != 0)
        return fail(Errc::io, "cannot look at " + path + ": " + std::strerror(errno));
    const bool there = ::stat(path.c_str(), &named) == 0;
    if (!there && errno != ENOENT && errno != ENOTDIR)
        return fail(Errc::io, "cannot look at " + path + ": " + std::strerror(errno));
    if (!there) return tl::unexpected(damaged("was removed while it was open"));
    if (named.st_dev != opened.st_dev || named.st_ino != opened.st_ino)
        return tl::unexpected(damaged("was replaced while it was open"));
    return {};
}

/// Whether the last whole line that this process knows of is still where it was. The hash in it
/// holds those before it.
bool AuditLog::last_line_stands() const {
    std::ifstream in(audit_file(directory_), std::ios::binary);
    std::string last(last_bytes_, '\0');
    in.seekg(static_cast<std::streamoff>(size_ - torn_.size() - 1 - last_bytes_));
    in.read(last.data(), static_cast<std::streamsize>(last.size()));
    return in && hash_of(last) == previous_;
}

/// Another process may have added lines.
Result<> AuditLog::catch_up() {
    if (auto same = check_place(); !same) return same;
    struct stat about{};
    if (::fstat(fd_, &about) != 0)
        return fail(Errc::io, "cannot look at " + audit_file(directory_).string() + ": " +
                                  std::strerror(errno));
    const auto size = static_cast<std::uint64_t>(about.st_size);
    if (size < size_) return tl::unexpected(damaged("has become shorter"));
    if (size == size_) return {};
    if (lines_ != 0 && !last_line_stands())
        return tl::unexpected(damaged("was changed while it was open"));
    return read_end();
}

Result<> AuditLog::write_bytes(std::string_view bytes) {
    const auto failed = [&](const char* what, const std::string& why) {
        // what is there of the line, or all of it, is found out and told of by the next one
        (void)read_end();
        return fail(Errc::io, std::string("cannot ") + what + " the audit log " +
                                  audit_file(directory_).string() + ": " + why);
    };
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t now = ::write(fd_, bytes.data() + done, bytes.size() - done);
        if (now < 0 && errno == EINTR) continue;
        if (now <= 0) return failed("write", now == 0 ? "it is full" : std::strerror(errno));
        done += static_cast<std::size_t>(now);
    }
    size_ += bytes.size();
    if (::fdatasync(fd_) != 0) return failed("store", std::strerror(errno));
    return {};
}

/// The next line, without its line feed.
std::string AuditLog::compose(std::string_view event, const Json& fields, bool signs) const {
    Json line = Json::object();
    line["n"] = lines_ + 1;
    line["time"] = options_.utc_now();
    line["prev"] = previous_;
    line["event"] = event;
    for (const Json::Member& member : fields.items()) line[member.key] = member.value;
    std::string text = line.dump();
    if (signs) {
        text.pop_back();
        text +=
            std::string(signature_member) + key_.sign(std::string(signed_prefix) + text) + "\"}";
    }
    return text;
}

/// Under both locks, with `size_`, `lines_` and `previous_` those of the file.
Result<> AuditLog::write(std::string_view event, const Json& fields, bool signs) {
    if (auto mended = mend_end(); !mended) return mended;
    const std::string text = compose(event, fields, signs);
    if (text.size() + 1 > audit_line_bytes_max)
        return fail(Errc::too_large, "a line of the audit log would have " +
                                         std::to_string(text.size() + 1) + " bytes");
    if (auto written = write_bytes(text + "\n"); !written) return written;
    ++lines_;
    previous_ = hash_of(text);
    last_bytes_ = text.size();
    if (unsigned_++ == 0) unsigned_since_ = std::chrono::steady_clock::now();
    if (!signs) return {};
    unsigned_ = 0;
    return write_file_atomically(audit_head_file(directory_), text + "\n");
}

Result<> AuditLog::write_signature() {
    return write(signature_event, Json{{"key", public_key()}}, true);
}

Result<> AuditLog::append(std::string_view event, const Json& fields) {
    const std::lock_guard guard(mutex_);
    const Lock lock(fd_);
    if (auto ready = catch_up(); !ready) return ready;
    if (auto written = write(event, fields); !written) return written;
    // that the line is there is what counts; a signature that failed is made with a later one
    if (unsigned_ >= options_.sign_after_lines) (void)write_signature();
    return {};
}

Result<> AuditLog::sign() {
    const std::lock_guard guard(mutex_);
    if (unsigned_ == 0) return {};
    const Lock lock(fd_);
    if (auto ready = catch_up(); !ready) return ready;
    return write_signature();
}

Result<> AuditLog::sign_when_due() {
    {
        const std::lock_guard guard(mutex_);
        if (unsigned_ == 0 ||
            std::chrono::steady_clock::now() - unsigned_since_ < options_.sign_after)
            return {};
    }
    return sign();
}

// -- reading ----------------------------------------------------------------------------

namespace {

/// Goes through a log line by line and keeps what has been shown so far.
class AuditReader {
  public:
    /// `head`: the text of the head file; empty: there is none.
    AuditReader(const fs::path& log, std::string head, const AuditExpected& expected)
        : log_(log), expected_head_(expected.head), head_line_(std::move(head)) {
        verdict_.public_key = expected.public_key;
        if (head_line_.ends_with('\n')) head_line_.pop_back();
        needs_head_ = expected.head_file;
    }

    using Each = std::function<void(std::uint64_t, const Json&)>;

    Result<AuditVerdict> read(std::istream& in, const Each& each) {
        std::string text;
        while (std::getline(in, text)) {
            ++physical_;
            const bool ended = !in.eof();
            if (auto taken = take(text, ended, each); !taken) return tl::unexpected(taken.error());
        }
        if (pending_)
            return wrong(pending_at_,
                         "is no line of a node, and none behind it tells "
                         "of a crash there");
        if (auto good = check_head(); !good) return tl::unexpected(good.error());
        return verdict_;
    }

  private:
    [[nodiscard]] tl::unexpected<Failure> wrong(std::uint64_t line, const std::string& how) const {
        return fail(Errc::bad_data, log_.string() + ": line " + std::to_string(line) + " " + how);
    }

    Result<> take(const std::string& text, bool ended, const Each& each) {
        if (text.size() >= audit_line_bytes_max)
            return wrong(physical_, "is longer than any line of a node (" +
                                        std::to_string(text.size()) + " bytes)");
        const auto line = parse_line(text);
        if (!ended) {
            verdict_.note = "the last line has no end (" + std::to_string(text.size()) +
                            " bytes): its node was ended while it wrote; ";
            return {};
        }
        if (!line) {
            if (!pending_) pending_at_ = physical_;
            pending_ = pending_ ? *pending_ + "\n" + text : text;
            if (pending_->size() > 4 * audit_line_bytes_max)
                return wrong(pending_at_, "is no line of a node");
            return {};
        }
        if (line->number != verdict_.lines + 1)
            return wrong(physical_, "has number " + std::to_string(line->number) +
                                        " where number " + std::to_string(verdict_.lines + 1) +
                                        " belongs: lines were removed, put in or moved");
        if (line->previous != previous_)
            return wrong(physical_,
                         "does not follow from the line before it, which was changed, "
                         "or is another one");
        if (pending_) {
            if (!tells_of(*line, *pending_))
                return wrong(pending_at_,
                             "is no line of a node, and the next one does not tell "
                             "of a crash there");
            ++verdict_.torn;
            pending_.reset();
        } else if (line->event == torn_event) {
            return wrong(physical_, "tells of a torn line that is not there");
        }
        ++verdict_.lines;
        previous_ = hash_of(text);
        if (line->event == signature_event)
            if (auto good = take_signature(text, *line); !good) return good;
        if (line->event == head_missing_event) verdict_.head_missing = verdict_.lines;
        if (text == head_line_) head_found_ = true;
        if (std::to_string(line->number) + ":" + previous_ == expected_head_)
            expected_found_ = line->number;
        if (each) each(verdict_.lines, line->content);
        return {};
    }

    Result<> take_signature(const std::string& text, const AuditLine& line) {
        const std::string key = text_member(line, "key");
        if (verdict_.public_key.empty()) verdict_.public_key = key;
        if (key != verdict_.public_key)
            return wrong(physical_, "is a signature by another key, " + key);
        if (!well_signed(text, line)) return wrong(physical_, "is no good signature");
        ++verdict_.signatures;
        verdict_.signed_lines = verdict_.lines;
        verdict_.head = std::to_string(verdict_.lines) + ":" + previous_;
        return {};
    }

    Result<> check_head() {
        if (verdict_.signatures == 0)
            return fail(Errc::bad_data, log_.string() + ": holds no signature");
        if (!expected_head_.empty() && expected_found_ == 0)
            return fail(Errc::bad_data, log_.string() + ": has no line " + expected_head_ +
                                            ", which it had: its end was cut off, or it was "
                                            "written anew");
        if (head_line_.empty() && needs_head_)
            return fail(Errc::bad_data,
                        log_.string() + ": the file " +
                            audit_head_file(log_.parent_path()).string() +
                            " with its last signature is not there, so that its end may have been "
                            "cut off");
        if (!head_line_.empty() && !head_found_)
            return fail(Errc::bad_data, log_.string() +
                                            ": the last signature, in the file beside it, is not "
                                            "among its lines: its end was cut off");
        return take_head_missing();
    }

    /// A line that tells of a missing head file is no fault only for who knows of it: who asks for
    /// no head file, or has written down a line that came later.
    Result<> take_head_missing() {
        if (verdict_.head_missing != 0) {
            const std::string told = "line " + std::to_string(verdict_.head_missing) +
                                     " tells that the head file was missing then, so that lines "
                                     "before it may have been cut off";
            if (needs_head_ && expected_found_ < verdict_.head_missing)
                return fail(Errc::bad_data, log_.string() + ": " + told);
            verdict_.note += told + "; ";
        }
        if (verdict_.signed_lines < verdict_.lines)
            verdict_.note += std::to_string(verdict_.lines - verdict_.signed_lines) +
                             " lines behind the last signature are not signed yet; ";
        if (!verdict_.note.empty()) verdict_.note.resize(verdict_.note.size() - 2);
        return {};
    }

    fs::path log_;
    std::string expected_head_;
    std::string head_line_;
    bool needs_head_ = true;
    bool head_found_ = false;
    std::uint64_t expected_found_ = 0;  ///< the line that `expected_head_` is; 0: none
    AuditVerdict verdict_;
    std::string previous_ = first_previous();
    std::uint64_t physical_ = 0;          ///< lines of the file
    std::optional<std::string> pending_;  ///< one that the next has to account for
    std::uint64_t pending_at_ = 0;
};

}  // namespace

Result<AuditVerdict> verify_audit(
    const fs::path& log, const AuditExpected& expected,
    const std::function<void(std::uint64_t line, const Json& content)>& each) {
    std::ifstream in(log, std::ios::binary);
    if (!in) return fail(Errc::io, "cannot read " + log.string() + ": " + std::strerror(errno));
    const auto head = read_file(audit_head_file(log.parent_path()));
    return AuditReader(log, head ? *head : std::string(), expected).read(in, each);
}

Result<AuditVerdict> verify_audit_text(
    const std::string& text, const std::string& head, const AuditExpected& expected,
    const std::function<void(std::uint64_t line, const Json& content)>& each) {
    std::istringstream in(text);
    return AuditReader("the log", head, expected).read(in, each);
}

}  // namespace vflbus::observe
