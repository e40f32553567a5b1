#pragma once
// One clock for the traces of several machines.
//
// The problem: each machine writes times of its own clock, and clocks differ by more than a step
// lasts. But a party works on a request after it was asked and before it has answered, so whatever
// the master has measured from asking to answer has the party's work within it. Over thousands of
// requests that leaves little room: the offset of the two clocks lies between the largest of the
// lower bounds and the smallest of the upper ones. (NTP takes the same two differences of one
// exchange; here the best of all exchanges of a training count.)

#include <map>
#include <span>
#include <string>
#include <vector>

namespace vflbus::observers {

/// Microseconds of one clock.
struct TraceSpan {
    double begin = 0;
    double end = 0;
};
/// By the kind of request, in the order in which they were asked.
using TraceSpans = std::map<std::string, std::vector<TraceSpan>>;

/// Microseconds to add to the times of a party, so that they are of the master's clock.
/// `asked`: from asking to the answer, by the master's clock; `worked`: the work in it, by the
/// party's. 0 when both clocks may be the same, or nothing can be told: only kinds of requests
/// count of which both have as many.
double clock_offset(const TraceSpans& asked, const TraceSpans& worked);

}  // namespace vflbus::observers
