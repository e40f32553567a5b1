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

/// So long an old key is good beside the one that its owner has made in its place.
inline constexpr Seconds key_overlap_s = 86'400;

/// What a party says that came with an invitation, or with a key that it exchanges.
struct Enrolment {
    std::string shown;  ///< the fingerprint of the key that it connected with
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

/// The list after a party has put a new key beside that with which it came: with the same rights
/// and the same end, as how long somebody may come is for the owner of the broker to say, and the
/// old one good for `key_overlap_s` more. Said again it changes nothing, also by the new key
/// itself: so a party whose answer got lost learns later that its new key counts. While two keys of
/// the name are good there is no third. Errors: not_allowed, for the party.
Result<Enrolled> exchanged(const std::string& text, const Enrolment& enrolment, Seconds now);

/// Either of both, by what the key is, in the file of that directory. Errors: io as well.
Result<Enrolled> enrol(const std::filesystem::path& directory, const Enrolment& enrolment,
                       Seconds now);

}  // namespace vflbus::bus
