#pragma once
// What a party does with an invitation at the broker: it has its key allowed, and nothing else.

#include <functional>
#include <memory>
#include <string>

#include "base/errc.hpp"
#include "base/ids.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/wire/enrolment.hpp"
#include "bus/zmq/context.hpp"

namespace vflbus::bus {

/// Connects with the invitation's key (`keys.own`) to the broker whose key is pinned, says ENROL,
/// again every second until it is answered, and waits at most `patience`. Errors: address;
/// timed_out when nobody answers or what does is not that broker, and then the key may be on the
/// list or not, so that the same is to be said again later; not_allowed for what the broker
/// refuses.
Result<EnrolAnswer> enrol_at(const std::shared_ptr<Context>& context, const std::string& address,
                             const LinkKeys& keys, const EnrolRequest& request, Duration patience);

}  // namespace vflbus::bus
