#pragma once
// A party's disk in the simulation. What `write_file` has returned is durable; a process that dies
// while it writes leaves the old file or the new one, as a rename does.

#include <functional>
#include <map>
#include <string>

#include "actors/env.hpp"

namespace vflbus::sim {

class Disk final : public actors::Env {
  public:
    /// Asked before each write.
    enum class Fate : std::uint8_t { written, dies_before, dies_after, full };
    std::function<Fate(const std::string& path)> fate;

    Result<std::string> read_file(const std::filesystem::path& path) override {
        return files_.read_file(path);
    }
    Result<> write_file(const std::filesystem::path& path, std::string_view content) override {
        const Fate what = fate ? fate(path.string()) : Fate::written;
        if (what == Fate::full)
            return fail(Errc::io, "cannot write " + path.string() + ": no space left on device");
        if (what == Fate::dies_before) return fail(Errc::io, "the process is dying");
        return files_.write_file(path, content);
    }
    bool exists(const std::filesystem::path& path) override { return files_.exists(path); }
    Result<std::vector<std::string>> list(const std::filesystem::path& directory) override {
        return files_.list(directory);
    }
    Result<> remove(const std::filesystem::path& path) override { return files_.remove(path); }
    std::string utc_now() override { return files_.utc_now(); }

    std::map<std::string, std::string>& files() { return files_.files; }

  private:
    actors::MemoryEnv files_;
};

}  // namespace vflbus::sim
