// Model files, and predictions that repeat what training reported.

#include <charconv>
#include <map>
#include <sstream>

#include "catch.hpp"
#include "data/split.hpp"
#include "models/metrics.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

/// The people on the test side of `play`.
std::vector<std::size_t> test_people(const Play& play) {
    std::vector<std::size_t> out;
    for (std::size_t row = 0; row < play.world.rows; ++row) {
        bool all = true;
        for (std::size_t p = 0; p <= play.world.members; ++p) all = all && row % (p + 7) != 3;
        const auto id = hash128("u" + std::to_string(row), play.config.data.id_salt);
        if (all && data::is_test(id, play.config.run.seed, play.config.data.test_fraction))
            out.push_back(row);
    }
    return out;
}

/// A prediction run over the same Env.
void predict(Play& play, Play& trained, const std::vector<std::size_t>& people, bool labels) {
    play.env = trained.env;
    play.run.bytes[0] = 0xcd;
    for (std::size_t p = 0; p <= play.world.members; ++p) {
        auto order = people;
        Rng rng(p + 40);
        for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
        auto table = play.world.table(p, order);
        if (!labels) table.labels.clear();
        play.tables[p].clear();
        play.tables[p][TableKind::predict] = std::make_shared<data::Table>(std::move(table));
    }
    play.set_prediction(trained.run);
}

std::vector<std::vector<std::string>> cells(const std::string& csv) {
    std::vector<std::vector<std::string>> out;
    std::istringstream lines(csv);
    for (std::string line; std::getline(lines, line);) out.push_back(split(line, ','));
    return out;
}

double number(const std::string& text) {
    double value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

}  // namespace

TEST_CASE("predictions on the test rows repeat the reported metrics") {
    World world;
    world.task = GENERATE(vflbus::Task::logistic, vflbus::Task::linear, vflbus::Task::multilabel,
                          vflbus::Task::softmax);
    world.master_features = GENERATE(true, false);
    world.messy = !world.master_features;
    world.name = GENERATE(config::ModelName::linear, config::ModelName::mlp);
    CAPTURE(config::name_of(world.name));
    CAPTURE(config::name_of(world.task));
    Play trained(world);
    REQUIRE(trained.play().code == Errc::ok);
    const auto people = test_people(trained);
    REQUIRE(people.size() == trained.master->report().rows_test);

    Play play(world);
    predict(play, trained, people, true);
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    REQUIRE(play.master->report().test.size() == trained.master->report().test.size());
    for (const auto& [name, value] : trained.master->report().test) {
        CAPTURE(name);
        CHECK(play.metric(play.master->report().test, name) == Approx(value).margin(1e-9));
    }

    const auto rows = cells(play.env.files.at("out.csv"));
    REQUIRE(rows.size() == people.size() + 1);
    CHECK(rows[0][0] == "id");
    // the master's own row order
    const auto& ids = play.tables[0][TableKind::predict]->ids;
    for (std::size_t i = 0; i < ids.size(); ++i) CHECK(rows[i + 1][0] == ids[i]);
    if (world.task == vflbus::Task::softmax) {
        CHECK(rows[0] == std::vector<std::string>{"id", "prediction", "probability_0",
                                                  "probability_1", "probability_2"});
        std::size_t right = 0;
        for (std::size_t i = 1; i < rows.size(); ++i) {
            const auto row = static_cast<std::size_t>(number(rows[i][0].substr(1)));
            right += number(rows[i][1]) == world.label(row, 0);
            CHECK(number(rows[i][2]) + number(rows[i][3]) + number(rows[i][4]) ==
                  Approx(1).margin(1e-12));
        }
        CHECK(static_cast<double>(right) / static_cast<double>(people.size()) ==
              Approx(trained.metric(trained.master->report().test, "accuracy")).margin(1e-12));
    }
    if (world.task == vflbus::Task::logistic) {
        CHECK(rows[0] == std::vector<std::string>{"id", "prediction", "probability_1"});
        std::vector<double> y, p;
        for (std::size_t i = 1; i < rows.size(); ++i) {
            y.push_back(world.label(static_cast<std::size_t>(number(rows[i][0].substr(1))), 0));
            p.push_back(number(rows[i][2]));
            CHECK(rows[i][1] == (p.back() > 0.5 ? "1" : "0"));
        }
        CHECK(models::auc(y, p) ==
              Approx(trained.metric(trained.master->report().test, "auc")).margin(1e-12));
    }
    if (world.task == vflbus::Task::multilabel)
        CHECK(rows[0] == std::vector<std::string>{"id", "prediction_y0", "probability_y0",
                                                  "prediction_y1", "probability_y1",
                                                  "prediction_y2", "probability_y2"});
}

TEST_CASE("predictions without labels have no metrics") {
    Play trained{World{}};
    REQUIRE(trained.play().code == Errc::ok);
    Play play{World{}};
    predict(play, trained, {1, 2, 5, 6, 8}, false);
    REQUIRE(play.play().code == Errc::ok);
    CHECK(play.master->report().test.empty());
    CHECK(cells(play.env.files.at("out.csv")).size() == 6);
}

TEST_CASE("who waits for an alignment or for predictions is told how far they are") {
    Play trained{World{}};
    trained.config.data.alignment = config::Alignment::hashed;
    for (auto& member : trained.member_config) member.data.alignment = config::Alignment::hashed;
    REQUIRE(trained.play().code == Errc::ok);
    Play play{World{}};
    play.config.data.alignment = config::Alignment::hashed;
    for (auto& member : play.member_config) member.data.alignment = config::Alignment::hashed;
    predict(play, trained, {1, 2, 5, 6, 8}, false);
    REQUIRE(play.play().code == Errc::ok);
    std::map<std::string, std::vector<observe::JobState>> jobs;
    for (const observe::JobState& job : play.jobs) jobs[job.what].push_back(job);
    CHECK(jobs.size() == 2);
    for (const auto& [what, states] : jobs) {
        CAPTURE(what);
        REQUIRE(states.size() > 1);
        CHECK(states.front().done == 0);
        for (std::size_t i = 1; i < states.size(); ++i) CHECK(states[i].done >= states[i - 1].done);
        CHECK(states.back().done == states.back().total);
    }
    CHECK(jobs.count("master: writes the predictions") == 1);
}

TEST_CASE("a prediction counts what it met in the rows") {
    World world;
    world.members = 1;
    Play trained{world};
    REQUIRE(trained.play().code == Errc::ok);
    Play play{world};
    std::vector<std::size_t> people;
    for (std::size_t i = 0; i < 20; ++i) people.push_back(i);
    predict(play, trained, people, true);
    // of the member's rows one has another id, two have a cell less; three labels are gone
    auto of_member = *play.tables[1][TableKind::predict];
    const std::string gone(of_member.ids[4]);
    data::Ids ids;
    for (std::size_t row = 0; row < of_member.rows(); ++row)
        ids.push_back(row == 4 ? "somebody else" : of_member.ids[row]);
    of_member.ids = std::move(ids);
    for (const std::size_t row : {1, 2})
        for (data::Column& column : of_member.features)
            if (column.kind == data::ColumnKind::numeric) {
                column.numbers[row] = std::nan("");
                break;
            }
    play.tables[1][TableKind::predict] = std::make_shared<data::Table>(std::move(of_member));
    auto of_master = *play.tables[0][TableKind::predict];
    std::size_t blanked = 0;
    for (std::size_t row = 0; row < of_master.ids.size() && blanked < 3; ++row) {
        data::Column& label = of_master.labels[0];
        if (of_master.ids[row] == gone) continue;
        if (label.kind == data::ColumnKind::numeric)
            label.numbers[row] = std::nan("");
        else
            label.codes[row] = data::missing_code;
        ++blanked;
    }
    play.tables[0][TableKind::predict] = std::make_shared<data::Table>(std::move(of_master));
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    const observe::RunReport& report = play.master->report();
    REQUIRE(report.parties.size() == 2);
    CHECK(report.parties[1].rows == 20);
    CHECK(report.parties[1].rows_matched == 19);
    CHECK(report.parties[1].missing_cells == 2);
    CHECK(report.rows_test == 19);
    CHECK(report.rows_unlabelled == 3);
    CHECK_FALSE(report.test.empty());
}

TEST_CASE("predictions with parts that do not belong together") {
    Play trained{World{}};
    REQUIRE(trained.play().code == Errc::ok);
    const std::string part = "runs/" + trained.run.hex() + "/member-1/model.json";
    Play play{World{}};
    std::string word = "member-1";
    SECTION("a part is missing") {
        trained.env.files.erase(part);
    }
    SECTION("a part is damaged") {
        trained.env.files[part].resize(trained.env.files[part].size() / 2);
    }
    SECTION("a part is of another run") {
        Play other{World{}};
        other.run.bytes[1] = 9;
        REQUIRE(other.play().code == Errc::ok);
        trained.env.files[part] = other.file(2);
    }
    SECTION("a column is missing") {
        predict(play, trained, {1, 2, 5}, false);
        auto table = play.world.table(2, {1, 2, 5});
        table.features.pop_back();
        play.tables[2][TableKind::predict] = std::make_shared<data::Table>(std::move(table));
        word = "member-1: table-2.csv has not all columns";
    }
    SECTION("a table is missing") {
        predict(play, trained, {1, 2, 5}, false);
        play.tables[2].clear();
        word = "predict_data";
    }
    if (!play.harness) predict(play, trained, {1, 2, 5}, false);
    const Ending ending = play.play();
    INFO(ending.sentence);
    CHECK(ending.code != Errc::ok);
    CHECK(ending.sentence.find(word) != std::string::npos);
    CHECK(!play.env.files.contains("out.csv"));
}

TEST_CASE("predict refuses what is no model") {
    Play trained{World{}};
    REQUIRE(trained.play().code == Errc::ok);
    Play play{World{}};
    play.env = trained.env;
    PredictOptions options;
    options.model = trained.run;
    options.model.bytes[5] = 1;
    CHECK(make_predict_master(play.master_options(), options).error().code == Errc::io);
    options.model = trained.run;
    play.config.model.task = vflbus::Task::linear;
    CHECK(make_predict_master(play.master_options(), options).error().code == Errc::bad_config);
    play.config.model.task = vflbus::Task::logistic;
    play.config.run.world_size = 5;
    CHECK(make_predict_master(play.master_options(), options).error().code == Errc::bad_config);
}

TEST_CASE("a model part comes back as it went") {
    Play trained{World{}};
    REQUIRE(trained.play().code == Errc::ok);
    for (std::size_t p = 0; p < 3; ++p) {
        const ModelPart part = trained.part(p);
        CHECK(to_json(part) == trained.file(p));
        CHECK(part.run == trained.run);
        CHECK(part.labels.has_value() == (p == 0));
    }
    SECTION("cut anywhere or with a wrong size it is refused") {
        const std::string text = trained.file(1);
        for (std::size_t cut = 0; cut + 3 < text.size(); cut += 97)
            CHECK(!parse_model_part(text.substr(0, cut), "x"));
        ModelPart part = trained.part(1);
        part.weights.pop_back();
        part.weights.push_back(1);
        CHECK(parse_model_part(to_json(part), "x"));
        part.columns.pop_back();
        part.columns.push_back({"text", data::ColumnKind::text, 0, 0, 1, {"a", "b"}});
        part.weights.push_back(1);
        CHECK(parse_model_part(to_json(part), "x"));
        part.outputs = 2;
        CHECK(!parse_model_part(text + "x", "x"));
    }
}

TEST_CASE("a prediction gets nothing of the training table, and a training nothing of the other") {
    const World world;
    Play trained{world};
    REQUIRE(trained.play().code == Errc::ok);
    const auto type = GENERATE(message::align, message::select);
    const bool predicts = GENERATE(true, false);
    CAPTURE(message::name_of(type), predicts);
    Play play{world};
    if (predicts) {
        predict(play, trained, {1, 2, 5, 6, 8}, false);
    } else {
        play.set();
    }
    // both tables are there, and both kinds of messages are well-formed
    const auto other = predicts ? TableKind::train : TableKind::predict;
    play.tables[2][other] = std::make_shared<data::Table>(world.table(2, {1, 2, 5, 6, 8}));
    bool asked = false;
    Errc answered = Errc::ok;
    play.harness->on_request = [&](std::size_t member, Message& m) {
        if (member != 1 || m.metadata.message_type != type) return true;
        asked = true;
        if (type == message::align) {
            m.content = encode(AlignRequest{other});
        } else {
            auto request = decode_select_request(m.content);
            REQUIRE(request);
            request->table = other;
            m.content = encode(*request);
        }
        return true;
    };
    play.harness->on_reply_hook = [&](std::size_t member, Message& m) {
        if (member == 1 && m.metadata.message_type == type) answered = m.error.code;
        return true;
    };
    const Ending ending = play.harness->run();
    INFO(ending.sentence);
    CHECK(asked);
    CHECK(answered != Errc::ok);
    CHECK(ending.sentence.find("cannot take") != std::string::npos);
    for (const std::string& line : play.member_log)
        CHECK(line.find("member-1 sends") == std::string::npos);
}

TEST_CASE("a member's judge says whose model a prediction may use") {
    struct KnowsOwners final : LetsAllIn {
        Result<> model(const RunId&, const RunId& of) override {
            asked.push_back(of);
            if (allowed) return {};
            return fail(Errc::refused, "the model was trained for bank");
        }
        std::vector<RunId> asked;
        bool allowed = true;
    };
    World world;
    world.members = 1;
    Play trained(world);
    REQUIRE(trained.play().code == Errc::ok);
    KnowsOwners judge;
    judge.allowed = GENERATE(true, false);
    Play play(world);
    play.judge = &judge;
    predict(play, trained, test_people(trained), false);
    const Ending ending = play.play();
    INFO(ending.sentence);
    CHECK(judge.asked == std::vector<RunId>{trained.run});
    CHECK(ending.code == (judge.allowed ? Errc::ok : Errc::io));
    // the owner hears what it would hear if there were none
    if (!judge.allowed) CHECK(ending.sentence.find("has no part of model") != std::string::npos);
    CHECK(ending.sentence.find("bank") == std::string::npos);
}
