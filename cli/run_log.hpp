#pragma once
// The log lines of one run, of all parties that give theirs, merged by time.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ask.hpp"

namespace vflbus::cli {

struct LogLine {
    std::string party;
    std::string text;
};

/// The time that a log line begins with; empty when it begins with something else.
std::string_view time_of_line(std::string_view line);
/// A line as people read it: one that is an object of JSON (`--log-format json`) becomes text.
std::string plain_line(std::string_view line);

class RunLogReader {
  public:
    /// `asker` must outlive it.
    RunLogReader(Asker& asker, const bus::RunRow& row);

    /// Takes over who takes part.
    void update(const bus::RunRow& row);
    /// What has been written since the last call, ordered by time over all calls. Lines are held
    /// back that are younger than those which were known when a party last gave all of its own:
    /// that party may have written an older line since. `last`: nothing is held back.
    std::vector<LogLine> read(bool last);
    /// Whether any party has answered.
    [[nodiscard]] bool anything() const noexcept { return anything_; }
    /// Who gives no lines, and why.
    [[nodiscard]] std::map<std::string, std::string> missing() const;

  private:
    struct Source {
        std::string node;  ///< who is asked for the lines
        std::uint64_t position = 0;
        bool refuses = false;
        int missed = 0;  ///< questions without an answer since the last one with one
        std::string trouble;
        std::string last_time;    ///< of the last line that had one
        std::string complete_to;  ///< all of its lines up to this time are known
    };
    struct TimedLine {
        std::string time;
        LogLine line;
    };
    void ask_all();
    [[nodiscard]] std::string complete_to() const;

    Asker& asker_;
    RunId run_;
    std::map<std::string, Source> sources_;
    std::vector<TimedLine> held_;
    bool anything_ = false;
};

}  // namespace vflbus::cli
