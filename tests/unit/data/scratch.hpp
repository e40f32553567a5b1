#pragma once
// A directory of its own per test case, and tables from text.

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <string_view>

#include "catch.hpp"
#include "data/csv.hpp"
#include "data/source.hpp"

namespace vflbus::data {

struct Scratch {
    std::filesystem::path path;
    Scratch() {
        static int count = 0;
        // in memory where possible: thousands of small files wait for a busy disk
        path = (std::filesystem::exists("/dev/shm") ? std::filesystem::path("/dev/shm")
                                                    : std::filesystem::temp_directory_path()) /
               ("vflbus-data-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
        std::filesystem::create_directories(path);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { std::filesystem::remove_all(path); }

    std::string write(std::string_view content, const std::string& name = "t.csv") const {
        std::ofstream file(path / name, std::ios::binary);
        file << content;
        return (path / name).string();
    }
};

/// Where a table is and which of its columns to take.
struct ReadOptions : SourceOptions, TableRequest {};

inline Result<Table> read(const ReadOptions& options, const ReadProgress& progress = {}) {
    return read_table(options, options, progress);
}

inline Result<Table> read_text(std::string_view content, ReadOptions options = {}) {
    const Scratch scratch;
    options.location = scratch.write(content);
    auto table = read(options);
    if (!table) {  // the scratch directory is of no interest to a test
        std::string& sentence = table.error().sentence;
        if (const auto at = sentence.find(options.location); at != std::string::npos)
            sentence.replace(at, options.location.size(), "t.csv");
    }
    return table;
}

inline Table table_of(std::string_view content, ReadOptions options = {}) {
    auto table = read_text(content, std::move(options));
    if (!table) FAIL(table.error().sentence);
    return std::move(*table);
}

/// The refusal of a table.
inline Failure failure_of(std::string_view content, ReadOptions options = {}) {
    const auto table = read_text(content, std::move(options));
    if (table) return {Errc::ok, "accepted"};
    CHECK(table.error().code == Errc::bad_data);
    return table.error();
}

/// The sentence of the refusal.
inline std::string refusal(std::string_view content, ReadOptions options = {}) {
    return failure_of(content, std::move(options)).sentence;
}

inline std::vector<std::uint32_t> all_rows(const Table& table) {
    std::vector<std::uint32_t> rows(table.rows());
    std::iota(rows.begin(), rows.end(), 0U);
    return rows;
}

inline ReadOptions with_labels(std::vector<std::string> labels) {
    ReadOptions options;
    options.labels = std::move(labels);
    return options;
}

}  // namespace vflbus::data
