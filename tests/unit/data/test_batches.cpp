#include <algorithm>

#include "catch.hpp"
#include "data/batches.hpp"

using namespace vflbus::data;

TEST_CASE("an epoch is a permutation of its own, the same every time") {
    const auto order = epoch_order(5, 2, 1000, true);
    CHECK(order == epoch_order(5, 2, 1000, true));
    CHECK(order != epoch_order(5, 3, 1000, true));
    CHECK(order != epoch_order(6, 2, 1000, true));
    auto sorted = order;
    std::sort(sorted.begin(), sorted.end());
    CHECK(sorted == epoch_order(5, 2, 1000, false));
    CHECK(sorted.front() == 0);
    CHECK(sorted.back() == 999);
    CHECK(epoch_order(1, 0, 0, true).empty());
    CHECK(epoch_order(1, 0, 1, true) == std::vector<std::uint32_t>{0});
}

TEST_CASE("every place is equally likely") {
    int first[4] = {};
    for (std::uint64_t epoch = 0; epoch < 4000; ++epoch) ++first[epoch_order(1, epoch, 4, true)[0]];
    for (const int count : first) {
        CHECK(count > 880);
        CHECK(count < 1120);
    }
}

TEST_CASE("batches cover all rows once, the last may be short") {
    for (const std::size_t n : {1UL, 2UL, 9UL, 10UL, 11UL})
        for (const std::size_t size : {0UL, 1UL, 3UL, 5UL, 10UL, 100UL}) {
            std::size_t next = 0;
            for (std::size_t b = 0; b < batches_per_epoch(n, size); ++b) {
                const BatchBounds bounds = batch_bounds(n, size, b);
                CHECK(bounds.begin == next);
                CHECK(bounds.size() > 0);
                if (size > 0) CHECK(bounds.size() <= size);
                next = bounds.end;
            }
            CHECK(next == n);
        }
    CHECK(batches_per_epoch(0, 10) == 0);
    CHECK(batches_per_epoch(10, 0) == 1);
    CHECK(batches_per_epoch(10, 3) == 4);
}

TEST_CASE("even batches cover all rows once, and differ by one row at most") {
    for (const std::size_t n : {1UL, 2UL, 9UL, 10UL, 11UL})
        for (const std::size_t size : {0UL, 1UL, 3UL, 5UL, 10UL, 100UL}) {
            const std::size_t batches = batches_per_epoch(n, size);
            std::size_t next = 0;
            for (std::size_t b = 0; b < batches; ++b) {
                const BatchBounds bounds = even_batch_bounds(n, size, b);
                CHECK(bounds.begin == next);
                CHECK(bounds.size() >= n / batches);
                CHECK(bounds.size() <= n / batches + 1);
                next = bounds.end;
            }
            CHECK(next == n);
        }
    CHECK(even_batch_bounds(11, 5, 0).size() == 4);
    CHECK(even_batch_bounds(11, 5, 2).size() == 3);
}
