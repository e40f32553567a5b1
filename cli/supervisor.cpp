#include "supervisor.hpp"

#include <poll.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "base/assert.hpp"
#include "base/files.hpp"

namespace vflbus::cli {
namespace {

constexpr auto wait_at_most = std::chrono::milliseconds(1000);
/// Kernels before 5.3 do not tell by a descriptor that a process has ended.
constexpr auto wait_without_pidfd = std::chrono::milliseconds(20);
constexpr auto address_is_freed_after = std::chrono::milliseconds(200);

}  // namespace

// -- restarts -----------------------------------------------------------------------

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

std::string restarted_text(const std::string& what, std::uint64_t times) {
    if (times == 0) return {};
    return " after " + what + " had been started again " + std::to_string(times) +
           (times == 1 ? " time" : " times") + " without a newer commit (bus.restarts_max)";
}

// -- starting -----------------------------------------------------------------------

Supervised::Supervised(ChildOptions options, RestartRule rule, Child child)
    : options_(std::move(options)),
      rule_(std::move(rule)),
      child_(std::make_unique<Child>(std::move(child))) {}

Result<Supervised*> Supervisor::start(ChildOptions options, RestartRule rule) {
    auto child = Child::spawn(options);
    if (!child) return tl::unexpected(child.error());
    places_.push_back(std::unique_ptr<Supervised>(
        new Supervised(std::move(options), std::move(rule), std::move(*child))));
    return places_.back().get();
}

bool Supervisor::start_again(Supervised& place) {
    VFLBUS_ASSERT(!place.running(), "a child is started again only when it has ended");
    const RestartRule& rule = place.rule_;
    const Child& child = *place.child_;
    const bool address_taken =
        child.by_signal() == 0 && place.restarts_.ever() > 0 &&
        std::ranges::find(rule.address_taken, child.exit_status()) != rule.address_taken.end();
    const bool as_by_signal =
        child.by_signal() != 0 ||
        std::ranges::find(rule.also_after, child.exit_status()) != rule.also_after.end();
    if (!as_by_signal && !address_taken) return false;
    remove_unfinished_files(place);
    if (!place.restarts_.again(rule.at_most, rule.progress ? rule.progress() : 0)) return false;
    if (address_taken) wait(Clock::now() + address_is_freed_after);
    if (rule.arguments) place.options_.arguments = rule.arguments();
    const auto say = [&](const std::string& text) {
        if (rule.say) rule.say(text);
    };
    auto again = Child::spawn(place.options_);
    if (!again) {
        say(again.error().sentence);
        return false;
    }
    say(place.name() + " " + child.ending() + " and is started again (" +
        std::to_string(place.restarts_.count()) + " of at most " + std::to_string(rule.at_most) +
        " times " + std::string(rule.since) + ")");
    place.child_ = std::make_unique<Child>(std::move(*again));
    return true;
}

void Supervisor::remove_unfinished_files(const Supervised& place) {
    for (const std::filesystem::path& directory : place.rule_.files)
        remove_unfinished(directory, place.rule_.pid_inside.value_or(place.child_->pid()));
}

// -- waiting ------------------------------------------------------------------------

void Supervisor::wait(Clock::time_point until, int also) {
    std::vector<pollfd> fds;
    if (also >= 0) fds.push_back({also, POLLIN, 0});
    bool without_pidfd = false;
    for (const auto& place : places_) {
        const Child& child = *place->child_;
        if (child.output_fd() >= 0) fds.push_back({child.output_fd(), POLLIN, 0});
        if (!child.running()) continue;
        if (child.end_fd() >= 0) fds.push_back({child.end_fd(), POLLIN, 0});
        without_pidfd = without_pidfd || child.end_fd() < 0;
    }
    auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    left = std::clamp(left, std::chrono::milliseconds(0), wait_at_most);
    if (without_pidfd) left = std::min(left, wait_without_pidfd);
    ::poll(fds.data(), static_cast<nfds_t>(fds.size()), static_cast<int>(left.count()));
    look();
}

void Supervisor::look() {
    for (const auto& place : places_) {
        place->child_->read_output();
        place->child_->reap();
    }
}

// -- ending -------------------------------------------------------------------------

void Supervisor::end(const Group& group, Clock::duration patience) {
    for (const Supervised* place : group) place->signal(SIGTERM);
    wait_for([&] { return !any_running(group); }, patience);
    for (const Supervised* place : group) place->signal(SIGKILL);
    while (any_running(group)) wait(Clock::now() + wait_at_most);
}

void Supervisor::forget(const Supervised& place) {
    std::erase_if(places_, [&](const auto& one) { return one.get() == &place; });
}

Supervisor::Group Supervisor::all() const {
    Group group;
    for (const auto& place : places_) group.push_back(place.get());
    return group;
}

bool any_running(const Supervisor::Group& group) {
    return std::ranges::any_of(group, [](const Supervised* place) { return place->running(); });
}

}  // namespace vflbus::cli
