// Keys, their files, and the allow-list.

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/files.hpp"
#include "bus/keys/allow_list_file.hpp"
#include "bus/keys/key_files.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::bus;
namespace fs = std::filesystem;

namespace {

struct KeyDirectory {
    KeyDirectory() {
        std::string name = (fs::temp_directory_path() / "vflbus-keys-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~KeyDirectory() { fs::remove_all(path); }
    fs::path path;
};

constexpr Seconds noon = 1'800'000'000;  // 2027-01-15T08:00:00Z
const std::string key_of_test = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

void spit(const fs::path& file, const std::string& text) {
    std::ofstream(file) << text;
}

AllowList list_of(const std::string& text, std::vector<std::string>& faults) {
    faults.clear();
    return AllowList::parse(text, faults);
}

}  // namespace

TEST_CASE("a key is read from its Z85 text, and written as the same", "[keys]") {
    // ZeroMQ RFC 32 and zmq_curve_keypair(3): the example of the manual
    const auto key = parse_public_key(key_of_test);
    REQUIRE(key.has_value());
    CHECK(text_of(*key) == key_of_test);
    const auto secret = parse_secret_key("JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6");
    REQUIRE(secret.has_value());
    // CURVE of ZeroMQ and this program make the same public key of it
    CHECK(text_of(public_key_of(*secret)) == key_of_test);
    for (const std::string& wrong :
         std::vector<std::string>{std::string(), key_of_test.substr(1), key_of_test + "a",
                                  std::string(40, '~'), std::string(40, '#'), std::string(40, ' ')})
        CHECK_FALSE(parse_public_key(wrong).has_value());
}

TEST_CASE("a fingerprint is six groups of four, typed as people type", "[keys]") {
    const KeyPair pair = make_key_pair();
    const std::string text = fingerprint_of(pair.public_key);
    CHECK(text.size() == 29);
    CHECK(parse_fingerprint(text) == text);
    std::string typed;
    for (const char c : text) typed += c == '-' ? ' ' : static_cast<char>(std::tolower(c));
    CHECK(parse_fingerprint(typed) == text);
    CHECK(parse_fingerprint(text.substr(1)).empty());
    CHECK(parse_fingerprint("0" + text.substr(1)).empty());
    CHECK(fingerprint_of(make_key_pair().public_key) != text);
    // a stored one: lists that were written must stay good
    CHECK(fingerprint_of(*parse_public_key(key_of_test)) == "7NDK-O7E6-KYLU-AJ2P-H2NG-EHON");
}

TEST_CASE("dates and periods", "[keys]") {
    CHECK(date_text(noon) == "2027-01-15T08:00:00Z");
    CHECK(parse_date("2027-01-15T08:00:00Z") == noon);
    CHECK(parse_date("2027-01-15") == noon - 8 * 3600);
    CHECK(parse_date("1970-01-01") == 0);
    for (const char* wrong : {"", "2027", "2027-13-01", "2027-02-29", "2027-01-15T24:00:00Z",
                              "2027-01-15T08:00:00", "2027-01-15 ", "1969-12-31", "x027-01-15"})
        CHECK_FALSE(parse_date(wrong).has_value());
    CHECK(parse_period("7d") == 7 * 86'400);
    CHECK(parse_period("12h") == 12 * 3600);
    for (const char* wrong : {"", "d", "7", "-7d", "0d", "7 d", "36526d", "99999999999d"})
        CHECK_FALSE(parse_period(wrong).has_value());
    CHECK(from_now(noon + 40 * 86'400, noon) == "in 40 days");
    CHECK(from_now(noon - 3 * 3600, noon) == "3 hours ago");
}

TEST_CASE("the end of a pair becomes the one that its broker has set", "[keys]") {
    const KeyDirectory dir;
    const auto made = make_key_files(dir.path, "member-0", noon);
    REQUIRE(made.has_value());
    REQUIRE(set_key_end(dir.path, "member-0", noon + 86'400));
    const auto secret = read_secret_key(secret_key_path(dir.path, "member-0"));
    const auto handed_out = read_public_key(public_key_path(dir.path, "member-0"));
    REQUIRE(secret.has_value());
    REQUIRE(handed_out.has_value());
    CHECK(secret->expires == noon + 86'400);
    CHECK(handed_out->expires == noon + 86'400);
    CHECK(handed_out->key == made->pair.public_key);
    CHECK(entries_of(dir.path).size() == 2);
    CHECK_FALSE(set_key_end(dir.path, "member-1", noon).has_value());
}

TEST_CASE("key files: the secret is for its owner alone, and nothing is written over", "[keys]") {
    const KeyDirectory dir;
    const auto made = make_key_files(dir.path / "keys", "member-0", noon);
    REQUIRE(made.has_value());
    struct stat found{};
    REQUIRE(::stat((dir.path / "keys").c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0700);
    const fs::path secret = secret_key_path(dir.path / "keys", "member-0");
    REQUIRE(::stat(secret.c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0600);
    const std::string before = *read_file(secret);
    const auto again = make_key_files(dir.path / "keys", "member-0", noon);
    REQUIRE_FALSE(again.has_value());
    CHECK(again.error().code == Errc::io);
    CHECK(*read_file(secret) == before);
    CHECK(entries_of(dir.path / "keys").size() == 2);  // no half-written file is left
    // the public file has no secret
    const std::string public_text = *read_file(public_key_path(dir.path / "keys", "member-0"));
    CHECK(public_text.find(text_of(made->pair.secret)) == std::string::npos);
    CHECK(public_text.find("secret") == std::string::npos);

    const auto read = read_secret_key(secret);
    REQUIRE(read.has_value());
    CHECK(read->pair.public_key == made->pair.public_key);
    CHECK(read->pair.secret.bytes == made->pair.secret.bytes);
    CHECK(read->expires == noon);
    CHECK(read_public_key(public_key_path(dir.path / "keys", "member-0"))->key ==
          made->pair.public_key);
    CHECK_FALSE(make_key_files(dir.path, "../x", noon).has_value());
}

TEST_CASE("clocks that are too far apart are told, with which of them is ahead", "[keys]") {
    const std::uint64_t now = 1'800'000'000'000;
    for (const std::uint64_t apart : {0, 1, 4'999, 5'000}) {
        CHECK(clock_warning(now + apart, now).empty());
        CHECK(clock_warning(now, now + apart).empty());
    }
    CHECK(clock_warning(now + 5'001, now).find(" behind the broker's") != std::string::npos);
    CHECK(clock_warning(now, now + 5'001).find(" ahead of the broker's") != std::string::npos);
    CHECK(clock_warning(0, now).find("chrony") != std::string::npos);
    CHECK_FALSE(clock_warning(UINT64_MAX, 0).empty());
}

TEST_CASE("a secret that others may read is refused; a damaged file says where", "[keys]") {
    const KeyDirectory dir;
    REQUIRE(make_key_files(dir.path, "a", noon).has_value());
    const fs::path secret = secret_key_path(dir.path, "a");
    for (const mode_t mode : {0640u, 0604u, 0620u, 0602u, 0666u}) {
        ::chmod(secret.c_str(), mode);
        const auto read = read_secret_key(secret);
        REQUIRE_FALSE(read.has_value());
        CHECK(read.error().code == Errc::insecure);
    }
    ::chmod(secret.c_str(), 0600);
    const std::string good = *read_file(secret);
    const std::string text = text_of(read_secret_key(secret)->pair.secret);
    const auto refused = [&](const std::string& content) {
        spit(secret, content);
        const auto read = read_secret_key(secret);
        REQUIRE_FALSE(read.has_value());
        CHECK(read.error().code == Errc::bad_data);
        CHECK(read.error().sentence.find(secret.string()) != std::string::npos);
        CHECK(read.error().sentence.find(text) == std::string::npos);
    };
    refused("");
    refused(good + "secret again\n");
    refused(good.substr(0, good.find("secret ")));
    refused("secret" + text + "\n" + good);
    refused(std::string(5000, '#'));
    refused(good.substr(0, good.size() - 3) + "\n");
    // halves of two keys
    const KeyPair other = make_key_pair();
    std::string mixed = good;
    mixed.replace(mixed.find("public ") + 7, 40, text_of(other.public_key));
    refused(mixed);
    CHECK(read_secret_key(dir.path / "nobody.key").error().code == Errc::io);
}

TEST_CASE("what a party connects with", "[keys]") {
    const KeyDirectory dir;
    const auto code_of = [&](const std::string& node, Seconds now) {
        const auto keys = load_link_keys({dir.path, {}}, node, now);
        return keys ? Errc::ok : keys.error().code;
    };
    CHECK(code_of("master", noon) == Errc::usage);
    REQUIRE(make_key_files(dir.path, "master", noon + 100).has_value());
    CHECK(code_of("master", noon) == Errc::usage);  // no broker.pub
    REQUIRE(make_key_files(dir.path, "broker", noon + 50).has_value());
    CHECK(code_of("master", noon) == Errc::ok);
    CHECK(code_of("master-0123abcd", noon) == Errc::ok);  // the process of a run
    CHECK(code_of("member-0", noon) == Errc::usage);
    CHECK(code_of("master", noon + 60) == Errc::not_allowed);
    CHECK(load_link_keys({dir.path, "master"}, "anything", noon)->own.name == "master");
    CHECK(asking_key({dir.path, {}}).error().code == Errc::usage);  // two keys: which one?
    CHECK(*asking_key({dir.path, "master"}) == "master");
    CHECK(expiry_warning("x", noon + 31 * 86'400, noon).empty());
    CHECK(expiry_warning("x", noon + 29 * 86'400, noon).find("29 days") != std::string::npos);
}

TEST_CASE("the allow-list: a line each, and a sentence for each bad one", "[keys]") {
    std::vector<std::string> faults;
    const std::string a = text_of(make_key_pair().public_key);
    const std::string b = text_of(make_key_pair().public_key);
    const AllowList list =
        list_of("# remark\n\nmember-0 " + a +
                    " role=member rank=0,2 may=see,logs expires=2027-01-15\n"
                    "  alice\t" +
                    fingerprint_of(*parse_public_key(b)) + " expires=2027-01-15T08:00:00Z\r\n",
                faults);
    CHECK(faults.empty());
    REQUIRE(list.entries().size() == 2);
    const Allowed& first = list.entries()[0];
    CHECK(first.name == "member-0");
    CHECK(first.line == 3);
    CHECK(first.has_role("member"));
    CHECK_FALSE(first.has_role("master"));
    CHECK(first.has_rank(2));
    CHECK_FALSE(first.has_rank(1));
    CHECK_FALSE(first.has_rank(-1));
    CHECK(first.may(Right::see));
    CHECK_FALSE(first.may(Right::stop));
    CHECK(list.find(fingerprint_of(*parse_public_key(b)))->name == "alice");
    CHECK(list.entries()[1].expires == noon);
    // what is written is read as the same
    CHECK(list_of(line_of(first), faults).entries()[0].ranks == first.ranks);

    for (const std::string& wrong : std::vector<std::string>{
             "member-0",
             "member-0 key expires=2027-01-15",
             "-x " + a + " expires=2027-01-15",
             "x/y " + a + " expires=2027-01-15",
             "x " + a,
             "x " + a + " expires=soon",
             "x " + a + " role=king expires=2027-01-15",
             "x " + a + " role= expires=2027-01-15",
             "x " + a + " rank=-1 expires=2027-01-15",
             "x " + a + " rank=4096 expires=2027-01-15",
             "x " + a + " may=all expires=2027-01-15",
             "x " + a + " may=see may=stop expires=2027-01-15",
             "x " + a + " colour=red expires=2027-01-15",
             "x " + a + " member expires=2027-01-15",
             "x " + a + " expires=2027-01-15 " + std::string(5000, 'y'),
         }) {
        INFO(wrong);
        const AllowList rest =
            list_of("# 1\n" + wrong + "\ngood " + b + " expires=2027-01-15\n", faults);
        REQUIRE(faults.size() == 1);
        CHECK(faults[0].rfind("line 2: ", 0) == 0);
        CHECK(rest.entries().size() == 1);
    }
}

TEST_CASE("a key has one name, and no name may be made of another's", "[keys]") {
    std::vector<std::string> faults;
    const std::string a = text_of(make_key_pair().public_key);
    const std::string b = text_of(make_key_pair().public_key);
    CHECK(list_of("x " + a + " expires=2027-01-15\ny " + a + " expires=2027-01-15", faults)
              .entries()
              .size() == 1);
    CHECK(faults.size() == 1);
    // two keys of one name are both good: so they are exchanged
    CHECK(list_of("x " + a + " expires=2027-01-15\nx " + b + " expires=2027-01-15", faults)
              .entries()
              .size() == 2);
    CHECK(faults.empty());
    CHECK(list_of("x " + a + " expires=2027-01-15\nx-0123abcd " + b + " expires=2027-01-15", faults)
              .entries()
              .size() == 1);
    REQUIRE(faults.size() == 1);
    CHECK(faults[0].find("line 2") != std::string::npos);

    CHECK(speaks_for("master", "master"));
    CHECK(speaks_for("master", "master-0123abcd"));
    CHECK(speaks_for("alice", "alice-0123456789abcdef"));
    CHECK_FALSE(speaks_for("master", "master-"));
    CHECK_FALSE(speaks_for("master", "master-0123abc"));
    CHECK_FALSE(speaks_for("master", "master-0123456789abcdef0"));
    CHECK_FALSE(speaks_for("master", "master-0123abcg"));
    CHECK_FALSE(speaks_for("member", "member-1"));
    CHECK_FALSE(speaks_for("master", "masterx"));
    CHECK_FALSE(speaks_for("", "-0123abcd"));
}

TEST_CASE("a list that is written anew stays readable for whom it was", "[keys]") {
    const KeyDirectory dir;
    const fs::path file = allow_list_path(dir.path);
    const auto change = [&] {
        return change_allow_list(
            dir.path, [&](const std::string& text) { return Result<std::string>(text + "#\n"); });
    };
    const mode_t before = ::umask(077);
    REQUIRE(change().has_value());
    const auto found = [](const fs::path& path) {
        struct stat of{};
        REQUIRE(::stat(path.c_str(), &of) == 0);
        return of;
    };
    REQUIRE(::chmod(file.c_str(), 0664) == 0);
    fs::remove(file.string() + ".lock");
    REQUIRE(change().has_value());
    CHECK((found(file).st_mode & 0777) == 0664);
    CHECK((found(file.string() + ".lock").st_mode & 0777) == 0664);
    if (::geteuid() == 0) {  // root changes the list of the user that the broker runs as
        REQUIRE(::chown(file.c_str(), 12345, 12346) == 0);
        REQUIRE(change().has_value());
        for (const fs::path& path : {file, fs::path(file.string() + ".lock")}) {
            CHECK(found(path).st_uid == 12345);
            CHECK(found(path).st_gid == 12346);
        }
    }
    ::umask(before);
}

TEST_CASE("beside keys that cannot be written the list is elsewhere", "[keys]") {
    const KeyDirectory dir;
    const KeyDirectory elsewhere;
    const std::string first = "a " + text_of(make_key_pair().public_key) + " expires=2027-01-15\n";
    const std::string second = "b " + text_of(make_key_pair().public_key) + " expires=2027-01-15\n";
    REQUIRE(write_file_atomically(dir.path / "allow-list", first));
    const fs::path state = elsewhere.path / "state";
    REQUIRE(write_file_atomically(dir.path / "allow-list.at", state.string() + "\n"));
    CHECK(allow_list_path(dir.path) == state / "allow-list");
    // it begins as the one beside the keys, which then stays as it is
    REQUIRE(begin_allow_list(dir.path));
    CHECK(read_file(state / "allow-list").value() == first);
    REQUIRE(change_allow_list(
        dir.path, [&](const std::string& text) { return Result<std::string>(text + second); }));
    CHECK(read_file(state / "allow-list").value() == first + second);
    REQUIRE(begin_allow_list(dir.path));
    CHECK(read_file(state / "allow-list").value() == first + second);
    CHECK(read_file(dir.path / "allow-list").value() == first);
    CHECK_FALSE(fs::exists(dir.path / "allow-list.lock"));
}

TEST_CASE("half of a pair of keys is not left behind", "[keys]") {
    const KeyDirectory dir;
    // where the public half is written first there is a directory already
    fs::create_directories(dir.path / ("a.pub.tmp-" + std::to_string(::getpid())));
    CHECK_FALSE(make_key_files(dir.path, "a", wall_seconds() + 1000).has_value());
    CHECK_FALSE(fs::exists(secret_key_path(dir.path, "a")));
    fs::remove(dir.path / ("a.pub.tmp-" + std::to_string(::getpid())));
    CHECK(make_key_files(dir.path, "a", wall_seconds() + 1000).has_value());
}

TEST_CASE("a key that cannot be looked at is not taken for one that is missing", "[keys]") {
    const KeyDirectory dir;
    KeySource source;
    source.directory = dir.path;
    const auto missing = load_link_keys(source, "node", wall_seconds());
    REQUIRE_FALSE(missing);
    CHECK(missing.error().sentence.find("there is no key ") == 0);
    // (root may look everywhere, but nobody at the end of a circle)
    fs::create_symlink("node.key", secret_key_path(dir.path, "node"));
    const auto hidden = load_link_keys(source, "node", wall_seconds());
    REQUIRE_FALSE(hidden);
    CHECK(hidden.error().sentence.find("cannot look for the key ") == 0);
}

TEST_CASE("what a killed command has begun beside keys goes with the next key", "[keys]") {
    const KeyDirectory dir;
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    REQUIRE(child > 0);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    const fs::path gone = dir.path / ("node.key.tmp-" + std::to_string(child));
    const fs::path goes_on = dir.path / ("node.key.tmp-" + std::to_string(::getppid()));
    spit(gone, "secret");
    spit(goes_on, "secret");
    REQUIRE(make_key_files(dir.path, "node", wall_seconds() + 60).has_value());
    CHECK_FALSE(fs::exists(gone));
    CHECK(fs::exists(goes_on));
}

TEST_CASE("the list is read again when it is another file, and a bad one lets nobody more in",
          "[keys]") {
    const KeyDirectory dir;
    const fs::path file = allow_list_path(dir.path);
    std::vector<std::string> told;
    const auto opened =
        AllowListFile::open(file, [&](const std::string& line) { told.push_back(line); });
    REQUIRE(opened.has_value());
    AllowListFile& list = **opened;
    CHECK(list.list()->entries().empty());
    CHECK_FALSE(list.refresh());
    const std::string a = "a " + text_of(make_key_pair().public_key) + " expires=2027-01-15\n";
    const std::string b = "b " + text_of(make_key_pair().public_key) + " expires=2027-01-15\n";
    REQUIRE(change_allow_list(dir.path, [&](const std::string& text) {
                return Result<std::string>(text + a + b);
            }).has_value());
    CHECK(list.refresh());
    CHECK(list.list()->entries().size() == 2);
    CHECK_FALSE(list.refresh());
    CHECK(list.refresh(true));
    REQUIRE(write_file_atomically(file, a + "nonsense\n").has_value());
    told.clear();
    CHECK(list.refresh());
    CHECK(list.list()->entries().size() == 1);  // b is gone, whatever else the file says
    REQUIRE_FALSE(told.empty());
    CHECK(told[0].find("line 2") != std::string::npos);
    // what cannot be read changes nothing: too large, no file, nothing to write to it
    const auto stays = [&] {
        told.clear();
        CHECK_FALSE(list.refresh(true));
        CHECK_FALSE(list.refresh());
        CHECK(list.list()->entries().size() == 1);
        REQUIRE(told.size() == 1);
        CHECK(told[0].find("still counts") != std::string::npos);
    };
    REQUIRE(write_file_atomically(file, a + std::string(allow_list_bytes_max, '#')).has_value());
    stays();
    CHECK(AllowListFile::open(file, {}).error().code == Errc::io);
    fs::remove(file);
    REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
    stays();
    fs::remove(file);
    // bad lines cost a bounded number of lines of the log
    std::string bad = a;
    for (int i = 0; i < 1000; ++i) bad += "nonsense\n";
    REQUIRE(write_file_atomically(file, bad).has_value());
    told.clear();
    CHECK(list.refresh());
    CHECK(told.size() == 21);
    CHECK(told.back().find("980 lines more") != std::string::npos);
    // without the file it is as it was, and that is said once
    fs::remove(file);
    told.clear();
    CHECK_FALSE(list.refresh());
    CHECK_FALSE(list.refresh());
    CHECK(told.size() == 1);
    CHECK(list.list()->entries().size() == 1);
    // a broker does not begin with a list that has a bad line
    REQUIRE(write_file_atomically(file, a + "nonsense\n").has_value());
    CHECK(AllowListFile::open(file, {}).error().code == Errc::bad_config);
    // lines are taken out and added; remarks stay
    CHECK(without_lines("# r\na\nb\n", {2}) == "# r\nb\n");
}
