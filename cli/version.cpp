#include "version.hpp"

#include "commands.hpp"
#include "output.hpp"

namespace vflbus::cli {

int run(const VersionArguments& arguments) {
    if (arguments.json)
        print(JsonObject().add("name", "vflbus").add("version", version_text).text() + "\n");
    else
        print(std::string("vflbus ") + version_text + "\n");
    return 0;
}

}  // namespace vflbus::cli
