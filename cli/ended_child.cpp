#include "ended_child.hpp"

#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/files.hpp"
#include "base/text.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

Errc code_of(const Child& child) {
    const auto said = nlohmann::json::parse(child.output(), nullptr, false);
    if (said.is_object() && said.contains("error") && said["error"].is_string()) {
        const auto name = said["error"].get<std::string>();
        for (std::uint16_t number = 0; number < 128; ++number)
            if (name_of(static_cast<Errc>(number)) == name && name != "unknown")
                return static_cast<Errc>(number);
    }
    return Errc::internal;
}

}  // namespace

std::string said_by(const Child& child) {
    const auto said = nlohmann::json::parse(child.output(), nullptr, false);
    if (said.is_object() && said.contains("reason") && said["reason"].is_string())
        return said["reason"].get<std::string>();
    return {};
}

std::string reason_of(const Child& child) {
    if (std::string text = said_by(child); !text.empty()) return text;
    if (!child.log().empty()) {
        if (const auto log = read_file(child.log())) {
            std::string_view text = trim(*log);
            text = text.substr(text.rfind('\n') + 1);
            if (text.starts_with("vflbus: ")) return std::string(text.substr(8));
            if (text.starts_with("Error: ")) return "podman: " + std::string(text.substr(7));
        }
    }
    return child.ending() + (child.log().empty() ? "" : "; its log is " + child.log().string());
}

Failure failure_of(const Child& child) {
    const std::string reason = reason_of(child);
    const bool named = reason.find(child.name()) != std::string::npos;
    return {code_of(child), named ? reason : child.name() + ": " + reason};
}

void remove_half_written(const fs::path& directory, int pid) {
    const std::string ending = ".tmp-" + std::to_string(pid);
    std::vector<fs::path> found;
    std::error_code ec;
    for (fs::recursive_directory_iterator at(directory, ec), end; !ec && at != end;
         at.increment(ec))
        if (at->path().filename().string().ends_with(ending)) found.push_back(at->path());
    for (const fs::path& file : found) fs::remove(file, ec);
}

bool Restarts::again(std::uint64_t at_most, std::uint64_t progress) noexcept {
    if (progress != progress_) count_ = 0;
    progress_ = progress;
    if (count_ >= at_most) return false;
    ++count_;
    ++ever_;
    return true;
}

void Restarts::restore(std::uint64_t count, std::uint64_t progress) noexcept {
    count_ = count;
    progress_ = progress;
}

}  // namespace vflbus::cli
