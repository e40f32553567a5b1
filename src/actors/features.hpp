#pragma once
// What each party's columns tell of the label, before anything is trained: `vflbus features`.
//
// The problem: a member's bins are to be compared with the master's labels, and as little as
// possible is to leave either. Which way is taken is the protocol's:
//   honest     The master sends the labels of the training rows (`describe`); each member answers
//              with the figures of its columns by number, and keeps names and bins for itself.
//   all other  The labels never leave the master in the clear. A member tells how many rows each of
//              its bins has (`bins`), gets the labels encrypted (`count`, feature_counts.hpp), and
//              answers with encrypted sums; the master reads how many positive rows each bin has,
//              without its name, and tells each member the information value of its columns, to
//              three digits (`informed`).
// Either way a party writes features.json, with the names of its own columns.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "actors/messages.hpp"
#include "base/errc.hpp"
#include "data/features.hpp"

namespace vflbus::actors {

class CountPlan;
class Party;

/// `describe`: the training rows and their labels.
struct DescribeRequest {
    Body test_rows;                      ///< as BeginRequest::test_rows
    std::vector<std::uint8_t> positive;  ///< of each training row: 1 or 0
};
Bytes encode(const DescribeRequest& m);
Result<DescribeRequest> decode_describe_request(Body body);
/// Of each column in the order of the table, without its name: information value, rows without a
/// cell, 1 / inflation (0: infinite), correlation with the nearest column.
Bytes encode_described(std::span<const data::FeatureFigures> figures);
/// `rows`: training rows; no column lacks more cells.
Result<std::vector<data::FeatureFigures>> decode_described(Body body, std::uint64_t rows);

/// Where the labels are hidden, a member is told information values as multiples of 1 / 1,000: a
/// bin of a single row then says nothing of its label once there are a few thousand rows.
inline constexpr double told_information = 1000;

/// `bins`: which rows are training rows.
struct BinsRequest {
    Body test_rows;  ///< as BeginRequest::test_rows
    Body nonce;      ///< 32 bytes
};
Bytes encode(const BinsRequest& m);
Result<BinsRequest> decode_bins_request(Body body);
/// The figures of columns that need no labels, and how many rows each bin has.
struct BinsReply {
    Hash256 nonce{};
    std::vector<data::FeatureFigures> figures;  ///< without names, information and positives
};
Bytes encode_bins_reply(const Hash256& nonce, std::span<const data::FeatureFigures> figures);
/// `rows`: training rows, which the bins of each column add up to.
Result<BinsReply> decode_bins_reply(Body body, std::uint64_t rows);
/// `informed`: the information value of each column.
Bytes encode_informed(std::span<const data::FeatureFigures> figures);
Result<std::vector<double>> decode_informed(Body body, std::size_t columns);

/// What a member keeps between `bins` and `informed`.
struct BinnedColumns {
    data::BinnedTable table;
    Hash256 seed{};  ///< of the key under which its counts are hidden
    std::shared_ptr<const CountPlan> plan;
    bool counted = false;
};

/// A party's own file, with names and bins: JSON. `labels_known`: the party knows the positive rows
/// of its bins.
std::string features_json(const std::string& run, const std::string& party,
                          std::span<const data::FeatureFigures> figures, bool labels_known);
/// Names and figures of such a file, without the bins. Errors: bad_data naming `path`.
Result<std::vector<data::FeatureFigures>> parse_features(std::string_view text,
                                                         const std::string& path);

/// The member's half of `describe`: splits its rows, and computes. Errors: malformed_message for
/// labels that are not as many as its training rows.
Result<std::vector<data::FeatureFigures>> describe_columns(Party& party,
                                                           const DescribeRequest& request);
/// The member's half of `bins`. `nonce`: its own, random.
Result<BinnedColumns> bin_columns(Party& party, const BinsRequest& request, const Hash256& nonce,
                                  std::uint64_t message_bytes_max);

}  // namespace vflbus::actors
