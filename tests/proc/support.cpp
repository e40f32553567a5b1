#include "support.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "base/json.hpp"

namespace proc {

std::string binary() {
    const char* const path = std::getenv("VFLBUS_BINARY");
    if (path == nullptr) throw std::runtime_error("VFLBUS_BINARY is not set");
    return path;
}

namespace {

pid_t spawn(const TempDir& dir, const std::string& program, const Words& arguments,
            const Variables& variables, const fs::path& out, const fs::path& err) {
    Words words{program};
    words.insert(words.end(), arguments.begin(), arguments.end());
    Words environment{"TMPDIR=" + dir / "tmp"};
    for (char** variable = environ; *variable != nullptr; ++variable)
        if (!std::string_view(*variable).starts_with("VFLBUS_") &&
            !std::string_view(*variable).starts_with("TMPDIR="))
            environment.emplace_back(*variable);
    for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
    const auto pointers = [](Words& texts) {
        std::vector<char*> list;
        for (std::string& text : texts) list.push_back(text.data());
        list.push_back(nullptr);
        return list;
    };
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, dir.path().c_str());
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    pid_t pid = -1;
    const int failed = ::posix_spawnp(&pid, program.c_str(), &actions, nullptr,
                                      pointers(words).data(), pointers(environment).data());
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) throw std::runtime_error("cannot start " + program);
    return pid;
}

std::atomic<int> counter{0};

void nap() {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace

// -- directories --------------------------------------------------------------------

TempDir::TempDir() {
    std::string path = (fs::temp_directory_path() / "vflbus-proc-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("cannot make " + path);
    path_ = path;
    fs::create_directory(path_ / "tmp");
}

TempDir::~TempDir() {
    std::error_code ignored;
    if (std::getenv("VFLBUS_PROC_KEEP") == nullptr) fs::remove_all(path_, ignored);
}

std::string slurp(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

void spit(const fs::path& file, const std::string& text) {
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    if (at == std::string::npos) throw std::runtime_error("there is no '" + from + "' to replace");
    return text.replace(at, from.size(), to);
}

// -- processes ----------------------------------------------------------------------

Process::Process(const TempDir& dir, const Words& arguments, const Variables& variables,
                 const Words& prefix) {
    Words words = prefix;
    words.push_back(binary());
    words.insert(words.end(), arguments.begin(), arguments.end());
    const std::string program = words.front();
    words.erase(words.begin());
    const std::string number = std::to_string(counter++);
    out_ = dir / ("out-" + number);
    err_ = dir / ("err-" + number);
    pid_ = spawn(dir, program, words, variables, out_, err_);
    running_ = true;
}

Process::~Process() {
    if (!running_) return;
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
}

void Process::signal(int number) const {
    if (running_) ::kill(pid_, number);
}

bool Process::reap() {
    int status = 0;
    if (running_ && ::waitpid(pid_, &status, WNOHANG) == pid_) {
        running_ = false;
        exit_code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    return !running_;
}

Finished Process::wait(std::chrono::seconds at_most) {
    const auto until = std::chrono::steady_clock::now() + at_most;
    while (!reap() && std::chrono::steady_clock::now() < until) nap();
    return {exit_code_, out(), err()};
}

bool Process::await_output(const std::string& text, bool in_err) {
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
        const bool ended = reap();
        if ((in_err ? err() : out()).find(text) != std::string::npos) return true;
        if (ended || std::chrono::steady_clock::now() >= until) return false;
        nap();
    }
}

std::string Process::out() const {
    return slurp(out_);
}

std::string Process::err() const {
    return slurp(err_);
}

Finished run(const TempDir& dir, const Words& arguments, const Variables& variables) {
    return Process(dir, arguments, variables).wait();
}

Finished ask_bus(const TempDir& dir, const Words& arguments) {
    constexpr int no_answer = 4;
    const bool stops = arguments.size() > 1 && arguments[1] == "stop";
    Finished finished = run(dir, arguments);
    for (int again = 0; again < 10 && !stops && finished.exit_code == no_answer; ++again)
        finished = run(dir, arguments);
    return finished;
}

std::string left_running(const TempDir& dir) {
    std::string found;
    // a killed parent's children need a moment to follow it
    const auto until = std::chrono::steady_clock::now() + patience;
    do {
        found.clear();
        for (const auto& entry : fs::directory_iterator("/proc")) {
            const std::string pid = entry.path().filename();
            if (!std::ranges::all_of(pid, [](char c) { return c >= '0' && c <= '9'; })) continue;
            std::string line = slurp(entry.path() / "cmdline");
            std::ranges::replace(line, '\0', ' ');
            if (line.find(dir.path().string()) != std::string::npos)
                found += "process " + pid + ": " + line + "\n";
        }
        if (!found.empty()) nap();
    } while (!found.empty() && std::chrono::steady_clock::now() < until);
    for (const auto& entry : fs::recursive_directory_iterator(dir.path() / "tmp"))
        found += "file " + entry.path().string() + "\n";
    return found;
}

std::string left_behind(const TempDir& dir) {
    std::string found = left_running(dir);
    for (const auto& entry : fs::recursive_directory_iterator(dir.path()))
        if (entry.path().filename().string().find(".tmp") != std::string::npos)
            found += "half-written " + entry.path().string() + "\n";
    return found;
}

// -- an example ---------------------------------------------------------------------

std::string make_policy(const TempDir& dir) {
    spit(dir / "policy.toml",
         "[owner]\nowners = [\"master\"]\npurposes = [\"train\"]\n"
         "parties_min = 3\nrows_min = 100\n");
    return dir / "policy.toml";
}

void make_example(const TempDir& dir, const std::string& task) {
    const Finished made =
        run(dir, {"data", "synth", "--task", task, "--out", dir / "data", "--rows", "700",
                  "--members", "2", "--test-files", "--predict-files"});
    if (made.exit_code != 0) throw std::runtime_error(made.err);
    const std::map<std::string, std::string> labels{
        {"linear", "\"credit_limit\""},
        {"logistic", "\"default\""},
        {"softmax", "\"rating\""},
        {"poisson", "\"claims\""},
        {"multilabel", "[\"default\", \"late_30_days\", \"overdraft\", \"churn\", \"fraud\"]"}};
    std::string text = "[run]\nseed = 7\nworld_size = 2\n[model]\ntask = \"" + task +
                       "\"\nepochs = 4\nbatch_size = 64\nlearning_rate = 0.1\n"
                       "report_train_metrics_iteration = 10\n"
                       "[bus]\nrendezvous_timeout = 30\n";
    const std::map<std::string, std::string> files{
        {"master", "bank"}, {"member-0", "telecom"}, {"member-1", "shop"}};
    for (const auto& [party, name] : files) {
        text += "[party." + party + "]\nid = \"customer_id\"\ndata = \"data/" + name +
                ".csv\"\ntest_data = \"data/" + name + "_test.csv\"\npredict_data = \"data/" +
                name + "_predict.csv\"\n";
        if (party == "master") text += "label = " + labels.at(task) + "\n";
        if (party == "master" && task == "poisson") text += "exposure = \"insured_years\"\n";
    }
    spit(dir / "run.toml", text);
}

std::map<std::string, std::string> models(const fs::path& run_dir) {
    std::map<std::string, std::string> found;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(run_dir, none))
        if (fs::exists(entry.path() / "model.json"))
            found[entry.path().filename()] = slurp(entry.path() / "model.json");
    return found;
}

// -- runs under way -------------------------------------------------------------------

Record record(const fs::path& run_dir) {
    const auto in = Json::parse(slurp(run_dir / "run.json"));
    if (!in.is_object()) return {};
    Record found{in.value("term", std::uint64_t{0}), in.value("phase", std::string()), 0};
    if (in.contains("commits") && !in["commits"].empty())
        found.step = in["commits"][in["commits"].size() - 1].value("step", std::uint64_t{0});
    return found;
}

pid_t child_of(const Process& launch, const std::string& who) {
    std::string mark = who == "broker"    ? " broker --bind "
                       : who == "master"  ? " --role master "
                       : who == "arbiter" ? " --role arbiter "
                                          : " --rank " + who.substr(who.rfind('-') + 1) + " ";
    const std::string parent = " --parent " + std::to_string(launch.pid()) + " ";
    for (const auto& entry : fs::directory_iterator("/proc")) {
        const std::string pid = entry.path().filename();
        if (!std::ranges::all_of(pid, [](char c) { return c >= '0' && c <= '9'; })) continue;
        std::string line = slurp(entry.path() / "cmdline") + " ";
        std::ranges::replace(line, '\0', ' ');
        if (line.find(mark) != std::string::npos && line.find(parent) != std::string::npos)
            return static_cast<pid_t>(std::stol(pid));
    }
    return 0;
}

bool await(Process& process, const std::function<bool()>& done) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!done()) {
        if (process.reap() || std::chrono::steady_clock::now() >= until) return false;
        nap();
    }
    return true;
}

std::string first_endpoint(Process& broker) {
    if (!broker.await_output("\n")) return {};
    const std::string text = broker.out();
    return text.substr(0, text.find('\n'));
}

// -- Python ---------------------------------------------------------------------------

Finished python(const TempDir& dir, const std::string& script, const Words& arguments) {
    const std::string number = std::to_string(counter++);
    const fs::path out = dir / ("out-" + number);
    const fs::path err = dir / ("err-" + number);
    spit(dir / ("script-" + number + ".py"), script);
    Words words{dir / ("script-" + number + ".py")};
    words.insert(words.end(), arguments.begin(), arguments.end());
    pid_t pid = -1;
    try {
        pid = spawn(dir, fs::exists("/usr/bin/python3") ? "/usr/bin/python3" : "python3", words, {},
                    out, err);
    } catch (const std::runtime_error&) {
        return {127, "", "there is no python3"};
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, slurp(out), slurp(err)};
}

bool have_sklearn() {
    const TempDir dir;
    return python(dir, "import sklearn.metrics", {}).exit_code == 0;
}

}  // namespace proc
