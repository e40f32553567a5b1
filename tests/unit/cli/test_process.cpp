// Children, method: a process of the test's own that starts one and is signalled meanwhile.

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "catch.hpp"
#include "process.hpp"
#include "scratch.hpp"

using namespace vflbus;
namespace fs = std::filesystem;

namespace {

constexpr int ended_by_handler = 7;

/// The only child of `parent`; 0 while there is none.
pid_t child_of(pid_t parent) {
    const std::string number = std::to_string(parent);
    std::ifstream file("/proc/" + number + "/task/" + number + "/children");
    pid_t child = 0;
    file >> child;
    return child;
}

int status_of(pid_t pid) {
    int status = -1;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

}  // namespace

TEST_CASE("a signal that comes while a child is started ends it as well", "[cli]") {
    const cli::testing::Scratch dir;
    // it outlives its parent, whatever happens to that
    const fs::path program = dir.path / "program";
    std::ofstream(program) << "#!/bin/sh\nexec sleep 3\n";
    fs::permissions(program, fs::perms::owner_all);
    ::setenv("VFLBUS_PROGRAM", program.c_str(), 1);
    // the child waits for a reader of its log before it becomes that program
    const fs::path log = dir.path / "log";
    REQUIRE(::mkfifo(log.c_str(), 0600) == 0);
    REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);

    const pid_t parent = ::fork();
    if (parent == 0) {
        std::signal(SIGTERM, [](int) {
            cli::kill_children();
            ::_exit(ended_by_handler);
        });
        const auto child = cli::Child::spawn({"child", {}, log, {}});
        while (child) ::pause();
        ::_exit(1);
    }
    REQUIRE(parent > 0);
    // the parent, which looks whether it can be written, gets through at once, the child does not
    ::close(::open(log.c_str(), O_RDONLY | O_CLOEXEC));
    pid_t child = 0;
    siginfo_t ended{};
    while ((child = child_of(parent)) == 0) {
        REQUIRE(::waitid(P_PID, static_cast<id_t>(parent), &ended, WEXITED | WNOHANG | WNOWAIT) ==
                0);
        REQUIRE(ended.si_pid == 0);
        std::this_thread::yield();
    }
    ::kill(parent, SIGTERM);
    const int reader = ::open(log.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);  // now it does
    const int end = status_of(parent);
    CHECK(WIFEXITED(end));
    CHECK(WEXITSTATUS(end) == ended_by_handler);
    const int childs = status_of(child);
    CHECK(WIFSIGNALED(childs));
    CHECK(WTERMSIG(childs) == SIGKILL);
    ::close(reader);
    ::unsetenv("VFLBUS_PROGRAM");
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}
