// A ClientApp that behaves as it is told to.

#include <chrono>
#include <csignal>
#include <iostream>
#include <stdexcept>
#include <thread>
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
        .evaluate(refuses)
        .query(prints)
        .on("query.echo", echo)
        .on("query.works", works);
}

}  // namespace

VFLBUS_CLIENT_APP(client)
