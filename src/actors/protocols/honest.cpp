#include "actors/protocols/honest.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace vflbus::actors {
namespace {

class HonestMaster final : public MasterProtocol {
  public:
    explicit HonestMaster(std::size_t members) : parts_(members) {}

    std::string_view name() const noexcept override { return "honest"; }
    std::string notice() const override {
        return "protocol honest: the master sees every member's partial scores, and every member "
               "the "
               "residuals, in the clear";
    }

    Result<std::vector<Bytes>> rounds(Moment, std::uint64_t, std::uint64_t) override {
        return std::vector<Bytes>{};
    }
    Result<> on_round(Moment, std::uint64_t, std::uint64_t, std::size_t, Body) override {
        return fail(Errc::internal, "honest has no rounds of its own");
    }

    Result<> start(std::uint64_t, models::ConstMatrixView own) override {
        sum_.resize_uninitialized(own.rows, own.cols);
        std::copy_n(own.data, own.size(), sum_.data());
        return {};
    }

    Result<> add(std::uint64_t, std::size_t rank, const TensorView& scores) override {
        if (scores.rows != sum_.rows() || scores.cols != sum_.cols())
            return fail(Errc::malformed_message,
                        "scores of " + std::to_string(scores.rows) + " x " +
                            std::to_string(scores.cols) + " where " + std::to_string(sum_.rows()) +
                            " x " + std::to_string(sum_.cols()) + " belong");
        copy_tensor(scores, parts_[rank]);
        return {};
    }

    Result<models::ConstMatrixView> sum(std::uint64_t) override {
        for (const models::Matrix& part : parts_) models::add(sum_.view(), part);
        return std::as_const(sum_).view();
    }

    Result<models::ConstMatrixView> outgoing(std::uint64_t,
                                             models::ConstMatrixView residual) override {
        return residual;
    }

  private:
    std::vector<models::Matrix> parts_;  // by rank, added in that order
    models::Matrix sum_;
};

class HonestMember final : public MemberProtocol {
  public:
    Result<models::ConstMatrixView> share(std::uint64_t, models::ConstMatrixView z) override {
        return z;
    }

    Result<> gradient(std::uint64_t, const TensorView& residual, Party& party) override {
        copy_tensor(residual, residual_);
        return party.update(residual_);
    }

    Result<Bytes> answer(Moment, std::uint64_t, std::uint64_t, Body) override {
        return fail(Errc::handler_failed, "honest has no rounds of its own");
    }

  private:
    models::Matrix residual_;
};

}  // namespace

std::unique_ptr<MasterProtocol> make_honest_master(std::size_t members) {
    return std::make_unique<HonestMaster>(members);
}
std::unique_ptr<MemberProtocol> make_honest_member() {
    return std::make_unique<HonestMember>();
}

}  // namespace vflbus::actors
