// The ClientApp: it echoes what it is sent.

#include <vflbus/app.hpp>

using namespace vflbus::app;

namespace {

Message train(const Message& message, Context&) {
    log(INFO, "`train` not implemented, echoing original message");
    return message.create_reply(message.content());
}

ClientApp client() {
    return ClientApp().train(train);
}

}  // namespace

VFLBUS_CLIENT_APP(client)
