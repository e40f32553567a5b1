#include "apps/orphans.hpp"

#include <dirent.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

namespace vflbus::apps {
namespace {

/// The names in a directory that are numbers.
std::vector<pid_t> numbers_in(const char* directory) {
    std::vector<pid_t> numbers;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory), ::closedir);
    if (!dir) return numbers;
    while (const dirent* const entry = ::readdir(dir.get())) {
        char* end = nullptr;
        const long number = std::strtol(entry->d_name, &end, 10);
        if (end != entry->d_name && *end == '\0') numbers.push_back(static_cast<pid_t>(number));
    }
    return numbers;
}

/// The fourth field of /proc/PID/stat; the second, in parentheses, may hold anything.
pid_t parent_of(pid_t pid) {
    std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(in, text, '\0');
    const std::size_t at = text.rfind(')');
    if (at == std::string::npos) return 0;
    std::istringstream rest(text.substr(at + 1));
    std::string state;
    pid_t parent = 0;
    rest >> state >> parent;
    return parent;
}

}  // namespace

void adopt_orphans() noexcept {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
}

std::vector<pid_t> children_of_this_process() {
    std::vector<pid_t> children;
    bool listed = false;
    for (const pid_t thread : numbers_in("/proc/self/task")) {
        std::ifstream in("/proc/self/task/" + std::to_string(thread) + "/children");
        listed = listed || in.good();
        for (pid_t child = 0; in >> child;) children.push_back(child);
    }
    if (listed) return children;
    // a kernel without CONFIG_PROC_CHILDREN
    const pid_t me = ::getpid();
    for (const pid_t pid : numbers_in("/proc"))
        if (parent_of(pid) == me) children.push_back(pid);
    return children;
}

std::size_t kill_unknown_children(const std::function<bool(pid_t)>& known) {
    std::size_t unknown = 0;
    for (const pid_t child : children_of_this_process()) {
        if (known(child)) continue;
        ++unknown;
        const pid_t group = ::getpgid(child);
        if (group > 1 && group != ::getpgrp() && !known(group)) ::kill(-group, SIGKILL);
        ::kill(child, SIGKILL);
    }
    return unknown;
}

}  // namespace vflbus::apps
