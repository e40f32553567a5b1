#pragma once
// Times and parties in the sentences of a run.

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/errc.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"

namespace vflbus::actors {

inline Duration from_seconds(double value) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(value));
}
inline double in_seconds(Duration value) {
    return std::chrono::duration<double>(value).count();
}
inline std::string text_of(Duration value) {
    return human_seconds(in_seconds(value));
}

/// Without a full stop, so that a sentence can be gone on with.
inline std::string open_ended(std::string sentence) {
    if (sentence.ends_with('.')) sentence.pop_back();
    return sentence;
}

/// A failure that `party` is at fault for, and whose sentence does not name it yet: "party: ...".
/// One that names a party already stays as it is.
inline Failure of_party(const std::string& party, Failure failure) {
    if (!failure.party.empty()) return failure;
    failure.party = party;
    failure.sentence = party + ": " + open_ended(std::move(failure.sentence));
    if (!failure.for_others.empty())
        failure.for_others = party + ": " + open_ended(std::move(failure.for_others));
    return failure;
}

/// "a and b have", with the verb that fits.
inline std::string plural(std::span<const std::string> names, std::string_view one,
                          std::string_view several) {
    return join_and(names) + " " + std::string(names.size() == 1 ? one : several);
}

}  // namespace vflbus::actors
