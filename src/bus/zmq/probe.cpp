#include "bus/zmq/probe.hpp"

#include <poll.h>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "bus/wire/header.hpp"
#include "bus/zmq/address.hpp"
#include "bus/zmq/context_impl.hpp"

namespace vflbus::bus {

Result<Duration> probe_broker(const std::shared_ptr<Context>& context, const std::string& text,
                              Duration patience) {
    const TimePoint begin = clock_now();
    const TimePoint until = begin + patience;
    const auto address = parse_address(text);
    if (!address) return tl::unexpected(address.error());
    const auto numeric = resolve(*address, patience);
    if (!numeric) return tl::unexpected(numeric.error());

    zmq::socket_t socket(context->zmq, zmq::socket_type::dealer);
    set_common_options(socket);
    socket.set(zmq::sockopt::ipv6, true);
    socket.set(zmq::sockopt::reconnect_ivl, 50);
    try {
        socket.connect(*numeric);
    } catch (const zmq::error_t& e) {
        return fail(Errc::address, "cannot connect to " + text + ": " + e.what());
    }
    // before HELLO a broker answers everything with ERROR not_registered (docs/protocol.md,
    // section 4); whatever it says, it is there
    Header ping;
    ping.kind = Kind::ping;
    const HeaderBytes bytes = encode(ping);
    socket.send(zmq::const_buffer(bytes.data(), bytes.size()), zmq::send_flags::none);

    Incoming in;
    for (;;) {
        while (receive(socket, false, in)) {
            Header header;
            const HeaderFault fault = decode(in.frame.header.bytes(), header);
            if (fault == HeaderFault::none) return clock_now() - begin;
            if (fault == HeaderFault::other_version)
                return fail(Errc::unsupported_version,
                            "the broker at " + text + " speaks another version of the protocol");
        }
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock_now());
        if (left.count() <= 0)
            return fail(Errc::timed_out,
                        "no broker answers at " + text + " within " +
                            human_seconds(std::chrono::duration<double>(patience).count()));
        pollfd ready{descriptor_of(socket), POLLIN, 0};
        ::poll(&ready, 1, static_cast<int>(left.count()));
    }
}

}  // namespace vflbus::bus
