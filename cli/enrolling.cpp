#include "enrolling.hpp"

#include "bus/zmq/possession.hpp"

namespace vflbus::cli {
namespace {

constexpr Duration enrol_patience = std::chrono::seconds(20);

bool refused(const bus::EnrolOutcome& outcome) {
    return !outcome.answer && outcome.answer.error().code == Errc::not_allowed &&
           (outcome.answered || outcome.key_refused);
}

}  // namespace

EnrolEnd enrol(const Enrolling& enrolling) {
    const auto context = bus::make_context(1);
    bus::EnrolRequest request;
    request.name = enrolling.fresh.name;
    request.key = enrolling.fresh.pair.public_key.bytes;
    request.expires = static_cast<std::uint64_t>(enrolling.fresh.expires);
    request.version = VFLBUS_VERSION;
    // with the key that is shown, and what proves to that broker that the new one is one's own
    const auto say = [&](const bus::LinkKeys& shown) {
        const bus::PublicKey& broker = shown.broker.key;
        const bus::KeyPair& fresh = enrolling.fresh.pair;
        if (auto proof =
                bus::proof_of({fresh.public_key, broker,
                               bus::fingerprint_of(shown.own.pair.public_key), request.name},
                              fresh.secret, broker))
            request.extensions[bus::extension_possession] = std::move(*proof);
        return bus::enrol_at(context, enrolling.address, shown, request, enrol_patience);
    };
    bus::EnrolOutcome first = say(enrolling.shown);
    if (first.answer) return {std::move(first.answer)};
    if (!refused(first)) {
        const Errc code = first.answer.error().code;
        const bool never_said = enrolling.made_now && !first.got_in && code != Errc::timed_out;
        return {std::move(first.answer), never_said, false};
    }
    if (enrolling.made_now && (first.answered || !first.got_in))
        return {std::move(first.answer), true, first.key_refused};
    bus::EnrolOutcome second = say({enrolling.fresh, enrolling.shown.broker});
    if (second.answer) return {std::move(second.answer)};
    // the handshake alone is nobody's word: whoever stands between can refuse there
    const bool useless = second.answered ? refused(second) : first.answered && refused(second);
    return {std::move(first.answer), useless, first.key_refused};
}

}  // namespace vflbus::cli
