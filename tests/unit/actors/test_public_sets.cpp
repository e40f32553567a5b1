// Real files through the CSV reader, when they are there.

#include <cstdlib>
#include <filesystem>

#include "catch.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

/// The variable of this name, or what the build says.
std::filesystem::path shared_data() {
    const char* variable = std::getenv("VFLBUS_SHARED_DATA");
    return variable == nullptr ? VFLBUS_SHARED_DATA : variable;
}

}  // namespace

TEST_CASE("breast: the vertical model separates the classes") {
    const std::filesystem::path shared = shared_data();
    if (!std::filesystem::exists(shared / "breast_hetero_guest.csv")) {
        WARN("skipped: " << shared.string() << "/breast_hetero_guest.csv is not here");
        return;
    }
    World world;
    world.members = 1;
    Play play(world);
    config::PartyConfig guest;
    guest.data = (shared / "breast_hetero_guest.csv").string();
    guest.label = {"y"};
    config::PartyConfig host;
    host.data = (shared / "breast_hetero_host.csv").string();
    play.config.parties = {{"master", guest}, {"member-0", host}};
    play.config.data.test_fraction = 0;
    play.config.model.epochs = 20;
    play.config.model.batch_size = 64;
    play.config.model.learning_rate = 0.1;
    play.config.model.momentum = 0.9;
    play.config.model.weight_decay = 0;
    const auto master = csv_tables(play.config, "master");
    const auto member = csv_tables(play.config, "member-0");
    for (const TableKind kind : {TableKind::train, TableKind::test}) {
        const auto own = master(kind);
        REQUIRE(own);
        CHECK((*own != nullptr) == (kind == TableKind::train));
    }
    play.tables[0][TableKind::train] = *master(TableKind::train);
    play.tables[1][TableKind::train] = *member(TableKind::train);
    REQUIRE(play.play().code == Errc::ok);
    const auto& report = play.master->report();
    CHECK(report.rows_common == 569);
    CHECK(play.metric(report.train, "auc") >= 0.9955);
    CHECK(play.metric(report.train, "auc") > play.metric(report.label_holder_alone_train, "auc"));
}

TEST_CASE("a table from a file is shared while it is used, and read again later") {
    const std::filesystem::path shared = shared_data();
    if (!std::filesystem::exists(shared / "breast_hetero_host.csv")) {
        WARN("skipped: " << shared.string() << "/breast_hetero_host.csv is not here");
        return;
    }
    config::Config config;
    config.parties["member-0"].data = (shared / "breast_hetero_host.csv").string();
    const auto tables = csv_tables(config, "member-0");
    const auto first = *tables(TableKind::train);
    CHECK(*tables(TableKind::train) == first);
    CHECK(*tables(TableKind::predict) == nullptr);
}

TEST_CASE("a file that is not there is named, with where the set can be had") {
    config::Config config;
    config.parties["member-0"].data = "/nonexistent/x.csv";
    config.parties["member-0"].source = "example.org";
    const auto table = csv_tables(config, "member-0")(TableKind::train);
    REQUIRE(!table);
    CHECK(table.error().code == Errc::io);
    CHECK(table.error().sentence.find("/nonexistent/x.csv") != std::string::npos);
    CHECK(table.error().sentence.find("example.org") != std::string::npos);
    const auto none = csv_tables(config, "member-1")(TableKind::train);
    REQUIRE(!none);
    CHECK(none.error().code == Errc::bad_config);
}
