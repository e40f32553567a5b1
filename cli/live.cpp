#include "live.hpp"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "base/clock.hpp"
#include "wall_clock.hpp"

namespace vflbus::cli {
namespace {

using std::chrono::milliseconds;

// how often what is looked at
constexpr Duration runs_every = milliseconds(300);
constexpr Duration nodes_every = milliseconds(500);
constexpr Duration status_every = milliseconds(250);
constexpr Duration metrics_every = milliseconds(400);
constexpr Duration timing_every = milliseconds(500);
constexpr Duration log_every = milliseconds(700);
constexpr Duration load_every = milliseconds(2000);
constexpr Duration files_every = milliseconds(2000);
constexpr Duration connect_every = milliseconds(2000);
constexpr Duration refused_every = std::chrono::seconds(30);
constexpr Duration silent_every = std::chrono::seconds(5);
/// It will not be another one.
constexpr Duration not_again = Duration::max();

constexpr std::uint64_t runs_max = 50;
constexpr std::uint64_t nodes_max = 200;
/// The broker lets an asker have bus::queries_max; some are left for those who stop a run.
constexpr std::size_t open_max = bus::queries_max - 4;
constexpr std::size_t line_bytes_max = 1'000;
constexpr double not_known = std::numeric_limits<double>::quiet_NaN();

/// What the files of a run here say, as a broker would.
bus::RunRow row_of(const LocalRun& local) {
    bus::RunRow row;
    row.run = local.run;
    const bool interrupted = local.status == "interrupted";
    row.state = interrupted ? bus::RunState::failed : state_of(local);
    row.reason = interrupted ? local.status : local.report.reason;
    row.owner = row.role = "master";
    for (const observe::PartyReport& party : local.report.parties) row.names.push_back(party.name);
    row.participants = row.names.size();
    row.finished_ms = local.changed_ms;
    const auto took = static_cast<std::uint64_t>(std::max(0.0, local.report.total_seconds) * 1000);
    row.created_ms = row.started_ms = row.finished_ms - std::min(row.finished_ms, took);
    return row;
}

/// Every second point goes when there are too many.
void thin_out(LiveRun& run) {
    if (run.losses.size() < live_points_max) return;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < run.losses.size(); i += 2) run.losses[kept++] = run.losses[i];
    run.losses.resize(kept);
    ++run.losses_thinned;
}

}  // namespace

Live::Live(config::Config config, const bus::StopSignal& stop)
    : config_(std::move(config)), stop_(stop) {}

std::string Live::broker_version() const {
    return asker_ && trouble_.empty() ? asker_->broker().broker_version : std::string();
}

bool Live::settled() const {
    return asker_ && !rows_fresh_ && !due_.empty() &&
           std::ranges::all_of(due_, [](const auto& entry) {
               return !entry.second.wanted || entry.second.at != TimePoint{};
           });
}

const LiveRun* Live::find(const RunId& run) const {
    const auto found = runs_.find(run);
    return found == runs_.end() ? nullptr : &found->second;
}

// -- a turn -------------------------------------------------------------------------

void Live::turn(Duration patience) {
    const TimePoint until = clock_now() + patience;
    if (!connect()) {
        look_at_files();
        pollfd stopped{stop_.fd(), POLLIN, 0};
        (void)::poll(&stopped, 1,
                     static_cast<int>(std::chrono::duration_cast<milliseconds>(patience).count()));
        return;
    }
    if (asker_->connected() != trouble_.empty()) {
        ++changes_;
        trouble_ = asker_->connected() ? ""
                                       : "the broker at " + config_.bus.broker +
                                             " does not answer: " + asker_->trouble();
    }
    want_all();
    ask_due(clock_now());
    asker_->poll(until);
    while (auto answer = asker_->next()) {
        if (const auto stopped = stops_.find(answer->number); stopped != stops_.end()) {
            stopped->second(answer->body ? Failure{Errc::ok, {}} : answer->body.error());
            stops_.erase(stopped);
            continue;
        }
        const auto found = open_.find(answer->number);
        if (found == open_.end()) continue;
        const Open open = found->second;
        open_.erase(found);
        heard(open, std::move(answer->body));
    }
}

bool Live::connect() {
    if (asker_) return true;
    const TimePoint now = clock_now();
    if (now < connect_at_) return false;
    auto asker = Asker::connect(config_, stop_);
    connect_at_ = clock_now() + connect_every;
    if (!asker) {
        if (trouble_ != asker.error().sentence) ++changes_;
        trouble_ = asker.error().sentence;
        return false;
    }
    asker_.emplace(std::move(*asker));
    trouble_.clear();
    runs_.clear();
    order_.clear();
    ++changes_;
    return true;
}

/// Without a broker, what lies here is all that there is.
void Live::look_at_files() {
    const TimePoint now = clock_now();
    if (now < files_at_) return;
    files_at_ = now + files_every;
    std::vector<LocalRun> locals = local_runs(config_.output.runs_dir);
    if (locals.size() > runs_max) locals.resize(runs_max);
    nodes_.clear();
    order_.clear();
    for (const LocalRun& local : locals) {
        LiveRun& run = runs_[local.run];
        Told told = told_by_files(local);
        run.row = row_of(local);
        run.local = true;
        if (told.status) run.status = *told.status;
        if (told.configuration) run.configuration = *told.configuration;
        if (told.metrics && told.metrics->size() != run.metrics.size())
            run.metrics = std::move(*told.metrics);
        if (wanted_.details.contains(local.run) && run.log.empty())
            for (const LocalLogLine& line : local_log(local)) {
                if (run.log.size() == live_log_lines_max) run.log.erase(run.log.begin());
                run.log.push_back({line.party, line.text.substr(0, line_bytes_max)});
                ++run.log_lines;
            }
        order_.push_back(local.run);
    }
    ++changes_;
}

// -- asking -------------------------------------------------------------------------

void Live::want_item(const Key& key, Item item) {
    Due& due = due_[key];
    due.wanted = true;
    due.item = std::move(item);
}

void Live::want_all() {
    for (auto& [key, due] : due_) due.wanted = false;
    rows_fresh_ = false;
    want_item("runs", {broker_node,
                       {},
                       bus::Question::runs,
                       bus::encode(bus::RunsQuery{"", runs_max}),
                       "broker"});
    want_item(
        "nodes",
        {broker_node, {}, bus::Question::nodes, bus::encode_nodes_query(nodes_max), "broker"});
    for (const RunId& run : order_) want_run(runs_.at(run));
    for (const LiveNode& node : nodes_)
        if (node.row.state == bus::NodeState::up)
            want_item("load " + node.row.name, {node_id_of(node.row.name),
                                                {},
                                                bus::Question::load,
                                                bus::encode_empty(),
                                                node.row.name});
    std::erase_if(due_,
                  [](const auto& entry) { return !entry.second.wanted && !entry.second.open; });
}

std::string Live::owner_of(const LiveRun& run) const {
    return masters_instead_.contains(run.row.run) ? serving_master(run.row.owner, run.row.run)
                                                  : run.row.owner;
}

void Live::want_run(const LiveRun& run) {
    const RunId id = run.row.run;
    const std::string hex = id.hex();
    const std::string owner = owner_of(run);
    const auto of_owner = [&](const char* what, bus::Question question, bus::Bytes body) {
        want_item(what + hex, {node_id_of(owner), id, question, std::move(body), owner});
    };
    of_owner("status ", bus::Question::status, bus::encode_empty());
    const bool details = wanted_.details.contains(id);
    if (details || wanted_.curves.contains(id)) {
        if (run.metrics.size() < live_metrics_max)
            of_owner("metrics ", bus::Question::metrics, bus::encode_from(run.metrics.size()));
        of_owner("configuration ", bus::Question::configuration, bus::encode_empty());
    }
    if (!details) return;
    std::set<std::string> parties(run.row.names.begin(), run.row.names.end());
    parties.insert(run.row.owner);
    for (const std::string& party : parties) {
        const std::string& node = party == run.row.owner ? owner : party;
        LogSource& log = logs_[{id, party}];
        if (!log.refuses)
            want_item("log " + hex + " " + party, {node_id_of(node), id, bus::Question::log,
                                                   bus::encode_from(log.position), party});
        if (!bus::finished(run.row.state))
            want_item("timing " + hex + " " + party,
                      {node_id_of(node), id, bus::Question::timing, bus::encode_empty(), party});
    }
}

/// What is due for longest first; of each node one thing at a time.
void Live::ask_due(TimePoint now) {
    if (!asker_->connected()) return;
    std::vector<std::map<Key, Due>::iterator> all;
    for (auto at = due_.begin(); at != due_.end(); ++at)
        if (at->second.wanted && !at->second.open && at->second.at <= now) all.push_back(at);
    std::sort(all.begin(), all.end(),
              [](const auto& a, const auto& b) { return a->second.at < b->second.at; });
    for (const auto& at : all) {
        if (open_.size() >= open_max) return;
        Due& due = at->second;
        if (due.item.of != broker_node && !busy_.insert(due.item.of).second) continue;
        due.open = true;
        const std::uint64_t number =
            asker_->begin({due.item.of, due.item.run, due.item.what, due.item.body});
        open_[number] = {at->first, now, wall_now_us()};
    }
}

void Live::stop_run(const RunId& run, std::string sentence,
                    std::function<void(const Failure&)> answered) {
    const auto found = runs_.find(run);
    if (!asker_ || found == runs_.end() || found->second.local)
        return answered({Errc::unknown_run, "no broker here knows that run"});
    if (bus::finished(found->second.row.state))
        return answered({Errc::run_ended, "run " + run.short_hex() + " is over already"});
    if (stops_.size() + open_.size() >= bus::queries_max)
        return answered({Errc::too_many, "several runs are being stopped; try again"});
    stops_[asker_->begin({node_id_of(owner_of(found->second)), run, bus::Question::stop,
                          bus::encode_text(sentence)})] = std::move(answered);
}

// -- answers ------------------------------------------------------------------------

void Live::heard(const Open& open, Result<bus::Bytes> body) {
    const auto found = due_.find(open.key);
    if (found == due_.end()) return;
    Due& due = found->second;
    due.open = false;
    busy_.erase(due.item.of);
    const Item item = due.item;  // rows that come may take it away
    const Duration again = body ? take(open, item, *body) : failed(item, body.error());
    const TimePoint now = clock_now();
    const auto still = due_.find(open.key);
    if (still != due_.end()) still->second.at = again == not_again ? TimePoint::max() : now + again;
}

Duration Live::take(const Open& open, const Item& item, const bus::Bytes& body) {
    switch (item.what) {
        case bus::Question::runs: {
            auto rows = bus::decode_run_rows(body);
            return rows ? take_rows(std::move(*rows)) : silent_every;
        }
        case bus::Question::nodes:
            return take_nodes(body);
        case bus::Question::load:
            take_load(open, item.name, body);
            return load_every;
        default:
            break;
    }
    const auto found = runs_.find(item.run);
    if (found == runs_.end()) return not_again;
    LiveRun& run = found->second;
    switch (item.what) {
        case bus::Question::status:
            return take_status(run, body);
        case bus::Question::metrics:
            return take_metrics(run, body);
        case bus::Question::log:
            return take_log(run, item.name, body);
        case bus::Question::configuration:
            if (auto text = bus::decode_text(body)) run.configuration = std::move(*text);
            ++changes_;
            return not_again;
        case bus::Question::timing:
            if (auto told = bus::decode_timing(body)) {
                const std::uint64_t middle = open.asked_us + (wall_now_us() - open.asked_us) / 2;
                const auto ahead =
                    static_cast<std::int64_t>(told->now_us) - static_cast<std::int64_t>(middle);
                run.timing[item.name] = {std::move(*told), ahead};
                ++changes_;
            }
            return timing_every;
        default:
            return not_again;
    }
}

Duration Live::take_rows(std::vector<bus::RunRow> rows) {
    std::set<RunId> there;
    std::vector<RunId> order;
    bool changed = false;
    for (bus::RunRow& row : rows) {
        there.insert(row.run);
        order.push_back(row.run);
        LiveRun& run = runs_[row.run];
        if (run.row == row) continue;
        changed = true;
        // its last words are asked for once more, and those of one that goes on again from now on
        if (run.row.state != row.state || run.row.owner != row.owner) {
            const std::string hex = row.run.hex();
            for (auto& [key, due] : due_)
                if (key.find(hex) != std::string::npos && !due.open) due.at = {};
            masters_instead_.erase(row.run);
        }
        run.row = std::move(row);
    }
    if (order != order_) changed = true;
    order_ = std::move(order);
    std::erase_if(runs_, [&](const auto& entry) { return !there.contains(entry.first); });
    std::erase_if(logs_, [&](const auto& entry) { return !there.contains(entry.first.first); });
    if (changed) ++changes_;
    rows_fresh_ = rows_fresh_ || changed;
    return runs_every;
}

Duration Live::take_nodes(const bus::Bytes& body) {
    auto rows = bus::decode_node_rows(body);
    if (!rows) return silent_every;
    std::vector<LiveNode> nodes;
    std::set<std::string> there;
    for (bus::NodeRow& row : *rows) {
        there.insert(row.name);
        LiveNode node{std::move(row), not_known, not_known, 0, {}};
        show_load(node);
        nodes.push_back(std::move(node));
    }
    std::erase_if(loads_, [&](const auto& entry) { return !there.contains(entry.first); });
    rows_fresh_ = rows_fresh_ || nodes.size() != nodes_.size();
    nodes_ = std::move(nodes);
    ++changes_;
    return nodes_every;
}

/// What the node has told of its load, if it is there.
void Live::show_load(LiveNode& node) const {
    const auto load = loads_.find(node.row.name);
    if (load == loads_.end() || node.row.state != bus::NodeState::up) return;
    node.latency = load->second.latency;
    node.cpu = load->second.cpu;
    node.memory_bytes = load->second.last.memory_bytes;
    node.trouble = load->second.trouble;
}

void Live::take_load(const Open& open, const std::string& name, const bus::Bytes& body) {
    const auto told = bus::decode_load(body);
    if (!told) return;
    const auto [at, fresh] = loads_.try_emplace(name, Load{*told, not_known, not_known, {}});
    Load& load = at->second;
    const std::uint64_t lives_ms =
        told->now_us / 1000 - std::min(told->now_us / 1000, told->started_ms);
    // at first what it has used since it began
    if (fresh && lives_ms > 0)
        load.cpu = static_cast<double>(told->cpu_ms) / static_cast<double>(lives_ms);
    if (!fresh && told->started_ms == load.last.started_ms && told->now_us > load.last.now_us &&
        told->cpu_ms >= load.last.cpu_ms)
        load.cpu = static_cast<double>(told->cpu_ms - load.last.cpu_ms) * 1000 /
                   static_cast<double>(told->now_us - load.last.now_us);
    load.last = *told;
    load.trouble.clear();
    load.latency = std::chrono::duration<double>(clock_now() - open.asked).count();
    for (LiveNode& node : nodes_)
        if (node.row.name == name) show_load(node);
    ++changes_;
}

Duration Live::take_status(LiveRun& run, const bus::Bytes& body) {
    const auto status = bus::decode_status(body);
    if (!status) return silent_every;
    run.trouble.clear();
    if (!run.status || !(*run.status == *status)) ++changes_;
    const bool new_step = !run.status || run.status->step != status->step || run.losses.empty();
    run.status = *status;
    if (new_step && std::isfinite(status->loss) && status->step > 0) {
        // a recovery takes steps back
        while (!run.losses.empty() && run.losses.back().first >= status->step)
            run.losses.pop_back();
        run.losses.emplace_back(status->step, status->loss);
        thin_out(run);
    }
    return bus::finished(run.row.state) ? not_again : status_every;
}

Duration Live::take_metrics(LiveRun& run, const bus::Bytes& body) {
    auto answer = bus::decode_metrics(body);
    if (!answer) return silent_every;
    if (answer->total < run.metrics.size()) {
        run.metrics.clear();  // taken back, or another process tells it
        ++changes_;
        return Duration{};
    }
    if (!answer->entries.empty()) ++changes_;
    for (bus::MetricEntry& entry : answer->entries) run.metrics.push_back(std::move(entry));
    if (run.metrics.size() < answer->total && !answer->entries.empty()) return Duration{};
    return bus::finished(run.row.state) ? not_again : metrics_every;
}

Duration Live::take_log(LiveRun& run, const std::string& party, const bus::Bytes& body) {
    const auto answer = bus::decode_log(body);
    if (!answer) return silent_every;
    run.log_missing.erase(party);
    LogSource& source = logs_[{run.row.run, party}];
    const bool more = !answer->whole && answer->next > source.position;
    source.position = answer->next;
    std::size_t begin = 0;
    while (begin < answer->text.size()) {
        const std::size_t end = std::min(answer->text.find('\n', begin), answer->text.size());
        run.log.push_back(
            {party, plain_line(std::string_view(answer->text).substr(begin, end - begin))
                        .substr(0, line_bytes_max)});
        ++run.log_lines;
        begin = end + 1;
    }
    if (begin > 0) ++changes_;
    if (run.log.size() > live_log_lines_max)
        run.log.erase(run.log.begin(),
                      run.log.end() - static_cast<std::ptrdiff_t>(live_log_lines_max));
    if (more) return Duration{};
    return bus::finished(run.row.state) ? not_again : log_every;
}

Duration Live::failed(const Item& item, const Failure& failure) {
    ++changes_;
    const bool refused = failure.code == Errc::refused || failure.code == Errc::unknown_message;
    if (item.what == bus::Question::load) {
        const auto [at, fresh] =
            loads_.try_emplace(item.name, Load{{}, not_known, not_known, failure.sentence});
        at->second.trouble = failure.sentence;
        return refused ? refused_every : silent_every;
    }
    const auto found = runs_.find(item.run);
    if (found == runs_.end()) return silent_every;
    LiveRun& run = found->second;
    // the process of a submitted run is gone with it; the master answers in its place
    if (failure.code == Errc::unreachable && item.name == run.row.owner &&
        !serving_master(run.row.owner, item.run).empty() &&
        masters_instead_.insert(item.run).second)
        return Duration{};
    if (item.what == bus::Question::log) {
        run.log_missing[item.name] = failure.sentence;
        logs_[{item.run, item.name}].refuses = refused;
    }
    if (item.what == bus::Question::status) {
        run.trouble = failure.sentence;
        read_files_of(run);
    }
    if (bus::finished(run.row.state) && failure.code == Errc::unreachable) return refused_every;
    return refused ? refused_every : silent_every;
}

/// The owner is gone; it may have been of this machine.
void Live::read_files_of(LiveRun& run) {
    Told told = told_by_files(config_, run.row);
    if (told.status) run.status = *told.status;
    if (told.configuration) run.configuration = std::move(*told.configuration);
    if (told.metrics && told.metrics->size() > run.metrics.size())
        run.metrics = std::move(*told.metrics);
}

}  // namespace vflbus::cli
