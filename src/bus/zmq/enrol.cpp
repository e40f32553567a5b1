#include "bus/zmq/enrol.hpp"

#include <poll.h>

#include <algorithm>
#include <optional>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "bus/wire/control.hpp"
#include "bus/wire/header.hpp"
#include "bus/zmq/address.hpp"
#include "bus/zmq/context_impl.hpp"
#include "bus/zmq/handshake.hpp"

namespace vflbus::bus {
namespace {

constexpr Duration say_again_after = std::chrono::seconds(1);

void say(zmq::socket_t& socket, const EnrolRequest& request) {
    const Bytes body = encode(request);
    Header header;
    header.kind = Kind::enrol;
    header.request = 1;
    header.body_bytes = body.size();
    const HeaderBytes bytes = encode(header);
    (void)socket.send(zmq::const_buffer(bytes.data(), bytes.size()),
                      zmq::send_flags::sndmore | zmq::send_flags::dontwait);
    (void)socket.send(zmq::const_buffer(body.data(), body.size()), zmq::send_flags::dontwait);
}

/// What a frame says; nothing for one that is not the answer.
std::optional<Result<EnrolAnswer>> answer_in(const Incoming& in) {
    Header header;
    if (decode(in.frame.header.bytes(), header) != HeaderFault::none ||
        !valid(header, in.frame.body.size()))
        return std::nullopt;
    if (header.kind == Kind::error)
        return fail(static_cast<Errc>(header.aux & 0xffff), decode_sentence(in.frame.body.bytes()));
    if (header.kind != Kind::enrol || (header.flags & flag::answer) == 0) return std::nullopt;
    return decode_enrol_answer(in.frame.body.bytes());
}

}  // namespace

EnrolOutcome enrol_at(const std::shared_ptr<Context>& context, const std::string& text,
                      const LinkKeys& keys, const EnrolRequest& request, Duration patience) {
    const auto address = parse_address(text);
    if (!address) return {tl::unexpected(address.error())};
    const TimePoint until = clock_now() + patience;
    const auto numeric = resolve(*address, patience);
    if (!numeric) return {tl::unexpected(numeric.error())};
    zmq::socket_t socket(context->zmq, zmq::socket_type::dealer);
    set_common_options(socket);
    socket.set(zmq::sockopt::ipv6, true);
    socket.set(zmq::sockopt::reconnect_ivl, 100);
    set_link_keys(socket, keys);
    Handshakes handshakes(context->zmq, socket, true);
    try {
        socket.connect(*numeric);
    } catch (const zmq::error_t& e) {
        return {fail(Errc::address, "cannot connect to " + text + ": " + e.what())};
    }
    TimePoint again = clock_now();
    Incoming in;
    for (;;) {
        while (receive(socket, false, in))
            if (auto answer = answer_in(in)) return {std::move(*answer), true, false, true};
        const std::string trouble = handshakes.read();
        if (handshakes.not_let_in())
            return {fail(Errc::not_allowed, trouble), false, true, handshakes.ever_in()};
        const TimePoint now = clock_now();
        if (now >= until)
            return {fail(Errc::timed_out,
                         "the broker at " + text + " has not answered within " +
                             human_seconds(std::chrono::duration<double>(patience).count()) +
                             (trouble.empty() ? ""
                                              : ": what is there has another key than broker.pub "
                                                "or the invitation says, or is no broker with "
                                                "keys")),
                    false, false, handshakes.ever_in()};
        if (now >= again) {
            say(socket, request);
            again = now + say_again_after;
            continue;  // the descriptors hold only right after a receive that found nothing
        }
        pollfd ready[] = {{descriptor_of(socket), POLLIN, 0}, {handshakes.descriptor(), POLLIN, 0}};
        const auto wait =
            std::chrono::ceil<std::chrono::milliseconds>(std::min(until, again) - now);
        (void)::poll(ready, 2, static_cast<int>(wait.count()));
    }
}

}  // namespace vflbus::bus
