#pragma once
// Which solver a configuration means, and whether its keys fit each other. Private to this room.
//
// The problem: configurations of earlier versions say `sequential`, `optimizer` or `learning_rate`
// and know no `solver`, whose default is lbfgs. They must go on meaning what they meant, and a
// configuration that says both must not contradict itself without a word.

#include "config/config.hpp"
#include "config/value.hpp"

namespace vflbus::config {

/// After all sources have been read: fills in the solver where it is not stated, the earlier keys
/// where it is, l2 from C, and the default of batch_size that depends on the solver.
void resolve_solver(Config& config, Problems& problems);

/// Whether this is a network that protocol encrypted computes, or would be with the defaults of
/// that protocol: one dense layer at each party, whose numbers are summed.
bool is_encrypted_network(const Config& config);
/// Once the protocol is known: what is not stated of a network whose numbers are summed, and has
/// another default there.
void fill_summed_network(Config& config);

/// Keys of one solver beside another one. A key that has its default says nothing, because a
/// configuration that was written by this program states all of them.
void check_solver(const Config& config, Problems& problems);

}  // namespace vflbus::config
