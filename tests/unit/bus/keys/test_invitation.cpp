// The line of an invitation, and how a key gets onto the allow-list by it.

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "bus/keys/allow_list_file.hpp"
#include "bus/keys/base32.hpp"
#include "bus/keys/enrolment.hpp"
#include "bus/keys/invitation.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

constexpr Seconds at_noon = 1'800'000'000;
constexpr Seconds one_day = 86'400;

InvitationLine some_line() {
    InvitationLine line;
    line.address = "tcp://10.0.0.1:7423";
    line.broker.bytes.fill(9);
    line.name = "member-0";
    line.roles = {"member"};
    line.ranks = {0};
    line.expires = at_noon + 7 * one_day;
    for (std::size_t i = 0; i < line.secret.size(); ++i)
        line.secret[i] = static_cast<std::uint8_t>(i);
    return line;
}

std::string why(const std::string& text) {
    const auto line = parse_invitation(text);
    REQUIRE_FALSE(line);
    CHECK(line.error().code == Errc::usage);
    CHECK(line.error().sentence.find('\n') == std::string::npos);
    return line.error().sentence;
}

PublicKey key_filled(std::uint8_t with) {
    PublicKey key;
    key.bytes.fill(with);
    return key;
}

/// An allow-list with the invitation of some_line().
struct Broker {
    explicit Broker(Beside beside = Beside::alone) {
        Invited invited;
        invited.as.name = "member-0";
        invited.as.fingerprint = fingerprint;
        invited.as.roles = {"member"};
        invited.as.ranks = {0};
        invited.as.expires = at_noon + 7 * one_day;
        invited.lifetime = 30 * one_day;
        invited.beside = beside;
        text = "# remarks stay\n" + line_of(invited) + "\n";
    }
    Result<Enrolled> join(std::uint8_t key, Seconds now = at_noon,
                          const std::string& name = "member-0",
                          const std::string& invitation = {}) {
        auto done = enrolled(text,
                             {invitation.empty() ? fingerprint : invitation, name, key_filled(key),
                              at_noon + 365 * one_day},
                             now);
        if (done) text = done->text;
        return done;
    }
    [[nodiscard]] AllowList list() const {
        std::vector<std::string> faults;
        AllowList list = AllowList::parse(text, faults);
        CHECK(faults.empty());
        return list;
    }
    const std::string fingerprint = fingerprint_of(key_of(some_line()).public_key);
    std::string text;
};

void refused(const Result<Enrolled>& joined, const std::string& because) {
    REQUIRE_FALSE(joined);
    INFO(joined.error().sentence);
    CHECK(joined.error().code == Errc::not_allowed);
    CHECK(joined.error().sentence.find(because) != std::string::npos);
}

}  // namespace

TEST_CASE("base32 of any length is read back, and only exactly so", "[keys]") {
    const std::uint8_t bytes[] = {0, 255, 16, 32, 64, 128, 7};
    for (std::size_t n = 0; n <= sizeof bytes; ++n) {
        const std::string text = base32_of(std::span(bytes).first(n));
        std::uint8_t back[sizeof bytes] = {};
        REQUIRE(from_base32(text, std::span(back).first(n)));
        CHECK(std::equal(bytes, bytes + n, back));
        CHECK_FALSE(from_base32(text + "A", std::span(back).first(n)));
    }
    std::uint8_t one[1];
    CHECK(base32_of(std::span(bytes + 1, 1)) == "74");
    CHECK_FALSE(from_base32("75", one));  // bits that are no byte's
    CHECK_FALSE(from_base32("7!", one));
}

TEST_CASE("an invitation is one word, and survives e-mail", "[keys]") {
    const std::string text = text_of(some_line());
    CHECK(text.find_first_of(" $&;|<>(){}*?!'\"`\\~#\n") == std::string::npos);
    const auto line = parse_invitation(text);
    REQUIRE(line);
    CHECK(*line == some_line());
    CHECK(parse_invitation("  " + text.substr(0, 60) + "\r\n  " + text.substr(60) + "\n"));
    InvitationLine asks = some_line();
    asks.roles.clear();
    asks.ranks.clear();
    asks.address = "tcp://[fd00::1]:7423";
    const auto back = parse_invitation(text_of(asks));
    REQUIRE(back);
    CHECK(*back == asks);
}

TEST_CASE("a bad invitation is told apart in one sentence, which repeats nothing of it", "[keys]") {
    const std::string text = text_of(some_line());
    CHECK(why("hello").find("is no invitation") != std::string::npos);
    CHECK(why("").find("is no invitation") != std::string::npos);
    CHECK(why("vflbus-invitation-2,x").find("another version") != std::string::npos);
    CHECK(why(std::string(5000, 'x')).find("longer") != std::string::npos);
    // every single character that is changed, left out or doubled is noticed
    const std::size_t from = text.find(',') + 1;
    for (std::size_t i = from; i < text.size(); ++i) {
        std::string changed = text;
        changed[i] = changed[i] == '7' ? '6' : '7';
        CHECK(why(changed).find("mistyped or cut") != std::string::npos);
        CHECK(why(text.substr(0, i) + text.substr(i + 1)).find("mistyped or cut") !=
              std::string::npos);
        CHECK(why(text.substr(0, i)).find("mistyped or cut") != std::string::npos);
    }
    InvitationLine forged = some_line();
    forged.roles = {"king"};
    CHECK(why(text_of(forged)).find("makes no sense") != std::string::npos);
    forged = some_line();
    forged.address = "tcp://a;b:1";
    CHECK(why(text_of(forged)).find("makes no sense") != std::string::npos);
}

TEST_CASE("the key of an invitation follows from its secret alone", "[keys]") {
    InvitationLine line = some_line();
    const std::string one = fingerprint_of(key_of(line).public_key);
    line.name = "member-1";
    CHECK(fingerprint_of(key_of(line).public_key) == one);
    line.secret[0] ^= 1;
    CHECK(fingerprint_of(key_of(line).public_key) != one);
}

TEST_CASE("an invitation lets one key in, once", "[keys]") {
    Broker broker;
    CHECK(broker.list().entries().empty());
    const auto joined = broker.join(1);
    REQUIRE(joined);
    CHECK_FALSE(joined->repeated);
    CHECK(broker.text.starts_with("# remarks stay\n"));
    const AllowList list = broker.list();
    const Allowed* const entry = list.find(fingerprint_of(key_filled(1)));
    REQUIRE(entry != nullptr);
    CHECK(entry->name == "member-0");
    CHECK(entry->has_role("member"));
    CHECK(entry->has_rank(0));
    CHECK_FALSE(entry->has_rank(1));
    CHECK(entry->expires == at_noon + 30 * one_day);  // no longer than the owner wants
    // the answer got lost: the same again, and nothing changes
    const std::string before = broker.text;
    const auto again = broker.join(1, at_noon + one_day);
    REQUIRE(again);
    CHECK(again->repeated);
    CHECK(broker.text == before);
    // and after the end of the invitation, within which it has joined
    const auto late = broker.join(1, at_noon + 8 * one_day);
    REQUIRE(late);
    CHECK(late->repeated);
    refused(broker.join(2, at_noon + 8 * one_day), "has expired");
    // anybody else who has the line comes too late
    refused(broker.join(2), "used already, by the key " + fingerprint_of(key_filled(1)));
    CHECK(broker.text == before);
}

TEST_CASE("what an invitation does not do", "[keys]") {
    Broker broker;
    const std::string before = broker.text;
    refused(broker.join(1, at_noon + 7 * one_day), "has expired");
    refused(broker.join(1, at_noon, "member-1"), "is the invitation of member-0, not of member-1");
    refused(broker.join(1, at_noon, "member-0", fingerprint_of(key_filled(7))), "does not know");
    refused(enrolled(broker.text, {broker.fingerprint, "member-0", key_filled(1), at_noon - 1},
                     at_noon),
            "has expired");
    refused(enrolled(
                broker.text,
                {broker.fingerprint, "member-0", key_of(some_line()).public_key, at_noon + one_day},
                at_noon),
            "cannot be that of a party");
    CHECK(broker.text == before);
    // a key that is another's
    Allowed other;
    other.name = "member-1";
    other.key = key_filled(3);
    other.expires = at_noon + one_day;
    broker.text = with_line(broker.text, line_of(other));
    refused(broker.join(3), "on the allow-list already");
    // a name that has got a key meanwhile, which only its owner may decide about
    other.name = "member-0";
    other.key = key_filled(4);
    broker.text = with_line(broker.text, line_of(other));
    refused(broker.join(5), "owner of the broker must look at this");
}

TEST_CASE("who holds the lock of the list keeps the gate from nothing but this write", "[keys]") {
    char made[] = "/tmp/vflbus-keys-XXXXXX";
    REQUIRE(::mkdtemp(made) != nullptr);
    const std::filesystem::path directory = made;
    const Broker broker;
    std::ofstream(allow_list_path(directory)) << broker.text;
    const int fd = ::open((directory / "allow-list.lock").c_str(), O_RDWR | O_CREAT, 0600);
    REQUIRE(fd >= 0);
    REQUIRE(::flock(fd, LOCK_EX) == 0);
    const Enrolment asks{broker.fingerprint, "member-0", key_filled(1), at_noon + one_day};
    const auto locked = enrol(directory, asks, at_noon);
    REQUIRE_FALSE(locked);
    CHECK(locked.error().code == Errc::timed_out);
    ::close(fd);
    CHECK(enrol(directory, asks, at_noon));
    std::filesystem::remove_all(directory);
}

TEST_CASE("no party is called as the broker", "[keys]") {
    Allowed entry;
    entry.name = "broker";
    entry.key = key_filled(3);
    entry.expires = at_noon + one_day;
    const auto taken = with_key("", entry, Beside::alone);
    REQUIRE_FALSE(taken);
    CHECK(taken.error().code == Errc::usage);
    InvitationLine line = some_line();
    line.name = "broker";
    CHECK(why(text_of(line)).find("the broker's own key") != std::string::npos);
}

TEST_CASE("a key that joined and was revoked does not come back by its invitation", "[keys]") {
    Broker broker;
    REQUIRE(broker.join(1));
    const AllowList list = broker.list();
    broker.text = without_lines(broker.text, {list.entries().front().line});
    refused(broker.join(1), "not allowed any more");
}

TEST_CASE("a key is exchanged by its own right, for one with the same rights and end", "[keys]") {
    Broker broker;
    REQUIRE(broker.join(1));
    const std::string old = fingerprint_of(key_filled(1));
    const auto exchange = [&](std::uint8_t key, const std::string& shown, Seconds now = at_noon,
                              const std::string& name = "member-0") {
        return exchanged(broker.text, {shown, name, key_filled(key), at_noon + 999 * one_day}, now);
    };
    refused(exchange(2, old, at_noon, "member-1"), "cannot have one for member-1");
    // the key itself, as of one whose answer got lost, changes nothing
    const auto itself = exchange(1, old);
    REQUIRE(itself);
    CHECK(itself->repeated);
    CHECK(itself->text == broker.text);
    CHECK(itself->entry.fingerprint == old);
    refused(exchange(2, fingerprint_of(key_filled(9))), "not allowed any more");
    refused(exchange(2, old, at_noon + 30 * one_day), "not allowed any more");
    const auto done = exchange(2, old);
    REQUIRE(done);
    broker.text = done->text;
    const AllowList list = broker.list();
    const Allowed* const fresh = list.find(fingerprint_of(key_filled(2)));
    const Allowed* const ending = list.find(old);
    REQUIRE(fresh != nullptr);
    REQUIRE(ending != nullptr);
    CHECK(fresh->expires == at_noon + 30 * one_day);  // no longer than the owner has said
    CHECK(fresh->name == "member-0");
    CHECK(text_of_rights(*fresh) == text_of_rights(*ending));
    CHECK(ending->expires == at_noon + key_overlap_s);
    // the answer got lost; then a third key while two are good, and when one has ended
    const auto again = exchange(2, old);
    REQUIRE(again);
    CHECK(again->repeated);
    // (also when the old one has ended meanwhile)
    const auto by_itself = exchange(2, fingerprint_of(key_filled(2)), at_noon + 2 * one_day);
    REQUIRE(by_itself);
    CHECK(by_itself->repeated);
    CHECK(exchange(2, old, at_noon + 2 * one_day));
    refused(exchange(3, old, at_noon + 2 * one_day), "not allowed any more");
    refused(exchange(3, fingerprint_of(key_filled(2))), "two keys of member-0 are good");
    refused(exchange(3, old), "two keys of member-0 are good");
    CHECK(exchange(3, fingerprint_of(key_filled(2)), at_noon + 2 * one_day));
    // a key that another name has
    Allowed other;
    other.name = "master";
    other.key = key_filled(7);
    other.expires = at_noon + 9 * one_day;
    broker.text = line_of(other) + "\n" + broker.text;
    refused(exchange(7, fingerprint_of(key_filled(2)), at_noon + 2 * one_day), "already");
}

TEST_CASE("a new key for an old name, beside the old one or in its place", "[keys]") {
    for (const Beside beside : {Beside::also, Beside::in_place}) {
        Broker broker(beside);
        Allowed old;
        old.name = "member-0";
        old.key = key_filled(4);
        old.expires = at_noon + one_day;
        broker.text = with_line(broker.text, line_of(old));
        REQUIRE(broker.join(1));
        const AllowList list = broker.list();
        CHECK(list.find(fingerprint_of(key_filled(1))) != nullptr);
        CHECK((list.find(fingerprint_of(key_filled(4))) != nullptr) == (beside == Beside::also));
    }
}
