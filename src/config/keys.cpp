#include "config/keys.hpp"

#include <algorithm>
#include <array>

namespace vflbus::config {
namespace {

using std::string_view;

// In the order of the enumerations.
constexpr string_view protocols[] = {"honest", "masked", "encrypted", "arbitered"};
constexpr string_view encryptions[] = {"rlwe", "paillier", "none"};
constexpr string_view solvers[] = {"lbfgs", "sgd", "adam", "sequential", "adamw"};
constexpr string_view model_names[] = {"linear", "mlp", "resnet", "efficientnet"};
constexpr string_view combinations[] = {"concat", "sum", "mean"};
constexpr string_view activations[] = {"relu", "gelu", "silu"};
constexpr string_view norms[] = {"none", "batch", "layer"};
constexpr string_view schedules[] = {"constant", "cosine", "step"};
constexpr string_view optimizers[] = {"sgd", "adam"};
constexpr string_view duplicate_rules[] = {"refuse", "first", "all"};
constexpr string_view alignments[] = {"hashed", "psi", "plain"};
constexpr string_view joins[] = {"inner", "left"};
constexpr string_view missing_rules[] = {"refuse", "skip"};
constexpr string_view state_lost_rules[] = {"fail", "restart"};
constexpr string_view seal_rules[] = {"auto", "on", "off"};
constexpr string_view first_use_rules[] = {"take", "refuse"};
constexpr string_view share_log_rules[] = {"owned", "all", "none"};
constexpr string_view log_formats[] = {"text", "json"};
constexpr string_view log_levels[] = {"trace", "debug", "info", "warn", "error", "off"};

constexpr double int_max = 9007199254740992.0;  // 2^53, exact as a double
constexpr double day = 86'400;
constexpr double week = 7 * day;

constexpr Section section_table[] = {
    {"run", Half::agreed, "What the run is and who takes part."},
    {"model", Half::agreed, "What is trained and how."},
    {"data", Half::agreed, "What all parties do alike with their tables."},
    {"privacy", Half::agreed,
     "Noise for differential privacy ([privacy.md](privacy.md#6-differential-privacy)); none "
     "unless a multiplier is above 0."},
    {"bus", Half::own,
     "The broker's address, waits and limits of this process. Durations are in seconds, sizes in "
     "bytes."},
    {"output", Half::own, "Where results and logs of this process go."},
    {"observe", Half::own, "Who is told what a run does ([observing.md](observing.md))."},
    {"observe.mlflow", Half::own, "Logs a training to MLflow; at the master only."},
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

/// As data::DeclaredKind has them, which this room may not see (tests/unit/cli compares).
constexpr std::string_view column_kinds[] = {"number",   "category", "text", "date",  "date-dmy",
                                             "date-mdy", "time",     "id",   "ignore"};

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
     .doc =
         "How sums of scores are reached (docs/privacy.md). With honest, partial scores and "
         "residuals travel in the clear; with masked, the master learns only the sum of the "
         "members' scores; with encrypted, members do not see the residuals either; with "
         "arbitered, nobody sees scores or residuals while it trains, and an arbiter without data "
         "opens gradients that it cannot read.",
     .choices = protocols,
     .default_note = "`\"encrypted\"` with bus.certificates, otherwise `\"honest\"`"},
    {.section = "run",
     .name = "he",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(run.he),
     .doc =
         "What protocol arbitered encrypts with (docs/privacy.md): rlwe, lattices, is a hundred "
         "times faster; paillier tells its key to nobody who asks for wrong products. none hides "
         "nothing from anybody: it is for finding faults.",
     .choices = encryptions},
    {.section = "run",
     .name = "he_key_bits",
     .type = Type::integer,
     .field = IN_CONFIG(run.he_key_bits),
     .doc = "Bits of a Paillier key, a multiple of 128: 2048, or 3072 for what must stay secret "
            "beyond 2030. Fewer than 2048 protect nothing, and need insecure_testing.",
     .unit = "bits",
     .min = 512,
     .max = 4096},
    {.section = "run",
     .name = "insecure_testing",
     .type = Type::boolean,
     .field = IN_CONFIG(run.insecure_testing),
     .doc = "Takes keys that are too short to protect anything; each report says so."},
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
     .name = "name",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(model.name),
     .doc = "linear: linear, logistic and softmax regression. mlp, resnet, efficientnet: a split "
            "network; every party has a bottom network for its own columns (dense layers, "
            "residual blocks, or convolutions for pictures), and the master a top network for "
            "what comes out of them (docs/networks.md).",
     .choices = model_names},
    {.section = "model",
     .name = "task",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(model.task),
     .doc = "linear: least squares for one number. logistic: one label of two classes. multilabel: "
            "several such labels. softmax: one label of K classes. poisson: a count, gamma: a "
            "positive amount, tweedie: an amount that is often 0; their mean is exp(score), and "
            "`exposure` says how long a row was watched. These three with solver lbfgs, sgd or "
            "adam, protocol honest.",
     .choices = task_names},
    {.section = "model",
     .name = "solver",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(model.solver),
     .doc = "lbfgs: all rows at once until it converges; nothing has to be chosen. sgd, adam: "
            "mini-batches for a number of epochs. adamw: the same, of networks alone, with weight "
            "decay that is no part of the gradient. sequential (linear only): in each batch one "
            "party after another solves its own ridge least squares for what the others leave of "
            "the label.",
     .choices = solvers,
     .default_note = "`\"lbfgs\"`; where it is not stated, but one of `optimizer`, "
                     "`learning_rate`, `momentum`, `adam_*`, `weight_decay`, `epochs`, "
                     "`batch_size` or `shuffle` is, or `run.protocol` is `arbitered`: what "
                     "`optimizer` says. Of networks "
                     "`\"adamw\"`, or what `optimizer` says"},
    {.section = "model",
     .name = "sequential",
     .type = Type::boolean,
     .field = IN_CONFIG(model.sequential),
     .doc = "The earlier form of solver = \"sequential\"."},
    {.section = "model",
     .name = "l2",
     .type = Type::number,
     .field = IN_CONFIG(model.l2),
     .doc = "Penalty 1/2 l2 |w|^2 beside the sum of the rows' losses, as in scikit-learn: alpha of "
            "Ridge, 1 / C of LogisticRegression. The intercept is left out. Of lbfgs.",
     .min = 0,
     .max = 1e12},
    {.section = "model",
     .name = "C",
     .type = Type::number,
     .field = IN_CONFIG(inverse_l2),
     .doc = "1 / l2, as LogisticRegression of scikit-learn calls it. Of lbfgs.",
     .min = 0,
     .max = 1e12,
     .above_min = true,
     .default_note = "1 / `l2`",
     .form_of = "l2"},
    {.section = "model",
     .name = "tolerance",
     .type = Type::number,
     .field = IN_CONFIG(model.tolerance),
     .doc = "lbfgs has converged when the norm of the gradient (by columns of unit variance) is at "
            "most tolerance times what it was at the start, and at most tolerance / 100.",
     .min = 0,
     .max = 1,
     .above_min = true,
     .below_max = true},
    {.section = "model",
     .name = "tweedie_power",
     .type = Type::number,
     .field = IN_CONFIG(model.tweedie_power),
     .doc = "Of task tweedie: the variance of the label grows as its mean to this power.",
     .min = 1,
     .max = 2,
     .above_min = true,
     .below_max = true},
    {.section = "model",
     .name = "max_iterations",
     .type = Type::integer,
     .field = IN_CONFIG(model.max_iterations),
     .doc = "lbfgs ends after that many iterations, converged or not; each is one round trip.",
     .unit = "iterations",
     .min = 1,
     .max = 1e6},
    {.section = "model",
     .name = "epochs",
     .type = Type::integer,
     .field = IN_CONFIG(model.epochs),
     .doc = "How often training goes through all training rows. Of sgd, adam and sequential.",
     .unit = "epochs",
     .min = 1,
     .max = 1e6},
    {.section = "model",
     .name = "batch_size",
     .type = Type::integer,
     .field = IN_CONFIG(model.batch_size),
     .doc = "Rows of one step; 0 takes all training rows at once. Of sgd, adam and sequential.",
     .unit = "rows",
     .min = 0,
     .max = 1e9,
     .default_note = "`256`; 0 with `sequential`; 128 of networks, 64 of efficientnet"},
    {.section = "model",
     .name = "learning_rate",
     .type = Type::number,
     .field = IN_CONFIG(model.learning_rate),
     .doc =
         "Length of a step. Of sgd, adam and adamw. Where it is not stated, networks take 0.001, "
         "efficientnet 0.003, and all of them 0.05 with sgd.",
     .min = 0,
     .max = 1000,
     .above_min = true},
    {.section = "model",
     .name = "optimizer",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(model.optimizer),
     .doc = "The earlier form of solver = \"sgd\" and solver = \"adam\".",
     .choices = optimizers},
    {.section = "model",
     .name = "momentum",
     .type = Type::number,
     .field = IN_CONFIG(model.momentum),
     .doc = "Of sgd; must be 0 with all other solvers.",
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
     .doc = "lambda in the gradient X'r + lambda w; the intercept is left out. Of sgd and adam; "
            "lbfgs has l2, sequential reg_lambda. adamw shortens the weights by learning_rate x "
            "weight_decay in each step. In networks biases and norms do not decay.",
     .min = 0,
     .max = 1e6,
     .default_note = "`0`; `0.01` with adamw"},
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
            "logistic and multilabel (negative, positive). Of tasks with classes."},
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
     .name = "early_stopping",
     .type = Type::text,
     .field = IN_CONFIG(model.early_stopping),
     .doc = "A metric of the test rows, as \"auc\" or \"loss\": the training ends when it has not "
            "become better for `patience` looks, and the model of the best look is kept. There is "
            "a look every report_test_metrics_iteration steps, or with 0 after each epoch (of "
            "lbfgs: each iteration). Not with folds, nor with protocol arbitered."},
    {.section = "model",
     .name = "patience",
     .type = Type::integer,
     .field = IN_CONFIG(model.patience),
     .doc = "Looks in a row that may be no better than the best one. Of early_stopping.",
     .unit = "looks",
     .min = 1,
     .max = 1e6},
    {.section = "model",
     .name = "label_holder_alone",
     .type = Type::boolean,
     .field = IN_CONFIG(model.label_holder_alone),
     .doc = "Whether the master also trains a model on its own features alone, for comparison."},

    // -- [model], of networks ----------------------------------------------------
    {.section = "model",
     .name = "bottom",
     .type = Type::text,
     .field = IN_CONFIG(model.bottom),
     .doc =
         "Widths of the layers of each party's bottom network, joined by '-'; the last one is how "
         "many numbers of a record leave the party. With resnet two numbers: the width of the "
         "blocks, and of what leaves the party; with efficientnet two as well: the channels of the "
         "last convolution, and what leaves the party. Of networks.",
     .default_note = "`\"128-64\"`; `\"64\"` with run.protocol encrypted, which takes one layer"},
    {.section = "model",
     .name = "top",
     .type = Type::text,
     .field = IN_CONFIG(model.top),
     .doc =
         "Widths of the hidden layers of the master's top network, joined by '-'; a layer for the "
         "outputs comes after them. Empty: only that one, from whose gradients members can tell "
         "the labels of the rows. Of networks."},
    {.section = "model",
     .name = "combine",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(model.combine),
     .doc =
         "How the top network gets what comes out of the bottom networks: side by side, as their "
         "sum, or as their mean. Of networks.",
     .choices = combinations,
     .default_note = "`\"concat\"`; `\"sum\"` with run.protocol masked and encrypted"},
    {.section = "model",
     .name = "activation",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(model.activation),
     .doc = "What follows each dense layer but the last one of the top network. Of networks.",
     .choices = activations,
     .default_note = "`\"relu\"`; `\"silu\"` of efficientnet"},
    {.section = "model",
     .name = "norm",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(model.norm),
     .doc = "What comes before each activation: batch normalisation, layer normalisation, or "
            "nothing. Of networks.",
     .choices = norms,
     .default_note = "`\"none\"`; `\"batch\"` of efficientnet"},
    {.section = "model",
     .name = "dropout",
     .type = Type::number,
     .field = IN_CONFIG(model.dropout),
     .doc = "Share of the numbers behind each activation that a training step leaves out; within "
            "the blocks of resnet. Of networks.",
     .min = 0,
     .max = 1,
     .below_max = true},
    {.section = "model",
     .name = "blocks",
     .type = Type::integer,
     .field = IN_CONFIG(model.blocks),
     .doc = "Residual blocks of a bottom network. Of resnet.",
     .min = 1,
     .max = 64},
    {.section = "model",
     .name = "hid_factor",
     .type = Type::number,
     .field = IN_CONFIG(model.hid_factor),
     .doc = "Width within a block, as a multiple of the width of the blocks. Of resnet.",
     .min = 0,
     .max = 16,
     .above_min = true},
    {.section = "model",
     .name = "residual_dropout",
     .type = Type::number,
     .field = IN_CONFIG(model.residual_dropout),
     .doc = "Share of the numbers that a block adds which a training step leaves out. Of resnet.",
     .min = 0,
     .max = 1,
     .below_max = true},
    {.section = "model",
     .name = "width_factor",
     .type = Type::number,
     .field = IN_CONFIG(model.width_factor),
     .doc = "What the channels of the convolutions are multiplied by. Of efficientnet.",
     .min = 0,
     .max = 4,
     .above_min = true},
    {.section = "model",
     .name = "depth_factor",
     .type = Type::number,
     .field = IN_CONFIG(model.depth_factor),
     .doc = "What the blocks of each stage are multiplied by, rounded up. Of efficientnet.",
     .min = 0,
     .max = 4,
     .above_min = true},
    {.section = "model",
     .name = "stochastic_depth",
     .type = Type::number,
     .field = IN_CONFIG(model.stochastic_depth),
     .doc = "Share of the pictures for which a training step would skip a block behind all "
            "others; one with the share s of the blocks before it is skipped s times as often. "
            "Of efficientnet.",
     .min = 0,
     .max = 1,
     .below_max = true},
    {.section = "model",
     .name = "shift",
     .type = Type::integer,
     .field = IN_CONFIG(model.shift),
     .doc = "A training step moves each picture by up to so many pixels in each direction, each "
            "party by itself, so that the network sees more pictures than there are. Of "
            "efficientnet.",
     .unit = "pixels",
     .min = 0,
     .max = 64},
    {.section = "model",
     .name = "noise",
     .type = Type::number,
     .field = IN_CONFIG(model.noise),
     .doc =
         "Deviation of normal noise that members add to the numbers that leave them, in steps of "
         "the training alone: against learning rows by heart. Of networks.",
     .min = 0,
     .max = 1000},
    {.section = "model",
     .name = "schedule",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(model.schedule),
     .doc = "How the learning rate goes on after the warm-up: constant; cosine, down to 0 at the "
            "end; step, which is multiplied by drop_factor every drop_epochs. Of networks.",
     .choices = schedules,
     .default_note = "`\"constant\"`; `\"cosine\"` of efficientnet"},
    {.section = "model",
     .name = "warmup_epochs",
     .type = Type::number,
     .field = IN_CONFIG(model.warmup_epochs),
     .doc = "The learning rate grows from 0 over so many epochs. Of networks.",
     .unit = "epochs",
     .min = 0,
     .max = 1e6},
    {.section = "model",
     .name = "drop_epochs",
     .type = Type::number,
     .field = IN_CONFIG(model.drop_epochs),
     .doc = "Epochs from one drop of the learning rate to the next. Of schedule = \"step\".",
     .unit = "epochs",
     .min = 0,
     .max = 1e6,
     .above_min = true},
    {.section = "model",
     .name = "drop_factor",
     .type = Type::number,
     .field = IN_CONFIG(model.drop_factor),
     .doc = "What a drop multiplies the learning rate by. Of schedule = \"step\".",
     .min = 0,
     .max = 1,
     .above_min = true},
    {.section = "model",
     .name = "clip_norm",
     .type = Type::number,
     .field = IN_CONFIG(model.clip_norm),
     .doc = "A longer gradient of a network is shortened to this norm, each network by itself; 0: "
            "none is. Of networks.",
     .min = 0,
     .max = 1e12},
    {.section = "model",
     .name = "eval_batch_size",
     .type = Type::integer,
     .field = IN_CONFIG(model.eval_batch_size),
     .doc = "Rows of one request for metrics and predictions. Of networks.",
     .unit = "rows",
     .min = 1,
     .max = 1e6},

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
     .name = "folds",
     .type = Type::integer,
     .field = IN_CONFIG(data.folds),
     .doc = "Cross-validation: each of so many folds of the rows is tested with a model that was "
            "trained on the others, and at the end one is trained on all rows. 0: no folds. Then "
            "data.test_fraction is not used, and no party has test_data.",
     .unit = "folds",
     .min = 0,
     .max = 1000},
    {.section = "data",
     .name = "stratify",
     .type = Type::boolean,
     .field = IN_CONFIG(data.stratify),
     .doc = "Whether each class has its share of the test rows, or of each fold (logistic and "
            "softmax); the master then says which rows are test rows. Otherwise each id decides "
            "for itself."},
    {.section = "data",
     .name = "id_salt",
     .type = Type::text,
     .field = IN_CONFIG(data.id_salt),
     .doc = "Mixed into the hashes of the record ids, so that hashes of two runs cannot be "
            "compared."},
    {.section = "data",
     .name = "alignment",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(data.alignment),
     .doc = "How the common ids are found. hashed: members send hashes of their ids, which the "
            "master can compare with those of ids that can be guessed, such as phone numbers. psi: "
            "private set intersection; nobody learns an id that not all have. plain: members send "
            "their ids as they are.",
     .choices = alignments,
     .default_note = "`\"psi\"` with bus.certificates, otherwise `\"hashed\"`"},
    {.section = "data",
     .name = "join",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(data.join),
     .doc =
         "Which records are used. inner: those that all parties have. left: all of the master's; "
         "a member that lacks one has zeros there, and a feature \"has features\" that is 1 for "
         "the records that it has.",
     .choices = joins},
    {.section = "data",
     .name = "use_inner_join",
     .type = Type::boolean,
     .field = IN_CONFIG(use_inner_join),
     .doc = "Stalactite's form of it: false is join = \"left\".",
     .default_note = "as `join` says",
     .form_of = "join"},
    {.section = "data",
     .name = "select",
     .type = Type::text,
     .field = IN_CONFIG(data.select),
     .doc =
         "Columns by the figures of an earlier `vflbus features` (docs/data.md): its run id, then "
         "bounds as information>=0.02, inflation<=10, correlation<=0.95 (with a column of more "
         "information), missing<=1000 (rows). Each party looks into its features.json of that "
         "run, among its runs, and leaves out what does not keep them."},
    {.section = "data",
     .name = "common_min",
     .type = Type::integer,
     .field = IN_CONFIG(data.common_min),
     .doc = "With alignment psi: when fewer ids are common, nobody learns which.",
     .unit = "ids",
     .min = 1,
     .max = 4e9},
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
            "more is left out, which the report says.",
     .unit = "values",
     .min = 0,
     .max = 4096},
    {.section = "data",
     .name = "id",
     .type = Type::text,
     .field = IN_CONFIG(data.id),
     .doc = "The column of the record ids at every party. \"@row\": the rows of all tables are in "
            "the same order already, and the number of a row is its id. \"@index\": ids are in the "
            "first column, which has no name, as pandas and R write the names of rows.",
     .default_note = "the id of each party's own section"},
    {.section = "data",
     .name = "missing_id",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(data.missing_id),
     .doc = "A row without an id: refuse the table, or skip such rows and count them.",
     .choices = missing_rules},
    {.section = "data",
     .name = "missing_label",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(data.missing_label),
     .doc = "A row of the training or test table without a label: refuse the table, or skip such "
            "rows and count them.",
     .choices = missing_rules},

    // -- [privacy] --------------------------------------------------------------
    {.section = "privacy",
     .name = "noise_multiplier",
     .type = Type::number,
     .field = IN_CONFIG(privacy.noise_multiplier),
     .doc =
         "Noise on what members receive (residuals, or with encrypted their gradients), which "
         "hides labels: its deviation is so many times what one row can change. 0: none. Solvers "
         "sgd and adam.",
     .min = 0,
     .max = 100},
    {.section = "privacy",
     .name = "residual_clip_norm",
     .type = Type::number,
     .field = IN_CONFIG(privacy.residual_clip_norm),
     .doc =
         "Residuals of a row longer than this, over all outputs, are shortened to it. With noise.",
     .min = 1e-6,
     .max = 1e6},
    {.section = "privacy",
     .name = "feature_clip_norm",
     .type = Type::number,
     .field = IN_CONFIG(privacy.feature_clip_norm),
     .doc = "Rows of a party's columns, prepared as for training, that are longer than this are "
            "shortened to it where gradients are made. With noise.",
     .min = 1e-6,
     .max = 1e6},
    {.section = "privacy",
     .name = "score_noise_multiplier",
     .type = Type::number,
     .field = IN_CONFIG(privacy.score_noise_multiplier),
     .doc = "Noise on what the master receives (members' scores, and the steps of their weights), "
            "which hides a member's columns: its deviation is so many times what one row can "
            "change. 0: none. Solvers sgd and adam.",
     .min = 0,
     .max = 100},
    {.section = "privacy",
     .name = "score_clip_norm",
     .type = Type::number,
     .field = IN_CONFIG(privacy.score_clip_norm),
     .doc = "Scores of a row at one member longer than this, over all outputs, are shortened to it "
            "before they leave. With score_noise_multiplier.",
     .min = 0.001,
     .max = 1e6},
    {.section = "privacy",
     .name = "delta",
     .type = Type::number,
     .field = IN_CONFIG(privacy.delta),
     .doc = "The delta at which epsilon is said; well below 1 divided by the number of rows.",
     .min = 1e-30,
     .max = 0.1},
    {.section = "privacy",
     .name = "insecure_testing",
     .type = Type::boolean,
     .field = IN_CONFIG(privacy.insecure_testing),
     .doc = "Makes the noise of run.seed, so that two runs have the same model: everybody can take "
            "it off, and it protects nothing. For tests; every report says so."},

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
     .name = "certificates",
     .type = Type::path,
     .field = IN_CONFIG(bus.certificates),
     .doc = "The directory of keys with which every tcp link is encrypted and authenticated: "
            "NAME.key of this party and broker.pub; at the broker broker.key and the allow-list "
            "(docs/security.md).",
     .variable = "VFLBUS_CERTIFICATES",
     .default_note = "links are in the clear"},
    {.section = "bus",
     .name = "identity",
     .type = Type::text,
     .field = IN_CONFIG(bus.identity),
     .doc = "The name of this party's key in `bus.certificates`.",
     .default_note = "the name of the node; of who asks, the only key there"},
    {.section = "bus",
     .name = "seal",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(bus.seal),
     .doc =
         "Whether what parties say to each other is sealed from end to end, so that the broker "
         "sees sizes and times alone: auto (over tcp with keys), on, or off. Parties that differ "
         "take part in no run together (docs/security.md).",
     .choices = seal_rules},
    {.section = "bus",
     .name = "known_parties",
     .type = Type::path,
     .field = IN_CONFIG(bus.known_parties),
     .doc = "The file that says which key belongs to which other party; keys that are seen first "
            "are noted there.",
     .default_note = "known-parties in `bus.certificates`, or in `output.runs_dir` where that "
                     "cannot be written"},
    {.section = "bus",
     .name = "first_use",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(bus.first_use),
     .doc = "What becomes of a party whose key is not known here when it seals: take notes the key "
            "in `known_parties` and says so in the log; refuse takes no key but those of "
            "NAME.pub files and `known_parties`.",
     .choices = first_use_rules},
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
     .doc =
         "A receiver's memory for bodies under way that are larger than 64 KiB; of those larger "
         "than all of it one at a time is let through besides. As much again is for answers that "
         "it keeps until those who asked have them; an answer without room is an error.",
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
     .doc =
         "Runs that a broker takes at a time. An owner that has runs gets one more only while as "
         "many stay free as it then has.",
     .unit = "runs",
     .min = 1,
     .max = 1024},
    {.section = "bus",
     .name = "restarts_max",
     .type = Type::integer,
     .field = IN_CONFIG(bus.restarts_max),
     .doc = "Restarts of one party without a newer commit, after which the run fails. `--resume` "
            "may always be said once.",
     .unit = "restarts",
     .min = 0,
     .max = 1000},
    {.section = "bus",
     .name = "cancel_grace",
     .type = Type::number,
     .field = IN_CONFIG(bus.cancel_grace),
     .doc = "How long the process of an app may go on after it was told to stop, before it is "
            "killed; and how long an owner waits beyond a message's time to live for the node's "
            "own word.",
     .unit = "s",
     .min = 0,
     .max = day},
    {.section = "bus",
     .name = "workers",
     .type = Type::integer,
     .field = IN_CONFIG(bus.workers),
     .doc = "Runs that a node works on at the same time, and handlers of apps besides; further "
            "ones wait "
            "for their turn, which the log says. 0: one per processor, 2 at least.",
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
    {.section = "bus",
     .name = "registry",
     .type = Type::path,
     .field = IN_CONFIG(bus.registry),
     .doc = "The file in which the broker keeps names, states, times and sizes of runs and nodes.",
     .default_note = "`registry.db` in its --state-dir; without one they are kept in memory"},
    {.section = "bus",
     .name = "registry_runs",
     .type = Type::integer,
     .field = IN_CONFIG(bus.registry_runs),
     .doc = "So many finished runs are kept in the registry; the oldest make room.",
     .min = 1,
     .max = 1e6},
    {.section = "bus",
     .name = "submitted_at_once",
     .type = Type::integer,
     .field = IN_CONFIG(bus.submitted_at_once),
     .doc = "Submitted runs that a master with --serve has going at the same time; further ones "
            "wait.",
     .min = 1,
     .max = 1024},
    {.section = "bus",
     .name = "submitted_max",
     .type = Type::integer,
     .field = IN_CONFIG(bus.submitted_max),
     .doc = "Submitted runs that may wait at a master with --serve; further ones are refused. "
            "Among keys, one that has some waiting gets one more only while as many places stay "
            "free as it then has.",
     .min = 0,
     .max = 10000},

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
    {.section = "output",
     .name = "log_format",
     .type = Type::choice,
     .field = IN_CONFIG(output.log_format),
     .doc = "How lines look on standard error and in files: text, or an object of JSON each.",
     .choices = log_formats,
     .variable = "VFLBUS_LOG_FORMAT"},
    {.section = "output",
     .name = "log_levels",
     .type = Type::text,
     .field = IN_CONFIG(output.log_levels),
     .doc = "Levels of single parts of the program, such as \"bus=debug, policy=warn\"; the others "
            "have log_level. Parts: bus, access, policy, serve, run, apps, observe.",
     .default_note = "none"},
    {.section = "output",
     .name = "log_dir",
     .type = Type::path,
     .field = IN_CONFIG(output.log_dir),
     .doc = "Broker and nodes write what they log to NODE.log in this directory as well.",
     .default_note = "no files but those of runs"},
    {.section = "output",
     .name = "log_file_bytes",
     .type = Type::integer,
     .field = IN_CONFIG(output.log_file_bytes),
     .doc = "A log file, below log_dir or of a run, that would grow beyond this is renamed, and a "
            "new one begun; podman keeps no more than this of what a container writes.",
     .min = 1000,
     .max = 1e12},
    {.section = "output",
     .name = "log_files",
     .type = Type::integer,
     .field = IN_CONFIG(output.log_files),
     .doc = "So many files of each process are kept below log_dir, and of each party in the "
            "directory of a run.",
     .min = 1,
     .max = 1000},
    {.section = "output",
     .name = "share_log",
     .type = Type::choice,
     .field = ENUM_IN_CONFIG(output.share_log),
     .doc = "Whose log lines `vflbus run logs` gets from this party: those of runs that it drives "
            "itself (owned), of all runs, or none. A member's lines can name its files, its "
            "columns, and what is wrong in a cell.",
     .choices = share_log_rules},

    // -- [observe] --------------------------------------------------------------
    {.section = "observe",
     .name = "metrics",
     .type = Type::text,
     .field = IN_CONFIG(observe.metrics),
     .doc = "HOST:PORT at which this process answers Prometheus with /metrics, port 0 being any "
            "free one; or unix:FILE, a socket of this machine. With `launch` this is the broker's "
            "port, the master has the next one, then the "
            "members by rank.",
     .default_note = "none"},
    {.section = "observe",
     .name = "prometheus_server_port",
     .type = Type::integer,
     .field = IN_CONFIG(observe.prometheus_server_port),
     .doc = "The same under Stalactite's name: the master answers at 127.0.0.1 with this port. 0: "
            "it does not.",
     .min = 0,
     .max = 65535},
    {.section = "observe",
     .name = "remote",
     .type = Type::boolean,
     .field = IN_CONFIG(observe.remote),
     .doc = "Allows observe.metrics at an address that other machines reach. What is said there is "
            "in the clear, and nobody is asked for a key."},
    {.section = "observe",
     .name = "tensorboard",
     .type = Type::path,
     .field = IN_CONFIG(observe.tensorboard),
     .doc =
         "The master writes event files of TensorBoard to a directory of the run below this one.",
     .default_note = "none"},
    {.section = "observe",
     .name = "trace",
     .type = Type::path,
     .field = IN_CONFIG(observe.trace),
     .doc = "Chrome trace events of this party, to be opened in Perfetto; `launch --trace FILE` "
            "puts those of all parties into one file.",
     .default_note = "none"},
    {.section = "observe.mlflow",
     .name = "uri",
     .type = Type::text,
     .field = IN_CONFIG(observe.mlflow_uri),
     .doc = "http://HOST:PORT or https://HOST:PORT of a tracking server, or file:DIRECTORY, which "
            "`mlflow ui` reads.",
     .variable = "STALACTITE_MLFLOW_URI",
     .default_note = "none"},
    {.section = "observe.mlflow",
     .name = "experiment",
     .type = Type::text,
     .field = IN_CONFIG(observe.mlflow_experiment),
     .doc = "Name of the experiment.",
     .default_note = "`run.experiment_label`, otherwise `$MLFLOW_EXPERIMENT_NAME`, otherwise "
                     "`Default`"},
    {.section = "observe.mlflow",
     .name = "run_name",
     .type = Type::text,
     .field = IN_CONFIG(observe.mlflow_run_name),
     .doc = "Name of the run there.",
     .default_note = "`$MLFLOW_RUN_NAME`, otherwise task and run, as `logistic-1f0c9a33`"},
    {.section = "observe.mlflow",
     .name = "wait",
     .type = Type::number,
     .field = IN_CONFIG(observe.mlflow_wait),
     .doc = "How long the end of a run waits for what has not arrived there yet.",
     .unit = "s",
     .min = 0,
     .max = 3600},

    // -- [party.<name>] ---------------------------------------------------------
    {.section = "party",
     .name = "data",
     .type = Type::path,
     .field = IN_PARTY(data),
     .doc = "The party's table: a CSV file with a header, LIBSVM text or an npy file, plain or "
            "packed with gzip or zstd; a pattern that several such files fit (part-*.csv); \"-\", "
            "standard input; or exec: and a command that writes CSV."},
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
     .name = "positive",
     .type = Type::text,
     .field = IN_PARTY(positive),
     .doc = "The class of a logistic or multilabel label that is predicted. At the master only.",
     .default_note = "the larger number, or the text that sorts last"},
    {.section = "party",
     .name = "sample_weight",
     .type = Type::text,
     .field = IN_PARTY(sample_weight),
     .doc = "A column of weights, 0 or more, by which the loss of each training row is multiplied, "
            "as sample_weight of scikit-learn. Metrics are of unweighted rows. At the master only; "
            "not with sequential."},
    {.section = "party",
     .name = "exposure",
     .type = Type::text,
     .field = IN_PARTY(exposure),
     .doc = "A column that says how long, or how much of, each row was watched, above 0: the "
            "expected label is exposure times exp(score), as with log(exposure) as offset. Of "
            "tasks poisson, gamma and tweedie. At the master only."},
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
    {.section = "party",
     .name = "columns",
     .type = Type::texts,
     .field = IN_PARTY(columns),
     .doc =
         "What columns are, where they do not look like it: a table [party.<name>.columns] of "
         "NAME = \"KIND\", or a list of \"NAME=KIND\"; a name may be a pattern with '*' and '?', "
         "as in \"zip*\" = \"category\". Kinds: number (also with percent signs, currencies, "
         "groups of digits), category, text (not learned from), date, date-dmy, date-mdy, time "
         "(of day), id, ignore (not read).",
     .choices = column_kinds},
    {.section = "party",
     .name = "prepare",
     .type = Type::texts,
     .field = IN_PARTY(prepare),
     .doc = "How columns become numbers, where not as by default: a table [party.<name>.prepare] "
            "of NAME = \"WORDS\", or a list of \"NAME=WORDS\"; a name may be a pattern, as in "
            "\"*\" = \"scale=robust\". Words: missing=mean, missing=median or missing=NUMBER; "
            "has-value (a column more, 1 where a number was there); clip=SHARE (numbers are kept "
            "within these quantiles); scale=standard, scale=minmax, scale=robust or scale=none; "
            "text=one-hot, text=frequency, text=ordinal or text=hash:BUCKETS (docs/data.md)."},
    {.section = "party",
     .name = "image",
     .type = Type::text,
     .field = IN_PARTY(image),
     .doc = "The table's features are the pixels of one picture in each row: \"HEIGHTxWIDTH\", or "
            "\"HEIGHTxWIDTHxCHANNELS\". The columns stand row by row, the channels of a pixel side "
            "by side. \"none\": they are no pixels, and get dense layers. Other models than "
            "efficientnet do not look at it; that one needs it of every party with features."},
    {.section = "party",
     .name = "encoding",
     .type = Type::text,
     .field = IN_PARTY(encoding),
     .doc = "Of a text: auto, utf-8, latin-1, windows-1252 or utf-16."},
    {.section = "party",
     .name = "separator",
     .type = Type::text,
     .field = IN_PARTY(separator),
     .doc = "What stands between cells: auto, \",\", \";\", \"|\", tab or space."},
    {.section = "party",
     .name = "decimal",
     .type = Type::text,
     .field = IN_PARTY(decimal),
     .doc = "The decimal mark of numbers: auto, \".\" or \",\"."},
    {.section = "party",
     .name = "thousands",
     .type = Type::text,
     .field = IN_PARTY(thousands),
     .doc =
         "What stands between groups of three digits: auto, none, \",\", \".\", \"'\" or space."},
    {.section = "party",
     .name = "source_timeout",
     .type = Type::number,
     .field = IN_PARTY(source_timeout),
     .doc = "The longest time that a command of exec: may take.",
     .unit = "s",
     .min = 0.1,
     .max = week},
    {.section = "party",
     .name = "policy",
     .type = Type::path,
     .field = IN_PARTY(policy),
     .doc = "A file that says which owners may have what run with this member's data "
            "(docs/policy.md). Of a member; without one every run is let in."},
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
string_view name_of(Encryption value) noexcept {
    return choice_of(encryptions, value);
}
string_view name_of(Solver value) noexcept {
    return choice_of(solvers, value);
}
string_view name_of(Optimizer value) noexcept {
    return choice_of(optimizers, value);
}
string_view name_of(ModelName value) noexcept {
    return choice_of(model_names, value);
}
string_view name_of(Combine value) noexcept {
    return choice_of(combinations, value);
}
string_view name_of(ActivationName value) noexcept {
    return choice_of(activations, value);
}
string_view name_of(NormName value) noexcept {
    return choice_of(norms, value);
}
string_view name_of(Duplicates value) noexcept {
    return choice_of(duplicate_rules, value);
}
string_view name_of(Alignment value) noexcept {
    return choice_of(alignments, value);
}
string_view name_of(Join value) noexcept {
    return choice_of(joins, value);
}

}  // namespace vflbus::config
