// The allow-list of a broker, which people edit by hand and which is read again while it runs.

#include <string>
#include <vector>

#include "base/text.hpp"
#include "bus/keys/allow_list.hpp"
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
    require(lines_that_say_something(text_of(input)) == list.entries().size() + faults.size(),
            "a line is left out in silence");
    std::string again;
    for (const Allowed& entry : list.entries()) {
        require(list.find(entry.fingerprint) == &entry, "two lines have one key");
        again += line_of(entry) + "\n";
    }
    std::vector<std::string> none;
    const AllowList second = AllowList::parse(again, none);
    require(none.empty(), "a line that was let in is written such that it is refused");
    require(second.entries().size() == list.entries().size(), "a line is lost when it is written");
    for (std::size_t i = 0; i < second.entries().size(); ++i)
        require(line_of(second.entries()[i]) == line_of(list.entries()[i]),
                "a line means something else when it is written");
    return !list.entries().empty();
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
    const std::string text =
        "# who may come in\n" + line_of(member) + "\n" + line_of(master) + "\n";
    return {Bytes(text.begin(), text.end())};
}

}  // namespace
}  // namespace of_keys

const Target allow_list_target{"allow_list", "the allow-list of a broker", of_keys::try_allow_list,
                               of_keys::allow_list_seeds};

}  // namespace vflbus::fuzz
