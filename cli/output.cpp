#include "output.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>

#include "base/json.hpp"
#include "base/text.hpp"
#include "observe/console.hpp"
#include "resume.hpp"

namespace vflbus::cli {

namespace {
bool reader_left = false;
std::string program_name = "vflbus";
std::size_t parents_window = 0;  // columns; 0: what is printed goes to our own standard output
}  // namespace

bool output_terminal() {
    static const bool terminal = ::isatty(STDOUT_FILENO) == 1;
    return terminal;
}

void set_output_window(std::size_t columns) {
    parents_window = columns;
}

std::size_t output_columns() {
    if (parents_window != 0) return parents_window;
    if (!output_terminal()) return observe::table_not_cut;
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0) return size.ws_col;
    return 80;
}

std::size_t output_lines() {
    winsize size{};
    const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1;
    return known ? size.ws_row : 24;
}

bool output_colors() {
    return (parents_window != 0 || output_terminal()) && observe::colors_wanted();
}

std::string shown(const observe::Table& table) {
    return table.text(output_columns(), output_colors());
}

const std::string& program() {
    return program_name;
}

void set_program(std::string_view called_by) {
    if (called_by.find('/') != std::string_view::npos)
        program_name = shell_word(std::string(called_by));
}

void print(std::string_view text) {
    errno = 0;
    std::fwrite(text.data(), 1, text.size(), stdout);
    if (std::ferror(stdout) != 0 && errno == EPIPE) reader_left = true;
}

int finish_output(int code) {
    errno = 0;
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
    if (reader_left || errno == EPIPE) return code;
    error_line("the result could not be written to standard output");
    return code == 0 ? static_cast<int>(ExitCode::internal) : code;
}

void error_line(std::string_view sentence) {
    observe::Console& console = observe::Console::standard_error();
    console.line((console.color() ? "\x1b[1mvflbus:\x1b[0m " : "vflbus: ") + std::string(sentence));
}

void note(const Common& common, std::string_view sentence) {
    if (!common.quiet) error_line(sentence);
}

std::string_view status_of(const Failure& outcome) {
    if (outcome.code == Errc::ok) return "completed";
    return outcome.code == Errc::cancelled ? "stopped" : "failed";
}

int report_failure(const Common& common, const Failure& failure, std::string_view resume) {
    if (!common.parent_tells) error_line(explained(failure, resume));
    if (common.json || common.parent_tells)
        print(JsonObject().add("status", status_of(failure)).add(failure, resume).text() + "\n");
    return static_cast<int>(exit_code(failure.code));
}

int report_end(const Common& common, const Failure& outcome) {
    return outcome.code == Errc::ok ? 0 : report_failure(common, outcome);
}

int report_run(const Common& common, observe::RunReport report, const RunId& run,
               const Failure& outcome, std::string_view resume) {
    const bool good = outcome.code == Errc::ok;
    if (report.run_id.empty()) report.run_id = run.hex();
    report.failure = outcome;
    if (!good) {
        report.status = status_of(outcome);
        report.reason = explained(outcome, resume);
        if (!common.parent_tells) error_line(report.reason);
    }
    if (common.json)
        print(observe::to_json(report) + "\n");
    else if (good)
        print(observe::to_table(report, output_columns(), output_colors()));
    return static_cast<int>(exit_code(outcome.code));
}

std::string json_string(std::string_view text) {
    return Json(text).dump();
}

JsonObject versioned(std::string_view schema, std::uint64_t version) {
    JsonObject object;
    object.add("schema", schema).add("schema_version", version);
    return object;
}

JsonObject& JsonObject::add_json(std::string_view key, std::string_view json) {
    if (!members_.empty()) members_ += ", ";
    members_ += json_string(key);
    members_ += ": ";
    members_ += json;
    return *this;
}

JsonObject& JsonObject::add(std::string_view key, std::string_view text) {
    return add_json(key, json_string(text));
}

JsonObject& JsonObject::add(std::string_view key, std::uint64_t number) {
    return add_json(key, std::to_string(number));
}

JsonObject& JsonObject::add(std::string_view key, double number) {
    return add_json(key, std::isfinite(number) ? shortest(number) : "null");
}

JsonObject& JsonObject::add(std::string_view key, bool value) {
    return add_json(key, value ? "true" : "false");
}

JsonObject& JsonObject::add(std::string_view key, const std::vector<std::string>& texts) {
    std::vector<std::string> quoted;
    for (const std::string& text : texts) quoted.push_back(json_string(text));
    return add_json(key, json_array(quoted));
}

JsonObject& JsonObject::add(const Failure& failure, std::string_view resume) {
    const bool good = failure.code == Errc::ok;
    add("reason", good ? std::string() : explained(failure, resume));
    add("error", good ? std::string_view() : name_of(failure.code));
    return good ? *this : add_json("failure", observe::to_json(failure));
}

std::string json_array(const std::vector<std::string>& values_as_json) {
    std::string text = "[";
    for (const std::string& value : values_as_json) {
        if (text.size() > 1) text += ", ";
        text += value;
    }
    return text + "]";
}

}  // namespace vflbus::cli
