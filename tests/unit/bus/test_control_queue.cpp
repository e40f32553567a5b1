// Control frames that wait: bounds by who has sent them, and what a newer frame replaces.

#include "bus/core/control_queue.hpp"
#include "bus/wire/limits.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

constexpr NodeId first_node{1};
constexpr NodeId second_node{2};
constexpr std::size_t frame_bytes = 100;
constexpr std::size_t frame_cost = frame_bytes + waiting_frame_bytes;

ControlFrame tagged_frame(std::uint8_t tag, NodeId from = {}, std::optional<Subject> subject = {}) {
    return {{Payload::hold(std::vector<std::uint8_t>(frame_bytes, tag)), {}}, from, subject};
}

std::vector<int> tags_taken(ControlQueue& queue) {
    std::vector<int> tags;
    for (; !queue.empty(); queue.pop()) tags.push_back(queue.front().header.bytes()[0]);
    return tags;
}

Subject subject_of(std::uint8_t run, Kind kind = Kind::join, NodeId node = first_node) {
    Subject subject{kind, {}, node};
    subject.run.bytes[0] = run;
    return subject;
}

}  // namespace

TEST_CASE("frames leave in the order in which they came") {
    ControlQueue queue;
    for (std::uint8_t tag = 1; tag <= 4; ++tag)
        CHECK(queue.add(tagged_frame(tag, tag % 2 == 0 ? first_node : NodeId{})) ==
              ControlQueue::Added::waits);
    CHECK(queue.frames() == 4);
    CHECK(queue.bytes() == 4 * frame_cost);
    CHECK(tags_taken(queue) == std::vector<int>{1, 2, 3, 4});
    CHECK(queue.bytes() == 0);
}

TEST_CASE("one node's flood takes no room from others") {
    ControlQueue queue({.frames = 10,
                        .bytes = 100 * frame_cost,
                        .passed_on_frames = 6,
                        .passed_on_bytes = 100 * frame_cost,
                        .of_one_frames = 3,
                        .of_one_bytes = 100 * frame_cost});
    for (int i = 0; i < 3; ++i)
        CHECK(queue.add(tagged_frame(1, first_node)) == ControlQueue::Added::waits);
    CHECK(queue.add(tagged_frame(1, first_node)) == ControlQueue::Added::crowded);
    for (int i = 0; i < 3; ++i)
        CHECK(queue.add(tagged_frame(2, second_node)) == ControlQueue::Added::waits);
    CHECK(queue.add(tagged_frame(3, NodeId{3})) ==
          ControlQueue::Added::crowded);  // all nodes together
    for (int i = 0; i < 4; ++i) CHECK(queue.add(tagged_frame(4)) == ControlQueue::Added::waits);
    CHECK(queue.add(tagged_frame(4)) == ControlQueue::Added::over);
    // what leaves makes room for its sender
    queue.pop();
    CHECK(queue.add(tagged_frame(2, second_node)) == ControlQueue::Added::crowded);
    CHECK(queue.add(tagged_frame(1, first_node)) == ControlQueue::Added::waits);
    CHECK(queue.frames() == 10);
    queue.clear();
    CHECK(queue.empty());
    CHECK(queue.add(tagged_frame(1, first_node)) == ControlQueue::Added::waits);
}

TEST_CASE("bytes are bounded as well, and a frame costs more than its bytes") {
    ControlQueue queue({.bytes = 5 * frame_cost,
                        .passed_on_bytes = 4 * frame_cost,
                        .of_one_bytes = 2 * frame_cost});
    CHECK(queue.add(tagged_frame(1, first_node)) == ControlQueue::Added::waits);
    CHECK(queue.add(tagged_frame(1, first_node)) == ControlQueue::Added::waits);
    CHECK(queue.add(tagged_frame(1, first_node)) == ControlQueue::Added::crowded);
    CHECK(queue.add(tagged_frame(2, second_node)) == ControlQueue::Added::waits);
    CHECK(queue.add(tagged_frame(2, second_node)) == ControlQueue::Added::waits);
    CHECK(queue.add(tagged_frame(3, NodeId{3})) == ControlQueue::Added::crowded);
    CHECK(queue.add(tagged_frame(4)) == ControlQueue::Added::waits);
    CHECK(queue.add(tagged_frame(4)) == ControlQueue::Added::over);
}

TEST_CASE("a body that others hold as well costs nothing here") {
    ControlQueue queue({.bytes = 2 * frame_cost});
    const auto shared = [] {
        ControlFrame frame = tagged_frame(1);
        frame.frame.body = Payload::hold(std::vector<std::uint8_t>(1 << 20));
        frame.shared_body = true;
        return frame;
    };
    CHECK(queue.add(shared()) == ControlQueue::Added::waits);
    CHECK(queue.bytes() == frame_cost);
    ControlFrame own = shared();
    own.shared_body = false;
    CHECK(queue.add(std::move(own)) == ControlQueue::Added::over);
}

TEST_CASE("a newer frame about the same thing replaces the one that waits, at the end") {
    ControlQueue queue({.of_one_frames = 3});
    queue.add(tagged_frame(1, first_node, subject_of(1)));
    queue.add(tagged_frame(2));
    for (std::uint8_t tag = 10; tag < 200; ++tag)  // however often it is said
        CHECK(queue.add(tagged_frame(tag, first_node, subject_of(1))) ==
              ControlQueue::Added::waits);
    CHECK(queue.frames() == 2);
    CHECK(queue.bytes() == 2 * frame_cost);
    queue.add(tagged_frame(3, first_node, subject_of(2)));  // another run
    queue.add(
        tagged_frame(4, second_node, subject_of(1, Kind::join, second_node)));  // another node
    queue.add(tagged_frame(5, first_node, subject_of(1, Kind::open)));          // another kind
    CHECK(tags_taken(queue) == std::vector<int>{2, 199, 3, 4, 5});
    // one that has left is replaced by nothing
    queue.add(tagged_frame(6, first_node, subject_of(1)));
    queue.pop();
    queue.add(tagged_frame(7, first_node, subject_of(1)));
    queue.add(tagged_frame(8, first_node, subject_of(1)));
    CHECK(tags_taken(queue) == std::vector<int>{8});
}
