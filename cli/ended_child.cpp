#include "ended_child.hpp"

#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/files.hpp"
#include "base/text.hpp"
#include "output.hpp"

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

/// The last line of its log, when that is a sentence that begins so; empty when it is not.
std::string last_line(const Child& child, std::string_view begin) {
    if (child.log().empty()) return {};
    const auto log = read_file(child.log());
    if (!log) return {};
    std::string_view text = trim(*log);
    text = text.substr(text.rfind('\n') + 1);
    return text.starts_with(begin) ? std::string(text.substr(begin.size())) : std::string();
}

bool begins_with_member(std::string_view sentence) {
    constexpr std::string_view member = "member-";
    if (!sentence.starts_with(member)) return false;
    const std::size_t end = sentence.find_first_not_of("0123456789", member.size());
    return end != member.size() && begins_with_name(sentence, sentence.substr(0, end));
}

}  // namespace

std::string said_by(const Child& child) {
    const auto said = nlohmann::json::parse(child.output(), nullptr, false);
    if (said.is_object() && said.contains("reason") && said["reason"].is_string())
        if (auto reason = said["reason"].get<std::string>(); !reason.empty()) return reason;
    // a process that was killed said nothing; what is there is of those before it
    return child.by_signal() != 0 ? std::string() : last_line(child, "vflbus: ");
}

std::string end_of(const Child& child) {
    if (const std::string podman = last_line(child, "Error: "); !podman.empty())
        return child.name() + ": podman: " + podman;
    return child.name() + " " + child.ending();
}

std::string log_of(const Child& child) {
    return child.log().empty() ? "" : "; its log is " + child.log().string();
}

std::string named(const std::string& who, const std::string& sentence) {
    const bool by_itself = begins_with_name(sentence, who) ||
                           begins_with_name(sentence, "master") || begins_with_member(sentence);
    return by_itself ? sentence : who + ": " + sentence;
}

Failure failure_of(const Child& child) {
    const std::string said = said_by(child);
    return {code_of(child),
            said.empty() ? end_of(child) + log_of(child) : named(child.name(), said)};
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
