#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <deque>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "base/fifo.hpp"
#include "base/file_writer.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/hash_many.hpp"
#include "base/rng.hpp"
#include "base/text.hpp"
#include "catch.hpp"

using namespace vflbus;
namespace fs = std::filesystem;

namespace {
struct TemporaryDirectory {
    fs::path path = fs::temp_directory_path() / ("vflbus-base-" + std::to_string(::getpid()));
    TemporaryDirectory() { fs::create_directories(path); }
    ~TemporaryDirectory() { fs::remove_all(path); }
};
}  // namespace

TEST_CASE("a queue gives what came first, and holds nothing of what was taken out") {
    Fifo<std::shared_ptr<int>> queue;
    std::deque<int> model;
    std::vector<std::weak_ptr<int>> all;
    Rng rng(1);
    for (int i = 0; i < 20'000; ++i) {
        const bool grows = i / 1000 % 2 == 0;
        switch (rng.below(grows ? 3 : 6)) {
            case 0:
            case 1:
                queue.push_back(std::make_shared<int>(i));
                all.push_back(queue.back());
                model.push_back(i);
                break;
            case 2:
                if (model.empty()) break;
                model.pop_back();
                queue.pop_back();
                break;
            default:
                if (model.empty()) break;
                model.pop_front();
                queue.pop_front();
                break;
        }
        if (i % 1000 == 500) {
            auto moved = std::move(queue);
            REQUIRE(queue.empty());  // NOLINT: that is what is asked
            queue = std::move(moved);
            REQUIRE(moved.empty());  // NOLINT
        }
        REQUIRE(queue.size() == model.size());
        REQUIRE(queue.empty() == model.empty());
        if (!model.empty()) {
            REQUIRE(*queue.front() == model.front());
            REQUIRE(*queue.back() == model.back());
            REQUIRE(*queue[model.size() / 2] == model[model.size() / 2]);
        }
    }
    const auto held = std::ranges::count_if(all, [](const auto& item) { return !item.expired(); });
    CHECK(static_cast<std::size_t>(held) == model.size());
    CHECK(std::ranges::equal(queue, model, {}, [](const auto& item) { return *item; }));
    const auto third = queue[2];
    queue.erase(third);
    model.erase(model.begin() + 2);
    CHECK(std::ranges::equal(queue, model, {}, [](const auto& item) { return *item; }));
    queue.clear();
    CHECK(queue.empty());
}

TEST_CASE("a queue moves each item a few times at most, however many wait") {
    struct Counted {
        Counted() = default;
        explicit Counted(std::uint64_t* count) : moves(count) {}
        Counted(Counted&& other) noexcept : moves(other.moves) { told(); }
        Counted& operator=(Counted&& other) noexcept {
            moves = other.moves;
            told();
            return *this;
        }
        void told() const {
            if (moves != nullptr) ++*moves;
        }
        std::uint64_t* moves = nullptr;
    };
    for (const std::size_t waiting : {1u, 15u, 1000u, 1023u, 1024u}) {
        std::uint64_t moves = 0;
        Fifo<Counted> queue;
        for (std::size_t i = 0; i < waiting; ++i) queue.push_back(Counted(&moves));
        constexpr std::uint64_t rounds = 100'000;
        moves = 0;
        for (std::uint64_t i = 0; i < rounds; ++i) {
            queue.push_back(Counted(&moves));
            queue.pop_front();
        }
        CHECK(moves <= 6 * (rounds + waiting));
    }
}

TEST_CASE("splitmix64 gives the published sequence") {
    Rng rng(1234567);
    CHECK(rng.next() == 6457827717110365317ULL);
    CHECK(rng.next() == 3203168211198807973ULL);
}

TEST_CASE("below stays below and reaches every value") {
    Rng rng(1);
    int seen[7] = {};
    for (int i = 0; i < 7000; ++i) ++seen[rng.below(7)];
    for (const int count : seen) CHECK(count > 800);
}

TEST_CASE("node ids derive from names and are stable") {
    CHECK(node_id_of("member-0") == node_id_of("member-0"));
    CHECK(node_id_of("member-0") != node_id_of("member-1"));
    CHECK(node_id_of("master") != broker_node);
}

TEST_CASE("run ids survive their text form and refuse others") {
    const RunId id = random_run_id();
    CHECK(parse_run_id(id.hex()).value() == id);
    CHECK_FALSE(parse_run_id("abc"));
    CHECK_FALSE(parse_run_id(std::string(32, 'g')));
}

TEST_CASE("every error code has a name and a sentence") {
    for (const auto code :
         {Errc::malformed_frame, Errc::diverged, Errc::internal, Errc::owner_lost}) {
        CHECK(name_of(code) != "unknown");
        CHECK_FALSE(meaning_of(code).empty());
    }
    CHECK(name_of(static_cast<Errc>(9999)) == "unknown");
}

TEST_CASE("a written file is whole and leaves no temporary behind") {
    TemporaryDirectory dir;
    REQUIRE(write_file_atomically(dir.path / "sub" / "a", "hello"));
    REQUIRE(write_file_atomically(dir.path / "sub" / "a", "world"));
    CHECK(read_file(dir.path / "sub" / "a").value() == "world");
    CHECK(std::distance(fs::directory_iterator(dir.path / "sub"), fs::directory_iterator{}) == 1);
    CHECK(read_file(dir.path / "none").error().code == Errc::io);
}

TEST_CASE("a file that is replaced keeps its mode, also behind a link") {
    TemporaryDirectory dir;
    REQUIRE(write_file_atomically(dir.path / "real", "old"));
    fs::permissions(dir.path / "real", fs::perms::owner_read | fs::perms::owner_write);
    fs::create_symlink("real", dir.path / "link");
    REQUIRE(replace_file_of_others(dir.path / "link", "new"));
    CHECK(fs::is_symlink(dir.path / "link"));
    CHECK(read_file(dir.path / "real").value() == "new");
    CHECK(fs::status(dir.path / "real").permissions() ==
          (fs::perms::owner_read | fs::perms::owner_write));
    CHECK(std::distance(fs::directory_iterator(dir.path), fs::directory_iterator{}) == 2);
}

TEST_CASE("a symlink stays, and what it points to is written") {
    TemporaryDirectory dir;
    REQUIRE(write_file_atomically(dir.path / "sub" / "real", "old"));
    fs::create_symlink("sub/real", dir.path / "link");
    fs::create_symlink("link", dir.path / "second");
    REQUIRE(write_file_atomically(dir.path / "second", "new"));
    CHECK(fs::is_symlink(dir.path / "second"));
    CHECK(fs::is_symlink(dir.path / "link"));
    CHECK(read_file(dir.path / "sub" / "real").value() == "new");
    fs::create_symlink("sub/none", dir.path / "dangling");
    REQUIRE(write_file_atomically(dir.path / "dangling", "x"));
    CHECK(fs::is_symlink(dir.path / "dangling"));
    CHECK(read_file(dir.path / "sub" / "none").value() == "x");
    fs::create_symlink("round", dir.path / "round");
    CHECK(write_file_atomically(dir.path / "round", "x").error().code == Errc::io);
}

TEST_CASE("what is no regular file is written into and not replaced") {
    TemporaryDirectory dir;
    const fs::path fifo = dir.path / "fifo";
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    const int reader = ::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    REQUIRE(reader >= 0);
    const auto arrived = [reader] {
        char buffer[16];
        const ssize_t n = ::read(reader, buffer, sizeof buffer);
        return std::string(buffer, n > 0 ? static_cast<std::size_t>(n) : 0);
    };
    fs::create_symlink("fifo", dir.path / "link");
    CHECK(write_file_atomically(fifo, "hello").has_value());
    CHECK(arrived() == "hello");
    CHECK(write_file_atomically(dir.path / "link", "again").has_value());
    CHECK(arrived() == "again");
    CHECK(fs::is_fifo(fs::symlink_status(fifo)));
    ::close(reader);
    // an open file of this process, as /dev/stdout is one
    const fs::path file = dir.path / "file";
    const int open_file = ::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(open_file >= 0);
    CHECK(write_file_atomically("/proc/self/fd/" + std::to_string(open_file), "in it").has_value());
    struct stat held{};
    CHECK(::fstat(open_file, &held) == 0);
    ::close(open_file);
    CHECK(held.st_size == 5);
    CHECK(read_file(file).value() == "in it");
}

namespace {

std::size_t files_in(const fs::path& directory) {
    return entries_of(directory).size();
}

mode_t mode_of(const fs::path& file) {
    struct stat found{};
    REQUIRE(::stat(file.c_str(), &found) == 0);
    return found.st_mode & 07777;
}

/// While it lives, a file ends at that many bytes, and a write beyond is an error and no signal.
class ShortFiles {
  public:
    explicit ShortFiles(rlim_t bytes) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        handled_ = std::signal(SIGXFSZ, SIG_IGN);
        const rlimit shorter{bytes, before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &shorter);
    }
    ~ShortFiles() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, handled_);
    }
    ShortFiles(const ShortFiles&) = delete;
    ShortFiles& operator=(const ShortFiles&) = delete;

  private:
    rlimit before_{};
    void (*handled_)(int) = nullptr;
};

}  // namespace

TEST_CASE("a file that is written piece by piece replaces the old one when it is whole") {
    TemporaryDirectory dir;
    const fs::path file = dir.path / "sub" / "file";
    REQUIRE(write_file_atomically(file, "old"));
    {
        auto left = FileWriter::open(file);
        REQUIRE(left.has_value());
        CHECK(left->write("begun").has_value());
    }
    CHECK(read_file(file).value() == "old");
    auto writer = FileWriter::open(file, 0600);
    REQUIRE(writer.has_value());
    CHECK(writer->write("new").has_value());
    CHECK(writer->write("er").has_value());
    CHECK(read_file(file).value() == "old");
    CHECK(writer->finish().has_value());
    CHECK(read_file(file).value() == "newer");
    CHECK(mode_of(file) == 0600);
    CHECK(files_in(dir.path / "sub") == 1);
}

TEST_CASE("a new file has its content and its mode, whatever the umask") {
    TemporaryDirectory dir;
    const mode_t before = ::umask(0);
    const auto secret = write_new_file(dir.path / "secret", "hello", 0600);
    ::umask(077);
    const auto shown = write_new_file(dir.path / "shown", "", 0644);
    ::umask(before);
    REQUIRE(secret.has_value());
    REQUIRE(shown.has_value());
    CHECK(*secret);
    CHECK(*shown);
    CHECK(read_file(dir.path / "secret").value() == "hello");
    CHECK(read_file(dir.path / "shown").value().empty());
    CHECK(mode_of(dir.path / "secret") == 0600);
    CHECK(mode_of(dir.path / "shown") == 0644);
    CHECK(files_in(dir.path) == 2);
}

TEST_CASE("a new file takes no other one's place") {
    TemporaryDirectory dir;
    REQUIRE(write_new_file(dir.path / "a", "first", 0600).value());
    const auto again = write_new_file(dir.path / "a", "second", 0644);
    REQUIRE(again.has_value());
    CHECK(!*again);
    CHECK(read_file(dir.path / "a").value() == "first");
    CHECK(mode_of(dir.path / "a") == 0600);
    // a link that leads nowhere is a name that is taken as well
    fs::create_symlink(dir.path / "nowhere", dir.path / "b");
    CHECK(!write_new_file(dir.path / "b", "second", 0600).value());
    CHECK(!fs::exists(dir.path / "nowhere"));
    CHECK(files_in(dir.path) == 2);
}

TEST_CASE("what stands in the way of a new file's temporary is removed and not followed") {
    TemporaryDirectory dir;
    const fs::path other = dir.path / "other";
    REQUIRE(write_file_atomically(other, "of somebody"));
    fs::create_symlink(other, dir.path / ("a.tmp-" + std::to_string(::getpid())));
    CHECK(write_new_file(dir.path / "a", "mine", 0600).value());
    CHECK(read_file(other).value() == "of somebody");
    CHECK(read_file(dir.path / "a").value() == "mine");
    CHECK(!fs::is_symlink(dir.path / "a"));
    CHECK(files_in(dir.path) == 2);
}

TEST_CASE("a new file that cannot be made says why, also in errno") {
    TemporaryDirectory dir;
    const fs::path nowhere = dir.path / "none" / "a";
    errno = 0;
    const auto made = write_new_file(nowhere, "x", 0600);
    const int error = errno;
    REQUIRE(!made.has_value());
    CHECK(error == ENOENT);
    CHECK(made.error().code == Errc::io);
    CHECK(made.error().sentence == "cannot make " + nowhere.string() + ".tmp-" +
                                       std::to_string(::getpid()) + ": No such file or directory");
}

TEST_CASE("a new file that does not fit leaves nothing behind") {
    TemporaryDirectory dir;
    const fs::path file = dir.path / "a";
    int error = 0;
    Result<bool> made = true;
    {
        const ShortFiles limit(4096);  // the first write is a short one, the next one fails
        made = write_new_file(file, std::string(10'000, 'x'), 0600);
        error = errno;
    }
    REQUIRE(!made.has_value());
    CHECK(error == EFBIG);
    CHECK(made.error().sentence == "cannot write " + file.string() + ": File too large");
    CHECK(files_in(dir.path) == 0);
    CHECK(write_new_file(file, std::string(10'000, 'x'), 0600).value());
}

TEST_CASE("a new file without a directory in its path is made here") {
    TemporaryDirectory dir;
    const fs::path before = fs::current_path();
    fs::current_path(dir.path);
    const auto made = write_new_file("a", "x", 0600);
    const auto again = write_new_file("a", "y", 0600);
    fs::current_path(before);
    CHECK(made.value());
    CHECK(!again.value());
    CHECK(read_file(dir.path / "a").value() == "x");
}

TEST_CASE("all is written, through short writes and signals") {
    struct sigaction noted{};
    struct sigaction before{};
    noted.sa_handler = [](int) {};  // without SA_RESTART
    REQUIRE(::sigaction(SIGUSR1, &noted, &before) == 0);
    int pipe[2];
    REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
    std::string content(1 << 20, '\0');
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7 / 3);
    std::string arrived;
    std::thread reader([&, writer = ::pthread_self()] {
        std::vector<char> buffer(50'000);
        for (ssize_t n = 1; n > 0;) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            ::pthread_kill(writer, SIGUSR1);
            n = ::read(pipe[0], buffer.data(), buffer.size());
            if (n > 0) arrived.append(buffer.data(), static_cast<std::size_t>(n));
        }
    });
    const bool written = write_all(pipe[1], content);
    ::close(pipe[1]);
    reader.join();
    ::close(pipe[0]);
    ::sigaction(SIGUSR1, &before, nullptr);
    CHECK(written);
    CHECK(arrived == content);
    errno = 0;
    const bool closed = !write_all(pipe[1], "x");
    const int error = errno;
    CHECK(closed);
    CHECK(error == EBADF);
}

TEST_CASE("what killed processes have begun to write is removed, and nothing else") {
    TemporaryDirectory dir;
    const fs::path below = dir.path / "member-0" / "state";
    fs::create_directories(below);
    // a process that is gone, and was reaped
    const pid_t gone = ::fork();
    if (gone == 0) ::_exit(0);
    REQUIRE(::waitpid(gone, nullptr, 0) == gone);
    const auto put = [](const fs::path& file) {
        REQUIRE(write_file_atomically(file, "x").has_value());
        return file;
    };
    const std::string dead = ".tmp-" + std::to_string(gone);
    const fs::path here = put(dir.path / ("run.json" + dead));
    const fs::path deep = put(below / ("commit-7.bin" + dead));
    const fs::path parents = put(dir.path / ("a.tmp-" + std::to_string(::getppid())));
    const fs::path own = put(dir.path / ("b.tmp-" + std::to_string(::getpid())));
    const std::vector<fs::path> others{put(dir.path / "c.tmp-"), put(dir.path / "d.tmp-x1"),
                                       put(dir.path / "e.tmp-12.csv"), put(dir.path / "f.tmp--1"),
                                       put(dir.path / "run.json")};
    SECTION("of one process") {
        remove_unfinished(dir.path, gone);
        CHECK_FALSE(fs::exists(here));
        CHECK_FALSE(fs::exists(deep));
        CHECK(fs::exists(own));
    }
    SECTION("of all that are gone, as deep as is asked for") {
        sweep_unfinished(dir.path, 1);
        CHECK_FALSE(fs::exists(here));
        CHECK_FALSE(fs::exists(own));  // of an earlier process of our number
        CHECK(fs::exists(deep));
        sweep_unfinished(dir.path, 2);
        CHECK_FALSE(fs::exists(deep));
    }
    CHECK(fs::exists(parents));  // it is alive, and may be writing
    for (const fs::path& file : others) CHECK(fs::exists(file));
    sweep_unfinished(dir.path / "not there", 3);
    CHECK(entries_of(dir.path / "not there").empty());
}

TEST_CASE("a directory that cannot be looked into is an error, not an exception") {
    TemporaryDirectory dir;
    const fs::path loop = dir.path / "loop";
    fs::create_symlink(loop, loop);  // ELOOP for whoever looks behind it
    const auto next = next_incarnation(loop / "node", 5);
    REQUIRE_FALSE(next.has_value());
    CHECK(next.error().code == Errc::io);
    CHECK(next.error().sentence.find("loop") != std::string::npos);
}

TEST_CASE("a failure is explained by what happened, what to do and how to go on") {
    Failure failure{Errc::peer_lost, "member-1 is gone"};
    CHECK(explained(failure) == "member-1 is gone");
    CHECK(explained(failure, "--resume 12") == "member-1 is gone");
    failure.resumable = true;
    CHECK(explained(failure) == "member-1 is gone");
    CHECK(explained(failure, "--resume 12") == "member-1 is gone; `--resume 12` continues it");
    failure.hint = "start it again";
    CHECK(explained(failure, "--resume 12") ==
          "member-1 is gone; start it again, then go on with `--resume 12`");
    failure.resumable = false;
    CHECK(explained(failure, "--resume 12") == "member-1 is gone; start it again");
}

TEST_CASE("a code is found by its name") {
    for (std::uint16_t number = 0; number < 128; ++number) {
        const auto code = static_cast<Errc>(number);
        if (name_of(code) == "unknown") continue;
        CHECK(errc_named(name_of(code)) == code);
    }
    CHECK_FALSE(errc_named("unknown").has_value());
    CHECK_FALSE(errc_named("").has_value());
}

TEST_CASE("a directory has one holder, who is named") {
    TemporaryDirectory dir;
    auto first = DirectoryLock::acquire(dir.path / "n");
    REQUIRE(first);
    auto second = DirectoryLock::acquire(dir.path / "n");
    REQUIRE_FALSE(second);
    CHECK(second.error().sentence.find(std::to_string(::getpid())) != std::string::npos);
}

TEST_CASE("incarnations only grow, also over a lost directory and a clock that steps back") {
    TemporaryDirectory dir;
    CHECK(next_incarnation(dir.path, 1000).value() == 1000);
    CHECK(next_incarnation(dir.path, 900).value() == 1001);
    CHECK(next_incarnation(dir.path, 5000).value() == 5000);
}

TEST_CASE("the nearest key is found, a far one is not") {
    const std::vector<std::string> keys{"epochs", "batch_size", "learning_rate"};
    CHECK(nearest("epoch", keys) == "epochs");
    CHECK(nearest("batchsize", keys) == "batch_size");
    CHECK(nearest("zzzzzz", keys).empty());
    // a word of which every letter would have to be another one is not meant
    const std::vector<std::string> columns{"y", "z", "id"};
    CHECK(nearest("q", columns).empty());
    CHECK(nearest("ie", columns) == "id");
    // words that are much longer or shorter cost no comparison, and change nothing
    const std::vector<std::string> lengths{std::string(1000, 'e'), "e", "epochs", "", "epoch_of"};
    CHECK(nearest("epochz", lengths) == "epochs");
    CHECK(nearest(std::string(998, 'e'), lengths) == lengths[0]);
    CHECK(nearest(std::string(500, 'e'), lengths).empty());
    // one letter more, one less, another one, two swapped: each is one change, wherever it is
    const std::string word = "disconnect_idle_client_time";
    const std::vector<std::string> of_bus{"d", "time_between_idle_connections_checks", word,
                                          "disconnect", std::string(200, 'd')};
    for (std::size_t at = 0; at + 1 < word.size(); ++at) {
        std::string more = word;
        std::string less = word;
        std::string other = word;
        std::string swapped = word;
        more.insert(at, 1, 'x');
        less.erase(at, 1);
        other[at] = 'x';
        std::swap(swapped[at], swapped[at + 1]);
        for (const std::string& wrong : {more, less, other, swapped, more + swapped[at]})
            CHECK(nearest(wrong, of_bus) == word);
    }
    CHECK(nearest(std::string(100, 'd'), of_bus).empty());
}

TEST_CASE("a text fits a pattern, or not") {
    CHECK(matches("*", ""));
    CHECK(matches("a*c", "abbc"));
    CHECK(matches("*ab*ab", "xabyabab"));
    CHECK_FALSE(matches("a*c", "abb"));
    CHECK_FALSE(matches("a", "ab"));
    CHECK(matches("a?c", "abc"));
    CHECK_FALSE(matches("a?c", "ac"));
    // no exponential time
    CHECK_FALSE(matches("*a*a*a*a*a*a*a*a*a*b", std::string(5000, 'a')));
}

TEST_CASE("of a long list of names the first few are said, and how many more there are") {
    const std::vector<std::string> names{"a", "b", "c", "d"};
    CHECK(join_some(names, 4) == "a, b, c and d");
    CHECK(join_some(names, 3) == "a, b, c and 1 more");
    CHECK(join_some(names, 1) == "a and 3 more");
    CHECK(join_some({}, 3).empty());
}

TEST_CASE("numbers print as the shortest text that reads back") {
    CHECK(shortest(0.1) == "0.1");
    CHECK(shortest(1.0 / 3) == "0.3333333333333333");
}

TEST_CASE("nothing that acts on a terminal is left of a text that is shown") {
    CHECK(printable("K\xc3\xb6ln, 5 \xe2\x82\xac") == "K\xc3\xb6ln, 5 \xe2\x82\xac");
    CHECK(printable("a\x1b[2Jb\n\t\x7f") == "a?[2Jb???");
    CHECK(printable("\xc2\x9b") == "?");                  // CSI in one character
    CHECK(printable("\x9b") == "?");                      // and in one byte
    CHECK(printable("K\xf6ln") == "K?ln");                // Latin-1
    CHECK(printable("\xe2\x80\xae") == "?");              // writes the rest from right to left
    CHECK(printable("\xc0\xaf\xed\xa0\x80") == "?????");  // no UTF-8
    CHECK(printable("\xf0\x9f\x8c\x8d!") == "\xf0\x9f\x8c\x8d!");
}

TEST_CASE("many texts have the hashes that each has alone") {
    for (const std::string& key : {std::string(), std::string("salt"), std::string(64, 'k'),
                                   std::string(65, 'k'), std::string(200, 'k')}) {
        CAPTURE(key.size());
        std::vector<std::string> texts;
        for (std::size_t i = 0; i < 300; ++i) {
            texts.emplace_back(i % 140, static_cast<char>('a' + i % 23));
            texts.push_back("customer " + std::to_string(i * 7919));
        }
        for (const std::size_t count : {0, 1, 7, 8, 9, 600}) {
            const std::vector<std::string_view> views(
                texts.begin(), texts.begin() + static_cast<std::ptrdiff_t>(count));
            std::vector<Hash128> hashes(count);
            hash128_each(views, key, hashes);
            std::size_t equal = 0;
            for (std::size_t i = 0; i < count; ++i)
                equal += hashes[i] == hash128(texts[i], key) ? 1 : 0;
            CHECK(equal == count);
        }
    }
}
