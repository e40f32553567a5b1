// vflbus broker

#include <unistd.h>

#include <memory>
#include <string>

#include "bus/zmq/broker_loop.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "settings.hpp"
#include "signals.hpp"

namespace vflbus::cli {

int run(const BrokerArguments& arguments) {
    std::vector<config::Override> flags;
    for (const std::string& address : arguments.bind)
        if (address.empty())
            return report_failure(arguments,
                                  {Errc::usage, "--bind takes an address, not an empty text"});
    const auto config = load_config(arguments, flags);
    if (!config) return report_failure(arguments, config.error());

    bus::StopSignal stop;
    const SignalScope signals(stop);
    bus::BrokerOptions options;
    options.context = bus::make_context();
    options.bind = arguments.bind;
    if (options.bind.empty()) options.bind = config->bus.bind;
    if (options.bind.empty()) options.bind = {config->bus.broker};
    options.insecure = arguments.insecure || config->bus.insecure;
    options.timings = timings_of(config->bus);
    options.limits = limits_of(config->bus);
    auto broker = bus::BrokerLoop::bind(std::move(options));
    if (!broker) return report_failure(arguments, broker.error());

    if (arguments.json) {
        print(JsonObject().add("endpoints", (*broker)->endpoints()).text() + "\n");
    } else {
        for (const std::string& endpoint : (*broker)->endpoints()) print(endpoint + "\n");
    }
    if (const int failed = finish_output(0); failed != 0) return failed;
    const std::vector<std::string> endpoints = (*broker)->endpoints();
    (*broker)->run(stop);
    broker->reset();
    // libzmq leaves the files of its sockets behind
    for (const std::string& endpoint : endpoints)
        if (endpoint.starts_with("ipc://") && endpoint[6] != '@')
            ::unlink(endpoint.c_str() + sizeof "ipc://" - 1);
    return 0;
}

}  // namespace vflbus::cli
