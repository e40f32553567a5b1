#pragma once
// Frames that this process makes itself: an encoded header and its body.

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "bus/wire/codec.hpp"
#include "bus/wire/header.hpp"
#include "bus/wire/payload.hpp"

namespace vflbus::bus {

/// The header as the first frame of a message.
inline Payload encoded(const Header& header) {
    struct Holder {  // 97 bytes are more than a Payload has inside
        std::vector<std::uint8_t> bytes;
        [[nodiscard]] const std::uint8_t* data() const noexcept { return bytes.data(); }
        [[nodiscard]] std::size_t size() const noexcept { return bytes.size(); }
    };
    const HeaderBytes bytes = encode(header);
    return Payload::hold(Holder{{bytes.begin(), bytes.end()}});
}

/// A frame with `body`; the header says its length.
inline Frame make_frame(Header header, Bytes body) {
    header.body_bytes = body.size();
    Frame frame{encoded(header), {}};
    if (!body.empty()) frame.body = Payload::hold(std::move(body));
    return frame;
}

/// The same with a body that others hold as well: a megabyte for a thousand nodes is there once.
inline Frame make_frame(Header header, const std::shared_ptr<const Bytes>& body) {
    header.body_bytes = body->size();
    Frame frame{encoded(header), {}};
    if (!body->empty()) frame.body = Payload::hold(SharedSlice(body, 0, body->size()));
    return frame;
}

}  // namespace vflbus::bus
