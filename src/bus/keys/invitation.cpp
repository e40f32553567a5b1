#include "bus/keys/invitation.hpp"

#include <sodium.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/hash.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"
#include "bus/keys/allow_list.hpp"
#include "bus/keys/base32.hpp"
#include "bus/keys/key_files.hpp"

namespace vflbus::bus {
namespace {

constexpr std::string_view line_head = "vflbus-invitation-1";
constexpr std::string_view any_line_head = "vflbus-invitation-";
constexpr std::size_t line_fields = 9;
constexpr std::size_t checksum_bytes = 5;
constexpr std::size_t address_bytes_max = 300;

std::string checksum(std::string_view said) {
    const Hash256 hash = hash256("vflbus-invitation:" + std::string(said));
    return base32_of(std::span(hash).first(checksum_bytes));
}

tl::unexpected<Failure> wrong(std::string sentence) {
    return fail(Errc::usage, std::move(sentence));
}

bool parse_ranks(const std::string& text, std::vector<std::uint64_t>& ranks) {
    if (text.empty()) return true;
    for (const std::string& one : split(text, '+')) {
        std::uint64_t rank = 0;
        const auto [at, code] = std::from_chars(one.data(), one.data() + one.size(), rank);
        if (code != std::errc{} || at != one.data() + one.size() || rank > rank_max ||
            std::to_string(rank) != one)
            return false;
        ranks.push_back(rank);
    }
    return true;
}

bool parse_roles(const std::string& text, std::vector<std::string>& out) {
    if (text.empty()) return true;
    out = split(text, '+');
    return std::all_of(out.begin(), out.end(), is_role);
}

/// Nothing that a shell, a comma or a terminal would make something else of.
bool plain_address(std::string_view text) {
    if (text.size() > address_bytes_max || !text.starts_with("tcp://")) return false;
    return std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("[]:/.-_%").find(c) != std::string_view::npos;
    });
}

}  // namespace

std::string text_of(const InvitationLine& line) {
    std::string text = std::string(line_head) + "," + line.address + "," +
                       base32_of(line.broker.bytes) + "," + line.name + ",";
    for (std::size_t i = 0; i < line.roles.size(); ++i) text += (i == 0 ? "" : "+") + line.roles[i];
    text += ',';
    for (std::size_t i = 0; i < line.ranks.size(); ++i)
        text += (i == 0 ? "" : "+") + std::to_string(line.ranks[i]);
    text += "," + date_text(line.expires) + "," + base32_of(line.secret);
    return text + "," + checksum(text);
}

Result<InvitationLine> parse_invitation(std::string_view text) {
    if (text.size() > invitation_line_bytes_max)
        return wrong("this is no invitation: it is longer than one can be");
    std::string said;
    for (const char c : text)
        if (std::strchr(" \t\r\n", c) == nullptr || c == '\0') said += c;
    if (!said.starts_with(any_line_head))
        return wrong("this is no invitation: one begins with " + std::string(line_head) +
                     ", as `vflbus invite` prints it");
    const std::vector<std::string> parts = split(said, ',');
    if (parts.front() != line_head)
        return wrong("this invitation is of another version of vflbus; use the same on both sides");
    const std::size_t last = said.rfind(',');
    std::string check(last == std::string::npos ? "" : said.substr(last + 1));
    std::transform(check.begin(), check.end(), check.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    if (parts.size() != line_fields || check != checksum(said.substr(0, last)))
        return wrong(
            "this invitation was mistyped or cut: its checksum does not fit; copy the whole line "
            "once more");
    InvitationLine line;
    line.address = parts[1];
    line.name = parts[3];
    const auto expires = parse_date(parts[6]);
    if (!plain_address(line.address) || !from_base32(parts[2], line.broker.bytes) ||
        !is_valid_node_name(line.name) || !parse_roles(parts[4], line.roles) ||
        !parse_ranks(parts[5], line.ranks) || !expires || !from_base32(parts[7], line.secret))
        return wrong(
            "this invitation makes no sense, although its checksum fits: no `vflbus "
            "invite` has made it");
    if (line.name == broker_key_name)
        return wrong(
            "this invitation is for the name broker, which is that of the broker's own key; ask "
            "for one with another name");
    line.expires = *expires;
    return line;
}

KeyPair key_of(const InvitationLine& line) {
    std::string said = "vflbus-invitation-key:";
    said.append(line.secret.begin(), line.secret.end());
    KeyPair pair;
    pair.secret.bytes = hash256(said);
    sodium_memzero(said.data(), said.size());
    pair.public_key = public_key_of(pair.secret);
    return pair;
}

}  // namespace vflbus::bus
