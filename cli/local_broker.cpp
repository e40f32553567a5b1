#include "local_broker.hpp"

#include "base/json.hpp"
#include "ended_child.hpp"

namespace vflbus::cli {
namespace {

constexpr auto start_patience = std::chrono::seconds(20);

std::vector<std::string> arguments_of(const BrokerPlan& plan, const std::string& bind) {
    std::vector<std::string> words{"broker", "--bind", bind, "--json"};
    words.insert(words.end(), plan.arguments.begin(), plan.arguments.end());
    return words;
}

/// The first address in {"endpoints": [...]}; empty when the text says something else.
std::string first_endpoint(const std::string& printed) {
    const auto said = Json::parse(printed);
    if (!said.is_object()) return {};
    const Json* const endpoints = said.find("endpoints");
    if (endpoints == nullptr || !endpoints->is_array() || endpoints->empty()) return {};
    const Json& first = endpoints->at(std::size_t{0});
    return first.is_string() ? first.get<std::string>() : std::string();
}

}  // namespace

Result<LocalBroker> LocalBroker::start(Supervisor& supervisor, const BrokerPlan& plan,
                                       RestartRule rule, const bus::StopSignal& stop) {
    LocalBroker broker;
    std::string bind = plan.bind;
    if (bind.empty() && plan.transport == Transport::tcp) bind = "tcp://127.0.0.1:0";
    if (bind.empty()) {
        auto directory = PrivateDirectory::create("set TMPDIR, or use --transport tcp");
        if (!directory) return tl::unexpected(directory.error());
        bind = "ipc://" + (directory->path() / "bus").string();
        broker.directory_.emplace(std::move(*directory));
    }
    ChildOptions options{"broker", arguments_of(plan, bind), plan.log, plan.command};
    auto process = supervisor.start(std::move(options), std::move(rule));
    if (!process) return tl::unexpected(process.error());
    broker.process_ = *process;
    broker.address_ = plan.address;
    if (broker.address_.empty()) {
        if (const auto told = broker.await_address(supervisor, stop); !told)
            return tl::unexpected(told.error());
        broker.process_->options().arguments = arguments_of(plan, broker.address_);
    }
    return broker;
}

Result<> LocalBroker::await_address(Supervisor& supervisor, const bus::StopSignal& stop) {
    const auto until = Supervisor::Clock::now() + start_patience;
    const auto told = [&] { return process_->child().output().find('\n') != std::string::npos; };
    while (!told()) {
        supervisor.wait(until, stop.fd());
        if (stop.stopped()) return fail(Errc::cancelled, "stopped before the run began");
        if (!process_->running() && !told() && !supervisor.start_again(*process_))
            return tl::unexpected(failure_of(process_->child()));
        if (Supervisor::Clock::now() >= until)
            return fail(Errc::timed_out,
                        "the broker did not start within 20 s" + log_of(process_->child()));
    }
    address_ = first_endpoint(process_->child().output());
    if (address_.empty()) return tl::unexpected(failure_of(process_->child()));
    return {};
}

}  // namespace vflbus::cli
