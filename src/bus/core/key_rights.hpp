#pragma once
// What the key of a node lets it do: docs/security.md.
//
// The problem: a name in HELLO, an owner in OPEN and a rank in JOIN are only said. At a broker with
// keys nothing counts but the entry that the allow-list has for the key of the connection, as it is
// at this moment: a key that was revoked may do nothing more, whatever it was let do before.
//
// BrokerCore asks before each thing that it does for a node. A refusal is no error here: the caller
// answers, counts and logs it. Every question has the same two exceptions: a broker without keys,
// and a connection that needs none (ipc in a private directory), are let do everything.
//
// What may not happen: an answer follows from what the node itself has said, but to narrow it. An
// owner may name anybody, and who asks about a run may say that it is its own.

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "bus/core/access.hpp"
#include "bus/wire/control.hpp"
#include "bus/wire/questions.hpp"

namespace vflbus::bus {

inline bool lists(const Hello& hello, std::string_view feature) {
    return std::ranges::find(hello.features, feature) != hello.features.end();
}

/// What the broker knows of a question about a run to another node.
struct AskedAbout {
    Question question = Question::status;
    bool own_node = false;      ///< the node that is asked has a name of the same key
    bool takes_part = false;    ///< the node of the key's own name is named in the run
    bool drives = false;        ///< the owner of the run has a name of the same key
    bool asks_owner = false;    ///< the node that is asked owns the run
    bool asks_member = false;   ///< the node that is asked takes part in it
    bool asker_in_run = false;  ///< the asker owns the run or is named in it
};

class KeyRights {
  public:
    /// Null: this broker has no keys.
    explicit KeyRights(const Access* access) noexcept : access_(access) {}

    /// Whether the connection with this key is asked for rights at all. A connection of which
    /// nothing is known is, and has nothing to show.
    [[nodiscard]] bool asks(const Identity* key) const noexcept {
        return access_ != nullptr && (key == nullptr || !key->needs_no_key);
    }
    /// The entry of the key; null when there is none that counts now. Precondition: `asks(key)`.
    [[nodiscard]] std::shared_ptr<const Allowed> entry(const Identity* key) const;

    /// Why the key does not come in as what HELLO says; empty when it does.
    [[nodiscard]] std::string why_not_admitted(const Identity* key, const Hello& hello) const;
    [[nodiscard]] bool may_open(const Identity* key, const Hello& hello) const;
    /// Whether the key has the role and the rank in which an owner names its node.
    [[nodiscard]] bool may_take_part(const Identity* key, const Hello& hello,
                                     const Participant& as) const;
    /// Whether the key speaks for `name`, which is the key's own or begins with it and a dash.
    [[nodiscard]] bool speaks_as(const Identity* key, const std::string& name) const;
    /// Whether a question to another node may go there.
    [[nodiscard]] bool may_ask(const Identity* key, const AskedAbout& about) const;
    /// Whether the key sees all runs and nodes, and not only those that it works with.
    [[nodiscard]] bool sees_all(const Identity* key) const;

  private:
    const Access* access_;
};

}  // namespace vflbus::bus
