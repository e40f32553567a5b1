#include "memory.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VFLBUS_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VFLBUS_SANITIZED
#endif
#endif

#ifdef VFLBUS_SANITIZED

namespace vflbus::sim::memory {

bool counted() noexcept {
    return false;
}
std::uint64_t now() noexcept {
    return 0;
}
void mark() noexcept {}
std::uint64_t peak() noexcept {
    return 0;
}

}  // namespace vflbus::sim::memory

#else

#include <malloc.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

namespace {

// Of the thread that asks: the simulation is one thread, and those that read what its worker
// processes write are none of its business.
thread_local std::uint64_t allocated = 0;
thread_local std::uint64_t marked = 0;
thread_local std::uint64_t most = 0;

// A claim that is believed must not take the machine's memory: no event needs so much.
constexpr std::size_t at_once_max = std::size_t{1} << 30;

bool too_much(std::size_t bytes) noexcept {
    if (bytes <= at_once_max) return false;
    most = std::max<std::uint64_t>(most, allocated + bytes);
    errno = ENOMEM;
    return true;
}

void* took(void* place) noexcept {
    if (place == nullptr) return nullptr;
    allocated += malloc_usable_size(place);
    most = std::max(most, allocated);
    return place;
}

}  // namespace

namespace vflbus::sim::memory {

bool counted() noexcept {
    return true;
}
std::uint64_t now() noexcept {
    return allocated;
}
void mark() noexcept {
    marked = most = allocated;
}
std::uint64_t peak() noexcept {
    return most - marked;
}

}  // namespace vflbus::sim::memory

// glibc's allocator under other names, so that operator new, Eigen and C libraries are all counted.
extern "C" {

// NOLINTBEGIN: these names are glibc's
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
// NOLINTEND

void* malloc(std::size_t bytes) noexcept {
    return too_much(bytes) ? nullptr : took(__libc_malloc(bytes));
}

void free(void* place) noexcept {
    if (place == nullptr) return;
    allocated -= malloc_usable_size(place);
    __libc_free(place);
}

void* calloc(std::size_t count, std::size_t bytes) noexcept {
    if (bytes != 0 && count > at_once_max / bytes && too_much(at_once_max + 1)) return nullptr;
    return took(__libc_calloc(count, bytes));
}

void* realloc(void* place, std::size_t bytes) noexcept {
    if (too_much(bytes)) return nullptr;
    const std::size_t before = place == nullptr ? 0 : malloc_usable_size(place);
    void* const moved = __libc_realloc(place, bytes);
    if (moved == nullptr && bytes != 0) return nullptr;
    allocated -= before;
    return took(moved);
}

void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
    return too_much(bytes) ? nullptr : took(__libc_memalign(alignment, bytes));
}

void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
    return memalign(alignment, bytes);
}

int posix_memalign(void** place, std::size_t alignment, std::size_t bytes) noexcept {
    void* const found = memalign(alignment, bytes);
    if (found == nullptr) return ENOMEM;
    *place = found;
    return 0;
}

}  // extern "C"

#endif
