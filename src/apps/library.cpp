#include "apps/library.hpp"

#include <dlfcn.h>

namespace vflbus::apps {

static_assert(std::string_view(VFLBUS_APP_VERSION) == VFLBUS_VERSION,
              "include/vflbus/app.hpp names another version than meson.build");

std::string_view name_of(AppKind kind) noexcept {
    return kind == AppKind::client ? "ClientApp" : "ServerApp";
}

Result<const app::Exported*> load_app(const std::filesystem::path& file, AppKind kind) {
    // a name without a slash would be looked for in the directories of the system
    const std::filesystem::path path = std::filesystem::absolute(file);
    std::error_code none;
    if (!std::filesystem::exists(path, none))
        return fail(Errc::usage, "there is no app " + file.string());
    void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        const char* const why = ::dlerror();
        return fail(Errc::usage, file.string() + " is no app that can be loaded: " +
                                     (why == nullptr ? "unknown error" : why));
    }
    using Entry = const app::Exported* (*)();
    const auto entry = reinterpret_cast<Entry>(::dlsym(library, "vflbus_app"));
    const app::Exported* const exported = entry == nullptr ? nullptr : entry();
    if (exported == nullptr || exported->magic == nullptr ||
        std::string_view(exported->magic) != "vflbus-app")
        return fail(Errc::usage, file.string() +
                                     " is no vflbus app: it has neither VFLBUS_CLIENT_APP nor "
                                     "VFLBUS_SERVER_APP");
    if (std::string_view(exported->version) != VFLBUS_VERSION)
        return fail(Errc::usage, file.string() + " was built for vflbus " + exported->version +
                                     ", this is vflbus " VFLBUS_VERSION
                                     "; build it again with the headers of this version");
    if (std::string_view(exported->library) != app::standard_library)
        return fail(Errc::usage, file.string() + " was built with " + exported->library +
                                     ", this vflbus with " + app::standard_library +
                                     "; build it with that one");
    const AppKind found = exported->server != nullptr ? AppKind::server : AppKind::client;
    if (found != kind)
        return fail(Errc::usage, file.string() + " is a " + std::string(name_of(found)) + ", a " +
                                     std::string(name_of(kind)) + " is needed here");
    return exported;
}

}  // namespace vflbus::apps
