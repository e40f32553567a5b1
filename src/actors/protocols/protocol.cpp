#include "actors/protocols/protocol.hpp"

#include "actors/protocols/honest.hpp"
#include "actors/protocols/masked.hpp"
#include "privacy/paillier/paillier.hpp"

namespace vflbus::actors {
namespace {

Failure unusable(std::string_view name) {
    return {Errc::bad_config, "unknown run.protocol \"" + std::string(name) +
                                  "\"; this version has \"honest\", \"masked\", \"encrypted\" "
                                  "and \"arbitered\""};
}

/// What the master gets to see of networks whose numbers are summed under masks.
std::string masked_networks(std::uint64_t members) {
    return members == 1 ? "what the member's part of the network makes of each row, as with a "
                          "single member there is nobody to share a mask with"
                        : "the sum of what the members' parts of the network make of each row, and "
                          "no member's own";
}

}  // namespace

std::string weakness(const config::RunConfig& run) {
    if (run.protocol != config::Protocol::arbitered) return {};
    if (run.he == config::Encryption::none)
        return ". NOTHING IS ENCRYPTED (run.he = \"none\"): whoever gets the messages reads scores "
               "and residuals";
    if (run.he == config::Encryption::paillier && run.he_key_bits < privacy::paillier::key_bits_min)
        return ". THE KEY PROTECTS NOTHING (run.insecure_testing, " +
               std::to_string(run.he_key_bits) + " bits)";
    return {};
}

std::string protocol_notice(const config::AgreedHalf& agreed) {
    const config::ModelConfig& model = agreed.model;
    if (agreed.run.protocol == config::Protocol::honest && model.name != config::ModelName::linear)
        return "protocol honest: the master sees what every member's part of the network makes of "
               "each row" +
               std::string(model.noise > 0 ? ", with noise added to it" : "") +
               ", and every member the gradients of its own, which can tell the labels, in the "
               "clear";
    if (agreed.run.protocol == config::Protocol::masked && model.name != config::ModelName::linear)
        return "protocol masked: the master sees " + masked_networks(agreed.run.world_size) +
               std::string(model.noise > 0 ? ", with noise added to it" : "") +
               "; every member sees the gradients by that sum, which can tell the labels";
    if (agreed.run.protocol == config::Protocol::encrypted &&
        model.name != config::ModelName::linear)
        return "protocol encrypted: the master sees " + masked_networks(agreed.run.world_size) +
               std::string(model.noise > 0 ? ", with noise added to it" : "") +
               "; every member sees the gradients of its own weights alone";
    if (agreed.run.protocol == config::Protocol::honest &&
        model.solver == config::Solver::sequential)
        return "protocol honest: the master sees every member's partial scores, and every member "
               "the targets of its batches, which can tell the labels, in the clear";
    const auto protocol = make_master_protocol(config::name_of(agreed.run.protocol));
    if (!protocol) return {};
    return (*protocol)->notice(agreed.run.world_size) + weakness(agreed.run);
}

std::string prediction_notice(const config::AgreedHalf& agreed) {
    const std::string name(config::name_of(agreed.run.protocol));
    const std::string begin = "protocol " + name + ": the master sees ";
    if (agreed.model.name != config::ModelName::linear &&
        agreed.run.protocol != config::Protocol::honest)
        return begin + masked_networks(agreed.run.world_size);
    if (agreed.model.name != config::ModelName::linear)
        return begin + "what every member's part of the network makes of each row, in the clear";
    if (agreed.run.protocol == config::Protocol::honest)
        return begin + "every member's partial scores, in the clear";
    if (agreed.run.world_size == 1)
        return begin +
               "the member's partial scores, as with a single member there is nobody to share a "
               "mask with";
    return begin + "the sum of the members' partial scores and no member's own";
}

std::string unsealed_notice(const config::Config& config) {
    const config::BusConfig& bus = config.bus;
    if (config.run.protocol == config::Protocol::honest || !bus.broker.starts_with("tcp://"))
        return {};
    const std::string_view host = std::string_view(bus.broker).substr(6);
    const bool here =
        host.starts_with("127.") || host.starts_with("localhost:") || host.starts_with("[::1]:");
    const bool off = bus.seal == config::Seal::off;
    if (!off && !bus.certificates.empty()) return {};  // sealed, or refused where it cannot be
    if (!off && !bus.insecure && here) return {};
    return "protocol " + std::string(config::name_of(config.run.protocol)) +
           ": messages are not sealed (" +
           (off ? "bus.seal is off" : "bus.certificates names no keys") +
           "), so the broker, and whoever reads the lines to it, can add up what the members send: "
           "masks cancel in that sum. It reads what the master reads, with one member that "
           "member's scores, and could exchange the keys of the masks. Sealing prevents it: " +
           (off ? "bus.seal = \"on\"" : "give all parties keys (bus.certificates)");
}

std::string lonely_notice(const config::AgreedHalf& agreed,
                          std::span<const std::uint64_t> features) {
    if (agreed.run.protocol == config::Protocol::honest || features.size() < 2) return {};
    std::size_t lonely = 0;
    std::size_t count = 0;
    for (std::size_t rank = 0; rank < features.size(); ++rank)
        if (features[rank] > 0) {
            lonely = rank;
            ++count;
        }
    if (count != 1) return {};
    return "protocol " + std::string(config::name_of(agreed.run.protocol)) + ": " +
           config::member_name(lonely) +
           " alone has features in the model, so the sum of the members' scores is its own: the "
           "masks of the others hide nothing, and the master sees that member's partial scores";
}

Result<std::unique_ptr<MasterProtocol>> make_master_protocol(std::string_view name) {
    if (name == "honest") return make_honest_master();
    if (name == "masked") return make_masked_master();
    if (name == "encrypted") return make_encrypted_master();
    if (name == "arbitered") return make_arbitered_master();
    return tl::unexpected(unusable(name));
}

Result<std::unique_ptr<MemberProtocol>> make_member_protocol(const config::AgreedHalf& agreed) {
    const std::string_view name = config::name_of(agreed.run.protocol);
    if (name == "honest") return make_honest_member();
    if (name == "masked" || name == "encrypted" || name == "arbitered")
        return make_masked_member(agreed.run.world_size);
    return tl::unexpected(unusable(name));
}

}  // namespace vflbus::actors
