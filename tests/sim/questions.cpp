#include "questions.hpp"

#include <algorithm>

namespace vflbus::sim {

using actors::Message;

actors::Bytes answer_to(std::span<const std::uint8_t> body, const std::string& member) {
    const Hash256 hash = hash256(body);
    actors::Bytes out(hash.size() + member.size());
    std::copy(hash.begin(), hash.end(), out.begin());
    std::copy(member.begin(), member.end(), out.begin() + static_cast<std::ptrdiff_t>(hash.size()));
    return out;
}

Asker::Asker(World& world, std::uint64_t seed, std::vector<bus::Participant> members,
             std::size_t number)
    : world_(world), rng_(seed), number_(number) {
    for (std::uint8_t& byte : spec_.run.bytes) byte = static_cast<std::uint8_t>(rng_.next());
    spec_.participants = std::move(members);
    spec_.agreed = questions;
}

void Asker::on_join(actors::Driver& driver, NodeId node, const bus::Join& join) {
    if (join.code != Errc::ok) world_.violate(join.name + " declined: " + join.sentence);
    if (asked_.count(node) != 0) return;
    asked_[node] = 0;
    for (int i = 0; i < 4; ++i) ask(driver, node);
}

void Asker::on_reply(actors::Driver& driver, Message&& reply) {
    const auto key = std::pair(reply.metadata.src_node_id, reply.metadata.message_id);
    const auto open = open_.find(key);
    if (open == open_.end()) return world_.violate("a reply to nothing that was asked");
    actors::Bytes body = std::move(open->second);
    open_.erase(open);
    if (!reply.has_content()) {
        ++world_.coverage()["question failed: " + std::string(name_of(reply.error.code))];
        if (reply.error.code != Errc::peer_restarted && reply.error.code != Errc::unknown_run)
            return world_.violate("an error instead of an answer: " + reply.error.sentence);
        return push(driver, key.first, std::move(body));
    }
    if (reply.content != answer_to(body, driver.name_of(key.first)))
        world_.violate("a wrong answer");
    ++answered;
    ask(driver, key.first);
    if (answered == number_ * spec_.participants.size()) driver.close(Errc::ok, "all answered");
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
    ++world_.coverage()["run of questions ended: " + std::string(name_of(how.code))];
    if (how.code != Errc::ok && how.code != Errc::owner_lost && how.code != Errc::stalled)
        world_.violate("the run of questions ended with " + how.sentence);
}

std::string Asker::open_questions() const {
    std::string out = spec_.run.short_hex() + (done ? " done" : " open:");
    for (const auto& [key, body] : open_)
        for (const bus::Participant& member : spec_.participants)
            if (node_id_of(member.name) == key.first)
                out += " " + member.name + "#" + std::to_string(key.second);
    return out;
}

void Asker::ask(actors::Driver& driver, NodeId node) {
    if (asked_[node] >= number_) return;
    ++asked_[node];
    // now and then a body of several chunks
    actors::Bytes body(rng_.below(40) == 0 ? bus::chunk_bytes + rng_.below(bus::chunk_bytes)
                                           : rng_.below(3000));
    for (std::size_t i = 0; i < body.size(); i += 97)
        body[i] = static_cast<std::uint8_t>(rng_.next());
    push(driver, node, std::move(body));
}

void Asker::push(actors::Driver& driver, NodeId node, actors::Bytes body) {
    const auto id = driver.push_message(node, question, body);
    if (!id) return world_.violate(id.error().sentence);
    open_[{node, *id}] = std::move(body);
}

}  // namespace vflbus::sim
