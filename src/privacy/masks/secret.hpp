#pragma once
// Random bytes for secrets, and memory that is wiped when it goes.
//
// The problem: keys, masks and noise protect the numbers of a party only while nobody can guess or
// find them. They come from the operating system, never from the seed of a run, are part of no
// commit, and are overwritten as soon as they are no longer needed.

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <vector>

namespace vflbus::privacy {

/// Overwrites memory in a way that the compiler may not leave out.
void wipe(void* data, std::size_t bytes) noexcept;

template <class T>
void wipe(std::span<T> values) noexcept {
    wipe(values.data(), values.size_bytes());
}

/// 32 bytes that are wiped when they go. Movable and not copyable: a secret has one owner.
class Key {
  public:
    static constexpr std::size_t size = 32;

    Key() = default;
    ~Key() { wipe(bytes_.data(), bytes_.size()); }
    Key(Key&& other) noexcept : bytes_(other.bytes_) { wipe(other.bytes_.data(), size); }
    Key& operator=(Key&& other) noexcept {
        bytes_ = other.bytes_;
        if (this != &other) wipe(other.bytes_.data(), size);
        return *this;
    }
    Key(const Key&) = delete;
    Key& operator=(const Key&) = delete;

    [[nodiscard]] std::span<std::uint8_t, size> bytes() noexcept { return bytes_; }
    [[nodiscard]] std::span<const std::uint8_t, size> bytes() const noexcept { return bytes_; }

  private:
    std::array<std::uint8_t, size> bytes_{};
};

/// Memory that begins where a line of the cache does: of 64 bytes that are read at once from memory
/// of any other place, each read takes two lines.
template <class T>
struct LineAllocator {
    using value_type = T;
    static constexpr std::align_val_t line{64};

    LineAllocator() = default;
    template <class U>
    explicit LineAllocator(const LineAllocator<U>&) noexcept {}
    [[nodiscard]] T* allocate(std::size_t count) {
        return static_cast<T*>(::operator new(count * sizeof(T), line));
    }
    void deallocate(T* memory, std::size_t) noexcept { ::operator delete(memory, line); }
    friend bool operator==(const LineAllocator&, const LineAllocator&) noexcept { return true; }
};

/// A list of numbers that is wiped when it goes.
template <class T>
class SecretVector {
  public:
    SecretVector() = default;
    explicit SecretVector(std::size_t size) : values_(size) {}
    ~SecretVector() { wipe(std::span<T>(values_)); }
    SecretVector(SecretVector&&) noexcept = default;
    SecretVector& operator=(SecretVector&& other) noexcept {
        wipe(std::span<T>(values_));
        values_ = std::move(other.values_);
        return *this;
    }
    SecretVector(const SecretVector&) = delete;
    SecretVector& operator=(const SecretVector&) = delete;

    [[nodiscard]] T* data() noexcept { return values_.data(); }
    [[nodiscard]] const T* data() const noexcept { return values_.data(); }
    [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }
    [[nodiscard]] std::span<T> span() noexcept { return values_; }
    [[nodiscard]] std::span<const T> span() const noexcept { return values_; }
    [[nodiscard]] T& operator[](std::size_t i) noexcept { return values_[i]; }
    [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return values_[i]; }

  private:
    std::vector<T, LineAllocator<T>> values_;
};

/// Fills `out` with bytes of the operating system.
void random_secret(std::span<std::uint8_t> out);
[[nodiscard]] Key random_key();

/// In place of the operating system: for the simulation, where the same seed must make the same
/// messages. Null: the operating system again. Never called by the product.
using RandomSource = void (*)(std::span<std::uint8_t> out);
void use_random_source(RandomSource source) noexcept;

}  // namespace vflbus::privacy
