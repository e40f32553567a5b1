#include "ended_child.hpp"

#include <string_view>

#include "base/files.hpp"
#include "base/text.hpp"
#include "observe/report.hpp"

namespace vflbus::cli {
namespace {

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

}  // namespace vflbus::cli
