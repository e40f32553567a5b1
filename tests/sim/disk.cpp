#include "disk.hpp"

#include <vector>

namespace vflbus::sim {
namespace {

namespace fs = std::filesystem;

std::string directory_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

bool below(const std::string& path, const std::string& directory) {
    return path.size() > directory.size() && path.starts_with(directory) &&
           path[directory.size()] == '/';
}

}  // namespace

bool Disk::lose_power() {
    bool lost = false;
    // names that differ: the old state or the new one, each by itself
    std::set<std::string> directories = stored_directories_;
    for (const std::string& path : directories_)
        if (!stored_directories_.contains(path)) {
            if (rng_.below(2) == 0)
                directories.insert(path);
            else
                lost = true;
        }
    for (const std::string& path : stored_directories_)
        if (!directories_.contains(path) && rng_.below(2) == 0) directories.erase(path);
    Names names = stored_;
    for (const auto& [path, inode] : names_) {
        const auto old = stored_.find(path);
        if (old != stored_.end() && old->second == inode) continue;
        if (rng_.below(2) == 0)
            names[path] = inode;
        else
            lost = true;
    }
    for (const auto& [path, inode] : stored_)
        if (!names_.contains(path) && rng_.below(2) == 0) names.erase(path);
    // what is in a directory goes with it
    const auto reachable = [&](const std::string& path) {
        for (std::string at = directory_of(path); at != "."; at = directory_of(at))
            if (!directories.contains(at)) return false;
        return true;
    };
    std::erase_if(names, [&](const auto& entry) { return !reachable(entry.first); });
    for (const auto& [path, inode] : names) {
        if (inode->synced) continue;
        lost = true;
        inode->content.resize(rng_.below(inode->content.size() + 1));
        inode->synced = true;
    }
    std::erase_if(directories, [&](const std::string& path) { return !reachable(path); });
    names_ = stored_ = std::move(names);
    directories_ = stored_directories_ = std::move(directories);
    return lost;
}

void Disk::wipe() {
    names_.clear();
    stored_.clear();
    directories_.clear();
    stored_directories_.clear();
}

Disk::Backup Disk::backup() const {
    Backup out{{}, directories_};
    for (const auto& [name, inode] : names_) out.files[name] = inode->content;
    return out;
}

void Disk::set_back(const Backup& backup) {
    names_.clear();
    for (const auto& [name, content] : backup.files)
        names_[name] = std::make_shared<Inode>(Inode{content, true});
    stored_ = names_;
    directories_ = stored_directories_ = backup.directories;
}

void Disk::damage(const std::string& path) {
    const auto found = names_.find(path);
    if (found == names_.end() || found->second->content.empty()) return;
    auto& content = found->second->content;
    content[content.size() / 2] = static_cast<char>(content[content.size() / 2] ^ 4);
}

std::optional<std::string> Disk::stored(const fs::path& path) const {
    const auto now = names_.find(path.string());
    const auto then = stored_.find(path.string());
    if (now == names_.end() || then == stored_.end() || now->second != then->second ||
        !now->second->synced)
        return {};
    for (std::string at = directory_of(path.string()); at != "."; at = directory_of(at))
        if (!stored_directories_.contains(at)) return {};
    return now->second->content;
}

// -- steps ----------------------------------------------------------------------------

Result<> Disk::step() {
    if (dead_) return fail(Errc::io, "the process is dying");
    ++steps_;
    switch (fate ? fate() : Fate::done) {
        case Fate::done:
            return {};
        case Fate::dies:
            dead_ = true;
            return fail(Errc::io, "the process is dying");
        case Fate::full:
            break;
    }
    return fail(Errc::io, "no space left on device");
}

bool Disk::is_directory(const fs::path& path) {
    return path == "." || path.empty() || directories_.contains(path.string());
}

Result<> Disk::make_directory(const fs::path& path) {
    if (auto possible = step(); !possible) return possible;
    directories_.insert(path.string());
    return {};
}

Result<> Disk::write(const fs::path& path, std::string_view content) {
    if (auto possible = step(); !possible) return possible;
    auto inode = std::make_shared<Inode>();
    inode->content = content;
    names_[path.string()] = std::move(inode);
    return {};
}

Result<> Disk::sync(const fs::path& path) {
    if (auto possible = step(); !possible) return possible;
    const auto found = names_.find(path.string());
    if (found != names_.end()) found->second->synced = true;
    return {};
}

Result<> Disk::rename(const fs::path& from, const fs::path& to) {
    if (auto possible = step(); !possible) return possible;
    const auto found = names_.find(from.string());
    if (found == names_.end()) return fail(Errc::io, "there is no " + from.string());
    names_[to.string()] = found->second;
    names_.erase(found);
    return {};
}

Result<> Disk::sync_directory(const fs::path& path) {
    if (auto possible = step(); !possible) return possible;
    const std::string directory = path.string();
    const auto in = [&](const std::string& name) { return directory_of(name) == directory; };
    std::erase_if(stored_, [&](const auto& entry) { return in(entry.first); });
    for (const auto& [name, inode] : names_)
        if (in(name)) stored_[name] = inode;
    std::erase_if(stored_directories_, [&](const std::string& name) {
        return in(name) && !directories_.contains(name);
    });
    for (const std::string& name : directories_)
        if (in(name)) stored_directories_.insert(name);
    return {};
}

void Disk::discard(const fs::path& path) noexcept {
    if (!dead_) names_.erase(path.string());
}

// -- Env ------------------------------------------------------------------------------

Result<std::string> Disk::read_file(const fs::path& path) {
    const auto found = names_.find(path.string());
    if (found == names_.end())
        return fail(Errc::io, "cannot read " + path.string() + ": No such file or directory");
    return found->second->content;
}

Result<> Disk::write_file(const fs::path& path, std::string_view content) {
    auto done = write_durably(*this, path, path.string() + ".tmp", content);
    if (!done)
        done.error().sentence = "cannot write " + path.string() + ": " + done.error().sentence;
    return done;
}

bool Disk::exists(const fs::path& path) {
    return names_.contains(path.string()) || directories_.contains(path.string());
}

Result<std::vector<std::string>> Disk::list(const fs::path& directory) {
    const std::string above = directory.string();
    std::vector<std::string> names;
    for (auto at = names_.lower_bound(above + "/"); at != names_.end() && below(at->first, above);
         ++at) {
        std::string name = at->first.substr(above.size() + 1);
        name.resize(std::min(name.size(), name.find('/')));
        if (names.empty() || names.back() != name) names.push_back(std::move(name));
    }
    return names;
}

Result<> Disk::remove(const fs::path& path) {
    if (!exists(path)) return {};
    if (auto possible = step(); !possible) return possible;
    const std::string what = path.string();
    const auto gone = [&](const std::string& name) { return name == what || below(name, what); };
    std::erase_if(names_, [&](const auto& entry) { return gone(entry.first); });
    std::erase_if(directories_, gone);
    return {};
}

}  // namespace vflbus::sim
