#include "bus/keys/key_files.hpp"

#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "base/files.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"
#include "bus/keys/allow_list.hpp"

namespace vflbus::bus {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t file_bytes_max = 4096;

tl::unexpected<Failure> failed(const fs::path& path, const char* what) {
    return fail(Errc::io,
                std::string("cannot ") + what + " " + path.string() + ": " + std::strerror(errno));
}

/// As vflbus::write_new_file, and a name that is taken is an error.
Result<> write_key_file(const fs::path& path, std::string_view content, mode_t mode) {
    const auto placed = write_new_file(path, content, mode);
    if (!placed) return failed(path, "write");
    if (*placed) return {};
    return fail(Errc::io, path.string() +
                              " exists and is never written over; choose another name, or move "
                              "it away");
}

using Fields = std::map<std::string, std::string, std::less<>>;

/// The lines `word value` of a key file.
Result<Fields> read_fields(const fs::path& file) {
    std::error_code ec;
    const auto size = fs::file_size(file, ec);
    if (!ec && size > file_bytes_max)
        return fail(Errc::bad_data, file.string() + " is no key file: it is too large");
    auto text = read_file(file);
    if (!text) return tl::unexpected(text.error());
    Fields fields;
    std::size_t number = 0;
    bool good = true;
    for (const std::string& line : split(*text, '\n')) {
        ++number;
        const std::string_view said = trim(line);
        if (said.empty() || said.front() == '#') continue;
        const std::size_t space = said.find(' ');
        good = good && space != std::string_view::npos &&
               fields.emplace(said.substr(0, space), trim(said.substr(space + 1))).second;
        if (!good) break;
    }
    sodium_memzero(text->data(), text->size());
    if (!good)
        return fail(Errc::bad_data, file.string() + ", line " + std::to_string(number) +
                                        ": it is no line of a key file, which has name, public, "
                                        "secret and expires");
    return fields;
}

std::string value_of(const Fields& fields, std::string_view word) {
    const auto found = fields.find(word);
    return found == fields.end() ? std::string() : found->second;
}

Result<PublicKeyFile> public_of(const Fields& fields, const fs::path& file) {
    PublicKeyFile out;
    out.name = value_of(fields, "name");
    const auto key = parse_public_key(value_of(fields, "public"));
    const auto expires = parse_date(value_of(fields, "expires"));
    if (!is_valid_node_name(out.name) || !key || !expires)
        return fail(Errc::bad_data, file.string() + " is no key file: it has no " +
                                        (!key       ? "public key"
                                         : !expires ? "expires"
                                                    : "name") +
                                        " that is one");
    out.key = *key;
    out.expires = *expires;
    return out;
}

/// A secret that somebody else may read is none. A file of another owner, as systemd and Kubernetes
/// hand secrets to a process, may be readable by the group of the process.
Result<> kept_secret(const fs::path& file) {
    struct stat found{};
    if (::stat(file.c_str(), &found) != 0) return failed(file, "read");
    const mode_t others = S_IRWXO | S_IWGRP | (found.st_uid == ::geteuid() ? S_IRGRP : 0);
    if ((found.st_mode & others) == 0) return {};
    return fail(Errc::insecure, file.string() +
                                    " can be read or written by others than its owner; if nobody "
                                    "has, chmod 600 it, otherwise make a new key");
}

}  // namespace

fs::path secret_key_path(const fs::path& directory, std::string_view name) {
    return directory / std::string(name).append(secret_extension);
}

fs::path public_key_path(const fs::path& directory, std::string_view name) {
    return directory / std::string(name).append(public_extension);
}

PublicKeyFile public_half(const SecretKeyFile& key) {
    return {key.name, key.pair.public_key, key.expires};
}

std::string public_file_text(const PublicKeyFile& key) {
    return "name " + key.name + "\npublic " + text_of(key.key) + "\nexpires " +
           date_text(key.expires) + "\n";
}

namespace {

/// To be wiped by who has it.
std::string secret_file_text(const SecretKeyFile& key) {
    return "# The key of " + key.name +
           ". SECRET: it never leaves this machine; hand out the .pub file.\n" +
           public_file_text(public_half(key)) + "secret " + text_of(key.pair.secret) + "\n";
}

Result<> replace_key_file(const fs::path& file, const std::string& text, mode_t mode) {
    const fs::path next = file.string() + ".next";
    ::unlink(next.c_str());  // of an attempt that was killed
    const auto written = write_new_file(next, text, mode);
    if (!written) return tl::unexpected(written.error());
    if (::rename(next.c_str(), file.c_str()) != 0) return failed(file, "replace");
    sync_directory_of(file);
    return {};
}

}  // namespace

Result<> set_key_end(const fs::path& directory, const std::string& name, Seconds expires) {
    const fs::path secret = secret_key_path(directory, name);
    auto key = read_secret_key(secret);
    if (!key) return tl::unexpected(key.error());
    if (key->expires == expires) return {};
    key->expires = expires;
    std::string text = secret_file_text(*key);
    const auto done = replace_key_file(secret, text, secret_file_mode);
    sodium_memzero(text.data(), text.size());
    if (!done) return done;
    return replace_key_file(public_key_path(directory, name), public_file_text(public_half(*key)),
                            public_file_mode);
}

Result<SecretKeyFile> make_key_files(const fs::path& directory, const std::string& name,
                                     Seconds expires) {
    if (!is_valid_node_name(name))
        return fail(Errc::usage, "\"" + printable(name) +
                                     "\" is no name: it has 1 to 64 of A-Z a-z 0-9 . _ - and does "
                                     "not begin with . or -");
    std::error_code ec;
    if (!directory.parent_path().empty()) fs::create_directories(directory.parent_path(), ec);
    if (::mkdir(directory.c_str(), S_IRWXU) != 0 && errno != EEXIST)
        return failed(directory, "make");
    sweep_unfinished(directory, 0);  // of a command that was killed
    if (fs::exists(public_key_path(directory, name), ec))
        return fail(Errc::io, public_key_path(directory, name).string() +
                                  " exists and is never written over; choose another name, or move "
                                  "it away");
    const SecretKeyFile made{name, make_key_pair(), expires};
    const std::string handed_out = public_file_text(public_half(made));
    std::string secret = secret_file_text(made);
    const auto written = write_key_file(secret_key_path(directory, name), secret, secret_file_mode);
    sodium_memzero(secret.data(), secret.size());
    if (!written) return tl::unexpected(written.error());
    if (const auto written_public =
            write_key_file(public_key_path(directory, name), handed_out, public_file_mode);
        !written_public) {
        // half of a pair is no key, and would be in the way of the next one
        ::unlink(secret_key_path(directory, name).c_str());
        return tl::unexpected(written_public.error());
    }
    return made;
}

Result<PublicKeyFile> read_public_key(const fs::path& file) {
    const auto fields = read_fields(file);
    if (!fields) return tl::unexpected(fields.error());
    return public_of(*fields, file);
}

Result<SecretKeyFile> read_secret_key(const fs::path& file) {
    if (const auto safe = kept_secret(file); !safe) return tl::unexpected(safe.error());
    auto fields = read_fields(file);
    if (!fields) return tl::unexpected(fields.error());
    const auto known = public_of(*fields, file);
    if (!known) return tl::unexpected(known.error());
    std::string text = value_of(*fields, "secret");
    const auto secret = parse_secret_key(text);
    sodium_memzero(text.data(), text.size());
    if (auto kept = fields->find("secret"); kept != fields->end())
        sodium_memzero(kept->second.data(), kept->second.size());
    if (!secret)
        return fail(Errc::bad_data, file.string() + " has no secret key: is it the .pub file?");
    if (public_key_of(*secret) != known->key)
        return fail(Errc::bad_data, file.string() + " is damaged: its two halves are of two keys");
    return SecretKeyFile{known->name, {known->key, *secret}, known->expires};
}

Result<SecretKeyFile> read_key_pair(const fs::path& directory, const std::string& name) {
    auto key = read_secret_key(secret_key_path(directory, name));
    if (!key) return key;
    const fs::path handed_out = public_key_path(directory, name);
    if (!write_new_file(handed_out, public_file_text(public_half(*key)), public_file_mode))
        return failed(handed_out, "write");
    return key;
}

std::vector<std::string> key_names(const fs::path& directory, std::string_view extension) {
    std::vector<std::string> names;
    for (const fs::path& path : entries_of(directory))
        if (path.extension() == extension) names.push_back(path.stem().string());
    std::sort(names.begin(), names.end());
    return names;
}

std::string expiry_warning(const std::string& whose, Seconds expires, Seconds now) {
    if (expires > now + key_warning_s) return {};
    return whose + (expires > now ? " expires " : " has expired ") + from_now(expires, now) +
           "; make a new one with `vflbus keys new` and have it allowed";
}

Result<std::string> asking_key(const KeySource& source) {
    if (!source.name.empty()) return source.name;
    const std::vector<std::string> names = key_names(source.directory, secret_extension);
    if (names.size() == 1) return names.front();
    if (names.empty())
        return fail(Errc::usage, "there is no key in " + source.directory.string() +
                                     "; make one: vflbus keys new NAME --certificates " +
                                     source.directory.string());
    return fail(Errc::usage, source.directory.string() + " has the keys " + join_and(names) +
                                 "; say which one is yours: --set bus.identity=NAME");
}

Result<> find_secret_key(const fs::path& directory, std::string_view name) {
    const fs::path file = secret_key_path(directory, name);
    std::error_code ec;
    if (fs::exists(file, ec)) return {};
    if (ec)
        return fail(Errc::usage, "cannot look for the key " + file.string() + ": " + ec.message() +
                                     "; it has to belong to the user that this runs as");
    return fail(Errc::usage, "there is no key " + file.string() + "; make it: vflbus keys new " +
                                 std::string(name) + " --certificates " + directory.string());
}

Result<LinkKeys> load_link_keys(const KeySource& source, const std::string& node_name,
                                Seconds now) {
    std::string name = source.name;
    std::error_code ec;
    if (name.empty()) {
        const bool own = fs::exists(secret_key_path(source.directory, node_name), ec);
        name = own ? node_name : std::string(without_suffix(node_name));
    }
    const fs::path secret = secret_key_path(source.directory, name);
    if (const auto found = find_secret_key(source.directory, name); !found)
        return tl::unexpected(found.error());
    auto own = read_secret_key(secret);
    if (!own) return tl::unexpected(own.error());
    const fs::path pinned = public_key_path(source.directory, broker_key_name);
    if (!fs::exists(pinned, ec))
        return fail(Errc::usage, "the broker's public key is not in " + pinned.string() +
                                     "; its owner hands it out, compare `vflbus keys fingerprint`");
    auto broker = read_public_key(pinned);
    if (!broker) return tl::unexpected(broker.error());
    for (const auto& [whose, expires] :
         {std::pair{"the key of " + own->name, own->expires},
          std::pair{std::string("the broker's key"), broker->expires}})
        if (expires <= now) return fail(Errc::not_allowed, expiry_warning(whose, expires, now));
    return LinkKeys{std::move(*own), std::move(*broker)};
}

}  // namespace vflbus::bus
