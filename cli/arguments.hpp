#pragma once
// The command line as plain structs. Only arguments.cpp and arguments/ see CLI11.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace vflbus::cli {

/// What every command that reads a configuration takes.
struct Common {
    std::string config;             ///< --config
    std::vector<std::string> sets;  ///< --set key=value, strongest last
    std::string certificates;       ///< --certificates: bus.certificates
    std::string metrics;            ///< --metrics: observe.metrics
    std::string trace;              ///< --trace: observe.trace
    std::string log_format;         ///< --log-format: output.log_format
    bool json = false;
    bool quiet = false;
    bool verbose = false;
    /// --parent, not shown: end when this process does. Set by `launch` for what it starts.
    std::optional<int> parent;
    /// --parent-tells, not shown: a failure goes to standard output as JSON, and the parent, which
    /// shares our standard error, says it.
    bool parent_tells = false;
    /// --parent-columns, not shown: columns of the window in which the parent shows what we print;
    /// 0: it is no terminal.
    std::uint64_t parent_columns = 0;
    /// --parent-goes-on, not shown: the parent goes on with our run when it is started again, so
    /// that its end is ours at once and ends nothing in order.
    bool parent_goes_on = false;
};

struct BrokerArguments : Common {
    std::vector<std::string> bind;
    bool insecure = false;
    std::string state_dir;
    std::string http;  ///< --http: where the page of `vflbus ui` is; empty: nowhere
};

struct ActorArguments : Common {
    std::string role;  ///< master, member, arbiter or serverapp; empty: VFLBUS_ROLE
    std::optional<std::uint64_t> rank;
    bool once = false;
    bool serve = false;  ///< master only: waits for submissions
    std::string name;
    std::string broker;
    std::string http;        ///< as a broker's
    std::string out;         ///< --out: where this party keeps its model and report
    std::string run_id;      ///< master only
    std::string resume;      ///< master only: the run to go on with
    bool or_resume = false;  ///< --run-id of a run that was begun goes on with it
    std::string state_dir;
    std::string policy;      ///< --policy: what others may do with a member's data
    std::string policy_dir;  ///< --policy-dir: what it has decided; empty: the state directory
    std::string model_dir;   ///< --model-dir, not shown: where `predict --local` has the parts
    std::string app;         ///< --app: the shared object of a ClientApp or ServerApp
    std::vector<std::string> run_config;   ///< --run-config key=value, of a ServerApp
    std::vector<std::string> node_config;  ///< --node-config key=value, of a ClientApp
};

enum class Transport : std::uint8_t { tcp, ipc };

/// How `launch`, `check` and `predict` start the parties themselves.
struct Local {
    bool local = false;                    ///< as processes of this machine
    bool threads = false;                  ///< as threads of this process
    bool podman = false;                   ///< as containers; `launch` only
    std::optional<std::uint64_t> members;  ///< the N after --local, --threads or --podman
    Transport transport = Transport::ipc;
};

/// Limits of a container, and what it runs.
struct Container {
    std::string image;  ///< empty: localhost/vflbus:VERSION
    std::string memory = "2g";
    std::string cpus = "2";
};

struct LaunchArguments : Common, Local {
    bool keep = false;  ///< leaves containers
    Container container;
    std::vector<std::string> data;   ///< own files, one per party
    std::vector<std::string> label;  ///< label columns
    std::vector<std::string> id;     ///< id column, one for all files or one per file
    std::string task;                ///< empty: guessed from the label
    std::string folds;               ///< empty: as the configuration says
    std::string out;
    std::string run_id;
    std::string resume;  ///< the run to go on with
    std::string client;  ///< --client: runs of apps instead of a training
    std::vector<std::string> servers;
    std::vector<std::string> run_config;
};

/// One training with all columns in one process.
struct TrainJoinedArguments : LaunchArguments {};

/// Trainings with each combination of some settings.
struct TuneArguments : LaunchArguments {
    std::vector<std::string> grid;  ///< "model.l2=0.1,1"
    std::string metric;             ///< empty: the first of the test metrics that is no loss
    std::uint64_t jobs = 2;         ///< at the same time
    std::string broker;             ///< of members that serve elsewhere; empty: they are threads
    std::string best_file;          ///< where the best configuration goes; empty: nowhere
};

/// A run that is not continued.
struct ShortRunArguments : Common, Local {
    std::string broker;
    std::string state_dir;
    std::string name;    ///< node name of its master; empty: "master"
    std::string run_id;  ///< empty: random
};
struct CheckArguments : ShortRunArguments {};
struct FeaturesArguments : ShortRunArguments {};
/// Without --local: one party of several, which leads when it has no rank.
struct PsiArguments : Common {
    bool local = false;             ///< --local: all files are of this machine
    std::vector<std::string> data;  ///< a file of each party here
    std::string id;                 ///< its column of ids; empty: "id"
    std::string out;                ///< CSV file of the common ids; "-": standard output
    std::optional<std::uint64_t> rank;
    std::optional<std::uint64_t> parties;
    std::optional<std::uint64_t> least;  ///< --min; otherwise data.common_min
    std::string broker;
    std::string state_dir;
};
struct PredictArguments : ShortRunArguments {
    std::string model;              ///< a directory, or a run's id or its first digits
    std::vector<std::string> data;  ///< rows to predict, one file per party
    std::string out;                ///< CSV file; empty: predictions.csv in the run's directory
};

// -- questions to a broker: runs, nodes, run ... -------------------------------------

struct BrokerQuestion : Common {
    std::string broker;
};

/// About runs: of a broker, or of what lies in files here.
struct RunQuestion : BrokerQuestion {
    bool local = false;  ///< --local: without asking a broker
};

struct RunsArguments : RunQuestion {
    std::string status;  ///< empty: all
    std::uint64_t limit = 50;
};

struct NodesArguments : BrokerQuestion {
    std::uint64_t limit = 500;
};

struct TopArguments : BrokerQuestion {
    double interval = 1;      ///< seconds between two pictures
    std::uint64_t times = 0;  ///< so many pictures; 0: until it is stopped
};

struct UiArguments : BrokerQuestion {
    std::string http = "127.0.0.1:8080";
    bool remote = false;  ///< other machines may look
    bool token = false;   ///< asked for on loopback as well
};

struct RunArguments : RunQuestion {
    std::string run;  ///< its id, or the first digits
};
struct RunShowArguments : RunArguments {};
struct RunStopArguments : RunArguments {};
struct RunLogsArguments : RunArguments {
    bool follow = false;
};
struct RunCompareArguments : RunArguments {
    std::string other;
};
struct RunPlotArguments : RunQuestion {
    std::vector<std::string> runs;
    std::string metric = "loss";
};
struct RunTraceArguments : Common {
    std::vector<std::string> files;
    std::string out = "trace.json";
};
struct RunRemoveArguments : Common {
    std::vector<std::string> runs;
    bool force = false;  ///< also what could still be resumed
};

struct ReportArguments : Common {
    std::string run;               ///< its id, or the first digits
    std::string out;               ///< empty: report.html in the run's directory; "-": printed
    std::string party = "master";  ///< whose features are shown
    double threshold = 0.5;
    bool csv = false;
};

struct ModelShowArguments : Common {
    std::string model;  ///< a directory, or a run's id or its first digits
    std::string party;  ///< empty: all whose parts lie there
    std::uint64_t limit = 20;
};

struct SubmitArguments : BrokerQuestion {
    std::string to;     ///< node name of the serving master; empty: the only one
    std::string label;  ///< for people
    std::string token;  ///< the same one gives the same run; empty: a run of its own
    bool wait = false;
    bool follow = false;
};
/// A prediction instead of a training.
struct RunPredictArguments : SubmitArguments {
    std::string model;  ///< the run that trained it: its id, or the first digits
};

struct SynthArguments : Common {
    std::string task = "logistic";
    std::string out;
    std::uint64_t members = 2;
    std::uint64_t rows = 10'000;
    std::uint64_t seed = 1;
    std::uint64_t labels = 5;
    std::uint64_t classes = 4;
    std::string pictures;  ///< "16x16"; empty: the credit example
    bool test_files = false;
    bool predict_files = false;
};

struct InspectArguments : Common {
    std::string file;
    std::vector<std::string> columns;  ///< "PATTERN=KIND"
};

struct SplitArguments : Common {
    std::string file;
    std::uint64_t parties = 2;
    std::string id;
    std::vector<std::string> label;
    std::string image;  ///< "28x28"; empty: the columns are no pixels
    std::string out = ".";
    double overlap = 1;
    std::uint64_t seed = 1;
};

struct HealthArguments : Common {
    std::string role;  ///< broker, master, member, ...; empty: VFLBUS_ROLE, else the broker
    std::optional<std::uint64_t> rank;
    std::string name;
    std::string broker;
    std::string state_dir;
    bool ready = false;  ///< of a party: its broker answers as well
};

struct AgentArguments : Common, Container {
    enum class Action : std::uint8_t { start, stop, status, logs };
    Action action = Action::status;
    std::string role;  ///< broker, master, member or arbiter; empty: VFLBUS_ROLE
    std::optional<std::uint64_t> rank;
    std::string broker;
    std::string bind;    ///< of a broker
    std::string run_id;  ///< start: that of a master; else what `launch --podman --keep` left
    std::string model;   ///< with infer: runs/<run_id> of the training
    bool insecure = false;
    bool infer = false;
    bool follow = false;
    bool all = false;
};

struct ExportArguments : Common, Container {
    enum class Form : std::uint8_t { kube, systemd };
    Form form = Form::kube;
    bool podman = false;  ///< kube: what `podman kube play` of version 4.3 runs
    std::string out;      ///< empty: standard output
    std::string run_id;
};

/// Which node of this machine a command is about, by its directory.
struct NodePlace : Common {
    std::string node;       ///< --node: its name; empty: the only one that has an audit log
    std::string state_dir;  ///< --state-dir of that node; empty: nodes/NAME under output.runs_dir
};
struct AuditVerifyArguments : NodePlace {
    std::string file;  ///< a log; empty: that of the node
    std::string key;   ///< the public half that its signatures must be of
    std::string head;  ///< "LINE:HASH" that was written down earlier
    bool no_head = false;
};
struct AuditShowArguments : NodePlace {
    std::string file;
    std::string run;  ///< its first digits; empty: all
};

/// `approve` and `refuse`.
struct ApprovalArguments : NodePlace {
    bool approves = true;
    std::string run;  ///< its id, or the first digits; empty: lists those that wait
};
struct GrantArguments : NodePlace {
    std::string table;  ///< empty: lists what is granted
    std::string owner;
    std::string until;  ///< a date, which still counts
    std::string key;    ///< the fingerprint that the owner must have
    bool withdraw = false;
};

struct ConfigCheckArguments : Common {};
struct ConfigReferenceArguments : Common {};
struct VersionArguments : Common {};
struct CompletionArguments : Common {
    std::string shell;  ///< bash, zsh or fish
};
/// Not shown: the pages of `man`, for the build.
struct ManualArguments : Common {
    std::string out;  ///< directory of the pages; empty: the first one to standard output
};

// -- keys and who may come in: of files here, without a broker --------------------------

/// `certificates` is where they lie; "keys" unless it is said.
struct KeysNewArguments : Common {
    std::string name;
    std::string expires = "365d";
};
struct KeysShowArguments : Common {
    std::string name;  ///< empty: all that are there
};
struct KeysFingerprintArguments : Common {
    std::string name;  ///< or a file
};
struct AllowArguments : Common {
    std::string name;
    std::string key;  ///< fingerprint, public key, or the .pub file
    std::vector<std::string> roles;
    std::vector<std::string> ranks;
    std::vector<std::string> may;
    std::string expires;   ///< a period; empty: what the file says, otherwise a year
    bool also = false;     ///< beside the keys that the name has
    bool replace = false;  ///< in their place
};
struct RevokeArguments : Common {
    std::string name;
    std::string key;  ///< only this one of its keys
};
struct MembersArguments : Common {};
struct InviteArguments : Common {
    std::string name;
    std::vector<std::string> roles;
    std::vector<std::string> ranks;
    std::vector<std::string> may;
    std::string expires = "7d";        ///< of the invitation
    std::string key_expires = "365d";  ///< of the key that is made: how long at most
    std::string broker;                ///< as parties reach it; empty: as it was last started
    bool also = false;                 ///< beside the keys that the name has
    bool replace = false;              ///< in their place
    bool list = false;
    std::string withdraw;  ///< the name whose invitations end
};
struct KeysRotateArguments : Common {
    std::string broker;
};
struct PreflightArguments : Common {
    std::string role;
    std::string rank;
    std::string broker;
};
struct JoinArguments : Common {
    std::string line;  ///< or a file with it, or - for standard input
    std::string key_expires = "365d";
    std::string data;
    std::string id;
    std::vector<std::string> label;
};

struct PrerequisitesArguments : Common {
    enum class Action : std::uint8_t { start, stop, status };
    Action action = Action::status;
    std::string dir = "prerequisites";
    std::vector<std::string> images;  ///< "NAME=IMAGE"
    bool from_packages = false;       ///< the images that are not named are made of packages
    bool only_write = false;
};

/// Nothing left to do: help was shown, or the command line made no sense and was told so.
struct Exit {
    int code = 0;
};

using Command = std::variant<
    Exit, BrokerArguments, ActorArguments, LaunchArguments, TrainJoinedArguments, TuneArguments,
    CheckArguments, FeaturesArguments, PsiArguments, PredictArguments, SynthArguments,
    InspectArguments, SplitArguments, ConfigCheckArguments, ConfigReferenceArguments,
    HealthArguments, AgentArguments, ExportArguments, VersionArguments, RunsArguments,
    NodesArguments, RunShowArguments, RunStopArguments, RunLogsArguments, SubmitArguments,
    RunPredictArguments, RunCompareArguments, RunPlotArguments, RunTraceArguments,
    RunRemoveArguments, CompletionArguments, ManualArguments, ModelShowArguments, ReportArguments,
    AuditVerifyArguments, AuditShowArguments, KeysNewArguments, KeysShowArguments,
    KeysFingerprintArguments, AllowArguments, RevokeArguments, MembersArguments, ApprovalArguments,
    GrantArguments, InviteArguments, JoinArguments, KeysRotateArguments, PreflightArguments,
    TopArguments, UiArguments, PrerequisitesArguments>;

/// Help goes to standard output, a sentence on what is wrong to standard error.
Command parse(int argc, const char* const* argv);

}  // namespace vflbus::cli
