#include "actors/purpose.hpp"

namespace vflbus::actors {
namespace {
constexpr std::string_view key = "purpose = ";
}

std::string with_purpose(Purpose purpose, std::string_view canonical) {
    std::string out;
    if (purpose == Purpose::check) out = std::string(key) + "check\n";
    if (purpose == Purpose::predict) out = std::string(key) + "predict\n";
    return out.append(canonical);
}

Result<std::pair<Purpose, std::string_view>> purpose_of(std::string_view agreed) {
    if (!agreed.starts_with(key)) return std::pair(Purpose::train, agreed);
    const std::size_t end = agreed.find('\n');
    const std::string_view name = agreed.substr(0, end).substr(key.size());
    const std::string_view rest = end == std::string_view::npos ? "" : agreed.substr(end + 1);
    if (name == "check") return std::pair(Purpose::check, rest);
    if (name == "predict") return std::pair(Purpose::predict, rest);
    return fail(Errc::malformed_message,
                "this version takes part in training, check and predict runs only; the master asks "
                "for another purpose");
}

}  // namespace vflbus::actors
