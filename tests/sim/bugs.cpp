#include "bugs.hpp"

#include <algorithm>

#include "base/planted.hpp"

#ifdef VFLBUS_PLANTED_BUGS
namespace vflbus {
PlantedBug planted_bug = PlantedBug::none;
}  // namespace vflbus
#endif

namespace vflbus::sim {

#ifdef VFLBUS_PLANTED_BUGS

namespace {

constexpr Bug bug(PlantedBug number, std::string_view name, std::string_view sentence,
                  std::uint64_t near) {
    return {name, sentence, static_cast<std::uint64_t>(number), near};
}
#define VFLBUS_BUG(name, sentence, near) bug(PlantedBug::name, #name, sentence, near)

constexpr Bug all[] = {
    VFLBUS_BUG(no_deduplication, "a request that arrives again is handled again", 1),
    VFLBUS_BUG(answers_freed_early, "answers are forgotten before the asker has them", 1),
};

}  // namespace

const bool bugs_built = true;
std::span<const Bug> bugs() {
    return all;
}
void plant(const Bug* chosen) {
    planted_bug = chosen == nullptr ? PlantedBug::none : static_cast<PlantedBug>(chosen->number);
}

#else

const bool bugs_built = false;
std::span<const Bug> bugs() {
    return {};
}
void plant(const Bug*) {}

#endif

const Bug* find_bug(std::string_view name) {
    const auto all_of_them = bugs();
    const auto found = std::ranges::find(all_of_them, name, &Bug::name);
    return found == all_of_them.end() ? nullptr : &*found;
}

}  // namespace vflbus::sim
