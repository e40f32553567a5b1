#pragma once
// The real binary from outside: start it, feed it, see what it leaves behind.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/json.hpp"

namespace proc {

/// The program under test, as it is called; commands that it prints to be pasted begin with it.
std::string binary();

namespace fs = std::filesystem;
using vflbus::Json;
using Words = std::vector<std::string>;
using Variables = std::map<std::string, std::string>;

/// No wait of these tests is longer; a test that reaches it fails.
inline constexpr auto patience = std::chrono::seconds(120);

/// A directory of a test, removed at its end. $TMPDIR of what is started lies in it.
class TempDir {
  public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    [[nodiscard]] const fs::path& path() const { return path_; }
    [[nodiscard]] std::string operator/(const std::string& name) const {
        return (path_ / name).string();
    }

  private:
    fs::path path_;
};

struct Finished {
    int exit_code = -1;  ///< 128 + signal when ended by one; -1: did not end in time
    std::string out;
    std::string err;
};

/// vflbus with these arguments, in `dir`, without any VFLBUS_* variable but those given. `prefix`
/// is a command that executes the command behind it.
class Process {
  public:
    Process(const TempDir& dir, const Words& arguments, const Variables& variables = {},
            const Words& prefix = {});
    ~Process();  ///< ends it if it still runs
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    [[nodiscard]] pid_t pid() const { return pid_; }
    void signal(int number) const;
    Finished wait(std::chrono::seconds at_most = patience);
    /// Whether standard output (or error) holds `text` before patience ends or the process does.
    bool await_output(const std::string& text, bool in_err = false);
    [[nodiscard]] std::string out() const;
    [[nodiscard]] std::string err() const;
    bool reap();  ///< whether it has ended

  private:
    fs::path out_;
    fs::path err_;
    pid_t pid_ = -1;
    bool running_ = false;
    int exit_code_ = -1;
};

Finished run(const TempDir& dir, const Words& arguments, const Variables& variables = {});
/// The same for a question to a bus: a broker that is slow to answer is asked again, ten times at
/// most. What stops a run is said once.
Finished ask_bus(const TempDir& dir, const Words& arguments);

/// What a finished command must not leave: processes that know `dir`, sockets and other files in
/// its $TMPDIR, half-written files. One line each; empty when all is well.
std::string left_behind(const TempDir& dir);
/// The same without half-written files, for one that was ended at once.
std::string left_running(const TempDir& dir);

std::string slurp(const fs::path& file);
void spit(const fs::path& file, const std::string& text);
std::string replaced(std::string text, const std::string& from, const std::string& to);

/// A small credit example of a bank and two members in `dir`/data, with test and predict files, and
/// a configuration of it in `dir`/run.toml.
void make_example(const TempDir& dir, const std::string& task = "logistic");
/// A policy of a member that lets its training run, in a file; its name.
std::string make_policy(const TempDir& dir);

/// All model files under runs/<run_id>/, by party.
std::map<std::string, std::string> models(const fs::path& run_dir);

// -- runs under way -------------------------------------------------------------------

/// The record of a run, read while it is written. Empty when there is none yet.
struct Record {
    std::uint64_t term = 0;
    std::string phase;
    std::uint64_t step = 0;  ///< of the last commit
};
Record record(const fs::path& run_dir);

/// The child of `launch` that is "broker", "master" or "member-K"; 0 when there is none just now.
pid_t child_of(const Process& launch, const std::string& who);

/// Looks again and again, until `done` or the end of `process` or of patience. Whether it is done.
bool await(Process& process, const std::function<bool()>& done);

/// The broker of a test: port or path of the kernel's or the test's choice.
std::string first_endpoint(Process& broker);

bool have_sklearn();
/// Python with `script`; its standard output.
Finished python(const TempDir& dir, const std::string& script, const Words& arguments);

inline const std::string run_id = "00112233445566778899aabbccddeeff";

}  // namespace proc
