#pragma once
// What a node and the helper of its apps say to each other, over a socket that keeps messages
// apart. Both are the same program, so these are plain structures. Private to helper.cpp and
// nursery.cpp.

#include <cstdint>

namespace vflbus::apps {

enum class Order : std::uint32_t { fork = 1, kill = 2 };

/// Node to helper. A fork carries the socket of the new process as a passed descriptor.
struct Command {
    Order order;
    std::uint64_t id;
};

/// Helper to node.
struct Report {
    std::uint64_t id;
    std::int32_t started;  ///< 1: the process `pid` runs; 0: it has ended, or could not be started
    std::int32_t pid;
    std::int32_t status;  ///< as waitpid says
    std::int32_t error;   ///< errno of a start that failed, else 0
};

/// The first thing the helper says: whether it could load the app.
struct Loaded {
    std::int32_t code;
    char sentence[1020];
};

}  // namespace vflbus::apps
