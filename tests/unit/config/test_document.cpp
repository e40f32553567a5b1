#include <algorithm>
#include <cstdlib>

#include "base/files.hpp"
#include "base/rng.hpp"
#include "config/agreed.hpp"
#include "config/document.hpp"
#include "support.hpp"

using namespace vflbus;
using namespace vflbus::config;
using namespace vflbus::config::testing;
namespace fs = std::filesystem;

namespace {

fs::path source_root() {
    return VFLBUS_SOURCE_ROOT;
}

std::vector<fs::path> conf_files() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(source_root() / "conf"))
        if (entry.path().extension() == ".toml") files.push_back(entry.path());
    std::ranges::sort(files);
    return files;
}

Config load_file(const fs::path& path) {
    INFO(path.string());
    LoadOptions options;
    options.path = path;
    return value_of(load(options));
}

}  // namespace

TEST_CASE("docs/configuration.md is what the table of keys says") {
    const fs::path page = source_root() / "docs" / "configuration.md";
    const char* const accept = std::getenv("VFLBUS_ACCEPT");
    if (accept != nullptr && std::string_view(accept) == "1")
        REQUIRE(write_file_atomically(page, reference_markdown()).has_value());
    const auto stored = read_file(page);
    REQUIRE(stored.has_value());
    INFO("set VFLBUS_ACCEPT=1 and run this test to write the page again");
    CHECK(*stored == reference_markdown());
}

TEST_CASE("every configuration in conf/ loads, and those of all parties can be launched") {
    const auto files = conf_files();
    CHECK(files.size() >= 14);
    for (const fs::path& file : files) {
        INFO(file.string());
        const Config config = load_file(file);
        if (file.parent_path().filename() == "parties") {
            CHECK(config.parties.size() == 1);
            CHECK(config.has_agreed_half() == (file.stem() == "master"));
            CHECK(check_party(config, file.stem().string()).has_value());
            continue;
        }
        CHECK(config.has_agreed_half());
        CHECK(check_launch(config).has_value());
        const bool is_public = file.parent_path().filename() == "public";
        for (const auto& [name, party] : config.parties) {
            CHECK(party.source.empty() != is_public);
            const fs::path below = fs::path(party.data).lexically_relative(source_root());
            CHECK(below.string().starts_with(is_public ? "../shared/data/" : "data/"));
        }
    }
}

TEST_CASE("the files of conf/public are there when the shared data sets are") {
    if (!fs::exists(source_root() / "../shared/data")) {
        WARN("skipped: ../shared/data is absent");
        return;
    }
    for (const fs::path& file : conf_files()) {
        if (file.parent_path().filename() != "public") continue;
        const Config config = load_file(file);
        for (const auto& [name, party] : config.parties) {
            const auto there = check_files(config, name);
            INFO((there ? std::string() : there.error().sentence));
            CHECK(there.has_value());
        }
    }
}

TEST_CASE("a written configuration reads back to the same values") {
    for (const fs::path& file : conf_files()) {
        INFO(file.string());
        const Config config = load_file(file);
        const std::string text = to_toml(config);
        INFO(text);
        const Config read = value_of(load_text(text));
        CHECK(canonical_agreed(read) == canonical_agreed(config));
        CHECK(read.parties == config.parties);
        CHECK(read.bus == config.bus);
        CHECK(read.output.log_level == config.output.log_level);
    }
}

TEST_CASE("a configuration made in code is written with relative paths and strange names") {
    const Folder folder;
    Config config;
    config.run.world_size = 1;
    config.model.task = Task::multilabel;
    config.bus.heartbeat_interval = 0.5;
    config.bus.bind = {"tcp://127.0.0.1:7000"};
    config.parties["master"].data = (folder.path() / "sub" / "bank.csv").string();
    config.parties["master"].label = {"a \"b\"", "c\\d"};
    config.parties["member-0"].data = "/elsewhere/shop.csv";
    config.parties["member-0"].exclude = {"Größe, cm"};
    REQUIRE(check(config).has_value());
    const std::string text = to_toml(config, folder.path());
    CHECK(text.find("data = \"sub/bank.csv\"") != std::string::npos);
    CHECK(text.find("data = \"/elsewhere/shop.csv\"") != std::string::npos);
    CHECK(text.find("runs_dir") == std::string::npos);
    folder.write("made.toml", text);
    LoadOptions options;
    options.path = folder.path() / "made.toml";
    const Config read = value_of(load(options));
    CHECK(read.parties == config.parties);
    CHECK(read.bus == config.bus);
    CHECK(canonical_agreed(read) == canonical_agreed(config));
    std::size_t longest = 0;
    for (std::size_t at = 0, end = 0; at < text.size(); at = end + 1) {
        end = text.find('\n', at);
        if (text[at] == '#') longest = std::max(longest, end - at);
    }
    CHECK(longest <= 100);
}

TEST_CASE("mutated files never crash, and every refusal names the file") {
    const auto seed_text = read_file(source_root() / "conf" / "logistic.toml");
    REQUIRE(seed_text.has_value());
    const Folder folder;
    LoadOptions options;
    options.path = "x.toml";
    options.base_dir = folder.path();
    Rng rng(42);
    std::size_t taken = 0;
    for (int round = 0; round < 1'500; ++round) {
        std::string text = *seed_text;
        const std::uint64_t edits = 1 + rng.below(3);
        for (std::uint64_t edit = 0; edit < edits && !text.empty(); ++edit) {
            const std::size_t at = rng.below(text.size());
            switch (rng.below(5)) {
                case 0:
                    text[at] = static_cast<char>(rng.below(256));
                    break;
                case 1:
                    text.erase(at, 1 + rng.below(20));
                    break;
                case 2:
                    text.insert(at, 1, "0123456789.e-+[]{}\",'#=\n"[rng.below(25)]);
                    break;
                case 3:
                    text.insert(at, text.substr(rng.below(text.size()), rng.below(60)));
                    break;
                default:
                    text.resize(at);
                    break;
            }
        }
        folder.write("x.toml", text);
        const auto result = load(options);
        if (result) {
            ++taken;
            CHECK(parse_canonical(canonical_agreed(*result)).has_value() !=
                  (result->run.world_size == 0));
        } else {
            CHECK(result.error().sentence.find("x.toml:") != std::string::npos);
        }
    }
    CHECK(taken > 100);
    CHECK(taken < 1'400);
}
