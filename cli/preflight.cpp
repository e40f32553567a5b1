// vflbus preflight: whether this party could take part, before a run finds out that it cannot

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "actors/tables.hpp"
#include "ask.hpp"
#include "base/files.hpp"
#include "base/memory.hpp"
#include "base/text.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/zmq/address.hpp"
#include "bus/zmq/probe.hpp"
#include "commands.hpp"
#include "data/align.hpp"
#include "output.hpp"
#include "policy/policy.hpp"
#include "quick_look.hpp"
#include "settings.hpp"
#include "signals.hpp"
#include "version.hpp"
#include "wall_clock.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

enum class Verdict : std::uint8_t { ok, warning, failed };

struct Line {
    std::string what;
    Verdict verdict = Verdict::ok;
    std::string sentence;
    Errc code = Errc::ok;  ///< of one that failed
};

constexpr Duration connect_patience = std::chrono::seconds(3);
// docs/deploy.md, "Sizes, measured"
constexpr std::uint64_t memory_of_process = 20ULL << 20;
constexpr std::uint64_t memory_per_table_byte = 6;
constexpr rlim_t descriptors_wanted = 256;

class Preflight {
  public:
    explicit Preflight(const config::Config& config) : config_(config) {}

    void look_at_machine() {
        look_at_disk();
        rlimit limit{};
        if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < descriptors_wanted)
            warn("limits", "only " + std::to_string(limit.rlim_cur) +
                               " open files are allowed; ulimit -n 1024");
        else
            ok("limits", "open files: " + std::to_string(limit.rlim_cur));
    }

    void look_at_broker(const bus::StopSignal& stop) {
        const auto address = bus::parse_address(config_.bus.broker);
        if (!address) return failed("address", address.error());
        const auto numeric = bus::resolve(*address, connect_patience);
        if (!numeric) return failed("address", numeric.error());
        ok("address",
           config_.bus.broker + (*numeric == config_.bus.broker ? "" : " is " + *numeric));
        const bool keys_good = look_at_keys(*address);
        const auto took =
            bus::probe_broker(bus::make_context(1), config_.bus.broker, connect_patience);
        if (!took) return failed("port", took.error());
        ok("port", "a broker answers within " +
                       human_seconds(std::chrono::duration<double>(*took).count()));
        if (keys_good) look_at_session(stop);
    }

    void look_at_party(const std::string& party) {
        if (party == config::arbiter_name) return ok(party, "it has no table");
        if (const auto good = config::check_party(config_, party); !good)
            return failed(party, good.error());
        const auto found = config_.parties.find(party);
        if (found == config_.parties.end())
            return failed(party, {Errc::bad_config, "the configuration has no [party." + party +
                                                        "]; it needs its table: data, id"});
        look_at_policy(party, found->second);
        const auto table = actors::csv_tables(config_, party)(actors::TableKind::train);
        if (!table) return failed(party + " table", table.error());
        if (*table == nullptr)
            return failed(party + " table",
                          {Errc::bad_config, "[party." + party + "] names no data"});
        const auto duplicates = config_.data.duplicates == config::Duplicates::refuse
                                    ? data::Duplicates::refuse
                                    : data::Duplicates::first;
        const auto ids = data::hash_ids(**table, config_.data.id_salt, duplicates, party);
        if (!ids) return failed(party + " ids", ids.error());
        ok(party + " table", found->second.data + ", " + std::to_string((*table)->rows()) +
                                 " rows" +
                                 (duplicates == data::Duplicates::refuse ? ", ids unique" : ""));
        look_at_memory(party, found->second.data);
    }

    [[nodiscard]] const std::vector<Line>& lines() const noexcept { return lines_; }
    void failed(const std::string& what, const Failure& failure) {
        lines_.push_back({what, Verdict::failed, explained(failure), failure.code});
    }

  private:
    void ok(const std::string& what, const std::string& sentence) {
        lines_.push_back({what, Verdict::ok, sentence});
    }
    void warn(const std::string& what, const std::string& sentence) {
        lines_.push_back({what, Verdict::warning, sentence});
    }

    /// False: nobody gets in with these.
    bool look_at_keys(const bus::Address& address) {
        if (address.transport != bus::Address::Transport::tcp) {
            ok("keys", "none are needed over " + config_.bus.broker);
            return true;
        }
        bus::KeySource source = key_source(config_);
        if (!source.given()) {
            if (address.local_only)
                ok("keys", "none; the broker is on this machine");
            else
                warn("keys",
                     "none: everybody on the way can read and change what is sent; join by "
                     "an invitation, or set bus.certificates");
            return true;
        }
        const auto name = bus::asking_key(source);
        if (!name) return failed("keys", name.error()), false;
        source.name = *name;
        const bus::Seconds now = bus::wall_seconds();
        const auto keys = bus::load_link_keys(source, *name, now);
        if (!keys) return failed("keys", keys.error()), false;
        for (const std::string& text :
             {bus::expiry_warning("the key of " + *name, keys->own.expires, now),
              bus::expiry_warning("the broker's key", keys->broker.expires, now)})
            if (!text.empty()) warn("keys", text);
        ok("keys", *name + " " + bus::fingerprint_of(keys->own.pair.public_key) + " until " +
                       bus::date_text(keys->own.expires) + ", for its owner alone");
        return true;
    }

    /// A session as of one who asks: it begins only with the broker whose key is pinned, and only
    /// when that lets this key in.
    void look_at_session(const bus::StopSignal& stop) {
        const auto asker = Asker::connect(config_, stop);
        if (!asker) return failed("session", asker.error());
        ok("session", key_source(config_).given()
                          ? "the broker has the pinned key, and lets this one in"
                          : "the broker lets this party in");
        const std::string& version = asker->broker().broker_version;
        if (version == version_text)
            ok("version", version + ", as the broker");
        else
            warn("version", "the broker has " + version + ", this is " + std::string(version_text) +
                                "; use the same on all parties");
        const auto theirs = bus::clock_in(asker->broker().extensions);
        if (!theirs) return;
        const std::uint64_t ours = wall_now_ms();
        if (const std::string text = bus::clock_warning(*theirs, ours); !text.empty())
            return warn("clock", text);
        const std::uint64_t apart = *theirs > ours ? *theirs - ours : ours - *theirs;
        ok("clock", human_seconds(static_cast<double>(apart) / 1000) + " from the broker's");
    }

    void look_at_disk() {
        const auto found = free_for_runs(config_);
        if (!found) return;
        const std::uint64_t free = *found;
        const std::string text = human_bytes(free) + " free for " + config_.output.runs_dir;
        if (free < disk_needed)
            failed("disk", {Errc::io, text + "; make room, a run that cannot commit fails"});
        else if (free < disk_wanted)
            warn("disk", text + "; logs and models grow");
        else
            ok("disk", text);
    }

    void look_at_policy(const std::string& party, const config::PartyConfig& mine) {
        if (party == "master") return;
        if (mine.policy.empty())
            return warn(party + " policy",
                        "none: whoever opens a run may use this member's columns "
                        "(docs/policy.md)");
        const auto text = read_file(mine.policy);
        if (!text) return failed(party + " policy", text.error());
        const auto policy = policy::parse_policy(*text, mine.policy);
        if (!policy) return failed(party + " policy", policy.error());
        ok(party + " policy", mine.policy + " is one");
    }

    void look_at_memory(const std::string& party, const std::string& table) {
        std::error_code ec;
        const std::uint64_t bytes = fs::file_size(table, ec);
        const std::uint64_t available = available_memory().value_or(0);
        if (ec || available == 0) return;
        const std::uint64_t wanted = memory_of_process + memory_per_table_byte * bytes;
        const std::string text =
            human_bytes(wanted) + " wanted, " + human_bytes(available) + " there";
        if (wanted > available)
            warn(party + " memory", text + "; other processes would have to give way");
        else
            ok(party + " memory", text);
    }

    const config::Config& config_;
    std::vector<Line> lines_;
};

std::string_view name_of(Verdict verdict) {
    return verdict == Verdict::ok ? "ok" : verdict == Verdict::warning ? "warning" : "failed";
}

int report(const PreflightArguments& arguments, const std::vector<Line>& lines) {
    Errc first = Errc::ok;
    std::vector<std::string> objects;
    for (const Line& line : lines) {
        if (line.verdict == Verdict::failed && first == Errc::ok) first = line.code;
        if (arguments.json) {
            JsonObject one;
            one.add("what", line.what).add("verdict", name_of(line.verdict));
            if (line.verdict == Verdict::failed) one.add("error", vflbus::name_of(line.code));
            objects.push_back(one.add("sentence", line.sentence).text());
        } else if (!arguments.quiet || line.verdict != Verdict::ok) {
            std::string text(name_of(line.verdict));
            text.resize(9, ' ');
            print(text + line.what + ": " + line.sentence + "\n");
        }
    }
    if (arguments.json)
        print(versioned("vflbus-preflight")
                  .add("status", first == Errc::ok ? "ok" : "failed")
                  .add_json("lines", json_array(objects))
                  .text() +
              "\n");
    return first == Errc::ok ? 0 : static_cast<int>(exit_code(first));
}

}  // namespace

int run(const PreflightArguments& arguments) {
    std::string self = arguments.role;
    if (!arguments.rank.empty()) self = "member-" + arguments.rank;
    LoadMore more;
    more.self = self == "member" ? std::string() : self;
    auto config = load_config(arguments, broker_flag(arguments.broker), more);
    if (!config) {
        const Line line{"configuration", Verdict::failed, explained(config.error()),
                        config.error().code};
        return report(arguments, {line});
    }
    std::vector<std::string> parties;
    if (!more.self.empty()) parties.push_back(more.self);
    if (parties.empty())
        for (const auto& [name, section] : config->parties) parties.push_back(name);
    // by the key that the party's process will use, whatever others are in the directory
    if (parties.size() == 1 && config->bus.identity.empty()) config->bus.identity = parties.front();
    bus::StopSignal stop;
    const SignalScope signals(stop);
    Preflight flight(*config);
    flight.look_at_machine();
    flight.look_at_broker(stop);
    if (parties.empty())
        flight.failed("party", {Errc::bad_config,
                                "the configuration has no [party.NAME] section; say --role and "
                                "--rank, or which file: --config"});
    for (const std::string& party : parties) flight.look_at_party(party);
    return report(arguments, flight.lines());
}

}  // namespace vflbus::cli
