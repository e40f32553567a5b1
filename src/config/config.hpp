#pragma once
// The configuration of a process, as plain structs. Two halves (docs/configuration.md):
//   agreed   [run] [model] [data] [privacy]: the same at all parties, hashed and compared at JOIN
//   (agreed.hpp) private  [bus] [output] [party.<name>]: never leave the party
// The names, types, defaults, limits and sentences of all keys stand in one table (keys.hpp); a
// default is the member initializer below.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "base/task.hpp"

namespace vflbus::config {

// -- the agreed half --------------------------------------------------------------

enum class Protocol : std::uint8_t { honest, masked, encrypted, arbitered };
/// What numbers that the arbiter alone reads are encrypted with (protocol arbitered).
enum class Encryption : std::uint8_t { rlwe, paillier, none };
using vflbus::Task;
enum class Solver : std::uint8_t { lbfgs, sgd, adam, sequential, adamw };
enum class ModelName : std::uint8_t { linear, mlp, resnet, efficientnet };
enum class Combine : std::uint8_t { concat, sum, mean };
enum class ActivationName : std::uint8_t { relu, gelu, silu };
enum class NormName : std::uint8_t { none, batch, layer };
enum class Schedule : std::uint8_t { constant, cosine, step };
enum class Optimizer : std::uint8_t { sgd, adam };
enum class Duplicates : std::uint8_t { refuse, first, all };
enum class MissingRows : std::uint8_t { refuse, skip };
/// Which records are used: those that all parties have, or all of the master's.
enum class Join : std::uint8_t { inner, left };
/// How all parties come to the same ids: docs/alignment.md.
enum class Alignment : std::uint8_t { hashed, psi, plain };

/// The name as it stands in a configuration, e.g. "logistic".
std::string_view name_of(Protocol value) noexcept;
std::string_view name_of(Encryption value) noexcept;
using vflbus::name_of;  // of a Task
std::string_view name_of(Solver value) noexcept;
std::string_view name_of(Optimizer value) noexcept;
std::string_view name_of(ModelName value) noexcept;
std::string_view name_of(Combine value) noexcept;
std::string_view name_of(ActivationName value) noexcept;
std::string_view name_of(NormName value) noexcept;
std::string_view name_of(Duplicates value) noexcept;
std::string_view name_of(Alignment value) noexcept;
std::string_view name_of(Join value) noexcept;

/// The node of the party without data that opens what others have hidden (protocol arbitered).
inline constexpr const char* arbiter_name = "arbiter";

struct AgreedHalf;
/// Whether a training of this configuration has an arbiter.
bool has_arbiter(const AgreedHalf& agreed) noexcept;

/// `"none"`, `"balanced"`, or one positive number per class.
struct ClassWeights {
    enum class Rule : std::uint8_t { none, balanced, numbers };
    Rule rule = Rule::none;
    std::vector<double> numbers;  ///< empty unless `rule` is numbers
    friend bool operator==(const ClassWeights&, const ClassWeights&) = default;
};

struct RunConfig {
    std::uint64_t seed = 1;  ///< at most 2^53
    Protocol protocol = Protocol::honest;
    Encryption he = Encryption::rlwe;
    std::uint64_t he_key_bits = 2048;
    bool insecure_testing = false;  ///< keys that protect nothing are taken
    std::uint64_t world_size = 0;   ///< members, the master not counted; 0: not known here
    std::string experiment_label;
    friend bool operator==(const RunConfig&, const RunConfig&) = default;
};

struct ModelConfig {
    ModelName name = ModelName::linear;
    Task task = Task::logistic;
    Solver solver = Solver::lbfgs;
    bool sequential = false;  ///< what solver = "sequential" was called before, and equal to it
    double l2 = 1;            ///< 1/2 l2 |w|^2 beside the sum of the rows' losses
    double tolerance = 1e-4;
    std::uint64_t max_iterations = 1000;
    std::string early_stopping;  ///< the test metric that is to get better; empty: none
    std::uint64_t patience = 5;  ///< looks that are no better, in a row
    double tweedie_power = 1.5;  ///< of task tweedie: the variance grows as the mean to this power
    std::uint64_t epochs = 20;
    std::uint64_t batch_size = 256;  ///< rows; 0: all rows in one batch
    double learning_rate = 0.1;
    Optimizer optimizer = Optimizer::sgd;  ///< equal to solver where that is sgd or adam
    double momentum = 0;
    double adam_beta1 = 0.9;
    double adam_beta2 = 0.999;
    double adam_epsilon = 1e-8;
    double weight_decay = 0;  ///< lambda in X'r + lambda w; not on the intercept
    double reg_lambda = 0.5;  ///< ridge of the sequential mode
    bool intercept = true;
    ClassWeights class_weights;
    bool shuffle = true;
    std::uint64_t report_train_metrics_iteration = 0;  ///< steps; 0: at the end only
    std::uint64_t report_test_metrics_iteration = 0;   ///< steps; 0: at the end only
    bool label_holder_alone = true;
    // -- networks ----
    std::string bottom = "128-64";  ///< widths of the layers at each party (widths_of)
    std::string top = "64";         ///< widths of the hidden layers at the master
    Combine combine = Combine::concat;
    ActivationName activation = ActivationName::relu;
    NormName norm = NormName::none;
    double dropout = 0.1;  ///< in [0, 1)
    std::uint64_t blocks = 2;
    double hid_factor = 2;
    double residual_dropout = 0;
    double width_factor = 1;
    double depth_factor = 1;
    double stochastic_depth = 0.1;  ///< in [0, 1)
    std::uint64_t shift = 1;        ///< pixels
    double noise = 0;  ///< deviation of what is added to the numbers that leave a member
    Schedule schedule = Schedule::constant;
    double warmup_epochs = 0;
    double drop_epochs = 10;
    double drop_factor = 0.1;
    double clip_norm = 0;  ///< 0: any
    std::uint64_t eval_batch_size = 4096;
    friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

/// The numbers of "128-64"; empty for "". Nothing when it is something else, more than 16 numbers,
/// or one is not from 1 to 16384.
std::optional<std::vector<std::size_t>> widths_of(std::string_view text);

/// A picture: rows and columns of pixels, and the numbers of a pixel.
struct Image {
    std::size_t height = 0;
    std::size_t width = 0;
    std::size_t channels = 1;
};
/// The numbers of "28x14", or of "28x14x3" with channels; zeros for "none". Nothing when it is
/// something else, a side is not from 1 to 4096, or the channels are not from 1 to 64.
std::optional<Image> image_of(std::string_view text);

struct DataConfig {
    std::uint64_t dataset_size = 0;  ///< first n common ids; 0: all
    bool stratify = true;            ///< test rows of each class in its share
    Duplicates duplicates = Duplicates::refuse;
    double test_fraction = 0;  ///< in [0, 1)
    std::uint64_t folds = 0;   ///< of a cross-validation; 0: one training
    std::string id_salt;
    Alignment alignment = Alignment::hashed;
    Join join = Join::inner;
    std::string select;             ///< columns by their figures: config/select.hpp; empty: all
    std::uint64_t common_min = 10;  ///< ids; of an intersection with psi
    bool standardize = true;
    std::uint64_t one_hot_max = 64;  ///< distinct values
    std::string id;  ///< the id column of all parties, or "@row"; empty: as their sections say
    MissingRows missing_id = MissingRows::refuse;
    MissingRows missing_label = MissingRows::refuse;
    friend bool operator==(const DataConfig&, const DataConfig&) = default;
};

/// Noise for differential privacy (docs/privacy.md).
struct PrivacyConfig {
    double noise_multiplier = 0;        ///< on what members receive; 0: none
    double residual_clip_norm = 1;      ///< of a row's residual, in units of the label
    double feature_clip_norm = 3;       ///< of a row of one party's columns, as they are trained
    double score_noise_multiplier = 0;  ///< on what the master receives; 0: none
    double score_clip_norm = 4;         ///< of a row's scores of one member
    double delta = 1e-6;
    bool insecure_testing = false;  ///< noise is made of run.seed, which all know
    [[nodiscard]] bool any() const noexcept {
        return noise_multiplier > 0 || score_noise_multiplier > 0;
    }
    friend bool operator==(const PrivacyConfig&, const PrivacyConfig&) = default;
};

struct AgreedHalf {
    RunConfig run;
    ModelConfig model;
    DataConfig data;
    PrivacyConfig privacy;
    friend bool operator==(const AgreedHalf&, const AgreedHalf&) = default;
};

// -- the private half -------------------------------------------------------------

/// What an owner does when no commit is left that all parties hold.
enum class StateLost : std::uint8_t {
    fail,     ///< ends the run
    restart,  ///< trains from the first step
};

/// Whether what parties say to each other is sealed from end to end, so that the broker cannot read
/// it. automatic: over tcp with keys.
enum class Seal : std::uint8_t { automatic, on, off };
/// What becomes of a party whose key is not known here yet.
enum class FirstUse : std::uint8_t { take, refuse };
/// Durations in seconds, sizes in bytes.
struct BusConfig {
    std::string broker = "tcp://127.0.0.1:7423";
    std::vector<std::string> bind;  ///< empty: the address in `broker`
    bool insecure = false;
    std::string certificates;  ///< directory of keys, absolute after load(); empty: in the clear
    std::string identity;      ///< name of the key there; empty: that of the node
    Seal seal = Seal::automatic;
    std::string known_parties;  ///< file, absolute after load(); empty: in `certificates`
    FirstUse first_use = FirstUse::take;
    double heartbeat_interval = 1;
    double suspect_after = 3;
    double disconnect_idle_client_time = 10;
    double time_between_idle_connections_checks = 0.5;
    double recv_timeout = 600;
    double rendezvous_timeout = 3600;
    double wait_report_interval = 5;
    double rejoin_grace = 30;
    double hello_timeout = 60;
    double hello_retry_min = 0.25;
    double hello_retry_max = 8;
    double hello_retry_jitter = 0.2;  ///< a fraction
    double resolve_timeout = 5;
    double progress_stall_after = 300;
    double slow_peer_after = 10;
    std::uint64_t chunk_bytes = std::uint64_t{512} << 10;
    std::uint64_t frame_bytes_max = std::uint64_t{2} << 20;
    std::uint64_t message_bytes_max = std::uint64_t{1} << 30;
    std::uint64_t hop_window_bytes = std::uint64_t{512} << 10;
    std::uint64_t body_budget_bytes = std::uint64_t{256} << 20;
    std::uint64_t outstanding_max = 16;
    std::uint64_t nodes_max = 4096;
    std::uint64_t runs_max = 1024;
    std::uint64_t restarts_max = 3;
    double cancel_grace = 5;
    std::uint64_t workers = 0;       ///< 0: one per processor, 2 at least
    double commit_interval = 10;     ///< 0: never by time
    std::uint64_t commit_steps = 0;  ///< 0: never by steps
    StateLost on_state_lost = StateLost::fail;
    std::string registry;  ///< absolute after load(); empty: in the broker's state directory
    std::uint64_t registry_runs = 10'000;
    std::uint64_t submitted_at_once = 4;
    std::uint64_t submitted_max = 64;
    friend bool operator==(const BusConfig&, const BusConfig&) = default;
};

/// For whose runs a party gives its log lines to those who ask over the bus.
enum class ShareLog : std::uint8_t { owned, all, none };

struct OutputConfig {
    std::string runs_dir = "runs";    ///< absolute after load()
    std::string log_level = "info";   ///< trace, debug, info, warn, error or off
    std::string log_format = "text";  ///< or json
    std::string log_levels;           ///< of single parts: "bus=debug, policy=warn"
    std::string log_dir;              ///< empty: no files of the processes
    std::uint64_t log_file_bytes = 10'000'000;
    std::uint64_t log_files = 5;
    ShareLog share_log = ShareLog::owned;
    friend bool operator==(const OutputConfig&, const OutputConfig&) = default;
};

/// Who is told what a run does. All empty: nobody.
struct ObserveConfig {
    std::string metrics;                       ///< HOST:PORT of /metrics
    std::uint64_t prometheus_server_port = 0;  ///< the seed's form of it, of the master; 0: none
    bool remote = false;                       ///< other machines may ask as well
    std::string tensorboard;                   ///< directory, absolute after load()
    std::string trace;                         ///< file, absolute after load()
    std::string mlflow_uri;                    ///< http://..., https://... or file:...
    std::string mlflow_experiment;             ///< empty: run.experiment_label
    std::string mlflow_run_name;               ///< empty: made of task and run
    double mlflow_wait = 10;                   ///< seconds
    friend bool operator==(const ObserveConfig&, const ObserveConfig&) = default;
};

/// One `[party.<name>]` section. Paths are absolute after load(); empty means "not given".
struct PartyConfig {
    std::string data;
    std::string test_data;
    std::string predict_data;
    std::string id = "id";
    std::vector<std::string> label;     ///< column or columns; at the master only
    std::string positive;               ///< the positive class; empty: the larger one
    std::string sample_weight;          ///< column of the rows' weights; at the master only
    std::string exposure;               ///< column of the rows' exposures; at the master only
    std::vector<std::string> features;  ///< empty: every column that is not id, label or excluded
    std::vector<std::string> exclude;
    std::string source;                ///< where the data set can be had, quoted when it is missing
    std::vector<std::string> columns;  ///< "PATTERN=KIND": what columns are declared to be
    std::vector<std::string> prepare;  ///< "PATTERN=WORDS": how columns become numbers
    std::string image;                 ///< "28x14": its features are pixels (image_of)
    std::string encoding = "auto";
    std::string separator = "auto";
    std::string decimal = "auto";
    std::string thousands = "auto";
    double source_timeout = 600;  ///< seconds; of a command that is a source
    std::string policy;           ///< what others may do with this party's data; empty: all
    friend bool operator==(const PartyConfig&, const PartyConfig&) = default;
};

// -- all of it --------------------------------------------------------------------

struct Config : AgreedHalf {
    BusConfig bus;
    OutputConfig output;
    ObserveConfig observe;
    std::map<std::string, PartyConfig> parties;  ///< by name: "master", "member-0", ...

    /// The file that was read, as it was named; empty when there was none.
    std::string file;
    /// Who this process is: LoadOptions::self, or what VFLBUS_ROLE and VFLBUS_RANK say; may be
    /// empty.
    std::string self;
    /// What model.C says, which is another form of model.l2: not agreed, and of no use after
    /// load().
    double inverse_l2 = 1;
    bool use_inner_join = true;  ///< Stalactite's form of data.join
    /// Where each stated key was stated: "party.member-0.data" -> "conf/x.toml:12",
    /// "--set", "VFLBUS_MODEL_TASK". A key that is not here has its default.
    std::map<std::string, std::string> origins;

    [[nodiscard]] bool stated(std::string_view key) const;
    /// "conf/x.toml:12" or "the default".
    [[nodiscard]] std::string origin_of(std::string_view key) const;
    /// Whether any agreed key was stated. A party that states none accepts the owner's agreed half.
    [[nodiscard]] bool has_agreed_half() const;
};

std::string member_name(std::uint64_t rank);  ///< "member-2"
/// The section of a party; the defaults where there is none, as for an arbiter.
PartyConfig section_of(const Config& config, const std::string& party);

// -- reading ----------------------------------------------------------------------

/// One `--set section.key=value`, or a flag of its own that stands for one (`--broker ADDRESS` is
/// {"bus.broker=ADDRESS", "--broker"}); `flag` is what an error names.
struct Override {
    std::string text;
    std::string flag = "--set";
};

struct LoadOptions {
    /// `--config`. Empty: $VFLBUS_CONFIG, then ./vflbus.toml when it is there, then no file at all.
    std::filesystem::path path;
    /// False: read no file unless `path` names one (`launch --data` makes its own configuration).
    bool search = true;
    /// Strongest first to last: a later one of the same key wins.
    std::vector<Override> sets;
    /// The process environment (environment_of()); only names that start with VFLBUS_ matter.
    std::map<std::string, std::string> environment;
    /// What relative paths outside a file mean; the current directory when empty.
    std::filesystem::path base_dir;
    /// "master" or "member-K" when the command line says it; else VFLBUS_ROLE and VFLBUS_RANK do.
    std::string self;
    /// Defaults of this command, weaker than everything else and not counted as stated:
    /// launch passes {"bus.rendezvous_timeout=60"}.
    std::vector<std::string> defaults;
};

/// Reads, merges (flag over environment over file over default) and checks a configuration.
/// Errors: bad_config. The sentence names file and line, flag or environment variable, the key and
/// the nearest valid one; up to five problems are listed, one per line. A file that cannot be read
/// is io.
Result<Config> load(const LoadOptions& options);

/// The variables of `environ` that start with VFLBUS_.
std::map<std::string, std::string> environment_of(const char* const* environ_block);

/// The rules between keys (also part of load()): for configurations that were made in code.
Result<> check(const Config& config);

/// What the process of one party needs: its section with data and id, a label at the master.
/// Errors: bad_config, naming the party and the key to set.
Result<> check_party(const Config& config, std::string_view party);

/// check_party() for the master and member-0 to member-(world_size - 1), as `launch` needs it.
Result<> check_launch(const Config& config);

/// That the files of a party are there. Errors: io; the sentence names the party, the file, the key
/// with its line, and where the set can be had when `source` says it.
Result<> check_files(const Config& config, std::string_view party);

}  // namespace vflbus::config
