#pragma once
// A directory of a test, which goes with it.

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "catch.hpp"

namespace vflbus::cli::testing {

struct Scratch {
    Scratch() {
        std::string name = (std::filesystem::temp_directory_path() / "vflbus-cli-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    std::filesystem::path path;
};

}  // namespace vflbus::cli::testing
