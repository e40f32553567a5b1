#pragma once
// The arbiter: a ClientApp without data that serves any number of runs under protocol `arbitered`.
//
// The problem: the parties of a training want products of numbers that none of them may read, and
// somebody has to open the results. The arbiter makes the keys and opens what it is sent; it sees
// random numbers, since each party has hidden its own result before
// (training/linear/arbitered.hpp). It stores nothing: after a death there is a new term, with new
// keys.

#include "actors/member.hpp"
#include "actors/node/app.hpp"
#include "config/config.hpp"

namespace vflbus::actors {

struct ArbiterOptions {
    config::Config config;  ///< the private half, and the agreed one when it is stated
    LogHook log;
};

ClientApp make_arbiter_app(ArbiterOptions options);

}  // namespace vflbus::actors
