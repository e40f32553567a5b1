#include "process.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

// For kill_children() and remove_private_directory(), which a signal handler may call.
std::array<std::atomic<pid_t>, 128> alive{};
std::array<char, 96> private_directory{};
std::array<char, 112> private_socket{};
std::vector<std::string> private_files;

void remember(pid_t pid) noexcept {
    for (auto& slot : alive) {
        pid_t empty = 0;
        if (slot.compare_exchange_strong(empty, pid)) return;
    }
}

void forget(pid_t pid) noexcept {
    for (auto& slot : alive) {
        pid_t expected = pid;
        if (slot.compare_exchange_strong(expected, 0)) return;
    }
}

std::string reason(int error) {
    return std::generic_category().message(error);
}

void close_fd(int& fd) noexcept {
    if (fd >= 0) ::close(fd);
    fd = -1;
}

/// While it lives no signal is handled in this thread: a handler that ends all children must not
/// come between one's start (or its end) and the note of it, which it goes by.
class SignalsHeld {
  public:
    SignalsHeld() {
        sigset_t all;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsHeld() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsHeld(const SignalsHeld&) = delete;
    SignalsHeld& operator=(const SignalsHeld&) = delete;

  private:
    sigset_t before_{};
};

struct FileActions {
    posix_spawn_file_actions_t value;
    FileActions() { posix_spawn_file_actions_init(&value); }
    ~FileActions() { posix_spawn_file_actions_destroy(&value); }
    FileActions(const FileActions&) = delete;
    FileActions& operator=(const FileActions&) = delete;
};

struct Attributes {
    posix_spawnattr_t value;
    Attributes() {
        posix_spawnattr_init(&value);
        sigset_t none, defaults;
        sigemptyset(&none);
        sigemptyset(&defaults);
        // also what was ignored when this process was started, as SIGHUP by nohup: it is this
        // process that ends its children
        for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGTSTP})
            sigaddset(&defaults, number);
        posix_spawnattr_setsigmask(&value, &none);
        posix_spawnattr_setsigdefault(&value, &defaults);
        posix_spawnattr_setpgroup(&value, 0);
        posix_spawnattr_setflags(
            &value, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    }
    ~Attributes() { posix_spawnattr_destroy(&value); }
    Attributes(const Attributes&) = delete;
    Attributes& operator=(const Attributes&) = delete;
};

}  // namespace

// -- child ------------------------------------------------------------------------

Result<Child> Child::spawn(const ChildOptions& options) {
    std::array<int, 2> pipe{-1, -1};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0)
        return fail(Errc::io, "cannot start " + options.name + ": no pipe: " + reason(errno));
    FileActions actions;
    posix_spawn_file_actions_addopen(&actions.value, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions.value, pipe[1], 1);
    if (!options.log.empty()) {
        std::error_code failed;
        fs::create_directories(options.log.parent_path(), failed);
        const int log =
            ::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (log < 0) {
            const std::string why = reason(errno);
            for (int& fd : pipe) close_fd(fd);
            return fail(Errc::io, "cannot write " + options.log.string() + ": " + why);
        }
        ::close(log);
        posix_spawn_file_actions_addopen(&actions.value, 2, options.log.c_str(),
                                         O_WRONLY | O_CREAT | O_APPEND, 0644);
    }
    std::vector<std::string> words{"vflbus"};
    const std::string self = std::to_string(::getpid());
    if (options.command.empty()) {
        words.insert(words.end(), options.arguments.begin(), options.arguments.end());
        words.insert(words.end(), {"--parent", self});
    } else {
        words.insert(words.end(), {"--tied", self});
        words.insert(words.end(), options.command.begin(), options.command.end());
        words.insert(words.end(), options.arguments.begin(), options.arguments.end());
    }
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);

    // what VFLBUS_* variables say is in the configuration that the child is given
    std::vector<char*> environment;
    for (char** variable = environ; *variable != nullptr; ++variable)
        if (!std::string_view(*variable).starts_with("VFLBUS_")) environment.push_back(*variable);
    environment.push_back(nullptr);

    const Attributes attributes;
    Child child;
    // where a script starts us by a loader of its own (container/pack), we are not the executable
    const char* const program = std::getenv("VFLBUS_PROGRAM");
    int failed = 0;
    {
        const SignalsHeld held;
        failed = ::posix_spawn(&child.pid_, program != nullptr ? program : "/proc/self/exe",
                               &actions.value, &attributes.value, argv.data(), environment.data());
        if (failed == 0) remember(child.pid_);
    }
    ::close(pipe[1]);
    if (failed != 0) {
        ::close(pipe[0]);
        child.pid_ = -1;
        return fail(Errc::io, "cannot start " + options.name + ": " + reason(failed));
    }
    child.name_ = options.name;
    child.log_ = options.log;
    child.running_ = true;
    child.foreign_ = !options.command.empty();
    child.output_fd_ = pipe[0];
    ::fcntl(child.output_fd_, F_SETFL, O_NONBLOCK);
    child.end_fd_ = static_cast<int>(::syscall(SYS_pidfd_open, child.pid_, 0));
    if (child.end_fd_ >= 0) ::fcntl(child.end_fd_, F_SETFD, FD_CLOEXEC);
    return child;
}

Child::Child(Child&& other) noexcept
    : name_(std::move(other.name_)),
      log_(std::move(other.log_)),
      pid_(other.pid_),
      running_(std::exchange(other.running_, false)),
      output_fd_(std::exchange(other.output_fd_, -1)),
      end_fd_(std::exchange(other.end_fd_, -1)),
      exit_status_(other.exit_status_),
      by_signal_(other.by_signal_),
      foreign_(other.foreign_),
      output_(std::move(other.output_)) {}

Child::~Child() {
    if (running_) {
        const SignalsHeld held;
        signal(SIGKILL);
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        forget(pid_);
    }
    close_fd(output_fd_);
    close_fd(end_fd_);
}

void Child::read_output() {
    std::array<char, 16384> buffer;
    while (output_fd_ >= 0) {
        const ssize_t n = ::read(output_fd_, buffer.data(), buffer.size());
        if (n > 0) {
            output_.append(buffer.data(), static_cast<std::size_t>(n));
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno == EAGAIN) {
            return;
        } else {
            close_fd(output_fd_);
        }
    }
}

bool Child::reap() {
    if (!running_) return true;
    int status = 0;
    pid_t ended = 0;
    {
        const SignalsHeld held;  // once it is reaped, its number may be another process's
        ended = ::waitpid(pid_, &status, WNOHANG);
        if (ended == 0 || (ended < 0 && errno == EINTR)) return false;
        forget(pid_);
    }
    running_ = false;
    if (ended == pid_ && WIFSIGNALED(status)) {
        by_signal_ = WTERMSIG(status);
        exit_status_ = 128 + by_signal_;
    } else if (ended == pid_) {
        exit_status_ = WEXITSTATUS(status);
        constexpr int own_last = static_cast<int>(ExitCode::interrupted);
        if (foreign_ && exit_status_ > own_last && exit_status_ < 128 + NSIG)
            by_signal_ = exit_status_ - 128;
    } else {
        exit_status_ = static_cast<int>(ExitCode::internal);
    }
    read_output();
    close_fd(end_fd_);
    return true;
}

void Child::signal(int number) noexcept {
    if (running_) ::kill(pid_, number);
}

std::string Child::ending() const {
    if (by_signal_ != 0)
        return "was ended by signal " + std::to_string(by_signal_) + " (" +
               ::sigdescr_np(by_signal_) + ")";
    return "ended with exit code " + std::to_string(exit_status_);
}

int run_tied(int argc, char** argv) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (argc < 4 || std::to_string(::getppid()) != argv[2])
        return static_cast<int>(ExitCode::interrupted);
    ::execvp(argv[3], argv + 3);
    std::fprintf(stderr, "Error: cannot start %s: %s\n", argv[3], reason(errno).c_str());
    return static_cast<int>(ExitCode::internal);
}

void signal_children(int number) noexcept {
    for (const auto& slot : alive)
        if (const pid_t pid = slot.load(); pid > 0) ::kill(pid, number);
}

void kill_children() noexcept {
    signal_children(SIGKILL);
}

// -- private directory --------------------------------------------------------------

namespace {

std::string temporary_base() {
    const char* const wanted = std::getenv("TMPDIR");
    return wanted != nullptr && *wanted != '\0' ? wanted : "/tmp";
}

}  // namespace

Result<PrivateDirectory> PrivateDirectory::create(std::string_view remedy) {
    std::string base = temporary_base();
    // a socket's path holds 107 characters
    if (base.size() + sizeof "/vflbus-XXXXXX/bus" > private_directory.size()) base = "/tmp";
    std::string path = base + "/vflbus-XXXXXX";
    const SignalsHeld held;  // it is removed by the same handler
    if (::mkdtemp(path.data()) == nullptr)
        return fail(Errc::io, "cannot make a directory in " + base +
                                  " for the bus: " + reason(errno) + "; " + std::string(remedy));
    std::strncpy(private_directory.data(), path.c_str(), private_directory.size() - 1);
    std::strncpy(private_socket.data(), (path + "/bus").c_str(), private_socket.size() - 1);
    PrivateDirectory directory;
    directory.path_ = path;
    return directory;
}

PrivateDirectory::PrivateDirectory(PrivateDirectory&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

PrivateDirectory::~PrivateDirectory() {
    if (path_.empty()) return;
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    const SignalsHeld held;
    private_directory[0] = private_socket[0] = '\0';
    private_files.clear();
}

void note_private_files(const std::vector<std::string>& names) {
    const SignalsHeld held;
    private_files.clear();
    for (const std::string& name : names)
        private_files.push_back(std::string(private_directory.data()) + "/" + name);
}

void remove_private_keys(const fs::path& directory) noexcept {
    const fs::path base = temporary_base();
    const std::string name = directory.filename().string();
    const bool made =
        name.starts_with("vflbus-") && name.size() == sizeof "vflbus-XXXXXX" - 1 &&
        (directory.parent_path() == base.lexically_normal() || directory.parent_path() == "/tmp");
    if (!made) return;
    std::error_code error;
    for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
         entry.increment(error)) {
        const fs::path file = entry->path();
        if (file.extension() == ".key" || file.extension() == ".pub" ||
            file.filename() == "allow-list")
            ::unlink(file.c_str());
    }
    ::rmdir(directory.c_str());
}

void remove_private_directory() noexcept {
    if (private_directory[0] == '\0') return;
    for (const std::string& file : private_files) ::unlink(file.c_str());
    ::unlink(private_socket.data());
    ::rmdir(private_directory.data());
}

}  // namespace vflbus::cli
