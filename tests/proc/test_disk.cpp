// A disk that fills up in the middle of a training: one sentence that says who could not write
// what, the last commit stays whole, and when there is room again the run goes on to the same
// model.

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "catch.hpp"
#include "parties.hpp"

using namespace proc;

namespace {

/// A file system of 512 KiB at `dir`/small, which only those see that are started with prefix().
class SmallDisk {
  public:
    explicit SmallDisk(const TempDir& dir) : place_(dir / "small") {
        fs::create_directory(place_);
        const std::string script =
            "mount -t tmpfs -o size=512k none '" + place_ + "' && echo ready && exec sleep 600";
        // a user namespace where that is allowed, otherwise as root
        for (const std::string how : {"-rm", "-m"}) {
            holder_ = std::make_unique<Process>(dir, Words{}, Variables{},
                                                Words{"unshare", how, "sh", "-c", script});
            if (!holder_->await_output("ready")) continue;
            prefix_ = {"nsenter", "-t", std::to_string(holder_->pid()), "-m",
                       "--wd=" + dir.path().string()};
            if (how == "-rm") {
                prefix_.emplace_back("-U");
                prefix_.emplace_back("--preserve-credentials");
            }
            return;
        }
        holder_.reset();
    }
    /// Nothing may be mounted here; says so.
    [[nodiscard]] bool missing() const {
        if (!holder_) WARN("skipped: nothing can be mounted here, not even in a user namespace");
        return !holder_;
    }
    [[nodiscard]] Words prefix() const { return prefix_; }
    /// As processes with prefix() see it, and as everybody sees it.
    [[nodiscard]] std::string inside() const { return place_; }
    [[nodiscard]] fs::path outside() const {
        return fs::path("/proc") / std::to_string(holder_->pid()) / "root" /
               fs::path(place_).relative_path();
    }
    /// Until not one more byte has room.
    void fill() const {
        const int fd = ::open((outside() / "fill").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        REQUIRE(fd >= 0);
        const std::string page(4096, 'x');
        while (::write(fd, page.data(), page.size()) > 0) continue;
        ::close(fd);
    }
    void make_room() const { REQUIRE(fs::remove(outside() / "fill")); }

  private:
    std::string place_;
    Words prefix_;
    std::unique_ptr<Process> holder_;
};

/// All parts of the model, wherever their parties have put them.
Models all_models(const fs::path& one, const fs::path& other) {
    Models found = models(one);
    found.merge(models(other));
    return found;
}

bool says(const std::string& text, const Words& all) {
    for (const std::string& part : all)
        if (text.find(part) == std::string::npos) {
            UNSCOPED_INFO("there is no '" << part << "' in: " << text);
            return false;
        }
    return true;
}

/// The run ends at everybody after `who`'s disk has become full, and goes on with room.
void fills_up(const std::string& who) {
    const Models expected = undisturbed();
    const TempDir dir;
    const SmallDisk disk(dir);
    if (disk.missing()) return;
    make_example(dir);
    ByHand hand(dir, {}, {{who, {{}, {}, disk.prefix(), disk.inside()}}});
    hand.start_all();
    const fs::path elsewhere = disk.outside() / run_id;
    const fs::path of_master = who == "master" ? elsewhere : run_dir(dir, "runs");
    REQUIRE(commits_beyond(*hand.master, of_master, 0));
    disk.fill();
    // what a commit has replaced meanwhile gives its room back
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!hand.master->reap() && std::chrono::steady_clock::now() < until) {
        disk.fill();
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    const Finished finished = hand.master->wait();
    const std::string sentence = sentence_of(finished);
    INFO(finished.err);
    CHECK(finished.exit_code != 0);
    CHECK(finished.exit_code < 128);
    CHECK(says(sentence, {who, disk.inside() + "/" + run_id, "No space left on device",
                          "--resume " + run_id}));
    CHECK(says(finished.out, {"\"failed\""}));
    // whoever looks from elsewhere reads the same cause
    REQUIRE(await(*hand.broker, [&] {
        const Words ask{"run", "show", run_id, "--broker", hand.endpoint, "--json"};
        const Json told = Json::parse(run(dir, ask).out);
        if (!told.contains("run") || told["run"]["status"] != "failed") return false;
        return says(told["run"]["reason"].get<std::string>(), {who, "No space left on device"});
    }));
    for (const auto& member : hand.members) {
        const Finished ended = member->wait();
        INFO(ended.err);
        CHECK(ended.exit_code != 0);
        CHECK(ended.exit_code < 128);
        CHECK(says(sentence_of(ended), {who}));
    }
    const Record stopped = record(of_master);
    CHECK(stopped.step > 0);
    CHECK(stopped.phase == "running");
    CHECK(all_models(run_dir(dir, "runs"), elsewhere).empty());

    disk.make_room();
    hand.start("member-0");
    hand.start("member-1");
    hand.start("master", {"--resume", run_id});
    const Finished again = hand.master->wait();
    INFO(again.err);
    CHECK(again.exit_code == 0);
    CHECK(again.err.find("goes on from step " + std::to_string(stopped.step)) != std::string::npos);
    for (const auto& member : hand.members) CHECK(member->wait().exit_code == 0);
    CHECK(all_models(run_dir(dir, "runs"), elsewhere) == expected);
}

}  // namespace

TEST_CASE("a member's disk becomes full", "[disk]") {
    fills_up("member-1");
}

TEST_CASE("the master's disk becomes full", "[disk]") {
    fills_up("master");
}

TEST_CASE("one commit that cannot be written", "[disk]") {
    // where nothing can be mounted, this is the test: directories have the names of the temporary
    // files of the next commits
    const Models expected = undisturbed();
    for (const std::string who : {"member-1", "master"}) {
        const TempDir dir;
        make_example(dir);
        ByHand hand(dir, {});
        hand.start_all();
        const fs::path run = run_dir(dir, "runs");
        REQUIRE(commits_beyond(*hand.master, run, 0));
        const Process& victim = who == "master" ? *hand.master : *hand.members[1];
        victim.signal(SIGSTOP);  // it writes no commit while the traps are laid
        const std::uint64_t step = record(run).step;
        const auto traps = [&](auto&& each) {
            for (std::uint64_t next = step + 150; next < step + 150 * 6; next += 150)
                each(run / who / "state" /
                     ("commit-" + std::to_string(next) + ".tmp-" + std::to_string(victim.pid())));
        };
        traps([](const fs::path& file) {
            std::error_code taken;  // a commit that is under way just now is passed by
            fs::create_directory(file, taken);
        });
        victim.signal(SIGCONT);
        const Finished finished = hand.master->wait();
        INFO(finished.err);
        REQUIRE(finished.exit_code != 0);
        // of another party the owner says who it was
        const std::string subject = who == "master" ? who : who + ":";
        CHECK(says(sentence_of(finished), {subject + " cannot store its commit", "/state/commit-",
                                           "File exists", "--resume " + run_id}));
        for (const auto& member : hand.members) CHECK(member->wait().exit_code > 0);
        traps([](const fs::path& file) { fs::remove(file); });
        hand.start("member-0");
        hand.start("member-1");
        hand.start("master", {"--resume", run_id});
        const Finished again = hand.master->wait();
        INFO(again.err);
        CHECK(again.exit_code == 0);
        for (const auto& member : hand.members) CHECK(member->wait().exit_code == 0);
        CHECK(models(run) == expected);
    }
}

TEST_CASE("a broker that is killed and started again while much is under way", "[network]") {
    // 40 kB each way and step
    const Words bulky{"--set", "model.batch_size=0", "--set", "model.epochs=1500"};
    const Models expected = undisturbed(bulky);
    const TempDir dir;
    make_example(dir);
    ByHand hand(dir, bulky, {}, true);
    hand.start_all();
    const fs::path run = run_dir(dir, "runs");
    for (int kill = 0; kill < 3; ++kill) {
        INFO(kill << "\n" << hand.master->err());
        REQUIRE(commits_beyond(*hand.master, run, record(run).step));
        hand.broker->signal(SIGKILL);
        CHECK(hand.broker->wait().exit_code == 128 + SIGKILL);
        hand.restart_broker();
    }
    const Finished finished = hand.master->wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 0);
    for (const auto& member : hand.members) CHECK(member->wait().exit_code == 0);
    CHECK(models(run) == expected);
    CHECK(record(run).term == 1);
}
