#include "bus/core/hop_receiver.hpp"

namespace vflbus::bus {

void HopReceiver::marked(std::uint64_t token) {
    // (a flood of MARKs while something is held: the last one says what the others said)
    if (marks_.size() == marks_max) marks_.pop_back();
    marks_.push_back({token, received_});
}

std::uint64_t HopReceiver::due() {
    std::uint64_t token = 0;
    while (!marks_.empty() && marks_.front().position <= received_ - held_) {
        token = marks_.front().token;
        marks_.pop_front();
    }
    return token;
}

}  // namespace vflbus::bus
