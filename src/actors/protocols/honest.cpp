#include "actors/protocols/honest.hpp"

#include <algorithm>

namespace vflbus::actors {
namespace {

class HonestMaster final : public MasterProtocol {
  public:
    std::string_view name() const noexcept override { return "honest"; }
    bool sees_scores() const noexcept override { return true; }
    std::string notice(std::uint64_t) const override {
        return "protocol honest: the master sees every member's partial scores, and every member "
               "the residuals, in the clear";
    }

    Task<> begin(Parties&) override { co_return; }
    Task<> within_step(Parties&, std::uint64_t) override { co_return; }

    Result<> start(const Stamp&, models::ConstMatrixView own, models::Matrix& sum) override {
        sum.resize_uninitialized(own.rows, own.cols);
        std::copy_n(own.data, own.size(), sum.data());
        return {};
    }

    Result<> add(const Stamp&, std::size_t, const TensorView& scores,
                 models::Matrix& sum) override {
        if (scores.ring)
            return fail(Errc::malformed_message, "masked scores in a run without masks");
        if (scores.rows != sum.rows() || scores.cols != sum.cols())
            return fail(Errc::malformed_message,
                        "scores of " + std::to_string(scores.rows) + " x " +
                            std::to_string(scores.cols) + " where " + std::to_string(sum.rows()) +
                            " x " + std::to_string(sum.cols()) + " belong");
        copy_tensor(scores, part_);
        models::add(sum.view(), part_);
        return {};
    }

    Result<> finish(const Stamp&, models::Matrix&) override { return {}; }

    Result<models::ConstMatrixView> outgoing(const Stamp&,
                                             models::ConstMatrixView residual) override {
        return residual;
    }

  private:
    models::Matrix part_;
};

class HonestMember final : public MemberProtocol {
  public:
    Result<SentTensor> share(const Stamp&, models::ConstMatrixView z) override { return z; }
    Result<> incoming(const Stamp&, const TensorView& sent, models::Matrix& residual) override {
        if (sent.ring) return fail(Errc::malformed_message, "a residual that is no numbers");
        copy_tensor(sent, residual);
        return {};
    }
    Result<Bytes> answer(const RoundRequest&) override {
        return fail(Errc::handler_failed, "the protocol honest has no rounds of its own");
    }
};

}  // namespace

std::unique_ptr<MasterProtocol> make_honest_master() {
    return std::make_unique<HonestMaster>();
}
std::unique_ptr<MemberProtocol> make_honest_member() {
    return std::make_unique<HonestMember>();
}

}  // namespace vflbus::actors
