#include "actors/protocols/masked.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/run/text.hpp"
#include "base/assert.hpp"
#include "base/planted.hpp"
#include "privacy/masks/masks.hpp"

namespace vflbus::actors {
namespace {

constexpr std::uint64_t round_keys = 0;   ///< asks for a public key
constexpr std::uint64_t round_agree = 1;  ///< tells all of them

Bytes encode_setup(std::uint64_t round, Body payload) {
    RoundRequest request;
    request.moment = Moment::setup;
    request.round = round;
    request.payload = payload;
    return encode(request);
}

/// Everything that tells one tensor of an agreement from another one, at a fixed place each.
std::vector<std::uint8_t> label_of(const Stamp& stamp) {
    std::vector<std::uint8_t> label;
    for (const std::uint64_t part :
         {std::uint64_t{stamp.term}, VFLBUS_PLANTED(mask_used_twice) ? 0 : stamp.step,
          static_cast<std::uint64_t>(stamp.table), stamp.first_row,
          static_cast<std::uint64_t>(stamp.tensor)})
        for (int byte = 0; byte < 8; ++byte)
            label.push_back(static_cast<std::uint8_t>(part >> (8 * byte)));
    return label;
}

/// Of what both sides of an agreement have said: neither can choose it.
Hash256 seed_of(Body nonce, Body offered, std::uint64_t use) {
    Bytes all(nonce.begin(), nonce.end());
    all.insert(all.end(), offered.begin(), offered.end());
    for (int byte = 0; byte < 8; ++byte)
        all.push_back(static_cast<std::uint8_t>(use >> (8 * byte)));
    return hash256(all);
}

Failure wrong_shape(std::size_t rows, std::size_t cols, std::size_t wanted_rows,
                    std::size_t wanted_cols) {
    return {Errc::malformed_message,
            "scores of " + std::to_string(rows) + " x " + std::to_string(cols) + " where " +
                std::to_string(wanted_rows) + " x " + std::to_string(wanted_cols) + " belong"};
}

std::string arbitered_notice(std::uint64_t members) {
    return std::string(
               "protocol arbitered: while it trains nobody sees scores or residuals, and every "
               "party the gradient of its own columns alone; the arbiter opens random numbers, but "
               "together with any party it could read that party's messages; of the rows that are "
               "evaluated the master sees ") +
           (members == 1
                ? "the member's partial scores, as with a single member there is nobody to "
                  "share a mask with"
                : "the sum of the members' partial scores and no member's own");
}

// -- the master's half ----------------------------------------------------------------

class MaskedMaster final : public MasterProtocol {
  public:
    explicit MaskedMaster(config::Protocol protocol) : protocol_(protocol) {}
    std::string_view name() const noexcept override { return config::name_of(protocol_); }
    std::string notice(std::uint64_t members) const override {
        if (protocol_ == config::Protocol::arbitered) return arbitered_notice(members);
        if (protocol_ == config::Protocol::encrypted)
            return std::string("protocol encrypted: the master sees ") +
                   (members == 1 ? "the member's partial scores, as with a single member there is "
                                   "nobody to share a mask with"
                                 : "the sum of the members' partial scores and no member's own") +
                   "; every member sees the gradient of its own columns alone";
        if (members == 1)
            return "protocol masked: with a single member there is nobody to share a mask with, so "
                   "the master sees that member's partial scores; the member sees the residuals";
        return "protocol masked: the master sees the sum of the members' partial scores and no "
               "member's own; every member sees the residuals, which tell the labels";
    }

    Task<> begin(Parties& parties) override {
        parties_ = parties.members();
        privacy::random_secret(nonce_);
        Replies asked = parties.ask_all(message::round, encode_setup(round_keys, nonce_));
        const std::vector<Bytes> replies = co_await asked;
        keys_.clear();
        for (std::size_t i = 0; i < replies.size(); ++i)
            co_await take_key(parties[i].name, replies[i], keys_);
        Replies told = parties.ask_all(message::round, encode_setup(round_agree, keys_));
        const std::vector<Bytes> agreed = co_await told;
        for (std::size_t i = 0; i < agreed.size(); ++i)
            co_await take_agreed(parties[i].name, agreed[i]);
    }
    Task<> within_step(Parties&, std::uint64_t) override { co_return; }

    Result<> start(const Stamp& stamp, models::ConstMatrixView own, models::Matrix& sum) override {
        const privacy::FixedPoint format = format_of(stamp);
        std::vector<std::uint64_t>& mine = sums_[stamp];
        mine.resize(own.size() * format.words);
        sum.resize_uninitialized(own.rows, own.cols);
        return privacy::to_fixed(own.span(), format, parties_ + 1, mine);
    }

    Result<> add(const Stamp& stamp, std::size_t, const TensorView& scores,
                 models::Matrix& sum) override {
        const privacy::FixedPoint format = format_of(stamp);
        const auto at = sums_.find(stamp);
        VFLBUS_ASSERT(at != sums_.end(), "a sum begins with the master's own scores");
        if (!scores.ring)
            return fail(Errc::malformed_message, "scores without a mask in a run with masks");
        if (scores.rows != sum.rows() * format.words || scores.cols != sum.cols())
            return tl::unexpected(
                wrong_shape(scores.rows, scores.cols, sum.rows() * format.words, sum.cols()));
        part_.resize(at->second.size());
        scores.copy_to(part_);
        privacy::add_fixed(at->second, part_, format);
        return {};
    }

    Result<> finish(const Stamp& stamp, models::Matrix& sum) override {
        const auto at = sums_.find(stamp);
        VFLBUS_ASSERT(at != sums_.end(), "a sum is finished once");
        privacy::from_fixed(at->second, format_of(stamp), sum.span());
        sums_.erase(at);
        return {};
    }

    Result<models::ConstMatrixView> outgoing(const Stamp&,
                                             models::ConstMatrixView residual) override {
        VFLBUS_ASSERT(protocol_ == config::Protocol::masked,
                      "residuals are encrypted before they are sent");
        return residual;
    }
    Hash256 public_seed(std::size_t rank, std::uint64_t use) const override {
        return seed_of(nonce_, Body(keys_).subspan(rank * 32, 32), use);
    }

  private:
    static Result<> take_key(const std::string& name, Body body, std::vector<std::uint8_t>& keys) {
        const auto reply = decode_round_reply(body);
        if (!reply) return tl::unexpected(of_party(name, reply.error()));
        if (reply->payload.size() != sizeof(privacy::PublicKey))
            return tl::unexpected(
                of_party(name, {Errc::malformed_message, "sent a public key of " +
                                                             std::to_string(reply->payload.size()) +
                                                             " bytes where 32 belong"}));
        keys.insert(keys.end(), reply->payload.begin(), reply->payload.end());
        return {};
    }
    static Result<> take_agreed(const std::string& name, Body body) {
        const auto reply = decode_round_reply(body);
        if (!reply) return tl::unexpected(of_party(name, reply.error()));
        if (!reply->payload.empty())
            return tl::unexpected(of_party(
                name, {Errc::malformed_message, "answered the keys with bytes of its own"}));
        return {};
    }

    config::Protocol protocol_;
    std::size_t parties_ = 0;
    privacy::Nonce nonce_{};
    std::vector<std::uint8_t> keys_;  ///< public ones, by rank
    /// Begun and not finished.
    std::map<Stamp, std::vector<std::uint64_t>> sums_;
    std::vector<std::uint64_t> part_;
};

// -- the member's half ----------------------------------------------------------------

class MaskedMember final : public MemberProtocol {
  public:
    explicit MaskedMember(std::uint64_t members) : members_(members) {}

    Result<SentTensor> share(const Stamp& stamp, models::ConstMatrixView z) override {
        if (!keys_ || !keys_->agreed())
            return fail(Errc::state_lost, "the members have not agreed on keys for their masks");
        const privacy::FixedPoint format = format_of(stamp);
        std::vector<std::uint64_t>& words = words_[stamp.tensor];
        words.resize(z.size() * format.words);
        if (auto good = privacy::to_fixed(z.span(), format, members_ + 1, words); !good)
            return tl::unexpected(std::move(good.error()));
        if (auto good = keys_->mask(stamp.step, label_of(stamp), format, words); !good)
            return tl::unexpected(std::move(good.error()));
        return SentTensor(words, z.rows * format.words, z.cols);
    }

    Result<> incoming(const Stamp&, const TensorView& sent, models::Matrix& residual) override {
        if (sent.ring) return fail(Errc::malformed_message, "a residual that is no numbers");
        copy_tensor(sent, residual);
        return {};
    }

    Hash256 public_seed(std::uint64_t use) const override {
        return keys_ ? seed_of(nonce_, keys_->public_key(), use) : Hash256{};
    }

    Result<Bytes> answer(const RoundRequest& request) override {
        if (request.moment != Moment::setup || request.step != 0)
            return fail(Errc::handler_failed,
                        "the protocol masked has rounds before the first step only");
        if (request.round == round_keys) return offer(request.payload);
        if (request.round == round_agree) return agree(request.payload);
        return fail(Errc::handler_failed, "the protocol masked has two rounds");
    }

  private:
    /// A new agreement begins: whatever was agreed before is forgotten.
    Result<Bytes> offer(Body nonce) {
        if (nonce.size() != nonce_.size())
            return fail(Errc::malformed_message,
                        "a nonce of " + std::to_string(nonce.size()) + " bytes where 32 belong");
        std::ranges::copy(nonce, nonce_.begin());
        if (VFLBUS_PLANTED(mask_seed_used_twice)) {
            nonce_.fill(0);
            if (keys_) return Bytes(keys_->public_key().begin(), keys_->public_key().end());
        }
        keys_.emplace();
        const privacy::PublicKey& offered = keys_->public_key();
        return Bytes(offered.begin(), offered.end());
    }

    Result<Bytes> agree(Body payload) {
        if (!keys_ || (keys_->agreed() && !VFLBUS_PLANTED(mask_seed_used_twice)))
            // a process that came back has none of its keys: the owner recovers, in a new term
            return fail(Errc::state_lost, "public keys came where none were offered");
        if (payload.size() != members_ * sizeof(privacy::PublicKey))
            return fail(Errc::malformed_message, std::to_string(payload.size()) +
                                                     " bytes of public keys for " +
                                                     std::to_string(members_) + " members");
        std::vector<privacy::PublicKey> keys(members_);
        std::memcpy(keys.data(), payload.data(), payload.size());
        if (auto good = keys_->agree(keys, nonce_); !good)
            return tl::unexpected(std::move(good.error()));
        return Bytes{};
    }

    std::uint64_t members_;
    privacy::Nonce nonce_{};
    std::optional<privacy::MaskKeys> keys_;
    std::map<Stamp::Tensor, std::vector<std::uint64_t>> words_;
};

}  // namespace

privacy::FixedPoint format_of(const Stamp& stamp) noexcept {
    switch (stamp.tensor) {
        case Stamp::Tensor::products:
            return privacy::product_format;
        case Stamp::Tensor::gradient_scores:
            return privacy::gradient_row_format;
        case Stamp::Tensor::scores:
        case Stamp::Tensor::residual:
            break;
    }
    return privacy::row_format;
}

std::unique_ptr<MasterProtocol> make_masked_master() {
    return std::make_unique<MaskedMaster>(config::Protocol::masked);
}
std::unique_ptr<MasterProtocol> make_encrypted_master() {
    return std::make_unique<MaskedMaster>(config::Protocol::encrypted);
}
std::unique_ptr<MasterProtocol> make_arbitered_master() {
    return std::make_unique<MaskedMaster>(config::Protocol::arbitered);
}
std::unique_ptr<MemberProtocol> make_masked_member(std::uint64_t members) {
    return std::make_unique<MaskedMember>(members);
}

}  // namespace vflbus::actors
