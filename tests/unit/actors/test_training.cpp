// A whole run on the harness: what it learns, and that nothing but data and configuration matters.

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "actors/party.hpp"
#include "actors/training/labels.hpp"
#include "actors/training/linear/block.hpp"
#include "catch.hpp"
#include "models/local_trainer.hpp"
#include "observe/report.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

/// The weights of all parties in one matrix, the master's rows first: features x outputs.
models::Matrix joined_weights(const Play& play) {
    std::vector<ModelPart> parts;
    std::size_t rows = 0;
    for (std::size_t p = 0; p <= play.world.members; ++p) {
        parts.push_back(play.part(p));
        rows += parts.back().features();
    }
    models::Matrix out(rows, parts[0].outputs);
    std::size_t first = 0;
    for (const ModelPart& part : parts) {
        for (std::size_t c = 0; c < part.outputs; ++c)
            for (std::size_t j = 0; j < part.features(); ++j)
                out(first + j, c) = part.weights[c * part.features() + j];
        first += part.features();
    }
    return out;
}

/// The same people with all columns at one party, in the vertical run's order.
struct Joined {
    Joined(const Play& play, config::Config config) {
        std::vector<std::size_t> common;
        for (std::size_t row = 0; row < play.world.rows; ++row) {
            bool all = true;
            for (std::size_t p = 0; p <= play.world.members; ++p) all = all && row % (p + 7) != 3;
            if (all) common.push_back(row);
        }
        data::Table table = play.world.table(0, common);
        for (std::size_t p = 1; p <= play.world.members; ++p)
            for (auto& column : play.world.table(p, common).features)
                table.features.push_back(column);
        auto shared = std::make_shared<const data::Table>(std::move(table));
        party =
            std::make_unique<Party>("joined", config, [shared](TableKind kind) -> Result<TablePtr> {
                return kind == TableKind::train ? shared : TablePtr{};
            });
        REQUIRE(party->align(TableKind::train));
        const auto& local = party->local(TableKind::train);
        const data::PartyIds ids[] = {{"joined", local.ids, local.counts}};
        const auto all = data::intersect(ids, config.data.dataset_size);
        REQUIRE(all);
        REQUIRE(party->select(TableKind::train, all->selections[0], all->rows));
        REQUIRE(party->split());
        const auto rows = party->rows(TableKind::train);
        const auto coding = data::fit_labels(*shared, config.model.task, rows);
        REQUIRE(coding);
        auto labels = labels_of(*shared, *coding, rows);
        REQUIRE(labels);
        REQUIRE(party->build());
        schedule = BatchSchedule(config, static_cast<std::uint32_t>(rows.size()));
        models::LocalConfig local_config;
        local_config.head = linear::head_config(config.model);
        local_config.optimizer = linear::optimizer_of(config.model);
        local_config.sequential = config.model.sequential;
        local_config.reg_lambda = config.model.reg_lambda;
        auto made = models::LocalTrainer::create(party->design(TableKind::train),
                                                 std::move(*labels), local_config);
        REQUIRE(made);
        trainer = std::make_unique<models::LocalTrainer>(std::move(*made));
        for (std::uint64_t step = 0; step < schedule.steps(); ++step)
            REQUIRE(trainer->step(schedule.rows(step)));
    }
    std::unique_ptr<Party> party;
    BatchSchedule schedule;
    std::unique_ptr<models::LocalTrainer> trainer;
};

void check_equal_to_joined(const Play& play, const config::Config& config, double tolerance) {
    const Joined joined(play, config);
    const models::Matrix weights = joined_weights(play);
    const auto expected = joined.trainer->model().weights();
    REQUIRE(weights.rows() == expected.rows);
    REQUIRE(weights.cols() == expected.cols);
    for (std::size_t i = 0; i < weights.size(); ++i)
        CHECK(std::abs(weights.data()[i] - expected.data[i]) < tolerance);
    const auto intercept = play.part(0).intercept;
    REQUIRE(intercept.size() == joined.trainer->head().intercept().size());
    for (std::size_t c = 0; c < intercept.size(); ++c)
        CHECK(std::abs(intercept[c] - joined.trainer->head().intercept()[c]) < tolerance);
}

}  // namespace

TEST_CASE("a vertical run learns what the joined fit learns") {
    World world;
    world.task = GENERATE(vflbus::Task::logistic, vflbus::Task::linear, vflbus::Task::multilabel,
                          vflbus::Task::softmax);
    world.master_features = GENERATE(true, false);
    CAPTURE(config::name_of(world.task), world.master_features);
    Play play(world);
    if (world.task == vflbus::Task::softmax) {
        use_solver(play.config.model, config::Solver::adam);
        play.config.model.learning_rate = 0.05;
    }
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    check_equal_to_joined(play, play.config, 1e-11);

    const auto& report = play.master->report();
    CHECK(report.status == "completed");
    CHECK(report.reason.empty());
    CHECK(report.steps == play.progress.back().steps);
    CHECK(report.steps == report.epochs * ((report.rows_train + 31) / 32));
    CHECK(report.rows_train + report.rows_test == report.rows_common);
    CHECK(report.rows_test > 10);
    CHECK(report.parties.size() == 3);
    CHECK(report.parties[1].features == 3);
    CHECK(report.parties[0].features == (world.master_features ? 3U : 0U));
    CHECK(report.bytes_sent > 0);
    CHECK(report.train_seconds > 0);
    const std::string headline = world.task == vflbus::Task::linear     ? "r2"
                                 : world.task == vflbus::Task::logistic ? "auc"
                                 : world.task == vflbus::Task::softmax  ? "accuracy"
                                                                        : "auc_macro";
    if (world.master_features) {
        CHECK(play.metric(report.train, headline) > 0.8);
        CHECK(play.metric(report.test, headline) > 0.7);
    }
    CHECK(play.metric(report.test, headline) >
          play.metric(report.label_holder_alone_test, headline) + 0.05);
    CHECK(play.env.files.contains("runs/" + play.run.hex() + "/report.json"));
    CHECK(play.env.files.contains("runs/" + play.run.hex() + "/agreed.txt"));
    const auto stored =
        observe::from_json(play.env.files.at("runs/" + play.run.hex() + "/report.json"));
    REQUIRE(stored);
    CHECK(stored->status == "completed");
    bool noticed = false;
    for (const auto& line : play.log) noticed = noticed || line.find("in the clear") != line.npos;
    CHECK(noticed);
}

TEST_CASE("the same bits, whatever the order of rows and of arrival") {
    World world;
    world.members = 3;
    std::vector<std::string> first;
    for (std::uint64_t variant = 1; variant <= 4; ++variant) {
        Play play(world, variant);
        play.harness_seed = variant * 17;
        REQUIRE(play.play().code == Errc::ok);
        const std::vector<std::string> files = play.files();
        if (variant == 1) first = files;
        CHECK(files == first);
        CHECK(!files[0].empty());
    }
    // and they can differ
    Play other(world);
    other.config.run.seed = 6;
    REQUIRE(other.play().code == Errc::ok);
    CHECK(other.file(1) != first[1]);
}

TEST_CASE("the same bits with duplicated ids") {
    World world;
    std::vector<std::string> first;
    for (std::uint64_t variant = 1; variant <= 3; ++variant) {
        Play play(world, variant);
        play.config.data.duplicates = config::Duplicates::all;
        for (const std::size_t p : {0U, 2U}) {
            auto order = world.order(p, variant);
            const std::vector<std::size_t> twice(order.begin(), order.end());
            for (const std::size_t row : twice)
                if (row % (p + 5) == 1) order.insert(order.begin() + 3, row);
            play.tables[p][TableKind::train] = std::make_shared<data::Table>(world.table(p, order));
        }
        REQUIRE(play.play().code == Errc::ok);
        CHECK(play.master->report().rows_common > play.master->report().parties[1].rows_matched);
        const std::vector<std::string> files = play.files();
        if (variant == 1) first = files;
        CHECK(files == first);
    }
}

TEST_CASE("missing cells, texts and constants are counted and named") {
    World world;
    world.messy = true;
    Play play(world);
    REQUIRE(play.play().code == Errc::ok);
    const auto& party = play.master->report().parties[1];
    CHECK(party.features == 6);  // three numbers, three regions
    CHECK(party.missing_cells > 5);
    REQUIRE(party.left_out.size() == 1);
    CHECK(party.left_out[0].column.empty());  // names of columns do not leave their party
    CHECK(party.left_out[0].reason == "constant on the training rows");
    CHECK(party.left_out[0].columns == 1);
    CHECK(play.master->report().parties[0].missing_cells == 0);
}

TEST_CASE("metrics at intervals do not disturb the training") {
    Play plain{World{}};
    REQUIRE(plain.play().code == Errc::ok);
    Play reporting{World{}};
    reporting.config.model.report_train_metrics_iteration = 5;
    reporting.config.model.report_test_metrics_iteration = 3;
    REQUIRE(reporting.play().code == Errc::ok);
    CHECK(plain.part(1).weights == reporting.part(1).weights);
    CHECK(plain.part(0).intercept == reporting.part(0).intercept);
    const auto steps = reporting.master->report().steps;
    std::size_t train = 0, test = 0;
    for (const auto& entry : reporting.master->report().history)
        ++(entry.split == "train" ? train : test);
    CHECK(train == steps / 5 + (steps % 5 != 0));
    CHECK(test == steps / 3 + (steps % 3 != 0));
    // metrics at the end alone; before that a curve of the loss
    CHECK(std::ranges::count_if(plain.master->report().history,
                                [](const auto& entry) { return !entry.metrics.empty(); }) == 2);
    CHECK(plain.master->report().history.size() == 25);
}

TEST_CASE("sequential mode") {
    World world;
    world.task = vflbus::Task::linear;
    world.master_features = GENERATE(true, false);
    Play play(world);
    use_solver(play.config.model, config::Solver::sequential);
    play.config.model.batch_size = GENERATE(0, 64);
    play.config.model.epochs = 8;
    play.config.model.report_test_metrics_iteration = 2;
    REQUIRE(play.play().code == Errc::ok);
    if (world.master_features) CHECK(play.metric(play.master->report().test, "r2") > 0.9);

    SECTION("with one member and a labels-only master it is the joined fit") {
        World one = world;
        one.members = 1;
        one.master_features = false;
        Play single(one);
        single.config.model = play.config.model;
        REQUIRE(single.play().code == Errc::ok);
        check_equal_to_joined(single, single.config, 1e-12);
    }
    SECTION("the same bits again") {
        Play again(world, 9);
        again.harness_seed = 5;
        again.config = play.config;
        REQUIRE(again.play().code == Errc::ok);
        for (std::size_t p = 0; p < 3; ++p) CHECK(again.file(p) == play.file(p));
    }
}

TEST_CASE("a labels-only master is compared with the constant predictor") {
    World world;
    world.master_features = false;
    Play play(world);
    REQUIRE(play.play().code == Errc::ok);
    CHECK(play.metric(play.master->report().label_holder_alone_train, "auc") == 0.5);
    SECTION("unless nobody asks") {
        Play quiet(world);
        quiet.config.model.label_holder_alone = false;
        REQUIRE(quiet.play().code == Errc::ok);
        CHECK(quiet.master->report().label_holder_alone_train.empty());
        CHECK(quiet.file(1).size() == play.file(1).size());
    }
}

TEST_CASE("test tables at every party") {
    World world;
    Play play(world);
    play.config.data.test_fraction = 0;
    World others = world;
    others.seed = 70;
    others.rows = 90;
    for (std::size_t p = 0; p < 3; ++p)
        play.tables[p][TableKind::test] =
            std::make_shared<data::Table>(others.table(p, others.order(p, 3)));
    SECTION("are aligned by themselves") {
        REQUIRE(play.play().code == Errc::ok);
        CHECK(play.master->report().rows_test > 40);
        CHECK(play.master->report().rows_train == play.master->report().rows_common);
        CHECK(play.metric(play.master->report().test, "auc") > 0.8);
    }
    SECTION("or at none") {
        play.tables[2].erase(TableKind::test);
        const Ending ending = play.play();
        CHECK(ending.code == Errc::bad_config);
        CHECK(ending.sentence.find("member-1 has none") != std::string::npos);
    }
    SECTION("and not with a fraction as well") {
        play.config.data.test_fraction = 0.5;
        CHECK(play.play().code == Errc::bad_config);
    }
}

TEST_CASE("without test rows there are no test metrics") {
    Play play{World{}};
    play.config.data.test_fraction = 0;
    REQUIRE(play.play().code == Errc::ok);
    CHECK(play.master->report().test.empty());
    CHECK(play.master->report().label_holder_alone_test.empty());
    CHECK(!play.master->report().train.empty());
}

TEST_CASE("dataset_size takes the first common ids") {
    Play play{World{}};
    play.config.data.dataset_size = 50;
    play.config.data.test_fraction = 0;
    REQUIRE(play.play().code == Errc::ok);
    CHECK(play.master->report().rows_train == 50);
    CHECK(play.master->report().parties[1].rows_matched > 150);
}

TEST_CASE("a cross-validation tests every row with a model that has not seen it") {
    World world;
    world.task = GENERATE(vflbus::Task::logistic, vflbus::Task::linear, vflbus::Task::softmax);
    world.solver = GENERATE(config::Solver::lbfgs, config::Solver::sgd);
    world.folds = 4;
    CAPTURE(config::name_of(world.task), config::name_of(world.solver));
    Play play(world);
    play.config.data.stratify = true;
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    const observe::RunReport& report = play.master->report();
    REQUIRE(report.folds.size() == 4);
    CHECK(report.test.empty());
    CHECK(report.rows_test == 0);
    CHECK(report.rows_train == report.rows_common);
    std::uint64_t tested = 0;
    std::uint64_t steps = 0;
    for (const observe::FoldReport& fold : report.folds) {
        tested += fold.rows_test;
        steps += fold.steps;
        CHECK(fold.rows_train + fold.rows_test == report.rows_common);
        CHECK(fold.rows_test >= report.rows_common / 4);
        CHECK(fold.test.size() == report.train.size());
        CHECK(fold.label_holder_alone.size() == report.train.size());
    }
    CHECK(tested == report.rows_common);
    CHECK(report.steps > steps);
    const std::string csv = play.out_of_fold();
    CHECK(static_cast<std::uint64_t>(std::ranges::count(csv, '\n')) == report.rows_common + 1);
    CHECK(csv.starts_with("id,fold,prediction"));
    // the model that is kept is that of a run without test rows
    World plain = world;
    plain.folds = 0;
    Play whole(plain);
    whole.config.data.test_fraction = 0;
    REQUIRE(whole.play().code == Errc::ok);
    for (std::size_t p = 0; p <= world.members; ++p)
        CHECK(play.part(p).weights == whole.part(p).weights);
    CHECK(play.part(0).intercept == whole.part(0).intercept);
    const observe::Metrics& train = whole.master->report().train;
    REQUIRE(report.train.size() == train.size());
    for (std::size_t i = 0; i < train.size(); ++i) CHECK(report.train[i] == train[i]);
}

TEST_CASE("a member begins no more trainings than the run has") {
    World world;
    world.folds = GENERATE(0, 3);
    Play play(world);
    std::vector<Bytes> begins;
    std::size_t steps = 0;  // of the last training
    bool refused = false;
    auto& harness = play.set();
    harness.on_request = [&](std::size_t member, Message& request) {
        const MessageType type = request.metadata.message_type;
        if (member == 1 && type == message::begin) begins.push_back(request.content);
        if (member != 1 || type != message::step || refused) return true;
        if (begins.size() != world.folds + 1 || ++steps < 2) return true;
        const auto reply = harness.ask(1, message::begin, begins.back());
        refused = !reply && reply.error().code == Errc::handler_failed &&
                  reply.error().sentence.find("begin") != std::string::npos;
        return true;
    };
    const Ending ending = play.play();
    INFO(ending.sentence);
    CHECK(ending.code == Errc::ok);
    CHECK(refused);
    CHECK(begins.size() == world.folds + 1);
}

TEST_CASE("a fold is what a run with these test rows is") {
    World world;
    world.folds = 3;
    Play play(world);
    REQUIRE(play.play().code == Errc::ok);
    // the rows of fold 1 become a test table, those of the others the training table
    std::istringstream csv(play.out_of_fold());
    std::vector<std::size_t> train;
    std::vector<std::size_t> test;
    std::string line;
    std::getline(csv, line);
    while (std::getline(csv, line)) {
        const std::size_t comma = line.find(',');
        const std::size_t row = std::stoul(line.substr(1, comma));  // of "u12"
        (line.substr(comma + 1).starts_with("1,") ? test : train).push_back(row);
    }
    REQUIRE(test.size() == play.master->report().folds.front().rows_test);
    World plain = world;
    plain.folds = 0;
    Play alone(plain);
    alone.config.data.test_fraction = 0;
    for (std::size_t p = 0; p <= world.members; ++p) {
        alone.tables[p][TableKind::train] = std::make_shared<data::Table>(world.table(p, train));
        alone.tables[p][TableKind::test] = std::make_shared<data::Table>(world.table(p, test));
    }
    REQUIRE(alone.play().code == Errc::ok);
    const observe::FoldReport& fold = play.master->report().folds.front();
    CHECK(fold.test == alone.master->report().test);
    CHECK(fold.train == alone.master->report().train);
    CHECK(fold.label_holder_alone == alone.master->report().label_holder_alone_test);
}

TEST_CASE("folds that cannot be are refused before anything is trained") {
    World world;
    world.rows = 60;
    world.folds = 59;
    Play play(world);
    play.config.data.stratify = true;
    const Ending ending = play.play();
    CHECK(ending.code == Errc::bad_config);
    CHECK(ending.sentence.find("more than the smallest class has rows") != std::string::npos);
    CHECK(play.master->report().reason.find("but class ") != std::string::npos);

    world.task = vflbus::Task::linear;
    world.folds = 61;
    Play many(world);
    CHECK(many.play().code == Errc::bad_config);
    CHECK(many.master->report().reason.find("is more than the ") != std::string::npos);

    world.folds = 3;
    Play tables(world);
    for (std::size_t p = 0; p <= world.members; ++p)
        tables.tables[p][TableKind::test] = tables.tables[p][TableKind::train];
    CHECK(tables.play().code == Errc::bad_config);
    CHECK(tables.master->report().reason.find("use one of the two") != std::string::npos);
}

TEST_CASE("one round trip per step") {
    Play play{World{}};
    play.config.data.test_fraction = 0;
    REQUIRE(play.play().code == Errc::ok);
    // per member: align train and test, select, begin, the steps, the last commit, evaluate,
    // finish, release
    CHECK(play.harness->pushed == 2 * (play.master->report().steps + 8));
}

TEST_CASE("check joins, echoes and aligns") {
    Play play{World{}};
    auto made = make_check_master(play.master_options());
    REQUIRE(made);
    auto* check = made->get();
    REQUIRE(play.set(std::move(*made)).run().code == Errc::ok);
    REQUIRE(check->checked().size() == 3);
    CHECK(check->common() > 150);
    CHECK(check->common_test() == 0);
    CHECK(check->checked()[1].version == "0.1.0");
    CHECK(check->checked()[1].rows == play.world.order(1, 1).size());
    CHECK(check->checked()[1].match_rate > 0.5);
    CHECK(check->checked()[1].match_rate <= 1);
    CHECK(check->checked()[2].round_trip_min > Duration::zero());
    CHECK(check->checked()[2].round_trip_min <= check->checked()[2].round_trip_median);
    CHECK(play.env.files.empty());
}

TEST_CASE("plain alignment shows ids as they are, says so, and comes to the same model") {
    World world;
    world.rows = 60;
    const auto trained = [&](config::Alignment alignment, std::string& sent, std::string& said) {
        Play play(world);
        play.config.data.alignment = alignment;
        play.config.data.id_salt = "salt";
        auto& harness = play.set();
        harness.on_reply_hook = [&](std::size_t, Message& reply) {
            if (reply.metadata.message_type == message::align)
                sent.append(reply.content.begin(), reply.content.end());
            return true;
        };
        REQUIRE(play.play().code == Errc::ok);
        for (const std::string& line : play.log) said += line + "\n";
        for (const std::string& line : play.member_log) said += line + "\n";
        std::vector<double> weights;
        for (std::size_t p = 0; p <= world.members; ++p)
            for (const double weight : play.part(p).weights) weights.push_back(weight);
        return weights;
    };
    std::string plain_sent, plain_said, hashed_sent, hashed_said;
    const auto plain = trained(config::Alignment::plain, plain_sent, plain_said);
    const auto hashed = trained(config::Alignment::hashed, hashed_sent, hashed_said);
    CHECK(plain == hashed);
    for (const char* const id : {"u17", "u42"}) {
        CHECK(plain_sent.find(id) != std::string::npos);
        CHECK(hashed_sent.find(id) == std::string::npos);
    }
    CHECK(plain_said.find("alignment \"plain\": the master sees all ids of every member") !=
          std::string::npos);
    CHECK(plain_said.find("ids, as they are, of its") != std::string::npos);
    CHECK(hashed_said.find("as they are") == std::string::npos);
}

TEST_CASE("plain ids that are not as long as they say are refused, by the member's name") {
    World world;
    world.rows = 40;
    Play play(world);
    play.config.data.alignment = config::Alignment::plain;
    auto& harness = play.set();
    const auto size = GENERATE(0xffu, 0x7fffffffu);
    harness.on_reply_hook = [&](std::size_t, Message& reply) {
        if (reply.metadata.message_type != message::align) return true;
        // the length of the first id, behind the array, the flag and the head of the bytes
        const auto at = std::ranges::search(reply.content, std::string_view("u")).begin();
        for (int byte = 0; byte < 4; ++byte)
            *(at - 4 + byte) = static_cast<std::uint8_t>(size >> (8 * byte));
        return true;
    };
    const Ending ending = play.play();
    CHECK(ending.code == Errc::malformed_message);
    CHECK(ending.sentence.find("member-") != std::string::npos);
}
