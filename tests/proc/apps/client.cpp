// A ClientApp that behaves as it is told to.

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
#include <vflbus/app.hpp>

using namespace vflbus::app;

namespace {

struct Count {
    std::int64_t messages = 0;
};

Message count(const Message& message, Context& context) {
    Record record = message.content();
    record.metrics["count"] = ++context.state<Count>().messages;
    record.config["run"] = context.run_id();
    record.config["label"] = context.run_config<std::string>("label", "");
    record.config["place"] = context.node_config<std::string>("place", "");
    log(INFO, "handled message ", message.metadata().message_id, " of group ",
        message.metadata().group_id);
    return message.create_reply(record);
}

Message throws(const Message&, Context&) {
    throw std::runtime_error("no luck today");
}

Message crashes(const Message&, Context&) {
    std::raise(SIGSEGV);
    return {};
}

/// Returns when it is told to.
Message waits(const Message& message, Context& context) {
    log(INFO, "waits to be told");
    while (!context.cancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    log(INFO, "told to stop");
    return message.create_reply({});
}

/// Never returns.
Message hangs(const Message&, Context&) {
    log(INFO, "hangs");
    for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
}

Message refuses(const Message& message, Context&) {
    return message.create_error_reply({Error::refused, "not today"});
}

Message prints(const Message& message, Context&) {
    std::cout << "printed by the app" << std::endl;
    return message.create_reply({});
}

/// Takes more than twice the stall time of the test.
Message works(const Message& message, Context& context) {
    for (int i = 0; i < 500 && !context.cancelled(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        context.progress();
    }
    return message.create_reply({});
}

/// Writes log lines for ever, and looks at nothing.
Message floods(const Message&, Context&) {
    for (std::uint64_t i = 0;; ++i) log(INFO, "line ", i, " of a flood");
}

/// Runs `sleep`; its number comes through `out`, since it may be nobody's child any more.
[[noreturn]] void sleep_long(int out) {
    const pid_t me = ::getpid();
    (void)!::write(out, &me, sizeof me);
    ::execlp("sleep", "sleep", "300", nullptr);
    ::_exit(127);
}

/// Starts programs that try to outlive it: a child, one in a session of its own, a daemon, and one
/// below a shell in the background. Answers with their numbers.
Message spawns(const Message& message, Context&) {
    int out[2] = {-1, -1};
    if (::pipe(out) != 0) throw std::runtime_error("no pipe");
    for (int kind = 0; kind < 3; ++kind) {
        const pid_t pid = ::fork();
        if (pid != 0) continue;
        if (kind >= 1) ::setsid();
        if (kind == 2 && ::fork() != 0) ::_exit(0);
        sleep_long(out[1]);
    }
    const std::string shell = "sh -c 'sleep 300 & echo $! >&2; exec sleep 300' 2>&" +
                              std::to_string(out[1]) + " >/dev/null &";
    std::vector<std::int64_t> pids;
    for (int i = 0; i < 3; ++i) {
        pid_t pid = 0;
        if (::read(out[0], &pid, sizeof pid) == sizeof pid) pids.push_back(pid);
    }
    if (std::system(shell.c_str()) != 0) throw std::runtime_error("no shell");
    std::string text;
    for (char c = 0; ::read(out[0], &c, 1) == 1 && c != '\n';) text += c;
    pids.push_back(std::stol(text));
    Record record;
    record.config["pids"] = std::move(pids);
    return message.create_reply(record);
}

/// Writes what is no frame to every socket that it finds.
Message scribbles(const Message&, Context&) {
    const std::vector<unsigned char> nonsense(4096, 0xff);
    for (int fd = 3; fd < 64; ++fd)
        (void)!::send(fd, nonsense.data(), nonsense.size(), MSG_DONTWAIT);
    for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
}

Message echo(const Message& message, Context&) {
    return message.create_reply(message.content());
}

ClientApp client() {
    return ClientApp()
        .train(count)
        .on("train.throws", throws)
        .on("train.crashes", crashes)
        .on("train.waits", waits)
        .on("train.hangs", hangs)
        .on("train.floods", floods)
        .on("train.spawns", spawns)
        .on("train.scribbles", scribbles)
        .evaluate(refuses)
        .query(prints)
        .on("query.echo", echo)
        .on("query.works", works);
}

}  // namespace

VFLBUS_CLIENT_APP(client)
