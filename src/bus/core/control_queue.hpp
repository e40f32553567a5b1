#pragma once
// Control frames that wait for a connection which takes no more at the moment.
//
// The problem: the window does not hold control frames back, and what one node sends reaches
// another one's queue. Without bounds a node that reads nothing fills the broker's memory; with one
// bound for all, the flood of one node ends the session of another. So frames are counted against
// the node that has sent them. A newer frame about the same subject makes an older one void: the
// older one is dropped, and the newer one waits at the end.
//
// Used by HopSender: `add` when a frame cannot go out, `front` and `pop` when one can.

#include <compare>
#include <cstdint>
#include <map>
#include <optional>

#include "base/fifo.hpp"
#include "base/ids.hpp"
#include "bus/core/hop.hpp"
#include "bus/wire/header.hpp"

namespace vflbus::bus {

/// What a control frame is about. Of several waiting frames with the same subject only the newest
/// says something: an OPEN of a run, a JOIN of a node in it, whether a peer is up.
struct Subject {
    Kind kind{};  ///< PEER_UP stands for PEER_SUSPECT and PEER_DOWN as well
    RunId run;
    NodeId about;
    friend auto operator<=>(const Subject&, const Subject&) = default;
};

struct ControlFrame {
    Frame frame;
    /// The node that has sent it; 0: this process itself.
    NodeId from{};
    std::optional<Subject> subject{};
    /// Its body is kept by somebody else anyway (a run keeps its OPEN), and shared with this frame:
    /// only the header is counted.
    bool shared_body = false;
};

struct ControlLimits {
    std::size_t frames = SIZE_MAX;  ///< all that wait
    std::uint64_t bytes = UINT64_MAX;
    std::size_t passed_on_frames = SIZE_MAX;  ///< of them, what other nodes have sent
    std::uint64_t passed_on_bytes = UINT64_MAX;
    std::size_t of_one_frames = SIZE_MAX;  ///< of them, what one node has sent
    std::uint64_t of_one_bytes = UINT64_MAX;
};

class ControlQueue {
  public:
    explicit ControlQueue(const ControlLimits& limits = {}) noexcept : limits_(limits) {}

    enum class Added : std::uint8_t {
        waits,
        crowded,  ///< dropped: over the share of its sender, or of all other nodes together
        over,     ///< dropped: over what may wait in all
    };
    Added add(ControlFrame&& frame);
    /// The oldest frame; the queue must not be empty. The caller hands it to the transport and then
    /// calls `pop`; no `add` in between.
    [[nodiscard]] Frame& front();
    void pop();
    void clear();

    // -- properties ------------------------------------------------------------
    [[nodiscard]] bool empty() const noexcept { return total_.frames == 0; }
    [[nodiscard]] std::size_t frames() const noexcept { return total_.frames; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return total_.bytes; }

  private:
    struct Count {
        std::size_t frames = 0;
        std::uint64_t bytes = 0;
        [[nodiscard]] bool takes(std::uint64_t more, std::size_t most_frames,
                                 std::uint64_t most_bytes) const noexcept {
            return frames < most_frames && more <= most_bytes && bytes <= most_bytes - more;
        }
    };
    struct Entry {
        Frame frame;
        std::uint64_t cost = 0;
        NodeId from;
        std::optional<Subject> subject;
        bool is_void = false;  ///< a newer frame has the same subject
    };
    void count(const Entry& entry, bool in);
    void drop_void();

    ControlLimits limits_;
    Fifo<Entry> entries_;      ///< the first one is not void
    std::uint64_t first_ = 0;  ///< the place of entries_[0] among all that ever waited
    std::map<Subject, std::uint64_t> places_;
    std::map<NodeId, Count> of_node_;
    Count total_;
    Count passed_on_;
};

}  // namespace vflbus::bus
