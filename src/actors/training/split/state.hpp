#pragma once
// States of networks as bytes, for commits: floats as they lie in memory (little-endian), each list
// with its length in front. No limit but that of a commit.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "models/nn/network.hpp"
#include "models/nn/steps.hpp"

namespace vflbus::actors::split {

/// A network and how far its training is.
struct NetworkState {
    std::vector<float> values;
    models::nn::StepState steps;
};

inline void put_floats(std::string& out, const std::vector<float>& values) {
    const std::uint64_t count = values.size();
    out.append(reinterpret_cast<const char*>(&count), sizeof count);
    out.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

/// Appends the state to `out`.
inline void put_state(std::string& out, const NetworkState& state) {
    out.append(reinterpret_cast<const char*>(&state.steps.steps), sizeof state.steps.steps);
    put_floats(out, state.values);
    put_floats(out, state.steps.first);
    put_floats(out, state.steps.second);
}

/// After the first fault all lists are empty and `finish` tells of it.
class NetworkStateReader {
  public:
    explicit NetworkStateReader(std::string_view bytes) : rest_(bytes) {}

    NetworkState state() {
        NetworkState out;
        out.steps.steps = number();
        out.values = floats();
        out.steps.first = floats();
        out.steps.second = floats();
        return out;
    }
    /// Errors: state_lost when bytes are missing or left over.
    [[nodiscard]] Result<> finish() const {
        if (good_ && rest_.empty()) return {};
        return fail(Errc::state_lost, "the state of a commit is damaged: its lengths do not fit");
    }

  private:
    std::uint64_t number() {
        std::uint64_t value = 0;
        if (rest_.size() < sizeof value) good_ = false;
        if (!good_) return 0;
        std::memcpy(&value, rest_.data(), sizeof value);
        rest_.remove_prefix(sizeof value);
        return value;
    }
    std::vector<float> floats() {
        const std::uint64_t count = number();
        if (count > rest_.size() / sizeof(float)) good_ = false;
        std::vector<float> values(good_ ? count : 0);
        if (values.empty()) return values;
        std::memcpy(values.data(), rest_.data(), count * sizeof(float));
        rest_.remove_prefix(count * sizeof(float));
        return values;
    }
    std::string_view rest_;
    bool good_ = true;
};

}  // namespace vflbus::actors::split
