// Stands before the system's name lookup (LD_PRELOAD): names that end in ".silent" are asked of a
// name server that never answers.

#include <dlfcn.h>
#include <netdb.h>
#include <unistd.h>

#include <cstring>

extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** found) {
    constexpr const char* silent = ".silent";
    const std::size_t length = node == nullptr ? 0 : std::strlen(node);
    const std::size_t ending = std::strlen(silent);
    if (length > ending && std::strcmp(node + length - ending, silent) == 0)
        for (;;) ::pause();
    using Lookup = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
    static const auto system = reinterpret_cast<Lookup>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    return system(node, service, hints, found);
}
