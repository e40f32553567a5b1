#include "observe/console.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "observe/table.hpp"

namespace vflbus::observe {
namespace {

constexpr std::string_view clear_line = "\r\x1b[K";

void write_to_standard_error(std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

/// The width of a terminal that what we write reaches through somebody else, as in a container; 0
/// when nobody says so.
std::size_t columns_beyond() {
    const char* const text = std::getenv("VFLBUS_TERMINAL");
    return text == nullptr ? 0 : std::strtoul(text, nullptr, 10);
}

std::size_t columns_of_standard_error() {
    winsize size{};
    if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0) return size.ws_col;
    return columns_beyond() != 0 ? columns_beyond() : 80;
}

Console::Output standard_error_output() {
    Console::Output output;
    output.write = write_to_standard_error;
    output.terminal = ::isatty(STDERR_FILENO) == 1 || columns_beyond() != 0;
    output.color = output.terminal && colors_wanted();
    output.columns = columns_of_standard_error;
    return output;
}

}  // namespace

Console::Console(Output output) : output_(std::move(output)) {}

Console& Console::standard_error() {
    // never destroyed: threads and static destructors may log to the end
    static Console* const console = new Console(standard_error_output());
    return *console;
}

std::size_t Console::columns() const {
    return output_.columns ? output_.columns() : 80;
}

void Console::line(std::string_view text) {
    const std::lock_guard lock(mutex_);
    std::string out;
    if (output_.terminal) out += clear_line;
    out += text;
    out += '\n';
    out += live_;
    output_.write(out);
}

void Console::live(std::string_view text) {
    if (!output_.terminal) return;
    const std::lock_guard lock(mutex_);
    if (text.empty() && live_.empty()) return;
    // one column stays free: a full line makes some terminals wrap
    const std::size_t width = columns();
    live_ = cut(printable(text), width > 1 ? width - 1 : 1);
    output_.write(std::string(clear_line) + live_);
}

void Console::end_live() {
    const std::lock_guard lock(mutex_);
    if (live_.empty()) return;
    live_.clear();
    output_.write("\n");
}

}  // namespace vflbus::observe
