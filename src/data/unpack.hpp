#pragma once
// What a file is, by its first bytes: packed text is unpacked, and what is no text at all is
// refused with what to do.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/errc.hpp"
#include "data/input.hpp"

namespace vflbus::data {

enum class Packing : std::uint8_t { none, gzip, zstd };

/// How the bytes that begin with `head` are packed.
Packing packing_of(std::string_view head) noexcept;

/// The bytes of a gzip or zstd file, of all its members or frames. Errors: io; bad_data when it is
/// damaged or was cut off. The sentences do not name the file: " is cut off ...".
Result<Input> unpack(const Input& input, Packing packing);

/// Why bytes that begin with `head` are no table that is read here and what to do instead, as
/// the rest of a sentence that begins with the file; empty when nothing speaks against it. `file`
/// is put into the command that is suggested.
std::string why_no_table(std::string_view head, std::string_view file);

/// As many first bytes as why_no_table() wants to see.
inline constexpr std::size_t magic_bytes = 512;

}  // namespace vflbus::data
