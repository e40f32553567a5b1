// vflbus psi: which ids several parties have in common, each with a file of its own, and nothing
// else.
//
// It is a check run with private set intersection (docs/alignment.md) over tables of ids alone;
// each party writes the common ids of its own file.

#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "actors/master.hpp"
#include "actors/party.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "bus/zmq/context.hpp"
#include "commands.hpp"
#include "data/csv_cell.hpp"
#include "observe/log.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "party.hpp"
#include "run_directory.hpp"
#include "settings.hpp"
#include "signals.hpp"
#include "thread_run.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// One id a line, below the name of the column, in the order that all parties have.
std::string common_csv(const actors::Party& party) {
    const data::Table& table = *party.table(actors::TableKind::train);
    const data::Aligned& common = party.common(actors::TableKind::train);
    std::string text = "id\n";
    for (std::size_t i = 0; i < common.rows.size(); ++i)
        if (i == 0 || common.ids[i] != common.ids[i - 1]) {
            data::append_csv_cell(text, table.ids[common.rows[i]]);
            text += '\n';
        }
    return text;
}

/// Writes to `out`: a file, "-" for standard output, or nowhere.
actors::CommonSink sink_to(const std::string& out) {
    return [out](const actors::Party& party) -> Result<> {
        if (out.empty()) return {};
        const std::string text = common_csv(party);
        if (out != "-") return write_file_atomically(out, text);
        print(text);
        return {};
    };
}

/// Which party this is: "master", or "member-R".
std::string self_of(const PsiArguments& arguments) {
    return arguments.rank ? config::member_name(*arguments.rank) : "master";
}

Result<> check_flags(const PsiArguments& arguments) {
    const auto wrong = [](const std::string& why) { return fail(Errc::usage, why); };
    if (arguments.local) {
        if (arguments.data.size() < 2)
            return wrong("--local intersects files of this machine: give --data at least twice");
        if (arguments.rank || arguments.parties)
            return wrong("--local has a party for each --data; leave --rank and --parties out");
        return {};
    }
    if (arguments.data.size() != 1)
        return wrong("a party has one file: give --data once, or --local with several");
    if (!arguments.parties)
        return wrong(
            "say --parties N, how many there are with this one: the same at all; one has no --rank "
            "and leads, the others have --rank 0 to N - 2");
    if (arguments.rank && arguments.json && arguments.out == "-")
        return wrong("--json and --out - both write to standard output");
    return {};
}

/// A failure in the words of this command: where the others say a key of the configuration, it has
/// a flag.
Failure in_own_words(Failure failure) {
    for (std::string* text : {&failure.sentence, &failure.hint, &failure.for_others})
        for (const auto& [key, flag] :
             {std::pair{"data.common_min = ", "--min "}, std::pair{"data.common_min", "--min"}})
            for (std::size_t at; (at = text->find(key)) != std::string::npos;)
                text->replace(at, std::string_view(key).size(), flag);
    return failure;
}

/// Whether --out can be written, before hours of work; an older file stays until there is another.
Result<> check_out(const std::string& out) {
    if (out.empty() || out == "-") return {};
    std::error_code ec;
    if (fs::is_directory(out, ec))
        return fail(Errc::usage, "--out " + out + " is a directory; name a file in it");
    const fs::path directory = fs::absolute(out).parent_path();
    if (!fs::is_directory(directory, ec))
        return fail(Errc::usage, "--out " + out + ": there is no directory " + directory.string());
    if (::access(directory.c_str(), W_OK) != 0)
        return fail(Errc::io, "--out " + out + ": " + directory.string() + " cannot be written");
    return {};
}

Result<config::Config> configuration(const PsiArguments& arguments) {
    std::vector<config::Override> flags = broker_flag(arguments.broker);
    const auto set = [&](const std::string& key, const std::string& value, const char* flag) {
        flags.push_back({key + "=" + value, flag});
    };
    set("data.alignment", "psi", "vflbus psi");
    if (arguments.least) set("data.common_min", std::to_string(*arguments.least), "--min");
    const std::size_t parties =
        arguments.local ? arguments.data.size() : arguments.parties.value_or(0);
    if (parties != 0) set("run.world_size", std::to_string(parties - 1), "--parties");
    for (std::size_t p = 0; p < arguments.data.size(); ++p) {
        const std::string party = arguments.local && p > 0 ? config::member_name(p - 1)
                                  : arguments.local        ? "master"
                                                           : self_of(arguments);
        set("party." + party + ".data", arguments.data[p], "--data");
        if (!arguments.id.empty()) set("party." + party + ".id", arguments.id, "--id");
    }
    LoadMore more;
    more.self = self_of(arguments);
    more.search = false;
    more.defaults = {"bus.rendezvous_timeout=600", "data.common_min=10", "data.duplicates=first"};
    return load_config(arguments, flags, more);
}

void tell(const PsiArguments& arguments, const actors::CheckMaster& master, const RunId& run) {
    if (arguments.json) {
        std::vector<std::string> parties;
        for (const actors::CheckedParty& party : master.checked())
            parties.push_back(JsonObject()
                                  .add("name", party.name)
                                  .add("rows", party.rows)
                                  .add("duplicate_rows", party.duplicate_rows)
                                  .add("match_rate", party.match_rate)
                                  .text());
        print(JsonObject()
                  .add("status", "completed")
                  .add("reason", "")
                  .add("run_id", run.hex())
                  .add("common", master.common())
                  .add_json("parties", json_array(parties))
                  .text() +
              "\n");
        return;
    }
    if (arguments.quiet || arguments.out == "-") return;
    observe::Table table({{"party"},
                          {"rows", observe::Align::right},
                          {"repeated", observe::Align::right},
                          {"matched", observe::Align::right}});
    for (const actors::CheckedParty& party : master.checked())
        table.add(
            {party.name, observe::grouped(party.rows), observe::grouped(party.duplicate_rows),
             shortest(static_cast<double>(static_cast<int>(1000 * party.match_rate + .5)) / 10) +
                 " %"});
    print(shown(table) + "\n" + observe::grouped(master.common()) +
          " ids are common to all parties" +
          (arguments.out.empty() ? "; --out FILE writes them" : ": " + arguments.out) + ".\n");
}

Failure lead(const PsiArguments& arguments, const config::Config& config, const RunId& run,
             PartyOptions options, const bus::StopSignal& stop) {
    const auto env = actors::make_file_env();
    options.on_common = sink_to(arguments.out);
    auto made = watched_options(config, run, options, *env);
    if (!made) return made.error();
    auto master = actors::make_check_master(std::move(*made));
    if (!master) return master.error();
    Failure outcome = drive(**master, config, options, stop);
    if (outcome.code == Errc::ok) tell(arguments, **master, run);
    return outcome;
}

/// All files here: a thread for each party, over a bus within the process.
Failure locally(const PsiArguments& arguments, const config::Config& config, const RunId& run) {
    const fs::path run_dir = fs::path(config.output.runs_dir) / run.hex();
    const auto directory = RunDirectory::begin(run_dir, actors::Purpose::check);
    if (!directory) return directory.error();
    ThreadPlan plan;
    plan.config = &config;
    plan.run_dir = run_dir;
    plan.verbose = arguments.verbose;
    plan.quiet = arguments.quiet;
    plan.on_common = sink_to({});
    plan.master = [&](const PartyOptions& options, const bus::StopSignal& stop) {
        return lead(arguments, config, run, options, stop);
    };
    Failure ended = run_in_threads(plan);
    directory->note_end(ended);
    return ended;
}

}  // namespace

int run(const PsiArguments& arguments) {
    const EarlySignals early("vflbus: ended before it began\n");
    if (auto good = check_flags(arguments); !good) return report_failure(arguments, good.error());
    auto config = configuration(arguments);
    if (!config) return report_failure(arguments, config.error());
    for (const auto& [name, party] : config->parties)
        if (const auto good = config::check_files(*config, name); !good)
            return report_failure(arguments, good.error());
    if (const auto good = check_out(arguments.out); !good)
        return report_failure(arguments, good.error());
    const RunId run_id = random_run_id();
    if (arguments.local)
        return report_end(arguments, in_own_words(locally(arguments, *config, run_id)));

    observe::log::set_identity(self_of(arguments));
    bus::StopSignal stop;
    const SignalScope signals(stop);
    PartyOptions options;
    options.context = bus::make_context();
    options.quiet = arguments.quiet;
    options.state_dir = arguments.state_dir;
    if (!arguments.rank)
        return report_end(arguments, in_own_words(lead(arguments, *config, run_id, options, stop)));
    options.on_common = sink_to(arguments.out);
    const Failure ending = serve_member(*config, *arguments.rank, options, stop, true);
    return report_end(arguments, in_own_words(ending));
}

}  // namespace vflbus::cli
