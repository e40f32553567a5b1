#include "data/text_codes.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace vflbus::data {
namespace {

std::uint64_t mix(std::uint64_t value) noexcept {
    value *= 0x9e3779b97f4a7c15ULL;
    return value ^ (value >> 32);
}

std::uint64_t hash_of(std::string_view text) noexcept {
    std::uint64_t hash = text.size();
    while (text.size() >= 8) {
        std::uint64_t word;
        std::memcpy(&word, text.data(), 8);
        hash = mix(hash ^ word);
        text.remove_prefix(8);
    }
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), text.size());
    return mix(mix(hash ^ word));
}

}  // namespace

TextCodes::TextCodes() : slots_(64, 0) {}

std::uint32_t TextCodes::code_of(std::string_view text) {
    const std::uint64_t hash = hash_of(text);
    const std::size_t mask = slots_.size() - 1;
    std::size_t slot = hash & mask;
    while (slots_[slot] != 0) {
        const std::uint32_t code = slots_[slot] - 1;
        if (hashes_[code] == hash && (*this)[code] == text) return code;
        slot = (slot + 1) & mask;
    }
    const auto code = static_cast<std::uint32_t>(ends_.size());
    slots_[slot] = code + 1;
    arena_.append(text);
    ends_.push_back(arena_.size());
    hashes_.push_back(hash);
    if (ends_.size() * 2 > slots_.size()) grow();
    return code;
}

void TextCodes::grow() {
    std::vector<std::uint32_t> slots(slots_.size() * 2, 0);
    const std::size_t mask = slots.size() - 1;
    for (std::uint32_t code = 0; code < hashes_.size(); ++code) {
        std::size_t slot = hashes_[code] & mask;
        while (slots[slot] != 0) slot = (slot + 1) & mask;
        slots[slot] = code + 1;
    }
    slots_ = std::move(slots);
}

void TextCodes::clear() {
    arena_.clear();
    ends_.clear();
    hashes_.clear();
    slots_.assign(64, 0);
}

std::vector<std::string> TextCodes::sorted(std::vector<std::uint32_t>& new_codes) const {
    std::vector<std::uint32_t> order(size());
    std::iota(order.begin(), order.end(), 0U);
    std::sort(order.begin(), order.end(),
              [this](std::uint32_t a, std::uint32_t b) { return (*this)[a] < (*this)[b]; });
    new_codes.resize(size());
    std::vector<std::string> texts;
    texts.reserve(size());
    for (const std::uint32_t code : order) {
        new_codes[code] = static_cast<std::uint32_t>(texts.size());
        texts.emplace_back((*this)[code]);
    }
    return texts;
}

}  // namespace vflbus::data
