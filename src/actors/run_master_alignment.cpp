// Which rows all parties have, for the masters of every purpose.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "actors/run_master.hpp"
#include "actors/run_master_text.hpp"

namespace vflbus::actors {

using observe::log::Level;

void RunMaster::ask_ids(TableKind kind) {
    ids_[static_cast<std::size_t>(kind)].of_members.assign(members_.size(), {});
    send_all(message::align, encode(AlignRequest{kind}), static_cast<std::uint64_t>(kind));
}

Result<> RunMaster::take_ids(std::size_t member, const Pending& request, Body body) {
    auto reply = decode_align_reply(body);
    if (!reply) return tl::unexpected(std::move(reply.error()));
    ids_[request.tag].of_members[member] = std::move(*reply);
    return {};
}

Result<bool> RunMaster::present(TableKind kind) const {
    std::vector<std::string> with;
    std::vector<std::string> without;
    (own_->aligned(kind) ? with : without).push_back(options_.name);
    const auto& of_members = ids_[static_cast<std::size_t>(kind)].of_members;
    for (std::size_t i = 0; i < members_.size(); ++i)
        (of_members[i].present ? with : without).push_back(members_[i].name);
    if (with.empty()) return false;
    if (without.empty()) return true;
    const std::string key = kind == TableKind::train  ? "data"
                            : kind == TableKind::test ? "test_data"
                                                      : "predict_data";
    return fail(Errc::bad_config,
                plural(with, "has", "have") + " a " + std::string(actors::name_of(kind)) + ", " +
                    plural(without, "has", "have") + " none: set " + key + " at every party" +
                    (kind == TableKind::test ? " or at none" : ""));
}

Result<> RunMaster::select_common(TableKind kind) {
    TableIds& ids = ids_[static_cast<std::size_t>(kind)];
    std::vector<data::PartyIds> parties;
    const data::LocalIds& own = own_->local(kind);
    parties.push_back({options_.name, own.ids, own.counts});
    for (std::size_t i = 0; i < members_.size(); ++i)
        parties.push_back({members_[i].name, ids.of_members[i].ids, ids.of_members[i].counts});
    const std::uint64_t size = kind == TableKind::train ? options_.config.data.dataset_size : 0;
    const auto common = data::intersect(parties, size);
    if (!common) {
        Failure failure = common.error();
        if (kind != TableKind::train)
            failure.sentence = std::string(actors::name_of(kind)) + ": " + failure.sentence;
        return tl::unexpected(std::move(failure));
    }
    if (common->rows > UINT32_MAX)
        return fail(Errc::bad_data, "the " + std::string(actors::name_of(kind)) + "s have " +
                                        std::to_string(common->rows) +
                                        " aligned rows, more than 2^32 - 1");
    ids.common = common->common;
    ids.rows = common->rows;

    if (kind != TableKind::test) {
        report_.rows_common = common->rows;
        for (std::size_t p = 0; p < parties.size(); ++p) {
            auto& party = report_.parties[p];
            party.rows = p == 0 ? own_->table(kind)->rows() : ids.of_members[p - 1].rows;
            party.rows_matched = common->common;
        }
    }
    log(Level::info, std::to_string(common->common) + " ids of the " +
                         std::string(actors::name_of(kind)) + "s are common, " +
                         std::to_string(common->rows) + " rows are used");
    // Selections go out one by one and are not kept.
    for (std::size_t i = 0; i < members_.size(); ++i) {
        send(i, message::select, encode(SelectRequest{kind, common->selections[i + 1], ids.rows}),
             static_cast<std::uint64_t>(kind));
        ids.of_members[i].ids = {};
        ids.of_members[i].counts = {};
    }
    return own_->select(kind, common->selections[0], ids.rows);
}

Result<> RunMaster::take_selected(std::size_t, const Pending& request, Body body) {
    const auto reply = decode_select_reply(body);
    if (!reply) return tl::unexpected(reply.error());
    const std::uint64_t rows = ids_[request.tag].rows;
    if (reply->rows != rows)
        return fail(Errc::malformed_message, "came to " + std::to_string(reply->rows) +
                                                 " aligned rows, the master to " +
                                                 std::to_string(rows));
    return {};
}

std::uint64_t RunMaster::common_ids(TableKind kind) const {
    return ids_[static_cast<std::size_t>(kind)].common;
}
std::uint64_t RunMaster::aligned_rows(TableKind kind) const {
    return ids_[static_cast<std::size_t>(kind)].rows;
}

}  // namespace vflbus::actors
