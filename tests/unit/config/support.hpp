#pragma once
// Configurations from a string, written to a directory that goes with the test.

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "catch.hpp"
#include "config/config.hpp"

namespace vflbus::config::testing {

class Folder {
  public:
    Folder() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "vflbus-config-XXXXXX").string();
        path_ = ::mkdtemp(pattern.data());
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        std::error_code error;
        std::filesystem::remove_all(path_, error);
    }
    void write(const std::string& name, const std::string& text) const {
        std::filesystem::create_directories((path_ / name).parent_path());
        std::ofstream(path_ / name, std::ios::binary) << text;
    }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

/// Loads `text` as conf/x.toml below a folder of its own.
inline Result<Config> load_text(const std::string& text, LoadOptions options = {}) {
    const Folder folder;
    folder.write("conf/x.toml", text);
    options.path = "conf/x.toml";
    options.base_dir = folder.path();
    return load(options);
}

/// Loads without any file.
inline Result<Config> load_bare(LoadOptions options) {
    const Folder folder;
    options.base_dir = folder.path();
    return load(options);
}

/// The value, or a failed test that says why there is none.
inline Config value_of(const Result<Config>& result) {
    INFO((result ? std::string("loaded") : result.error().sentence));
    REQUIRE(result.has_value());
    return *result;
}

inline std::string sentence_of(const Result<Config>& result) {
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code == Errc::bad_config);
    return result.error().sentence;
}

}  // namespace vflbus::config::testing
