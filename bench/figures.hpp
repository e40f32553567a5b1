#pragma once
// What was measured: pairs of interleaved rounds, their ratios, and the bars they are held against.

#include <optional>
#include <string>
#include <vector>

namespace vflbus::bench {

struct Spread {
    double median = 0;
    double min = 0;
    double max = 0;
};
/// `values` must not be empty.
Spread spread_of(std::vector<double> values);
/// Processor time that the calling thread has used.
double thread_cpu_seconds();
/// The p-quantile (0 to 1) of what is there, nearest rank.
double quantile(std::vector<double> values, double p);

struct Bar {
    enum class Kind { at_least, at_most };
    Kind kind = Kind::at_least;
    double value = 0;
};

/// One line of the report. With pairs, `ours` and `theirs` are medians of the rounds and `ratio`
/// is the spread of the rounds' own ratios; the bar is on the ratio's median. Without, the bar is
/// on `ours`.
struct Figure {
    std::string name;
    std::string unit;
    double ours = 0;
    std::optional<double> theirs;
    std::optional<Spread> ratio;
    std::size_t rounds = 1;
    std::optional<Bar> bar;
    std::string note;

    /// Whether the bar holds; nothing when there is none.
    [[nodiscard]] std::optional<bool> holds() const;
};

Figure paired(std::string name, std::string unit, const std::vector<double>& ours,
              const std::vector<double>& theirs, std::optional<Bar> bar = {},
              std::string note = {});
Figure single(std::string name, std::string unit, double value, std::optional<Bar> bar = {},
              std::string note = {});

class Report {
  public:
    /// Prints the section's heading now and its figures as they come.
    void section(const std::string& title, const std::string& what);
    void add(Figure figure);
    /// Says what machine this is and how busy others keep it.
    Report();
    /// The machine and all figures as JSON.
    [[nodiscard]] std::string json() const;
    /// One line: how many bars hold.
    [[nodiscard]] std::string summary() const;

  private:
    struct Entry {
        std::string section;
        Figure figure;
    };
    double load_ = 0;  ///< runnable processes before we began, mean of a minute
    std::string section_;
    std::vector<Entry> entries_;
};

}  // namespace vflbus::bench
