#pragma once
// CLI11's tree of commands, and the options that several of them take. The files of this folder and
// arguments.cpp alone include CLI11: each adds the commands of one group.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "arguments.hpp"

namespace vflbus::cli {

/// The program's command line: CLI11's tree, and the arguments that it fills.
struct CommandLine {
    CLI::App app{
        "vflbus trains one model on the columns of several parties whose data stays where it is.",
        "vflbus"};
    bool version = false;
    Command chosen = Exit{};
    bool any = false;  ///< a command was named

    BrokerArguments broker;
    ActorArguments actor;
    LaunchArguments launch;
    TrainJoinedArguments train_joined;
    TuneArguments tune;
    CheckArguments check;
    FeaturesArguments features;
    PsiArguments psi;
    PredictArguments predict;
    RunsArguments runs;
    NodesArguments nodes;
    TopArguments top;
    UiArguments ui;
    RunShowArguments run_show;
    RunStopArguments run_stop;
    RunLogsArguments run_logs;
    SubmitArguments submit;
    RunPredictArguments run_predict;
    RunCompareArguments run_compare;
    RunPlotArguments run_plot;
    RunTraceArguments run_trace;
    RunRemoveArguments run_remove;
    ModelShowArguments model_show;
    ReportArguments report;
    SynthArguments synth;
    InspectArguments inspect;
    SplitArguments split;
    ConfigCheckArguments config_check;
    ConfigReferenceArguments config_reference;
    HealthArguments health;
    AgentArguments agent;
    PrerequisitesArguments prerequisites;
    ExportArguments exported;
    AuditVerifyArguments audit_verify;
    AuditShowArguments audit_show;
    ApprovalArguments approve;
    ApprovalArguments refuse;
    GrantArguments grant;
    VersionArguments version_arguments;
    CompletionArguments completion;
    ManualArguments manual;
    KeysNewArguments keys_new;
    KeysShowArguments keys_show;
    KeysFingerprintArguments keys_fingerprint;
    AllowArguments allow;
    RevokeArguments revoke;
    InviteArguments invite;
    KeysRotateArguments keys_rotate;
    PreflightArguments preflight;
    JoinArguments join;
    MembersArguments members;

    CommandLine();

    /// A command whose arguments are `arguments`.
    template <class Arguments>
    CLI::App& command(CLI::App& above, const std::string& name, const std::string& summary,
                      const std::string& footer, Arguments& arguments) {
        CLI::App& on = group(above, name, summary, footer);
        on.callback([this, &arguments] {
            chosen = arguments;
            any = true;
        });
        return on;
    }

    /// Commands below a name. CLI11 hands footers on to subcommands: each says its own.
    static CLI::App& group(CLI::App& above, const std::string& name, const std::string& summary,
                           const std::string& footer) {
        CLI::App& on = *above.add_subcommand(name, summary);
        on.footer(footer);
        return on;
    }
};

// -- options of several commands ----------------------------------------------------

/// A whole number without sign; none when the text is anything else.
std::optional<std::uint64_t> parse_number(const std::string& text);
/// A number from 0 to 1.
std::optional<double> parse_fraction(const std::string& text);

void add_output(CLI::App& app, Common& common, bool json = true);
void add_config(CLI::App& app, Common& common);
void add_metrics(CLI::App& app, Common& common);
void add_page(CLI::App& app, std::string& http);
void add_trace(CLI::App& app, Common& common);
/// Where keys lie, of commands that read no configuration.
void add_key_store(CLI::App& app, Common& common);

void add_broker_address(CLI::App& app, std::string& broker);
/// N may follow --local and --threads: an option of no or one value.
CLI::callback_t take_members(bool& wanted, std::optional<std::uint64_t>& members);

void add_local(CLI::App& app, Local& local, const std::string& what);
void add_container(CLI::App& app, Container& container);
void add_node_place(CLI::App& on, NodePlace& place);
void add_question(CLI::App& on, BrokerQuestion& question);
/// RUN: one run.
CLI::Option* add_run_id(CLI::App& on, std::string& run);

/// An option that takes a whole number of at least `least`: CLI11 itself would make
/// 18446744073709551615 of -1.
template <class Number>
CLI::Option* add_number(CLI::App& app, const std::string& name, Number& number,
                        const std::string& help, std::uint64_t least = 0) {
    return app.add_option_function<std::string>(
        name,
        [&number, name, least](const std::string& text) {
            const auto parsed = parse_number(text);
            if (!parsed || *parsed < least)
                throw CLI::ValidationError(name + " is a whole number from " +
                                           std::to_string(least) + ", not '" + text + "'");
            number = *parsed;
        },
        help);
}

// -- the commands, by group ---------------------------------------------------------

void add_broker(CommandLine& line);
void add_actor(CommandLine& line);
void add_health(CommandLine& line);
void add_preflight(CommandLine& line);
void add_launch(CommandLine& line);
void add_train_joined(CommandLine& line);
void add_tune(CommandLine& line);
void add_features(CommandLine& line);
void add_check(CommandLine& line);
void add_psi(CommandLine& line);
void add_predict(CommandLine& line);
void add_runs_and_nodes(CommandLine& line);
void add_looks(CommandLine& line);
void add_run(CommandLine& line);
void add_model(CommandLine& line);
void add_report(CommandLine& line);
void add_data(CommandLine& line);
void add_config_commands(CommandLine& line);
void add_agent(CommandLine& line);
void add_prerequisites(CommandLine& line);
void add_export(CommandLine& line);
void add_keys(CommandLine& line);
void add_allow(CommandLine& line);
void add_invite(CommandLine& line);
void add_join(CommandLine& line);
void add_audit(CommandLine& line);
void add_approval(CommandLine& line);
void add_grant(CommandLine& line);
void add_completion(CommandLine& line);
void add_version(CommandLine& line);

}  // namespace vflbus::cli
