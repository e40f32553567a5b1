// Records that a member lacks (data.join = "left"): the model is that of tables which were filled
// up with zeros and a column that says which rows are real, whichever way the ids are found, and
// whatever dies on the way.

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "outcome.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

constexpr const char* presence = "has features";

World left_world(std::size_t members) {
    World world;
    world.members = members;
    world.rows = 130;
    world.features = 2;
    return world;
}

std::set<std::string> ids_of(const data::Table& table) {
    std::set<std::string> out;
    for (std::size_t row = 0; row < table.rows(); ++row) out.emplace(table.ids[row]);
    return out;
}

/// What a member would have to send in place of its own table: all records of the master, with
/// zeros for those that it lacks.
data::Table filled_up(const data::Table& own, const data::Table& of_master) {
    data::Table out = own;
    const auto there = ids_of(own);
    data::Column has;
    has.name = presence;
    has.numbers.assign(own.rows(), 1.0);
    for (const std::string& id : ids_of(of_master)) {
        if (there.contains(id)) continue;
        out.ids.push_back(id);
        for (data::Column& column : out.features) column.numbers.push_back(0);
        has.numbers.push_back(0);
    }
    out.features.push_back(std::move(has));
    return out;
}

void join_left(Play& play, config::Alignment way) {
    play.config.data.join = config::Join::left;
    play.config.data.alignment = way;
    play.config.data.standardize = false;
}

/// The same as an inner join of tables that were filled up.
void join_filled(Play& play) {
    play.config.data.standardize = false;
    for (std::size_t p = 1; p <= play.world.members; ++p)
        for (auto& [kind, table] : play.tables[p])
            table = std::make_shared<data::Table>(filled_up(*table, *play.tables[0][kind]));
}

void finish_well(Play& play) {
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
}

}  // namespace

TEST_CASE("records that a member lacks are zeros and a column that says so") {
    const config::Alignment way = GENERATE(config::Alignment::hashed, config::Alignment::psi);
    World world = left_world(GENERATE(1, 2, 3));
    world.solver = GENERATE(config::Solver::sgd, config::Solver::lbfgs);
    world.folds = GENERATE(0, 2);
    CAPTURE(world.members, world.folds, config::name_of(way), config::name_of(world.solver));
    Play left(world);
    join_left(left, way);
    Play filled(world);
    join_filled(filled);
    for (Play* const play : {&left, &filled}) {
        if (world.folds != 0) play->config.data.test_fraction = 0;
        finish_well(*play);
    }
    CHECK(Outcome(left) == Outcome(filled));
    const auto& report = left.master->report();
    CHECK(report.rows_common == left.tables[0][TableKind::train]->rows());
    CHECK(report.parties[0].rows_absent == 0);
    for (std::size_t p = 1; p <= world.members; ++p) {
        const auto of_master = ids_of(*left.tables[0][TableKind::train]);
        std::size_t matched = 0;
        for (const std::string& id : ids_of(*left.tables[p][TableKind::train]))
            matched += of_master.contains(id) ? 1 : 0;
        CHECK(report.parties[p].rows_matched == matched);
        CHECK(report.parties[p].rows_absent == of_master.size() - matched);
        CHECK(report.parties[p].rows_absent > 5);
        CHECK(left.part(p).columns.back().presence);
        CHECK(left.part(p).columns.back().name == presence);
    }
}

TEST_CASE("it is the same with several rows of an id, masks, encryption and shares of classes") {
    World world = left_world(2);
    Play left(world);
    Play filled(world);
    const config::Alignment way = GENERATE(config::Alignment::hashed, config::Alignment::psi);
    const int which = GENERATE(0, 1, 2, 3, 4);
    CAPTURE(which);
    for (Play* const play : {&left, &filled}) {
        if (which == 0) double_rows(*play, 1);
        if (which == 1) play->config.run.protocol = config::Protocol::masked;
        if (which == 2) play->config.run.protocol = config::Protocol::encrypted;
        if (which == 3) play->config.data.stratify = true;
        if (which == 4) play->config.data.dataset_size = 60;
    }
    join_left(left, way);
    join_filled(filled);
    finish_well(left);
    finish_well(filled);
    CHECK(Outcome(left) == Outcome(filled));
}

TEST_CASE("it is the same beside noise for differential privacy") {
    World world = left_world(2);
    world.solver = config::Solver::sgd;
    Play left(world);
    Play filled(world);
    const bool of_labels = GENERATE(false, true);
    const auto protocol =
        GENERATE(config::Protocol::honest, config::Protocol::masked, config::Protocol::encrypted);
    CAPTURE(of_labels, config::name_of(protocol));
    for (Play* const play : {&left, &filled}) {
        play->config.run.protocol = protocol;
        play->config.model.epochs = 2;
        (of_labels ? play->config.privacy.noise_multiplier
                   : play->config.privacy.score_noise_multiplier) = 2;
        // one secret for both, as if a party had drawn it
        for (std::size_t p = 0; p <= 2; ++p)
            play->env.files["runs/" + play->run.hex() + "/" + Play::name(p) + "/noise.key"] =
                std::string(32, static_cast<char>('a' + p));
    }
    join_left(left, config::Alignment::hashed);
    join_filled(filled);
    finish_well(left);
    finish_well(filled);
    CHECK(Outcome(left) == Outcome(filled));
}

TEST_CASE("a picture that a member lacks has the mean in all its pixels") {
    World world = left_world(2);
    world.name = config::ModelName::efficientnet;
    world.features = 9;
    Play play(world);
    join_left(play, config::Alignment::hashed);
    play.config.data.standardize = true;
    play.config.model.epochs = 1;
    play.config.model.width_factor = 0.5;
    for (std::size_t p = 1; p <= 2; ++p) {
        auto table = std::make_shared<data::Table>(*play.tables[p][TableKind::train]);
        table->image = {3, 3, 1};
        play.tables[p][TableKind::train] = table;
    }
    auto master = std::make_shared<data::Table>(*play.tables[0][TableKind::train]);
    master->image = {0, 0, 0};
    play.tables[0][TableKind::train] = master;
    finish_well(play);
    // no column beside the pixels, which says that it is there
    CHECK(play.master->report().parties[1].features == 9);
    CHECK(play.master->report().parties[1].rows_absent > 5);
}

TEST_CASE("test tables are joined in the same way") {
    const config::Alignment way = GENERATE(config::Alignment::hashed, config::Alignment::psi);
    World world = left_world(2);
    Play left(world);
    Play filled(world);
    for (Play* const play : {&left, &filled}) {
        play->config.data.test_fraction = 0;
        for (std::size_t p = 0; p <= 2; ++p) {
            std::vector<std::size_t> people;
            for (std::size_t row = 200; row < 240; ++row)
                if (row % (p + 2) != 1) people.push_back(row);
            play->tables[p][TableKind::test] =
                std::make_shared<data::Table>(world.table(p, people));
        }
    }
    join_left(left, way);
    join_filled(filled);
    finish_well(left);
    finish_well(filled);
    CHECK(left.master->report().rows_test == left.tables[0][TableKind::test]->rows());
    CHECK(Outcome(left) == Outcome(filled));
}

TEST_CASE("scaled columns are scaled by the rows that are there, and networks see zeros") {
    World world = left_world(2);
    world.name = GENERATE(config::ModelName::linear, config::ModelName::mlp);
    Play play(world);
    join_left(play, config::Alignment::hashed);
    play.config.data.standardize = true;
    play.config.data.test_fraction = 0;
    finish_well(play);
    CHECK(play.master->report().parties[1].features == 3);
    if (world.name != config::ModelName::linear) return;
    double sum = 0;
    double rows = 0;
    for (std::size_t row = 0; row < world.rows; ++row) {
        if (row % 7 == 3 || row % 8 == 3) continue;  // the master lacks it, or member-0
        sum += world.value(row, 1, 1);
        ++rows;
    }
    CHECK(play.part(1).columns[1].mean == Approx(sum / rows));
}

TEST_CASE("whoever dies, the model of a left join is the same bit for bit") {
    const config::Alignment way = GENERATE(config::Alignment::hashed, config::Alignment::psi);
    World world = left_world(2);
    Play undisturbed(world);
    join_left(undisturbed, way);
    undisturbed.config.bus.commit_steps = 2;
    finish_well(undisturbed);
    std::size_t deaths = 0;
    for (std::size_t at = 3;; at += 17) {
        Play play(world);
        join_left(play, way);
        play.config.bus.commit_steps = 2;
        play.set();
        bool died = false;
        play.harness->before_event = [&](std::size_t n) {
            if (n != at) return;
            died = true;
            if (at % 2 == 0)
                play.restart_member(at / 2 % 2);
            else
                play.resume_master();
        };
        finish_well(play);
        CHECK(play.files() == undisturbed.files());
        if (!died) break;
        ++deaths;
    }
    CHECK(deaths > 5);
}

TEST_CASE("a member whose records have changed is not restored") {
    World world = left_world(1);
    Play play(world);
    join_left(play, config::Alignment::hashed);
    play.config.bus.commit_steps = 2;
    play.set();
    bool changed = false;
    play.harness->before_event = [&](std::size_t) {
        if (changed || play.progress.size() < 6) return;
        changed = true;
        // one record less: the same columns, scaled alike
        auto order = world.order(1, 1);
        order.erase(std::ranges::find(order, std::size_t{0}));
        play.tables[1][TableKind::train] = std::make_shared<data::Table>(world.table(1, order));
        play.restart_member(0);
    };
    const Ending ending = play.play();
    CHECK(changed);
    CHECK(ending.code == Errc::bad_data);
    CHECK(ending.sentence.find("member-0: the table is another one") != std::string::npos);
}

TEST_CASE("a member with none of the master's records trains nothing") {
    World world = left_world(2);
    Play play(world);
    join_left(play, config::Alignment::hashed);
    std::vector<std::size_t> strangers;
    for (std::size_t row = 500; row < 560; ++row) strangers.push_back(row);
    play.tables[2][TableKind::train] = std::make_shared<data::Table>(world.table(2, strangers));
    const Ending ending = play.play();
    CHECK(ending.code == Errc::bad_data);
    CHECK(ending.sentence.find("member-1 has 60") != std::string::npos);
    CHECK(ending.sentence.find("member-0") == std::string::npos);
}

TEST_CASE("a prediction has a row for each of the master's, and counts what members lack") {
    const config::Join join = GENERATE(config::Join::inner, config::Join::left);
    const bool psi = GENERATE(false, true);
    World world = left_world(2);
    Play trained(world);
    join_left(trained, config::Alignment::hashed);
    trained.config.data.join = join;
    trained.config.data.common_min = 1;
    if (psi) trained.config.data.alignment = config::Alignment::psi;
    finish_well(trained);

    const auto predict = [&](const std::vector<std::size_t>& of_member, Play& play) {
        play.config = trained.config;
        play.env = trained.env;
        play.run.bytes[0] = 0xcd;
        const std::vector<std::size_t> people[] = {{1, 2, 4, 5, 6}, {1, 2, 4, 5, 6}, of_member};
        for (std::size_t p = 0; p <= 2; ++p) {
            auto table = world.table(p, people[p]);
            table.labels.clear();
            play.tables[p].clear();
            play.tables[p][TableKind::predict] = std::make_shared<data::Table>(std::move(table));
        }
        play.set_prediction(trained.run);
        finish_well(play);
    };
    Play whole(world);
    predict({1, 2, 4, 5, 6}, whole);
    Play play(world);
    predict({6, 2, 1}, play);
    const auto all = vflbus::split(whole.env.files.at("out.csv"), '\n');
    const auto lines = vflbus::split(play.env.files.at("out.csv"), '\n');
    const auto& report = play.master->report();
    CHECK(report.parties[2].rows_matched == 3);
    if (join == config::Join::inner) {
        CHECK(report.parties[2].rows_absent == 0);
        CHECK(report.rows_test == 3);
        REQUIRE(lines.size() == 1 + 3 + 1);
        CHECK(lines[3] == all[5]);
        return;
    }
    CHECK(report.parties[1].rows_absent == 0);
    CHECK(report.parties[2].rows_absent == 2);
    CHECK(report.rows_test == 5);
    REQUIRE(lines.size() == 1 + 5 + 1);
    for (const std::size_t there : {1, 2, 5}) CHECK(lines[there] == all[there]);
    for (const std::size_t lacking : {3, 4}) CHECK(lines[lacking] != all[lacking]);
}

TEST_CASE("a member takes no selection of the other join") {
    World world = left_world(1);
    const bool left = GENERATE(false, true);
    Play play(world);
    if (left) join_left(play, config::Alignment::hashed);
    play.set();
    bool asked = false;
    play.harness->before_event = [&](std::size_t) {
        if (asked || play.phases.empty() || play.phases.back() != Phase::selecting) return;
        asked = true;
        SelectRequest request;
        const std::size_t ids = play.tables[1][TableKind::train]->rows();
        request.selection.bitmap.assign((ids + 7) / 8, 0);
        request.selection.bitmap[0] = 7;
        request.rows = 3;
        if (!left) request.selection.held = {7};
        const auto answer = play.harness->ask(0, message::select, encode(request));
        REQUIRE_FALSE(answer);
        CHECK(answer.error().code == Errc::malformed_message);
        CHECK(answer.error().sentence.find("data.join") != std::string::npos);
    };
    finish_well(play);
    CHECK(asked);
}
