// vflbus top: nodes and runs as they are now

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "live.hpp"
#include "live_json.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "settings.hpp"
#include "share_lines.hpp"
#include "signals.hpp"
#include "wall_clock.hpp"

namespace vflbus::cli {
namespace {

using observe::Align;

/// Nodes that do not answer keep the first picture waiting no longer.
constexpr Duration settle_patience = std::chrono::milliseconds(1500);
constexpr const char* clear_screen = "\x1b[H\x1b[J";

/// While it lives, and if it is `wanted`, a key is read without Enter and not shown. Not wanted by
/// what draws nothing: in the background of a shell a process that sets the terminal is stopped.
class KeyReader {
  public:
    explicit KeyReader(bool wanted) {
        if (!wanted || ::isatty(STDIN_FILENO) == 0 || ::tcgetattr(STDIN_FILENO, &before_) != 0)
            return;
        termios raw = before_;
        raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
        changed_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    }
    ~KeyReader() {
        if (changed_) (void)::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    }
    KeyReader(const KeyReader&) = delete;
    KeyReader& operator=(const KeyReader&) = delete;

    /// Whether q was pressed since the last call.
    [[nodiscard]] bool quits() const {
        pollfd key{STDIN_FILENO, POLLIN, 0};
        while (changed_ && ::poll(&key, 1, 0) > 0 && (key.revents & POLLIN) != 0) {
            char pressed = 0;
            if (::read(STDIN_FILENO, &pressed, 1) != 1) return false;
            if (pressed == 'q' || pressed == 'Q') return true;
        }
        return false;
    }

  private:
    termios before_{};
    bool changed_ = false;
};

std::string latency_text(double latency) {
    if (!std::isfinite(latency)) return "-";
    char text[32];
    std::snprintf(text, sizeof text, "%.1f ms", latency * 1000);
    return text;
}

std::string percent_text(double share) {
    return std::isfinite(share) ? std::to_string(std::lround(share * 100)) + " %" : "-";
}

std::string steps_text(const LiveRun& run) {
    if (!run.status) return "-";
    if (run.status->steps == 0)
        return run.status->step == 0 ? run.status->phase : std::to_string(run.status->step);
    return std::to_string(run.status->step) + "/" + std::to_string(run.status->steps);
}

std::string nodes_table(const Live& live) {
    observe::Table table({{"NODE"},
                          {"STATE"},
                          {"LATENCY", Align::right},
                          {"CPU", Align::right},
                          {"MEMORY", Align::right},
                          {"RUNS", Align::right},
                          {"MESSAGES", Align::right},
                          {"BYTES", Align::right},
                          {"VERSION"}});
    for (const LiveNode& node : live.nodes())
        table.add({node.row.name, std::string(bus::name_of(node.row.state)),
                   latency_text(node.latency), percent_text(node.cpu),
                   node.memory_bytes == 0 ? "-" : human_bytes(node.memory_bytes),
                   std::to_string(node.row.runs), observe::grouped(node.row.messages),
                   human_bytes(node.row.bytes), node.row.version});
    return shown(table);
}

std::string runs_table(const Live& live) {
    observe::Table table({{"RUN"},
                          {"STATUS"},
                          {"STEP", Align::right},
                          {"LOSS", Align::right},
                          {"OWNER"},
                          {"PARTIES", Align::right},
                          {"TIME", Align::right},
                          {"MESSAGES", Align::right},
                          {"BYTES", Align::right}});
    const std::uint64_t now = wall_now_ms();
    for (const RunId& id : live.order()) {
        const LiveRun& run = *live.find(id);
        const bool has_loss = run.status && std::isfinite(run.status->loss) && run.status->step > 0;
        table.add({id.short_hex(), state_text(run.row), steps_text(run),
                   has_loss ? observe::metric_text(run.status->loss) : "-", run.row.owner,
                   std::to_string(run.row.participants), duration_text(run.row, now),
                   observe::grouped(run.row.messages), human_bytes(run.row.bytes)});
    }
    return shown(table);
}

/// What it is about, no line wider than the window.
std::string head_of(const Live& live) {
    std::uint64_t up = 0;
    for (const LiveNode& node : live.nodes()) up += node.row.state == bus::NodeState::up ? 1 : 0;
    std::uint64_t going_on = 0;
    for (const RunId& id : live.order())
        going_on += bus::finished(live.find(id)->row.state) ? 0 : 1;
    std::string head =
        live.broker() + "  " + time_text(wall_now_ms()) + (output_terminal() ? "" : " (UTC)") +
        "  " + std::to_string(up) + " of " + std::to_string(live.nodes().size()) + " nodes up, " +
        std::to_string(going_on) + " of " + std::to_string(live.order().size()) + " runs going on";
    // a line that the terminal breaks would push the first ones out of the window
    if (!live.trouble().empty()) head += "\n" + live.trouble() + "; below is what was last heard";
    std::string text;
    for (const std::string& line : split(head, '\n'))
        text += observe::wrapped(line, output_columns()) + "\n";
    return text;
}

/// `lines`: of the window; 0: all there is.
std::string picture(const Live& live, std::size_t lines) {
    const std::string head = head_of(live);
    std::string nodes = nodes_table(live);
    std::string runs = live.order().empty() ? std::string() : runs_table(live);
    const std::size_t beside = lines_of(head) + 1 + (runs.empty() ? 0 : 1);
    if (lines != 0) share_lines(nodes, runs, lines > beside ? lines - beside : 0);
    return head + "\n" + nodes + (runs.empty() ? "" : "\n" + runs);
}

}  // namespace

int run(const TopArguments& arguments) {
    const auto config = load_config(arguments, broker_flag(arguments.broker));
    if (!config) return report_failure(arguments, config.error());
    bus::StopSignal stop;
    const SignalScope signals(stop);
    Live live(*config, stop);
    for (const TimePoint until = clock_now() + settle_patience;
         !stop.stopped() && !live.settled() && clock_now() < until;)
        live.turn(std::chrono::milliseconds(50));
    if (!live.connected()) return report_failure(arguments, {Errc::unreachable, live.trouble()});
    const bool draws = output_terminal() && !arguments.json;
    const std::uint64_t times = arguments.times != 0 ? arguments.times : draws ? 0 : 1;
    const KeyReader keys(draws);
    for (std::uint64_t shown = 0; !stop.stopped();) {
        if (arguments.json)
            print(overview_json(live) + "\n");
        else
            print(draws ? clear_screen + picture(live, output_lines() - 1)
                        : (shown == 0 ? "" : "\n") + picture(live, 0));
        if (const int code = finish_output(0); code != 0) return code;
        if (++shown == times) break;
        const TimePoint next = clock_now() + seconds(arguments.interval);
        while (!stop.stopped() && clock_now() < next) {
            live.turn(std::min<Duration>(std::chrono::milliseconds(100), next - clock_now()));
            if (keys.quits()) return 0;
        }
    }
    return 0;
}

}  // namespace vflbus::cli
