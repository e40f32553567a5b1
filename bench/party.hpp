#pragma once
// What the sections that train and predict over real nodes set up alike: the tables of their
// parties, and a node on the bus.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "actors/node/node.hpp"
#include "base/rng.hpp"
#include "data/table.hpp"

namespace vflbus::bench {

/// Where the numbers of a party's table come from; `rank` is -1 for the master.
Rng numbers_of(int rank);

/// A party's table with these ids, in memory: `features` columns of numbers in [-0.5, 0.5), or at
/// the master the label y, which is 1 in three of ten rows.
std::shared_ptr<const data::Table> made_table(const std::string& party, int rank, data::Ids ids,
                                              std::size_t features, Rng& rng);

/// A node below `state_dir` that has met the broker. `keys`: as keys_of() takes them. Throws with
/// the sentence why not.
std::unique_ptr<actors::Node> made_node(const std::string& broker, const std::string& state_dir,
                                        const std::string& name, const std::string& role,
                                        std::int64_t rank, const std::string& keys = {});

}  // namespace vflbus::bench
