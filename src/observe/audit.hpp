#pragma once
// The audit log of a node: what it decided about the runs of others, and what those runs did.
//
// An ordinary log can be edited afterwards by whoever gets at the file. Here every line has the
// hash of the line before it, and now and then a line is a signature by a key of the node, so that
// a line that was changed, removed, put in or moved shows, and so does a log whose end was cut off
// below its last signature. docs/policy.md, "The audit log", is the format, and says what does not
// show.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/errc.hpp"
#include "base/json.hpp"
#include "base/signature.hpp"

namespace vflbus::observe {

/// No line is longer, its line feed included.
inline constexpr std::size_t audit_line_bytes_max = 64 << 10;

struct AuditOptions {
    std::uint64_t sign_after_lines = 32;
    std::chrono::seconds sign_after{600};
    /// A command that adds a line to the log of a node is no start of that node.
    bool says_started = true;
    /// UTC, "2026-02-03T04:05:06.789Z"; empty: the system's clock.
    std::function<std::string()> utc_now{};
};

// The files in the directory of an audit log.
std::filesystem::path audit_file(const std::filesystem::path& directory);
/// The last signature, a copy of its line: shows that the end of the log was cut off.
std::filesystem::path audit_head_file(const std::filesystem::path& directory);
std::filesystem::path audit_key_file(const std::filesystem::path& directory);

/// Appends to the log in a directory. Safe to use from several threads, and by several processes at
/// once: each takes the lock of the file for a line, and goes on from the line that is last then.
class AuditLog {
  public:
    /// Makes the directory, the key and the log where they are missing, and writes that the node
    /// has started, with a signature. A last line that a crash has cut off is left as it is; a line
    /// behind it tells of it. So does a line of a head file that is missing or holds no signature:
    /// the end of the log may have been cut off.
    /// Errors: io; insecure (a key that others may read); bad_data (a log whose end was cut off or
    /// changed, or whose key is gone): nothing can be added to it honestly.
    static Result<std::unique_ptr<AuditLog>> open(const std::filesystem::path& directory,
                                                  AuditOptions options = {});
    /// Signs what has not been signed yet.
    ~AuditLog();
    AuditLog(const AuditLog&) = delete;
    AuditLog& operator=(const AuditLog&) = delete;

    /// One line. It is on the disk (fdatasync) when this returns; a failure (io: a full disk) means
    /// that it is not, and what it would have told of must not happen. bad_data: the log was
    /// removed, replaced, cut off or changed while it was open.
    Result<> append(std::string_view event, const Json& fields);
    /// Signs when a line has not been signed yet.
    Result<> sign();
    /// The same when the first such line is older than `sign_after`.
    Result<> sign_when_due();

    [[nodiscard]] const std::string& public_key() const noexcept { return key_.public_half(); }

  private:
    AuditLog(std::filesystem::path directory, SigningKey key, AuditOptions options);
    class Lock;
    struct Tail;

    Result<> start();
    Result<> begin();
    Result<> check_head(const Tail& tail);
    [[nodiscard]] Result<> check_place() const;
    [[nodiscard]] bool last_line_stands() const;
    [[nodiscard]] Result<Tail> read_tail() const;
    Result<> find_end(const Tail& tail);
    Result<> read_end();
    Result<> mend_end();
    Result<> catch_up();
    [[nodiscard]] std::string compose(std::string_view event, const Json& fields, bool signs) const;
    Result<> write(std::string_view event, const Json& fields, bool signs = false);
    Result<> write_signature();
    Result<> write_bytes(std::string_view bytes);
    [[nodiscard]] Failure damaged(std::string what) const;

    std::filesystem::path directory_;
    SigningKey key_;
    AuditOptions options_;
    std::mutex mutex_;
    int fd_ = -1;
    std::uint64_t size_ = 0;        ///< bytes that this process knows of
    std::uint64_t lines_ = 0;       ///< whole ones
    std::string previous_;          ///< hash of the last whole one
    std::uint64_t last_bytes_ = 0;  ///< length of that line, without its line feed
    std::string torn_;              ///< what stands behind it without an end
    std::uint64_t unsigned_ = 0;    ///< lines since the last signature
    std::chrono::steady_clock::time_point unsigned_since_{};
};

/// What somebody found who read a whole log.
struct AuditVerdict {
    std::uint64_t lines = 0;
    std::uint64_t signatures = 0;
    std::uint64_t signed_lines = 0;  ///< up to the last signature, which is one of them
    std::uint64_t torn = 0;          ///< lines that a crash has cut off, each told by the next one
    std::string public_key;          ///< that all signatures are of
    std::string head;                ///< "LINE:HASH" of the last signature, to be kept elsewhere
    std::uint64_t head_missing = 0;  ///< the last line that tells of a missing head file; 0: none
    std::string note;                ///< what else is to be known; may be empty
};

struct AuditExpected {
    std::string public_key{};  ///< hexadecimal; empty: that of the first signature
    std::string head{};        ///< "LINE:HASH" that was written down earlier; empty: none
    /// The file with the last signature must be beside the log, and must always have been: no line
    /// behind the one that `head` names tells that it was missing.
    bool head_file = true;
};

/// Reads a log, with its head file beside it. `each` gets every whole line.
/// Errors: io; bad_data, naming the first line that is wrong and how.
Result<AuditVerdict> verify_audit(
    const std::filesystem::path& log, const AuditExpected& expected,
    const std::function<void(std::uint64_t line, const Json& content)>& each = {});
/// The same of a log and a head file that are in memory. `head` empty: there is no such file.
Result<AuditVerdict> verify_audit_text(
    const std::string& text, const std::string& head, const AuditExpected& expected,
    const std::function<void(std::uint64_t line, const Json& content)>& each = {});

}  // namespace vflbus::observe
