#include "base/durable.hpp"

#include <vector>

#include "base/planted.hpp"

namespace vflbus {
namespace {

namespace fs = std::filesystem;

fs::path directory_of(const fs::path& path) {
    return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// A new directory is lost with power like a new file, and all that is in it with it.
Result<> make_directories(FileSteps& steps, const fs::path& directory) {
    std::vector<fs::path> doubtful;
    for (fs::path at = directory; !steps.is_durable(at); at = directory_of(at)) {
        doubtful.push_back(at);
        if (directory_of(at) == at) break;
    }
    for (auto at = doubtful.rbegin(); at != doubtful.rend(); ++at) {
        const bool there = steps.is_directory(*at);
        if (!there)
            if (auto made = steps.make_directory(*at); !made) return made;
        if (VFLBUS_PLANTED(new_directory_not_synced)) continue;
        // what was there long before us may not be ours to open
        auto synced = steps.sync_directory(directory_of(*at));
        const bool not_ours = there && !synced && synced.error().code == Errc::refused;
        if (!synced && !not_ours) return synced;
        steps.note_durable(*at);
    }
    return {};
}

}  // namespace

Result<> make_directories_above(FileSteps& steps, const fs::path& path) {
    return make_directories(steps, directory_of(path));
}

Result<> put_in_place(FileSteps& steps, const fs::path& path, const fs::path& temporary) {
    Result<> done;
    if (!VFLBUS_PLANTED(file_not_synced)) done = steps.sync(temporary);
    if (done) done = steps.rename(temporary, path);
    if (!done) {
        steps.discard(temporary);
        return done;
    }
    return VFLBUS_PLANTED(directory_not_synced) ? Result<>{}
                                                : steps.sync_directory(directory_of(path));
}

Result<> write_durably(FileSteps& steps, const fs::path& path, const fs::path& temporary,
                       std::string_view content) {
    if (auto made = make_directories_above(steps, path); !made) return made;
    if (auto written = steps.write(temporary, content); !written) {
        steps.discard(temporary);
        return written;
    }
    return put_in_place(steps, path, temporary);
}

}  // namespace vflbus
