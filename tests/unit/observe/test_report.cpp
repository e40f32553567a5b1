#include <cmath>
#include <limits>
#include <sstream>

#include "base/text.hpp"
#include "catch.hpp"
#include "observe/report.hpp"

using namespace vflbus;
using namespace vflbus::observe;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

RunReport example() {
    RunReport report;
    report.status = "completed";
    report.run_id = "1f0c9a33000000000000000000000000";
    report.model = "logistic";
    report.task = "logistic";
    report.protocol = "honest";
    report.seed = 18446744073709551615ULL;
    report.config_hash = "ab12";
    report.started = "2026-02-03T04:05:06Z";
    report.finished = "2026-02-03T04:05:09Z";
    PartyReport master;
    master.name = "master";
    master.role = "master";
    master.rows = 10000;
    master.rows_matched = 8123;
    master.features = 5;
    master.bytes_sent = 1 << 20;
    master.bytes_received = 2048;
    master.version = "0.1.0";
    master.host = "bank";
    master.pid = 4711;
    master.metrics_without = {{"auc", 0.61}};
    PartyReport member = master;
    member.name = "member-0";
    member.role = "member";
    member.rank = 0;
    member.rows = 9500;
    member.features = 31;
    member.missing_cells = 12;
    member.left_out = {{"comment", "text with more than 32 values"}, {"unit", "constant"}};
    report.parties = {master, member};
    report.rows_common = 8123;
    report.rows_train = 6498;
    report.rows_test = 1625;
    report.purpose = "train";
    report.experiment_label = "the first";
    report.configuration = {
        {"model.epochs", "20"}, {"model.learning_rate", "0.1"}, {"model.task", "\"logistic\""}};
    report.steps = report.steps_planned = 520;
    report.epochs = 20;
    report.train_seconds = 1.25;
    report.total_seconds = 3.5;
    report.phase_seconds = {{"gathering", 0.25}, {"training", 1.25}};
    report.evaluated = "test";
    report.train = {{"loss", 0.5}, {"auc", 0.7222}};
    report.test = {{"loss", 0.1 + 0.2}, {"auc", nan}};
    report.label_holder_alone_train = {{"auc", 0.61}};
    report.label_holder_alone_test = {{"auc", 0.6}, {"ks", 0.2}};
    report.history = {{100, 4, 0.6, "train", {{"auc", 0.7}}}, {100, 4, nan, "test", {}}};
    report.bytes_sent = 3 << 20;
    report.bytes_received = 3 << 20;
    report.model_dir = "runs/1f0c9a33000000000000000000000000/master/model";
    return report;
}

std::size_t widest(const std::string& text) {
    std::size_t width = 0;
    for (const std::string& line : split(text, '\n')) width = std::max(width, display_width(line));
    return width;
}

bool contains(const std::string& text, std::string_view piece) {
    return text.find(piece) != std::string::npos;
}

}  // namespace

TEST_CASE("a report as JSON: the keys, in their order") {
    RunReport report = example();
    report.parties.resize(1);
    report.history.resize(1);
    CHECK(
        to_json(report, -1) ==
        R"({"schema":"vflbus-report","schema_version":1,)"
        R"("status":"completed","reason":"","run_id":"1f0c9a33000000000000000000000000",)"
        R"("purpose":"train","experiment_label":"the first",)"
        R"("model":"logistic","task":"logistic","protocol":"honest","seed":18446744073709551615,)"
        R"("config_hash":"ab12","started":"2026-02-03T04:05:06Z","finished":"2026-02-03T04:05:09Z",)"
        R"("parties":[{"name":"master","role":"master","rank":null,"rows":10000,"rows_matched":8123,)"
        R"("features":5,"left_out":[],"missing_cells":0,"version":"0.1.0","host":"bank","pid":4711,)"
        R"("metrics_without":{"auc":0.61}}],)"
        R"("rows":{"common":8123,"train":6498,"test":1625,"parties":{"master":10000}},)"
        R"("steps":520,)"
        R"("steps_planned":520,)"
        R"("epochs":20,"train_seconds":1.25,"total_seconds":3.5,)"
        R"("phase_seconds":{"gathering":0.25,"training":1.25},"evaluated":"test",)"
        R"("metrics":{"train":{"loss":0.5,)"
        R"("auc":0.7222},"test":{"loss":0.30000000000000004,"auc":null},"label_holder_alone":)"
        R"({"train":{"auc":0.61},"test":{"auc":0.6,"ks":0.2}}},"history":[{"step":100,"epoch":4,)"
        R"("split":"train","loss":0.6,"metrics":{"auc":0.7}}],"bytes":{"sent":3145728,)"
        R"("received":3145728,"parties":{"master":{"sent":1048576,"received":2048}}},)"
        R"("model_dir":"runs/1f0c9a33000000000000000000000000/master/model",)"
        R"("configuration":{"model.epochs":20,"model.learning_rate":0.1,"model.task":"logistic"}})");
}

TEST_CASE("a report reads back as it was, NaN included") {
    const std::string text = to_json(example());
    const auto back = from_json(text);
    REQUIRE(back);
    CHECK(to_json(*back) == text);
    CHECK(std::isnan(back->test[1].second));
    CHECK(back->test[0].second == 0.1 + 0.2);
    CHECK(back->seed == 18446744073709551615ULL);
    CHECK_FALSE(back->parties[0].rank);
    CHECK(back->parties[1].rank == 0U);
    CHECK(back->parties[1].left_out[1].reason == "constant");
    CHECK(back->parties[1].bytes_sent == 1048576);
}

TEST_CASE("folds and positive classes read back, and the folds' mean and deviation are told") {
    RunReport report = example();
    report.positive_classes = {{"churn", "yes"}, {"default", "1"}};
    FoldReport fold;
    fold.rows_train = 60;
    fold.rows_test = 30;
    fold.steps = 12;
    fold.converged = false;
    fold.iterations = 11;
    fold.test = {{"loss", 0.25}, {"auc", 0.75}, {"auc[churn]", 0.5}};
    fold.label_holder_alone = {{"loss", 0.5}, {"auc", 0.625}};
    fold.notes = {"not converged"};
    report.folds = {fold, fold};
    report.folds[1].converged.reset();
    report.folds[1].test[1].second = 0.25;
    const std::string text = to_json(report);
    const auto back = from_json(text);
    REQUIRE(back);
    CHECK(to_json(*back) == text);
    CHECK(back->folds[0].converged == false);
    CHECK_FALSE(back->folds[1].converged);
    CHECK(back->positive_classes == report.positive_classes);
    CHECK(mean_of_folds(report.folds)[1].second == 0.5);
    CHECK(deviation_of_folds(report.folds)[1].second == 0.25);
    CHECK(deviation_of_folds(report.folds)[0].second == 0);
    const std::string table = to_table(report);
    CHECK(contains(table, "\nmean "));
    CHECK(contains(table, "\ndeviation "));
    CHECK(contains(table, "fold 1: not converged"));
    CHECK(contains(table, "class yes of churn and 1 of default"));
    CHECK_FALSE(contains(table, "auc[churn]"));
    CHECK(widest(to_table(report, 60)) <= 60);
}

TEST_CASE("a failure is told with all its fields, and read back") {
    Failure failure{Errc::peer_lost, "member-1 is gone, at step 3 of 9"};
    failure.party = "master";
    failure.phase = "training";
    failure.step = 3;
    failure.hint = "start it \"again\"";
    failure.resumable = true;
    failure.for_others = "a party is gone";
    const auto same = [&](const std::optional<Failure>& read) {
        REQUIRE(read.has_value());
        CHECK(read->code == failure.code);
        CHECK(read->sentence == failure.sentence);
        CHECK(read->party == failure.party);
        CHECK(read->phase == failure.phase);
        CHECK(read->step == failure.step);
        CHECK(read->hint == failure.hint);
        CHECK(read->resumable == failure.resumable);
        CHECK(read->for_others == failure.for_others);
    };
    same(failure_in(R"({"status": "failed", "failure": )" + to_json(failure) + "}\n"));
    RunReport report;
    report.status = "failed";
    report.run_id = "12";
    report.failure = failure;
    same(failure_in(to_json(report)));
    same(from_json(to_json(report))->failure);
    failure.step.reset();
    failure.resumable = false;
    same(failure_in(R"({"failure": )" + to_json(failure) + "}"));
}

TEST_CASE("what tells no failure is told apart from one that does") {
    for (const char* const text :
         {"", "no JSON", "[]", "{}", R"({"failure": "text"})", R"({"failure": null})",
          R"({"reason": "failure", "error": "io"})", R"({"failure": {"step": "three"}})"}) {
        CAPTURE(text);
        CHECK_FALSE(failure_in(text).has_value());
    }
    const auto later = failure_in(R"({"failure": {"error": "of_a_later_version"}})");
    REQUIRE(later.has_value());
    CHECK(later->code == Errc::internal);
    RunReport report;
    report.status = "completed";
    report.run_id = "12";
    CHECK_FALSE(failure_in(to_json(report)).has_value());
    CHECK(from_json(to_json(report))->failure.code == Errc::ok);
}

TEST_CASE("infinities are null, as JSON has none") {
    RunReport report = example();
    report.train = {{"loss", std::numeric_limits<double>::infinity()}};
    CHECK(contains(to_json(report, -1), R"("train":{"loss":null})"));
}

TEST_CASE("a path that is no UTF-8 does not keep a report from being written") {
    RunReport report = example();
    report.model_dir = "runs/\xff\xfe";
    CHECK(from_json(to_json(report)));
}

TEST_CASE("a report of another version is still read") {
    const auto report = from_json(R"({"status":"failed","run_id":"00","news":{"a":[1]}})");
    REQUIRE(report);
    CHECK(report->status == "failed");
    CHECK(report->parties.empty());
}

TEST_CASE("what is no report is refused with the place") {
    const auto sentence = [](std::string_view text) {
        const auto report = from_json(text);
        REQUIRE_FALSE(report);
        CHECK(report.error().code == Errc::bad_data);
        return report.error().sentence;
    };
    const std::string head = R"({"status":"failed","run_id":"00",)";
    CHECK(contains(sentence(""), "byte"));
    CHECK(contains(sentence(R"({"status":)"), "byte"));
    CHECK(contains(sentence("[]"), "the whole"));
    CHECK(contains(sentence(R"({"run_id":"00"})"), "\"status\""));
    CHECK(contains(sentence(R"({"status":"failed"})"), "\"run_id\""));
    CHECK(contains(sentence(R"({"status":1,"run_id":"00"})"), "\"status\""));
    CHECK(contains(sentence(head + R"("steps":-1})"), "\"steps\""));
    CHECK(contains(sentence(head + R"("steps":1.5})"), "\"steps\""));
    CHECK(contains(sentence(head + R"("rows":[]})"), "\"rows\""));
    CHECK(contains(sentence(head + R"("parties":{}})"), "\"parties\""));
    CHECK(contains(sentence(head + R"("parties":[{"name":"a"},{"name":2}]})"),
                   "\"parties[1].name\""));
    CHECK(contains(sentence(head + R"("parties":[{"rank":4294967296}]})"), "\"parties[0].rank\""));
    CHECK(contains(sentence(head + R"("metrics":{"train":{"auc":"high"}}})"),
                   "\"metrics.train.auc\""));
    CHECK(contains(sentence(head + R"("metrics":{"test":[1]}})"), "\"metrics.test\""));
}

TEST_CASE("the first line names the network, and is broken in a narrow window, never cut") {
    RunReport report = example();
    report.algorithm = "resnet";
    const std::string narrow = to_table(report, 40);
    CHECK(contains(narrow,
                   "run 1f0c9a33 completed: logistic\n(resnet), protocol honest, seed\n"
                   "18446744073709551615\n"));
    CHECK(contains(to_json(report), R"("algorithm": "resnet")"));
    report.algorithm = "linear";
    CHECK(contains(to_table(report), "completed: logistic, protocol honest"));
}

TEST_CASE("the table at the end") {
    CHECK(to_table(example()) ==
          "run 1f0c9a33 completed: logistic, protocol honest, seed 18446744073709551615\n"
          "label     the first\n"
          "\n"
          "party       rows  matched  features  missing     sent  received\n"
          "master    10,000    8,123         5        0  1.0 MiB   2.0 KiB\n"
          "member-0   9,500    8,123        31       12  1.0 MiB   2.0 KiB\n"
          "\n"
          "metric   train    test  label holder alone, train  label holder alone, test\n"
          "loss    0.5000  0.3000\n"
          "auc     0.7222       -                     0.6100                    0.6000\n"
          "ks                                                                   0.2000\n"
          "\n"
          "left out  member-0: comment (text with more than 32 values) and unit (constant)\n"
          "rows      8,123 common, 6,498 train, 1,625 test\n"
          "steps     520 in 20 epochs\n"
          "time      1.25 s training, 3.50 s in all\n"
          "bytes     3.0 MiB sent, 3.0 MiB received by all parties\n"
          "model     runs/1f0c9a33000000000000000000000000/master/model\n"
          "words     matched: rows whose id all parties have; missing: empty cells of numbers, "
          "filled with\n"
          "          their mean in training; loss: mean over the rows, without the penalty\n");
}

TEST_CASE("records that a member lacks are not called common") {
    RunReport report = example();
    CHECK(rows_text(report) == "8,123 common, 6,498 train, 1,625 test");
    report.parties[1].rows_absent = 7;
    CHECK(rows_text(report) == "8,123 of the master, 6,498 train, 1,625 test");
    CHECK(contains(to_table(report), "rows      8,123 of the master, 6,498 train, 1,625 test\n"));
    CHECK(contains(to_table(report), "matched: rows whose id the master has as well; missing:"));
}

TEST_CASE("a failed run says why, and shows what there is") {
    RunReport report;
    report.status = "failed";
    report.run_id = "1f0c9a33000000000000000000000000";
    report.model = "linear";
    report.protocol = "honest";
    report.reason = "member-1 did not come within 60 s";
    const std::string text = to_table(report);
    CHECK(contains(text, "run 1f0c9a33 failed: linear"));
    CHECK(contains(text, "reason    member-1 did not come within 60 s\n"));
    CHECK_FALSE(contains(text, "party"));
    CHECK_FALSE(contains(text, "metric"));
}

TEST_CASE("the table stays within 100 columns and steers no terminal") {
    RunReport report = example();
    report.parties[1].left_out.clear();
    for (int i = 0; i < 40; ++i)
        report.parties[1].left_out.push_back(
            {"column_" + std::to_string(i) + "\x1b[31m", "constant"});
    report.parties[0].name = std::string(64, 'n');
    report.model = std::string(150, 'm');
    report.train.emplace_back(std::string(90, 'k'), 0.5);
    const std::string text = to_table(report);
    CHECK(widest(text) <= 100);
    CHECK_FALSE(contains(text, "\x1b"));
    CHECK(contains(text, "column_7?[31m"));
    CHECK(contains(text, "32 more"));
    CHECK(contains(to_table(report, 100, true), "\x1b[1mparty"));
}
