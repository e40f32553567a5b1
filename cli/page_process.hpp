#pragma once
// `--http` of a broker or a node: the page of `vflbus ui` beside it.
//
// The problem: who starts a broker wants to look at it without another command; but nothing that a
// browser sends should reach the process which passes on everybody's messages. So the page is a
// process of its own, which asks as `vflbus ui` does and ends with the one that has started it.

#include <optional>
#include <string>

#include "config/config.hpp"
#include "process.hpp"

namespace vflbus::cli {

/// An endpoint that a broker listens at, as this machine reaches it.
std::string reached_here(const std::string& endpoint);

/// Starts the page at `http`, of the broker at `config.bus.broker`, and logs where it is; none when
/// `http` is empty. Other machines may look where observe.remote allows it. Errors: what the page
/// says of why it does not start.
Result<std::optional<Child>> start_page(const std::string& http, const config::Config& config);

}  // namespace vflbus::cli
