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
// of all parties' numbers alone (model.combine = "sum" or "mean"). Other protocols are refused
// (docs/networks.md).

#include "actors/training/algorithm.hpp"

namespace vflbus::actors::split {

extern const Algorithm networks;

/// Of commits and of model parts.
inline constexpr std::string_view format_name = "split-network";
inline constexpr std::uint64_t format_version = 1;
/// Of networks for pictures, which readers of version 1 do not know.
inline constexpr std::uint64_t pictures_format_version = 2;
inline StateFormat format_of(bool pictures) {
    return {std::string(format_name), pictures ? pictures_format_version : format_version};
}
inline StateFormat format_of(const config::AgreedHalf& agreed) {
    return format_of(agreed.model.name == config::ModelName::efficientnet);
}

Result<std::unique_ptr<MasterHalf>> make_master(const MasterSetting& setting);
Result<std::unique_ptr<MasterHalf>> make_predicting_master(const MasterSetting& setting,
                                                           std::string_view text,
                                                           std::string_view path);
Result<std::unique_ptr<MemberHalf>> make_member(const MemberSetting& setting);

Result<Bytes> answer_begin(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_step(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_evaluate(MemberHalf& half, const MemberCall& call);
Result<Bytes> answer_round(MemberHalf& half, const MemberCall& call);

}  // namespace vflbus::actors::split
