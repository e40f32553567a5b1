#pragma once
// What a serving master can train of what is submitted to it.
//
// A submission is the agreed half of a configuration, written by somebody who need not know the
// label holder's tables. A run that could never start would hold one of the few places of the
// master until its waits have passed, so what can be known is checked before it is taken.

#include <string_view>

#include "base/errc.hpp"
#include "config/config.hpp"

namespace vflbus::cli {

/// The master's own configuration with the submitted agreed half. A submission without
/// run.world_size takes the master's.
/// Errors: those of config::parse_canonical, bad_config for what does not fit the master's own half
/// and for more members than the master knows, io for files of the master that are not there.
Result<config::Config> accept_submission(const config::Config& own, std::string_view agreed);

}  // namespace vflbus::cli
