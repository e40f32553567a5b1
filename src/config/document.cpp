#include "config/document.hpp"

#include <algorithm>

#include "base/text.hpp"
#include "config/value.hpp"

namespace vflbus::config {
namespace {

namespace fs = std::filesystem;

std::string type_text(const Key& key) {
    switch (key.type) {
        case Type::boolean:
            return "boolean";
        case Type::integer:
            return "integer";
        case Type::number:
            return "number";
        case Type::text:
            return "string";
        case Type::path:
            return "path";
        case Type::choice:
            return "string";
        case Type::texts:
            return "string or array of strings";
        case Type::class_weights:
            return "string or array of numbers";
    }
    return {};
}

std::string range_text(const Key& key) {
    if (key.type == Type::choice || key.type == Type::class_weights) {
        std::string names;
        if (key.type == Type::class_weights) return "`\"none\"`, `\"balanced\"`, `[1, 4]`";
        for (const std::string_view choice : key.choices)
            names += (names.empty() ? "`\"" : ", `\"") + std::string(choice) + "\"`";
        return names;
    }
    if (key.type != Type::integer && key.type != Type::number) return "";
    const auto number = [&](double value) {
        return key.type == Type::integer ? std::to_string(static_cast<std::uint64_t>(value))
                                         : shortest(value);
    };
    return (key.above_min ? "above " : "") + number(key.min) + " to " +
           (key.below_max ? "below " : "") + number(key.max);
}

std::string default_text(const Key& key) {
    if (!key.default_note.empty()) return std::string(key.default_note);
    Config config;
    PartyConfig party;
    return "`" + literal(key, key.field(config, party)) + "`";
}

void table_of(std::string& page, const Section& section) {
    page += "| key | type | default | allowed | unit | meaning |\n|---|---|---|---|---|---|\n";
    for (const Key& key : keys()) {
        if (key.section != section.name) continue;
        std::string doc(key.doc);
        for (std::size_t at = 0; (at = doc.find('|', at)) != doc.npos; at += 2)
            doc.insert(at, 1, '\\');
        page += "| `" + std::string(key.name) + "` | " + type_text(key) + " | " +
                default_text(key) + " | " + range_text(key) + " | " + std::string(key.unit) +
                " | " + doc + " |\n";
    }
}

constexpr std::string_view introduction = R"(# Configuration

<!-- Made from the table of keys in src/config/keys.cpp. Do not edit: VFLBUS_ACCEPT=1 and the unit
test `config` write it again. -->

One TOML file configures a process, all processes of a run, or one party; a process may also do
with environment variables or flags alone. `vflbus config check` says what is wrong with a
configuration. Examples are in `conf/`, for public data sets in `conf/public/`, and of one party's
own half in `conf/parties/`.

## Where a value comes from

The strongest first:

1. **Flags**: `--set section.key=value`, as often as needed; of two for one key the later one wins.
   A flag of its own, such as `--broker`, stands for one of these.
2. **Environment**: `VFLBUS_<SECTION>_<KEY>`, as in `VFLBUS_MODEL_EPOCHS=20`. A variable that is
   empty counts as not set.
3. **The file**: `--config FILE`; else `$VFLBUS_CONFIG`; else `./vflbus.toml` if it is there; else
   none.
4. **The default** in the tables below.

Paths in a file are relative to that file; paths in flags and the environment are relative to the
current directory. In flags and the environment text is written bare, and several columns are
separated by commas (`--set party.master.label=label_1,label_2`) or written as a TOML array.

| variable | meaning |
|---|---|
| `VFLBUS_CONFIG` | the configuration file |
| `VFLBUS_ROLE`, `VFLBUS_RANK` | who this process is: `master`, or `member` and its rank; a rank alone makes a member |
| `VFLBUS_PARTY_<KEY>` | a key of the party of this process, as in `VFLBUS_PARTY_DATA=/data/bank.csv` |
| `VFLBUS_PARTY_MASTER_<KEY>`, `VFLBUS_PARTY_MEMBER_<K>_<KEY>` | a key of the named party |
)";

constexpr std::string_view halves = R"(
A master without any file, for example: `VFLBUS_ROLE=master VFLBUS_RUN_WORLD_SIZE=2
VFLBUS_MODEL_TASK=logistic VFLBUS_PARTY_DATA=/data/bank.csv VFLBUS_PARTY_ID=id
VFLBUS_PARTY_LABEL=label`; and its first member: `VFLBUS_RANK=0 VFLBUS_PARTY_DATA=/data/shop.csv
VFLBUS_PARTY_ID=id`.

## Two halves

**Agreed** are `[run]`, `[model]` and `[data]`. They are the same at all parties: the owner of the
run (the master) sends them, each party compares them with its own, and a difference is refused with
the keys that differ. A party that states none of these keys takes over what the owner says; one
that states a single one is compared on all of them, defaults included.

**Private** are `[bus]`, `[output]`, `[observe]` and `[party.<name>]`. They never leave the party. A
party needs its own section only; a file with the sections of all parties serves `vflbus launch` on
one machine.

## What is refused

An unknown section or key, a wrong type and an impossible value are refused with the file and line
(or the flag, or the variable), the key, and the nearest valid one. So are combinations without a
meaning:

- `model.solver` that contradicts `model.sequential` or `model.optimizer`, where both are stated;
- a key of one solver with another one, unless it has its default: `l2`, `tolerance` and
  `max_iterations` are of `lbfgs`, `learning_rate`, `weight_decay` and `shuffle` of `sgd`, `adam` and
  `adamw`, `epochs` and `batch_size` of all but `lbfgs`, `momentum` of `sgd`, `reg_lambda` of
  `sequential`;
- a key of networks with `model.name = "linear"`, unless it has its default, and one of `resnet` or
  `efficientnet` with another network; `adamw` with `linear`; `lbfgs`, `sequential` or
  `intercept = false` with a network; `prepare` beside `image`;
- `model.solver = "sequential"` with a task other than `linear`;
- `model.C` together with `model.l2`;
- `model.class_weights` with a task without classes; a number of weights other than two with
  `logistic` and `multilabel`;
- `poisson`, `gamma` and `tweedie` with a protocol other than `honest`; `exposure` with
  any other task;
- `run.protocol = "arbitered"` with a network or a solver other than `sgd` and `adam`, or with
  `model.class_weights` and `multilabel` or `run.he = "rlwe"`; `run.he_key_bits` that is no multiple of 128, or below 2048 without
  `run.insecure_testing`;
- noise of `[privacy]` with what it does not go with ([privacy.md](privacy.md#6-differential-privacy)),
  and `privacy.insecure_testing` without noise;
- `data.use_inner_join` that contradicts `data.join`;
- `model.early_stopping` with a metric that the task does not have, `run.protocol = "arbitered"`, or
  `data.folds`;
- one label with `multilabel`, several with any other task, a label at a member;
- a column that is both a feature and the id, a label or excluded;
- `test_data` together with `data.test_fraction` or `data.folds`, or at some parties of a file only;
- `data.folds = 1`;
- `[party.member-K]` with K not below `run.world_size`;
- waits and sizes out of order: `heartbeat_interval` < `suspect_after` <
  `disconnect_idle_client_time`, `time_between_idle_connections_checks` <=
  `disconnect_idle_client_time`, `hello_retry_min` <= `hello_retry_max`, `chunk_bytes` <
  `frame_bytes_max`, `chunk_bytes` <= `hop_window_bytes`.
)";

// -- a commented configuration --------------------------------------------------------

std::string stored_path(const std::string& path, const fs::path& relative_to) {
    if (relative_to.empty() || path.empty()) return path;
    const fs::path relative = fs::path(path).lexically_relative(relative_to.lexically_normal());
    return relative.empty() || *relative.begin() == ".." ? path : relative.string();
}

/// "# sentence" lines of at most 100 columns.
void comment(std::string& out, std::string_view sentence) {
    constexpr std::size_t columns = 98;
    while (!sentence.empty()) {
        std::size_t cut = sentence.size();
        if (cut > columns) {
            cut = sentence.rfind(' ', columns);
            if (cut == sentence.npos) cut = sentence.size();
        }
        out += "# " + std::string(sentence.substr(0, cut)) + "\n";
        sentence.remove_prefix(std::min(sentence.size(), cut + 1));
    }
}

void entry(std::string& out, const Key& key, Field field, const fs::path& relative_to) {
    comment(out, key.doc);
    std::string value = literal(key, field);
    if (key.type == Type::path)
        value = quote(stored_path(*std::get<std::string*>(field), relative_to));
    out += std::string(key.name) + " = " + value + "\n";
}

}  // namespace

std::string reference_markdown() {
    std::string page(introduction);
    for (const Key& key : keys())
        if (!key.variable.empty())
            page += "| `" + std::string(key.variable) + "` | `" + full_name(key) + "` |\n";
    page += halves;
    for (const Half half : {Half::agreed, Half::own}) {
        page += half == Half::agreed ? "\n## The agreed half\n" : "\n## The private half\n";
        for (const Section& section : sections()) {
            if (section.half != half) continue;
            page += "\n### [" + std::string(section.name) +
                    (section.name == "party" ? ".&lt;name&gt;" : "") + "]\n\n" +
                    std::string(section.doc) + "\n\n";
            table_of(page, section);
        }
    }
    return page;
}

std::string to_toml(const Config& given, const fs::path& relative_to) {
    Config config = given;
    Config defaults;
    PartyConfig no_party;
    std::string out =
        "# A configuration of vflbus; every key is explained in docs/configuration.md.\n";
    for (const Section& section : sections()) {
        if (section.name == "party") continue;
        // a party that does not know how many take part has no agreed half to state
        if (section.half == Half::agreed && config.run.world_size == 0) continue;
        std::string body;
        for (const Key& key : keys()) {
            if (key.section != section.name || !key.form_of.empty()) continue;
            const Field field = key.field(config, no_party);
            if (section.half == Half::own) {
                if (key.name == "runs_dir" && !config.stated("output.runs_dir")) continue;
                if (equal(field, key.field(defaults, no_party))) continue;
            }
            entry(body, key, field, relative_to);
        }
        if (body.empty()) continue;
        out += "\n";
        if (section.name == "run")
            out += "# -- agreed: the same at all parties -----------------------------------\n\n";
        else if (section.half == Half::own)
            out += "# -- private: never leaves the party -----------------------------------\n\n";
        comment(out, section.doc);
        out += "[" + std::string(section.name) + "]\n" + body;
    }
    for (auto& [name, party] : config.parties) {
        out += "\n[party." + name + "]\n";
        for (const Key& key : keys()) {
            if (key.section != "party") continue;
            const Field field = key.field(config, party);
            if (equal(field, key.field(defaults, no_party)) && key.name != "id") continue;
            entry(out, key, field, relative_to);
        }
    }
    return out;
}

}  // namespace vflbus::config
