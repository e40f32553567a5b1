// vflbus prerequisites: the servers that show what vflbus does, by podman

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "monitoring_stack.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "podman.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// Images may have to be fetched first.
constexpr auto play_at_most = std::chrono::minutes(30);

/// A server on this machine answers a connection at once, or is not there.
bool listens(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int error = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    if (error != 0 && errno == EINPROGRESS) {
        pollfd waited{fd, POLLOUT, 0};
        socklen_t size = sizeof error;
        error = -1;
        if (::poll(&waited, 1, 1000) == 1)
            (void)::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    ::close(fd);
    return error == 0;
}

/// The mode of files with passwords: nobody but their owner reads them.
constexpr mode_t owner_alone = 0600;

/// The password of the database; made once, and kept in a file.
Result<std::string> password_in(const fs::path& dir) {
    const fs::path file = dir / "postgres-password";
    std::array<std::uint8_t, 16> bytes{};
    random_bytes(bytes);
    if (auto made = write_new_file(file, to_hex(bytes) + "\n", owner_alone); !made)
        return tl::unexpected(made.error());
    const auto known = read_file(file);  // which may have been there
    if (!known) return tl::unexpected(known.error());
    return std::string(trim(*known));
}

/// Writes what is not there yet: files that somebody has changed stay.
Result<> write_files(const fs::path& dir) {
    for (const auto& [below, text] : stack_files()) {
        const fs::path file = dir / below;
        std::error_code ec;
        if (fs::exists(file, ec)) continue;
        fs::create_directories(file.parent_path(), ec);
        if (ec)
            return fail(Errc::io,
                        "cannot create " + file.parent_path().string() + ": " + ec.message());
        if (auto written = write_file_atomically(file, text); !written) return written;
        fs::permissions(file, fs::perms::others_read | fs::perms::group_read, fs::perm_options::add,
                        ec);
    }
    return {};
}

Result<> write_stack(const fs::path& dir, const StackImages& images) {
    std::error_code ec;
    // it will have a password
    if (fs::create_directories(dir, ec)) fs::permissions(dir, fs::perms::owner_all, ec);
    if (auto written = write_files(dir); !written) return written;
    const auto password = password_in(dir);
    if (!password) return tl::unexpected(password.error());
    // it has the password as well, so nobody else may read it at any moment
    const fs::path stack = dir / "stack.yml";
    fs::remove(stack, ec);
    if (auto written = write_new_file(stack, stack_yaml(dir, images, *password), owner_alone);
        !written)
        return tl::unexpected(written.error());
    return {};
}

Failure not_played(const std::string& why) {
    return {Errc::io,
            "podman kube play: " + why +
                "; an image that is here, or at a registry that is reached, is named by --image "
                "NAME=IMAGE; --from-packages makes them where no registry is reached"};
}

/// Makes the images that are not here yet, which takes some minutes.
Result<> make_images(const PrerequisitesArguments& arguments, const fs::path& dir,
                     const StackImages& images, const Podman& podman) {
    const fs::path script = dir / "build-images";
    if (auto written = write_file_atomically(script, std::string(build_images_script())); !written)
        return written;
    for (const std::string& part : parts_to_build(images)) {
        const std::string image = images.at(part);
        if (podman.has_image(image)) continue;
        note(arguments, "makes " + image + " of packages; later starts use it again");
        const auto made = run_command({"sh", script.string(), part}, play_at_most);
        if (!made) return tl::unexpected(made.error());
        if (made->exit_code != 0)
            return fail(Errc::io, podman_reason(made->err) +
                                      "; an image that is here is named by --image " + part +
                                      "=IMAGE, and --image " + part + "=none leaves it out");
    }
    return {};
}

/// Podman, when all images are named, made, or to be fetched.
Result<Podman> ready_podman(const PrerequisitesArguments& arguments, const fs::path& dir,
                            const StackImages& images) {
    auto podman = Podman::find();
    if (!podman || !arguments.from_packages) return podman;
    if (auto made = make_images(arguments, dir, images, *podman); !made)
        return tl::unexpected(made.error());
    return podman;
}

/// The addresses of what was started.
std::string addresses_of(const StackImages& images) {
    std::string out;
    for (const auto& [part, line] : {std::pair{"prometheus", "Prometheus  http://127.0.0.1:9090\n"},
                                     {"grafana", "Grafana     http://127.0.0.1:3000\n"},
                                     {"mlflow", "MLflow      http://127.0.0.1:5000\n"}}) {
        const auto named = images.find(part);
        if (named == images.end() || named->second != left_out) out += line;
    }
    return out;
}

int start(const PrerequisitesArguments& arguments, const fs::path& dir) {
    auto images = stack_images(arguments.images);
    if (!images) return report_failure(arguments, images.error());
    if (arguments.from_packages) *images = from_packages(std::move(*images));
    if (auto written = write_stack(dir, *images); !written)
        return report_failure(arguments, written.error());
    note(arguments, "wrote " + (dir / "stack.yml").string());
    if (arguments.only_write) return 0;
    const auto podman = ready_podman(arguments, dir, *images);
    if (!podman) return report_failure(arguments, podman.error());
    note(arguments, "podman starts them, and fetches the images that are not here");
    const auto played =
        run_command(podman->command({"kube", "play", "--replace", "--log-opt", "max-size=10mb",
                                     (dir / "stack.yml").string()}),
                    play_at_most);
    if (!played) return report_failure(arguments, played.error());
    if (played->exit_code != 0) {
        (void)(*podman)({"kube", "down", (dir / "stack.yml").string()});  // half a pod helps nobody
        return report_failure(arguments, not_played(podman_reason(played->err)));
    }
    print(addresses_of(*images));
    note(arguments, "`vflbus prerequisites status` says when they answer");
    return 0;
}

int stop(const PrerequisitesArguments& arguments, const fs::path& dir) {
    const fs::path stack = dir / "stack.yml";
    std::error_code ec;
    if (!fs::exists(stack, ec))
        return report_failure(arguments, {Errc::usage, "there is no " + stack.string() +
                                                           ", which `start` writes; --dir says "
                                                           "where it is"});
    const auto podman = Podman::find();
    if (!podman) return report_failure(arguments, podman.error());
    if (const auto down = (*podman)({"kube", "down", stack.string()}); !down)
        return report_failure(arguments, down.error());
    note(arguments,
         "stopped; what they have stored stays in the volumes vflbus-prometheus, "
         "vflbus-grafana, vflbus-postgres and vflbus-mlflow");
    return 0;
}

/// Whether the pod that was written into `dir` has this part; true where none was written.
bool is_wanted(const fs::path& dir, const StackPart& part) {
    const auto stack = read_file(dir / "stack.yml");
    return !stack || stack->find("- name: " + std::string(part.name) + "\n") != std::string::npos;
}

int status(const PrerequisitesArguments& arguments, const fs::path& dir) {
    observe::Table table({{"NAME"}, {"ADDRESS"}, {"STATE"}});
    std::vector<std::string> objects;
    bool all = true;
    for (const StackPart& part : stack_parts) {
        const bool up = listens(part.port);
        const bool wanted = is_wanted(dir, part);
        all = all && (up || !wanted);
        const std::string address = "127.0.0.1:" + std::to_string(part.port);
        table.add({std::string(part.name), address,
                   up       ? "up"
                   : wanted ? "does not answer"
                            : "left out"});
        objects.push_back(JsonObject()
                              .add("name", std::string(part.name))
                              .add("address", address)
                              .add("up", up)
                              .add("wanted", wanted)
                              .text());
    }
    print(arguments.json
              ? versioned("vflbus-prerequisites").add_json("servers", json_array(objects)).text() +
                    "\n"
              : shown(table));
    return all ? 0 : 1;
}

}  // namespace

int run(const PrerequisitesArguments& arguments) {
    using Action = PrerequisitesArguments::Action;
    const fs::path dir = fs::absolute(arguments.dir).lexically_normal();
    if (arguments.action == Action::status) return status(arguments, dir);
    return arguments.action == Action::start ? start(arguments, dir) : stop(arguments, dir);
}

}  // namespace vflbus::cli
