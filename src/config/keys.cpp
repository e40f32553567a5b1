#include "config/keys.hpp"

#include <algorithm>
#include <array>

namespace vflbus::config {
namespace {

using std::string_view;

// In the order of the enumerations.
constexpr string_view protocols[] = {"honest"};
constexpr string_view tasks[] = {"linear", "logistic", "multilabel", "softmax"};
constexpr string_view optimizers[] = {"sgd", "adam"};
constexpr string_view duplicate_rules[] = {"refuse", "first", "all"};
constexpr string_view state_lost_rules[] = {"fail", "restart"};
constexpr string_view log_levels[] = {"trace", "debug", "info", "warn", "error", "off"};

constexpr double int_max = 9007199254740992.0;  // 2^53, exact as a double
constexpr double day = 86'400;
constexpr double week = 7 * day;

constexpr Section section_table[] = {
    {"run", Half::agreed, "What the run is and who takes part."},
    {"model", Half::agreed, "What is trained and how."},
    {"data", Half::agreed, "What all parties do alike with their tables."},
    {"bus", Half::own,
     "The broker's address, waits and limits of this process. Durations are in seconds, sizes in "
     "bytes."},
    {"output", Half::own, "Where results and logs of this process go."},
    {"party", Half::own,
     "`[party.master]` and `[party.member-0]` to `[party.member-(world_size - 1)]`: one party's "
     "own "
     "tables. A party needs only its own section; `launch` on one machine needs all of them."},
};

// Where a value lives. An enumeration is read and written as its underlying byte.
#define IN_CONFIG(member) [](Config& config, PartyConfig&) -> Field { return &config.member; }
#define ENUM_IN_CONFIG(member)                                  \
    [](Config& config, PartyConfig&) -> Field {                 \
        return reinterpret_cast<std::uint8_t*>(&config.member); \
    }
#define IN_PARTY(member) [](Config&, PartyConfig& party) -> Field { return &party.member; }

constexpr Key key_table[] = {
    // -- [run] ------------------------------------------------------------------
    {.section = "run",
     .name = "seed",
     .type = Type::integer,
     .field = IN_CONFIG(run.seed),
     .doc = "Decides the order of the batches and the split into training and test rows.",
     .min = 0,
     .max = int_max},
    {.section = "run",
     .name = "protocol",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(run.protocol),
     .doc = "How sums of scores are reached. With honest, partial scores travel in the clear; "
            "masked, encrypted and arbitered are not built yet.",
     .choices = protocols},
    {.section = "run",
     .name = "world_size",
     .type = Type::integer,
     .field = IN_CONFIG(run.world_size),
     .doc = "How many members take part, the master not counted. They are member-0 to "
            "member-(world_size - 1).",
     .unit = "members",
     .min = 1,
     .max = 4095,
     .default_note = "the number of `[party.member-K]` sections"},
    {.section = "run",
     .name = "experiment_label",
     .type = Type::text,
     .field = IN_CONFIG(run.experiment_label),
     .doc = "A name of your own, shown in reports."},

    // -- [model] ----------------------------------------------------------------
    {.section = "model",
     .name = "task",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(model.task),
     .doc = "linear: least squares for one number. logistic: one label of two classes. multilabel: "
            "several such labels. softmax: one label of K classes.",
     .choices = tasks},
    {.section = "model",
     .name = "sequential",
     .type = Type::boolean,
     .field = IN_CONFIG(model.sequential),
     .doc = "Linear only: in each batch one party after another solves its own ridge least squares "
            "for what the others leave of the label, instead of gradient descent."},
    {.section = "model",
     .name = "epochs",
     .type = Type::integer,
     .field = IN_CONFIG(model.epochs),
     .doc = "How often training goes through all training rows.",
     .unit = "epochs",
     .min = 1,
     .max = 1e6},
    {.section = "model",
     .name = "batch_size",
     .type = Type::integer,
     .field = IN_CONFIG(model.batch_size),
     .doc = "Rows of one step; 0 takes all training rows at once.",
     .unit = "rows",
     .min = 0,
     .max = 1e9},
    {.section = "model",
     .name = "learning_rate",
     .type = Type::number,
     .field = IN_CONFIG(model.learning_rate),
     .doc = "Length of a step. Not used by sequential.",
     .min = 0,
     .max = 1000,
     .above_min = true},
    {.section = "model",
     .name = "optimizer",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(model.optimizer),
     .doc = "sgd: gradient descent, with momentum when that is not 0. adam: Adam. Not used by "
            "sequential.",
     .choices = optimizers},
    {.section = "model",
     .name = "momentum",
     .type = Type::number,
     .field = IN_CONFIG(model.momentum),
     .doc = "Of sgd; must be 0 with adam and sequential.",
     .min = 0,
     .max = 1,
     .below_max = true},
    {.section = "model",
     .name = "adam_beta1",
     .type = Type::number,
     .field = IN_CONFIG(model.adam_beta1),
     .doc = "Adam's decay of the mean of gradients.",
     .min = 0,
     .max = 1,
     .below_max = true},
    {.section = "model",
     .name = "adam_beta2",
     .type = Type::number,
     .field = IN_CONFIG(model.adam_beta2),
     .doc = "Adam's decay of the mean of squared gradients.",
     .min = 0,
     .max = 1,
     .below_max = true},
    {.section = "model",
     .name = "adam_epsilon",
     .type = Type::number,
     .field = IN_CONFIG(model.adam_epsilon),
     .doc = "Keeps Adam from dividing by zero.",
     .min = 0,
     .max = 1,
     .above_min = true},
    {.section = "model",
     .name = "weight_decay",
     .type = Type::number,
     .field = IN_CONFIG(model.weight_decay),
     .doc = "lambda in the gradient X'r + lambda w; the intercept is left out. Must be 0 with "
            "sequential, which has reg_lambda.",
     .min = 0,
     .max = 1e6},
    {.section = "model",
     .name = "reg_lambda",
     .type = Type::number,
     .field = IN_CONFIG(model.reg_lambda),
     .doc = "Ridge of the sequential mode: |X w - t|^2 + reg_lambda |w|^2 per batch. Used by "
            "sequential only.",
     .min = 0,
     .max = 1e12},
    {.section = "model",
     .name = "intercept",
     .type = Type::boolean,
     .field = IN_CONFIG(model.intercept),
     .doc = "Whether the master adds a constant."},
    {.section = "model",
     .name = "class_weights",
     .type = Type::class_weights,
     .field = IN_CONFIG(model.class_weights),
     .doc = "Weight of each class in the loss. balanced: rows / (classes x rows of the class), "
            "counted on the training rows. Numbers: one per class in ascending order, two for "
            "logistic and multilabel (negative, positive). Not for linear."},
    {.section = "model",
     .name = "shuffle",
     .type = Type::boolean,
     .field = IN_CONFIG(model.shuffle),
     .doc = "Whether each epoch takes the rows in another order, the same at all parties."},
    {.section = "model",
     .name = "report_train_metrics_iteration",
     .type = Type::integer,
     .field = IN_CONFIG(model.report_train_metrics_iteration),
     .doc = "Steps between two reports of the metrics on the training rows; 0 reports at the end "
            "only.",
     .unit = "steps",
     .min = 0,
     .max = 1e12},
    {.section = "model",
     .name = "report_test_metrics_iteration",
     .type = Type::integer,
     .field = IN_CONFIG(model.report_test_metrics_iteration),
     .doc = "Steps between two reports of the metrics on the test rows; 0 reports at the end only.",
     .unit = "steps",
     .min = 0,
     .max = 1e12},
    {.section = "model",
     .name = "label_holder_alone",
     .type = Type::boolean,
     .field = IN_CONFIG(model.label_holder_alone),
     .doc = "Whether the master also trains a model on its own features alone, for comparison."},

    // -- [data] -----------------------------------------------------------------
    {.section = "data",
     .name = "dataset_size",
     .type = Type::integer,
     .field = IN_CONFIG(data.dataset_size),
     .doc = "Trains on the first n common ids; 0 takes all.",
     .unit = "ids",
     .min = 0,
     .max = 4e9},
    {.section = "data",
     .name = "duplicates",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(data.duplicates),
     .doc = "An id that a table has more than once: refuse the table, take its first row, or take "
            "all its rows.",
     .choices = duplicate_rules},
    {.section = "data",
     .name = "test_fraction",
     .type = Type::number,
     .field = IN_CONFIG(data.test_fraction),
     .doc = "Share of the common ids that is kept for testing. Must be 0 where a party has "
            "test_data.",
     .min = 0,
     .max = 1,
     .below_max = true},
    {.section = "data",
     .name = "id_salt",
     .type = Type::text,
     .field = IN_CONFIG(data.id_salt),
     .doc = "Mixed into the hashes of the record ids, so that hashes of two runs cannot be "
            "compared."},
    {.section = "data",
     .name = "standardize",
     .type = Type::boolean,
     .field = IN_CONFIG(data.standardize),
     .doc = "Scales each numeric feature to mean 0 and deviation 1, fitted on the training rows."},
    {.section = "data",
     .name = "one_hot_max",
     .type = Type::integer,
     .field = IN_CONFIG(data.one_hot_max),
     .doc = "A text column of up to this many values becomes one 0/1 feature per value; one of "
            "more is left out, by name.",
     .unit = "values",
     .min = 0,
     .max = 4096},

    // -- [bus] ------------------------------------------------------------------
    {.section = "bus",
     .name = "broker",
     .type = Type::text,
     .field = IN_CONFIG(bus.broker),
     .doc = "Where the broker is: tcp://host:port, ipc://path or inproc://name.",
     .variable = "VFLBUS_BROKER"},
    {.section = "bus",
     .name = "bind",
     .type = Type::texts,
     .field = IN_CONFIG(bus.bind),
     .doc = "Addresses the broker binds to.",
     .default_note = "the address in `bus.broker`"},
    {.section = "bus",
     .name = "insecure",
     .type = Type::boolean,
     .field = IN_CONFIG(bus.insecure),
     .doc = "Allows the broker to bind beyond loopback and ipc in the clear."},
    {.section = "bus",
     .name = "heartbeat_interval",
     .type = Type::number,
     .field = IN_CONFIG(bus.heartbeat_interval),
     .doc = "An idle link pings this often.",
     .unit = "s",
     .min = 0.01,
     .max = day},
    {.section = "bus",
     .name = "suspect_after",
     .type = Type::number,
     .field = IN_CONFIG(bus.suspect_after),
     .doc = "Silence after which a peer is suspected.",
     .unit = "s",
     .min = 0.02,
     .max = day},
    {.section = "bus",
     .name = "disconnect_idle_client_time",
     .type = Type::number,
     .field = IN_CONFIG(bus.disconnect_idle_client_time),
     .doc = "Silence after which a peer is lost.",
     .unit = "s",
     .min = 0.05,
     .max = day},
    {.section = "bus",
     .name = "time_between_idle_connections_checks",
     .type = Type::number,
     .field = IN_CONFIG(bus.time_between_idle_connections_checks),
     .doc = "How often silence is examined.",
     .unit = "s",
     .min = 0.01,
     .max = day},
    {.section = "bus",
     .name = "recv_timeout",
     .type = Type::number,
     .field = IN_CONFIG(bus.recv_timeout),
     .doc = "The longest wait for one reply of a peer that is alive.",
     .unit = "s",
     .min = 0.1,
     .max = week},
    {.section = "bus",
     .name = "rendezvous_timeout",
     .type = Type::number,
     .field = IN_CONFIG(bus.rendezvous_timeout),
     .doc = "The longest wait for all members at the start; `launch` and `check` wait 60 unless it "
            "is stated.",
     .unit = "s",
     .min = 0.1,
     .max = week},
    {.section = "bus",
     .name = "wait_report_interval",
     .type = Type::number,
     .field = IN_CONFIG(bus.wait_report_interval),
     .doc = "A process that waits says this often for whom.",
     .unit = "s",
     .min = 0.1,
     .max = day},
    {.section = "bus",
     .name = "rejoin_grace",
     .type = Type::number,
     .field = IN_CONFIG(bus.rejoin_grace),
     .doc = "How long a broker that came back answers an unknown run with retry, and a training "
            "waits for "
            "a member that is gone.",
     .unit = "s",
     .min = 0,
     .max = day},
    {.section = "bus",
     .name = "hello_timeout",
     .type = Type::number,
     .field = IN_CONFIG(bus.hello_timeout),
     .doc = "A connection that has not said HELLO by then is closed.",
     .unit = "s",
     .min = 0.1,
     .max = day},
    {.section = "bus",
     .name = "hello_retry_min",
     .type = Type::number,
     .field = IN_CONFIG(bus.hello_retry_min),
     .doc = "First pause before HELLO is said again; it doubles each time.",
     .unit = "s",
     .min = 0.01,
     .max = day},
    {.section = "bus",
     .name = "hello_retry_max",
     .type = Type::number,
     .field = IN_CONFIG(bus.hello_retry_max),
     .doc = "Longest such pause.",
     .unit = "s",
     .min = 0.01,
     .max = day},
    {.section = "bus",
     .name = "hello_retry_jitter",
     .type = Type::number,
     .field = IN_CONFIG(bus.hello_retry_jitter),
     .doc = "Share by which each such pause is varied at random.",
     .min = 0,
     .max = 1},
    {.section = "bus",
     .name = "resolve_timeout",
     .type = Type::number,
     .field = IN_CONFIG(bus.resolve_timeout),
     .doc = "The longest wait for the address of a host name.",
     .unit = "s",
     .min = 0.1,
     .max = day},
    {.section = "bus",
     .name = "progress_stall_after",
     .type = Type::number,
     .field = IN_CONFIG(bus.progress_stall_after),
     .doc = "A party that is alive and busy but does not get on for this long is reported; after "
            "as long again the run fails. At the broker.",
     .unit = "s",
     .min = 1,
     .max = week},
    {.section = "bus",
     .name = "slow_peer_after",
     .type = Type::number,
     .field = IN_CONFIG(bus.slow_peer_after),
     .doc =
         "A node for which bytes wait at the broker is reported when it takes none for this long. "
         "At the broker.",
     .unit = "s",
     .min = 0.1,
     .max = day},
    {.section = "bus",
     .name = "chunk_bytes",
     .type = Type::integer,
     .field = IN_CONFIG(bus.chunk_bytes),
     .doc = "Bodies are sent in pieces of this size.",
     .unit = "bytes",
     .min = 4096,
     .max = 524288},
    {.section = "bus",
     .name = "frame_bytes_max",
     .type = Type::integer,
     .field = IN_CONFIG(bus.frame_bytes_max),
     .doc = "The largest frame that a broker takes; nodes cut their pieces to it. At the broker.",
     .unit = "bytes",
     .min = 8192,
     .max = 2097152},
    {.section = "bus",
     .name = "message_bytes_max",
     .type = Type::integer,
     .field = IN_CONFIG(bus.message_bytes_max),
     .doc = "A larger message body is neither sent nor taken, nor passed on by a broker.",
     .unit = "bytes",
     .min = 65536,
     .max = 1073741824},
    {.section = "bus",
     .name = "hop_window_bytes",
     .type = Type::integer,
     .field = IN_CONFIG(bus.hop_window_bytes),
     .doc = "Bytes under way between a link and the broker at the start; it grows with the "
            "bandwidth.",
     .unit = "bytes",
     .min = 524288,
     .max = 16777216},
    {.section = "bus",
     .name = "body_budget_bytes",
     .type = Type::integer,
     .field = IN_CONFIG(bus.body_budget_bytes),
     .doc = "A receiver's memory for bodies under way that are larger than 64 KiB; of those larger "
            "than all of it one at a time is let through besides.",
     .unit = "bytes",
     .min = 1048576,
     .max = 1099511627776.0},
    {.section = "bus",
     .name = "outstanding_max",
     .type = Type::integer,
     .field = IN_CONFIG(bus.outstanding_max),
     .doc = "Requests under way to one node of a run at a time; more of them wait.",
     .unit = "requests",
     .min = 1,
     .max = 16},
    {.section = "bus",
     .name = "nodes_max",
     .type = Type::integer,
     .field = IN_CONFIG(bus.nodes_max),
     .doc = "Nodes that a broker takes at a time.",
     .unit = "nodes",
     .min = 1,
     .max = 4096},
    {.section = "bus",
     .name = "runs_max",
     .type = Type::integer,
     .field = IN_CONFIG(bus.runs_max),
     .doc = "Runs that a broker takes at a time.",
     .unit = "runs",
     .min = 1,
     .max = 1024},
    {.section = "bus",
     .name = "restarts_max",
     .type = Type::integer,
     .field = IN_CONFIG(bus.restarts_max),
     .doc = "Restarts of one party without a newer commit, after which the run fails.",
     .unit = "restarts",
     .min = 0,
     .max = 1000},
    {.section = "bus",
     .name = "cancel_grace",
     .type = Type::number,
     .field = IN_CONFIG(bus.cancel_grace),
     .doc = "How long the process of an app may go on after it was told to stop, before it is "
            "killed.",
     .unit = "s",
     .min = 0,
     .max = day},
    {.section = "bus",
     .name = "workers",
     .type = Type::integer,
     .field = IN_CONFIG(bus.workers),
     .doc =
         "Runs that a node works on at the same time; further ones wait for their turn, which the "
         "log says. 0: one per processor, 2 at least.",
     .min = 0,
     .max = 1024},
    {.section = "bus",
     .name = "commit_interval",
     .type = Type::number,
     .field = IN_CONFIG(bus.commit_interval),
     .doc = "All parties store their state this often while training; 0: not by time. At the "
            "master.",
     .unit = "s",
     .min = 0,
     .max = week},
    {.section = "bus",
     .name = "commit_steps",
     .type = Type::integer,
     .field = IN_CONFIG(bus.commit_steps),
     .doc = "The same after this many steps; 0: not by steps. At the master.",
     .unit = "steps",
     .min = 0,
     .max = int_max},
    {.section = "bus",
     .name = "on_state_lost",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(bus.on_state_lost),
     .doc = "What becomes of a run whose parties have no common commit any more: fail, or restart "
            "the training from its first step. At the master.",
     .choices = state_lost_rules},

    // -- [output] ---------------------------------------------------------------
    {.section = "output",
     .name = "runs_dir",
     .type = Type::path,
     .field = IN_CONFIG(output.runs_dir),
     .doc = "Each run gets a directory of its own below this one.",
     .default_note = "`runs` in the current directory"},
    {.section = "output",
     .name = "log_level",
     .type = Type::choice,
     .field = IN_CONFIG(output.log_level),
     .doc = "The least serious lines that are logged.",
     .choices = log_levels,
     .variable = "VFLBUS_LOG_LEVEL"},

    // -- [party.<name>] ---------------------------------------------------------
    {.section = "party",
     .name = "data",
     .type = Type::path,
     .field = IN_PARTY(data),
     .doc = "The party's table, a CSV file with a header."},
    {.section = "party",
     .name = "test_data",
     .type = Type::path,
     .field = IN_PARTY(test_data),
     .doc = "A table of test rows of its own; then all parties have one, and data.test_fraction "
            "is 0."},
    {.section = "party",
     .name = "predict_data",
     .type = Type::path,
     .field = IN_PARTY(predict_data),
     .doc = "The table that `vflbus predict` reads."},
    {.section = "party",
     .name = "id",
     .type = Type::text,
     .field = IN_PARTY(id),
     .doc = "The column of the record ids."},
    {.section = "party",
     .name = "label",
     .type = Type::texts,
     .field = IN_PARTY(label),
     .doc = "The label column, or several for multilabel. At the master only."},
    {.section = "party",
     .name = "features",
     .type = Type::texts,
     .field = IN_PARTY(features),
     .doc = "The columns to train on.",
     .default_note = "every column that is not id, label or excluded"},
    {.section = "party",
     .name = "exclude",
     .type = Type::texts,
     .field = IN_PARTY(exclude),
     .doc = "Columns to leave out."},
    {.section = "party",
     .name = "source",
     .type = Type::text,
     .field = IN_PARTY(source),
     .doc = "Where the data set can be had: said when its file is missing."},
};

#undef IN_CONFIG
#undef ENUM_IN_CONFIG
#undef IN_PARTY

template <class Enum, std::size_t n>
string_view choice_of(const string_view (&names)[n], Enum value) noexcept {
    const auto index = static_cast<std::size_t>(value);
    return index < n ? names[index] : "unknown";
}

}  // namespace

Half Key::half() const noexcept {
    for (const Section& candidate : section_table)
        if (candidate.name == section) return candidate.half;
    return Half::own;
}

std::span<const Key> keys() noexcept {
    return key_table;
}

const Key* find_key(string_view section, string_view name) noexcept {
    const auto* const found = std::ranges::find_if(
        key_table, [&](const Key& key) { return key.section == section && key.name == name; });
    return found == std::end(key_table) ? nullptr : found;
}

std::span<const Section> sections() noexcept {
    return section_table;
}

string_view name_of(Protocol value) noexcept {
    return choice_of(protocols, value);
}
string_view name_of(Task value) noexcept {
    return choice_of(tasks, value);
}
string_view name_of(Optimizer value) noexcept {
    return choice_of(optimizers, value);
}
string_view name_of(Duplicates value) noexcept {
    return choice_of(duplicate_rules, value);
}

}  // namespace vflbus::config
