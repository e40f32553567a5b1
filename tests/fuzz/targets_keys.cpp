// The allow-list of a broker, which people edit by hand and which is read again while it runs.

#include <string>
#include <vector>

#include "base/text.hpp"
#include "bus/keys/allow_list.hpp"
#include "bus/keys/invitation.hpp"
#include "bus/keys/key.hpp"
#include "seeds.hpp"

namespace vflbus::fuzz {
namespace of_keys {
namespace {

using namespace vflbus::bus;

/// Neither blank nor a remark.
std::size_t lines_that_say_something(std::string_view text) {
    std::size_t count = 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = trim(text.substr(0, end));
        count += !line.empty() && line.front() != '#';
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return count;
}

/// Every line that counts is one that can be written and means the same again, and nobody is let in
/// by two lines of one key.
bool try_allow_list(std::span<const std::uint8_t> input) {
    std::vector<std::string> faults;
    const AllowList list = AllowList::parse(text_of(input), faults);
    require(lines_that_say_something(text_of(input)) ==
                list.entries().size() + list.invitations().size() + faults.size(),
            "a line is left out in silence");
    std::string again;
    for (const Allowed& entry : list.entries()) {
        require(list.find(entry.fingerprint) == &entry, "two lines have one key");
        again += line_of(entry) + "\n";
    }
    for (const Invited& invited : list.invitations()) {
        require(list.find_invitation(invited.as.fingerprint) == &invited,
                "two invitations have one secret");
        again += line_of(invited) + "\n";
    }
    std::vector<std::string> none;
    const AllowList second = AllowList::parse(again, none);
    require(none.empty(), "a line that was let in is written such that it is refused");
    require(second.entries().size() == list.entries().size(), "a line is lost when it is written");
    for (std::size_t i = 0; i < second.entries().size(); ++i)
        require(line_of(second.entries()[i]) == line_of(list.entries()[i]),
                "a line means something else when it is written");
    require(second.invitations().size() == list.invitations().size(), "an invitation is lost");
    for (std::size_t i = 0; i < second.invitations().size(); ++i)
        require(line_of(second.invitations()[i]) == line_of(list.invitations()[i]),
                "an invitation means something else when it is written");
    return !list.entries().empty();
}

/// A line that is read is written the same, but for blanks and small letters.
bool try_invitation(std::span<const std::uint8_t> input) {
    const auto line = parse_invitation(text_of(input));
    if (!line) return false;
    const auto again = parse_invitation(text_of(*line));
    require(again.has_value() && *again == *line,
            "an invitation means something else when written");
    (void)fingerprint_of(key_of(*line).public_key);
    return true;
}

InvitationLine some_invitation() {
    InvitationLine line;
    line.address = "tcp://10.0.0.1:7423";
    line.broker.bytes.fill(9);
    line.name = "member-0";
    line.roles = {"member"};
    line.ranks = {0};
    line.expires = 1'900'000'000;
    line.secret.fill(5);
    return line;
}

std::vector<Bytes> invitation_seeds() {
    InvitationLine master = some_invitation();
    master.address = "tcp://[fd00::1]:7423";
    master.name = "master";
    master.roles = {"master", "serverapp"};
    master.ranks.clear();
    const std::string one = text_of(some_invitation());
    const std::string two = text_of(master);
    return {Bytes(one.begin(), one.end()), Bytes(two.begin(), two.end())};
}

std::vector<Bytes> allow_list_seeds() {
    Allowed member;
    member.name = "member-0";
    member.key = PublicKey{};
    member.key->bytes.fill(7);
    member.fingerprint = fingerprint_of(*member.key);
    member.roles = {"member"};
    member.ranks = {0};
    member.rights = static_cast<std::uint8_t>(Right::see) | static_cast<std::uint8_t>(Right::logs);
    member.expires = 1'900'000'000;
    Allowed master = member;
    master.name = "master";
    master.key.reset();
    PublicKey other;
    other.bytes.fill(8);
    master.fingerprint = fingerprint_of(other);
    master.roles = {"master", "serverapp"};
    master.ranks.clear();
    Invited invited;
    invited.as = member;
    invited.as.key.reset();
    other.bytes.fill(9);
    invited.as.fingerprint = fingerprint_of(other);
    invited.lifetime = 86'400;
    invited.beside = Beside::in_place;
    invited.used = member.fingerprint;
    const std::string text = line_of(invited) + "\n# who may come in\n" + line_of(member) + "\n" +
                             line_of(master) + "\n";
    return {Bytes(text.begin(), text.end())};
}

}  // namespace
}  // namespace of_keys

const Target allow_list_target{"allow_list", "the allow-list of a broker", of_keys::try_allow_list,
                               of_keys::allow_list_seeds};
const Target invitation_target{"invitation", "the line of an invitation", of_keys::try_invitation,
                               of_keys::invitation_seeds};

}  // namespace vflbus::fuzz
