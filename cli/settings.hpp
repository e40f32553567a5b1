#pragma once
// From arguments and the environment to a configuration, and from that to what the bus wants.

#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "bus/core/limits.hpp"
#include "bus/core/timings.hpp"
#include "config/config.hpp"

namespace vflbus::cli {

struct LoadMore {
    std::string self;                   ///< LoadOptions::self
    bool search = true;                 ///< LoadOptions::search
    std::vector<std::string> defaults;  ///< LoadOptions::defaults
};

/// Flags over --set over environment over file. Sets the log level when the configuration does.
Result<config::Config> load_config(const Common& common,
                                   const std::vector<config::Override>& flags = {},
                                   const LoadMore& more = {});

/// --broker as an override, when it was given.
std::vector<config::Override> broker_flag(const std::string& broker);

bus::Timings timings_of(const config::BusConfig& bus);
bus::Limits limits_of(const config::BusConfig& bus);

Duration seconds(double value);

}  // namespace vflbus::cli
