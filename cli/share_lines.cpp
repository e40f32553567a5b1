#include "share_lines.hpp"

#include <algorithm>

namespace vflbus::cli {
namespace {

void cut_to(std::string& text, std::size_t lines) {
    const std::size_t all = lines_of(text);
    if (all <= lines) return;
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < lines; ++i) at = text.find('\n', at) + 1;
    text.resize(lines == 0 ? 0 : at);
    if (lines != 0) text += "... and " + std::to_string(all - lines + 1) + " more\n";
}

}  // namespace

std::size_t lines_of(const std::string& text) noexcept {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

void share_lines(std::string& first, std::string& second, std::size_t lines) {
    const std::size_t of_first = lines_of(first);
    const std::size_t of_second = lines_of(second);
    const std::size_t half = lines / 2;
    const std::size_t to_first =
        std::max(lines - half, lines > of_second ? lines - of_second : std::size_t{0});
    cut_to(first, std::min(of_first, to_first));
    cut_to(second, lines - std::min(lines, lines_of(first)));
}

}  // namespace vflbus::cli
