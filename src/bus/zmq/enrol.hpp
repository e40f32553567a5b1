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

/// How ENROL has ended. Who keeps a key for the next attempt has to know more than that it failed:
/// the broker may have put the key on its list, and only the answer got lost.
struct EnrolOutcome {
    Result<EnrolAnswer> answer;
    bool answered = false;     ///< by the broker, to ENROL; nobody else can say that
    bool key_refused = false;  ///< in the handshake, which whoever stands between can say as well
    bool got_in = false;       ///< so that the broker may have read ENROL
};

/// Connects with the key that is shown (`keys.own`: of the invitation, or of the list) to the
/// broker whose key is pinned, says ENROL, again every second until it is answered, and waits at
/// most `patience`. Errors: address; timed_out when nobody answers or what does is not that broker;
/// not_allowed for what the broker refuses.
EnrolOutcome enrol_at(const std::shared_ptr<Context>& context, const std::string& address,
                      const LinkKeys& keys, const EnrolRequest& request, Duration patience);

}  // namespace vflbus::bus
