#pragma once
// States of models as bytes, for commits: numbers as they lie in memory (little-endian), each list
// with its length in front. No limit but that of a commit.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "models/head.hpp"
#include "models/party_model.hpp"

namespace vflbus::actors {

class StateWriter {
  public:
    StateWriter& u64(std::uint64_t value) { return raw(&value, sizeof value); }
    StateWriter& doubles(const std::vector<double>& values) { return list(values); }
    StateWriter& floats(const std::vector<float>& values) { return list(values); }
    StateWriter& optimizer(const models::OptimizerState& state) {
        return u64(state.steps).doubles(state.first).doubles(state.second);
    }
    StateWriter& party(const models::PartyState& state) {
        return doubles(state.weights).optimizer(state.optimizer);
    }
    StateWriter& head(const models::HeadState& state) {
        return doubles(state.intercept).optimizer(state.optimizer);
    }
    [[nodiscard]] std::string take() { return std::move(bytes_); }

  private:
    template <class T>
    StateWriter& list(const std::vector<T>& values) {
        u64(values.size());
        return raw(values.data(), values.size() * sizeof(T));
    }
    StateWriter& raw(const void* data, std::size_t size) {
        bytes_.append(static_cast<const char*>(data), size);
        return *this;
    }
    std::string bytes_;
};

/// After the first fault all getters return empty values and `finish` tells of it.
class StateReader {
  public:
    explicit StateReader(std::string_view bytes) : rest_(bytes) {}

    std::uint64_t u64() {
        std::uint64_t value = 0;
        raw(&value, 1, sizeof value);
        return value;
    }
    std::vector<double> doubles() { return list<double>(); }
    std::vector<float> floats() { return list<float>(); }
    models::OptimizerState optimizer() {
        models::OptimizerState state;
        state.steps = u64();
        state.first = doubles();
        state.second = doubles();
        return state;
    }
    models::PartyState party() {
        models::PartyState state;
        state.weights = doubles();
        state.optimizer = optimizer();
        return state;
    }
    models::HeadState head() {
        models::HeadState state;
        state.intercept = doubles();
        state.optimizer = optimizer();
        return state;
    }
    /// Errors: state_lost when bytes are missing or left over.
    [[nodiscard]] Result<> finish() const {
        if (good_ && rest_.empty()) return {};
        return fail(Errc::state_lost, "the state of a commit is damaged: its lengths do not fit");
    }

  private:
    template <class T>
    std::vector<T> list() {
        const std::uint64_t count = u64();
        if (count > rest_.size() / sizeof(T)) good_ = false;
        std::vector<T> values(good_ ? count : 0);
        raw(values.data(), values.size(), sizeof(T));
        return values;
    }
    void raw(void* out, std::size_t count, std::size_t size) {
        if (!good_ || rest_.size() < count * size) {
            good_ = false;
            return;
        }
        if (count != 0) std::memcpy(out, rest_.data(), count * size);
        rest_.remove_prefix(count * size);
    }
    std::string_view rest_;
    bool good_ = true;
};

}  // namespace vflbus::actors
