#include "bus/keys/enrolment.hpp"

#include <algorithm>

#include "base/text.hpp"
#include "bus/keys/allow_list_file.hpp"
#include "bus/keys/key_files.hpp"

namespace vflbus::bus {
namespace {

tl::unexpected<Failure> refused(std::string sentence) {
    return fail(Errc::not_allowed, std::move(sentence));
}

/// The answer to an invitation that was used before.
Result<Enrolled> used_before(const std::string& text, const AllowList& list, const Invited& invited,
                             const std::string& fingerprint) {
    if (invited.used != fingerprint)
        return refused("this invitation was used already, by the key " + invited.used +
                       "; if that is none of yours, the owner of the broker must revoke it, and "
                       "in any case make a new invitation");
    const Allowed* const entry = list.find(fingerprint);
    if (entry == nullptr || entry->name != invited.as.name)
        return refused(
            "the key that joined by this invitation is not allowed any more; ask for a "
            "new invitation");
    return Enrolled{*entry, text, true};
}

}  // namespace

Result<std::string> with_key(const std::string& text, const Allowed& entry, Beside beside) {
    if (entry.name == broker_key_name)
        return fail(Errc::usage,
                    "broker is the name of the broker's own key; a party needs another name");
    std::vector<std::string> faults;
    const AllowList list = AllowList::parse(text, faults);
    std::vector<std::size_t> replaced;
    for (const Allowed& other : list.entries()) {
        if (other.name != entry.name) {
            if (other.fingerprint != entry.fingerprint) continue;
            return fail(Errc::usage, "this key is that of " + other.name + "; a key has one name");
        }
        const bool same = other.fingerprint == entry.fingerprint;
        if (same || beside == Beside::in_place) {
            replaced.push_back(other.line);
        } else if (beside == Beside::alone) {
            return fail(Errc::usage, entry.name + " has the key " + other.fingerprint +
                                         " already; --also lets both in, --replace this one alone");
        }
    }
    std::string after = with_line(without_lines(text, replaced), line_of(entry));
    std::vector<std::string> now_wrong;
    (void)AllowList::parse(after, now_wrong);
    if (now_wrong.size() > faults.size()) return fail(Errc::usage, now_wrong.back());
    return after;
}

Result<Enrolled> enrolled(const std::string& text, const Enrolment& enrolment, Seconds now) {
    std::vector<std::string> faults;
    const AllowList list = AllowList::parse(text, faults);
    const Invited* const invited = list.find_invitation(enrolment.shown);
    if (invited == nullptr)
        return refused("the broker does not know this invitation: it was withdrawn or has expired");
    const std::string fingerprint = fingerprint_of(enrolment.key);
    // (who has joined by it in time, and has not got the answer, may hear it later as well)
    if (invited->as.expires <= now && invited->used != fingerprint)
        return refused("this invitation has expired " + from_now(invited->as.expires, now) +
                       "; ask for a new one");
    if (invited->as.name != enrolment.name)
        return refused("this is the invitation of " + invited->as.name + ", not of " +
                       printable(enrolment.name));
    if (!invited->used.empty()) return used_before(text, list, *invited, fingerprint);
    if (fingerprint == enrolment.shown)
        return refused("the key of an invitation cannot be that of a party");
    if (const Allowed* const other = list.find(fingerprint); other != nullptr)
        return refused("this key is on the allow-list already; make a new one");

    Allowed entry = invited->as;
    entry.key = enrolment.key;
    entry.fingerprint = fingerprint;
    entry.expires = std::min(enrolment.expires, now + invited->lifetime);
    if (entry.expires <= now) return refused("this key has expired; make a new one");
    Invited used = *invited;
    used.used = fingerprint;
    const std::string marked = with_line(without_lines(text, {invited->as.line}), line_of(used));
    auto after = with_key(marked, entry, invited->beside);
    if (!after)
        return refused("the owner of the broker must look at this: " + after.error().sentence);
    return Enrolled{entry,
                    *after + "# joined " + date_text(now) + " " + entry.name + " " + fingerprint +
                        " by invitation " + enrolment.shown + "\n",
                    false};
}

Result<Enrolled> exchanged(const std::string& text, const Enrolment& enrolment, Seconds now) {
    std::vector<std::string> faults;
    const AllowList list = AllowList::parse(text, faults);
    const Allowed* const old = list.find(enrolment.shown);
    if (old == nullptr) return refused("the key that you came with is not allowed any more");
    if (old->name != enrolment.name)
        return refused("this is the key of " + old->name + ", which cannot have one for " +
                       printable(enrolment.name));
    const std::string fingerprint = fingerprint_of(enrolment.key);
    const Allowed* const there = list.find(fingerprint);
    if (there != nullptr && there->name == old->name && there->expires > now)
        return Enrolled{*there, text, true};
    if (old->expires <= now) return refused("the key that you came with is not allowed any more");
    if (there != nullptr) return refused("this key is on the allow-list already; make a new one");
    for (const Allowed& other : list.entries()) {
        if (other.name == old->name && other.fingerprint != old->fingerprint && other.expires > now)
            return refused("two keys of " + old->name + " are good already, this one and " +
                           other.fingerprint + ", until " +
                           date_text(std::min(other.expires, old->expires)) +
                           "; then exchange it, or have the owner of the broker revoke one");
    }
    if (list.find_invitation(fingerprint) != nullptr)
        return refused("the key of an invitation cannot be that of a party");
    Allowed entry = *old;
    entry.key = enrolment.key;
    entry.fingerprint = fingerprint;
    Allowed ending = *old;
    ending.expires = std::min(old->expires, now + key_overlap_s);
    std::string after = with_line(without_lines(text, {old->line}), line_of(ending));
    after = with_line(std::move(after), line_of(entry));
    return Enrolled{entry,
                    after + "# exchanged " + date_text(now) + " " + entry.name + " " + fingerprint +
                        " for " + enrolment.shown + "\n",
                    false};
}

Result<Enrolled> enrol(const std::filesystem::path& directory, const Enrolment& enrolment,
                       Seconds now) {
    Enrolled done;
    const auto changed = change_allow_list(
        directory,
        [&](const std::string& text) -> Result<std::string> {
            std::vector<std::string> faults;
            const bool has_key = AllowList::parse(text, faults).find(enrolment.shown) != nullptr;
            auto after = has_key ? exchanged(text, enrolment, now) : enrolled(text, enrolment, now);
            if (!after) return tl::unexpected(after.error());
            done = std::move(*after);
            return done.text;
        },
        OnLocked::fail);
    if (!changed) return tl::unexpected(changed.error());
    return done;
}

}  // namespace vflbus::bus
