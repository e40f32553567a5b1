#pragma once
// Who takes part in the generated example and what they know. Internal to the data room.

#include <cstdint>
#include <string>
#include <vector>

namespace vflbus::data {

struct SynthNumber {
    std::string name;
    double mean;
    double deviation;
    double low;  ///< values are clamped to [low, high]
    double high;
    int decimals;
    double weight;  ///< of the first output, before it is scaled to the party's share; 0 = noise
};

struct SynthText {
    std::string name;
    std::vector<std::string> values;  ///< equally frequent; the signal rises from first to last
    double weight;
};

struct SynthSource {
    std::string name;
    std::vector<SynthNumber> numbers;
    std::vector<SynthText> texts;
};

/// The bank, then `members` others: well-known trades first, then company_6, company_7, ...
std::vector<SynthSource> synth_sources(std::uint32_t members);

}  // namespace vflbus::data
