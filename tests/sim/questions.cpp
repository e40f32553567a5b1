#include "questions.hpp"

#include <algorithm>
#include <cstring>

#include "fingerprint.hpp"

namespace vflbus::sim {

using actors::Message;

namespace {

/// Enough to tell one body from another, wherever a part of it is missing or out of place.
void fill(std::span<std::uint8_t> bytes, std::uint64_t seed) {
    Rng rng(seed);
    for (std::size_t i = 0; i < bytes.size(); i += 97)
        bytes[i] = static_cast<std::uint8_t>(rng.next());
}

std::uint64_t word_of(std::span<const std::uint8_t> bytes) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), std::min(bytes.size(), sizeof word));
    return word;
}

}  // namespace

actors::Bytes answer_to(std::span<const std::uint8_t> body, const std::string& member,
                        std::uint64_t incarnation) {
    const auto print = fingerprint(body);
    constexpr std::size_t print_bytes = sizeof print;
    const std::string who = member + "/" + std::to_string(incarnation);
    // (no app makes an answer as long as somebody says)
    const std::uint64_t more = word_of(body) <= answer_bytes_max ? word_of(body) : 64;
    actors::Bytes out(print_bytes + who.size() + more);
    std::memcpy(out.data(), print.data(), print_bytes);
    std::ranges::copy(who, out.begin() + static_cast<std::ptrdiff_t>(print_bytes));
    fill(std::span(out).subspan(print_bytes + who.size()), print.front());
    return out;
}

// -- a run of questions ----------------------------------------------------------------

bus::Extensions open_extensions(const RunId& run) {
    return {{1, {run.bytes.begin(), run.bytes.end()}}, {1001, bus::Bytes(500, 1)}};
}

bus::Extensions join_extensions(const bus::Extensions& open, const std::string& member) {
    if (open.empty()) return {};
    return {{3, {member.begin(), member.end()}}, {5, open.at(1)}};
}

Asker::Asker(World& world, std::size_t place, std::uint64_t seed, AskerPlan plan)
    : world_(world), place_(place), rng_(seed), plan_(std::move(plan)) {
    for (std::uint8_t& byte : spec_.run.bytes) byte = static_cast<std::uint8_t>(rng_.next());
    if (plan_.open)
        spec_.participants = {bus::any_node};
    else
        spec_.participants = plan_.members;
    spec_.agreed = questions;
    if (plan_.extensions) spec_.extensions = open_extensions(spec_.run);
}

void Asker::on_join(actors::Driver& driver, NodeId node, const bus::Join& join) {
    const bool distrusted = std::ranges::any_of(
        plan_.distrusted, [&](const std::string& name) { return node_id_of(name) == node; });
    if (distrusted) distrusted_.insert(node);
    if (join.code != Errc::ok && !distrusted)
        world_.violate(join.name + " declined: " + join.sentence);
    if (join.extensions != join_extensions(spec_.extensions, join.name) && !distrusted)
        world_.violate("the extensions of the JOIN of " + join.name + " are not what it said");
    if (asked_.count(node) != 0) return;
    asked_[node] = 0;
    names_[node] = join.name;
    for (int i = 0; i < 4; ++i) ask(driver, node);
}

void Asker::on_reply(actors::Driver& driver, Message&& reply) {
    const auto key = std::pair(reply.metadata.src_node_id, reply.metadata.message_id);
    const auto open = open_.find(key);
    if (open == open_.end()) return world_.violate("a reply to nothing that was asked");
    Asked asked = std::move(open->second);
    open_.erase(open);
    if (distrusted_.contains(key.first)) return ask(driver, key.first);
    ++replies;
    if (!reply.has_content()) {
        ++world_.coverage()["question failed: " + std::string(name_of(reply.error.code))];
        if (reply.error.code != Errc::peer_restarted && reply.error.code != Errc::unknown_run)
            return world_.violate("an error instead of an answer: " + reply.error.sentence);
        return push(driver, key.first, std::move(asked.body));
    }
    const std::string name = driver.name_of(key.first);
    if (reply.content != answer_to(asked.body, name, asked.incarnation))
        world_.violate("not the answer of process " + std::to_string(asked.incarnation) + " of " +
                       name + " to the question that it was asked");
    ask(driver, key.first);
    const bool all =
        std::ranges::none_of(
            open_, [&](const auto& entry) { return !distrusted_.contains(entry.first.first); }) &&
        asked_.size() - distrusted_.size() >= plan_.nodes &&
        std::ranges::all_of(asked_, [&](const auto& entry) {
            return entry.second == plan_.number || distrusted_.contains(entry.first);
        });
    if (all) driver.close(Errc::ok, "all answered");
}

void Asker::on_peer(actors::Driver&, const actors::PeerEvent& event) {
    if (event.what == actors::PeerEvent::What::down)
        ++world_.coverage()["owner told of a lost peer"];
}

void Asker::on_link(actors::Driver&, bool up, const std::string&) {
    if (!up) ++world_.coverage()["owner told of a lost link"];
}

void Asker::on_closed(const actors::Ending& how) {
    done = true;
    ending = how;
    ++world_
          .coverage()[(plan_.open ? "open run of questions ended: " : "run of questions ended: ") +
                      std::string(name_of(how.code))];
    if (how.code != Errc::ok && how.code != Errc::owner_lost && how.code != Errc::stalled)
        world_.violate("the run of questions ended with " + how.sentence);
}

std::string Asker::open_questions() const {
    std::string out = spec_.run.short_hex() + (done ? " done" : " open:");
    for (const auto& [key, asked] : open_)
        out += " " + names_.at(key.first) + "#" + std::to_string(key.second);
    return out;
}

std::uint64_t Asker::length() {
    return rng_.below(plan_.large_one_in) == 0 ? plan_.large_from + 1 + rng_.below(plan_.large_from)
                                               : 8 + rng_.below(2000);
}

void Asker::ask(actors::Driver& driver, NodeId node) {
    if (asked_[node] >= plan_.number) return;
    ++asked_[node];
    actors::Bytes body(length());
    fill(body, rng_.next());
    const std::uint64_t answer = length();
    std::memcpy(body.data(), &answer, sizeof answer);
    push(driver, node, std::move(body));
}

void Asker::push(actors::Driver& driver, NodeId node, actors::Bytes body) {
    // (as its link knows it: should another process take its place, the question fails)
    const std::uint64_t incarnation = world_.incarnation_known(place_, spec_.run, node);
    const auto id = driver.push_message(node, question, body);
    if (!id && distrusted_.contains(node)) return;
    if (!id) return world_.violate(id.error().sentence);
    open_[{node, *id}] = {std::move(body), incarnation};
}

// -- questions beside all runs ---------------------------------------------------------

bus::Bytes answer_query(const bus::QueryArrived& query, const std::string& name) {
    const std::string text = name + "/" + query.run.hex() + "/" + std::to_string(query.question) +
                             "/" + to_hex(hash256(query.body));
    return {text.begin(), text.end()};
}

Visitor::Visitor(World& world, std::size_t place, std::uint64_t seed,
                 std::vector<std::string> names, std::vector<RunId> runs,
                 std::set<std::string> distrusted)
    : world_(world),
      place_(place),
      rng_(seed),
      names_(std::move(names)),
      runs_(std::move(runs)),
      distrusted_(std::move(distrusted)) {}

void Visitor::ask() {
    if (!world_.running(place_)) return;
    // now and then more than the broker keeps in mind
    const std::size_t burst = rng_.below(12) == 0 ? bus::queries_max + 4 : 1;
    for (std::size_t i = 0; i < burst; ++i) ask_one();
}

void Visitor::ask_one() {
    Asked asked;
    if (rng_.below(4) == 0) {
        const bus::Question of_broker[] = {bus::Question::runs, bus::Question::nodes,
                                           bus::Question::run};
        asked.question = of_broker[rng_.below(3)];
        if (asked.question == bus::Question::runs)
            asked.body = bus::encode(bus::RunsQuery{"", 100});
        else if (asked.question == bus::Question::nodes)
            asked.body = bus::encode_nodes_query(100);
        else
            asked.body = bus::encode_run_query(runs_[rng_.below(runs_.size())].hex().substr(0, 8));
    } else {
        asked.name = names_[rng_.below(names_.size())];
        asked.run = runs_[rng_.below(runs_.size())];
        asked.question = rng_.below(2) == 0 ? bus::Question::status : bus::Question::log;
        asked.body.resize(rng_.below(3000));
        fill(asked.body, rng_.next());
    }
    const NodeId dst = asked.name.empty() ? broker_node : node_id_of(asked.name);
    const Duration patience = std::chrono::milliseconds(200 + rng_.below(20000));
    const std::uint64_t number =
        world_.ask(place_, dst, asked.run, asked.question, asked.body, patience);
    if (!open_.emplace(number, std::move(asked)).second)
        world_.violate("two questions have one number");
}

void Visitor::on_answer(const bus::AnswerArrived& answer) {
    const auto found = open_.find(answer.number);
    if (found == open_.end()) return world_.violate("an answer to nothing that the visitor asked");
    const Asked asked = std::move(found->second);
    open_.erase(found);
    auto& coverage = world_.coverage();
    if (distrusted_.contains(asked.name)) return;
    if (answer.error.code != Errc::ok) {
        ++coverage["query failed: " + std::string(name_of(answer.error.code))];
        if (answer.error.code != Errc::timed_out && answer.error.code != Errc::unreachable &&
            answer.error.code != Errc::too_many)
            world_.violate("an error instead of an answer: " + answer.error.sentence);
        return;
    }
    ++coverage[asked.name.empty() ? "query answered by the broker" : "query answered by a node"];
    if (asked.name.empty()) return check_rows(asked, answer);
    const bus::QueryArrived query{
        {}, asked.run, answer.number, static_cast<std::uint16_t>(asked.question), asked.body};
    if (answer.body != answer_query(query, asked.name))
        world_.violate("not the answer of " + asked.name + " to the question that it was asked");
}

void Visitor::check_rows(const Asked& asked, const bus::AnswerArrived& answer) {
    if (asked.question == bus::Question::nodes) {
        const auto rows = bus::decode_node_rows(answer.body);
        if (!rows) return world_.violate("rows of nodes that do not decode");
        for (std::size_t i = 1; i < rows->size(); ++i)
            if ((*rows)[i - 1].name >= (*rows)[i].name)
                world_.violate("the broker lists " + (*rows)[i].name + " twice");
        return;
    }
    const auto rows = bus::decode_run_rows(answer.body);
    if (!rows) return world_.violate("rows of runs that do not decode");
    for (const bus::RunRow& row : *rows)
        if (asked.question == bus::Question::run &&
            bus::encode_run_query(row.run.hex().substr(0, 8)) != asked.body)
            world_.violate("the broker was asked for another run than " + row.run.short_hex());
}

}  // namespace vflbus::sim
