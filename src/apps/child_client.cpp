// The handlers of one run on one node: called on the main thread, in order. A second thread reads
// what the node says, so that a handler can be told to stop.

#include <exception>

#include "apps/child.hpp"
#include "apps/child_channel.hpp"

namespace vflbus::apps {
namespace {

class Client {
  public:
    explicit Client(int socket) : channel_(socket) {}

    int run(const app::Exported& exported) {
        exported.set_host(&channel_);
        std::thread([this] { listen(); }).detach();
        ChildChannel::Frame frame;
        if (!next(frame) || frame.head.kind != FrameKind::begin) return 1;
        auto begin = decode_begin(frame.body.bytes());
        if (!begin) return 1;
        run_id_ = begin->run_id;
        node_id_ = begin->node_id;
        app::Context context({begin->run_id, begin->node_id, begin->node_name, begin->rank,
                              std::move(begin->run_config), std::move(begin->node_config),
                              &channel_.cancelled});
        app::ClientApp client;
        std::string broken;  // why the app could not be made; said to each message
        try {
            client = exported.client();
        } catch (const std::exception& e) {
            broken = std::string("the app could not be made: ") + e.what();
        } catch (...) {
            broken = "the app could not be made";
        }
        while (next(frame) && frame.head.kind == FrameKind::request) {
            const Result<> answered = handle(client, broken, frame, context);
            if (!answered)
                channel_.write({FrameKind::refusal},
                               encode(Outcome{static_cast<int>(answered.error().code),
                                              answered.error().sentence}));
            frame.body = {};  // before the wait for the next one
        }
        return 0;
    }

  private:
    /// Writes the answer. A failure: why there is none.
    Result<> handle(const app::ClientApp& client, const std::string& broken,
                    const ChildChannel::Frame& frame, app::Context& context) {
        const auto envelope = decode_envelope(frame.body.bytes());
        if (!envelope) return tl::unexpected(envelope.error());
        if (!broken.empty()) return fail(Errc::handler_failed, broken);
        const auto handler = client.handlers().find(envelope->message_type);
        if (handler == client.handlers().end())
            return fail(Errc::unknown_message, "the app has no handler for messages of type \"" +
                                                   envelope->message_type + "\"");
        auto record = decode_record(envelope->record, frame.body.memory);
        if (!record) return tl::unexpected(record.error());
        app::Metadata metadata = metadata_of(*envelope);
        metadata.run_id = run_id_;
        metadata.src_node_id = frame.head.node;
        metadata.dst_node_id = node_id_;
        const app::Message message(metadata, std::move(*record));
        app::Message reply;
        const std::string what = "handler " + envelope->message_type;
        try {
            reply = handler->second(message, context);
        } catch (const std::exception& e) {
            return fail(Errc::handler_failed, what + ": " + e.what());
        } catch (...) {
            return fail(Errc::handler_failed, what + " threw something that is no exception");
        }
        if (!reply.has_content()) {
            const int code = reply.error().code;
            return fail(code > 0 && code < 65'536 ? static_cast<Errc>(code) : Errc::handler_failed,
                        reply.error().reason);
        }
        return answer(*envelope, reply);
    }

    Result<> answer(const Envelope& request, const app::Message& reply) {
        Envelope back = envelope_of(reply.metadata());
        back.message_id = "re:" + request.message_id;
        back.message_type = request.message_type;
        back.group_id = request.group_id;
        Scattered encoded = scatter(back, reply.content());
        if (encoded.bytes() > bus::message_bytes_max)
            return fail(Errc::too_large, "the reply of handler " + request.message_type + " has " +
                                             std::to_string(encoded.bytes()) +
                                             " bytes; a message has " +
                                             std::to_string(bus::message_bytes_max) + " at most");
        channel_.write({FrameKind::answer}, encoded.pieces());
        return {};
    }

    void listen() {
        ChildChannel::Frame frame;
        while (channel_.read(frame)) {
            if (frame.head.kind == FrameKind::cancel) {
                channel_.cancelled = true;
                continue;
            }
            // the node asks for one thing at a time: what a cancel was about is over
            if (frame.head.kind == FrameKind::request) channel_.cancelled = false;
            const std::lock_guard lock(mutex_);
            frames_.push_back(std::move(frame));
            changed_.notify_one();
        }
        ::_exit(0);
    }

    bool next(ChildChannel::Frame& frame) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !frames_.empty(); });
        frame = std::move(frames_.front());
        frames_.pop_front();
        return true;
    }

    ChildChannel channel_;
    std::string run_id_;
    app::NodeId node_id_ = 0;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<ChildChannel::Frame> frames_;
};

}  // namespace

int run_client(int socket, const app::Exported& exported) {
    // never destroyed: its thread listens until the process ends
    return (new Client(socket))->run(exported);
}

}  // namespace vflbus::apps
