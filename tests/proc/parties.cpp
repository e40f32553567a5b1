#include "parties.hpp"

#include <stdexcept>

namespace proc {

Words with(Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

Words launch(const TempDir& dir, const std::string& runs, const Words& more) {
    return with(with({"launch", "--local", "--config", "run.toml", "--json", "--run-id", run_id,
                      "--set", "output.runs_dir=" + dir / runs},
                     long_enough),
                more);
}

Words resume(const TempDir& dir, const std::string& runs, const Words& more) {
    return with({"launch", "--local", "--json", "--resume", run_id.substr(0, 6), "--set",
                 "output.runs_dir=" + dir / runs},
                more);
}

fs::path run_dir(const TempDir& dir, const std::string& runs) {
    return fs::path(dir / runs) / run_id;
}

const Models& undisturbed(const Words& more) {
    static std::map<Words, Models> made;
    const auto found = made.find(more);
    if (found != made.end()) return found->second;
    const TempDir dir;
    make_example(dir);
    Words words = launch(dir, "runs", more);
    words[1] = "--threads";
    const Finished finished = run(dir, words);
    if (finished.exit_code != 0) throw std::runtime_error(finished.err);
    Models all = models(run_dir(dir, "runs"));
    if (all.size() != 3) throw std::runtime_error("parts of the model are missing");
    return made.emplace(more, std::move(all)).first->second;
}

bool commits_beyond(Process& process, const fs::path& run, std::uint64_t step) {
    return await(process, [&] { return record(run).step > step; });
}

ByHand::ByHand(const TempDir& in, const Words& for_all,
               const std::map<std::string, Party>& for_parties, bool tcp)
    : dir(in), more(with(long_enough, for_all)), parties(for_parties), members(2) {
    const std::string bind = tcp ? "tcp://127.0.0.1:0" : "ipc://" + dir / "bus";
    broker = std::make_unique<Process>(dir, with({"broker", "--bind", bind}, for_all));
    endpoint = first_endpoint(*broker);
    if (endpoint.empty()) throw std::runtime_error("no broker: " + broker->err());
}

void ByHand::start(const std::string& who, const Words& also) {
    const Party& party = parties[who];
    Words words = who == "master"
                      ? Words{"actor", "--role", "master"}
                      : Words{"actor", "--role", "member", "--rank", who.substr(7), "--once"};
    words = with(
        words, {"--broker", party.broker.empty() ? endpoint : party.broker, "--config", "run.toml",
                "--json", "--set",
                "output.runs_dir=" + (party.runs_dir.empty() ? dir / "runs" : party.runs_dir)});
    auto& place = who == "master" ? master : members.at(std::stoul(who.substr(7)));
    place.reset();  // the new one finds its directories free
    place = std::make_unique<Process>(dir, with(with(with(words, more), party.words), also),
                                      Variables{}, party.prefix);
}

void ByHand::start_all() {
    for (std::size_t rank = 0; rank < members.size(); ++rank)
        start("member-" + std::to_string(rank));
    start("master", {"--run-id", run_id});
}

void ByHand::restart_broker() {
    broker = std::make_unique<Process>(dir, Words{"broker", "--bind", endpoint});
    if (first_endpoint(*broker).empty()) throw std::runtime_error("no broker: " + broker->err());
}

std::string sentence_of(const Finished& finished) {
    const std::size_t at = finished.err.rfind("vflbus: ");
    return at == std::string::npos ? std::string() : finished.err.substr(at);
}

}  // namespace proc
