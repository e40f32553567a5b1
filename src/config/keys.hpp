#pragma once
// The one table of keys. Reading, defaults, checking, --set, environment variables, the canonical
// text, the written configuration and docs/configuration.md all walk it.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/config.hpp"

namespace vflbus::config {

enum class Half : std::uint8_t { agreed, own };

enum class Type : std::uint8_t {
    boolean,
    integer,
    number,
    text,
    path,           ///< text; relative to the file that says it
    choice,         ///< one of `choices`
    texts,          ///< an array of strings, or one string
    class_weights,  ///< "none", "balanced" or an array of numbers
};

/// Where the value of a key lives. An enumeration is seen as its underlying byte.
using Field = std::variant<bool*, std::uint64_t*, double*, std::string*, std::uint8_t*,
                           std::vector<std::string>*, ClassWeights*>;

struct Key {
    std::string_view section;  ///< as in [run]; "party" for all parties
    std::string_view name;
    Type type;
    Field (*field)(Config& config, PartyConfig& party);  ///< keys of "party" use the latter
    std::string_view doc;                                ///< one or more whole sentences
    std::string_view unit = {};
    double min = 0;
    double max = 0;
    bool above_min = false;  ///< `min` itself is not allowed
    bool below_max = false;  ///< `max` itself is not allowed
    std::span<const std::string_view> choices = {};
    std::string_view variable = {};      ///< an environment variable beside VFLBUS_<SECTION>_<KEY>
    std::string_view default_note = {};  ///< said in the documentation instead of the default
    std::string_view form_of = {};       ///< another form of this key, which alone is agreed upon

    [[nodiscard]] Half half() const noexcept;
};

std::span<const Key> keys() noexcept;

/// The key or nullptr. `section` is "party" for all parties.
const Key* find_key(std::string_view section, std::string_view name) noexcept;

struct Section {
    std::string_view name;
    Half half;
    std::string_view doc;
};
std::span<const Section> sections() noexcept;

}  // namespace vflbus::config
