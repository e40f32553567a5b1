#include "bus/core/link_questions.hpp"

#include "base/assert.hpp"
#include "bus/wire/control.hpp"

namespace vflbus::bus {
namespace {

constexpr std::size_t queries_waiting_max = 64;

}  // namespace

// -- asking ------------------------------------------------------------------------

std::uint64_t LinkQuestions::query(NodeId dst, const RunId& run, Question question, Bytes body,
                                   TimePoint deadline, TimePoint now, bool up) {
    const std::uint64_t number = next_number_++;
    Asked asked{dst, run, question, std::move(body), deadline};
    if (deadline <= now) {
        answers_.push_back({dst,
                            run,
                            number,
                            static_cast<std::uint16_t>(question),
                            {},
                            {Errc::timed_out, "there was no time to ask"}});
        return number;
    }
    if (up) send_query(number, asked);
    deadlines_.insert({deadline, number});
    asked_.emplace(number, std::move(asked));
    return number;
}

void LinkQuestions::ask_again() {
    for (const auto& [number, asked] : asked_) send_query(number, asked);
}

void LinkQuestions::send_query(std::uint64_t number, const Asked& asked) {
    Header header;
    header.run = asked.run;
    header.dst = asked.dst;
    header.request = number;
    header.type = static_cast<std::uint16_t>(asked.question);
    send_(Kind::query, header, asked.body);
}

void LinkQuestions::settle(std::uint64_t number, const Asked& asked, Bytes body, Failure error) {
    answers_.push_back({asked.dst, asked.run, number, static_cast<std::uint16_t>(asked.question),
                        std::move(body), std::move(error)});
    const bool stood = deadlines_.erase({asked.deadline, number}) == 1;
    VFLBUS_ASSERT(stood, "every question that is asked has a deadline");
    asked_.erase(number);
}

void LinkQuestions::expire(TimePoint now) {
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
        const std::uint64_t number = deadlines_.begin()->second;
        settle(number, asked_.at(number), {}, {Errc::timed_out, "there was no answer in time"});
    }
}

void LinkQuestions::on_answer(const Header& header, const Payload& body) {
    const auto found = asked_.find(header.request);
    if (found == asked_.end()) return;
    const Asked& asked = found->second;
    if ((header.src != asked.dst && header.src != broker_node) || header.run != asked.run ||
        header.type != static_cast<std::uint16_t>(asked.question))
        return;
    const auto bytes = body.bytes();
    if ((header.flags & flag::error) == 0)
        return settle(header.request, asked, Bytes(bytes.begin(), bytes.end()), {Errc::ok, {}});
    auto ending = decode_ending(bytes);
    settle(header.request, asked, {},
           ending && ending->code != Errc::ok
               ? Failure{ending->code, std::move(ending->sentence)}
               : Failure{Errc::malformed_message, "the answer does not decode"});
}

bool LinkQuestions::next_answer(AnswerArrived& out) {
    if (answers_.empty()) return false;
    out = std::move(answers_.front());
    answers_.pop_front();
    return true;
}

// -- being asked -------------------------------------------------------------------

void LinkQuestions::on_query(const Header& header, const Payload& body) {
    const auto bytes = body.bytes();
    QueryArrived query{header.src, header.run, header.request, header.type,
                       Bytes(bytes.begin(), bytes.end())};
    if (queries_.size() >= queries_waiting_max)
        return answer(query,
                      fail(Errc::too_many,
                           own_name_ + " has many questions to answer; ask again in a moment"));
    queries_.push_back(std::move(query));
}

bool LinkQuestions::next_query(QueryArrived& out) {
    if (queries_.empty()) return false;
    out = std::move(queries_.front());
    queries_.pop_front();
    return true;
}

void LinkQuestions::answer(const QueryArrived& query, const Result<Bytes>& body) {
    Header header;
    header.run = query.run;
    header.dst = query.from;
    header.request = query.number;
    header.type = query.question;
    if (body && body->size() <= answer_body_bytes_max) return send_(Kind::answer, header, *body);
    header.flags = flag::error;
    const Ending why = body ? Ending{Errc::too_large, "the answer is too long"}
                            : Ending{body.error().code, body.error().sentence};
    send_(Kind::answer, header, encode(why));
}

}  // namespace vflbus::bus
