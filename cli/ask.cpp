#include "ask.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>

#include "base/clock.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "output.hpp"
#include "settings.hpp"
#include "version.hpp"
#include "wall_clock.hpp"

namespace vflbus::cli {
namespace {

constexpr Duration connect_patience = std::chrono::seconds(3);
constexpr Duration answer_patience = std::chrono::seconds(5);

std::tm utc(std::uint64_t ms) {
    const auto whole = static_cast<std::time_t>(ms / 1000);
    std::tm tm{};
    ::gmtime_r(&whole, &tm);
    return tm;
}

/// Whether nobody listens at an address of this machine, which its kernel says at once. ZeroMQ goes
/// on trying, and would have us wait.
bool surely_nobody(const std::string& address) {
    constexpr std::string_view tcp = "tcp://127.0.0.1:";
    if (!address.starts_with(tcp)) return false;
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(std::atoi(address.c_str() + tcp.size())));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    const bool refused = ::connect(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 &&
                         errno == ECONNREFUSED;
    ::close(fd);
    return refused;
}

Failure nobody_answers(const config::Config& config, const std::string& why) {
    return {Errc::unreachable,
            "no broker answers at " + config.bus.broker +
                (why.empty() ? "; is one running there? Another address: --broker" : ": " + why)};
}

}  // namespace

Result<Asker> Asker::connect(const config::Config& config, const bus::StopSignal& stop,
                             bool* turned_away) {
    if (surely_nobody(config.bus.broker)) return tl::unexpected(nobody_answers(config, {}));
    Asker asker;
    asker.stop_ = &stop;
    asker.context_ = bus::make_context();
    const std::uint64_t instance = random_u64();
    bus::KeySource keys = key_source(config);
    std::string name = "ask";
    if (keys.given()) {
        auto own = bus::asking_key(keys);
        if (!own) return tl::unexpected(own.error());
        keys.name = name = std::move(*own);
    }
    char suffix[32];
    std::snprintf(suffix, sizeof suffix, "-%016llx", static_cast<unsigned long long>(instance));
    bus::LinkConfig link = link_config(config, {name + suffix,
                                                "node",
                                                -1,
                                                wall_now_ms(),
                                                instance,
                                                version_text,
                                                {std::string(bus::feature_asks)}});
    auto loop =
        bus::LinkLoop::create(asker.context_, config.bus.broker, std::move(link), std::move(keys));
    if (!loop) return tl::unexpected(loop.error());
    asker.loop_ = std::move(*loop);
    asker.loop_->start();
    const TimePoint until = clock_now() + connect_patience;
    while (!asker.loop_->core().up()) {
        asker.poll(std::min(until, clock_now() + std::chrono::milliseconds(100)));
        if (asker.fatal_) return tl::unexpected(*asker.fatal_);
        if (stop.stopped()) return fail(Errc::cancelled, "interrupted");
        if (clock_now() < until) continue;
        if (turned_away != nullptr) *turned_away = asker.loop_->turned_away();
        return tl::unexpected(nobody_answers(config, asker.loop_->trouble()));
    }
    return asker;
}

Asker::~Asker() {
    if (!loop_) return;
    loop_->core().bye("done");
    loop_->close();
}

std::vector<Result<bus::Bytes>> Asker::ask(std::vector<Ask> questions) {
    std::vector<Result<bus::Bytes>> answers(questions.size(),
                                            fail(Errc::timed_out, "there was no answer in time"));
    std::map<std::uint64_t, std::size_t> open;
    std::size_t begun = 0;
    while (begun < questions.size() || !open.empty()) {
        for (; begun < questions.size() && open.size() < bus::queries_max; ++begun)
            open[begin(std::move(questions[begun]))] = begun;
        poll(clock_now() + std::chrono::milliseconds(100));
        while (auto answer = next()) {
            const auto found = open.find(answer->number);
            if (found == open.end()) continue;
            answers[found->second] = std::move(answer->body);
            open.erase(found);
        }
        if (!stop_->stopped()) continue;
        for (const auto& [number, index] : open)
            answers[index] = fail(Errc::cancelled, "interrupted");
        for (; begun < questions.size(); ++begun)
            answers[begun] = fail(Errc::cancelled, "interrupted");
        break;
    }
    return answers;
}

Result<bus::Bytes> Asker::ask(Ask question) {
    std::vector<Ask> one;
    one.push_back(std::move(question));
    return std::move(ask(std::move(one))[0]);
}

std::uint64_t Asker::begin(Ask question) {
    const TimePoint now = clock_now();
    return loop_->core().query(question.of, question.run, question.what, std::move(question.body),
                               now + answer_patience, now);
}

void Asker::poll(TimePoint until) {
    loop_->poll(until, stop_);
    bus::LinkEvent event;
    while (loop_->core().next_event(event)) {
        if (const auto* up = std::get_if<bus::LinkUp>(&event)) broker_ = *up;
        if (const auto* fatal = std::get_if<bus::LinkFatal>(&event)) fatal_ = fatal->failure;
    }
}

std::optional<Asker::Answered> Asker::next() {
    bus::AnswerArrived answer;
    if (!loop_->core().next_answer(answer)) return std::nullopt;
    if (answer.error.code != Errc::ok)
        return Answered{answer.number, tl::unexpected(std::move(answer.error))};
    return Answered{answer.number, std::move(answer.body)};
}

bool Asker::connected() const {
    return !fatal_ && loop_->core().up();
}

std::string Asker::trouble() const {
    return fatal_ ? fatal_->sentence : loop_->trouble();
}

bool Asker::pause(Duration duration) {
    const TimePoint until = clock_now() + duration;
    while (clock_now() < until && !stop_->stopped()) poll(until);
    return !stop_->stopped();
}

// -- of the broker -----------------------------------------------------------------

Result<std::vector<bus::RunRow>> Asker::runs(const std::string& status, std::uint64_t limit) {
    const auto body =
        ask({broker_node, {}, bus::Question::runs, bus::encode(bus::RunsQuery{status, limit})});
    if (!body) return tl::unexpected(body.error());
    return bus::decode_run_rows(*body);
}

Result<std::vector<bus::NodeRow>> Asker::nodes(std::uint64_t limit) {
    const auto body = ask({broker_node, {}, bus::Question::nodes, bus::encode_nodes_query(limit)});
    if (!body) return tl::unexpected(body.error());
    return bus::decode_node_rows(*body);
}

Result<bus::RunRow> Asker::run(const std::string& text) {
    if (text.empty() || text.size() > 32 ||
        text.find_first_not_of("0123456789abcdef") != std::string::npos)
        return fail(Errc::usage, "\"" + text +
                                     "\" is no run; say its id, 32 hexadecimal digits, or the "
                                     "first of them");
    const auto body = ask({broker_node, {}, bus::Question::run, bus::encode_run_query(text)});
    if (!body) return tl::unexpected(body.error());
    auto rows = bus::decode_run_rows(*body);
    if (!rows) return tl::unexpected(rows.error());
    if (rows->empty())
        return fail(Errc::unknown_run,
                    "the broker knows no run " + text + "; `vflbus runs` lists those it knows");
    if (rows->size() == 1) return std::move(rows->front());
    std::vector<std::string> ids;
    for (const bus::RunRow& row : *rows) ids.push_back(row.run.hex());
    if (ids.size() > 4) {
        ids.resize(4);
        ids.emplace_back("others");
    }
    return fail(Errc::usage,
                "several runs begin with " + text + ": " + join_and(ids) + "; say more digits");
}

Duration forgotten_after(const config::Config& config) {
    return seconds(config.bus.disconnect_idle_client_time) + seconds(config.bus.rejoin_grace) +
           std::chrono::seconds(10);
}

// -- what rows look like ------------------------------------------------------------

std::string serving_master(const std::string& owner, const RunId& run) {
    const std::string suffix = "-" + run.short_hex();
    if (!owner.ends_with(suffix)) return {};
    return owner.substr(0, owner.size() - suffix.size());
}

std::string time_title(const std::string& what) {
    return output_terminal() ? what : what + " (UTC)";
}

std::string time_text(std::uint64_t ms) {
    if (ms == 0) return "-";
    std::tm tm = utc(ms);
    if (output_terminal()) {
        const auto whole = static_cast<std::time_t>(ms / 1000);
        ::localtime_r(&whole, &tm);
    }
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    return text;
}

std::string time_json(std::uint64_t ms) {
    if (ms == 0) return "";
    const std::tm tm = utc(ms);
    char text[32];
    const std::size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    std::snprintf(text + n, sizeof text - n, ".%03uZ", static_cast<unsigned>(ms % 1000));
    return text;
}

std::string duration_text(const bus::RunRow& row, std::uint64_t now_ms) {
    const bool ended = bus::finished(row.state);
    if (row.started_ms == 0 || (!ended && row.state != bus::RunState::running)) return "-";
    const std::uint64_t end = ended ? row.finished_ms : now_ms;
    if (end < row.started_ms) return "-";
    return human_seconds(static_cast<double>(end - row.started_ms) / 1000);
}

std::string state_text(const bus::RunRow& row) {
    std::string text(bus::name_of(row.state));
    if (row.state == bus::RunState::failed) text += " (" + std::string(name_of(row.code)) + ")";
    return text;
}

JsonObject json_of(const bus::RunRow& row) {
    JsonObject object;
    object.add("run_id", row.run.hex()).add("status", bus::name_of(row.state));
    object.add("reason", row.reason).add("error", row.code == Errc::ok ? "" : name_of(row.code));
    object.add("owner", row.owner).add("role", row.role).add("open", row.open);
    object.add("participants", row.names).add("participants_count", row.participants);
    object.add("created", time_json(row.created_ms)).add("started", time_json(row.started_ms));
    object.add("finished", time_json(row.finished_ms));
    if (row.started_ms != 0 && row.finished_ms >= row.started_ms)
        object.add("seconds", static_cast<double>(row.finished_ms - row.started_ms) / 1000);
    object.add("messages", row.messages).add("bytes", row.bytes);
    object.add("term", std::uint64_t{row.term});
    return object;
}

JsonObject json_of(const bus::NodeRow& row) {
    JsonObject object;
    object.add("name", row.name).add("role", row.role);
    object.add_json("rank", std::to_string(row.rank));
    object.add("status", bus::name_of(row.state)).add("version", row.version);
    object.add("features", row.features).add("first_seen", time_json(row.first_seen_ms));
    object.add("last_seen", time_json(row.last_seen_ms)).add("runs", row.runs);
    object.add("messages", row.messages).add("bytes", row.bytes);
    return object;
}

std::string to_json(const bus::RunRow& row) {
    return json_of(row).text();
}

std::string to_json(const bus::NodeRow& row) {
    return json_of(row).text();
}

}  // namespace vflbus::cli
