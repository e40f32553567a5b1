#include "bus/wire/enrolment.hpp"

#include "base/ids.hpp"

namespace vflbus::bus {
namespace {

constexpr DecodeLimits enrol_limits{array_elements_max, depth_max, control_body_bytes_max};
constexpr std::uint64_t last_second = 253'402'300'799;  // of the year 9999
constexpr std::size_t rights_bytes_max = 1024;

std::string read_enrolled_name(Reader& reader) {
    std::string name = reader.str(64);
    if (reader.ok() && !is_valid_node_name(name)) reader.fault("not a node name");
    return name;
}

}  // namespace

Bytes encode(const EnrolRequest& m) {
    Writer w;
    w.array(5).str(m.name).bin(m.key).u64(m.expires).str(m.version);
    write(w, m.extensions);
    return w.take();
}

Bytes encode(const EnrolAnswer& m) {
    Writer w;
    w.array(6).str(m.name).str(m.rights).u64(m.expires).u64(m.broker_expires).str(m.version);
    write(w, m.extensions);
    return w.take();
}

Result<EnrolRequest> decode_enrol_request(std::span<const std::uint8_t> body) {
    Reader r("ENROL", body, 5, enrol_limits);
    EnrolRequest m;
    m.name = read_enrolled_name(r);
    r.fixed_bin(m.key);
    m.expires = r.u64(last_second);
    m.version = r.str(64);
    m.extensions = read_extensions(r);
    return finished(r, std::move(m));
}

Result<EnrolAnswer> decode_enrol_answer(std::span<const std::uint8_t> body) {
    Reader r("ENROL", body, 6, enrol_limits);
    EnrolAnswer m;
    m.name = read_enrolled_name(r);
    m.rights = r.str(rights_bytes_max);
    m.expires = r.u64(last_second);
    m.broker_expires = r.u64(last_second);
    m.version = r.str(64);
    m.extensions = read_extensions(r);
    return finished(r, std::move(m));
}

}  // namespace vflbus::bus
