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

/// What is new of one list of a run; {"run_id", "from", `what`: [...]}.
void add_news(std::string& out, std::string_view name, const RunId& run, std::string_view what,
              const GrowingList& list, GrowingList::Heard& heard) {
    const auto news = list.tell(heard);
    if (!news) return;
    add_event(out, name,
              JsonObject()
                  .add("run_id", run.hex())
                  .add("from", news->from)
                  .add_json(what, json_array(news->entries))
                  .text());
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
        GrowingList::Heard metrics;
        GrowingList::Heard losses;
        GrowingList::Heard log;
    };

    void tell(std::string& out, const RunId& run, const RunText& text) {
        Seen& seen = seen_of_[run];
        if (seen.facts != text.facts) {
            seen.facts = text.facts;
            add_event(out, "run", seen.facts);
        }
        add_news(out, "metrics", run, "entries", text.metrics, seen.metrics);
        add_news(out, "losses", run, "points", text.losses, seen.losses);
        add_news(out, "log", run, "lines", text.log, seen.log);
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
            const auto told = [this](const RunId& run) { return texts_.contains(run); };
            if (!std::ranges::all_of(wanted.curves, told) ||
                !std::ranges::all_of(wanted.details, told))
                shown = 0;
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
    if (run->metrics.size() < text.metrics.count()) text.metrics.begin_afresh();
    for (std::size_t i = text.metrics.count(); i < run->metrics.size(); ++i)
        text.metrics.add(to_json(run->metrics[i]));
    if (text.losses_thinned != run->losses_thinned || run->losses.size() < text.losses.count())
        text.losses.begin_afresh();
    text.losses_thinned = run->losses_thinned;
    for (std::size_t i = text.losses.count(); i < run->losses.size(); ++i)
        text.losses.add(point_json(run->losses[i]));
    // where a broker comes back, parties tell in place of the files here, from the first line on
    if (std::exchange(text.of_files, run->local) != run->local || run->log_lines < text.log_lines) {
        text.log.begin_afresh();
        text.log_lines = 0;
    }
    const std::size_t fresh =
        std::min<std::uint64_t>(run->log_lines - text.log_lines, run->log.size());
    text.log_lines = run->log_lines;
    for (auto line = run->log.end() - static_cast<std::ptrdiff_t>(fresh); line != run->log.end();
         ++line)
        text.log.add(json_array({json_string(line->party), json_string(line->text)}));
}

}  // namespace vflbus::cli
