#pragma once
// Times and parties in the sentences of a master. Private to the run_master*.cpp files.

#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "base/ids.hpp"
#include "base/text.hpp"

namespace vflbus::actors {

inline Duration seconds(double value) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(value));
}
inline double in_seconds(Duration value) {
    return std::chrono::duration<double>(value).count();
}
inline std::string text_of(Duration value) {
    return human_seconds(in_seconds(value));
}

/// Sentences of readers begin with the party already; those of codecs do not. Without a full stop,
/// so that it can be gone on with.
inline std::string about(const std::string& party, std::string sentence) {
    if (sentence.ends_with('.')) sentence.pop_back();
    return begins_with_name(sentence, party) ? sentence : party + ": " + sentence;
}

inline std::string plural(std::span<const std::string> names, std::string_view one,
                          std::string_view several) {
    return join_and(names) + " " + std::string(names.size() == 1 ? one : several);
}

}  // namespace vflbus::actors
