#include "bus/keys/known_parties.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "base/files.hpp"
#include "base/ids.hpp"
#include "bus/keys/key_files.hpp"

namespace vflbus::bus {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t parties_bytes_max = 1u << 20;
constexpr std::size_t party_line_bytes_max = 512;

}  // namespace

/// What is known of a name.
struct KnownParties::Known {
    bool this_key = false;
    std::vector<std::string> others;  ///< fingerprints of other keys of that name
    std::size_t bytes = 0;            ///< of the file
    std::string where;                ///< that has the last of them
};

KnownParties::KnownParties(fs::path certificates, fs::path file,
                           std::function<void(const std::string&)> log)
    : certificates_(std::move(certificates)), file_(std::move(file)), log_(std::move(log)) {}

Result<KnownParties::Known> KnownParties::look(const std::string& key_name,
                                               const PublicKey& key) const {
    if (!is_valid_node_name(key_name)) return fail(Errc::refused, "that is no name of a party");
    const std::string fingerprint = fingerprint_of(key);
    Known known;
    const auto compare = [&](const std::string& other, const std::string& where) {
        if (other == fingerprint)
            known.this_key = true;
        else
            known.others.push_back(other), known.where = where;
    };
    // (the broker's key beside ours is that of no party)
    const fs::path handed = public_key_path(certificates_, key_name);
    std::error_code ec;
    if (key_name != broker_key_name && fs::exists(handed, ec)) {
        const auto file = read_public_key(handed);
        if (!file) return fail(Errc::refused, file.error().sentence);
        compare(fingerprint_of(file->key), handed.string());
    }
    if (!fs::exists(file_, ec)) return known;
    std::ifstream in(file_, std::ios::binary);
    std::string line;
    while (std::getline(in, line)) {
        known.bytes += line.size() + 1;
        if (line.size() > party_line_bytes_max || known.bytes > parties_bytes_max) break;
        std::istringstream words(line);
        std::string name;
        std::string text;
        words >> name >> text;
        if (name != key_name) continue;
        const auto whole = parse_public_key(text);
        compare(whole ? fingerprint_of(*whole) : parse_fingerprint(text), file_.string());
    }
    if (in.bad() || !in.eof())
        return fail(Errc::refused,
                    "cannot read " + file_.string() + " to its end: it says whose key is whose");
    return known;
}

Result<> KnownParties::meet(const std::string& key_name, const PublicKey& key) {
    const auto known = look(key_name, key);
    if (!known) return tl::unexpected(known.error());
    if (known->this_key) return {};
    if (!known->others.empty())
        return fail(Errc::refused,
                    key_name + " shows the key " + fingerprint_of(key) + ", and " + known->where +
                        " has " + known->others.back() +
                        " for that name: somebody stands between, or it has a new key. Ask there "
                        "over the telephone; when it is right, put the new one into that file");
    if (known->bytes + party_line_bytes_max > parties_bytes_max)
        return fail(Errc::refused, file_.string() + " is full: no other party is noted");
    note(key_name, key);
    return {};
}

Result<> KnownParties::knows(const std::string& key_name, const PublicKey& key) {
    const auto known = look(key_name, key);
    if (!known) return tl::unexpected(known.error());
    if (known->this_key) return {};
    return fail(Errc::refused, "the key " + fingerprint_of(key) + " of " + key_name +
                                   " is not known here; who trusts it writes this line into " +
                                   file_.filename().string() + ": " + key_name + " " +
                                   fingerprint_of(key));
}

/// One line in one write, as other processes of this party may note theirs.
void KnownParties::note(const std::string& key_name, const PublicKey& key) const {
    const std::string line = key_name + " " + fingerprint_of(key) + "\n";
    const int fd = ::open(file_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    const bool noted =
        fd >= 0 && ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
    const int error = errno;
    if (fd >= 0) ::close(fd);
    const std::string seen = "first seen: " + key_name + " with the key " + fingerprint_of(key) +
                             "; compare it over the telephone";
    log_(noted ? seen + " (" + file_.string() + ")"
               : seen + ". It cannot be noted in " + file_.string() + ": " + std::strerror(error) +
                     "; set bus.known_parties, or put " + key_name + ".pub beside your own key");
}

}  // namespace vflbus::bus
