// vflbus health

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "base/files.hpp"
#include "base/text.hpp"
#include "bus/zmq/probe.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "settings.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// A container's health check has two seconds; a broker of the same machine needs a millisecond.
constexpr Duration broker_patience = std::chrono::milliseconds(400);

/// 'R', 'S', 'T', ...; a space when there is no such process.
char state_of(int pid) {
    const auto text = read_file("/proc/" + std::to_string(pid) + "/stat");
    if (!text) return ' ';
    const auto after = text->rfind(") ");
    return after == std::string::npos || after + 2 >= text->size() ? ' ' : (*text)[after + 2];
}

Result<> party_is_up(const std::string& party, const fs::path& directory) {
    const auto holder = lock_holder(directory);
    if (!holder)
        return fail(Errc::peer_lost, party + " is not up: no process holds " + directory.string());
    const char state = state_of(*holder);
    if (state == 'T' || state == 't' || state == 'Z')
        return fail(Errc::peer_lost, party + " is not up: process " + std::to_string(*holder) +
                                         (state == 'Z' ? " has ended" : " is stopped"));
    return {};
}

/// What a flag says, or else a variable.
std::string said(const std::string& flag, const char* variable) {
    if (!flag.empty()) return flag;
    const char* const value = std::getenv(variable);
    return value == nullptr ? "" : value;
}

/// The node's name; empty for a broker.
Result<std::string> name_of_party(const HealthArguments& arguments) {
    const std::string role = said(arguments.role, "VFLBUS_ROLE");
    const std::string rank =
        arguments.rank ? std::to_string(*arguments.rank) : said({}, "VFLBUS_RANK");
    if (role == "broker" || (role.empty() && rank.empty())) return "";
    if (std::string name = said(arguments.name, "VFLBUS_NAME"); !name.empty()) return name;
    if (!role.empty() && role != "member") return role;
    std::uint64_t number = 0;
    const auto [at, code] = std::from_chars(rank.data(), rank.data() + rank.size(), number);
    if (code != std::errc{} || at != rank.data() + rank.size())
        return fail(Errc::usage, "a member needs its rank: --rank R, or VFLBUS_RANK");
    return config::member_name(number);
}

}  // namespace

int run(const HealthArguments& arguments) {
    const auto name = name_of_party(arguments);
    if (!name) return report_failure(arguments, name.error());
    const auto config = load_config(arguments, broker_flag(arguments.broker));
    if (!config) return report_failure(arguments, config.error());

    JsonObject answer;
    Failure failure{Errc::ok, {}};
    if (!name->empty()) {
        fs::path directory = said(arguments.state_dir, "VFLBUS_STATE_DIR");
        if (directory.empty()) directory = node_directory(*config, *name);
        if (const auto up = party_is_up(*name, directory); !up) failure = up.error();
        answer.add("party", *name);
    }
    // a party is not to be ended because its broker is away for a while
    if (failure.code == Errc::ok && (name->empty() || arguments.ready)) {
        const auto took =
            bus::probe_broker(bus::make_context(), config->bus.broker, broker_patience);
        answer.add("broker", config->bus.broker);
        if (took)
            answer.add("answered_ms", std::chrono::duration<double, std::milli>(*took).count());
        else
            failure = took.error();
    }
    const bool up = failure.code == Errc::ok;
    if (!up) error_line(failure.sentence);
    if (arguments.json)
        print(answer.add("status", up ? "up" : "down").add("reason", failure.sentence).text() +
              "\n");
    return up ? 0 : 1;
}

}  // namespace vflbus::cli
