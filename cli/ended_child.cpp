#include "ended_child.hpp"

#include <string_view>
#include <system_error>
#include <vector>

#include "base/files.hpp"
#include "base/text.hpp"
#include "observe/report.hpp"
#include "output.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// What podman, which knows no JSON, has said last in the log of a container that it could not
/// start; empty when it is something else that the log ends with.
std::string said_by_podman(const Child& child) {
    constexpr std::string_view begin = "Error: ";
    if (child.log().empty()) return {};
    const auto log = read_file(child.log());
    if (!log) return {};
    std::string_view text = trim(*log);
    text = text.substr(text.rfind('\n') + 1);
    return text.starts_with(begin) ? std::string(text.substr(begin.size())) : std::string();
}

}  // namespace

std::optional<Failure> said_by(const Child& child) {
    return observe::failure_in(child.output());
}

std::string end_of(const Child& child) {
    if (const std::string podman = said_by_podman(child); !podman.empty())
        return child.name() + ": podman: " + podman;
    return child.name() + " " + child.ending();
}

std::string log_of(const Child& child) {
    return child.log().empty() ? "" : "; its log is " + child.log().string();
}

Failure named(const std::string& who, Failure failure) {
    if (!failure.party.empty()) return failure;
    failure.sentence = who + ": " + failure.sentence;
    failure.party = who;
    return failure;
}

Failure failure_of(const Child& child) {
    if (auto said = said_by(child)) return named(child.name(), std::move(*said));
    Failure failure{Errc::internal, end_of(child) + log_of(child)};
    failure.party = child.name();
    return failure;
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

bool spawn_again(const ChildOptions& options, const Restarts& restarts, std::uint64_t at_most,
                 std::string_view since, std::unique_ptr<Child>& child) {
    auto again = Child::spawn(options);
    if (!again) {
        error_line(again.error().sentence);
        return false;
    }
    error_line(options.name + " " + child->ending() + " and is started again (" +
               std::to_string(restarts.count()) + " of at most " + std::to_string(at_most) +
               " times " + std::string(since) + ")");
    child = std::make_unique<Child>(std::move(*again));
    return true;
}

void Restarts::restore(std::uint64_t count, std::uint64_t progress) noexcept {
    count_ = count;
    progress_ = progress;
}

}  // namespace vflbus::cli
