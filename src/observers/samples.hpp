#pragma once
// What is looked up when Prometheus asks: the broker, a link, the process. docs/observing.md has
// the list of all metrics; a test compares it with what these functions make.

#include <map>
#include <string>
#include <vector>

#include "bus/core/sample.hpp"
#include "observers/metrics.hpp"

namespace vflbus::observers {

std::vector<Family> families_of(const bus::BrokerSample& sample);

/// `names`: of the nodes that this one talks to; a node without a name there is called by its id.
std::vector<Family> families_of(const bus::LinkSample& sample,
                                const std::map<NodeId, std::string>& names);

/// Memory, processor time, descriptors: under the names that every Prometheus client uses.
std::vector<Family> process_families();

}  // namespace vflbus::observers
