// The entry points of libFuzzer, which knows nothing of targets: the environment says which one.
//
//     VFLBUS_FUZZ_TARGET   its name; "list" prints the names of all
//     VFLBUS_FUZZ_INTO     a directory, to which its seeds are written first, and
//     VFLBUS_FUZZ_CORPUS   what has failed before, from this directory

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "targets.hpp"

namespace {

using namespace vflbus::fuzz;

const Target* chosen = nullptr;

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

void write_files(const std::vector<Bytes>& inputs, const std::string& prefix) {
    std::size_t number = 0;
    for (const Bytes& bytes : inputs) {
        std::ofstream out(prefix + std::to_string(number++), std::ios::binary);
        out.write(static_cast<const char*>(static_cast<const void*>(bytes.data())),
                  static_cast<std::streamsize>(bytes.size()));
    }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    const std::string name = variable("VFLBUS_FUZZ_TARGET");
    for (const Target& target : targets()) {
        if (name == "list") std::puts(std::string(target.name).c_str());
        if (target.name == name) chosen = &target;
    }
    if (name == "list") std::exit(0);
    if (chosen == nullptr) {
        std::fprintf(stderr, "VFLBUS_FUZZ_TARGET names no target\n");
        std::exit(2);
    }
    if (const std::string into = variable("VFLBUS_FUZZ_INTO"); !into.empty()) {
        write_files(chosen->seeds(), into + "/seed-");
        write_files(failed_before(variable("VFLBUS_FUZZ_CORPUS"), name), into + "/failed-");
    }
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    (void)chosen->try_input({data, size});
    return 0;
}
