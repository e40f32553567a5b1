#include "actors/purpose.hpp"

namespace vflbus::actors {
namespace {
constexpr std::string_view purpose_key = "purpose = ";
}

std::string_view name_of(Purpose purpose) noexcept {
    switch (purpose) {
        case Purpose::train:
            return "train";
        case Purpose::check:
            return "check";
        case Purpose::predict:
            return "predict";
        case Purpose::features:
            return "features";
    }
    return "unknown";
}

bool needs_arbiter(const config::AgreedHalf& agreed, Purpose purpose) noexcept {
    return purpose == Purpose::train && config::has_arbiter(agreed);
}

std::string with_purpose(Purpose purpose, std::string_view canonical) {
    std::string out;
    if (purpose != Purpose::train) out = std::string(purpose_key).append(name_of(purpose)) + "\n";
    return out.append(canonical);
}

Result<std::pair<Purpose, std::string_view>> purpose_of(std::string_view agreed) {
    if (!agreed.starts_with(purpose_key)) return std::pair(Purpose::train, agreed);
    const std::size_t end = agreed.find('\n');
    const std::string_view name = agreed.substr(0, end).substr(purpose_key.size());
    const std::string_view rest = end == std::string_view::npos ? "" : agreed.substr(end + 1);
    for (const Purpose purpose : {Purpose::check, Purpose::predict, Purpose::features})
        if (name == name_of(purpose)) return std::pair(purpose, rest);
    return fail(Errc::malformed_message,
                "this version takes part in training, check, predict and features runs only; the "
                "master asks for another purpose");
}

}  // namespace vflbus::actors
