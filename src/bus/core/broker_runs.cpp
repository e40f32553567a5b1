// Who takes part in what: docs/protocol.md, section 5.

#include <utility>

#include "base/planted.hpp"
#include "bus/core/broker_state.hpp"

namespace vflbus::bus {

void BrokerCore::on_open(Node& node, const Header& header, const Payload& body, TimePoint now) {
    auto open = decode_open(body.bytes());
    if (!open) return send_error(node, header, Errc::malformed_frame, open.error().sentence, now);
    if (!may_open(node, now))
        return send_error(node, header, Errc::not_allowed,
                          "the key of " + node.hello.name + " may not open runs", now);
    if (open->owner != node.hello.name)
        return send_error(node, header, Errc::wrong_source,
                          "only " + node.hello.name + " itself opens runs in its name", now);
    const bool to_all = open->to_everybody();
    std::vector<Member> members;
    if (to_all) open->participants.clear();
    for (Participant& participant : open->participants) {
        const NodeId id = node_id_of(participant.name);
        members.push_back({std::move(participant), id, false, {}});
    }
    std::sort(members.begin(), members.end(),
              [](const Member& a, const Member& b) { return a.id < b.id; });
    for (std::size_t i = 1; i < members.size(); ++i)
        if (members[i].id == members[i - 1].id)
            return send_error(
                node, header, Errc::malformed_frame,
                members[i].participant.name + " is named twice in run " + header.run.short_hex(),
                now);

    // each participant is told of it, and may be told of each of the others
    if (!pays(node.id, 1 + (to_all ? nodes_.size() : members.size()), now))
        return send_error(node, header, Errc::retry,
                          node.hello.name + " opens runs too often; again in a second", now);
    Run* const run =
        run_to_open(node, header, kept_of_open(body.bytes().size(), members.size()), now);
    if (run == nullptr) return;
    name_members(node, *run, header.term, to_all, std::move(members), now);
    const auto said = body.bytes();
    if (run->open == nullptr ||
        !std::equal(said.begin(), said.end(), run->open->begin(), run->open->end()))
        run->open = std::make_shared<const Bytes>(said.begin(), said.end());
    run->owner_here = true;
    ++generation_;
    tell_of_open(node, *run, now);
}

/// Takes the frames that a node makes the broker send to others from its allowance. It is kept
/// by name, so that a node which leaves and comes again does not get another allowance.
bool BrokerCore::pays(NodeId node, std::size_t announced, TimePoint now) {
    auto found = spent_.find(node);
    if (found == spent_.end()) found = spent_.emplace(node, Allowance(announcements, now)).first;
    return found->second.take(static_cast<double>(announced), now);
}

/// At whose cost runs of this node are open and notes of it are kept: that of its key, which may
/// speak for many names, or its own where it needs no key.
NodeId BrokerCore::payer_of(const Node& node) const {
    return asked_for_rights(node) && node.key != nullptr ? node_id_of(node.key->name) : node.id;
}

/// The run that an OPEN names; a new run is made. Null: the OPEN was refused, and its sender was
/// told.
BrokerCore::Run* BrokerCore::run_to_open(Node& node, const Header& header, std::uint64_t kept,
                                         TimePoint now) {
    const auto refuse = [&](Errc code, const std::string& sentence) -> Run* {
        send_error(node, header, code, sentence, now);
        return nullptr;
    };
    Run* const run = runs_.find(header.run);
    if (run != nullptr && run->owner != node.id && !VFLBUS_PLANTED(two_owners))
        return refuse(Errc::not_owner,
                      "run " + run->id.short_hex() + " belongs to " +
                          (may_know_of(node, *run) ? run->owner_name : "somebody else"));
    if (const WaitingRun* const waiting = waiting_.find(header.run);
        waiting != nullptr && !drives_waiting(node, *waiting)) {
        not_allowed(node.key.get(), "to open a run that waits at " + waiting->by_name, now);
        return refuse(Errc::not_owner,
                      "run " + header.run.short_hex() + " waits at another master");
    }
    if (run != nullptr && header.term < run->term)
        return refuse(Errc::stale_term,
                      "run " + run->id.short_hex() + " is in term " + std::to_string(run->term));
    const NodeId payer = payer_of(node);
    const std::string places = std::to_string(config_.limits.runs);
    switch (runs_.room_for_open(header.run, payer, kept)) {
        case RunTable::Room::no_place:
            return refuse(Errc::too_many, "this broker has " + places + " runs already");
        case RunTable::Room::share_taken:
            return refuse(Errc::too_many,
                          (payer == node.id ? node.hello.name : "the key of " + node.key->name) +
                              " has " + std::to_string(runs_.places_of(payer)) + " of the " +
                              places +
                              " runs that this broker takes, and what is free is kept for others");
        case RunTable::Room::too_many_bytes:
            return refuse(Errc::too_many, "what this broker would keep of the runs of " +
                                              node.hello.name +
                                              " is too much: smaller ones, or close others first");
        case RunTable::Room::free:
            break;
    }
    if (run != nullptr) return run;
    Run& fresh = runs_.open(header.run, node.id, payer);
    fresh.owner_name = node.hello.name;
    fresh.owner_role = node.hello.role;
    fresh.needs_owner = node.hello.role == "serverapp";
    fresh.created = now;
    waiting_.erase(header.run);
    ended_runs_.erase(header.run);
    log("run opened run=" + header.run.short_hex() + " owner=" + node.hello.name +
        " term=" + std::to_string(header.term) + key_text(node.key.get()));
    return &fresh;
}

/// Sets the members of a run. In a new term, or with other members, all of them have to join again.
void BrokerCore::name_members(Node& node, Run& run, std::uint32_t term, bool to_all,
                              std::vector<Member> members, TimePoint now) {
    if (to_all)
        for (const auto& [id, other] : nodes_)
            if (id != node.id && other->state != Node::State::lost &&
                lists(other->hello, feature_apps))
                members.push_back(
                    {{other->hello.name, other->hello.role, other->hello.rank}, id, false, {}});
    const bool same =
        term == run.term && run.open_to_all == to_all && run.members().size() == members.size() &&
        std::equal(members.begin(), members.end(), run.members().begin(),
                   [](const Member& a, const Member& b) { return a.participant == b.participant; });
    if (!same) {
        for (const Member& member : runs_.set_members(run, std::move(members))) {
            const auto found = nodes_.find(member.id);
            if (found != nodes_.end() && run.find(member.id) == nullptr)
                leave_out(*found->second, run, term, now);
        }
    }
    run.open_to_all = to_all;
    run.term = term;
}

/// Answers the owner, and tells owner and participants of each other.
void BrokerCore::tell_of_open(Node& node, Run& run, TimePoint now) {
    Header answer;
    answer.run = run.id;
    answer.term = run.term;
    answer.flags = flag::answer;
    for (const Member& member : run.members()) {
        const auto found = nodes_.find(member.id);
        if (found != nodes_.end() &&
            (member.joined || (found->second->conn != 0 && may_invite(*found->second, run, now))))
            ++answer.aux;
    }
    send_control(node, Kind::open, answer, {}, now);
    // who is there comes before who has joined, as in on_join
    announce_up(run, node, now);
    for (const Member& member : run.members()) {
        const auto found = nodes_.find(member.id);
        if (found == nodes_.end()) continue;
        Node& participant = *found->second;
        if (member.joined) {  // the owner came back: it hears again who is in
            if (send_join(node, run, member, now) == Posted::crowded) node.unsaid.insert(run.id);
        } else if (participant.conn != 0 && may_take_part(participant, run, member.participant)) {
            (void)send_open(participant, run, now);
        }
    }
    tell_who_is_lost(run, node, now);
    settle_state(run, now);
    note(run);
}

/// Says again what found no room in the queue of a node, which is empty now: nobody else would. The
/// node that has sent it does not know that it was dropped.
void BrokerCore::tell_unsaid(Node& node, TimePoint now) {
    for (const RunId& id : std::exchange(node.unsaid, {})) {
        Run* const run = runs_.find(id);
        if (run == nullptr || node.conn == 0) continue;
        if (run->owner == node.id) {
            for (const Member& member : run->members())
                if (run->owner_here && member.joined &&
                    send_join(node, *run, member, now) == Posted::crowded)
                    node.unsaid.insert(id);
        } else if (const Member* const member = run->find(node.id);
                   member != nullptr && !member->joined && may_invite(node, *run, now)) {
            (void)send_open(node, *run, now);
        }
    }
}

/// A participant that is lost is among those who have joined until the grace is over. An owner that
/// comes back hears of its JOIN again, and would take it for one that is back.
void BrokerCore::tell_who_is_lost(Run& run, Node& owner, TimePoint now) {
    for (const Member& member : run.members()) {
        const auto found = nodes_.find(member.id);
        if (!member.joined || found == nodes_.end()) continue;
        const Node& lost = *found->second;
        if (lost.state != Node::State::lost) continue;
        const Errc code = lost.conn == 0 ? Errc::unreachable : Errc::peer_lost;
        send_about_peer(owner, Kind::peer_down, run, lost.id,
                        encode(PeerDown{lost.hello.name, code, to_ms(now - lost.last_heard)}), now);
    }
}

/// A participant that the owner does not name any more is told, or it would keep its part for
/// ever: it hears of nothing else that happens to the run.
void BrokerCore::leave_out(Node& node, const Run& run, std::uint32_t term, TimePoint now) {
    node.unsaid.erase(run.id);
    if (node.conn == 0) return;
    Header header;
    header.run = run.id;
    header.term = term;
    send_control(
        node, Kind::close, header,
        encode(Ending{Errc::run_ended, run.owner_name + " goes on with run " + run.id.short_hex() +
                                           " without " + node.hello.name}),
        now);
}

/// A run is running when all members have joined; a run that is open to all, from the start.
bool BrokerCore::settle_state(Run& run, TimePoint now) {
    const bool all_in = run.open_to_all || run.all_joined();
    if (run.state == RunState::running || !all_in) return false;
    run.state = RunState::running;
    run.running_since = now;
    return true;
}

void BrokerCore::on_join(Node& node, const Header& header, const Payload& body, TimePoint now) {
    auto join = decode_join(body.bytes());
    if (!join) return send_error(node, header, Errc::malformed_frame, join.error().sentence, now);
    if (join->name != node.hello.name)
        return send_error(node, header, Errc::wrong_source,
                          "only " + node.hello.name + " itself joins in its name", now);
    if (asked_for_rights(node) &&
        (join->role != node.hello.role || join->rank != node.hello.rank)) {
        not_allowed(node.key.get(), "JOIN with another role or rank than its HELLO", now);
        return send_error(node, header, Errc::not_allowed,
                          node.hello.name + " joins as what it said HELLO as", now);
    }
    Run* run = runs_.find(header.run);
    if (run == nullptr && tell_ending(node, header, now)) return;
    if (run == nullptr || !may_know_of(node, *run)) {
        const bool may_come = now - started_ < config_.timings.rejoin_grace;
        return send_error(node, header, may_come ? Errc::retry : Errc::unknown_run,
                          "run " + header.run.short_hex() + " is not known here", now);
    }
    Member* member = run->find(node.id);
    if (member == nullptr)
        return send_error(node, header, Errc::not_a_participant,
                          node.hello.name + " is not named in run " + run->id.short_hex(), now);
    if (!may_take_part(node, *run, member->participant)) {
        not_allowed(node.key.get(),
                    "to join run " + run->id.short_hex() + " as " + as_text(member->participant),
                    now);
        return send_error(node, header, Errc::not_allowed,
                          "the key of " + node.hello.name + " is not allowed to take part as " +
                              as_text(member->participant),
                          now);
    }
    if (header.term != run->term && !VFLBUS_PLANTED(term_not_checked))
        return send_error(node, header, Errc::stale_term,
                          "run " + run->id.short_hex() + " is in term " + std::to_string(run->term),
                          now);
    const bool was_joined = member->joined;
    const bool changes = was_joined != (join->code == Errc::ok);
    if (!pays(node.id, changes && !run->open_to_all ? 1 + run->members().size() : 1, now))
        return send_error(node, header, Errc::retry,
                          node.hello.name + " joins too often; again in a second", now);
    // encoded anew: what came may have a sentence without end
    auto said = std::make_shared<const Bytes>(encode(*join));
    const NodeId payer = payer_of(node);
    if (!runs_.room_for_join(*run, node.id, payer, said->size()))
        return send_error(
            node, header, Errc::too_many,
            "what this broker would keep of the joins of " + node.hello.name + " is too much", now);
    member->joined = join->code == Errc::ok;
    runs_.keep_join(*member, payer, std::move(said));
    ++generation_;
    if (!was_joined)
        log("joined run=" + run->id.short_hex() + " node=" + node.hello.name +
            " code=" + std::string(name_of(join->code)));
    // first who it is, then that it joined: a request pushed at once must not meet the news of a
    // restart
    if (member->joined && !was_joined) announce_up(*run, node, now);
    if (!member->joined && was_joined) announce_down(*run, node, Errc::refused, Duration{}, now);
    if (settle_state(*run, now)) note(*run);
    const auto owner = nodes_.find(run->owner);
    if (!run->owner_here || owner == nodes_.end() || owner->second->conn == 0) return;
    if (send_join(*owner->second, *run, *member, now) == Posted::crowded)
        send_error(node, header, Errc::retry, run->owner_name + " is far behind", now);
}

/// Tells a participant that joins a run which has ended how it ended. False: nothing is known of
/// that, or it was not named in the run, or another node than the one that invited it has opened
/// and closed a run of that id since.
bool BrokerCore::tell_ending(Node& node, const Header& join, TimePoint now) {
    const EndedRun* const ended = ended_runs_.find(join.run, now);
    if (ended == nullptr || !ended->names(node.id) || join.dst != ended->owner ||
        join.term > ended->term || VFLBUS_PLANTED(ending_forgotten))
        return false;
    Header header;
    header.run = join.run;
    header.term = ended->term;
    Close close{ended->ending, {}};
    // (of an earlier term it has no key that opens it)
    if (const auto own = ended->sealed.find(node.id);
        own != ended->sealed.end() && join.term == ended->term)
        close.sealed.insert(*own);
    send_control(node, Kind::close, header, encode(close), now);
    return true;
}

void BrokerCore::on_close(Node& node, const Header& header, const Payload& body, TimePoint now) {
    Run* run = runs_.find(header.run);
    if (run != nullptr && !may_know_of(node, *run)) run = nullptr;
    if (run != nullptr && run->owner != node.id)
        return send_error(node, header, Errc::not_owner,
                          "run " + run->id.short_hex() + " belongs to " + run->owner_name, now);
    if (run != nullptr && header.term < run->term)
        return send_error(node, header, Errc::stale_term,
                          "run " + run->id.short_hex() + " is in term " + std::to_string(run->term),
                          now);
    if (run != nullptr) {
        const auto said = decode_close(body.bytes());
        if (!said)
            return send_error(node, header, Errc::malformed_frame, said.error().sentence, now);
        end_run(*run, said->ending, node.id, now, said->sealed);
    }
    // a run that is not known is closed already
    Header answer;
    answer.run = header.run;
    answer.term = header.term;
    answer.flags = flag::answer;
    send_control(node, Kind::close, answer, {}, now);
}

/// `sealed`: what its owner has to say to participants beside that, to each its own.
void BrokerCore::end_run(Run& run, const Ending& ending, NodeId except, TimePoint now,
                         const std::map<NodeId, Bytes>& sealed) {
    const RunId id = run.id;
    log("run closed run=" + id.short_hex() + " code=" + std::string(name_of(ending.code)) +
        " term=" + std::to_string(run.term));
    run.state = ending.code == Errc::ok          ? RunState::completed
                : ending.code == Errc::cancelled ? RunState::stopped
                                                 : RunState::failed;
    run.ending = ending;
    run.finished = now;
    note(run);
    std::vector<NodeId> everybody{run.owner};
    for (const Member& member : run.members()) everybody.push_back(member.id);
    Header header;
    header.run = id;
    header.term = run.term;
    for (const NodeId node_id : everybody) {
        const auto found = nodes_.find(node_id);
        if (found == nodes_.end()) continue;
        Node& node = *found->second;
        node.out.drop_run(id, left_);
        node.bulk.out.drop_run(id, left_);
        node.unsaid.erase(id);
        if (node_id == except || node.conn == 0) continue;
        Close close{ending, {}};
        if (const auto own = sealed.find(node_id); own != sealed.end()) close.sealed.insert(*own);
        send_control(node, Kind::close, header, encode(close), now);
    }
    credit_back(left_, now);
    ++generation_;
    EndedRun ended{run.term, run.payer, {}, ending, sealed, now, run.open_to_all, run.owner};
    for (const Member& member : run.members()) ended.named.push_back(member.id);
    runs_.close(id);
    ended_runs_.note(id, std::move(ended));
    for (const NodeId node_id : everybody) forget_if_idle(node_id);
}

/// Ends the runs that cannot go on without the process that drove them. `tell_owner`: that process
/// was silent for too long and may be heard again; without CLOSE it would wait for ever.
void BrokerCore::end_runs_of(Node& owner, bool tell_owner, TimePoint now) {
    if (VFLBUS_PLANTED(app_outlived)) return;
    std::vector<RunId> over;
    for (const RunId& id : runs_.runs_of(owner.id)) {
        const Run& run = runs_.at(id);
        if (run.needs_owner && run.owner == owner.id) over.push_back(id);
    }
    for (const RunId& id : over)
        // with one of them its owner may have been given to a newcomer, which ends the others
        if (Run* const run = runs_.find(id))
            end_run(*run,
                    {Errc::owner_lost, owner.hello.name + ", which drove run " + id.short_hex() +
                                           ", is gone; start it again for a new run"},
                    tell_owner ? broker_node : owner.id, now);
}

/// Tells the others of the run that `node` takes part, and `node` of those that do.
void BrokerCore::announce_up(Run& run, Node& node, TimePoint now) {
    const auto up = [&](Node& to, const Node& about) {
        send_about_peer(to, Kind::peer_up, run, about.id,
                        encode(PeerUp{about.hello.name, about.hello.role, about.hello.rank,
                                      about.hello.incarnation}),
                        now);
    };
    for_each_peer(run, node, [&](Node& peer) {
        up(peer, node);
        if (peer.conn != 0) up(node, peer);  // else it was found to be gone just now
    });
}

/// Tells those who work with `node` that something is wrong with it.
void BrokerCore::announce_suspect(Node& node, Errc code, Duration since, TimePoint now) {
    for (const RunId& id : runs_.runs_of(node.id)) {
        Run& run = runs_.at(id);
        for_each_peer(run, node, [&](Node& peer) {
            send_about_peer(peer, Kind::peer_suspect, run, node.id,
                            encode(PeerSuspect{node.hello.name, code, to_ms(since)}), now);
        });
    }
}

/// Tells the others of the run that `node` takes no part in it any more.
void BrokerCore::announce_down(Run& run, Node& node, Errc code, Duration silent, TimePoint now) {
    for_each_peer(run, node, [&](Node& peer) {
        send_about_peer(peer, Kind::peer_down, run, node.id,
                        encode(PeerDown{node.hello.name, code, to_ms(silent)}), now);
    });
}

}  // namespace vflbus::bus
