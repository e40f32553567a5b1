#pragma once
// Values on their way into a configuration: what a file, flag, variable or canonical text says,
// before it is known to fit its key. For this room, and for the policy room, whose file is read in
// the same notation.

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/keys.hpp"

namespace vflbus::config {

/// A value of a kind that no key takes: "a date", "a table".
struct Foreign {
    std::string what;
};

struct Raw {
    std::variant<bool, std::int64_t, double, std::string, std::vector<Raw>, Foreign> value;
};

/// One statement of a source.
struct Setting {
    std::string section;  ///< "model", "party.member-0"; empty: outside of every section
    std::string name;     ///< empty: the section itself was opened
    Raw value;
    std::string origin;  ///< "conf/x.toml:12", "--set", "VFLBUS_MODEL_TASK"
};

// -- text -> value ------------------------------------------------------------------

/// A literal in TOML's notation: true, 12, 0.5, "text", ["a", 2]; nullopt for anything else.
std::optional<Raw> parse_literal(std::string_view text);

/// What a flag or variable says for `key`: a literal, or bare text where the key takes text, or a
/// list separated by commas where it takes several.
Raw raw_from_text(const Key& key, std::string_view text);

// -- value -> field -----------------------------------------------------------------

/// Checks `raw` against `key` and stores it. Returns what is wrong, as the rest of a sentence that
/// begins with the key's full name and says the nearest valid value; empty when it was stored.
/// Relative paths are made absolute against `base`, unless that is empty.
std::string assign(const Key& key, const Raw& raw, Field field, const std::filesystem::path& base);

// -- field -> text ------------------------------------------------------------------

/// In TOML's notation, numbers in their shortest form.
std::string literal(const Key& key, Field field);
std::string quote(std::string_view text);
bool equal(Field a, Field b);

/// "an integer from 1 to 1000000", "one of sgd and adam"
std::string allowed(const Key& key);

/// "model.epochs"
std::string full_name(const Key& key);

// -- problems -----------------------------------------------------------------------

/// `text` with a question mark for every byte that is no well-formed UTF-8 or a control character
/// (newlines stay): sentences end up on terminals and in JSON.
std::string printable(std::string_view text);

/// Collects what is wrong; the first five are told.
class Problems {
  public:
    void add(std::string problem);
    [[nodiscard]] bool none() const noexcept { return count_ == 0; }
    [[nodiscard]] Failure failure() const;

  private:
    std::vector<std::string> lines_;
    std::size_t count_ = 0;
};

/// "conf/x.toml:12: ", where the first of these keys that is stated stands, for the beginning of a
/// problem; the file alone when none is.
std::string at(const Config& config, std::initializer_list<std::string_view> keys);

/// The rules between keys of one agreed half, used for our own and for one from the network.
void check_agreed(const Config& config, Problems& problems);

/// The statements of a TOML file (toml.cpp, the only place that sees toml++). `shown` is the file's
/// name in errors.
Result<std::vector<Setting>> read_toml(std::string_view text, const std::string& shown);

/// "rank" of "member-<rank>" without sign, leading zeros or anything after it.
std::optional<std::uint64_t> member_rank(std::string_view party);

inline constexpr std::uint64_t world_size_max =
    4095;  // participants of a run, the master included: 4096
inline constexpr std::size_t text_bytes_max = 4096;
inline constexpr std::size_t classes_max = 1'000;
inline constexpr std::size_t list_entries_max = 10'000;
inline constexpr std::size_t file_bytes_max = std::size_t{1} << 20;

}  // namespace vflbus::config
