#include "bus/keys/known_parties.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>

#include "base/ids.hpp"
#include "bus/keys/allow_list.hpp"
#include "bus/keys/key_files.hpp"

namespace vflbus::bus {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t parties_bytes_max = 1u << 20;
constexpr std::size_t party_line_bytes_max = 512;
/// NAME-0123abcd and the like, of one NAME: one party could fill the file with names of its own.
constexpr std::size_t made_names_max = 64;

/// Closed, and unlocked, at its end.
struct Descriptor {
    explicit Descriptor(int number) noexcept : fd(number) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (fd >= 0) ::close(fd);
    }
    int fd;
};

/// All of it; nothing where it cannot be read. One byte more than may be there at most.
std::optional<std::string> text_of_file(int fd) {
    std::string text(parties_bytes_max + 1, 0);
    std::size_t bytes = 0;
    while (bytes < text.size()) {
        const ssize_t got =
            ::pread(fd, text.data() + bytes, text.size() - bytes, static_cast<off_t>(bytes));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return {};
        if (got == 0) break;
        bytes += static_cast<std::size_t>(got);
    }
    text.resize(bytes);
    return text;
}

Failure refused(std::string sentence, std::string for_others) {
    Failure failure{Errc::refused, std::move(sentence)};
    failure.for_others = std::move(for_others);
    return failure;
}

/// What is said to a party of which nobody here can tell whether its key is right.
tl::unexpected<Failure> cannot(const std::string& what, const std::string& why,
                               const std::string& key_name) {
    return tl::unexpected(
        refused("cannot " + what + ": " + why + "; it says whose key is whose, so " + key_name +
                    " is refused",
                "what is known of the key of " + key_name + " cannot be read or noted there"));
}

}  // namespace

/// What is known of a name, and of the name that it is made of, where that is another one.
struct KnownParties::Known {
    /// Of one name.
    struct Keys {
        bool known = false;     ///< it has a key here
        bool this_key = false;  ///< and the one that is shown is among them
        std::string other;      ///< the fingerprint of the last one that is not
        std::string where;      ///< the file that has it
    };
    explicit Known(const std::string& name, const PublicKey& key)
        : base(without_suffix(name)), fingerprint(fingerprint_of(key)) {}
    void add(Keys& keys, const std::string& found, const std::string& where) const {
        keys.known = true;
        if (found == fingerprint)
            keys.this_key = true;
        else
            keys.other = found, keys.where = where;
    }
    std::string base;         ///< the name without a suffix
    std::string fingerprint;  ///< of the key that is shown
    Keys own;
    Keys of_base;
    std::size_t made = 0;   ///< names in the file that are made of the base
    std::size_t bytes = 0;  ///< of the file
    bool ends_line = true;  ///< its last byte
};

KnownParties::KnownParties(fs::path certificates, fs::path file, FirstUse first_use,
                           std::function<void(const std::string&)> log)
    : certificates_(std::move(certificates)),
      file_(std::move(file)),
      first_use_(first_use),
      log_(std::move(log)) {}

Result<KnownParties::Known> KnownParties::look(const std::string& key_name, const PublicKey& key) {
    if (!is_valid_node_name(key_name)) return fail(Errc::refused, "that is no name of a party");
    Known known(key_name, key);
    const std::array<std::string, 2> names{key_name, known.base};
    for (const std::string& name : names) {
        // (the broker's key beside ours is that of no party)
        if (name == broker_key_name || (name == key_name && &name != &names[0])) continue;
        const fs::path handed = public_key_path(certificates_, name);
        struct stat there{};
        if (::lstat(handed.c_str(), &there) != 0) {
            if (errno == ENOENT) continue;
            return cannot("look at " + handed.string(), std::strerror(errno), key_name);
        }
        const auto file = read_public_key(handed);
        if (!file) return cannot("read " + handed.string(), file.error().sentence, key_name);
        known.add(name == key_name ? known.own : known.of_base, fingerprint_of(file->key),
                  handed.string());
    }
    const Descriptor file(::open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.fd < 0) {
        if (errno == ENOENT) return known;
        return cannot("open " + file_.string(), std::strerror(errno), key_name);
    }
    if (const auto good = look_at_lines(file.fd, key_name, known); !good)
        return tl::unexpected(good.error());
    return known;
}

Result<> KnownParties::look_at_lines(int fd, const std::string& key_name, Known& known) {
    struct stat there{};
    if (!warned_ && ::fstat(fd, &there) == 0 && (there.st_mode & 022) != 0) {
        warned_ = true;
        log_("others may write " + file_.string() + ", which says whose key is whose: chmod go-w");
    }
    const auto text = text_of_file(fd);
    if (!text) return cannot("read " + file_.string(), std::strerror(errno), key_name);
    known.bytes = text->size();
    known.ends_line = text->empty() || text->back() == '\n';
    if (known.bytes > parties_bytes_max)
        return cannot("read " + file_.string() + " to its end", "it is too large", key_name);
    std::istringstream in(*text);
    std::string line;
    std::size_t number = 0;
    while (std::getline(in, line)) {
        ++number;
        if (line.size() > party_line_bytes_max)
            return cannot("read " + file_.string() + " to its end", "a line is too long", key_name);
        std::istringstream words(line);
        std::string name;
        std::string said;
        words >> name >> said;
        if (name != known.base && without_suffix(name) == known.base) ++known.made;
        if (name != key_name && name != known.base) continue;
        const auto whole = parse_public_key(said);
        const std::string found = whole ? fingerprint_of(*whole) : parse_fingerprint(said);
        if (found.empty())
            return cannot("tell the key of " + name + " in line " + std::to_string(number) +
                              " of " + file_.string(),
                          said.empty() ? "it has none" : "it is neither a key nor a fingerprint",
                          key_name);
        known.add(name == key_name ? known.own : known.of_base, found, file_.string());
    }
    return {};
}

/// Errors: refused, when another key counts for that name, or for the one that it is made of.
Result<> KnownParties::judge(const std::string& key_name, const PublicKey& key,
                             const Known& known) const {
    const auto other_key = [&](const std::string& name, const Known::Keys& keys) {
        const std::string shows = key_name + " shows the key " + fingerprint_of(key);
        return tl::unexpected(refused(
            shows + ", and " + keys.where + " has " + keys.other + " for " +
                (name == key_name ? "that name" : name + ", whose processes are called so") +
                ": somebody stands between, or it has a new key. Ask there over the telephone; "
                "when it is right, put the new one into that file",
            shows + ", and another one is known there for " + name +
                ": somebody stands between, or it has a new key. The log there says more"));
    };
    // a line of the longer name does not help: whoever made it up has written it at first sight
    if (known.of_base.known && !known.of_base.this_key) return other_key(known.base, known.of_base);
    if (known.of_base.this_key || known.own.this_key || !known.own.known) return {};
    return other_key(key_name, known.own);
}

Result<> KnownParties::meet(const std::string& key_name, const PublicKey& key) {
    const auto known = look(key_name, key);
    if (!known) return tl::unexpected(known.error());
    if (auto good = judge(key_name, key, *known); !good) return good;
    if (known->own.this_key || known->of_base.this_key) return {};
    if (first_use_ == FirstUse::take) return note(key_name, key);
    const std::string line = key_name + " " + fingerprint_of(key);
    return tl::unexpected(
        refused("the key " + fingerprint_of(key) + " of " + key_name +
                    " is not known here, and bus.first_use is \"refuse\"; who trusts it writes "
                    "this line into " +
                    file_.string() + ": " + line,
                "the key " + fingerprint_of(key) + " of " + key_name +
                    " is not known there, and bus.first_use is \"refuse\""));
}

Result<> KnownParties::knows(const std::string& key_name, const PublicKey& key) {
    const auto known = look(key_name, key);
    if (!known) return tl::unexpected(known.error());
    if (known->of_base.this_key || (known->own.this_key && !known->of_base.known)) return {};
    return fail(Errc::refused, "the key " + fingerprint_of(key) + " of " + key_name +
                                   " is not known here; who trusts it writes this line into " +
                                   file_.filename().string() + ": " + key_name + " " +
                                   fingerprint_of(key));
}

Result<> KnownParties::agrees(const std::string& node_name, const PublicKey& key) {
    const auto known = look(node_name, key);
    if (!known) return tl::unexpected(known.error());
    return judge(node_name, key, *known);
}

/// One line in one write. Another process of this party may have noted another key meanwhile: the
/// file is locked and looked at once more. A key that cannot be remembered is not taken, as the
/// next one of that name would be.
Result<> KnownParties::note(const std::string& key_name, const PublicKey& key) {
    std::error_code ec;
    fs::create_directories(file_.parent_path(), ec);  // what fails, fails in open()
    const Descriptor file(::open(file_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
    const auto not_noted = [&](int error) {
        return cannot("note the key " + fingerprint_of(key) + " of " + key_name + " in " +
                          file_.string() + " (set bus.known_parties, or put " + key_name +
                          ".pub beside your own key)",
                      std::strerror(error), key_name);
    };
    if (file.fd < 0) return not_noted(errno);
    int locked = 0;
    while ((locked = ::flock(file.fd, LOCK_EX)) != 0 && errno == EINTR) {
    }
    if (locked != 0) return not_noted(errno);
    Known known(key_name, key);
    if (auto good = look_at_lines(file.fd, key_name, known); !good) return good;
    if (auto good = judge(key_name, key, known); !good) return good;
    if (known.own.this_key || known.of_base.this_key) return {};
    if (known.base != key_name && known.made >= made_names_max)
        return cannot("note the key of " + key_name + " in " + file_.string(),
                      "it has many names that are made of " + known.base, key_name);
    if (known.bytes + party_line_bytes_max > parties_bytes_max)
        return cannot("note the key of " + key_name + " in " + file_.string(), "it is full",
                      key_name);
    const std::string line =
        (known.ends_line ? "" : "\n") + key_name + " " + fingerprint_of(key) + "\n";
    errno = ENOSPC;  // of a write that is short
    if (::write(file.fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
        const int error = errno;
        // half a line would be a key that is none
        [[maybe_unused]] const int cut = ::ftruncate(file.fd, static_cast<off_t>(known.bytes));
        return not_noted(error);
    }
    log_("first seen: " + key_name + " with the key " + fingerprint_of(key) +
         "; compare it over the telephone (" + file_.string() + ")");
    return {};
}

}  // namespace vflbus::bus
