#pragma once
// Prometheus, Grafana, and MLflow with PostgreSQL behind it, as one pod of this machine: pure text.
//
// The problem: the four have to find each other, vflbus and the files of container/monitoring, and
// nobody wants to read four manuals for that. So one program writes their configuration, and
// `podman kube play` starts them.

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::cli {

/// One of the four: its name, the image that is taken unless another one is named, and its port of
/// 127.0.0.1.
struct StackPart {
    std::string_view name;
    std::string_view image;
    std::uint16_t port;
};
inline constexpr std::array<StackPart, 4> stack_parts{{
    {"prometheus", "docker.io/prom/prometheus:v2.53.2", 9090},
    {"grafana", "docker.io/grafana/grafana:11.1.4", 3000},
    {"postgres", "docker.io/library/postgres:16", 5432},
    {"mlflow", "ghcr.io/mlflow/mlflow:v2.14.3", 5000},
}};

inline constexpr const char* stack_pod = "vflbus-prerequisites";

/// By name of a part; those that are not there have the image of stack_parts. `left_out`: that part
/// is not started.
inline constexpr const char* left_out = "none";
using StackImages = std::map<std::string, std::string, std::less<>>;

/// Of "NAME=IMAGE". Errors: usage, naming the parts that there are.
Result<StackImages> stack_images(const std::vector<std::string>& words);

/// `images`, where those that are not named are made by container/monitoring/build-images in place
/// of being fetched; without Grafana unless one is named, as Debian has no package of it.
StackImages from_packages(StackImages images);
/// Which of `images` are to be made by build-images.
std::vector<std::string> parts_to_build(const StackImages& images);
/// The script that makes them.
std::string_view build_images_script();

/// The pod for `podman kube play`. All of it listens at 127.0.0.1 alone; what the four store is in
/// volumes of podman. `dir`: absolute, with the files of `stack_files`.
std::string stack_yaml(const std::filesystem::path& dir, const StackImages& images,
                       const std::string& password);

/// What Prometheus and Grafana read, by path below the directory.
std::vector<std::pair<std::filesystem::path, std::string>> stack_files();

}  // namespace vflbus::cli
