#pragma once
// A console that keeps what is written, and a screen that shows what a terminal would show of it.

#include <string>
#include <string_view>
#include <vector>

#include "observe/console.hpp"

struct Recorder {
    std::string text;
    std::size_t writes = 0;

    vflbus::observe::Console::Output output(bool terminal, std::size_t columns = 80) {
        return {[this](std::string_view piece) {
                    text += piece;
                    ++writes;
                },
                terminal, [columns] { return columns; }};
    }
};

/// Understands what Console uses: \r, \n and "erase to the end of the line".
inline std::vector<std::string> screen(std::string_view written) {
    std::vector<std::string> lines{""};
    std::size_t column = 0;
    for (std::size_t i = 0; i < written.size(); ++i) {
        if (written[i] == '\r') {
            column = 0;
        } else if (written[i] == '\n') {
            lines.emplace_back();
            column = 0;
        } else if (written.substr(i, 3) == "\x1b[K") {
            lines.back().resize(column);
            i += 2;
        } else {
            if (column < lines.back().size())
                lines.back()[column] = written[i];
            else
                lines.back() += written[i];
            ++column;
        }
    }
    return lines;
}
