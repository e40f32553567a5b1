#include "actors/purpose.hpp"

namespace vflbus::actors {
namespace {
constexpr std::string_view purpose_key = "purpose = ";
constexpr std::string_view alignment_key = "alignment = ";

/// The value of the first line when it is one of this key, which is then taken off `text`.
bool take_line(std::string_view& text, std::string_view key, std::string_view& value) {
    if (!text.starts_with(key)) return false;
    const std::size_t end = text.find('\n');
    value = text.substr(0, end).substr(key.size());
    text = end == std::string_view::npos ? "" : text.substr(end + 1);
    return true;
}
}  // namespace

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

std::string to_text(const OpenText& open) {
    std::string out;
    if (open.purpose != Purpose::train)
        out = std::string(purpose_key).append(name_of(open.purpose)) + "\n";
    if (!open.alignment.none()) out += std::string(alignment_key) + open.alignment.hex() + "\n";
    return out.append(open.canonical);
}

Result<OpenText> parse_open_text(std::string_view text) {
    OpenText open;
    std::string_view value;
    if (take_line(text, purpose_key, value)) {
        for (const Purpose purpose : {Purpose::check, Purpose::predict, Purpose::features})
            if (value == name_of(purpose)) open.purpose = purpose;
        if (open.purpose == Purpose::train)
            return fail(Errc::malformed_message,
                        "this version takes part in training, check, predict and features runs "
                        "only; the master asks for another purpose");
    } else if (take_line(text, alignment_key, value)) {
        const auto name = parse_run_id(value);
        if (!name || name->none())
            return fail(Errc::malformed_message, "the name of an alignment is no id");
        open.alignment = *name;
    }
    open.canonical = text;
    return open;
}

}  // namespace vflbus::actors
