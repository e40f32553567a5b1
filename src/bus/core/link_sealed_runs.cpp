// Runs whose messages are sealed: docs/protocol.md, section 14. How a participant gets the agreed
// text of an OPEN, how both ends come to their keys, and which body is sealed with them.
//
//     owner                         participant
//     OPEN, its keys, no text ----> are these the keys of the owner? (PartyKeys)
//     <------------- QUERY terms    its own keys
//     ANSWER, the text sealed ----> only who has the owner's key can have sealed it: RunInvited
//     <-------------------- JOIN    its keys again, and what only it can have sealed

#include "base/hash.hpp"
#include "base/planted.hpp"
#include "bus/core/link_state.hpp"

namespace vflbus::bus {
namespace {

using Purpose = privacy::SealUse::Purpose;

constexpr std::size_t invited_max = 1024;
/// An answer that is lost, or has not come: the question is said again.
constexpr Duration ask_again_after = std::chrono::seconds(2);

privacy::Cipher cipher_of(std::uint8_t number) noexcept {
    return static_cast<privacy::Cipher>(number);
}

Bytes one_after_another(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) {
    Bytes out(a.size() + b.size());
    std::copy(b.begin(), b.end(), std::copy(a.begin(), a.end(), out.begin()));
    return out;
}

Header answer_to(const Header& query) {
    Header answer;
    answer.run = query.run;
    answer.dst = query.src;
    answer.request = query.request;
    answer.type = query.type;
    return answer;
}

/// The header of an answer to `terms`, as both ends see it, and what it answers.
Bytes associated_with_terms(const RunId& run, NodeId owner, NodeId participant,
                            std::uint64_t number, const Hash256& open) {
    Header header;
    header.kind = Kind::answer;
    header.flags = flag::sealed;
    header.run = run;
    header.src = owner;
    header.dst = participant;
    header.request = number;
    header.type = static_cast<std::uint16_t>(Question::terms);
    return one_after_another(associated_data(header, false), open);
}

/// Of the ending that CLOSE has for one participant.
Bytes associated_with_close(const RunId& run, std::uint32_t term, NodeId owner,
                            NodeId participant) {
    Header header;
    header.kind = Kind::close;
    header.flags = flag::sealed;
    header.run = run;
    header.term = term;
    header.src = owner;
    header.dst = participant;
    const HeaderBytes bytes = associated_data(header, false);
    return {bytes.begin(), bytes.end()};
}

/// All of a JOIN but what is sealed in it: its header, and its body with nothing in that place.
Bytes associated_with_join(const RunId& run, std::uint32_t term, NodeId participant, NodeId owner,
                           Join join, SealAccept accept) {
    Header header;
    header.kind = Kind::join;
    header.run = run;
    header.term = term;
    header.src = participant;
    header.dst = owner;
    accept.sealed.clear();
    join.extensions[seal_extension] = encode(accept);
    return one_after_another(associated_data(header, false), encode(join));
}

}  // namespace

// -- the owner's side ----------------------------------------------------------------

/// Takes the agreed text out of an OPEN, and puts the keys of this process in its place.
void LinkCore::seal_open(Run& run, Open& open) {
    run.sealed = true;
    run.agreed = std::exchange(open.agreed, {});
    run.to_everybody = open.to_everybody();
    for (const Participant& participant : open.participants) run.invited.insert(participant.name);
    run.opening = seal_->next_opening();
    open.extensions[seal_extension] = encode(SealOffer{seal_->self(), seal_->aes(), run.opening});
}

/// The broker can make up names, and a name that nobody has met is believed at first: so nobody is
/// met whom the OPEN did not name.
bool LinkCore::may_take_part(const Run& run, const std::string& name) {
    return run.to_everybody || run.invited.contains(name);
}

/// A participant asks for the text of an OPEN of ours.
void LinkCore::on_terms_query(const Header& header, const Payload& body) {
    if (state_ != State::up) return;
    Header answer = answer_to(header);
    const auto refuse = [&](const Failure& why) {
        answer.flags = flag::error;
        send_control(Kind::answer, answer, encode(Ending{why.code, why.sentence}));
    };
    Run* const run = find(header.run);
    const auto query = decode_terms_query(body.bytes());
    if (!query) return refuse(query.error());
    if (run == nullptr || !run->ours || !run->sealed || run->closing || run->term != query->term ||
        run->opening != query->opening || !may_take_part(*run, query->participant.name))
        return refuse({Errc::unknown_run, "there is no such OPEN of " + config_.hello.name});
    if (const auto known = seal_->meet(query->participant, header.src); !known) {
        seal_->tell(known.error().sentence);
        return refuse(for_the_other_end(known.error()));
    }
    const auto keys = seal_->keys_for(
        {Purpose::terms, cipher_of(query->cipher), run->id, run->term, run->opening, 0},
        query->participant, true);
    if (!keys) return refuse({Errc::refused, "that is no key"});
    peer_of(*run, header.src).terms = PeerSeal{*keys, query->participant.session, 0};
    answer.flags = flag::sealed;
    const std::uint64_t count = seal_->next_count();
    const Bytes associated =
        associated_with_terms(run->id, id_, header.src, header.request, run->open_digest);
    send_control(
        Kind::answer, answer,
        encode(SealedAnswer{count, sealed_bytes(*keys, SealedKind::answer, count, associated,
                                                Bytes(run->agreed.begin(), run->agreed.end()))}));
}

bool LinkCore::answers_other_open(const Run& run, const Join& join) const {
    const auto extension = join.extensions.find(seal_extension);
    if (extension == join.extensions.end()) return false;
    const auto accept = decode_seal_accept(extension->second, join.name);
    return accept && accept->opening != run.opening;
}

/// What a JOIN of a sealed run says, when it is that of the participant whose key it shows. A JOIN
/// that is not counts as one that declines.
std::optional<LinkCore::PeerSeal> LinkCore::unseal_join(const Run& run, const Header& header,
                                                        Join& join) {
    const auto extension = join.extensions.find(seal_extension);
    if (extension == join.extensions.end() && join.code != Errc::ok)
        return {};  // who declines before it has keys of the run says so unsealed
    const auto broken_by = [&](const Failure& why) -> std::optional<PeerSeal> {
        seal_->note_broken(why.sentence);
        join.code = why.code;
        join.sentence = for_the_other_end(why).sentence;  // the CLOSE will say it
        return {};
    };
    const auto broken = [&](Errc code, std::string sentence) {
        return broken_by({code, std::move(sentence)});
    };
    const std::string whose = join.name + "'s JOIN of run " + run.id.short_hex();
    if (extension == join.extensions.end())
        return broken(Errc::refused, whose + " is not sealed (bus.seal), and the run is");
    auto accept = decode_seal_accept(extension->second, join.name);
    if (accept && accept->opening != run.opening && join.code != Errc::ok) {
        join.sentence = join.name + " has joined run " + run.id.short_hex() +
                        " with an earlier process of " + config_.hello.name +
                        ", and declines this one: go on with `--resume " + run.id.hex() + "`";
        return {};
    }
    if (!accept || accept->opening != run.opening)
        return broken(Errc::seal_broken, whose + " has no sealing that fits the run");
    if (const auto known = seal_->meet(accept->participant, header.src); !known)
        return broken_by(known.error());
    const auto keys = seal_->keys_for(
        {Purpose::run, cipher_of(accept->cipher), run.id, run.term, run.opening, accept->joining},
        accept->participant, true);
    Join said = join;
    said.sentence.clear();
    const Bytes associated =
        associated_with_join(run.id, run.term, header.src, id_, std::move(said), *accept);
    std::optional<Bytes> content;
    if (keys)
        content = opened_bytes(*keys, SealedKind::join, 0, associated, std::move(accept->sealed));
    const auto inner = content ? decode_sealed_join(*content) : Result<SealedJoin>(fail({}, ""));
    if (!inner)
        return broken(Errc::seal_broken, whose + " does not open with the key that it shows");
    join.config_hash = inner->config_hash;
    join.sentence = inner->sentence;
    join.extensions.erase(seal_extension);
    return PeerSeal{*keys, accept->participant.session, accept->joining};
}

/// The participant has joined with these keys. When it had joined with others, it has lost what it
/// was asked since, as after a restart.
bool LinkCore::take_keys(Run& run, NodeId node, Peer& peer, const std::string& name,
                         PeerSeal&& keys) {
    if (peer.seal && peer.seal->same_join(keys)) return false;
    if (!peer.past_joins.insert({keys.session, keys.joining}).second) {
        if (peer.seal) {
            seal_->note_broken("a JOIN of " + name + " that was said before came again");
            ask_to_join_again(run, node, peer.seal->joining);
            forget_process(run, node, peer, name);
        }
        ask_to_join_again(run, node, keys.joining);
        return false;
    }
    if (peer.seal) forget_process(run, node, peer, name);
    peer.seal = std::move(keys);
    return true;
}

/// Example of what goes wrong without it:
///   1. A member has joined. A second process has its name for a while, and joins as well: what the
///      first one was asked has failed, and its keys are forgotten.
///   2. The second process ends, and the first one is back. It knows that it has joined, and
///      says so.
///   3. With those keys nothing may be said any more, as nonces could be used twice. The member
///      waits for requests, and the owner for a JOIN with other keys.
/// The same where the owner has not noticed that the second one ended, because the broker was gone
/// meanwhile and both have the same incarnation: it has the keys of the second process, and which
/// of the two is there it cannot know. So it uses neither's, and asks both.
void LinkCore::ask_to_join_again(const Run& run, NodeId node, std::uint64_t joining) {
    if (state_ != State::up) return;
    Header header;
    header.run = run.id;
    header.dst = node;
    header.request = questions_.take_number();
    header.type = static_cast<std::uint16_t>(Question::join_again);
    send_control(Kind::query, header, encode_join_again(joining));
}

// -- the participant's side ------------------------------------------------------------

/// The owner knows the keys of our JOIN no longer: the run ends here, and its user is invited anew.
void LinkCore::on_join_again(const Header& header, const Payload& body) {
    if (state_ != State::up) return;
    send_control(Kind::answer, answer_to(header), encode_empty());
    const auto joining = decode_join_again(body.bytes());
    const Run* const run = find(header.run);
    if (!joining || run == nullptr || run->ours || run->owner != header.src) return;
    const auto owner = run->peers.find(header.src);
    // of an earlier JOIN: it was asked twice
    if (owner == run->peers.end() || !owner->second.seal || owner->second.seal->joining != *joining)
        return;
    const auto known = invited_.find(header.run);
    if (known == invited_.end() || !known->second.answered || known->second.term != run->term)
        return;
    Invited& invited = known->second;
    Ending ending{Errc::peer_restarted,
                  "the owner of the run has met another process of " + config_.hello.name};
    const std::uint64_t before = std::exchange(invited.number, questions_.take_number());
    events_.push_back(RunClosed{header.run, std::move(ending), false, true, before});
    forget_run(RunId(header.run));
    tell_invited(header.run, invited);
}

/// An OPEN that shows the owner's keys. Its text is asked for; the user hears of it then.
void LinkCore::on_sealed_open(const Header& header, const Payload& body, Open open) {
    const Hash256 digest = hash256(body.bytes());
    const auto known = invited_.find(header.run);
    if (known != invited_.end() && known->second.digest == digest &&
        known->second.term == header.term) {
        if (known->second.answered) tell_invited(header.run, known->second);
        return;
    }
    const auto offer = decode_seal_offer(open.extensions.at(seal_extension), open.owner);
    if (!offer) return decline(header, Errc::malformed_message, offer.error().sentence);
    const auto named = [&](const Participant& who) { return who.name == config_.hello.name; };
    if (!open.to_everybody() &&
        std::none_of(open.participants.begin(), open.participants.end(), named))
        return decline(header, Errc::refused,
                       config_.hello.name + " does not stand in the OPEN of " + open.owner);
    if (const auto good = seal_->meet(offer->owner, header.src); !good) {
        seal_->tell(good.error().sentence);
        return decline(header, good.error().code, for_the_other_end(good.error()).sentence);
    }
    if (invited_.size() >= invited_max && known == invited_.end()) {
        const auto idle = std::find_if(invited_.begin(), invited_.end(), [&](const auto& entry) {
            return find(entry.first) == nullptr;
        });
        if (idle == invited_.end())
            return decline(header, Errc::too_many, config_.hello.name + " is in many runs");
        invited_.erase(idle);
    }
    open.extensions.erase(seal_extension);
    Invited& invited = invited_[header.run];
    invited = Invited{};
    invited.term = header.term;
    invited.owner = header.src;
    invited.open = std::move(open);
    invited.offer = *offer;
    invited.digest = digest;
    invited.cipher = seal_->cipher_with(offer->aes);
    invited.number = questions_.take_number();
    ask_terms(header.run, invited, time_);
}

void LinkCore::ask_terms(const RunId& run, Invited& invited, TimePoint now) {
    invited.ask_at = now + ask_again_after;
    if (state_ != State::up) return;
    Header header;
    header.run = run;
    header.dst = invited.owner;
    header.request = invited.number;
    header.type = static_cast<std::uint16_t>(Question::terms);
    send_control(Kind::query, header,
                 encode(TermsQuery{seal_->self(), static_cast<std::uint8_t>(invited.cipher),
                                   invited.term, invited.offer.opening}));
}

/// Of all that were asked and have not answered. `all`: in a new session.
void LinkCore::ask_terms_due(TimePoint now, bool all) {
    for (auto& [run, invited] : invited_)
        if (!invited.answered && (all || now >= invited.ask_at)) ask_terms(run, invited, now);
}

TimePoint LinkCore::terms_deadline() const noexcept {
    TimePoint next = TimePoint::max();
    for (const auto& [run, invited] : invited_)
        if (!invited.answered) next = std::min(next, invited.ask_at);
    return next;
}

void LinkCore::on_terms(const Header& header, const Payload& body) {
    const auto found = invited_.find(header.run);
    if (found == invited_.end() || found->second.answered || found->second.number != header.request)
        return;
    Invited& invited = found->second;
    Header about;
    about.run = header.run;
    about.term = invited.term;
    about.src = invited.owner;
    if (header.src == broker_node) return;  // `unreachable` and the like: it is asked again
    if (header.src != invited.owner) return;
    if ((header.flags & flag::error) != 0) {
        auto ending = decode_ending(body.bytes());
        if (!ending || ending->code != Errc::refused) return;
        seal_->tell(ending->sentence);
        decline(about, Errc::refused, std::move(ending->sentence));
        invited_.erase(found);
        return;
    }
    const auto keys = seal_->keys_for(
        {Purpose::terms, invited.cipher, header.run, invited.term, invited.offer.opening, 0},
        invited.offer.owner, false);
    auto answer = decode_sealed_answer(body.bytes());
    std::optional<Bytes> text;
    if (keys && answer && (header.flags & flag::sealed) != 0)
        text = opened_bytes(
            *keys, SealedKind::answer, answer->count,
            associated_with_terms(header.run, invited.owner, id_, header.request, invited.digest),
            std::move(answer->sealed));
    if (!text) {
        const std::string sentence = "what came as the text of run " + header.run.short_hex() +
                                     " was not sealed with the key of " + invited.open.owner;
        seal_->note_broken(sentence);
        decline(about, Errc::seal_broken, sentence);
        invited_.erase(found);
        return;
    }
    invited.open.agreed.assign(text->begin(), text->end());
    invited.answered = true;
    tell_invited(header.run, invited);
}

void LinkCore::tell_invited(const RunId& run, const Invited& invited) {
    // nothing of the earlier term is of interest any more
    if (const Run* const known = find(run); known != nullptr && known->term < invited.term)
        forget_run(RunId(run));
    events_.push_back(RunInvited{run, invited.term, invited.owner, invited.open,
                                 fingerprint_of(PublicKey{invited.offer.owner.key}),
                                 invited.number});
}

bool LinkCore::is_present_invitation(const RunId& run, std::uint64_t invitation) const {
    const auto found = invited_.find(run);
    return found != invited_.end() && found->second.number == invitation;
}

/// The JOIN that answers a sealed OPEN: what it says is sealed, and `run` gets the keys that follow
/// from it. Where nothing is known of that OPEN any more, it stays as it is.
void LinkCore::seal_join(const RunId& id, std::uint32_t term, Join& join, Run* run) {
    const auto found = invited_.find(id);
    if (found == invited_.end() || found->second.term != term || !found->second.answered) return;
    const Invited& invited = found->second;
    SealAccept accept{seal_->self(),
                      static_cast<std::uint8_t>(invited.cipher),
                      invited.offer.opening,
                      seal_->next_joining(),
                      {}};
    const auto keys =
        seal_->keys_for({Purpose::run, invited.cipher, id, term, accept.opening, accept.joining},
                        invited.offer.owner, false);
    VFLBUS_ASSERT(keys.has_value(), "keys that have opened the text are keys");
    const Bytes inner = encode(SealedJoin{join.config_hash, std::exchange(join.sentence, {})});
    join.config_hash = {};
    const Bytes associated = associated_with_join(id, term, id_, invited.owner, join, accept);
    accept.sealed = sealed_bytes(*keys, SealedKind::join, 0, associated, inner);
    join.extensions[seal_extension] = encode(accept);
    if (run == nullptr) return;
    run->sealed = true;
    peer_of(*run, invited.owner).seal =
        PeerSeal{*keys, invited.offer.owner.session, accept.joining};
}

// -- messages ------------------------------------------------------------------------

void LinkCore::seal_body(const Run& run, NodeId dst, const Peer& peer, BodyName name,
                         OutgoingBody& out) {
    Header header = header_of(run, dst, peer, name);
    header.body_bytes = out.size() + seal_overhead_bytes;
    out.seal(data_stream(privacy::SealStream::Way::seal, peer.seal->keys, header));
}

/// The first part of a body has come. What is not sealed as its run is, is broken.
void LinkCore::begin_opening(const Run& run, const Peer& peer, IncomingBody& body,
                             const Header& header) {
    const bool sealed = (header.flags & flag::sealed) != 0;
    if (sealed != run.sealed || (sealed && !peer.seal)) return body.mark_broken();
    if (sealed)
        body.open_with(data_stream(privacy::SealStream::Way::open, peer.seal->keys, header));
}

Failure LinkCore::broken(const Run& run, const char* what, std::uint64_t number) {
    Failure failure{Errc::seal_broken,
                    std::string(what) + " " + std::to_string(number) + " of run " +
                        run.id.short_hex() + " that came to " + config_.hello.name +
                        " does not open with the keys of both: it was changed on the way, or "
                        "belongs elsewhere"};
    if (seal_) seal_->note_broken(failure.sentence);
    return failure;
}

// -- the end -------------------------------------------------------------------------

/// The broker is told how a sealed run ended as a code; why, in words, its participants alone.
Bytes LinkCore::close_of(Run& run) const {
    if (!run.sealed) return encode(*run.closing);
    Close close{{run.closing->code, std::string(meaning_of(run.closing->code))}, {}};
    const std::size_t known = static_cast<std::size_t>(std::ranges::count_if(
        run.peers, [](const auto& peer) { return peer.second.keys_of_process() != nullptr; }));
    constexpr std::size_t beside = 64;  // of each: its id, the code, the tag, what arrays take
    const std::size_t room = std::min(sealed_endings_bytes_max, frame_max_ / 2);
    const std::size_t each = room / std::max<std::size_t>(1, known);
    const Ending whole{
        run.closing->code,
        std::string(cut_sentence(run.closing->sentence, each > beside ? each - beside : 0))};
    for (const auto& [node, peer] : run.peers) {
        const SealKeys* const keys = peer.keys_of_process();
        if (keys == nullptr) continue;
        close.sealed[node] =
            sealed_bytes(*keys, SealedKind::close, 0,
                         associated_with_close(run.id, run.term, id_, node), encode(whole));
    }
    return encode(close);
}

/// The end of a sealed run in the words that are for everybody. For a process that could not ask
/// for the terms in time, and so has no key for the owner's own words, with where to find these.
Ending LinkCore::open_to_all(const Header& header, Ending said) const {
    const auto found = invited_.find(header.run);
    if (found == invited_.end() || found->second.answered || said.code == Errc::ok) return said;
    const std::string& owner = found->second.open.owner;
    said.sentence += "; " + owner + " had closed the run before " + config_.hello.name +
                     " could ask for its terms, and the log of " + owner + " has the cause";
    return said;
}

/// How the owner says that the run ended, when it has sealed that for this process; else what
/// everybody may know. `run`: null where this node has not joined it.
Ending LinkCore::opened_ending(const Header& header, const Run* run, Close said) {
    const auto own = said.sealed.find(id_);
    if (own == said.sealed.end() || !seal_) return open_to_all(header, std::move(said.ending));
    bool tried = false;
    const auto open_with = [&](NodeId owner, const SealKeys& keys) -> std::optional<Ending> {
        tried = true;
        const auto opened =
            opened_bytes(keys, SealedKind::close, 0,
                         associated_with_close(header.run, header.term, owner, id_), own->second);
        if (!opened) return {};
        auto ending = decode_ending(*opened);
        return ending ? std::optional(std::move(*ending)) : std::nullopt;
    };
    if (run != nullptr && header.term == run->term)
        if (const auto owner = run->peers.find(run->owner);
            owner != run->peers.end() && owner->second.seal)
            if (auto ending = open_with(run->owner, owner->second.seal->keys)) return *ending;
    // the owner may have had the question for its text, and not the JOIN
    if (const auto found = invited_.find(header.run);
        found != invited_.end() && header.term == found->second.term) {
        const Invited& invited = found->second;
        const auto keys = seal_->keys_for(
            {Purpose::terms, invited.cipher, header.run, invited.term, invited.offer.opening, 0},
            invited.offer.owner, false);
        if (keys)
            if (auto ending = open_with(invited.owner, *keys)) return *ending;
    }
    if (tried) seal_->note_broken("how run " + header.run.short_hex() + " ended does not open");
    return open_to_all(header, std::move(said.ending));
}

}  // namespace vflbus::bus
