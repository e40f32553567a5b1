#pragma once
// A run is judged before anything of it is read (docs/policy.md). This judge lets all in, and looks
// at the order: from the question whether an owner may ask at all until the decision about what it
// asks, the member reads no table.

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "actors/tables.hpp"
#include "policy/request.hpp"

namespace vflbus::sim {

class FirstJudged final : public policy::Judge {
  public:
    explicit FirstJudged(std::function<void(const std::string&)> violate)
        : violate_(std::move(violate)) {}

    Result<> admit_owner(const policy::Owner&, const RunId&) override {
        judging_ = true;
        return {};
    }
    Result<> admit(const policy::Request&) override {
        judging_ = false;
        return {};
    }
    /// The answer to the invitation is there.
    void answered() { judging_ = false; }
    Result<> columns(const RunId&, const std::string&, std::span<const std::string>,
                     std::uint64_t) override {
        return {};
    }
    Result<> rows(const RunId&, std::uint64_t) override { return {}; }
    Result<> psi_list(const RunId&, std::uint64_t) override { return {}; }
    Result<> batch(const RunId&, std::uint64_t) override { return {}; }
    Result<> model(const RunId&, const RunId&) override { return {}; }
    void ended(const RunId&, const policy::Served&) override {}

    /// `source`, watched. Must not outlive this.
    actors::TableSource watched(actors::TableSource source) {
        return [this, source = std::move(source)](const actors::TableAsk& ask) {
            if (judging_) violate_("a member read a table before it had let the run in");
            return source(ask);
        };
    }

  private:
    std::function<void(const std::string&)> violate_;
    bool judging_ = false;
};

}  // namespace vflbus::sim
