// launch --data: one's own files, without a configuration.

#include <cmath>
#include <filesystem>
#include <functional>
#include <sstream>

#include "base/json.hpp"
#include "catch.hpp"
#include "parties.hpp"

using namespace proc;
namespace {

/// Two tables about 120 people; column y of the second one is as `label` says.
void make_tables(const TempDir& dir, const std::function<std::string(int)>& label) {
    std::string left = "id,a,b\n";
    std::string right = "c,y,id\n";
    for (int i = 0; i < 120; ++i) {
        left +=
            std::to_string(i) + "," + std::to_string(i % 7) + "," + std::to_string(i % 11) + "\n";
        right +=
            std::to_string(i % 5) + "," + label(i) + "," + std::to_string((i + 40) % 120) + "\n";
    }
    spit(dir / "left.csv", left);
    spit(dir / "right.csv", right);
}

Finished train_files(const TempDir& dir, const Words& more) {
    Words words{"launch", "--local", "--data", "left.csv", "--data", "right.csv", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return run(dir, words);
}

}  // namespace

TEST_CASE("folds are shown one by one, with their mean and deviation; one model is kept",
          "[own_files]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::string(i % 3 == 0 ? "yes" : "no"); });
    const Finished json = train_files(dir, {"--label", "y", "--folds", "4"});
    INFO(json.err);
    REQUIRE(json.exit_code == 0);
    const Json report = Json::parse(json.out);
    const Json& folds = report["cross_validation"]["folds"];
    REQUIRE(folds.size() == 4);
    double sum = 0;
    double squares = 0;
    for (const Json& fold : folds) {
        CHECK(fold["rows_test"] == 30);  // ten of the 40 "yes"
        const double loss = fold["metrics"]["test"]["loss"].get<double>();
        sum += loss;
        squares += loss * loss;
    }
    const double mean = sum / 4;
    CHECK(report["cross_validation"]["mean"]["loss"].get<double>() == Approx(mean));
    CHECK(report["cross_validation"]["deviation"]["loss"].get<double>() ==
          Approx(std::sqrt(squares / 4 - mean * mean)).margin(1e-9));
    CHECK(report["rows"]["train"] == 120);
    const fs::path own = fs::path(dir / "runs") / report["run_id"].get<std::string>() / "master";
    CHECK(fs::exists(own / "model.json"));
    CHECK(slurp(own / "out_of_fold.csv").starts_with("id,fold,prediction,probability_yes\n"));
    CHECK(Json::parse(slurp(own.parent_path() / "report.json"))["cross_validation"] ==
          report["cross_validation"]);

    const Finished table = run(dir, {"launch", "--local", "--data", "left.csv", "--data",
                                     "right.csv", "--label", "y", "--folds", "4"});
    CHECK(table.out.find("\nfold ") != std::string::npos);
    CHECK(table.out.find("\nmean ") != std::string::npos);
    CHECK(table.out.find("\ndeviation ") != std::string::npos);
    CHECK(table.out.find("the model that is kept was") != std::string::npos);

    for (const auto& [value, sentence] :
         {std::pair<std::string, std::string>{"1", "data.folds = 1 is no cross-validation"},
          {"41", "class yes has 40 rows"},
          {"-2", "must be an integer from 0 to 1000"}}) {
        const Finished refused = train_files(dir, {"--label", "y", "--folds", value});
        CHECK(refused.exit_code == 2);
        INFO(refused.err);
        CHECK(refused.err.find(sentence) != std::string::npos);
    }
}

TEST_CASE("the task is guessed from the label", "[own_files]") {
    const std::map<std::string, std::function<std::string(int)>> labels{
        {"logistic", [](int i) { return std::string(i % 3 == 0 ? "yes" : "no"); }},
        {"softmax", [](int i) { return std::to_string(1 + i % 4); }},
        {"linear", [](int i) { return std::to_string(i % 37) + ".5"; }}};
    for (const auto& [task, label] : labels) {
        INFO(task);
        const TempDir dir;
        make_tables(dir, label);
        const Finished finished = train_files(dir, {"--label", "y"});
        INFO(finished.err);
        REQUIRE(finished.exit_code == 0);
        const Json report = Json::parse(finished.out);
        CHECK(report["task"] == task);
        CHECK(report["parties"].size() == 2);
        CHECK(report["rows"]["common"] == 120);
        CHECK(report["rows"]["test"].get<int>() > 5);
        CHECK(finished.err.find("task " + task) != std::string::npos);
        // the configuration that was made can be used again
        const std::string directory = "runs/" + report["run_id"].get<std::string>();
        const std::string saved = directory + "/vflbus.toml";
        CHECK(finished.err.find(directory + "; its configuration is vflbus.toml there") !=
              std::string::npos);
        const Finished again = run(dir, {"launch", "--threads", "--config", saved, "--json"});
        INFO(again.err);
        REQUIRE(again.exit_code == 0);
        CHECK(Json::parse(again.out)["metrics"]["test"] == report["metrics"]["test"]);
    }
}

TEST_CASE("columns are what the configuration declares them to be", "[own_files][columns]") {
    const TempDir dir;
    std::string bank = "id,zip_home,zip_work,score,joined,memo,agent,y\n";
    std::string shop = "id,cell\n";
    for (int i = 0; i < 200; ++i) {
        const std::string n = std::to_string(i);
        bank += n + "," + std::to_string(10 + i % 4) + "," + std::to_string(20 + i % 3) + "," +
                std::to_string(i % 17) + " %," + std::to_string(1 + i % 9) + ".0" +
                std::to_string(1 + i % 8) + ".2024,note " + n + "," + std::to_string(i % 5) + "," +
                (i * 7 % 10 < 5 ? "1" : "0") + "\n";
        shop += n + "," + std::to_string(i % 6) + "\n";
    }
    spit(dir / "bank.csv", bank);
    spit(dir / "shop.csv", shop);
    spit(dir / "my.toml",
         "[data]\ntest_fraction = 0.2\n"
         "[party.master]\ndata = \"bank.csv\"\nlabel = \"y\"\n"
         "[party.master.columns]\n\"zip*\" = \"category\"\nscore = \"number\"\njoined = "
         "\"date-dmy\"\n"
         "memo = \"text\"\nagent = \"ignore\"\n"
         "[party.member-0]\ndata = \"shop.csv\"\ncolumns = { cell = \"category\" }\n");
    const Finished trained =
        run(dir, {"launch", "--local", "--config", "my.toml", "--run-id", run_id});
    INFO(trained.err);
    REQUIRE(trained.exit_code == 0);
    const auto kinds = [&](const std::string& party) {
        const Json part =
            Json::parse(slurp(dir / ("runs/" + run_id + "/" + party + "/model.json")));
        std::map<std::string, std::string> found;
        for (std::size_t i = 0; i < part["columns"].size(); ++i)
            found[part["columns"][i]["name"].get<std::string>()] =
                part["columns"][i].find("categories") == nullptr ? "number" : "category";
        return found;
    };
    CHECK(kinds("master") == std::map<std::string, std::string>{{"joined", "number"},
                                                                {"score", "number"},
                                                                {"zip_home", "category"},
                                                                {"zip_work", "category"}});
    CHECK(kinds("member-0") == std::map<std::string, std::string>{{"cell", "category"}});

    spit(dir / "my.toml", replaced(slurp(dir / "my.toml"), "\"date-dmy\"", "\"dates\""));
    const Finished wrong = run(dir, {"launch", "--local", "--config", "my.toml"});
    CHECK(wrong.exit_code == 2);
    CHECK(wrong.err.find("my.toml:6: party.master.columns makes \"joined\" a \"dates\"") !=
          std::string::npos);
    spit(dir / "my.toml", replaced(slurp(dir / "my.toml"), "joined = \"dates\"",
                                   "zip_home = \"number\"\nmemo2 = \"number\""));
    const Finished absent = run(dir, {"launch", "--local", "--config", "my.toml"});
    INFO(absent.err);
    CHECK(absent.exit_code != 0);
    CHECK(absent.err.find("memo2") != std::string::npos);
}

TEST_CASE("a table comes from every kind of source, in training and in prediction",
          "[own_files][sources]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return i * 7 % 5 < 2 ? "yes" : "no"; });
    const std::string left = slurp(dir / "left.csv");
    const std::string header = left.substr(0, left.find('\n') + 1);
    const std::size_t half = left.find('\n', left.size() / 2) + 1;
    spit(dir / "part-1.csv", left.substr(0, half));
    spit(dir / "part-2.csv", header + left.substr(half));
    spit(dir / "tool.sh", "cat \"$1\"\n");

    const auto trained = [&](const std::string& source) {
        const Words words{"--data", source, "--data", "right.csv"};
        Words training{"launch", "--local", "--label", "y", "--json"};
        training.insert(training.end(), words.begin(), words.end());
        // standard input is that of the shell that calls the program
        const Words with_input{"sh", "-c", "\"$@\" < left.csv", "sh"};
        Process process(dir, training, {}, with_input);
        const Finished finished = process.wait();
        INFO(source << ": " << finished.err);
        REQUIRE(finished.exit_code == 0);
        const Json report = Json::parse(finished.out);
        CHECK(report["rows"]["common"] == 120);
        Words prediction{"predict", "--local", "--out",
                         "-",       "--model", report["run_id"].get<std::string>()};
        const Words reversed{"--data", "right.csv", "--data", source};
        prediction.insert(prediction.end(), reversed.begin(), reversed.end());
        Process predict(dir, prediction, {}, with_input);
        const Finished predicted = predict.wait();
        INFO(predicted.err);
        REQUIRE(predicted.exit_code == 0);
        return std::pair{report["metrics"].dump(), predicted.out};
    };
    const auto plain = trained("left.csv");
    CHECK(plain.second.find("probability_yes") != std::string::npos);
    for (const char* const source : {"-", "exec:sh tool.sh left.csv", "part-*.csv"}) {
        const auto other = trained(source);
        CHECK(other.first == plain.first);
        CHECK(other.second == plain.second);
    }
    // what cannot be read twice is kept with the run, for its owner only
    bool kept = false;
    for (const auto& entry : fs::directory_iterator(dir / "runs")) {
        const fs::path file = entry.path() / "data" / "standard_input";
        if (!fs::exists(file)) continue;
        kept = true;
        CHECK(slurp(file) == left);
        CHECK((fs::status(file).permissions() & fs::perms::others_all) == fs::perms::none);
    }
    CHECK(kept);

    Process twice(dir, {"launch", "--local", "--label", "a", "--data", "-", "--data", "-"}, {},
                  {"sh", "-c", "\"$@\" < left.csv", "sh"});
    const Finished refused = twice.wait();
    INFO(refused.err);
    CHECK(refused.exit_code == 2);
    CHECK(refused.err.find("are all standard input (-), which can be read once") !=
          std::string::npos);
    const Finished broken =
        train_files(dir, {"--label", "y", "--data", "exec:echo no >&2; exit 3"});
    INFO(broken.err);
    CHECK(broken.exit_code == 3);
    CHECK(broken.err.find("ended with code 3: no") != std::string::npos);
}

TEST_CASE("ids that hardly match are shown by their shapes, never themselves", "[own_files][ids]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::to_string(i % 2); });
    // the left side as a spreadsheet has it; five people are written as on the right side
    std::string padded = "id,a\n";
    for (int i = 0; i < 120; ++i)
        padded += (i < 5 ? "" : "0000") + std::to_string(i) + "," + std::to_string(i % 7) + "\n";
    spit(dir / "left.csv", padded);
    const Finished few = train_files(dir, {"--label", "y", "--set", "data.test_fraction=0"});
    INFO(few.err);
    CHECK(few.err.find("few ids match: 5 are both among master's 120 (4.2 %) and member-0's 120 "
                       "(4.2 %); they differ in shape: master has 1 to 3 digits, none with leading "
                       "zeros; member-0 has 1 to 7 digits, most with leading zeros; choose other "
                       "columns with --id") != std::string::npos);
    CHECK(few.err.find("0000") == std::string::npos);

    spit(dir / "left.csv", replaced(padded, "\n0,0\n1,1\n2,2\n3,3\n4,4\n", "\n"));
    const Finished none = train_files(dir, {"--label", "y"});
    INFO(none.err);
    CHECK(none.exit_code == 3);
    CHECK(none.err.find("no id is common to all parties") != std::string::npos);
    CHECK(none.err.find("member-0 has 5 to 7 digits, all with leading zeros") != std::string::npos);
}

TEST_CASE("a label or a match of which nothing can be learned is told as what it is",
          "[own_files]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::to_string(i % 2); });
    spit(dir / "left.csv", "id,a\n0,1\nother,2\n");
    const Finished one = train_files(dir, {"--label", "y"});
    INFO(one.err);
    CHECK(one.exit_code == 3);
    CHECK(one.err.find("only one row is common to all parties") != std::string::npos);
    CHECK(one.err.find("same class") == std::string::npos);

    make_tables(dir, [](int) { return std::string("1"); });
    const Finished constant = train_files(dir, {"--label", "y"});
    INFO(constant.err);
    CHECK(constant.exit_code == 3);
    CHECK(constant.err.find("label 'y': every row has the same value '1'; there is nothing to "
                            "learn") != std::string::npos);
}

TEST_CASE("each guess about a file is said, with what changes it", "[own_files][guesses]") {
    const TempDir dir;
    const std::string places[] = {"K\xF6ln", "Ulm", "Bonn"};  // Latin-1
    std::string bank = "Unnamed: 0;kunde;preis;betrag;plz;beginn;wann;stadt;fest;y\n";
    std::string shop = "kunde,u\n";
    for (int i = 0; i < 100; ++i) {
        const std::string n = std::to_string(i);
        const std::string digit = std::to_string(1 + i % 8);
        bank += n + ";k" + n + ";" + (i % 9 == 0 ? "" : std::to_string(i % 7) + ",5") + ";1.23" +
                digit + ".567;" + (i % 2 == 0 ? "0" : "1") + "100" + digit + ";1" + digit + "." +
                "0" + digit + ".2024;0" + digit + "/0" + digit + "/2024;" + places[i % 3] + ";1;" +
                (i * 7 % 10 < 5 ? "ja" : "nein") + "\n";
        shop += "k" + n + "," + digit + "\n";
    }
    spit(dir / "left.csv", bank);
    spit(dir / "right.csv", shop);
    Process process(
        dir, {"launch", "--local", "--data", "left.csv", "--data", "right.csv", "--label", "y"});
    const Finished finished = process.wait();
    INFO(finished.err << finished.out);
    REQUIRE(finished.exit_code == 0);
    // docs/data.md has the same list
    for (const char* const said :
         {"record ids are in column kunde, the only one that all files have; --id",
          "task logistic: label column y has the two values 'ja' and 'nein'; --task",
          "a fifth of the common ids is kept for the test (data.test_fraction)",
          "its text is taken for windows-1252 (encoding)", "cells are separated by ';' (separator)",
          "numbers have a decimal comma (decimal)",
          "numbers have their digits in groups: 'betrag' (thousands)",
          "numbers with leading zeros are taken for codes, that is categories: 'plz' (columns",
          "dates become days since 1970: 'beginn' (columns",
          "dates of which day and month cannot be told apart are taken for categories: 'wann' "
          "(columns",
          "left out, because it is an index column of pandas: 'Unnamed: 0'",
          "left out, because it is constant on the training rows: 'fest'",
          "missing numbers are filled with the training mean: 'preis'",
          "'stadt' (data.one_hot_max)"}) {
        INFO(said);
        CHECK(finished.err.find(said) != std::string::npos);
    }
    CHECK(finished.out.find("(party.master.positive chooses)") != std::string::npos);
}

TEST_CASE("how a file is written may be stated before its columns are known",
          "[own_files][guesses]") {
    // what a guess makes of the label holder's file has no column y
    const TempDir dir;
    std::string bank = "id,a;b;c;d;e,y\n";
    std::string shop = "id|u,v|x\n";
    for (int i = 0; i < 60; ++i) {
        const std::string n = std::to_string(i);
        bank +=
            n + "," + std::to_string(i % 7) + ";0;1;" + n + ";1," + std::to_string(i % 2) + "\n";
        shop += n + "|" + std::to_string(i % 5) + ",5|" + std::to_string(i % 3) + "\n";
    }
    spit(dir / "left.csv", shop);
    spit(dir / "right.csv", bank);
    const Finished guessed = train_files(dir, {"--label", "y"});
    const Finished stated = train_files(dir, {"--label", "y", "--set", "party.master.separator=,",
                                              "--set", "party.member-0.separator=|"});
    INFO(guessed.err << stated.err);
    CHECK(guessed.exit_code == 3);
    REQUIRE(stated.exit_code == 0);
    CHECK(stated.err.find("cells are separated") == std::string::npos);
    CHECK(Json::parse(stated.out)["parties"][1]["features"] == 2);
}

TEST_CASE("record ids are in the one column that all files have", "[own_files]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::to_string(i % 2); });
    for (const char* const file : {"left.csv", "right.csv"})
        spit(dir / file, replaced(slurp(dir / file), "id", "customer"));
    const Finished finished = train_files(dir, {"--label", "y"});
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    CHECK(finished.err.find("record ids are in column customer") != std::string::npos);
    CHECK(Json::parse(finished.out)["rows"]["common"] == 120);

    // of two such columns neither is taken
    spit(dir / "left.csv", replaced(slurp(dir / "left.csv"), "a,b", "a,c"));
    const Finished refused = train_files(dir, {"--label", "y"});
    CHECK(refused.exit_code == 3);
    CHECK(refused.err.find("all files have customer and c; say with --id") != std::string::npos);
    CHECK(train_files(dir, {"--label", "y", "--id", "customer"}).exit_code == 0);
}

TEST_CASE("without a common column the names of rows that pandas and R write are the ids",
          "[own_files]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::to_string(i % 2); });
    spit(dir / "left.csv", replaced(slurp(dir / "left.csv"), "id,", ","));
    std::string right = "\"\",\"c\",\"y\"\n";
    for (int i = 0; i < 120; ++i)
        right += "\"" + std::to_string(119 - i) + "\"," + std::to_string(i % 5) + "," +
                 std::to_string(i % 2) + "\n";
    spit(dir / "right.csv", right);
    const Finished finished = train_files(dir, {"--label", "y"});
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    CHECK(finished.err.find("record ids are in the first column of each file, which has no name") !=
          std::string::npos);
    const Json report = Json::parse(finished.out);
    CHECK(report["rows"]["common"] == 120);
    const std::string id = report["run_id"].get<std::string>();
    const std::string ids = slurp(fs::path(dir / "runs") / id / "master" / "test_ids.csv");
    CHECK(ids.starts_with("@index\n"));
    // the model reads new rows alike
    const Finished predicted = run(dir, {"predict", "--local", "--model", id, "--data", "right.csv",
                                         "--data", "left.csv", "--json"});
    INFO(predicted.err);
    CHECK(predicted.exit_code == 0);
    // where one of the files has no such column, nothing is guessed
    spit(dir / "left.csv", "a,b\n1,2\n");
    CHECK(train_files(dir, {"--label", "y"}).exit_code == 3);
}

TEST_CASE("LIBSVM texts and matrices train by row number, each with all its columns",
          "[own_files]") {
    const TempDir dir;
    // a matrix of 60 rows and 2 columns of float64
    std::string head = "{'descr': '<f8', 'fortran_order': False, 'shape': (60, 2), }";
    head += std::string(117 - head.size(), ' ') + '\n';
    std::string matrix = std::string("\x93NUMPY\x01\x00\x76\x00", 10) + head;
    std::string text;
    for (int row = 0; row < 60; ++row) {
        for (const double cell : {row % 7 - 3.0, row % 2 * 1.0})
            matrix.append(reinterpret_cast<const char*>(&cell), sizeof cell);
        text += std::to_string(row % 3 == 0) + " 1:" + std::to_string(row % 5) +
                " 2:" + std::to_string(row % 4) + "\n";
    }
    spit(dir / "a.svm", text);
    spit(dir / "b.npy", matrix);
    const auto features = [&](const std::string& member, const std::string& label) {
        const Finished done =
            run(dir, {"launch", "--threads", "--json", "--data", "a.svm", "--data", member,
                      "--label", label, "--id", "@row", "--task", "linear"});
        INFO(done.err);
        REQUIRE(done.exit_code == 0);
        return Json::parse(done.out)["parties"][1]["features"].get<int>();
    };
    CHECK(features("b.npy", "label") == 2);
    CHECK(features("b.npy", "x1") == 2);  // which is another column than its own x1
    CHECK(features("a.svm", "label") == 2);
}

TEST_CASE("what --set says of rows and columns counts when the task is guessed",
          "[own_files][guesses]") {
    const TempDir dir;
    std::string bank = "id,a,y,price\n";
    std::string shop = "id,u\n";
    for (int i = 1; i <= 90; ++i) {
        const std::string n = std::to_string(i);
        bank += (i % 9 == 0 ? "" : n) + "," + std::to_string(i % 7) + "," +
                (i % 10 == 0  ? ""
                 : i % 3 == 0 ? "yes"
                              : "no") +
                ",\"$1,0" + std::to_string(10 + i % 80) + ".5\"\n";
        shop += n + "," + std::to_string(i % 5) + "\n";
    }
    spit(dir / "left.csv", bank);
    spit(dir / "right.csv", shop);
    const Words skip{"--set", "data.missing_id=skip", "--set", "data.missing_label=skip"};
    const Finished skipped = train_files(dir, with({"--label", "y"}, skip));
    INFO(skipped.err);
    REQUIRE(skipped.exit_code == 0);
    CHECK(Json::parse(skipped.out)["task"] == "logistic");
    CHECK(Json::parse(skipped.out)["rows"]["common"] == 72);  // 90 - 10 - 9 + 1

    const Finished named = train_files(dir, with({"--label", "price"}, skip));
    CHECK(named.exit_code == 3);
    CHECK(named.err.find("are numbers with signs around them; declare the column \"number\" "
                         "(party.master.columns)") != std::string::npos);
    const Finished declared = train_files(
        dir, with({"--label", "price", "--set", "party.master.columns=price=number"}, skip));
    INFO(declared.err);
    REQUIRE(declared.exit_code == 0);
    CHECK(Json::parse(declared.out)["task"] == "linear");

    const Finished numbered = train_files(
        dir, {"--label", "y", "--set", "data.id=@row", "--set", "data.missing_label=skip"});
    INFO(numbered.err);
    REQUIRE(numbered.exit_code == 0);
    CHECK(Json::parse(numbered.out)["rows"]["common"] == 81);
}

TEST_CASE("a dash among numbers is a missing one, and a loss in parentheses is said",
          "[own_files][guesses]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::to_string(i % 2); });
    std::string left = "id,a,b,profit\n";
    for (int i = 0; i < 120; ++i) {
        const std::string n = std::to_string(i % 11);
        left += std::to_string(i) + "," + (i % 4 == 0 ? "-" : std::to_string(i % 7)) + "," + n +
                "," + (i % 3 == 0 ? "(" + n + ")" : n) + "\n";
    }
    spit(dir / "left.csv", left);
    const Finished finished = train_files(dir, {"--label", "y", "--set", "data.test_fraction=0"});
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    const Json report = Json::parse(finished.out);
    CHECK(report["parties"][1]["missing_cells"] == 30);
    const std::string log =
        slurp(fs::path(dir / "runs") / report["run_id"].get<std::string>() / "member-0" / "log");
    INFO(log);
    CHECK(log.find("dashes and points alone are taken for missing numbers: 'a' (30 cells)") !=
          std::string::npos);
    CHECK(log.find("amounts with signs around them are taken for categories: 'profit' ('(0)' on "
                   "line 2) (columns: \"number\" reads them)") != std::string::npos);
}

TEST_CASE("--label may be an array, as in a configuration", "[own_files]") {
    const TempDir dir;
    const Finished made = run(dir, {"data", "synth", "--task", "multilabel", "--out", "m", "--rows",
                                    "300", "--labels", "2"});
    REQUIRE(made.exit_code == 0);
    const auto trained = [&](const Words& more) {
        Words words{"launch", "--threads",     "--json", "--data",     "m/bank.csv",
                    "--data", "m/telecom.csv", "--id",   "customer_id"};
        words.insert(words.end(), more.begin(), more.end());
        const Finished finished = run(dir, words);
        INFO(finished.err);
        REQUIRE(finished.exit_code == 0);
        return Json::parse(finished.out);
    };
    const Json apart = trained({"--label", "default", "--label", "late_30_days"});
    const Json array = trained({"--label", "[\"default\", \"late_30_days\"]"});
    CHECK(array["task"] == "multilabel");
    CHECK(array["metrics"] == apart["metrics"]);
}

TEST_CASE("--task and --set say otherwise", "[own_files]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::to_string(i % 4); });
    const Finished finished =
        train_files(dir, {"--label", "y", "--task", "linear", "--set", "data.test_fraction=0"});
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    const Json report = Json::parse(finished.out);
    CHECK(report["task"] == "linear");
    CHECK(report["rows"]["test"] == 0);
}

TEST_CASE("a label column in another file is not a feature", "[own_files]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::to_string(i % 2); });
    std::string left = "id,a,y\n";
    for (int i = 0; i < 120; ++i)
        left += std::to_string((i + 40) % 120) + "," + std::to_string(i % 7) + "," +
                std::to_string(i % 2) + "\n";
    spit(dir / "left.csv", left);
    const Finished finished = train_files(dir, {"--label", "y"});
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    // the first file with the label is the master's
    CHECK(finished.err.find("right.csv has the label column y as well") != std::string::npos);
    const Json report = Json::parse(finished.out);
    CHECK(report["parties"][1]["features"] == 1);
}

TEST_CASE("the positive class is named, and can be chosen", "[own_files]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::string(i % 5 < 2 ? "good" : "bad"); });
    const Finished usual = train_files(dir, {"--label", "y"});
    INFO(usual.err);
    REQUIRE(usual.exit_code == 0);
    CHECK(Json::parse(usual.out)["positive_class"] == "good");
    const Finished chosen =
        train_files(dir, {"--label", "y", "--set", "party.master.positive=bad"});
    INFO(chosen.err);
    REQUIRE(chosen.exit_code == 0);
    CHECK(Json::parse(chosen.out)["positive_class"] == "bad");
    const Finished text =
        run(dir, {"launch", "--local", "--data", "left.csv", "--data", "right.csv", "--label", "y",
                  "--set", "party.master.positive=bad"});
    CHECK(text.out.find("class bad, whose probability is predicted") != std::string::npos);
    const Finished wrong = train_files(dir, {"--label", "y", "--set", "party.master.positive=bed"});
    CHECK(wrong.exit_code == 3);
    CHECK(wrong.err.find("the classes are 'bad' and 'good' (party.master.positive)") !=
          std::string::npos);
}

TEST_CASE("rows are weighted by a column of the label holder", "[own_files]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::to_string(i % 5 * 3 + (i + 40) % 120 % 7) + ".5"; });
    // a row's weight is 1 or 0: who weighs nothing has a label far from all others
    std::istringstream lines(slurp(dir / "right.csv"));
    std::string line, weighted = "w,";
    for (int i = -1; std::getline(lines, line); ++i) {
        if (i >= 0) weighted += i % 10 == 0 ? "0," : "1,";
        if (i >= 0 && i % 10 == 0) line = replaced(line, ".5", "000.5");
        weighted += line + "\n";
    }
    spit(dir / "right.csv", weighted);
    const Words usual{"--label", "y", "--task", "linear", "--set", "data.test_fraction=0"};
    Words with = usual;
    with.insert(with.end(), {"--set", "party.master.sample_weight=w"});
    const Finished plain = train_files(dir, usual);
    const Finished chosen = train_files(dir, with);
    INFO(plain.err << chosen.err);
    REQUIRE(plain.exit_code == 0);
    REQUIRE(chosen.exit_code == 0);
    CHECK(Json::parse(plain.out)["parties"][0]["features"] == 2);
    const Json report = Json::parse(chosen.out);
    CHECK(report["parties"][0]["features"] == 1);
    CHECK(report["converged"] == true);
    const std::string part =
        slurp(dir / ("runs/" + report["run_id"].get<std::string>() + "/master/model.json"));
    // y is about 3 c + a + .5: the mean over the rows that count is near 9.5, not thousands
    CHECK(std::abs(Json::parse(part)["intercept"][0].get<double>()) < 50);

    with.insert(with.end(), {"--set", "model.solver=sequential"});
    const Finished sequential = train_files(dir, with);
    CHECK(sequential.exit_code == 2);
    CHECK(sequential.err.find("sample_weight has no meaning") != std::string::npos);
    spit(dir / "right.csv", replaced(slurp(dir / "right.csv"), "\n1,", "\n-1,"));
    const Finished negative = train_files(dir, Words(with.begin(), with.end() - 2));
    CHECK(negative.exit_code == 3);
    CHECK(negative.err.find("the weight of the row is below 0") != std::string::npos);
}

TEST_CASE("test rows have each class in its share, and their ids are told", "[own_files]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::string(i % 6 == 0 ? "rare" : "usual"); });
    const Finished finished = train_files(dir, {"--label", "y"});
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    const Json report = Json::parse(finished.out);
    CHECK(report["rows"]["test"] == 24);
    const std::string listed =
        slurp(dir / ("runs/" + report["run_id"].get<std::string>() + "/master/test_ids.csv"));
    int rare = 0, all = -1;  // the first line names the column
    std::istringstream lines(listed);
    for (std::string line; std::getline(lines, line); ++all)
        if (all >= 0) rare += (std::stoi(line) + 80) % 120 % 6 == 0;
    CHECK(all == 24);
    CHECK(rare == 4);
}

TEST_CASE("what is left out is named at home and counted elsewhere", "[own_files]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::to_string(i % 2); });
    std::string left = "id;a;secret_constant\n";
    for (int i = 0; i < 120; ++i)
        left += std::to_string(i) + ";" + std::to_string(i % 7) + ",5;1\n";
    spit(dir / "left.csv", left);
    const Finished finished = train_files(dir, {"--label", "y"});
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    const Json report = Json::parse(finished.out);
    CHECK(report["parties"][1]["left_out"][0]["columns"] == 1);
    CHECK(report["parties"][1]["left_out"][0]["reason"] == "constant on the training rows");
    CHECK(finished.out.find("secret") == std::string::npos);
    const std::filesystem::path run_dir = dir / ("runs/" + report["run_id"].get<std::string>());
    for (const char* const file : {"report.json", "master/model.json"})
        if (std::filesystem::exists(run_dir / file))
            CHECK(slurp((run_dir / file).string()).find("secret") == std::string::npos);
    const std::string log = slurp((run_dir / "member-0" / "log").string());
    CHECK(log.find("secret_constant") != std::string::npos);
    CHECK(log.find("(separator)") != std::string::npos);
}

TEST_CASE("files that do not fit are refused with the nearest column", "[own_files]") {
    const TempDir dir;
    make_tables(dir, [](int i) { return std::to_string(i % 2); });
    spit(dir / "headless.csv", "1,2.5\n2,3\n3,4\n");
    spit(dir / "titled.csv", "Sales of 2024\n\nid,z\n1,2\n2,3\n3,4\n");
    const std::vector<std::tuple<Words, int, std::string>> wrong{
        {{"--label", "yy"}, 3, "yy"},
        {{"--label", "y", "--id", "idd"}, 3, "did you mean id?"},
        {{}, 2, "--label is missing"},
        {{"--label", "y", "--config", "x.toml"}, 2, "leave --config out"},
        {{"--label", "y", "--data", "nowhere.csv"}, 3, "nowhere.csv"},
        {{"--label", "y", "--data", "headless.csv"},
         3,
         "its first line has numbers, 1 and 2.5, where the names of the columns must be"},
        {{"--label", "y", "--data", "titled.csv"},
         3,
         "its first line names one column only, Sales of 2024: the names of the columns must come"},
        {{"--label", "y", "--task", "guess"}, 2, "--task guess"}};
    for (const auto& [words, code, needle] : wrong) {
        const Finished finished = train_files(dir, words);
        INFO(finished.err);
        CHECK(finished.exit_code == code);
        CHECK(finished.err.find(needle) != std::string::npos);
        CHECK(left_behind(dir) == "");
    }
}
