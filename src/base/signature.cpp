#include "base/signature.hpp"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"

namespace vflbus {
namespace {

constexpr std::size_t seed_bytes = crypto_sign_SEEDBYTES;

void begin_sodium() {
    if (sodium_init() < 0) throw std::runtime_error("libsodium could not be initialised");
}

/// The bytes of a hexadecimal text of exactly that length; false for any other text.
template <std::size_t N>
bool from_hex(std::string_view text, std::array<std::uint8_t, N>& out) {
    std::size_t length = 0;
    return text.size() == 2 * N &&
           sodium_hex2bin(out.data(), N, text.data(), text.size(), nullptr, &length, nullptr) ==
               0 &&
           length == N;
}

std::string system_error() {
    return std::strerror(errno);
}

/// Writes a file that only its owner may read. It appears under its name with all of its content,
/// and never in place of another one: false when there is one already.
Result<bool> write_new_secret(const std::filesystem::path& file, std::string_view content) {
    const std::string temporary = file.string() + ".tmp-" + std::to_string(::getpid());
    const int fd = ::open(temporary.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) return fail(Errc::io, "cannot make " + temporary + ": " + system_error());
    const bool whole =
        ::fchmod(fd, 0600) == 0 &&
        ::write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()) &&
        ::fsync(fd) == 0;
    const std::string why = system_error();
    ::close(fd);
    const bool linked = whole && ::link(temporary.c_str(), file.c_str()) == 0;
    const bool there = whole && !linked && errno == EEXIST;
    const std::string not_linked = system_error();
    ::unlink(temporary.c_str());
    // what the key signs may outlive a loss of power, so its name must
    const std::string directory = file.has_parent_path() ? file.parent_path().string() : ".";
    if (const int at = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); at >= 0) {
        ::fsync(at);
        ::close(at);
    }
    if (!whole) return fail(Errc::io, "cannot write " + file.string() + ": " + why);
    if (!linked && !there)
        return fail(Errc::io, "cannot make " + file.string() + ": " + not_linked);
    return linked;
}

}  // namespace

bool is_signature_of(std::string_view bytes, std::string_view signature,
                     std::string_view public_key) {
    begin_sodium();
    std::array<std::uint8_t, crypto_sign_BYTES> made;
    std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> key;
    return from_hex(signature, made) && from_hex(public_key, key) &&
           crypto_sign_verify_detached(made.data(),
                                       reinterpret_cast<const unsigned char*>(bytes.data()),
                                       bytes.size(), key.data()) == 0;
}

Result<SigningKey> SigningKey::read(const std::filesystem::path& file) {
    begin_sodium();
    struct stat about{};
    if (::stat(file.c_str(), &about) != 0)
        return fail(Errc::io, "cannot read " + file.string() + ": " + system_error());
    if ((about.st_mode & 077) != 0)
        return fail(Errc::insecure, file.string() + " is a secret key that others may read; " +
                                        "if nobody has, `chmod 600 " + file.string() + "`");
    auto text = read_file(file);
    if (!text) return tl::unexpected(text.error());
    std::array<std::uint8_t, seed_bytes> seed;
    const bool good = from_hex(trim(*text), seed);
    sodium_memzero(text->data(), text->size());
    if (!good) return fail(Errc::bad_data, file.string() + " holds no key (64 hexadecimal digits)");
    SigningKey key;
    std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> shown;
    crypto_sign_seed_keypair(shown.data(), key.secret_.data(), seed.data());
    sodium_memzero(seed.data(), seed.size());
    key.public_ = to_hex(shown);
    return key;
}

Result<SigningKey> SigningKey::open(const std::filesystem::path& file) {
    std::error_code ec;
    if (!std::filesystem::exists(file, ec)) {
        std::array<std::uint8_t, seed_bytes> seed;
        random_bytes(seed);
        std::string text = to_hex(seed) + "\n";
        sodium_memzero(seed.data(), seed.size());
        const auto made = write_new_secret(file, text);
        sodium_memzero(text.data(), text.size());
        if (!made) return tl::unexpected(made.error());
    }
    return read(file);
}

SigningKey::~SigningKey() {
    sodium_memzero(secret_.data(), secret_.size());
}

std::string SigningKey::sign(std::string_view bytes) const {
    std::array<std::uint8_t, crypto_sign_BYTES> made;
    crypto_sign_detached(made.data(), nullptr, reinterpret_cast<const unsigned char*>(bytes.data()),
                         bytes.size(), secret_.data());
    return to_hex(made);
}

}  // namespace vflbus
