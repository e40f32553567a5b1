#include <cstdlib>
#include <limits>

#include "catch.hpp"
#include "observe/table.hpp"

using namespace vflbus::observe;

TEST_CASE("a table aligns its columns and has no trailing blanks") {
    Table table({{"party"}, {"rows", Align::right}, {"note"}});
    table.add({"master", "10,000", "labels"}).add({"member-0", "9"});
    CHECK(table.text() ==
          "party       rows  note\n"
          "master    10,000  labels\n"
          "member-0       9\n");
    CHECK(table.rows() == 2);
}

TEST_CASE("a table counts code points, not bytes") {
    Table table({{"column"}, {"n", Align::right}});
    table.add({"größe", "1"}).add({"alter", "22"});
    CHECK(table.text() == "column   n\ngröße    1\nalter   22\n");
}

TEST_CASE("a table that is too wide cuts its widest column") {
    Table table({{"party"}, {"reason"}});
    table.add({"member-0", std::string(200, 'x')});
    const std::string text = table.text(40);
    CHECK(text == "party     reason\nmember-0  " + std::string(29, 'x') + "…\n");
}

TEST_CASE("in a window that is too narrow for its columns a row becomes lines") {
    Table table({{"RUN"}, {"STATUS"}, {"ROWS", Align::right}, {"LABEL"}});
    table.add({"1f0c9a33", "completed", "10,000", "the first one of them all"})
        .add({"77aa01bc", "failed"});
    CHECK(table.text(28) ==
          "RUN     1f0c9a33\n"
          "STATUS  completed\n"
          "ROWS    10,000\n"
          "LABEL   the first one of th…\n"
          "\n"
          "RUN     77aa01bc\n"
          "STATUS  failed\n");
    Table alone({{"of the test rows"}, {"of the training"}, {"alone"}});
    alone.add({"0.6930", "0.6982", "0.7"});
    CHECK(alone.text(16) ==
          "of the    0.6930\n"
          "test\n"
          "rows\n"
          "of the    0.6982\n"
          "training\n"
          "alone     0.7\n");
    CHECK(table.text(28, true).starts_with("\x1b[1mRUN   \x1b[0m  1f0c9a33\n"));
}

TEST_CASE("two long titles with one beginning can be told apart in a narrow window") {
    Table table(
        {{"metric"}, {"label holder alone, train"}, {"label holder alone, test", Align::right}});
    table.add({"auc", "0.6930", "0.6982"});
    CHECK(table.text(26) ==
          "metric  label        label\n"
          "        holder      holder\n"
          "        alone,      alone,\n"
          "        train         test\n"
          "auc     0.6930      0.6982\n");
}

TEST_CASE("nothing is cut in a pipe") {
    Table table({{"party"}, {"reason"}});
    table.add({"member-0", std::string(5000, 'x')});
    CHECK(table.text(table_not_cut).find("…") == std::string::npos);
}

TEST_CASE("facts are broken at blanks and never cut") {
    const Facts facts{{"run", std::string(32, 'a')}, {"reason", "member-1 is gone"}, {"x", ""}};
    CHECK(facts_text(facts, 80) ==
          "run     " + std::string(32, 'a') + "\nreason  member-1 is gone\nx\n");
    CHECK(facts_text(facts, 20) ==
          "run     " + std::string(32, 'a') + "\nreason  member-1 is\n        gone\nx\n");
    CHECK(facts_text({{"a", "b\x1b[2J"}}, 80, 10) == "a         b?[2J\n");
}

TEST_CASE("colours are for who wants them") {
    const auto set = [](const char* name, const char* value) {
        if (value == nullptr)
            ::unsetenv(name);
        else
            ::setenv(name, value, 1);
    };
    set("TERM", "xterm");
    set("NO_COLOR", nullptr);
    CHECK(colors_wanted());
    set("NO_COLOR", "");
    CHECK(colors_wanted());
    set("NO_COLOR", "1");
    CHECK_FALSE(colors_wanted());
    set("NO_COLOR", nullptr);
    set("TERM", "dumb");
    CHECK_FALSE(colors_wanted());
    set("TERM", "xterm");
}

TEST_CASE("cells from files cannot steer a terminal") {
    Table table({{"column"}});
    table.add({"a\x1b[2Jb\nc\x7F"});
    CHECK(table.text() == "column\na?[2Jb?c?\n");
}

TEST_CASE("only the header is bold, and only when asked") {
    Table table({{"a"}});
    table.add({"1"});
    CHECK(table.text(100, true) == "\x1b[1ma\x1b[0m\n1\n");
    CHECK(table.text(100, false) == "a\n1\n");
    CHECK(Table({}).text().empty());
}

TEST_CASE("cut keeps code points whole") {
    CHECK(wrapped("run 1f0c9a33 completed: logistic", 20) == "run 1f0c9a33\ncompleted: logistic");
    CHECK(wrapped("short", 20) == "short");
    CHECK(cut("abc", 3) == "abc");
    CHECK(cut("abcd", 3) == "ab…");
    CHECK(cut("äöüß", 3) == "äö…");
    CHECK(cut("äöü", 3) == "äöü");
    CHECK(cut("abc", 1) == "…");
    CHECK(cut("abc", 0).empty());
    CHECK(display_width("äö…") == 3);
}

TEST_CASE("numbers are grouped in threes") {
    CHECK(grouped(0) == "0");
    CHECK(grouped(999) == "999");
    CHECK(grouped(1000) == "1,000");
    CHECK(grouped(1234567) == "1,234,567");
    CHECK(grouped(std::numeric_limits<std::uint64_t>::max()) == "18,446,744,073,709,551,615");
}

TEST_CASE("metrics show four decimals, and the exponent where those would hide them") {
    CHECK(metric_text(0) == "0.0000");
    CHECK(metric_text(0.72224) == "0.7222");
    CHECK(metric_text(-0.5) == "-0.5000");
    CHECK(metric_text(0.000123456) == "1.235e-04");
    CHECK(metric_text(123456789.0) == "1.235e+08");
    CHECK(metric_text(std::numeric_limits<double>::quiet_NaN()) == "-");
    CHECK(metric_text(-std::numeric_limits<double>::infinity()) == "-inf");
}
