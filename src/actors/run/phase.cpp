#include "actors/run/phase.hpp"

namespace vflbus::actors {

std::string_view name_of(Phase phase) noexcept {
    switch (phase) {
        case Phase::opening:
            return "opening";
        case Phase::gathering:
            return "gathering";
        case Phase::aligning:
            return "aligning";
        case Phase::selecting:
            return "selecting";
        case Phase::beginning:
            return "beginning";
        case Phase::restoring:
            return "restoring";
        case Phase::training:
            return "training";
        case Phase::evaluating:
            return "evaluating";
        case Phase::comparing:
            return "comparing";
        case Phase::finishing:
            return "finishing";
        case Phase::releasing:
            return "releasing";
        case Phase::closing:
            return "closing";
        case Phase::done:
            return "done";
    }
    return "unknown";
}

}  // namespace vflbus::actors
