#pragma once
// Partial scores and residuals in the clear.

#include <memory>

#include "actors/protocols/protocol.hpp"

namespace vflbus::actors {

std::unique_ptr<MasterProtocol> make_honest_master();
std::unique_ptr<MemberProtocol> make_honest_member();

}  // namespace vflbus::actors
