#pragma once
// Which key belongs to which party, as this party knows it.
//
// The broker passes the public keys of the parties on, and could pass on keys of its own: it would
// then read everything. So a party compares each key with what it knows: the .pub files that its
// people were given and have put beside its own key, and a file with one line for each party. The
// first key that is seen of a name that neither of them has is written into that file, and a line
// in the log says its fingerprint, to be compared over the telephone; from then on no other one
// counts.
//
//     # name      fingerprint, or the public key
//     member-0    7QHD-2K5W-PZLM-AXY3-TTBN-4EOC
//
// Two lines of one name are two keys that both count, as while a key is exchanged. The files are
// read each time, so that what is changed by hand counts at once. A file that cannot be looked at
// refuses everybody: only one that is not there says nothing.
//
// A key called NAME-0123abcd is that of NAME, where NAME is known (allow_list.hpp): otherwise the
// broker would make up such a name, and no line of NAME would be asked.

#include <filesystem>
#include <functional>
#include <string>

#include "base/errc.hpp"
#include "bus/keys/key.hpp"
#include "bus/keys/key_files.hpp"

namespace vflbus::bus {

inline constexpr std::string_view known_parties_name = "known-parties";

/// What a link knows of the keys of others.
class PartyKeys {
  public:
    virtual ~PartyKeys() = default;
    /// A party that takes part in a run with this one, or is asked by it. Errors: refused, when
    /// another key is known for that name: the sentence has both fingerprints and what to do, and
    /// `for_others` what may be said in the clear. A name that is not known yet is noted with this
    /// key, or refused where it cannot be noted.
    virtual Result<> meet(const std::string& key_name, const PublicKey& key) = 0;
    /// A party that asks this one. Errors: refused, when it is not known with this key; nothing is
    /// noted.
    virtual Result<> knows(const std::string& key_name, const PublicKey& key) = 0;
    /// A node that is called otherwise than its key, as a process of a party is. Errors: refused,
    /// when another key is known for the node's own name; nothing is noted.
    virtual Result<> agrees(const std::string& node_name, const PublicKey& key) = 0;
};

/// From files. `log` is called for each key that is seen first. One thread at a time.
class KnownParties final : public PartyKeys {
  public:
    /// `certificates`: where NAME.pub of others may lie. `file`: the lines.
    KnownParties(std::filesystem::path certificates, std::filesystem::path file, FirstUse first_use,
                 std::function<void(const std::string&)> log);

    Result<> meet(const std::string& key_name, const PublicKey& key) override;
    Result<> knows(const std::string& key_name, const PublicKey& key) override;
    Result<> agrees(const std::string& node_name, const PublicKey& key) override;

  private:
    struct Known;
    [[nodiscard]] Result<Known> look(const std::string& key_name, const PublicKey& key);
    [[nodiscard]] Result<> look_at_lines(int fd, const std::string& key_name, Known& known);
    [[nodiscard]] Result<> judge(const std::string& key_name, const PublicKey& key,
                                 const Known& known) const;
    [[nodiscard]] Result<> note(const std::string& key_name, const PublicKey& key);

    std::filesystem::path certificates_;
    std::filesystem::path file_;
    FirstUse first_use_;
    bool warned_ = false;  ///< that others may write the file
    std::function<void(const std::string&)> log_;
};

}  // namespace vflbus::bus
