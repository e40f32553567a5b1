#include "actors/env.hpp"

#include <array>
#include <ctime>
#include <utility>

#include "base/files.hpp"

namespace vflbus::actors {
namespace {

class FileEnv final : public Env {
  public:
    Result<std::string> read_file(const std::filesystem::path& path) override {
        return vflbus::read_file(path);
    }
    Result<> write_file(const std::filesystem::path& path, std::string_view content) override {
        return write_file_atomically(path, content);
    }
    bool exists(const std::filesystem::path& path) override {
        std::error_code ignored;
        return std::filesystem::exists(path, ignored);
    }
    std::string utc_now() override {
        const std::time_t now = std::time(nullptr);
        std::tm utc{};
        gmtime_r(&now, &utc);
        std::array<char, 32> text{};
        const std::size_t length =
            std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
        return {text.data(), length};
    }
};

}  // namespace

std::unique_ptr<Env> make_file_env() {
    return std::make_unique<FileEnv>();
}

Result<std::string> MemoryEnv::read_file(const std::filesystem::path& path) {
    const auto found = files.find(path.string());
    if (found == files.end())
        return fail(Errc::io, "cannot read " + path.string() + ": No such file or directory");
    return found->second;
}

Result<> MemoryEnv::write_file(const std::filesystem::path& path, std::string_view content) {
    if (write_failure.code != Errc::ok) return tl::unexpected(write_failure);
    files[path.string()] = content;
    return {};
}

bool MemoryEnv::exists(const std::filesystem::path& path) {
    return files.contains(path.string());
}

}  // namespace vflbus::actors
