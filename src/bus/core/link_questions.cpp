#include "bus/core/link_questions.hpp"

#include <utility>

#include "base/assert.hpp"
#include "base/node_names.hpp"
#include "bus/wire/control.hpp"

namespace vflbus::bus {
namespace {

constexpr std::size_t queries_waiting_max = 64;
/// Processes of which the last question is remembered.
constexpr std::size_t askers_max = 4096;
/// What a sealed answer has more than its content: a count, lengths, the tag.
constexpr std::size_t sealed_answer_overhead = 64;
/// A question `key`, or its answer, may be lost like any other.
constexpr Duration key_again_after = std::chrono::seconds(2);
/// One question is sent again under other keys at most so often: each time its node was started
/// again before the question arrived.
constexpr std::size_t key_changes_max = 4;

/// What an answer with flag `error` says.
Failure failure_in(std::span<const std::uint8_t> body) {
    auto ending = decode_ending(body);
    if (!ending || ending->code == Errc::ok)
        return {Errc::malformed_message, "the answer does not decode"};
    return {ending->code, std::move(ending->sentence)};
}

}  // namespace

// -- asking ------------------------------------------------------------------------

std::uint64_t LinkQuestions::query(NodeId dst, const RunId& run, Question question, Bytes body,
                                   TimePoint deadline, TimePoint now, bool up) {
    now_ = now;
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
    for (auto& [dst, channel] : channels_) channel.key_question = 0;  // it may be lost
    for (auto& [number, asked] : asked_) send_query(number, asked);
}

bool LinkQuestions::seals(NodeId dst, Question question) const noexcept {
    return seal_ != nullptr && dst != broker_node && question != Question::key;
}

void LinkQuestions::send_query(std::uint64_t number, Asked& asked) {
    if (seals(asked.dst, asked.question)) {
        Channel& channel = channels_[asked.dst];
        if (channel.keys) return send_sealed(number, asked, *channel.keys);
        if (channel.key_question == 0 || now_ - channel.key_asked_at >= key_again_after)
            ask_key(asked.dst, channel, asked.run);
        return;
    }
    Header header;
    header.run = asked.run;
    header.dst = asked.dst;
    header.request = number;
    header.type = static_cast<std::uint16_t>(asked.question);
    send_(Kind::query, header, asked.body);
}

/// What is asked for first: the keys of the node. The questions to it wait until that is answered.
void LinkQuestions::ask_key(NodeId dst, Channel& channel, const RunId& run) {
    channel.key_question = next_number_++;
    channel.key_asked_at = now_;
    Header header;
    header.run = run;
    header.dst = dst;
    header.request = channel.key_question;
    header.type = static_cast<std::uint16_t>(Question::key);
    send_(Kind::query, header, encode_empty());
}

/// The node itself has answered `key`, or the broker in its place.
void LinkQuestions::on_key(NodeId dst, const Header& header, const Payload& body,
                           Channel& channel) {
    channel.key_question = 0;
    if ((header.flags & flag::error) != 0) {
        Failure why = failure_in(body.bytes());
        if (why.code == Errc::unknown_message)
            why = {Errc::refused, own_name_ +
                                      " asks sealed questions (bus.seal), and who is asked "
                                      "does not seal: bus.seal is off there, or it has no "
                                      "keys"};
        return settle_all(dst, why);
    }
    const auto answer = decode_key_answer(body.bytes());
    if (!answer) return settle_all(dst, answer.error());
    if (const auto good = seal_->meet(answer->node, dst); !good)
        return settle_all(dst, good.error());
    channel.keys =
        seal_->keys_for({privacy::SealUse::Purpose::questions, seal_->cipher_with(answer->aes)},
                        answer->node, true);
    if (!channel.keys) return settle_all(dst, {Errc::refused, "that is no key"});
    for (auto& [number, asked] : asked_)
        if (asked.dst == dst) send_query(number, asked);
}

void LinkQuestions::settle_all(NodeId dst, const Failure& failure) {
    std::vector<std::uint64_t> numbers;
    for (const auto& [number, asked] : asked_)
        if (asked.dst == dst && seals(dst, asked.question)) numbers.push_back(number);
    for (const std::uint64_t number : numbers) settle(number, asked_.at(number), {}, failure);
}

void LinkQuestions::send_sealed(std::uint64_t number, Asked& asked, const SealKeys& keys) {
    ++asked.under_these_keys;
    Header header;
    header.kind = Kind::query;
    header.flags = flag::sealed;
    header.run = asked.run;
    header.src = own_id_;
    header.dst = asked.dst;
    header.request = number;
    header.type = static_cast<std::uint16_t>(asked.question);
    const std::uint64_t count = seal_->next_count();
    SealedQuery query{
        seal_->self(), static_cast<std::uint8_t>(keys.cipher), count,
        sealed_bytes(keys, SealedKind::query, count, associated_data(header, false), asked.body)};
    send_(Kind::query, header, encode(query));
}

/// What was asked under the keys may come to a process that does not know them, and then an error
/// for each time that it was: it says nothing of what is asked under the next ones.
void LinkQuestions::forget_keys(NodeId dst, Channel& channel) {
    channel.keys.reset();
    for (auto& [number, asked] : asked_)
        if (asked.dst == dst) asked.under_earlier_keys += std::exchange(asked.under_these_keys, 0);
}

/// From the node itself. An error that is not sealed tells nothing but that it failed.
void LinkQuestions::on_sealed_answer(const Header& header, const Payload& body, Asked& asked) {
    Channel& channel = channels_[asked.dst];
    if ((header.flags & flag::sealed) == 0) {
        auto ending = decode_ending(body.bytes());
        if ((header.flags & flag::error) == 0 || !ending || ending->code == Errc::ok)
            ending = Ending{Errc::seal_broken, "an answer came that is not sealed"};
        if (ending->code == Errc::seal_broken) {
            if (asked.under_earlier_keys > 0) {
                --asked.under_earlier_keys;
                return;
            }
            if (asked.key_changes < key_changes_max) {
                ++asked.key_changes;  // another process of that name, another session
                if (asked.under_these_keys > 0) --asked.under_these_keys;
                forget_keys(asked.dst, channel);
                return send_query(header.request, asked);
            }
        }
        return settle(header.request, asked, {}, {ending->code, std::move(ending->sentence)});
    }
    auto answer = decode_sealed_answer(body.bytes());
    std::optional<Bytes> content;
    if (answer && channel.keys)
        content = opened_bytes(*channel.keys, SealedKind::answer, answer->count,
                               associated_data(header, false), std::move(answer->sealed));
    if (!content) {
        const std::string sentence =
            "an answer came to " + own_name_ + " that does not open with the keys of both";
        seal_->note_broken(sentence);
        return settle(header.request, asked, {}, {Errc::seal_broken, sentence});
    }
    if ((header.flags & flag::error) == 0)
        return settle(header.request, asked, std::move(*content), {Errc::ok, {}});
    settle(header.request, asked, {}, failure_in(*content));
}

void LinkQuestions::settle(std::uint64_t number, const Asked& asked, Bytes body, Failure error) {
    answers_.push_back({asked.dst, asked.run, number, static_cast<std::uint16_t>(asked.question),
                        std::move(body), std::move(error)});
    const bool stood = deadlines_.erase({asked.deadline, number}) == 1;
    VFLBUS_ASSERT(stood, "every question that is asked has a deadline");
    asked_.erase(number);
}

void LinkQuestions::expire(TimePoint now) {
    now_ = now;
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
        const std::uint64_t number = deadlines_.begin()->second;
        settle(number, asked_.at(number), {}, {Errc::timed_out, "there was no answer in time"});
    }
}

void LinkQuestions::on_answer(const Header& header, const Payload& body) {
    if (header.type == static_cast<std::uint16_t>(Question::key)) {
        for (auto& [dst, channel] : channels_)
            if (channel.key_question != 0 && channel.key_question == header.request &&
                (header.src == dst || header.src == broker_node))
                return on_key(dst, header, body, channel);
        return;
    }
    const auto found = asked_.find(header.request);
    if (found == asked_.end()) return;
    Asked& asked = found->second;
    if ((header.src != asked.dst && header.src != broker_node) || header.run != asked.run ||
        header.type != static_cast<std::uint16_t>(asked.question))
        return;
    // of the broker itself only errors can come
    if (seals(asked.dst, asked.question) &&
        (header.src != broker_node || (header.flags & flag::error) == 0))
        return on_sealed_answer(header, body, asked);
    const auto bytes = body.bytes();
    if ((header.flags & flag::sealed) != 0)
        return settle(
            header.request, asked, {},
            {Errc::seal_broken, "a sealed answer came to a question that was not sealed"});
    if ((header.flags & flag::error) == 0)
        return settle(header.request, asked, Bytes(bytes.begin(), bytes.end()), {Errc::ok, {}});
    settle(header.request, asked, {}, failure_in(bytes));
}

bool LinkQuestions::next_answer(AnswerArrived& out) {
    if (answers_.empty()) return false;
    out = std::move(answers_.front());
    answers_.pop_front();
    return true;
}

// -- being asked -------------------------------------------------------------------

bool LinkQuestions::Heard::is_new(const Session& session, std::uint64_t count) {
    const auto [entry, first] = last_.emplace(session, count);
    if (!first) {
        const bool higher = count > entry->second;
        if (higher) entry->second = count;
        return higher;
    }
    order_.push_back(session);
    if (order_.size() > askers_max) {
        last_.erase(order_.front());
        order_.pop_front();
    }
    return true;
}

void LinkQuestions::on_query(const Header& header, const Payload& body) {
    const auto bytes = body.bytes();
    QueryArrived query{
        header.src, header.run, header.request, header.type, Bytes(bytes.begin(), bytes.end()), {}};
    if (seal_ != nullptr || (header.flags & flag::sealed) != 0 ||
        header.type == static_cast<std::uint16_t>(Question::key)) {
        open_query(header, body, query);
        if (query.keys == nullptr) return;  // it is answered
    }
    if (queries_.size() >= queries_waiting_max)
        return answer(query,
                      fail(Errc::too_many,
                           own_name_ + " has many questions to answer; ask again in a moment"));
    queries_.push_back(std::move(query));
}

/// Takes the seal off, when it is that of somebody whom this party knows; otherwise answers with
/// the reason. `key` is answered here.
void LinkQuestions::open_query(const Header& header, const Payload& body, QueryArrived& query) {
    if (seal_ == nullptr)
        return answer(query, fail(header.type == static_cast<std::uint16_t>(Question::key)
                                      ? Errc::unknown_message
                                      : Errc::refused,
                                  own_name_ + " answers no sealed questions: "
                                              "bus.seal is off there, or it has no "
                                              "keys"));
    if (header.type == static_cast<std::uint16_t>(Question::key))
        return answer(query, encode(KeyAnswer{seal_->self(), seal_->aes()}));
    if ((header.flags & flag::sealed) == 0)
        return answer(
            query, fail(Errc::refused, own_name_ + " answers sealed questions alone (bus.seal)"));
    auto said = decode_sealed_query(body.bytes());
    if (!said) return answer(query, tl::unexpected(said.error()));
    if (auto good = seal_->knows(said->asker, header.src); !good) {
        seal_->tell(good.error().sentence);
        return answer(query, tl::unexpected(for_the_other_end(good.error())));
    }
    const auto keys = seal_->keys_for(
        {privacy::SealUse::Purpose::questions, static_cast<privacy::Cipher>(said->cipher)},
        said->asker, false);
    std::optional<Bytes> content;
    if (keys)
        content = opened_bytes(*keys, SealedKind::query, said->count,
                               associated_data(header, false), std::move(said->sealed));
    if (!content) {
        const std::string sentence =
            "a question came to " + own_name_ + " that does not open with the keys of both";
        seal_->note_broken(sentence);
        return answer(query, fail(Errc::seal_broken, sentence));
    }
    if (!heard_.is_new(said->asker.session, said->count)) {
        const std::string sentence =
            "a question of " + said->asker.name + " came to " + own_name_ + " once more";
        seal_->note_broken(sentence);
        return answer(query, fail(Errc::refused, sentence));
    }
    query.body = std::move(*content);
    query.keys = std::make_shared<const SealKeys>(*keys);
    query.asker = without_suffix(said->asker.key_name);
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
    const bool fits = body && body->size() + sealed_answer_overhead <= answer_body_bytes_max;
    if (!fits) header.flags = flag::error;
    Bytes said = fits ? *body
                      : encode(body ? Ending{Errc::too_large, "the answer is too long"}
                                    : Ending{body.error().code, body.error().sentence});
    if (query.keys == nullptr) return send_(Kind::answer, header, std::move(said));
    header.kind = Kind::answer;
    header.src = own_id_;
    header.flags |= flag::sealed;
    const std::uint64_t count = seal_->next_count();
    send_(
        Kind::answer, header,
        encode(SealedAnswer{count, sealed_bytes(*query.keys, SealedKind::answer, count,
                                                associated_data(header, false), std::move(said))}));
}

}  // namespace vflbus::bus
