// vflbus keys rotate: at the party, while its processes run

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/files.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/zmq/enrol.hpp"
#include "commands.hpp"
#include "output.hpp"
#include "settings.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

constexpr Duration rotate_patience = std::chrono::seconds(20);
constexpr std::size_t mark_digits = 9;
constexpr mode_t secret_file = S_IRUSR | S_IWUSR;
constexpr mode_t public_file = secret_file | S_IRGRP | S_IROTH;

/// The new key, which lies aside until the broker has it.
Result<bus::SecretKeyFile> new_key(const fs::path& aside, const bus::SecretKeyFile& old) {
    std::error_code ec;
    const fs::path file = bus::secret_key_path(aside, old.name);
    if (fs::exists(file, ec)) return bus::read_secret_key(file);
    return bus::make_key_files(aside, old.name, old.expires);
}

/// A copy of the old key, then the new one in its place in one step, so that whoever connects
/// meanwhile finds one of them.
Result<> put_in_place(const fs::path& directory, const fs::path& aside,
                      const bus::SecretKeyFile& old) {
    const fs::path kept =
        directory / "old" /
        (old.name + "-" + bus::fingerprint_of(old.pair.public_key).substr(0, mark_digits));
    std::error_code ec;
    fs::create_directories(kept, ec);
    for (const fs::path& file :
         {bus::public_key_path({}, old.name), bus::secret_key_path({}, old.name)}) {
        const auto text = read_file(directory / file);
        if (!text) return tl::unexpected(text.error());
        const auto copied = write_new_file(kept / file, *text,
                                           file.extension() == ".key" ? secret_file : public_file);
        if (!copied) return tl::unexpected(copied.error());
        fs::rename(aside / file, directory / file, ec);
        if (ec)
            return fail(Errc::io, "cannot put " + (directory / file).string() +
                                      " in its place: " + ec.message());
    }
    fs::remove_all(aside, ec);
    return {};
}

}  // namespace

int run(const KeysRotateArguments& arguments) {
    const auto config = load_config(arguments, broker_flag(arguments.broker));
    if (!config) return report_failure(arguments, config.error());
    bus::KeySource source = key_source(*config);
    if (!source.given())
        return report_failure(
            arguments, {Errc::usage,
                        "this configuration has no keys for a broker on tcp: bus.certificates, or "
                        "--certificates DIR"});
    const auto name = bus::asking_key(source);
    if (!name) return report_failure(arguments, name.error());
    source.name = *name;
    const auto keys = bus::load_link_keys(source, *name, bus::wall_seconds());
    if (!keys) return report_failure(arguments, keys.error());
    const fs::path aside = source.directory / ("rotating-" + *name);
    const auto made = new_key(aside, keys->own);
    if (!made) return report_failure(arguments, made.error());
    bus::EnrolRequest request;
    request.name = *name;
    request.key = made->pair.public_key.bytes;
    request.expires = static_cast<std::uint64_t>(made->expires);
    request.version = VFLBUS_VERSION;
    const auto answer =
        bus::enrol_at(bus::make_context(1), config->bus.broker, *keys, request, rotate_patience);
    if (!answer) {
        Failure failure = answer.error();
        std::error_code ec;
        if (failure.code == Errc::timed_out || failure.code == Errc::io)
            failure.hint = "the old key is as it was; run the same command again";
        else
            fs::remove_all(aside, ec);
        return report_failure(arguments, failure);
    }
    if (const auto done = put_in_place(source.directory, aside, keys->own); !done)
        return report_failure(arguments, done.error());
    const std::string fingerprint = bus::fingerprint_of(made->pair.public_key);
    if (arguments.json) {
        print(JsonObject()
                  .add("name", *name)
                  .add("fingerprint", fingerprint)
                  .add("old", bus::fingerprint_of(keys->own.pair.public_key))
                  .add("expires", bus::date_text(static_cast<bus::Seconds>(answer->expires)))
                  .text() +
              "\n");
        return 0;
    }
    print(fingerprint + "\n");
    note(arguments, "the new key of " + *name +
                        " is in its place; the old one is good for a day more, and processes that "
                        "run go over by themselves");
    return 0;
}

}  // namespace vflbus::cli
