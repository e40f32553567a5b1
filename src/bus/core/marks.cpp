#include "bus/core/marks.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/hash.hpp"
#include "base/planted.hpp"

namespace vflbus::bus {

std::uint64_t MarkTokens::next() {
    ++count_;
    const auto text_of = [](const auto& bytes) {
        return std::string_view(reinterpret_cast<const char*>(&bytes), sizeof bytes);
    };
    const Hash128 hash = hash128(text_of(count_), text_of(secret_));
    std::uint64_t token = 0;
    std::memcpy(&token, hash.data(), sizeof token);
    return token != 0 ? token : 1;
}

std::optional<Marks::Position> Marks::answered(std::uint64_t token) {
    if (VFLBUS_PLANTED(window_believed) && !waiting_.empty()) token = waiting_.back().token;
    const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                    [&](const Mark& mark) { return mark.token == token; });
    if (found == waiting_.end()) return std::nullopt;
    const Position position = found->position;
    for (auto left = found - waiting_.begin(); left >= 0; --left) waiting_.pop_front();
    return position;
}

}  // namespace vflbus::bus
