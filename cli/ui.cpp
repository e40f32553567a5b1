// vflbus ui: what goes on at a broker, in a browser

#include <poll.h>

#include <array>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "observers/http_server.hpp"
#include "output.hpp"
#include "settings.hpp"
#include "signals.hpp"
#include "ui/files.hpp"
#include "ui_desk.hpp"

namespace vflbus::cli {
namespace {

using observers::HttpAnswer;
using observers::HttpQuery;

constexpr std::size_t runs_watched_max = 16;

/// Nothing but our own two files and our own events.
constexpr const char* content_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string secret() {
    std::array<std::uint8_t, 16> bytes{};
    random_bytes(bytes);
    return to_hex(bytes);
}

std::string with_word(std::string page, const std::string& word) {
    constexpr std::string_view mark = "ACTION_WORD";
    const std::size_t at = page.find(mark);
    return at == std::string::npos ? page : page.replace(at, mark.size(), word);
}

std::string parameter(const HttpQuery& request, const char* name) {
    const auto found = request.parameters.find(name);
    return found == request.parameters.end() ? std::string() : found->second;
}

/// Whole ids, with commas between them; what is none is left out.
std::vector<RunId> runs_of(const std::string& list) {
    std::vector<RunId> runs;
    for (const std::string& hex : split(list, ','))
        if (const auto run = parse_run_id(hex); run && runs.size() < runs_watched_max)
            runs.push_back(*run);
    return runs;
}

/// The host of an address that stands for all addresses of this machine, and that no browser
/// elsewhere finds; empty: it is a single one.
std::string everywhere_in(const std::string& address) {
    for (const char* const host : {"0.0.0.0", "[::]"})
        if (address.starts_with(std::string("http://") + host + ":")) return host;
    return {};
}

HttpAnswer stop_answer(UiDesk& desk, const HttpQuery& request) {
    const auto run = parse_run_id(parameter(request, "run"));
    if (!run) return {400, "application/json", "{\"sentence\": \"that is no run\"}"};
    const Failure failure = desk.stop(*run);
    if (failure.code == Errc::ok)
        return {200, "application/json",
                JsonObject().add("sentence", "its owner was told to end it").text()};
    return {
        409, "application/json",
        JsonObject().add("error", name_of(failure.code)).add("sentence", failure.sentence).text()};
}

observers::HttpServer::Options server_of(const UiArguments& arguments, UiDesk& desk) {
    observers::HttpServer::Options options;
    options.address = arguments.http;
    options.remote = arguments.remote;
    options.content_policy = content_policy;
    options.action_word = secret();
    if (arguments.token || !observers::is_loopback_address(arguments.http))
        options.token = secret();
    const std::string page = with_word(std::string(ui::page_html), options.action_word);
    options.pages["/"] = [page](const HttpQuery&) {
        return HttpAnswer{200, "text/html; charset=utf-8", page};
    };
    options.pages["/app.js"] = [](const HttpQuery&) {
        return HttpAnswer{200, "text/javascript; charset=utf-8", std::string(ui::app_js)};
    };
    options.pages["/app.css"] = [](const HttpQuery&) {
        return HttpAnswer{200, "text/css; charset=utf-8", std::string(ui::app_css)};
    };
    options.events["/events"] = [&desk](const HttpQuery& request) {
        return desk.open(runs_of(parameter(request, "curves")),
                         runs_of(parameter(request, "details")));
    };
    options.actions["/stop"] = [&desk](const HttpQuery& request) {
        return stop_answer(desk, request);
    };
    return options;
}

}  // namespace

int run(const UiArguments& arguments) {
    const auto config = load_config(arguments, broker_flag(arguments.broker));
    if (!config) return report_failure(arguments, config.error());
    bus::StopSignal stop;
    const SignalScope signals(stop);
    UiDesk desk(*config, stop);
    observers::HttpServer::Options options = server_of(arguments, desk);
    const std::string token = options.token;
    auto server = observers::HttpServer::start(std::move(options));
    if (!server && server.error().code == Errc::insecure)
        return report_failure(arguments,
                              {Errc::insecure, "address " + arguments.http +
                                                   " is open to other machines, and the page goes "
                                                   "there in the clear; use 127.0.0.1, or allow it "
                                                   "with --remote behind a proxy with TLS"});
    if (!server) return report_failure(arguments, server.error());
    const std::string address = (*server)->url() + "/" + (token.empty() ? "" : "?token=" + token);
    if (const std::string everywhere = everywhere_in(address); !everywhere.empty())
        note(arguments,
             "it listens at every address of this machine; in a browser put the machine's name in "
             "place of " +
                 everywhere);
    if (arguments.json)
        print(JsonObject().add("address", address).text() + "\n");
    else
        print(address + "\n");
    (void)finish_output(0);
    pollfd stopped{stop.fd(), POLLIN, 0};
    while (!stop.stopped()) (void)::poll(&stopped, 1, -1);
    desk.end();
    return 0;
}

}  // namespace vflbus::cli
