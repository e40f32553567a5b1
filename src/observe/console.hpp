#pragma once
// Where log lines and the live line of a training meet: both go through one Console, so that a log
// line never lands in the middle of the live line.

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace vflbus::observe {

/// Thread safe. Every call ends in at most one write, so that the lines of several processes that
/// share a terminal or a file stay whole.
class Console {
  public:
    struct Output {
        std::function<void(std::string_view)> write;  ///< called under the console's lock
        bool terminal = false;                        ///< whether \r and a live line make sense
        std::function<std::size_t()> columns;         ///< terminal width; 80 when empty
        bool color = false;                           ///< whether escape codes for colours do
    };

    explicit Console(Output output);

    /// File descriptor 2 of this process. A failing write is ignored: nobody is left to be told.
    static Console& standard_error();

    [[nodiscard]] bool terminal() const noexcept { return output_.terminal; }
    [[nodiscard]] bool color() const noexcept { return output_.color; }
    [[nodiscard]] std::size_t columns() const;

    /// Writes `text` and a newline; a live line is cleared before and drawn again after it. On a
    /// terminal the line is cleared in any case: another process, as a child of `launch`, may have
    /// a live line there.
    void line(std::string_view text);

    /// Puts `text` (one line, cut to the terminal's width) in place of the live line; empty clears
    /// it. Without a terminal this does nothing.
    void live(std::string_view text);

    /// Leaves the live line on the screen and moves on to the next line.
    void end_live();

  private:
    mutable std::mutex mutex_;
    Output output_;
    std::string live_;
};

}  // namespace vflbus::observe
