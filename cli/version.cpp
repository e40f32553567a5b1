// vflbus version, vflbus --version: what a report of a problem should say

#include "version.hpp"

#include <string>

#include "base/hash.hpp"
#include "bus/zmq/context.hpp"
#include "commands.hpp"
#include "models/kernels.hpp"
#include "output.hpp"
#include "registry/registry.hpp"

namespace vflbus::cli {
namespace {

std::string compiler() {
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "g++ " __VERSION__;
#else
    return "unknown";
#endif
}

}  // namespace

int run(const VersionArguments& arguments) {
    const std::string processor(models::name_of(models::best_isa()));
    if (arguments.json) {
        print(JsonObject()
                  .add("name", "vflbus")
                  .add("version", version_text)
                  .add("compiler", compiler())
                  .add_json("libraries", JsonObject()
                                             .add("libzmq", bus::zmq_version())
                                             .add("libsodium", sodium_version())
                                             .add("sqlite", registry::sqlite_version())
                                             .text())
                  .add("processor", processor)
                  .text() +
              "\n");
        return 0;
    }
    print(std::string("vflbus ") + version_text + "\ncompiler   " + compiler() +
          "\nlibraries  libzmq " + bus::zmq_version() + ", libsodium " + sodium_version() +
          ", SQLite " + registry::sqlite_version() + "\nprocessor  " + processor +
          " (the widest vector unit that is used)\n");
    return 0;
}

}  // namespace vflbus::cli
