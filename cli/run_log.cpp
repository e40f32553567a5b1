#include "run_log.hpp"

#include <algorithm>

#include "base/json.hpp"

namespace vflbus::cli {
namespace {

/// Lines of others wait for a party that does not answer in time, but not for one that hangs.
constexpr int waited_for_most = 2;
constexpr std::size_t time_digits = sizeof "2026-02-03T04:05:06.789Z" - 1;

}  // namespace

std::string_view time_of_line(std::string_view line) {
    if (line.size() <= time_digits || line[4] != '-' || line[10] != 'T' ||
        line[time_digits - 1] != 'Z')
        return {};
    return line.substr(0, time_digits);
}

std::string plain_line(std::string_view line) {
    if (!line.starts_with("{\"time\": ")) return std::string(line);
    const Json object = Json::parse(line);
    const auto text_of = [&object](const char* key) {
        const Json* const found = object.find(key);
        return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
    };
    if (text_of("time").empty()) return std::string(line);
    std::string out = text_of("time") + " " + text_of("level");
    if (const std::string node = text_of("node"); !node.empty()) out += " node=" + node;
    if (const std::string run = text_of("run"); !run.empty()) out += " run=" + run.substr(0, 8);
    if (const Json* const step = object.find("step"); step != nullptr && step->is_number())
        out += " step=" + step->dump();
    return out + " " + text_of("text");
}

RunLogReader::RunLogReader(Asker& asker, const bus::RunRow& row) : asker_(asker), run_(row.run) {
    update(row);
}

void RunLogReader::update(const bus::RunRow& row) {
    const auto add = [&](const std::string& name) {
        const auto [at, fresh] = sources_.try_emplace(name);
        if (fresh) at->second.node = name;
    };
    add(row.owner);
    for (const std::string& name : row.names) add(name);
}

/// Adds to what is held back.
void RunLogReader::ask_all() {
    // who answers from here on gives all lines that are older than the youngest of these
    const std::string known = held_.empty() ? std::string() : held_.back().time;
    std::vector<std::string> parties;
    for (const auto& [party, source] : sources_)
        if (!source.refuses) parties.push_back(party);
    while (!parties.empty()) {
        std::vector<Ask> questions;
        for (const std::string& party : parties)
            questions.push_back({node_id_of(sources_[party].node), run_, bus::Question::log,
                                 bus::encode_from(sources_[party].position)});
        const auto answers = asker_.ask(std::move(questions));
        std::vector<std::string> again;
        for (std::size_t i = 0; i < parties.size(); ++i) {
            Source& source = sources_[parties[i]];
            const auto answer = answers[i]
                                    ? bus::decode_log(*answers[i])
                                    : Result<bus::LogAnswer>(tl::unexpected(answers[i].error()));
            source.trouble.clear();
            if (!answer) {
                // the process of a submitted run is gone with it; who started it has its lines
                const std::string master = serving_master(source.node, run_);
                if (answer.error().code == Errc::unreachable && !master.empty()) {
                    source.node = master;
                    again.push_back(parties[i]);
                    continue;
                }
                source.trouble = answer.error().sentence;
                source.refuses = answer.error().code == Errc::refused ||
                                 answer.error().code == Errc::unknown_message;
                source.missed =
                    answer.error().code == Errc::unreachable ? waited_for_most : source.missed + 1;
                continue;
            }
            anything_ = true;
            source.missed = 0;
            std::string_view text = answer->text;
            while (!text.empty()) {
                const std::size_t end = std::min(text.find('\n'), text.size());
                const std::string line = plain_line(text.substr(0, end));
                text.remove_prefix(std::min(end + 1, text.size()));
                if (const std::string_view time = time_of_line(line); !time.empty())
                    source.last_time = time;
                held_.push_back({source.last_time, {parties[i], line}});
            }
            const bool more = !answer->whole && answer->next > source.position;
            source.position = answer->next;
            if (more)
                again.push_back(parties[i]);
            else
                source.complete_to = known;
        }
        parties = std::move(again);
    }
}

/// Up to which time all lines are known of all parties that may still give some.
std::string RunLogReader::complete_to() const {
    const std::string* least = nullptr;
    for (const auto& [party, source] : sources_)
        if (!source.refuses && source.missed < waited_for_most &&
            (least == nullptr || source.complete_to < *least))
            least = &source.complete_to;
    return least == nullptr ? std::string() : *least;
}

std::vector<LogLine> RunLogReader::read(bool last) {
    ask_all();
    const std::string until = complete_to();
    std::stable_sort(held_.begin(), held_.end(),
                     [](const TimedLine& a, const TimedLine& b) { return a.time < b.time; });
    const auto end = last ? held_.end()
                          : std::upper_bound(held_.begin(), held_.end(), until,
                                             [](const std::string& time, const TimedLine& line) {
                                                 return time < line.time;
                                             });
    std::vector<LogLine> out;
    for (auto at = held_.begin(); at != end; ++at) out.push_back(std::move(at->line));
    held_.erase(held_.begin(), end);
    return out;
}

std::map<std::string, std::string> RunLogReader::missing() const {
    std::map<std::string, std::string> out;
    for (const auto& [party, source] : sources_)
        if (!source.trouble.empty())
            out[party] = (source.position == 0 ? "no lines of " + party
                                               : "the last lines of " + party + " may be missing") +
                         ": " + source.trouble;
    return out;
}

}  // namespace vflbus::cli
