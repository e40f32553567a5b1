#include "key_store.hpp"

#include "base/files.hpp"
#include "bus/keys/allow_list_file.hpp"

namespace vflbus::cli {

std::filesystem::path broker_addresses_path(const std::filesystem::path& certificates) {
    return bus::allow_list_path(certificates).parent_path() / "broker.addresses";
}

Result<bus::Seconds> period_of(const std::string& flag, const std::string& text) {
    if (const auto period = bus::parse_period(text)) return *period;
    return fail(Errc::usage, flag + " is a period such as 365d or 12h, at most 100 years");
}

Result<bus::Allowed> with_rights(const bus::Allowed& entry, const std::vector<std::string>& roles,
                                 const std::vector<std::string>& ranks,
                                 const std::vector<std::string>& may) {
    std::string line = bus::line_of(entry);
    const auto add = [&](const char* word, const std::vector<std::string>& values) {
        for (std::size_t i = 0; i < values.size(); ++i)
            line += (i == 0 ? std::string(" ") + word + "=" : ",") + values[i];
    };
    add("role", roles);
    add("rank", ranks);
    add("may", may);
    std::vector<std::string> faults;
    const bus::AllowList list = bus::AllowList::parse(line, faults);
    if (!faults.empty() || list.entries().size() != 1)
        return fail(Errc::usage, faults.empty()
                                     ? "this makes no line of the allow-list"
                                     : faults.front().substr(faults.front().find(": ") + 2));
    return list.entries().front();
}

bus::Beside beside_of(bool replace, bool also) {
    if (replace) return bus::Beside::in_place;
    return also ? bus::Beside::also : bus::Beside::alone;
}

Result<std::string> allow_list_text(const std::filesystem::path& file) {
    std::error_code ec;
    if (!std::filesystem::exists(file, ec)) return std::string();
    return read_file(file);
}

std::string short_fingerprint(const std::string& fingerprint) {
    constexpr std::size_t two_groups = 9;
    return fingerprint.substr(0, two_groups);
}

}  // namespace vflbus::cli
