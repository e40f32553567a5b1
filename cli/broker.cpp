// vflbus broker

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/files.hpp"
#include "bus/zmq/broker_loop.hpp"
#include "commands.hpp"
#include "key_store.hpp"
#include "observe/log.hpp"
#include "output.hpp"
#include "page_process.hpp"
#include "process.hpp"
#include "registry/registry.hpp"
#include "settings.hpp"
#include "signals.hpp"
#include "watch.hpp"

namespace vflbus::cli {
namespace {

/// ZeroMQ removes whatever stands at the path of an ipc address, to put its socket there: a table
/// would be gone, and so would what a symbolic link points to.
Result<> free_for_socket(const std::string& address) {
    const std::string path =
        address.starts_with("ipc://") ? address.substr(sizeof "ipc://" - 1) : std::string();
    if (path.empty() || path.front() == '@') return {};
    struct stat found{};
    if (::lstat(path.c_str(), &found) != 0 || S_ISSOCK(found.st_mode)) return {};
    return fail(Errc::address, "cannot bind " + address + ": " + path +
                                   " exists and is not a socket; it is left as it is: choose "
                                   "another path");
}

/// Each node takes one or two descriptors; what a shell allows, 1,024, is less than a broker
/// serves.
void allow_descriptors() {
    constexpr rlim_t enough = 16'384;  // two for each node, and as many for strangers
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= enough) return;
    limit.rlim_cur = std::min(limit.rlim_max, enough);
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

std::atomic<bus::BrokerLoop*> with_allow_list{nullptr};

void on_hang_up(int) {
    if (bus::BrokerLoop* const broker = with_allow_list.load()) broker->read_allow_list_again();
}

/// While it lives, SIGHUP makes the broker read its allow-list again, in place of ending it.
class ReadsAgain {
  public:
    explicit ReadsAgain(bus::BrokerLoop& broker) {
        with_allow_list = &broker;
        struct sigaction action{};
        action.sa_handler = on_hang_up;
        action.sa_flags = SA_RESTART;
        ::sigaction(SIGHUP, &action, &before_);
    }
    ~ReadsAgain() {
        ::sigaction(SIGHUP, &before_, nullptr);
        with_allow_list = nullptr;
    }
    ReadsAgain(const ReadsAgain&) = delete;
    ReadsAgain& operator=(const ReadsAgain&) = delete;

  private:
    struct sigaction before_{};
};

/// For `vflbus invite`. Where the directory is not this process's to write, the owner of the broker
/// states the address there.
void note_addresses(const std::string& certificates, const std::vector<std::string>& endpoints) {
    std::string text;
    for (const std::string& endpoint : endpoints)
        if (endpoint.starts_with("tcp://")) text += endpoint + "\n";
    (void)write_file_atomically(broker_addresses_path(certificates), text);
}

void name_log(const BrokerArguments& arguments) {
    observe::log::set_identity("broker");
    if (arguments.parent) observe::log::bound_standard_error();
}

void print_endpoints(const BrokerArguments& arguments, const std::vector<std::string>& endpoints) {
    if (arguments.json) return print(JsonObject().add("endpoints", endpoints).text() + "\n");
    for (const std::string& endpoint : endpoints) print(endpoint + "\n");
}

Result<std::unique_ptr<Page>> page_beside(const BrokerArguments& arguments, config::Config config,
                                          const std::vector<std::string>& endpoints) {
    config.bus.broker = reached_here(endpoints.front());
    return start_page(arguments.http, config);
}

}  // namespace

int run(const BrokerArguments& arguments) {
    std::vector<config::Override> flags;
    for (const std::string& address : arguments.bind)
        if (address.empty())
            return report_failure(arguments,
                                  {Errc::usage, "--bind takes an address, not an empty text"});
    const auto config = load_config(arguments, flags);
    if (!config) return report_failure(arguments, config.error());

    name_log(arguments);
    std::optional<DirectoryLock> directory;
    if (!arguments.state_dir.empty()) {
        auto locked = DirectoryLock::acquire(arguments.state_dir);
        if (!locked) return report_failure(arguments, locked.error());
        directory = std::move(*locked);
    }
    registry::Options kept;
    kept.file = config->bus.registry;
    if (kept.file.empty() && directory)
        kept.file = std::filesystem::path(arguments.state_dir) / "registry.db";
    kept.runs_max = config->bus.registry_runs;
    kept.warn = [](const std::string& text) { observe::log::warn("{}", text); };
    const auto registry = registry::Registry::open(std::move(kept));
    if (!registry) return report_failure(arguments, registry.error());

    bus::StopSignal stop;
    const SignalScope signals(stop);
    allow_descriptors();
    bus::BrokerOptions options = broker_options(*config);
    options.ledger = registry->get();
    options.context = bus::make_context(bus::broker_io_threads(options));
    if (!arguments.bind.empty()) options.bind = arguments.bind;
    options.insecure = options.insecure || arguments.insecure;
    for (const std::string& address : options.bind)
        if (const auto free = free_for_socket(address); !free)
            return report_failure(arguments, free.error());
    auto broker = bus::BrokerLoop::bind(std::move(options));
    if (!broker) return report_failure(arguments, broker.error());

    auto metrics = watch_broker(*config, **broker);
    if (!metrics) return report_failure(arguments, metrics.error());
    const std::vector<std::string> endpoints = (*broker)->endpoints();
    std::optional<ReadsAgain> reads_again;
    // before the addresses are printed: whoever has read them may invite, or send SIGHUP
    if (!config->bus.certificates.empty()) {
        reads_again.emplace(**broker);
        if (!arguments.parent) note_addresses(config->bus.certificates, endpoints);
    }
    auto page = page_beside(arguments, *config, endpoints);
    if (!page) return report_failure(arguments, page.error());
    if (*page) (*page)->watch();
    print_endpoints(arguments, endpoints);
    if (const int failed = finish_output(0); failed != 0) return failed;
    (*broker)->run(stop);
    if (!arguments.parent) observe::log::info("{}", ended_by_signal);
    page->reset();
    metrics->reset();
    reads_again.reset();
    broker->reset();
    // libzmq leaves the files of its sockets behind
    for (const std::string& endpoint : endpoints)
        if (endpoint.starts_with("ipc://") && endpoint[6] != '@') {
            const std::filesystem::path socket(endpoint.substr(sizeof "ipc://" - 1));
            ::unlink(socket.c_str());
            // that the socket has a directory of its own, only the parent knew how to remove
            if (orphaned(arguments)) ::rmdir(socket.parent_path().c_str());
        }
    if (orphaned(arguments)) remove_private_keys(config->bus.certificates);
    return 0;
}

}  // namespace vflbus::cli
