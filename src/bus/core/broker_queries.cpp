// Questions, and what is noted for those who ask: docs/protocol.md, section 12.

#include <iterator>

#include "base/planted.hpp"
#include "bus/core/broker_state.hpp"

namespace vflbus::bus {
namespace {

constexpr Duration sizes_noted_at_most_every = std::chrono::seconds(1);

bool begins_with(const RunId& run, std::string_view prefix) {
    return run.hex().starts_with(prefix);
}

}  // namespace

void BrokerCore::on_query(Node& node, const Header& header, Payload& body, TimePoint now) {
    const auto refuse = [&](Errc code, std::string sentence) {
        if (code == Errc::malformed_message) note_breach();
        send_answer(node, header, broker_node, fail(code, std::move(sentence)), now);
    };
    if (!may_ask(node, header, now))
        return refuse(Errc::not_allowed, "the key of " + node.hello.name + " may not ask that");
    if (header.dst == broker_node) {
        const auto of_ledger = [&](std::string text, std::uint64_t limit) {
            ask_ledger(node, header,
                       {0, static_cast<Question>(header.type), std::move(text), limit}, now);
        };
        switch (static_cast<Question>(header.type)) {
            case Question::runs: {
                auto query = decode_runs_query(body.bytes());
                if (!query) return refuse(query.error().code, query.error().sentence);
                return of_ledger(std::move(query->status), query->limit);
            }
            case Question::run: {
                auto prefix = decode_run_query(body.bytes());
                if (!prefix) return refuse(prefix.error().code, prefix.error().sentence);
                return of_ledger(std::move(*prefix), 20);
            }
            case Question::nodes: {
                const auto limit = decode_nodes_query(body.bytes());
                if (!limit) return refuse(limit.error().code, limit.error().sentence);
                return of_ledger({}, *limit);
            }
            case Question::note:
                return on_note(node, header, body, now);
            default:
                return refuse(Errc::unknown_message,
                              "the broker knows no question " + std::to_string(header.type));
        }
    }
    const auto target = nodes_.find(header.dst);
    if (target == nodes_.end() || target->second->conn == 0 ||
        target->second->state == Node::State::lost)
        return refuse(Errc::unreachable, target == nodes_.end()
                                             ? "who was asked is not connected"
                                             : target->second->hello.name + " is not connected");
    const auto mine = asked_.lower_bound({node.id, 0});
    const auto end = asked_.upper_bound({node.id, UINT64_MAX});
    const std::uint64_t session = target->second->session;
    if (const auto same = asked_.find({node.id, header.request}); same != asked_.end()) {
        // it is on its way: passed on as often as it is said it would pile up without bound
        const Asked& last = same->second;
        if (last.asker_session == node.session && last.session == session &&
            now - last.at < std::chrono::seconds(query_again_s)) {
            if (last.of == header.dst && last.run == header.run && last.type == header.type) return;
            return refuse(Errc::too_many, "another question of this number waits for an answer");
        }
    } else if (static_cast<std::size_t>(std::distance(mine, end)) >= queries_max ||
               questions_of_account(node) >= queries_of_key_max) {
        return refuse(Errc::too_many, "enough questions wait for an answer already: " +
                                          std::to_string(queries_max) + " of one who asks, " +
                                          std::to_string(queries_of_key_max) + " of one key");
    }
    asked_[{node.id, header.request}] = {node.hello.instance,
                                         header.dst,
                                         header.run,
                                         header.type,
                                         now + std::chrono::seconds(query_memory_s),
                                         node.session,
                                         session,
                                         now};
    if (pass_on(*target->second, header, body, now) != Posted::crowded) return;
    asked_.erase({node.id, header.request});
    refuse(Errc::too_many, target->second->hello.name + " is far behind; ask again in a moment");
}

void BrokerCore::on_answer(Node& node, const Header& header, Payload& body, TimePoint now) {
    const auto asked = asked_.find({header.dst, header.request});
    if (asked == asked_.end() ||
        (asked->second.of != node.id && !VFLBUS_PLANTED(answer_from_anybody)) ||
        asked->second.run != header.run || asked->second.type != header.type)
        return;  // nobody asked, or waits no longer
    const std::uint64_t instance = asked->second.instance;
    if (!VFLBUS_PLANTED(answer_passed_on_twice)) asked_.erase(asked);
    const auto asker = nodes_.find(header.dst);
    // (an earlier process of the name has asked)
    if (asker == nodes_.end() || asker->second->hello.instance != instance) return;
    // one that is crowded out is lost: its asker asks again, or waits no longer
    (void)pass_on(*asker->second, header, body, now);
}

void BrokerCore::send_answer(Node& to, const Header& query, NodeId from, const Result<Bytes>& body,
                             TimePoint now) {
    Header header;
    header.run = query.run;
    header.src = from;
    header.request = query.request;
    header.type = query.type;
    if (!body) header.flags = flag::error;
    send_control(to, Kind::answer, header,
                 body ? *body : encode(Ending{body.error().code, body.error().sentence}), now);
}

void BrokerCore::ask_ledger(Node& node, const Header& header, LedgerQuestion question,
                            TimePoint now) {
    question.limit = std::min<std::uint64_t>(question.limit, rows_max);
    const std::uint64_t limit = question.limit;
    // of all that there is it is told what it may see
    if (!rights_.sees_all(node.key.get())) question.limit = rows_max;
    const Question asked = question.question;
    const auto tell = [&](Bytes rows) {
        leave_visible(node, asked, limit, rows);
        send_answer(node, header, broker_node, std::move(rows), now);
    };
    const auto too_many = [&](const std::string& sentence) {
        send_answer(node, header, broker_node, fail(Errc::too_many, sentence), now);
    };
    if (config_.ledger != nullptr) {
        // the questions that wait are few, of all askers together: one of them has its share
        const auto mine =
            std::count_if(asked_of_ledger_.begin(), asked_of_ledger_.end(),
                          [&](const auto& entry) { return entry.second.asker == node.id; });
        if (static_cast<std::size_t>(mine) >= queries_max)
            return too_many(std::to_string(queries_max) +
                            " questions wait for an answer of the broker already");
        if (now - sizes_noted_ >= sizes_noted_at_most_every) note_sizes(now);
        question.token = next_token_++;
        const std::uint64_t token = question.token;
        if (!config_.ledger->ask(std::move(question)))
            return too_many("the broker has many questions to answer; ask again in a moment");
        asked_of_ledger_[token] = {node.id, header, limit};
        return;
    }
    if (question.question == Question::nodes) {
        std::vector<NodeRow> rows;
        for (const auto& [id, other] : nodes_)
            if (!lists(other->hello, feature_asks) && rows.size() < question.limit)
                rows.push_back(row_of(*other));
        std::sort(rows.begin(), rows.end(),
                  [](const NodeRow& a, const NodeRow& b) { return a.name < b.name; });
        return tell(encode(std::span<const NodeRow>(rows)));
    }
    std::vector<RunRow> rows;
    for (const auto& [id, run] : runs_.all()) {
        const bool asked_for = question.question == Question::run
                                   ? begins_with(id, question.text)
                                   : matches(run->state, question.text);
        if (asked_for && rows.size() < question.limit) rows.push_back(row_of(*run));
    }
    std::stable_sort(rows.begin(), rows.end(),
                     [](const RunRow& a, const RunRow& b) { return a.created_ms > b.created_ms; });
    tell(encode(std::span<const RunRow>(rows)));
}

void BrokerCore::answer(std::uint64_t token, Result<Bytes> body, TimePoint clock) {
    const auto found = asked_of_ledger_.find(token);
    if (found == asked_of_ledger_.end()) return;
    const AskedOfLedger asked = found->second;
    asked_of_ledger_.erase(found);
    const auto node = nodes_.find(asked.asker);
    if (node == nodes_.end()) return;
    if (body)
        leave_visible(*node->second, static_cast<Question>(asked.query.type), asked.limit, *body);
    send_answer(*node->second, asked.query, broker_node, body, awake(clock));
}

/// A master that waits for submissions tells of one of them.
void BrokerCore::on_note(Node& node, const Header& header, const Payload& body, TimePoint now) {
    const auto told = decode_note_query(body.bytes());
    const auto refuse = [&](Errc code, const std::string& sentence) {
        send_answer(node, header, broker_node, fail(code, sentence), now);
    };
    if (!told) return refuse(told.error().code, told.error().sentence);
    const RunState state = told->state;
    const bool waits = state == RunState::pending || state == RunState::starting;
    const bool fits = waits                        ? told->code == Errc::ok
                      : state == RunState::stopped ? told->code == Errc::cancelled
                      : state == RunState::failed
                          ? told->code != Errc::ok && told->code != Errc::cancelled
                          : false;
    if (header.run.none() || !fits || !lists(node.hello, feature_serve))
        return refuse(Errc::refused, node.hello.name + " cannot note that");
    if (Run* const run = runs_.find(header.run)) {
        // what is open is known better here, but for the end of a process that cannot say it itself
        if (!waits && run->owner_name == node.hello.name + "-" + run->id.short_hex())
            end_run(*run, {told->code, told->sentence}, broker_node, now);
        return send_answer(node, header, broker_node, encode_empty(), now);
    }
    if (config_.ledger == nullptr)
        return send_answer(node, header, broker_node, encode_empty(), now);
    const WaitingRun* const known = waiting_.find(header.run);
    if (known != nullptr && asked_for_rights(node) && known->by != node.id) {
        not_allowed(node.key.get(), "a note about a run that waits at " + known->by_name, now);
        return refuse(Errc::not_allowed, "this run waits at another master");
    }
    if (waits) {
        const NodeId payer = payer_of(node);
        if (!waiting_.has_room_for(header.run, node.id, payer))
            return refuse(Errc::too_many, "this broker has notes of " +
                                              std::to_string(waiting_.size()) +
                                              " runs already, and what is free is kept for others");
        const WaitingRun& noted =
            waiting_.note(header.run, node.id, payer, node.hello.name, node.hello.role, now);
        note(header.run, noted, state, {}, now);
    } else {
        const TimePoint since = known == nullptr ? now : known->since;
        waiting_.erase(header.run);
        note(header.run,
             {node.id, payer_of(node), node.hello.name, node.hello.role, true, since, now}, state,
             {told->code, told->sentence}, now);
    }
    send_answer(node, header, broker_node, encode_empty(), now);
}

/// A run whose master is gone for good waits for nothing.
void BrokerCore::give_up_waiting(TimePoint now) {
    const auto is_there = [&](NodeId by) {
        const auto node = nodes_.find(by);
        return node != nodes_.end() && node->second->state != Node::State::lost;
    };
    for (const auto& [id, run] : waiting_.give_up(now, config_.timings.rejoin_grace, is_there))
        note(id, run, RunState::failed,
             {Errc::owner_lost, run.by_name + ", at which run " + id.short_hex() +
                                    " waited, is gone; when it is started again it goes on with "
                                    "what it had taken"},
             now);
}

// -- rows ------------------------------------------------------------------------

std::uint64_t BrokerCore::wall_ms(TimePoint at) const {
    if (at == TimePoint{}) return 0;
    Duration slept = slept_before_pauses_;
    for (const Pause& pause : pauses_)
        if (pause.noticed <= at) slept = pause.slept;
    at += slept;
    return config_.wall_ms ? config_.wall_ms(at) : to_ms(at.time_since_epoch());
}

RunRow BrokerCore::row_of(const Run& run) const {
    RunRow row;
    row.run = run.id;
    row.state = run.state;
    row.code = run.ending.code;
    if (run.ending.code != Errc::ok) row.reason = run.ending.sentence;
    row.owner = run.owner_name;
    row.role = run.owner_role;
    row.open = run.open_to_all;
    row.participants = run.members().size();
    for (const Member& member : run.members()) {
        if (row.names.size() == row_names_max) break;
        row.names.push_back(member.participant.name);
    }
    std::sort(row.names.begin(), row.names.end());
    row.created_ms = wall_ms(run.created);
    row.started_ms = wall_ms(run.running_since);
    row.finished_ms = wall_ms(run.finished);
    row.messages = run.messages;
    row.bytes = run.bytes;
    row.term = run.term;
    return row;
}

NodeState BrokerCore::state_of(const Node& node) noexcept {
    return node.left                            ? NodeState::left
           : node.state == Node::State::lost    ? NodeState::lost
           : node.state == Node::State::suspect ? NodeState::suspect
                                                : NodeState::up;
}

NodeRow BrokerCore::row_of(const Node& node) const {
    NodeRow row;
    row.name = node.hello.name;
    row.role = node.hello.role;
    row.rank = node.hello.rank;
    row.state = state_of(node);
    row.version = node.hello.version;
    row.features = node.hello.features;
    row.first_seen_ms = wall_ms(node.first_seen);
    row.last_seen_ms = wall_ms(node.last_heard);
    row.runs = runs_.runs_of(node.id).size();
    row.messages = node.messages;
    row.bytes = node.bytes;
    return row;
}

void BrokerCore::note(Run& run) {
    if (config_.ledger == nullptr) return;
    run.noted_bytes = run.bytes;
    config_.ledger->note(row_of(run));
}

void BrokerCore::note(const RunId& run, const WaitingRun& waiting, RunState state,
                      const Ending& ending, TimePoint now) {
    RunRow row;
    row.run = run;
    row.state = state;
    row.code = ending.code;
    row.reason = ending.sentence;
    row.owner = waiting.by_name;
    row.role = waiting.by_role;
    row.created_ms = wall_ms(waiting.since);
    if (finished(state)) row.finished_ms = wall_ms(now);
    config_.ledger->note(std::move(row));
}

void BrokerCore::note(Node& node) {
    if (config_.ledger == nullptr || lists(node.hello, feature_asks)) return;
    node.noted_bytes = node.bytes;
    node.noted_runs = runs_.runs_of(node.id).size();
    config_.ledger->note(row_of(node));
}

void BrokerCore::note_sizes(TimePoint now) {
    sizes_noted_ = now;
    if (config_.ledger == nullptr) return;
    for (const auto& [id, run] : runs_.all())
        if (run->bytes != run->noted_bytes) note(*run);
    for (const auto& [id, node] : nodes_)
        if (node->bytes != node->noted_bytes || runs_.runs_of(id).size() != node->noted_runs)
            note(*node);
}

}  // namespace vflbus::bus
