#pragma once
// The bodies of the control kinds: docs/protocol.md, section 3.

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.hpp"
#include "bus/wire/codec.hpp"
#include "bus/wire/extensions.hpp"

namespace vflbus::bus {

struct Hello {
    std::string name;
    std::string role;
    std::int64_t rank = -1;
    std::uint64_t incarnation = 0;
    std::uint64_t instance = 0;
    std::string version;
    std::vector<std::string> features;
    Extensions extensions{};  ///< for the broker
};

struct Welcome {
    std::string version;
    std::uint64_t heartbeat_ms = 0;
    std::uint64_t suspect_ms = 0;
    std::uint64_t lost_ms = 0;
    std::uint64_t frame_bytes = 0;
    std::uint64_t message_bytes = 0;
    Extensions extensions{};  ///< for the node
};

struct Participant {
    std::string name;
    std::string role;
    std::int64_t rank = -1;
    friend bool operator==(const Participant&, const Participant&) = default;
};

/// The one participant of an open run, to which every node with `feature_apps` is invited.
inline const Participant any_node{"*", "member", -1};
inline constexpr std::string_view feature_apps = "apps";
inline constexpr std::string_view feature_serve = "serve";
inline constexpr std::string_view feature_asks = "asks";

struct Open {
    std::string owner;
    std::vector<Participant> participants;
    std::string agreed;       ///< the agreed half of the configuration, canonical text
    Extensions extensions{};  ///< for the participants
    [[nodiscard]] bool to_everybody() const {
        return participants.size() == 1 && participants[0] == any_node;
    }
};

struct Join {
    std::string name;
    std::string role;
    std::int64_t rank = -1;
    std::uint64_t incarnation = 0;
    Hash256 config_hash{};
    std::string version;
    Errc code = Errc::ok;  ///< ok, or why the participant declines
    std::string sentence;
    Extensions extensions{};  ///< for the owner
};

/// CLOSE, and the body of a REPLY with flag `error`.
struct Ending {
    Errc code = Errc::ok;
    std::string sentence;
};

/// CLOSE of a sealed run: its sentence says no more than the code. An Ending for each participant
/// that had joined is sealed beside it; the broker passes on to each its own.
struct Close {
    Ending ending;
    std::map<NodeId, Bytes> sealed;
};

struct PeerUp {
    std::string name;
    std::string role;
    std::int64_t rank = -1;
    std::uint64_t incarnation = 0;
};

struct PeerSuspect {
    std::string name;
    Errc code = Errc::peer_lost;  ///< what is wrong: docs/protocol.md, section 4
    std::uint64_t silent_ms = 0;
};

struct PeerDown {
    std::string name;
    Errc code = Errc::peer_lost;
    std::uint64_t silent_ms = 0;
};

Bytes encode(const Hello& m);
Bytes encode(const Welcome& m);
Bytes encode(const Open& m);
Bytes encode(const Join& m);
Bytes encode(const Ending& m);
/// As an Ending where nothing is sealed.
Bytes encode(const Close& m);
Bytes encode(const PeerUp& m);
Bytes encode(const PeerSuspect& m);
Bytes encode(const PeerDown& m);
/// The body of ERROR and BYE: `[sentence]`.
Bytes encode_sentence(std::string_view sentence);

Result<Hello> decode_hello(std::span<const std::uint8_t> body);
Result<Welcome> decode_welcome(std::span<const std::uint8_t> body);
Result<Open> decode_open(std::span<const std::uint8_t> body);
Result<Join> decode_join(std::span<const std::uint8_t> body);
Result<Ending> decode_ending(std::span<const std::uint8_t> body);
Result<Close> decode_close(std::span<const std::uint8_t> body);
Result<PeerUp> decode_peer_up(std::span<const std::uint8_t> body);
Result<PeerSuspect> decode_peer_suspect(std::span<const std::uint8_t> body);
Result<PeerDown> decode_peer_down(std::span<const std::uint8_t> body);
/// Empty when the body is empty or not a sentence.
std::string decode_sentence(std::span<const std::uint8_t> body);

}  // namespace vflbus::bus
