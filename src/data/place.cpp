#include "data/place.hpp"

#include "base/location.hpp"
#include "base/text.hpp"

namespace vflbus::data {
namespace {

constexpr std::string_view command_scheme = "exec:";

/// The name of a file without its directories. A command is not told: it may hold a password.
std::string base_name(std::string_view file) {
    if (file.starts_with(command_scheme)) return "the output of its command";
    if (is_pathless(file)) return file == "-" ? "-" : "its database";
    file = path_within(file);
    return std::string(file.substr(file.rfind('/') + 1));
}

std::string with_party(const Place& place, const std::string& rest) {
    return place.party.empty() ? rest : place.party + ": " + rest;
}

std::string with_line(const Place& place, std::string text) {
    if (place.line == 0) return text;
    return text + ", " + std::string(place.unit) + " " + std::to_string(place.line);
}

}  // namespace

std::string Place::text() const {
    std::string text = with_line(*this, with_party(*this, printable(file)));
    if (!column.empty()) return text + ", column " + shown(column);
    if (column_number != 0) return text + ", column " + std::to_string(column_number);
    return text;
}

std::string Place::text_for_others() const {
    std::string text = with_line(*this, with_party(*this, printable(base_name(file))));
    if (column_number != 0) text += ", column " + std::to_string(column_number);
    return text;
}

std::string on_line(const Place& place, std::string_view file) {
    const std::string line =
        (place.unit == "line" ? "on line " : "in row ") + std::to_string(place.line);
    return place.file == file ? line : line + " of " + printable(base_name(place.file));
}

std::string shown(std::string_view cell) {
    constexpr std::size_t shown_max = 40;
    if (cell.size() <= shown_max) return "'" + printable(cell) + "'";
    std::size_t end = shown_max;
    // no half of a UTF-8 sequence at the cut
    while (end > 0 && (static_cast<unsigned char>(cell[end]) & 0xc0) == 0x80) --end;
    return "'" + printable(cell.substr(0, end)) + "...'";
}

Failure fault(Errc code, const Place& place, std::string_view what) {
    return fault(code, place, what, what);
}

Failure fault(Errc code, const Place& place, std::string_view what,
              std::string_view what_for_others) {
    Failure failure{code, place.text() + std::string(what), place.party};
    failure.for_others = place.text_for_others() + std::string(what_for_others);
    return failure;
}

}  // namespace vflbus::data
