#include "bus/core/key_rights.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace vflbus::bus {
namespace {

bool drives_runs(const Hello& hello) {
    return hello.role == "master" || hello.role == "serverapp";
}

/// A node that asks questions and takes part in nothing.
bool only_asks(const Hello& hello) {
    return lists(hello, feature_asks) && hello.features.size() == 1;
}

}  // namespace

std::shared_ptr<const Allowed> KeyRights::entry(const Identity* key) const {
    if (key == nullptr) return nullptr;
    auto entry = access_->entry(key->fingerprint);
    return entry != nullptr && entry->name == key->name ? entry : nullptr;
}

std::string KeyRights::why_not_admitted(const Identity* key, const Hello& hello) const {
    if (!asks(key)) return {};
    if (key == nullptr) return "this connection has shown no key";
    const auto entry = this->entry(key);
    if (entry == nullptr)
        return "the key of " + key->name + " is not allowed any more: it is revoked or has expired";
    if (!speaks_for(entry->name, hello.name))
        return "this is the key of " + entry->name + ", which cannot speak for " + hello.name;
    if (only_asks(hello) && hello.role == "node") return {};
    // a member without a rank that serves apps is a node to the list: no training names it
    const bool app_node = hello.role == "member" && hello.rank < 0 && lists(hello, feature_apps);
    const std::string role = app_node ? "node" : hello.role;
    if (!entry->has_role(role))
        return "the key of " + entry->name + " is not allowed as role " + printable(role);
    if (lists(hello, feature_serve) && hello.role != "master")
        return "only a master waits for submissions";
    if (role != "member") return {};
    if (hello.name != entry->name)
        return "a member is called as its key, " + entry->name + ", not " + hello.name;
    if (!entry->has_rank(hello.rank))
        return "the key of " + entry->name + " is not allowed as rank " +
               std::to_string(hello.rank);
    return {};
}

bool KeyRights::may_open(const Identity* key, const Hello& hello) const {
    if (!asks(key)) return true;
    const auto entry = this->entry(key);
    return entry != nullptr && drives_runs(hello) && entry->has_role(hello.role);
}

bool KeyRights::may_take_part(const Identity* key, const Hello& hello,
                              const Participant& as) const {
    if (!asks(key)) return true;
    const auto entry = this->entry(key);
    return entry != nullptr && !only_asks(hello) && entry->has_role(as.role) &&
           (as.role != "member" || entry->has_rank(as.rank));
}

bool KeyRights::speaks_as(const Identity* key, const std::string& name) const {
    if (!asks(key)) return true;
    const auto entry = this->entry(key);
    return entry != nullptr && speaks_for(entry->name, name);
}

bool KeyRights::may_ask(const Identity* key, const AskedAbout& about) const {
    if (!asks(key)) return true;
    const auto entry = this->entry(key);
    if (entry == nullptr) return false;
    const bool asks_its_owner = about.takes_part && about.asks_owner;
    const bool asks_its_member = about.drives && about.asks_member;
    switch (about.question) {
        case Question::submit:
            return about.own_node || entry->may(Right::submit);
        case Question::stop:
            return about.own_node || entry->may(Right::stop);
        case Question::status:
        case Question::metrics:
        case Question::configuration:
        case Question::reason:
            return about.own_node || entry->may(Right::status) || asks_its_owner;
        case Question::timing:
            return about.own_node || entry->may(Right::status) || asks_its_owner || asks_its_member;
        case Question::load:
            return about.own_node || entry->may(Right::see);
        case Question::log:
            return about.own_node || entry->may(Right::logs) || asks_its_member;
        case Question::key:  // asked before any of these
            return about.own_node || entry->may(Right::submit) || entry->may(Right::stop) ||
                   entry->may(Right::status) || entry->may(Right::logs) || asks_its_owner ||
                   asks_its_member;
        case Question::terms:
            return about.asks_owner && about.asker_in_run;
        case Question::join_again:
            return asks_its_member;
        default:
            return false;
    }
}

bool KeyRights::sees_all(const Identity* key) const {
    if (!asks(key)) return true;
    const auto entry = this->entry(key);
    return entry != nullptr && entry->may(Right::see);
}

}  // namespace vflbus::bus
