#pragma once
// Ids of runs that tests can tell apart.

#include <cstdint>

#include "base/ids.hpp"

inline vflbus::RunId numbered_run(std::uint8_t number) {
    vflbus::RunId run;
    run.bytes[0] = number;
    return run;
}
