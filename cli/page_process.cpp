#include "page_process.hpp"

#include <poll.h>

#include <array>
#include <utility>

#include "base/clock.hpp"
#include "base/json.hpp"
#include "ended_child.hpp"
#include "observe/log.hpp"

namespace vflbus::cli {
namespace {

constexpr auto start_patience = std::chrono::seconds(30);

/// Where the page is, once it has said so in its first line; empty when it has ended, or says
/// nothing.
std::string first_address(Child& page) {
    const TimePoint until = clock_now() + start_patience;
    while (page.output().find('\n') == std::string::npos) {
        if (page.reap() || clock_now() >= until) return {};
        std::array<pollfd, 2> wanted{{{page.output_fd(), POLLIN, 0}, {page.end_fd(), POLLIN, 0}}};
        (void)::poll(wanted.data(), wanted.size(), 1000);
        page.read_output();
    }
    const Json said = Json::parse(page.output().substr(0, page.output().find('\n')));
    const Json* const address = said.find("address");
    return address != nullptr && address->is_string() ? address->get<std::string>() : std::string();
}

}  // namespace

std::string reached_here(const std::string& endpoint) {
    for (const std::string every : {"tcp://0.0.0.0:", "tcp://*:", "tcp://[::]:"})
        if (endpoint.starts_with(every)) return "tcp://127.0.0.1:" + endpoint.substr(every.size());
    return endpoint;
}

Page::~Page() {
    over_.ask();
    if (thread_.joinable()) thread_.join();
}

void Page::watch() {
    if (!thread_.joinable()) thread_ = std::thread([this] { wait_for_end(); });
}

void Page::wait_for_end() {
    while (!over_.stopped()) {
        std::array<pollfd, 2> wanted{{{process_.end_fd(), POLLIN, 0}, {over_.fd(), POLLIN, 0}}};
        (void)::poll(wanted.data(), wanted.size(), -1);
        if (over_.stopped() || !process_.reap()) continue;
        // Ctrl-C in a terminal may reach it first
        if (process_.by_signal() != 0 || process_.exit_status() != 0)
            observe::log::warn({.part = "observe"}, "{} {}; `vflbus ui` starts another one",
                               process_.name(), process_.ending());
        return;
    }
}

Result<std::unique_ptr<Page>> start_page(const std::string& http, const config::Config& config) {
    if (http.empty()) return std::unique_ptr<Page>();
    ChildOptions options;
    options.name = "the page at " + http;
    options.arguments = {"ui",
                         "--http",
                         http,
                         "--json",
                         "--parent-tells",
                         "--broker",
                         config.bus.broker,
                         "--set",
                         "output.runs_dir=" + config.output.runs_dir};
    if (!config.bus.certificates.empty())
        options.arguments.insert(options.arguments.end(),
                                 {"--certificates", config.bus.certificates});
    if (config.observe.remote) options.arguments.emplace_back("--remote");
    auto page = Child::spawn(options);
    if (!page) return tl::unexpected(page.error());
    const std::string address = first_address(*page);
    if (address.empty()) {
        auto said = said_by(*page);
        if (said && said->code == Errc::insecure)
            said->sentence =
                "it would be open to other machines, in the clear; use 127.0.0.1, or "
                "allow it with --set observe.remote=true behind a proxy with TLS";
        return tl::unexpected(said ? named(options.name, std::move(*said))
                                   : Failure{Errc::io, end_of(*page)});
    }
    observe::log::info({.part = "observe"}, "the page is at {}", address);
    return std::make_unique<Page>(std::move(*page));
}

}  // namespace vflbus::cli
