// Drives a node in Python that was written from docs/protocol.md alone (echo_node.py): it joins a
// run and gives back what it is sent, also 3 MiB in chunks, in the clear, with keys, and sealed; a
// run with an extension that it has to understand it declines. Exit code 77: skipped.

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include "actors/node/node.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "bus/keys/allow_list_file.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/zmq/broker_loop.hpp"

using namespace vflbus;
using namespace vflbus::actors;

extern char** environ;

namespace {

constexpr MessageType echo = 1;
constexpr const char* python = "/usr/bin/python3";

pid_t spawn(std::vector<std::string> words) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t pid = -1;
    return posix_spawn(&pid, python, nullptr, nullptr, argv.data(), environ) == 0 ? pid : -1;
}

int exit_code_of(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class Owner final : public ServerApp {
  public:
    explicit Owner(bus::Extensions extensions) {
        spec_.extensions = std::move(extensions);
        spec_.run = random_run_id();
        spec_.participants = {{"pythonic", "node", 0}};
        spec_.agreed = "[run]\nseed = 1\n";
    }
    const RunSpec& spec() const override { return spec_; }
    void on_opened(Driver& driver) override {
        driver.set_timer(driver.now() + std::chrono::seconds(25));
    }
    void on_join(Driver& driver, NodeId node, const bus::Join& join) override {
        if (!sent_.empty()) return;
        if (join.extensions != bus::Extensions{{1, {'o', 'd', 'd'}}})
            fault("the extensions of its JOIN are others");
        if (join.code != Errc::ok) return driver.close(join.code, join.sentence);
        if (join.config_hash != hash256(spec_.agreed)) fault("the configuration hash is wrong");
        for (const std::size_t bytes : {0u, 1u, 1000u, 3u << 20, 512u << 10, 7u}) {
            Bytes body(bytes);
            for (std::size_t i = 0; i < bytes; ++i)
                body[i] = static_cast<std::uint8_t>(i * 131 + (i >> 11));
            push(driver, node, echo, std::move(body));
        }
        push(driver, node, 300, {});
    }
    void on_reply(Driver& driver, Message&& reply) override {
        const auto at = sent_.find(reply.metadata.message_id);
        if (at == sent_.end()) return fault("a reply to nothing");
        if (at->second.type == echo && (!reply.has_content() || reply.content != at->second.body))
            fault("an echo that differs: " + reply.error.sentence);
        if (at->second.type != echo && reply.error.code != Errc::unknown_message)
            fault("an unknown message was answered");
        sent_.erase(at);
        if (sent_.empty()) driver.close(Errc::ok, "done");
    }
    void on_peer(Driver&, const PeerEvent&) override {}
    void on_timer(Driver& driver) override {
        fault("the node did not answer in time");
        driver.close(Errc::timed_out, "too late");
    }
    void on_link(Driver&, bool, const std::string&) override {}
    void on_closed(const Ending&) override {}

    bool good = true;

  private:
    struct Sent {
        MessageType type;
        Bytes body;
    };
    void push(Driver& driver, NodeId node, MessageType type, Bytes body) {
        const auto number = driver.push_message(node, type, body);
        if (!number) return fault(number.error().sentence);
        sent_[*number] = {type, std::move(body)};
    }
    void fault(const std::string& sentence) {
        good = false;
        std::fprintf(stderr, "%s\n", sentence.c_str());
    }
    RunSpec spec_;
    std::map<std::uint64_t, Sent> sent_;
};

/// Keys of all, and the list of those that may come in.
bool make_keys(const std::string& directory) {
    const bus::Seconds expires = bus::wall_seconds() + bus::key_lifetime_s;
    std::string list;
    for (const auto& [name, role] : {std::pair{"broker", ""}, std::pair{"owner", "serverapp"},
                                     std::pair{"pythonic", "node"}}) {
        const auto made = bus::make_key_files(directory, name, expires);
        if (!made) return false;
        if (*role == '\0') continue;
        bus::Allowed entry;
        entry.name = name;
        entry.key = made->pair.public_key;
        entry.roles = {role};
        entry.expires = expires;
        list += bus::line_of(entry) + "\n";
    }
    return write_file_atomically(bus::allow_list_path(directory), list).has_value();
}

/// A broker, the node in Python and an owner; over tcp with keys where `keys` names a directory.
bool exchange(const char* script, const std::string& directory, const std::string& keys,
              bool sealed = false) {
    const auto context = bus::make_context();
    bus::BrokerOptions options;
    options.context = context;
    options.bind = {keys.empty() ? "ipc://" + directory + "/broker" : "tcp://127.0.0.1:0"};
    options.certificates = keys;
    auto broker = bus::BrokerLoop::bind(options);
    if (!broker) {
        std::fprintf(stderr, "%s\n", broker.error().sentence.c_str());
        return false;
    }
    const std::string address = (*broker)->endpoints().front();
    std::vector<std::string> words{python, script, address, "pythonic"};
    if (!keys.empty()) words.push_back(keys);
    if (sealed) words.emplace_back("seal");
    const pid_t node_pid = spawn(std::move(words));
    bool good = node_pid > 0;
    bus::StopSignal broker_stop;
    bus::StopSignal stop;
    std::thread serving([&] { (*broker)->run(broker_stop); });
    NodeOptions owner;
    owner.context = bus::make_context();
    owner.broker = address;
    owner.name = "owner";
    owner.role = "serverapp";
    owner.state_dir =
        directory + "/owner" + (keys.empty() ? "" : "-with-keys") + (sealed ? "-sealed" : "");
    owner.keys.directory = keys;
    owner.keys.seal = sealed ? bus::SealMode::on : bus::SealMode::off;
    const auto drive = [&](Owner& app) {
        const auto ending = (*Node::create(owner))->drive(app, stop);
        good = good && app.good && ending;
        return ending ? *ending : Ending{ending.error().code, ending.error().sentence};
    };
    // an extension that has to be understood and is not; then one that may be ignored
    if (!sealed) {
        Owner refused(bus::Extensions{{2, {1}}});
        const Ending no = drive(refused);
        good = good && no.code == Errc::unsupported_version &&
               no.sentence == "pythonic does not know extension 2";
    }
    Owner app(bus::Extensions{{3, {1}}});
    good = drive(app).code == Errc::ok && good;
    if (!good) ::kill(node_pid, SIGTERM);
    const int code = exit_code_of(node_pid);
    if (code != 0) std::fprintf(stderr, "the node ended with %d\n", code);
    good = good && code == 0;
    broker_stop.stop();
    serving.join();
    return good;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 1;
    if (const pid_t pid = spawn({python, "-c", "import zmq, msgpack, cryptography"});
        pid < 0 || exit_code_of(pid) != 0) {
        std::printf(
            "skipped: %s has no zmq, msgpack and cryptography (apt install python3-zmq "
            "python3-msgpack python3-cryptography)\n",
            python);
        return 77;
    }
    std::string directory = (std::filesystem::temp_directory_path() / "vflbus-XXXXXX").string();
    if (::mkdtemp(directory.data()) == nullptr) return 1;
    const std::string keys = directory + "/keys";
    const bool good = exchange(argv[1], directory, {}) && make_keys(keys) &&
                      exchange(argv[1], directory, keys) &&
                      exchange(argv[1], directory, keys, true);
    std::filesystem::remove_all(directory);
    return good ? 0 : 1;
}
