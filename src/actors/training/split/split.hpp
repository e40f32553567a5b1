#pragma once
// Split networks: every party has a bottom network for its own columns, the master a top network
// for what comes out of them, and the loss. In a step the members' numbers for a batch go to the
// master and the loss's gradient by these numbers goes back, in one round trip: the reply to the
// gradient of batch t holds the numbers of batch t + 1, made with the weights after step t.
//
//   bottom.hpp   a party's network, its batches and its steps
//   top.hpp      what the master does with the parties' numbers, the loss included
//   part.hpp     a party's model.json; state.hpp commits
//   master.cpp, member.cpp   the halves
//
// Under `honest` the networks' numbers travel in the clear. Under `masked` the master gets the sum
// of all parties' numbers alone (model.combine = "sum" or "mean"). Under `encrypted` the gradient
// by that sum does not travel in the clear either: a member's network is one dense layer, whose
// gradient is a product of matrices, and all that follows stands in the master's top network. The
// messages of that are those of linear models (../linear/encrypted.hpp). Other protocols are
// refused (docs/networks.md).

#include "actors/training/algorithm.hpp"

namespace vflbus::actors::split {

extern const Algorithm networks;

/// Of commits and of model parts.
inline constexpr std::string_view format_name = "split-network";
inline constexpr std::uint64_t format_version = 1;
/// Of networks for pictures, which readers of version 1 do not know.
inline constexpr std::uint64_t pictures_format_version = 2;
/// Of networks whose first layer is at the parties and whose first activation is at the master,
/// which readers of version 2 do not know.
inline constexpr std::uint64_t encrypted_format_version = 3;
inline constexpr std::uint64_t latest_format_version = encrypted_format_version;
inline StateFormat format_of(const config::AgreedHalf& agreed) {
    return {std::string(format_name),
            agreed.run.protocol == config::Protocol::encrypted     ? encrypted_format_version
            : agreed.model.name == config::ModelName::efficientnet ? pictures_format_version
                                                                   : format_version};
}

Result<std::unique_ptr<MasterHalf>> make_master(const MasterSetting& setting);
Result<std::unique_ptr<MasterHalf>> make_predicting_master(const MasterSetting& setting,
                                                           std::string_view text,
                                                           std::string_view path);
Result<std::unique_ptr<MemberHalf>> make_member(const MemberSetting& setting);

Result<Bytes> answer_begin(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_product(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_step(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_evaluate(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_round(MemberHalf& half, const MemberCall& call);

}  // namespace vflbus::actors::split
