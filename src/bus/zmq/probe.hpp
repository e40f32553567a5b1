#pragma once
// Whether a broker answers, asked without joining: no name is claimed and nothing is logged.

#include <memory>
#include <string>

#include "base/errc.hpp"
#include "base/ids.hpp"
#include "bus/zmq/context.hpp"

namespace vflbus::bus {

/// How long the broker at `address` took to answer, its name resolved first; at most `patience` in
/// all. Errors: address (malformed, or its name cannot be resolved), timed_out, and
/// unsupported_version when what answers speaks another protocol.
Result<Duration> probe_broker(const std::shared_ptr<Context>& context, const std::string& address,
                              Duration patience);

}  // namespace vflbus::bus
