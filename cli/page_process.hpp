#pragma once
// `--http` of a broker or a node: the page of `vflbus ui` beside it.
//
// The problem: a broker should be looked at without another command; but nothing that a browser
// sends should reach the process which passes on everybody's messages. So the page is a process of
// its own, which asks the broker as `vflbus ui` does, and ends with the process that started it.

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "bus/zmq/context.hpp"
#include "config/config.hpp"
#include "process.hpp"

namespace vflbus::cli {

/// An endpoint that a broker listens at, as this machine reaches it.
std::string reached_here(const std::string& endpoint);

/// The page's process, which ends with this.
class Page {
  public:
    explicit Page(Child process) : process_(std::move(process)) {}
    ~Page();
    Page(const Page&) = delete;
    Page& operator=(const Page&) = delete;

    /// From now on a line in the log says so when the process of the page ends by itself: in a
    /// browser that looks like a slow network. Starts a thread, and so comes after every fork.
    void watch();

  private:
    void wait_for_end();

    Child process_;
    bus::StopSignal over_;
    std::thread thread_;
};

/// Starts the page at `http`, of the broker at `config.bus.broker`, and logs where it is; null when
/// `http` is empty. Other machines may look where observe.remote allows it. Errors: those
/// with which the page did not start.
Result<std::unique_ptr<Page>> start_page(const std::string& http, const config::Config& config);

}  // namespace vflbus::cli
