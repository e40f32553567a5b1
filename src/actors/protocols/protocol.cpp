#include "actors/protocols/protocol.hpp"

#include "actors/protocols/honest.hpp"
#include "actors/protocols/masked.hpp"

namespace vflbus::actors {
namespace {

Failure unusable(std::string_view name) {
    for (const std::string_view planned : {"arbitered"})
        if (name == planned)
            return {Errc::bad_config, "run.protocol \"" + std::string(name) +
                                          "\" is not built yet; this version has \"honest\", "
                                          "\"masked\" and \"encrypted\""};
    return {Errc::bad_config, "unknown run.protocol \"" + std::string(name) +
                                  "\"; this version has \"honest\", \"masked\" and \"encrypted\""};
}

}  // namespace

std::string protocol_notice(const config::AgreedHalf& agreed) {
    const auto protocol = make_master_protocol(config::name_of(agreed.run.protocol));
    return protocol ? (*protocol)->notice(agreed.run.world_size) : std::string();
}

Result<std::unique_ptr<MasterProtocol>> make_master_protocol(std::string_view name) {
    if (name == "honest") return make_honest_master();
    if (name == "masked") return make_masked_master();
    if (name == "encrypted") return make_encrypted_master();
    return tl::unexpected(unusable(name));
}

Result<std::unique_ptr<MemberProtocol>> make_member_protocol(const config::AgreedHalf& agreed) {
    const std::string_view name = config::name_of(agreed.run.protocol);
    if (name == "honest") return make_honest_member();
    if (name == "masked" || name == "encrypted") return make_masked_member(agreed.run.world_size);
    return tl::unexpected(unusable(name));
}

}  // namespace vflbus::actors
