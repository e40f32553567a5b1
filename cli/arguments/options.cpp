// What several commands take.

#include <charconv>

#include "arguments/command_line.hpp"

namespace vflbus::cli {

std::optional<std::uint64_t> parse_number(const std::string& text) {
    std::uint64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [at, code] = std::from_chars(text.data(), end, number);
    if (code != std::errc{} || at != end) return std::nullopt;
    return number;
}

std::optional<double> parse_fraction(const std::string& text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0 && value <= 1))
        return std::nullopt;
    return value;
}

void add_output(CLI::App& app, Common& common, bool json) {
    if (json)
        app.add_flag("--json", common.json, "one JSON object on standard output, for programs");
    auto* quiet = app.add_flag("-q,--quiet", common.quiet, "warnings and errors only");
    app.add_flag("-v,--verbose", common.verbose, "more log lines on standard error")
        ->excludes(quiet);
    app.add_option("--log-format", common.log_format, "of log lines: text or json")
        ->type_name("FORMAT")
        ->check(CLI::IsMember({"text", "json"}));
    app.add_option("--parent", common.parent, "end when this process does")->group("");
    app.add_flag("--parent-tells", common.parent_tells)->group("");
    app.add_flag("--parent-goes-on", common.parent_goes_on)->group("");
    app.add_option("--parent-columns", common.parent_columns)->group("");
}

void add_config(CLI::App& app, Common& common) {
    app.add_option("-c,--config", common.config,
                   "configuration file; default: $VFLBUS_CONFIG, then ./vflbus.toml")
        ->type_name("FILE");
    app.add_option("-s,--set", common.sets,
                   "any key of docs/configuration.md, e.g. --set model.epochs=5; may be repeated")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    app.add_option("--certificates", common.certificates,
                   "directory of keys: tcp links are encrypted, and both ends known")
        ->type_name("DIR");
}

void add_metrics(CLI::App& app, Common& common) {
    app.add_option("--metrics", common.metrics,
                   "answers Prometheus at http://ADDRESS/metrics, such as 127.0.0.1:9464")
        ->type_name("ADDRESS");
}

void add_page(CLI::App& app, std::string& http) {
    app.add_option("--http", http,
                   "the page of `vflbus ui` beside it, in a process of its own, such as "
                   "127.0.0.1:8080; the log says where")
        ->type_name("HOST:PORT");
}

void add_trace(CLI::App& app, Common& common) {
    app.add_option("--trace", common.trace, "Chrome trace events, to be opened in Perfetto")
        ->type_name("FILE")
        ->check([](const std::string& file) {
            return file.empty() ? std::string("names no file") : std::string();
        });
}

void add_key_store(CLI::App& app, Common& common) {
    common.certificates = "keys";
    app.add_option("--certificates", common.certificates, "directory of the keys; default: keys")
        ->type_name("DIR")
        ->envname("VFLBUS_CERTIFICATES");
    add_output(app, common);
}

void add_broker_address(CLI::App& app, std::string& broker) {
    app.add_option("--broker", broker, "where the broker listens")->type_name("ADDRESS");
}

CLI::callback_t take_members(bool& wanted, std::optional<std::uint64_t>& members) {
    return [&wanted, &members](const CLI::results_t& values) {
        wanted = true;
        // without a value: one empty text, or "{}", depending on the version of CLI11
        if (values.empty() || values[0].empty() || values[0] == "{}") return true;
        const auto number = parse_number(values[0]);
        if (!number || *number == 0)
            throw CLI::ValidationError("N is the number of members, at least 1, not '" + values[0] +
                                       "'");
        members = number;
        return true;
    };
}

void add_local(CLI::App& app, Local& local, const std::string& what) {
    auto* as_processes = app.add_option("--local", take_members(local.local, local.members),
                                        "start " + what + " as processes of this machine")
                             ->type_name("[N]")
                             ->expected(0, 1);
    app.add_option("--threads", take_members(local.threads, local.members),
                   "start " + what + " as threads of this process")
        ->type_name("[N]")
        ->expected(0, 1)
        ->excludes(as_processes);
    app.add_option_function<std::string>(
           "--transport",
           [&local](const std::string& name) {
               if (name != "tcp" && name != "ipc")
                   throw CLI::ValidationError("--transport is tcp or ipc, not '" + name + "'");
               local.transport = name == "tcp" ? Transport::tcp : Transport::ipc;
           },
           "between local processes; default ipc")
        ->type_name("tcp|ipc");
}

void add_container(CLI::App& app, Container& container) {
    app.add_option("--image", container.image,
                   "image of containers; default localhost/vflbus:VERSION")
        ->type_name("IMAGE")
        ->envname("VFLBUS_IMAGE");
    // 2g, 512m; 0.5, 2: podman's own words for others are of no help
    const auto shape = [](const char* also, const char* example) {
        return CLI::Validator(
            [=](const std::string& text) {
                const std::size_t digits = text.find_first_not_of("0123456789.");
                const bool good =
                    !text.empty() && text[0] >= '0' && text[0] <= '9' &&
                    (digits == std::string::npos ||
                     (digits + 1 == text.size() &&
                      std::string_view(also).find(text[digits]) != std::string_view::npos));
                return good ? std::string()
                            : "a limit is such as " + std::string(example) + ", not '" + text + "'";
            },
            "");
    };
    app.add_option("--memory", container.memory, "limit of each container; default 2g")
        ->type_name("SIZE")
        ->check(shape("bkmgBKMG", "2g or 512m"));
    app.add_option("--cpus", container.cpus, "limit of each container; default 2")
        ->type_name("N")
        ->check(shape("", "2 or 0.5"));
}

void add_question(CLI::App& on, BrokerQuestion& question) {
    add_broker_address(on, question.broker);
    add_config(on, question);
    add_output(on, question);
}

CLI::Option* add_run_id(CLI::App& on, std::string& run) {
    return on.add_option("RUN", run, "its id, or the first digits of it")->type_name("");
}

void add_node_place(CLI::App& on, NodePlace& place) {
    on.add_option("--node", place.node,
                  "name of the node, as member-0; default: the only one under output.runs_dir")
        ->type_name("NAME");
    on.add_option("--state-dir", place.state_dir, "the --state-dir of that node, where it has one")
        ->type_name("DIR")
        ->envname("VFLBUS_STATE_DIR");
    add_config(on, place);
    add_output(on, place);
}

}  // namespace vflbus::cli
