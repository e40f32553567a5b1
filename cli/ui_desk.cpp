#include "ui_desk.hpp"

#include <algorithm>
#include <chrono>
#include <future>
#include <set>
#include <utility>

#include "live_json.hpp"
#include "output.hpp"

namespace vflbus::cli {
namespace {

using std::chrono::milliseconds;

/// As server-sent events have it; JSON of ours has no line ends.
void add_event(std::string& out, std::string_view name, const std::string& data) {
    out += "event: ";
    out += name;
    out += "\ndata: ";
    out += data;
    out += "\n\n";
}

std::string joined_from(const std::vector<std::string>& all, std::size_t from) {
    return json_array(
        {all.begin() + static_cast<std::ptrdiff_t>(std::min(from, all.size())), all.end()});
}

}  // namespace

// -- one page -----------------------------------------------------------------------

class UiDesk::Page final : public observers::HttpEvents {
  public:
    Page(UiDesk& desk, std::vector<RunId> curves, std::vector<RunId> details)
        : desk_(desk), curves_(std::move(curves)), details_(std::move(details)) {
        const std::lock_guard lock(desk_.mutex_);
        ++desk_.pages_;
        for (const RunId& run : curves_) ++desk_.curves_[run];
        for (const RunId& run : details_) ++desk_.details_[run];
        desk_.changed_.notify_all();
    }
    ~Page() override {
        const std::lock_guard lock(desk_.mutex_);
        --desk_.pages_;
        const auto less = [](std::map<RunId, int>& all, const RunId& run) {
            if (--all[run] == 0) all.erase(run);
        };
        for (const RunId& run : curves_) less(desk_.curves_, run);
        for (const RunId& run : details_) less(desk_.details_, run);
    }

    bool next(std::string& out) override {
        std::unique_lock lock(desk_.mutex_);
        desk_.changed_.wait_for(lock, milliseconds(1000),
                                [this] { return desk_.ending_ || desk_.version_ != seen_; });
        if (desk_.ending_) return false;
        if (desk_.version_ == seen_) return true;
        seen_ = desk_.version_;
        if (overview_ != desk_.overview_) {
            overview_ = desk_.overview_;
            add_event(out, "overview", overview_);
        }
        for (const auto* const runs : {&curves_, &details_})
            for (const RunId& run : *runs)
                if (const auto found = desk_.texts_.find(run); found != desk_.texts_.end())
                    tell(out, run, found->second);
        return true;
    }

  private:
    struct Seen {
        std::string facts;
        std::size_t metrics = 0;
        std::uint64_t metrics_begun = 0;
        std::size_t losses = 0;
        std::uint64_t losses_thinned = 0;
        std::uint64_t log_lines = 0;
    };

    void tell(std::string& out, const RunId& run, const RunText& text) {
        Seen& seen = seen_of_[run];
        const std::string id = json_string(run.hex());
        if (seen.facts != text.facts) {
            seen.facts = text.facts;
            add_event(out, "run", seen.facts);
        }
        const bool afresh =
            seen.metrics_begun != text.metrics_begun || seen.metrics > text.metrics.size();
        if (afresh) seen.metrics = 0;
        if (afresh || seen.metrics < text.metrics.size())
            add_event(out, "metrics",
                      JsonObject()
                          .add_json("run_id", id)
                          .add("from", std::uint64_t{seen.metrics})
                          .add_json("entries", joined_from(text.metrics, seen.metrics))
                          .text());
        seen.metrics = text.metrics.size();
        seen.metrics_begun = text.metrics_begun;
        if (seen.losses_thinned != text.losses_thinned || seen.losses > text.losses.size())
            seen.losses = 0;
        if (seen.losses < text.losses.size())
            add_event(out, "losses",
                      JsonObject()
                          .add_json("run_id", id)
                          .add("from", std::uint64_t{seen.losses})
                          .add_json("points", joined_from(text.losses, seen.losses))
                          .text());
        seen.losses = text.losses.size();
        seen.losses_thinned = text.losses_thinned;
        if (seen.log_lines < text.log_lines && !text.log.empty()) {
            const std::size_t fresh =
                std::min<std::uint64_t>(text.log_lines - seen.log_lines, text.log.size());
            std::vector<std::string> lines(text.log.end() - static_cast<std::ptrdiff_t>(fresh),
                                           text.log.end());
            add_event(
                out, "log",
                JsonObject().add_json("run_id", id).add_json("lines", json_array(lines)).text());
        }
        seen.log_lines = text.log_lines;
    }

    UiDesk& desk_;
    std::vector<RunId> curves_;
    std::vector<RunId> details_;
    std::uint64_t seen_ = 0;
    std::string overview_;
    std::map<RunId, Seen> seen_of_;
};

// -- the desk -----------------------------------------------------------------------

UiDesk::UiDesk(config::Config config, const bus::StopSignal& stop)
    : stop_(stop), live_(std::move(config), stop), thread_([this] { work(); }) {}

UiDesk::~UiDesk() {
    end();
    thread_.join();
}

void UiDesk::end() {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
}

std::unique_ptr<observers::HttpEvents> UiDesk::open(std::vector<RunId> curves,
                                                    std::vector<RunId> details) {
    return std::make_unique<Page>(*this, std::move(curves), std::move(details));
}

Failure UiDesk::stop(const RunId& run) {
    // shared with the thread, which may answer when nobody waits any more
    const auto told = std::make_shared<std::promise<Failure>>();
    auto answer = told->get_future();
    {
        const std::lock_guard lock(mutex_);
        stops_.push_back({run, [told](const Failure& failure) { told->set_value(failure); }});
        changed_.notify_all();
    }
    if (answer.wait_for(std::chrono::seconds(10)) != std::future_status::ready)
        return {Errc::timed_out,
                "its owner has not answered in time; it may have heard, and stop "
                "the run still"};
    return answer.get();
}

void UiDesk::work() {
    std::uint64_t shown = 0;
    bool first = true;
    for (;;) {
        Live::Wanted wanted;
        std::deque<StopAsked> stops;
        {
            std::unique_lock lock(mutex_);
            changed_.wait_for(lock, milliseconds(500), [this] {
                return ending_ || pages_ > 0 || !stops_.empty() || live_.is_stopping();
            });
            if (ending_ || stop_.stopped()) return;
            for (const auto& [run, pages] : curves_) wanted.curves.insert(run);
            for (const auto& [run, pages] : details_) wanted.details.insert(run);
            stops.swap(stops_);
            if (pages_ == 0 && stops.empty() && !first && !live_.is_stopping()) continue;
        }
        first = false;
        live_.want(wanted);
        for (StopAsked& one : stops)
            live_.stop_run(one.run, "stopped in `vflbus ui`", one.answered);
        live_.turn(milliseconds(100));
        {
            // a page that has just been opened wants to hear of runs that did not change
            const std::lock_guard lock(mutex_);
            std::erase_if(texts_, [&](const auto& entry) {
                return !wanted.curves.contains(entry.first) &&
                       !wanted.details.contains(entry.first);
            });
            for (const RunId& run : wanted.curves) shown = texts_.contains(run) ? shown : 0;
            for (const RunId& run : wanted.details) shown = texts_.contains(run) ? shown : 0;
        }
        if (live_.changes() == shown) continue;
        shown = live_.changes();
        publish();
    }
}

void UiDesk::publish() {
    std::string overview = overview_json(live_);
    const std::lock_guard lock(mutex_);
    overview_ = std::move(overview);
    std::set<RunId> runs;
    for (const auto& [run, pages] : curves_) runs.insert(run);
    for (const auto& [run, pages] : details_) runs.insert(run);
    for (const RunId& run : runs) publish_run(run);
    ++version_;
    changed_.notify_all();
}

/// Called with the lock.
void UiDesk::publish_run(const RunId& id) {
    const LiveRun* const run = live_.find(id);
    if (run == nullptr) return;
    RunText& text = texts_[id];
    text.facts = facts_json(*run);
    if (run->metrics.size() < text.metrics.size()) {
        text.metrics.clear();
        ++text.metrics_begun;
    }
    for (std::size_t i = text.metrics.size(); i < run->metrics.size(); ++i)
        text.metrics.push_back(to_json(run->metrics[i]));
    if (text.losses_thinned != run->losses_thinned || run->losses.size() < text.losses.size())
        text.losses.clear();
    text.losses_thinned = run->losses_thinned;
    for (std::size_t i = text.losses.size(); i < run->losses.size(); ++i)
        text.losses.push_back(point_json(run->losses[i]));
    const std::size_t fresh =
        std::min<std::uint64_t>(run->log_lines - text.log_lines, run->log.size());
    for (auto line = run->log.end() - static_cast<std::ptrdiff_t>(fresh); line != run->log.end();
         ++line)
        text.log.push_back(json_array({json_string(line->party), json_string(line->text)}));
    while (text.log.size() > live_log_lines_max) text.log.pop_front();
    text.log_lines = run->log_lines;
}

}  // namespace vflbus::cli
