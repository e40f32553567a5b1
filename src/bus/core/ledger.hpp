#pragma once
// Where a broker notes what comes and goes: names, states, times and sizes of runs and nodes. Never
// read for routing. src/registry has the one that keeps them on disk.

#include <cstdint>
#include <string>

#include "bus/wire/questions.hpp"

namespace vflbus::bus {

/// `runs`, `run` or `nodes`; the answer comes back to BrokerCore::answer with this token.
struct LedgerQuestion {
    std::uint64_t token = 0;
    Question question = Question::runs;
    std::string text;  ///< status of `runs`, prefix of `run`
    std::uint64_t limit = 0;
};

/// No call may wait for anything: the broker routes on the same thread.
class Ledger {
  public:
    virtual ~Ledger() = default;
    /// The run is so now. `messages` and `bytes` count from its opening at this broker.
    virtual void note(RunRow row) = 0;
    virtual void note(NodeRow row) = 0;
    /// What was noted before is part of the answer. False: too many questions wait already.
    virtual bool ask(LedgerQuestion question) = 0;

    // -- answers, for the loop that feeds them to the broker -----------------------
    struct Answer {
        std::uint64_t token = 0;
        Result<Bytes> body;
    };
    /// Readable when there are answers; -1: there never are.
    [[nodiscard]] virtual int answers_fd() const { return -1; }
    /// False: there is none at present.
    virtual bool next_answer(Answer&) { return false; }
};

}  // namespace vflbus::bus
