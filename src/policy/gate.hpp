#pragma once
// The judge of a member process: the policy file, what it has let in, what waits for somebody's
// word, and the audit log. Everything lies in the node's state directory, so that a member that was
// killed decides as before about a run that goes on.
//
//   audit/...             the audit log
//   policy/runs.json      runs that were let in, are held or were refused by somebody; for the
//                         number per day, and so that a run that recovers is the same decision
//   policy/held/RUN       what waits, for `vflbus approve` to show
//   policy/said/RUN       what somebody said about it, for this process to find
//   policy/grants.json    tables granted to owners
//   policy/trained/RUN    for whom that run was trained: its commits and its model are that owner's

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "observe/audit.hpp"
#include "policy/policy.hpp"
#include "policy/request.hpp"

namespace vflbus::policy {

/// The directory of these files in a node's state directory.
std::filesystem::path policy_directory(const std::filesystem::path& state_dir);

/// A run that waits for somebody's word, as `held/RUN` has it.
struct Held {
    RunId run;
    Owner owner;
    std::string what;                       ///< "train logistic lbfgs honest, 3 parties"
    std::vector<std::string> participants;  ///< with whom, sorted
    std::string digest;                     ///< of text and participants: what is approved is that
    std::int64_t since_ms = 0;
    std::int64_t until_ms = 0;
};
/// The oldest first; none where there is no such directory.
std::vector<Held> read_held(const std::filesystem::path& state_dir);
/// Says it to the process of the node, which finds it within a second. Errors: unknown_run (it does
/// not wait), io.
Result<> say(const std::filesystem::path& state_dir, const Held& held, bool approved,
             const std::string& by);

struct GateOptions {
    std::filesystem::path state_dir;
    std::filesystem::path policy_file;  ///< empty: everything is allowed
    /// Links have keys, by which the broker checks the names of nodes.
    bool broker_checks_names = false;
    /// Training, test and prediction table, as the configuration names their files; empty: none.
    std::map<Use, std::vector<std::string>> tables;
    observe::AuditOptions audit;
    std::function<std::int64_t()> now_ms;  ///< since 1970, UTC; empty: the system's clock
    /// One line for the log of the node.
    std::function<void(const std::string&)> log;
};

class Gate final : public Judge {
  public:
    /// Errors: those of the policy file and of the audit log.
    static Result<std::unique_ptr<Gate>> open(GateOptions options);

    Result<> admit_owner(const Owner& owner, const RunId& run) override;
    Result<> admit(const Request& request) override;
    Result<> columns(const RunId& run, const std::string& table, std::span<const std::string> names,
                     std::uint64_t rows) override;
    Result<> rows(const RunId& run, std::uint64_t rows) override;
    Result<> psi_list(const RunId& run, std::uint64_t ids) override;
    Result<> batch(const RunId& run, std::uint64_t rows) override;
    Result<> model(const RunId& run, const RunId& trained) override;
    void ended(const RunId& run, const Served& served) override;

    /// Held runs about which somebody has said something since, or whose time is over: ask `admit`
    /// again. Also signs the audit log when that is due. To be called about once a second.
    std::vector<RunId> said();
    [[nodiscard]] bool has_policy() const { return !options_.policy_file.empty(); }

  private:
    enum class State : std::uint8_t { let_in, over, held, refused };
    /// What is kept of one run.
    struct Entry {
        RunId run;
        Owner owner;
        std::string digest;  ///< of the text of its OPEN and of its participants
        State state = State::let_in;
        std::string section;
        std::int64_t at_ms = 0;     ///< when it was let in or held
        std::int64_t until_ms = 0;  ///< of a held one
        std::string what;
        std::string by;
        DataRules rules;
        /// What it tells of a row (zCDP), once let in; such an entry is kept for good, as the
        /// budget of its owner is.
        double rho = 0;
    };

    explicit Gate(GateOptions options);
    class Sole;
    Result<> read_entries();
    Result<> write_entries();
    Result<const Policy*> current();
    [[nodiscard]] Entry* find(const RunId& run);
    Result<> again(Entry& entry, const Request& request);
    Result<> judge_anew(const Request& request);
    [[nodiscard]] std::optional<Refusal> another_owner(const Request& request) const;
    Result<> let_in(Entry entry, const Request& request, const char* how);
    Result<> hold(Entry entry, const Request& request, const Policy& policy);
    void drop_expired(std::int64_t now, std::vector<RunId>& dropped);
    Result<> take_word(Entry& entry, const Request& request);
    Result<> judge_held(Entry& entry, const Request& request);
    Result<> refuse(const Request& request, const Refusal& refusal);
    Result<> refuse(Json line, const Owner& owner, const Refusal& refusal);
    Result<> not_stored(const Request& request, const Failure& why);
    void forget_held(const RunId& run);
    [[nodiscard]] Result<const Entry*> judged_before(const Sole& sole, const RunId& run);
    Result<> later(const Entry& entry, const std::optional<Refusal>& refusal);
    [[nodiscard]] Circumstances circumstances(const Section& section, const Request& request);
    [[nodiscard]] Json about(const Request& request) const;
    [[nodiscard]] Json about(const Owner& owner, const RunId& run) const;
    Result<> record_or_fail(std::string_view event, const Json& line);
    void record(const Json& line);
    bool may_record_refusal(const std::string& owner, Json& line);

    GateOptions options_;
    std::unique_ptr<observe::AuditLog> audit_;
    std::mutex mutex_;
    std::optional<Policy> policy_;
    std::string policy_text_;
    std::vector<Entry> entries_;
    /// Of the file that entries_ were last read from or written to: another one is another gate's.
    std::vector<std::int64_t> entries_stamp_;
    bool said_names_ = false;  ///< that names are not proved
    /// Refusals of this minute by owner: a peer may not fill the disk with them.
    std::int64_t minute_ = 0;
    std::map<std::string, std::uint64_t> refused_;
    std::uint64_t unrecorded_ = 0;
};

}  // namespace vflbus::policy
