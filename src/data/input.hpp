#pragma once
// The bytes of a table, read at offsets by any number of threads at once.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/errc.hpp"

namespace vflbus::data {

/// A file, or bytes that were unpacked, decoded or received. Copies share what they read from,
/// which is kept for as long as one of them lives.
class Input {
  public:
    Input() = default;  ///< no bytes

    /// Errors: io; the sentence says why, without the path: "cannot be opened: ...". A named pipe
    /// is refused, not waited for.
    static Result<Input> open(const std::string& path);
    static Input of_bytes(std::string bytes);

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    /// Fills [out, out + count). Errors: io, also when the file has become shorter; the sentence
    /// does not name the file.
    Result<> read(std::uint64_t offset, char* out, std::size_t count) const;
    /// The first bytes, `count` at most.
    Result<std::string> head(std::size_t count) const;

  private:
    friend class Spool;
    struct Store;
    Input(std::shared_ptr<const Store> store, std::uint64_t size);

    std::shared_ptr<const Store> store_;
    std::uint64_t size_ = 0;
};

/// Takes bytes that come one after another and makes an Input of them. A table needs its bytes
/// twice (once to find its records, once to parse them), and they may be more than memory holds:
/// beyond spool_memory_bytes they go to a file without a name in the directory for temporary files,
/// which is gone when the Input is.
class Spool {
  public:
    Spool() = default;
    Spool(const Spool&) = delete;
    Spool& operator=(const Spool&) = delete;
    ~Spool();

    /// Errors: io when the temporary file cannot be made or written; the sentence names its
    /// directory and how to choose another.
    Result<> append(const char* data, std::size_t count);
    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    Input finish();

  private:
    Result<> to_file();

    std::string bytes_;
    int fd_ = -1;
    std::uint64_t size_ = 0;
};

/// Appends all that can be read from `fd` until its end. Errors: io.
Result<> receive(int fd, Spool& spool);

inline constexpr std::size_t spool_memory_bytes = std::size_t{64} << 20;

/// Calls `take(data, count)` with all bytes of `input`, a block at a time, until one fails.
template <class Take>
Result<> for_each_block(const Input& input, Take&& take) {
    constexpr std::size_t block_bytes = std::size_t{1} << 20;
    std::string block;
    for (std::uint64_t offset = 0; offset < input.size(); offset += block.size()) {
        const std::uint64_t left = input.size() - offset;
        block.resize(left < block_bytes ? static_cast<std::size_t>(left) : block_bytes);
        if (auto ok = input.read(offset, block.data(), block.size()); !ok) return ok;
        if (auto ok = take(block.data(), block.size()); !ok) return ok;
    }
    return {};
}

}  // namespace vflbus::data
