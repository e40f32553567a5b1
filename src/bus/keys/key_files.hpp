#pragma once
// Keys in files: NAME.key, which nobody else may read, and NAME.pub, which is handed out.

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "bus/keys/dates.hpp"
#include "bus/keys/key.hpp"

namespace vflbus::bus {

inline constexpr std::string_view broker_key_name = "broker";
inline constexpr std::string_view secret_extension = ".key";
inline constexpr std::string_view public_extension = ".pub";
inline constexpr mode_t secret_file_mode = S_IRUSR | S_IWUSR;
inline constexpr mode_t public_file_mode = secret_file_mode | S_IRGRP | S_IROTH;
inline constexpr Seconds key_lifetime_s = 365 * 86'400;
/// From so long before its end on, a key is warned of.
inline constexpr Seconds key_warning_s = 30 * 86'400;

struct PublicKeyFile {
    std::string name;
    PublicKey key;
    Seconds expires = 0;
};

struct SecretKeyFile {
    std::string name;
    KeyPair pair;
    Seconds expires = 0;
};

std::filesystem::path secret_key_path(const std::filesystem::path& directory,
                                      std::string_view name);
std::filesystem::path public_key_path(const std::filesystem::path& directory,
                                      std::string_view name);

/// Whether the secret key of `name` is there, to read it. Errors: usage, with what to do.
Result<> find_secret_key(const std::filesystem::path& directory, std::string_view name);

/// Makes `directory` (mode 0700) where it is missing, and both files in it. Each is whole or not
/// there, and none that exists is ever written over. Errors: io, usage (a name that is none).
Result<SecretKeyFile> make_key_files(const std::filesystem::path& directory,
                                     const std::string& name, Seconds expires);

/// Errors: io; bad_data, naming the file and the line; insecure for a secret that others than its
/// owner may read. What a line says is never repeated.
Result<PublicKeyFile> read_public_key(const std::filesystem::path& file);
Result<SecretKeyFile> read_secret_key(const std::filesystem::path& file);

/// The half that is handed out, and what its file says.
PublicKeyFile public_half(const SecretKeyFile& key);
std::string public_file_text(const PublicKeyFile& key);
/// NAME.key of that directory. Whoever made the pair was perhaps killed between its two files:
/// NAME.pub is written from the secret where it is missing. Errors: as of both, io.
Result<SecretKeyFile> read_key_pair(const std::filesystem::path& directory,
                                    const std::string& name);

/// The end of a pair that lies aside, as the broker has set it: what the files say is what counts.
/// Errors: as of read_secret_key, io.
Result<> set_key_end(const std::filesystem::path& directory, const std::string& name,
                     Seconds expires);

/// The names of all files of that extension in a directory, in order.
std::vector<std::string> key_names(const std::filesystem::path& directory,
                                   std::string_view extension);

/// "the key of member-0 expires in 12 days; ..."; empty for one that is good for longer.
std::string expiry_warning(const std::string& whose, Seconds expires, Seconds now);

// -- what a party connects with ----------------------------------------------------

/// Whether bodies are sealed from party to party (docs/protocol.md, section 14).
enum class SealMode : std::uint8_t { automatic, on, off };
/// What becomes of a party whose key is not known yet (known_parties.hpp).
enum class FirstUse : std::uint8_t { take, refuse };

/// Where a process finds its keys. Without a directory links are in the clear.
struct KeySource {
    std::filesystem::path directory;
    /// Of the key. Empty: that of the node, and where it has none, its name without the suffix; for
    /// who asks, the only one that is there.
    std::string name;
    /// automatic: over tcp.
    SealMode seal = SealMode::automatic;
    /// Of other parties; empty: `known-parties` in the directory.
    std::filesystem::path known_parties{};
    FirstUse first_use = FirstUse::take;
    [[nodiscard]] bool given() const noexcept { return !directory.empty(); }
};

/// The keys of one end of a link: its own, and the broker's that it insists on.
struct LinkKeys {
    SecretKeyFile own;
    PublicKeyFile broker;
};

/// For a node of this name. A node called NAME-1f0c9a33 uses the key NAME where it has none of its
/// own. Errors: io, bad_data, insecure, usage: which file is missing and what makes it; not_allowed
/// for a key that has expired.
Result<LinkKeys> load_link_keys(const KeySource& source, const std::string& node_name, Seconds now);
/// The name of the key that a person asks with: the one that is said, otherwise the only one.
Result<std::string> asking_key(const KeySource& source);

}  // namespace vflbus::bus
