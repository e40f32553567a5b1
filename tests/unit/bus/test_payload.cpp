// Payload: one owner at a time, whatever it holds.

#include <memory>
#include <vector>

#include "bus/wire/payload.hpp"
#include "catch.hpp"

using namespace vflbus::bus;

namespace {

/// Counts how many of it are alive.
struct Counted {
    explicit Counted(int& alive_count, std::vector<std::uint8_t> content)
        : alive(&alive_count), bytes(std::move(content)) {
        ++*alive;
    }
    Counted(Counted&& other) noexcept : alive(other.alive), bytes(std::move(other.bytes)) {
        ++*alive;
    }
    ~Counted() { --*alive; }
    [[nodiscard]] const std::uint8_t* data() const noexcept { return bytes.data(); }
    [[nodiscard]] std::size_t size() const noexcept { return bytes.size(); }
    int* alive;
    std::vector<std::uint8_t> bytes;
};

}  // namespace

TEST_CASE("an empty payload has no bytes") {
    Payload p;
    CHECK(p.empty());
    CHECK(p.bytes().data() == nullptr);
    p.reset();
    Payload q = std::move(p);
    CHECK(q.empty());
}

TEST_CASE("a payload moves, and leaves nothing behind") {
    int alive = 0;
    {
        Payload a = Payload::hold(Counted(alive, {1, 2, 3}));
        CHECK(alive == 1);
        const std::uint8_t* where = a.bytes().data();
        Payload b = std::move(a);
        CHECK(alive == 1);
        CHECK(a.empty());
        CHECK(b.bytes().data() == where);
        CHECK(b.size() == 3);
        Payload c = Payload::hold(Counted(alive, {9}));
        CHECK(alive == 2);
        c = std::move(b);  // what c held is gone
        CHECK(alive == 1);
        CHECK(c.size() == 3);
        Payload& self = c;
        c = std::move(self);
        CHECK(c.size() == 3);
        c.reset();
        CHECK(alive == 0);
        CHECK(c.empty());
    }
    CHECK(alive == 0);
}

TEST_CASE("the holder comes back by its own type only") {
    Payload p = Payload::hold(std::vector<std::uint8_t>{4, 5});
    CHECK(p.get_if<SharedSlice>() == nullptr);
    auto* held = p.get_if<std::vector<std::uint8_t>>();
    REQUIRE(held != nullptr);
    CHECK(held->size() == 2);
    Payload none;
    CHECK(none.get_if<std::vector<std::uint8_t>>() == nullptr);
}

TEST_CASE("copy_of does not share") {
    std::vector<std::uint8_t> bytes{1, 2};
    const Payload p = Payload::copy_of(bytes);
    bytes[0] = 9;
    CHECK(p.bytes()[0] == 1);
}

TEST_CASE("slices share one body and keep it alive") {
    auto body = std::make_shared<const std::vector<std::uint8_t>>(100, std::uint8_t{7});
    std::weak_ptr<const std::vector<std::uint8_t>> watch = body;
    Payload a = Payload::hold(SharedSlice(body, 0, 60));
    Payload b = Payload::hold(SharedSlice(body, 60, 40));
    body.reset();
    CHECK(a.size() == 60);
    CHECK(b.size() == 40);
    CHECK(b.bytes().data() == a.bytes().data() + 60);
    a.reset();
    CHECK_FALSE(watch.expired());
    b.reset();
    CHECK(watch.expired());
}
