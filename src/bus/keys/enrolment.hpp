#pragma once
// How a key gets onto the allow-list: by the owner of the broker, or by an invitation.

#include <filesystem>
#include <string>

#include "bus/keys/allow_list.hpp"

namespace vflbus::bus {

/// `text` with the line of `entry`, which takes the place of an earlier one of the same key, and of
/// all keys of its name with Beside::in_place. Errors: usage, in a sentence for the owner: the name
/// has another key, the key has another name, the name is one that a process of another may have.
Result<std::string> with_key(const std::string& text, const Allowed& entry, Beside beside);

/// What a party says that came with an invitation.
struct Enrolment {
    std::string invitation;  ///< the fingerprint of the key that it connected with
    std::string name;
    PublicKey key;        ///< its own
    Seconds expires = 0;  ///< of that key, as the party has made it
};

struct Enrolled {
    Allowed entry;
    std::string text;       ///< of the list from now on
    bool repeated = false;  ///< it was there already: the answer got lost, and nothing is changed
};

/// The list after somebody has joined. Key and use of the invitation are in one text, so that there
/// is no moment at which one of them counts without the other. Said again with the same key it
/// changes nothing; with another one it is refused, and so is an invitation that has expired, was
/// withdrawn, or whose key was revoked. Errors: not_allowed, for the party.
Result<Enrolled> enrolled(const std::string& text, const Enrolment& enrolment, Seconds now);

/// The same in the file of that directory. Errors: io as well.
Result<Enrolled> enrol(const std::filesystem::path& directory, const Enrolment& enrolment,
                       Seconds now);

}  // namespace vflbus::bus
