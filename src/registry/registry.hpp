#pragma once
// The registry of a broker: names, states, times and sizes of runs and nodes, in SQLite. Nothing
// is written per message, and nothing is read for routing.
//
// What is noted goes into a bounded queue; a thread of its own writes it in batches and answers
// questions, so that a slow disk delays answers and never a message. When the queue is full, notes
// are dropped and counted.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/errc.hpp"
#include "bus/core/ledger.hpp"

namespace vflbus::registry {

struct Options {
    /// Empty: in memory, gone with the process.
    std::filesystem::path file;
    /// Rows that are kept; the oldest finished runs, and nodes that are gone, make room.
    std::uint64_t runs_max = 10'000;
    std::uint64_t nodes_max = 10'000;
    /// Told when rows cannot be written, once per kind of trouble. Called from the thread.
    std::function<void(const std::string&)> warn;
};

/// Of the library that is linked, e.g. "3.40.1".
std::string sqlite_version();

class Registry : public bus::Ledger {
  public:
    /// Opens the file or makes it. Whatever ran when it was written last is `unknown` from now on.
    /// Errors: bad_data for a file that is damaged, of another program or of a newer version; io.
    static Result<std::unique_ptr<Registry>> open(Options options);

    /// Waits until all that was noted and asked before has been dealt with.
    virtual void flush() = 0;
    /// Notes that were lost because the disk did not keep up.
    [[nodiscard]] virtual std::uint64_t dropped() const = 0;
};

}  // namespace vflbus::registry
