#pragma once
// What `join` and `keys rotate` share: a new key that lies aside until the broker has it.
//
// The problem: between the broker's write of its list and the party's of its files the answer can
// get lost, the party be killed, or the key with which it came end. The key that lies aside is then
// perhaps the only one by which the party gets in, and it must not be thrown away on anything but
// the broker's own word.

#include <string>

#include "base/errc.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/zmq/enrol.hpp"

namespace vflbus::cli {

struct Enrolling {
    std::string address;
    bus::LinkKeys shown;       ///< what it connects with: the old key, or that of the invitation
    bus::SecretKeyFile fresh;  ///< what is to be on the list
    bool made_now = false;     ///< the fresh one, and not by an earlier attempt
};

struct EnrolEnd {
    Result<bus::EnrolAnswer> answer;
    /// The fresh key is surely on no list: the broker has refused it, or has never heard of it.
    bool useless = false;
    bool key_refused = false;  ///< the broker does not let in the key that was shown
};

/// Asks by the right of the key that is shown; where the broker refuses, and may have heard of the
/// fresh key before, asks with that one, as it may be on the list already.
EnrolEnd enrol(const Enrolling& enrolling);

}  // namespace vflbus::cli
