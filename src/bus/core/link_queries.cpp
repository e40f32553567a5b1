// Questions to and from this node: docs/protocol.md, section 12.

#include "bus/core/link_state.hpp"

namespace vflbus::bus {
namespace {

constexpr std::size_t queries_waiting_max = 64;

}  // namespace

std::uint64_t LinkCore::query(NodeId dst, const RunId& run, Question question, Bytes body,
                              TimePoint deadline, TimePoint now) {
    const std::uint64_t number = next_query_++;
    time_ = now;
    if (deadline <= now) {
        answers_.push_back({dst,
                            run,
                            number,
                            static_cast<std::uint16_t>(question),
                            {},
                            {Errc::timed_out, "there was no time to ask"}});
        return number;
    }
    const auto at = asked_.emplace(number, Asked{dst, run, question, std::move(body), deadline});
    if (up()) send_query(number, at.first->second);
    return number;
}

void LinkCore::send_query(std::uint64_t number, const Asked& asked) {
    Header header;
    header.run = asked.run;
    header.dst = asked.dst;
    header.request = number;
    header.type = static_cast<std::uint16_t>(asked.question);
    send_control(Kind::query, header, asked.body);
}

void LinkCore::expire_queries(TimePoint now) {
    std::erase_if(asked_, [&](const auto& entry) {
        const auto& [number, asked] = entry;
        if (now < asked.deadline) return false;
        answers_.push_back({asked.dst,
                            asked.run,
                            number,
                            static_cast<std::uint16_t>(asked.question),
                            {},
                            {Errc::timed_out, "there was no answer in time"}});
        return true;
    });
}

void LinkCore::on_answer(const Header& header, const Payload& body) {
    const auto found = asked_.find(header.request);
    if (found == asked_.end()) return;
    const Asked& asked = found->second;
    if ((header.src != asked.dst && header.src != broker_node) || header.run != asked.run ||
        header.type != static_cast<std::uint16_t>(asked.question))
        return;
    AnswerArrived answer{asked.dst, asked.run, header.request, header.type, {}, {Errc::ok, {}}};
    asked_.erase(found);
    const auto bytes = body.bytes();
    if ((header.flags & flag::error) != 0) {
        auto ending = decode_ending(bytes);
        answer.error = ending && ending->code != Errc::ok
                           ? Failure{ending->code, std::move(ending->sentence)}
                           : Failure{Errc::malformed_message, "the answer does not decode"};
    } else {
        answer.body.assign(bytes.begin(), bytes.end());
    }
    answers_.push_back(std::move(answer));
}

void LinkCore::on_query(const Header& header, const Payload& body) {
    if (state_ != State::up) return;
    const auto bytes = body.bytes();
    QueryArrived query{header.src, header.run, header.request, header.type,
                       Bytes(bytes.begin(), bytes.end())};
    if (queries_.size() >= queries_waiting_max)
        return answer(query, fail(Errc::too_many, config_.hello.name +
                                                      " has many questions to answer; ask again "
                                                      "in a moment"));
    queries_.push_back(std::move(query));
}

bool LinkCore::next_query(QueryArrived& out) {
    if (queries_.empty()) return false;
    out = std::move(queries_.front());
    queries_.pop_front();
    return true;
}

void LinkCore::answer(const QueryArrived& query, const Result<Bytes>& body) {
    if (state_ != State::up) return;
    Header header;
    header.run = query.run;
    header.dst = query.from;
    header.request = query.number;
    header.type = query.question;
    if (!body) header.flags = flag::error;
    const bool fits = body && body->size() <= answer_body_bytes_max;
    if (body && !fits) {
        header.flags = flag::error;
        return send_control(Kind::answer, header,
                            encode(Ending{Errc::too_large, "the answer is too long"}));
    }
    send_control(Kind::answer, header,
                 body ? *body : encode(Ending{body.error().code, body.error().sentence}));
}

bool LinkCore::next_answer(AnswerArrived& out) {
    if (answers_.empty()) return false;
    out = std::move(answers_.front());
    answers_.pop_front();
    return true;
}

}  // namespace vflbus::bus
