#pragma once
// The body of ENROL, by which a party that was invited has its key allowed, and of the answer:
// docs/protocol.md, section 13.

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "bus/wire/codec.hpp"
#include "bus/wire/extensions.hpp"

namespace vflbus::bus {

struct EnrolRequest {
    std::string name;
    std::array<std::uint8_t, 32> key{};  ///< public
    std::uint64_t expires = 0;           ///< of the key: seconds since 1970
    std::string version;
    Extensions extensions{};
};

struct EnrolAnswer {
    std::string name;
    std::string rights;                ///< "role=member rank=0", as the allow-list has it
    std::uint64_t expires = 0;         ///< until when the key is let in
    std::uint64_t broker_expires = 0;  ///< of the broker's own key
    std::string version;
    Extensions extensions{};
};

Bytes encode(const EnrolRequest& m);
Bytes encode(const EnrolAnswer& m);
Result<EnrolRequest> decode_enrol_request(std::span<const std::uint8_t> body);
Result<EnrolAnswer> decode_enrol_answer(std::span<const std::uint8_t> body);

}  // namespace vflbus::bus
