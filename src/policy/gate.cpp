#include "policy/gate.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/json.hpp"
#include "base/node_names.hpp"
#include "base/text.hpp"
#include "policy/grants.hpp"
#include "policy/turn.hpp"

namespace vflbus::policy {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t minute_ms = 60'000;
constexpr std::int64_t day_ms = 24 * 60 * minute_ms;
/// So long a run that was let in may recover without being judged anew.
constexpr std::int64_t recovers_for_ms = 30 * day_ms;
constexpr std::size_t entries_max = 20'000;
constexpr std::uint64_t refusals_a_minute_max = 60;
constexpr std::size_t refusing_owners_max = 256;

/// Who has refused a run that nobody has approved in time.
constexpr const char* nobody = "nobody said anything in time, which";

constexpr std::string_view state_names[] = {"let_in", "over", "held", "refused"};

std::int64_t system_now_ms() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

/// Whom an owner counts for where owners share something: processes of one key have names that are
/// made of its own, as many as they like.
std::string account_of(const Owner& owner) {
    return std::string(without_suffix(owner.name));
}

bool same_party(const Owner& a, const Owner& b) {
    return same_key(a.fingerprint, b.fingerprint) || account_of(a) == account_of(b);
}

std::vector<std::string> sorted(std::vector<std::string> names) {
    std::ranges::sort(names);
    return names;
}

/// What a decision is about: the text of the OPEN, and with whom. The same text with other
/// participants is another run.
std::string digest_of(const Request& request) {
    // each piece behind its length, so that no two lists of pieces are the same bytes
    std::string all;
    const auto add = [&all](const std::string& piece) {
        all += std::to_string(piece.size()) + ":" + piece;
    };
    add(request.agreed_text);
    for (const std::string& participant : sorted(request.participants)) add(participant);
    return to_hex(sha256(all));
}

fs::path runs_file(const fs::path& state_dir) {
    return policy_directory(state_dir) / "runs.json";
}
fs::path held_file(const fs::path& state_dir, const RunId& run) {
    return policy_directory(state_dir) / "held" / run.hex();
}
fs::path said_file(const fs::path& state_dir, const RunId& run) {
    return policy_directory(state_dir) / "said" / run.hex();
}
fs::path trained_file(const fs::path& state_dir, const RunId& run) {
    return policy_directory(state_dir) / "trained" / run.hex();
}

/// The account of the owner for whom this run was trained here; empty where nobody has noted it.
/// Errors: io.
Result<std::string> trained_for(const fs::path& state_dir, const RunId& run) {
    const fs::path file = trained_file(state_dir, run);
    std::error_code ec;
    if (!fs::exists(file, ec) && !ec) return std::string();
    auto text = read_file(file);
    if (!text) return tl::unexpected(text.error());
    return std::string(trim(*text));
}

/// "train logistic lbfgs honest, 3 parties"
std::string what_of(const Request& request) {
    std::string text(name_of(request.use));
    if (request.agreed)
        text += " " + std::string(config::name_of(request.agreed->model.task)) + " " +
                std::string(config::name_of(request.agreed->model.solver)) + " " +
                std::string(config::name_of(request.agreed->run.protocol));
    if (request.parties != 0) text += ", " + std::to_string(request.parties) + " parties";
    return text;
}

Json json_of(const DataRules& rules) {
    return Json{{"columns", rules.columns},     {"columns_never", rules.columns_never},
                {"rows_min", rules.rows_min},   {"batch_min", rules.batch_min},
                {"models_of", rules.models_of}, {"psi_ids_max", rules.psi_ids_max}};
}

DataRules rules_of(const Json& json) {
    return {json.at("columns").get<std::vector<std::string>>(),
            json.at("columns_never").get<std::vector<std::string>>(),
            json.at("rows_min").get<std::uint64_t>(),
            json.at("batch_min").get<std::uint64_t>(),
            json.value("psi_ids_max", DataRules{}.psi_ids_max),
            json.value("models_of", std::vector<std::string>())};
}

/// The other half of `say`.
struct Word {
    std::string digest;
    bool approved = false;
    std::string by;
};

std::optional<Word> read_word(const fs::path& file) {
    const auto text = read_file(file);
    if (!text) return std::nullopt;
    try {
        const Json json = Json::parse(*text);
        return Word{json.at("digest").get<std::string>(), json.at("approved").get<bool>(),
                    json.at("by").get<std::string>()};
    } catch (const JsonError&) {
        return std::nullopt;
    }
}

/// What a file looks like from outside; nothing where there is none.
std::vector<std::int64_t> stamp_of(const fs::path& file) {
    struct stat info{};
    if (::stat(file.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
    return {static_cast<std::int64_t>(info.st_ino), static_cast<std::int64_t>(info.st_size),
            static_cast<std::int64_t>(info.st_mtim.tv_sec),
            static_cast<std::int64_t>(info.st_mtim.tv_nsec)};
}

void remove_quietly(const fs::path& file) {
    std::error_code ec;
    fs::remove(file, ec);
}

std::string run_text(const Request& request) {
    return "run " + request.run.short_hex() + " of " + request.owner.name;
}

Refusal unreadable(const Failure& why) {
    return {"policy", "the policy cannot be read: " + why.sentence};
}

Refusal unnamed(const Policy& policy, const Owner& owner) {
    return {"owners", "no section of " + policy.file + " names " + owner.name};
}

}  // namespace

std::string participant_text(std::string_view name, std::string_view role, std::int64_t rank) {
    std::string text = std::string(name) + " (" + std::string(role);
    if (rank >= 0) text += " " + std::to_string(rank);
    return text + ")";
}

fs::path policy_directory(const fs::path& state_dir) {
    return state_dir / "policy";
}

// -- what waits, for commands --------------------------------------------------------------

std::vector<Held> read_held(const fs::path& state_dir) {
    std::vector<Held> all;
    for (const fs::path& file : entries_of(policy_directory(state_dir) / "held")) {
        const auto run = parse_run_id(file.filename().string());
        if (!run) continue;  // half-written
        const auto text = read_file(file);
        if (!text) continue;  // somebody has just said something
        try {
            const Json json = Json::parse(*text);
            all.push_back({*run,
                           {json.at("owner").get<std::string>(), json.value("fingerprint", "")},
                           json.at("what").get<std::string>(),
                           json.at("participants").get<std::vector<std::string>>(),
                           json.at("digest").get<std::string>(),
                           json.at("since_ms").get<std::int64_t>(),
                           json.at("until_ms").get<std::int64_t>()});
        } catch (const JsonError&) {
            continue;  // one that is none keeps nobody from approving the others
        }
    }
    std::ranges::sort(all, {}, &Held::since_ms);
    return all;
}

Result<> say(const fs::path& state_dir, const Held& held, bool approved, const std::string& by) {
    std::error_code ec;
    if (!fs::exists(held_file(state_dir, held.run), ec))
        return fail(Errc::unknown_run, "run " + held.run.short_hex() + " does not wait any more");
    const fs::path file = said_file(state_dir, held.run);
    fs::create_directories(file.parent_path(), ec);
    const Json word{{"digest", held.digest}, {"approved", approved}, {"by", by}};
    return write_file_atomically(file, word.dump() + "\n");
}

// -- the gate ------------------------------------------------------------------------------

Gate::Gate(GateOptions options) : options_(std::move(options)) {
    if (!options_.now_ms) options_.now_ms = system_now_ms;
    if (!options_.log) options_.log = [](const std::string&) {};
}

Result<std::unique_ptr<Gate>> Gate::open(GateOptions options) {
    std::unique_ptr<Gate> gate(new Gate(std::move(options)));
    if (gate->has_policy())
        if (const auto policy = gate->current(); !policy) return tl::unexpected(policy.error());
    auto audit = observe::AuditLog::open(gate->options_.state_dir / "audit", gate->options_.audit);
    if (!audit) return tl::unexpected(audit.error());
    gate->audit_ = std::move(*audit);
    if (gate->has_policy()) {
        std::error_code ec;
        fs::create_directories(policy_directory(gate->options_.state_dir), ec);
    }
    if (auto read = gate->read_entries(); !read) return tl::unexpected(read.error());
    return gate;
}

/// Nobody else decides meanwhile: no other run of this process, and no other process with the same
/// directory, whose decisions are read first.
class Gate::Sole {
  public:
    explicit Sole(Gate& gate) : guard_(gate.mutex_) {
        if (!gate.has_policy()) return;
        turn_.emplace(policy_directory(gate.options_.state_dir) / "runs.lock");
        if (turn_->mine())
            ready_ = gate.read_entries();
        else
            ready_ = fail(Errc::io, "cannot lock the runs of its policy in " +
                                        gate.options_.state_dir.string());
        if (!ready_) {
            ready_.error().for_others = "it cannot read what it has decided";
            gate.options_.log(ready_.error().sentence);
        }
    }
    /// Whether the entries are those of all processes.
    [[nodiscard]] const Result<>& ready() const noexcept { return ready_; }

  private:
    std::lock_guard<std::mutex> guard_;
    std::optional<Turn> turn_;
    Result<> ready_;
};

/// None when there is no file. A changed one differs from the file that was read or written last.
Result<> Gate::read_entries() {
    const fs::path file = runs_file(options_.state_dir);
    const std::vector<std::int64_t> stamp = stamp_of(file);
    if (stamp.empty() || stamp == entries_stamp_) return {};
    const auto text = read_file(file);
    if (!text) return tl::unexpected(text.error());
    std::vector<Entry> entries;
    try {
        for (const Json& row : Json::parse(*text)) {
            Entry entry;
            const auto run = parse_run_id(row.at("run").get<std::string>());
            const auto state = row.at("state").get<std::string>();
            const auto* const named = std::ranges::find(state_names, state);
            if (!run || named == std::end(state_names)) throw JsonError("a run that is none");
            entry.run = *run;
            entry.state = static_cast<State>(named - std::begin(state_names));
            entry.owner = {row.at("owner").get<std::string>(),
                           row.at("fingerprint").get<std::string>()};
            entry.digest = row.at("digest").get<std::string>();
            entry.section = row.at("section").get<std::string>();
            entry.at_ms = row.at("at_ms").get<std::int64_t>();
            entry.until_ms = row.at("until_ms").get<std::int64_t>();
            entry.what = row.at("what").get<std::string>();
            entry.by = row.at("by").get<std::string>();
            entry.rules = rules_of(row.at("rules"));
            entry.rho = row.value("rho", 0.0);
            entries.push_back(std::move(entry));
        }
    } catch (const JsonError& e) {
        return fail(Errc::bad_data, file.string() + " is not what this program writes (" +
                                        e.what() +
                                        "); without it runs of today and budgets count anew");
    }
    entries_ = std::move(entries);
    entries_stamp_ = stamp;
    return {};
}

Result<> Gate::write_entries() {
    if (!has_policy()) return {};  // nothing is decided by what was
    const std::int64_t now = options_.now_ms();
    std::erase_if(entries_, [&](const Entry& entry) {
        const std::int64_t keep = entry.state == State::let_in ? recovers_for_ms : 2 * day_ms;
        // (what was told of rows stays told)
        return entry.rho == 0 && entry.state != State::held && now - entry.at_ms > keep;
    });
    if (entries_.size() > entries_max)
        return fail(Errc::too_many, "it has let in " + std::to_string(entries_max) +
                                        " runs within two days, its limit");
    Json rows = Json::array();
    for (const Entry& entry : entries_) {
        Json row{{"run", entry.run.hex()},
                 {"owner", entry.owner.name},
                 {"fingerprint", entry.owner.fingerprint},
                 {"digest", entry.digest},
                 {"state", state_names[static_cast<std::size_t>(entry.state)]},
                 {"section", entry.section},
                 {"at_ms", entry.at_ms},
                 {"until_ms", entry.until_ms},
                 {"what", entry.what},
                 {"by", entry.by},
                 {"rules", json_of(entry.rules)}};
        if (entry.rho > 0) row["rho"] = entry.rho;
        rows.push_back(std::move(row));
    }
    std::error_code ec;
    fs::create_directories(policy_directory(options_.state_dir), ec);
    auto written = write_file_atomically(runs_file(options_.state_dir), rows.dump() + "\n");
    if (written) entries_stamp_ = stamp_of(runs_file(options_.state_dir));
    return written;
}

Gate::Entry* Gate::find(const RunId& run) {
    // the youngest: a run that is over may have been opened again
    const auto at = std::find_if(entries_.rbegin(), entries_.rend(),
                                 [&](const Entry& entry) { return entry.run == run; });
    return at == entries_.rend() ? nullptr : &*at;
}

/// The policy as its file says it now; null without one. A file that was changed into one that is
/// none allows nothing.
Result<const Policy*> Gate::current() {
    if (!has_policy()) return nullptr;
    const auto text = read_file(options_.policy_file);
    if (!text) return tl::unexpected(text.error());
    if (!policy_ || *text != policy_text_) {
        auto policy = parse_policy(*text, options_.policy_file.string());
        if (!policy) return tl::unexpected(policy.error());
        if (policy_) options_.log("the policy has changed; it counts for runs that come now");
        policy_ = std::move(*policy);
        policy_text_ = *text;
    }
    return &*policy_;
}

// -- the record -----------------------------------------------------------------------------

Json Gate::about(const Owner& owner, const RunId& run) const {
    Json line{{"run", run.hex()}, {"owner", owner.name}, {"fingerprint", owner.fingerprint}};
    if (policy_) line["policy"] = policy_->digest;
    return line;
}

Json Gate::about(const Request& request) const {
    Json line = about(request.owner, request.run);
    line["term"] = request.term;
    line["use"] = name_of(request.use);
    if (request.agreed) {
        line["task"] = config::name_of(request.agreed->model.task);
        line["solver"] = config::name_of(request.agreed->model.solver);
        line["protocol"] = config::name_of(request.agreed->run.protocol);
    }
    if (request.use == Use::app) line["app"] = request.app;
    line["parties"] = request.parties;
    return line;
}

/// What cannot be recorded does not happen. The owner hears nothing of this member's files.
Result<> Gate::record_or_fail(std::string_view event, const Json& line) {
    auto recorded = audit_->append(event, line);
    if (!recorded) recorded.error().for_others = "it cannot write its audit log";
    return recorded;
}

/// A decision that stands whether the record can be written or not.
void Gate::record(const Json& line) {
    if (auto recorded = audit_->append("decision", line); !recorded)
        options_.log(recorded.error().sentence);
}

/// A peer that asks again and again gets its answer each time, and a line for the first ones.
bool Gate::may_record_refusal(const std::string& owner, Json& line) {
    const std::int64_t minute = options_.now_ms() / minute_ms;
    if (minute != minute_) {
        minute_ = minute;
        refused_.clear();
    }
    const bool known = refused_.count(owner) != 0;
    if ((!known && refused_.size() >= refusing_owners_max) ||
        refused_[owner] >= refusals_a_minute_max) {
        ++unrecorded_;
        return false;
    }
    ++refused_[owner];
    if (unrecorded_ != 0) line["left_out_before"] = std::exchange(unrecorded_, 0);
    return true;
}

Result<> Gate::refuse(const Request& request, const Refusal& refusal) {
    return refuse(about(request), request.owner, refusal);
}

/// `line`: what is known of the run.
Result<> Gate::refuse(Json line, const Owner& owner, const Refusal& refusal) {
    line["decision"] = "refused";
    line["rule"] = refusal.rule;
    line["why"] = refusal.sentence;
    if (may_record_refusal(account_of(owner), line)) record(line);
    return tl::unexpected(failure_of(refusal));
}

/// A decision stands in the audit log already and could not be stored: the log says that nothing
/// came of it.
Result<> Gate::not_stored(const Request& request, const Failure& why) {
    Json line = about(request);
    line["decision"] = "refused";
    line["rule"] = "store";
    line["why"] = why.sentence;
    record(line);
    Failure failure = why;
    failure.for_others = "it cannot store what it has decided";
    return tl::unexpected(std::move(failure));
}

Result<> Gate::let_in(Entry entry, const Request& request, const char* how) {
    Json line = about(request);
    line["decision"] = how;
    line["section"] = entry.section;
    if (!entry.by.empty()) line["by"] = entry.by;
    // one write stores the decision and its cost, so that no crash comes between them
    const double rho = rho_of(request);
    entry.rho = has_policy() && std::isfinite(rho) ? rho : 0;
    if (entry.rho > 0) line["rho"] = entry.rho;
    if (auto recorded = record_or_fail("decision", line); !recorded) return recorded;
    if (request.use == Use::train) {
        const fs::path file = trained_file(options_.state_dir, request.run);
        std::error_code ec;
        fs::create_directories(file.parent_path(), ec);
        if (auto noted = write_file_atomically(file, account_of(request.owner) + "\n"); !noted)
            return not_stored(request, noted.error());
    }
    const std::vector<Entry> before = entries_;
    entry.state = State::let_in;
    std::erase_if(entries_, [&](const Entry& other) {
        return other.run == entry.run && other.state == State::held;
    });
    // another run under the same id: the earlier one goes on to count among those of its day
    for (Entry& other : entries_)
        if (other.run == entry.run && other.state == State::let_in) other.state = State::over;
    entries_.push_back(std::move(entry));
    if (auto stored = write_entries(); !stored) {
        entries_ = before;
        return not_stored(request, stored.error());
    }
    return {};
}

// -- deciding -------------------------------------------------------------------------------

Result<> Gate::admit_owner(const Owner& owner, const RunId& run) {
    const Sole sole(*this);
    if (!sole.ready()) return sole.ready();
    if (!has_policy()) return {};
    if (owner.fingerprint.empty() && !std::exchange(said_names_, true))
        options_.log(std::string("the policy goes by the names of owners, which ") +
                     (options_.broker_checks_names ? "the broker checks by their keys"
                                                   : "nobody proves on this transport"));
    // a run that was let in may recover whatever the file says by now
    const Entry* const known = find(run);
    if (known != nullptr && known->state == State::let_in && known->owner == owner) return {};
    const auto policy = current();
    if (!policy) {
        options_.log(policy.error().sentence);
        return refuse(about(owner, run), owner, unreadable(policy.error()));
    }
    if ((*policy)->section_of(owner) == nullptr)
        return refuse(about(owner, run), owner, unnamed(**policy, owner));
    return {};
}

Result<> Gate::admit(const Request& request) {
    const Sole sole(*this);
    if (!sole.ready()) return sole.ready();
    Entry* const known = find(request.run);
    if (known != nullptr && known->state != State::over) {
        const bool same = known->owner == request.owner && known->digest == digest_of(request);
        if (same) return again(*known, request);
        if (known->state != State::let_in)
            return refuse(request, {"approve",
                                    "the run waits for approval with another text, other "
                                    "participants or another owner"});
    }
    return judge_anew(request);
}

/// The decision about a run is one for all its terms.
Result<> Gate::again(Entry& entry, const Request& request) {
    if (entry.state == State::held) return take_word(entry, request);
    if (entry.state == State::refused)
        return refuse(request, {"approve", entry.by + " has refused " + run_text(request)});
    if (options_.now_ms() - entry.at_ms > recovers_for_ms) return judge_anew(request);
    Json line = about(request);
    line["decision"] = "let in again";
    return record_or_fail("decision", line);
}

Circumstances Gate::circumstances(const Section& section, const Request& request) {
    const std::int64_t now = options_.now_ms();
    Circumstances known;
    known.minute_of_day = static_cast<int>(now % day_ms / minute_ms);
    known.runs_today =
        static_cast<std::uint64_t>(std::ranges::count_if(entries_, [&](const Entry& entry) {
            const bool itself = entry.state == State::held && entry.run == request.run;
            return entry.section == section.name && entry.at_ms / day_ms == now / day_ms &&
                   entry.state != State::refused && !itself;
        }));
    for (const Entry& entry : entries_)
        if (same_party(entry.owner, request.owner) &&
            (entry.state == State::let_in || entry.state == State::over))
            known.rho_spent += entry.rho;
    if (!section.granted_tables) return known;
    const auto tables = options_.tables.find(request.use);
    if (tables == options_.tables.end()) return known;
    const auto grants = read_grants(policy_directory(options_.state_dir));
    if (!grants) options_.log(grants.error().sentence);
    for (const std::string& table : tables->second)
        if (!grants || !granted(*grants, table, request.owner, now))
            known.tables_without_grant.push_back(table);
    return known;
}

/// The id of a run names its commits and its part of the model here. Nobody else may go on with
/// these, or put a part of his own in their place, by training under that id.
std::optional<Refusal> Gate::another_owner(const Request& request) const {
    if (request.use != Use::train) return {};
    const auto owner = trained_for(options_.state_dir, request.run);
    if (!owner) return Refusal{"run", owner.error().sentence};
    if (owner->empty() || *owner == account_of(request.owner)) return {};
    return Refusal{"run", "run " + request.run.short_hex() + " is a training of " + *owner +
                              ", and " + request.owner.name + " opens another one under its id"};
}

Result<> Gate::judge_anew(const Request& request) {
    const auto read = current();
    if (!read) return refuse(request, unreadable(read.error()));
    const Policy* const policy = *read;
    Entry entry;
    entry.run = request.run;
    entry.owner = request.owner;
    entry.digest = digest_of(request);
    entry.at_ms = options_.now_ms();
    entry.what = what_of(request);
    const Section* const section = policy == nullptr ? nullptr : policy->section_of(request.owner);
    if (policy != nullptr && section == nullptr)
        return refuse(request, unnamed(*policy, request.owner));
    if (const auto refusal = another_owner(request)) return refuse(request, *refusal);
    if (section == nullptr) return let_in(std::move(entry), request, "let in");
    if (const auto refusal = judge(*section, request, circumstances(*section, request)))
        return refuse(request, *refusal);
    entry.section = section->name;
    entry.rules = section->data;
    if (section->approve_each) return hold(std::move(entry), request, *policy);
    return let_in(std::move(entry), request, "let in");
}

// -- what somebody has to approve --------------------------------------------------------------

Result<> Gate::hold(Entry entry, const Request& request, const Policy& policy) {
    const auto waiting = [&](const Owner* of) {
        return static_cast<std::uint64_t>(std::ranges::count_if(entries_, [&](const Entry& e) {
            return e.state == State::held && (of == nullptr || same_party(e.owner, *of));
        }));
    };
    if (waiting(nullptr) >= policy.held_max)
        return refuse(request, {"held_max", std::to_string(policy.held_max) +
                                                " runs wait for approval already"});
    if (waiting(&request.owner) >= policy.held_per_owner_max)
        return refuse(
            request, {"held_per_owner_max", std::to_string(policy.held_per_owner_max) +
                                                " runs of " + printable(account_of(request.owner)) +
                                                " wait for approval already"});
    entry.state = State::held;
    entry.until_ms = entry.at_ms + static_cast<std::int64_t>(policy.held_hours) * 60 * minute_ms;
    Json line = about(request);
    line["decision"] = "held";
    line["section"] = entry.section;
    if (auto recorded = record_or_fail("decision", line); !recorded) return recorded;
    const fs::path file = held_file(options_.state_dir, entry.run);
    std::error_code ec;
    fs::create_directories(file.parent_path(), ec);
    remove_quietly(said_file(options_.state_dir, entry.run));
    const Json shown{{"owner", entry.owner.name},  {"fingerprint", entry.owner.fingerprint},
                     {"what", entry.what},         {"participants", sorted(request.participants)},
                     {"digest", entry.digest},     {"since_ms", entry.at_ms},
                     {"until_ms", entry.until_ms}, {"agreed", request.agreed_text}};
    const std::vector<Entry> before = entries_;
    auto stored = write_file_atomically(file, shown.dump(1) + "\n");
    if (stored) {
        entries_.push_back(entry);
        stored = write_entries();
    }
    if (!stored) {
        entries_ = before;
        remove_quietly(file);
        return not_stored(request, stored.error());
    }
    options_.log(run_text(request) + " waits for approval (" + entry.what + "): vflbus approve " +
                 entry.run.short_hex() + " --state-dir " + options_.state_dir.string() +
                 ", or vflbus refuse with the same");
    return fail(Errc::held, "waits until somebody there approves the run");
}

/// A held run is asked for again: by its owner, or since somebody has said something.
Result<> Gate::take_word(Entry& entry, const Request& request) {
    const fs::path said = said_file(options_.state_dir, entry.run);
    const auto word = read_word(said);
    const bool heard = word && word->digest == entry.digest;
    const bool late = options_.now_ms() >= entry.until_ms;
    if (!heard && !late) return fail(Errc::held, "waits until somebody there approves the run");
    const std::string by = heard ? word->by : std::string();
    if (heard && word->approved) {
        entry.by = by;
        return judge_held(entry, request);
    }
    entry.state = State::refused;
    entry.by = heard ? by : std::string(nobody);
    if (auto stored = write_entries(); !stored) options_.log(stored.error().sentence);
    forget_held(request.run);
    Json line = about(request);
    line["decision"] = heard ? "refused" : "expired";
    line["rule"] = "approve";
    if (heard) line["by"] = by;
    record(line);
    return tl::unexpected(
        failure_of({"approve", heard ? by + " has refused " + run_text(request)
                                     : "nobody has approved " + run_text(request) + " in time"}));
}

/// Somebody has approved it. That word takes the place of no other rule: meanwhile the policy may
/// have changed, a grant may be withdrawn, and others may have had the runs of this day.
Result<> Gate::judge_held(Entry& entry, const Request& request) {
    const auto policy = current();
    const Section* const section = policy ? (*policy)->section_of(request.owner) : nullptr;
    std::optional<Refusal> refusal;
    if (!policy)
        refusal = unreadable(policy.error());
    else if (section == nullptr)
        refusal = unnamed(**policy, request.owner);
    else
        refusal = judge(*section, request, circumstances(*section, request));
    if (refusal) {
        std::erase_if(entries_, [&](const Entry& other) {
            return other.run == request.run && other.state == State::held;
        });
        if (auto stored = write_entries(); !stored) options_.log(stored.error().sentence);
        forget_held(request.run);
        return refuse(request, *refusal);
    }
    Entry decided = entry;
    decided.section = section->name;
    decided.rules = section->data;
    decided.at_ms = options_.now_ms();
    auto in = let_in(std::move(decided), request, "approved");
    // what could not be stored still waits, and so does the word about it
    if (in) forget_held(request.run);
    return in;
}

/// Nobody is to be asked about it any more.
void Gate::forget_held(const RunId& run) {
    remove_quietly(held_file(options_.state_dir, run));
    remove_quietly(said_file(options_.state_dir, run));
}

/// Held runs whose time is over, and that nobody has asked for since; those are asked for once
/// more, so that an owner who waits is told.
void Gate::drop_expired(std::int64_t now, std::vector<RunId>& dropped) {
    bool any = false;
    for (Entry& entry : entries_) {
        if (entry.state != State::held || now < entry.until_ms + minute_ms) continue;
        any = true;
        dropped.push_back(entry.run);
        entry.state = State::refused;
        entry.by = nobody;
        forget_held(entry.run);
        record(Json{{"run", entry.run.hex()},
                    {"owner", entry.owner.name},
                    {"fingerprint", entry.owner.fingerprint},
                    {"decision", "expired"},
                    {"rule", "approve"}});
    }
    if (!any) return;
    if (auto stored = write_entries(); !stored) options_.log(stored.error().sentence);
}

std::vector<RunId> Gate::said() {
    const Sole sole(*this);
    std::vector<RunId> runs;
    if (!sole.ready()) return runs;
    const std::int64_t now = options_.now_ms();
    std::error_code ec;
    drop_expired(now, runs);
    for (const Entry& entry : entries_)
        if (entry.state == State::held &&
            (now >= entry.until_ms || fs::exists(said_file(options_.state_dir, entry.run), ec)))
            runs.push_back(entry.run);
    if (auto signed_now = audit_->sign_when_due(); !signed_now)
        options_.log(signed_now.error().sentence);
    return runs;
}

// -- what shows later ---------------------------------------------------------------------------

/// What was found out about the run when it came.
Result<const Gate::Entry*> Gate::judged_before(const Sole& sole, const RunId& run) {
    if (!sole.ready()) return tl::unexpected(sole.ready().error());
    const Entry* const entry = find(run);
    if (entry == nullptr) return fail(Errc::refused, "the run was not let in");
    return entry;
}

Result<> Gate::later(const Entry& entry, const std::optional<Refusal>& refusal) {
    if (!refusal) return {};
    return refuse(Json{{"run", entry.run.hex()}, {"owner", entry.owner.name}}, entry.owner,
                  *refusal);
}

Result<> Gate::columns(const RunId& run, const std::string& table,
                       std::span<const std::string> names, std::uint64_t rows) {
    const Sole sole(*this);
    const auto found = judged_before(sole, run);
    if (!found) return tl::unexpected(found.error());
    const Entry& entry = **found;
    if (auto good = later(entry, judge_columns(entry.section, entry.rules, names)); !good)
        return good;
    // as many names as a line takes; the count is of all
    std::vector<std::string> shown;
    std::size_t bytes = 0;
    for (const std::string& name : names)
        if ((bytes += name.size() * 2 + 4) < observe::audit_line_bytes_max / 4)
            shown.push_back(printable(name));
    return record_or_fail("table", Json{{"run", run.hex()},
                                        {"table", table},
                                        {"rows", rows},
                                        {"columns", names.size()},
                                        {"names", shown}});
}

Result<> Gate::rows(const RunId& run, std::uint64_t rows) {
    const Sole sole(*this);
    const auto found = judged_before(sole, run);
    if (!found) return tl::unexpected(found.error());
    const Entry& entry = **found;
    if (auto good = later(entry, judge_rows(entry.section, entry.rules, rows)); !good) return good;
    return record_or_fail("rows", Json{{"run", run.hex()}, {"rows", rows}});
}

Result<> Gate::psi_list(const RunId& run, std::uint64_t ids) {
    const Sole sole(*this);
    const auto found = judged_before(sole, run);
    if (!found) return tl::unexpected(found.error());
    const Entry& entry = **found;
    return later(entry, judge_psi_list(entry.section, entry.rules, ids));
}

Result<> Gate::batch(const RunId& run, std::uint64_t rows) {
    const Sole sole(*this);
    const auto found = judged_before(sole, run);
    if (!found) return tl::unexpected(found.error());
    const Entry& entry = **found;
    return later(entry, judge_batch(entry.section, entry.rules, rows));
}

Result<> Gate::model(const RunId& run, const RunId& trained) {
    const Sole sole(*this);
    const auto found = judged_before(sole, run);
    if (!found) return tl::unexpected(found.error());
    const Entry& entry = **found;
    const auto owner = trained_for(options_.state_dir, trained);
    if (!owner) return later(entry, Refusal{"models_of", owner.error().sentence});
    return later(entry, judge_model_of(entry.section, entry.rules, *owner, entry.owner));
}

void Gate::ended(const RunId& run, const Served& served) {
    const Sole sole(*this);
    Entry* const entry = find(run);
    if (entry == nullptr || entry->state != State::let_in) return;
    // what ended otherwise may be gone on with
    const Entry of = *entry;
    if (!has_policy()) {
        std::erase_if(entries_, [&](const Entry& other) { return other.run == run; });
    } else if (served.code == Errc::ok) {
        entry->state = State::over;
        if (auto stored = write_entries(); !stored) options_.log(stored.error().sentence);
    }
    auto recorded = audit_->append("end", Json{{"run", run.hex()},
                                               {"owner", of.owner.name},
                                               {"fingerprint", of.owner.fingerprint},
                                               {"what", of.what},
                                               {"code", vflbus::name_of(served.code)},
                                               {"bytes_in", served.bytes_in},
                                               {"bytes_out", served.bytes_out}});
    if (recorded) recorded = audit_->sign();
    if (!recorded) options_.log(recorded.error().sentence);
}

}  // namespace vflbus::policy
