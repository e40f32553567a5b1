#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "base/rng.hpp"
#include "data/csv.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;
using Catch::Matchers::Contains;

namespace {
ReadOptions with_features(std::vector<std::string> features) {
    ReadOptions options;
    options.features = std::move(features);
    return options;
}
}  // namespace

TEST_CASE("a plain table is read by name in any order of columns") {
    const Table t = table_of("x,y,id,z\n1,0,a,10\n2.5,1,b,-3e2\n", with_labels({"y"}));
    REQUIRE(t.rows() == 2);
    CHECK(t.ids[0] == "a");
    CHECK(t.ids[1] == "b");
    REQUIRE(t.features.size() == 2);
    CHECK(t.features[0].name == "x");
    CHECK(t.features[0].numbers[1] == 2.5);
    CHECK(t.features[1].numbers[1] == -300);
    REQUIRE(t.labels.size() == 1);
    CHECK(t.labels[0].numbers[1] == 1);
    CHECK(t.place_of(1).line == 3);
}

TEST_CASE("quotes, CRLF, byte order mark, blank lines and a missing last line feed are fine") {
    const std::string rows[] = {
        "id,x,t\na,1,u v\nb,2,w\n",
        "\xef\xbb\xbfid,x,t\r\na,1,u v\r\nb,2,w\r\n",
        "id,x,t\na,1,u v\nb,2,w",
        "\n\nid,x,t\n\na,1,u v\n\r\n\nb,2,w\n\n\n",
        "\"id\",\"x\",\"t\"\n\"a\",\"1\",\"u v\"\n\"b\",\"2\",\"w\"\n",
        " id , x ,t\n a , 1 ,  \"u v\"  \nb,\t2,w \n",
        "id,x,t\r\na,1,u v\r\nb,2,w",
    };
    for (const std::string& text : rows) {
        INFO(text);
        const Table t = table_of(text);
        REQUIRE(t.rows() == 2);
        CHECK(t.ids[0] == "a");
        CHECK(t.ids[1] == "b");
        CHECK(t.features[0].numbers[0] == 1);
        CHECK(t.features[0].numbers[1] == 2);
        CHECK(t.features[1].kind == ColumnKind::text);
        CHECK(t.features[1].text(0) == "u v");
        CHECK(t.features[1].text(1) == "w");
    }
}

TEST_CASE("a quoted cell may hold commas, quotes and line feeds, and lines are counted right") {
    const Table t = table_of("id,t,x\na,\"one, \"\"two\"\"\nthree\",1\n\nb,\"\",2\nc,\"\"\"\",3\n");
    REQUIRE(t.rows() == 3);
    CHECK(t.features[0].text(0) == "one, \"two\"\nthree");
    CHECK(t.features[0].is_missing(1));
    CHECK(t.features[0].text(2) == "\"");
    CHECK(t.place_of(0).line == 2);
    CHECK(t.place_of(1).line == 5);
    CHECK(t.place_of(2).line == 6);
}

TEST_CASE("missing cells are NaN in numbers and have the missing code in texts") {
    const Table t = table_of(
        "id,x,t\n1,,\n2,NA,NA\n3,?,?\n4,NaN,nan\n5,null,NULL\n6,N/A,None\n7,#N/A,<NA>\n8, ,\" \"\n"
        "9,5,na\n");
    for (std::size_t row = 0; row < 8; ++row) {
        INFO(row);
        CHECK(std::isnan(t.features[0].numbers[row]));
        CHECK(t.features[1].is_missing(row));
    }
    CHECK(t.features[0].numbers[8] == 5);
    CHECK(t.features[1].text(8) == "na");  // not in the list
}

TEST_CASE("ids are text and keep their spelling") {
    const Table t = table_of("id,x\n1,1\n1.0,1\n007,1\nNA,1\n\" a,b \",1\n");
    CHECK(t.ids[0] == "1");
    CHECK(t.ids[1] == "1.0");
    CHECK(t.ids[2] == "007");
    CHECK(t.ids[3] == "NA");
    CHECK(t.ids[4] == "a,b");
}

TEST_CASE("dictionaries are sorted whatever the order of rows") {
    const Table t = table_of("id,t\n1,b\n2,c\n3,a\n4,b\n");
    CHECK(t.features[0].dictionary == std::vector<std::string>{"a", "b", "c"});
    CHECK(t.features[0].codes[0] == 1);
    CHECK(t.features[0].codes[3] == 1);
}

TEST_CASE("chosen and excluded columns") {
    ReadOptions exclude;
    exclude.exclude = {"b"};
    CHECK(table_of("id,a,b,c\n1,1,x,3\n", exclude).features.size() == 2);
    const Table t = table_of("id,a,b,c\n1,1,x,3\n", with_features({"c", "a"}));
    REQUIRE(t.features.size() == 2);
    CHECK(t.features[0].name == "a");  // in the order of the file
    const Table labels = table_of("p,id,q\n1,a,2\n", with_labels({"q", "p"}));
    CHECK(labels.labels[0].name == "q");
    CHECK(labels.labels[1].numbers[0] == 1);
    CHECK(labels.features.empty());
}

TEST_CASE("a column without a name is left out and said so") {
    const Table t = table_of(",id,x\n0,a,1\n1,b,2\n");
    CHECK(t.features.size() == 1);
    REQUIRE(t.left_out.size() == 1);
    CHECK(t.left_out[0].name == "column 1");
}

TEST_CASE("numeric when nine tenths of the first cells are numbers") {
    std::string nine = "id,x\n", eight = "id,x\n";
    for (int i = 0; i < 10; ++i) {
        nine += "r" + std::to_string(i) + (i == 7 ? ",oops\n" : ",1\n");
        eight += "r" + std::to_string(i) + (i >= 8 ? ",oops\n" : ",1\n");
    }
    CHECK(refusal(nine) ==
          "t.csv, line 9, column 'x': 'oops' is not a number as the rest of the column is; correct "
          "it, leave the cell empty or exclude the column");
    CHECK(table_of(eight).features[0].kind == ColumnKind::text);
}

TEST_CASE("a column without a cell in the sample is decided by what comes") {
    std::string head = "id,x,y\n";
    for (int i = 0; i < 10'001; ++i) head += std::to_string(i) + ",,\n";
    const Table numbers = table_of(head + "a,4,\n");
    CHECK(numbers.features[0].kind == ColumnKind::numeric);
    CHECK(numbers.features[0].numbers[10'001] == 4);
    CHECK(numbers.features[1].kind == ColumnKind::numeric);
    const Table texts = table_of(head + "a,4,\nb,four,\n");
    CHECK(texts.features[0].kind == ColumnKind::text);
    CHECK(texts.features[0].text(10'001) == "4");
    CHECK(texts.features[0].text(10'002) == "four");
}

TEST_CASE("a text of too many values is left out, a label of too many is refused") {
    std::string many = "id,t,x\n";
    for (std::size_t i = 0; i <= text_values_max; ++i)
        many += std::to_string(i) + ",v" + std::to_string(i) + ",1\n";
    const Table t = table_of(many);
    CHECK(t.features.size() == 1);
    REQUIRE(t.left_out.size() == 1);
    CHECK(t.left_out[0].name == "t");
    CHECK(t.left_out[0].reason == "more than 10000 different texts");
    CHECK_THAT(refusal(many, with_labels({"t"})), Contains("column 't'"));
}

TEST_CASE("each fault in a file is one sentence with its place") {
    CHECK(refusal("") ==
          "t.csv is empty; its first line must name the columns, separated by commas");
    CHECK_THAT(refusal("\n\r\n"), Contains("is empty"));
    CHECK(refusal("id,x\n") == "t.csv has a header but no rows");
    CHECK(refusal("id,x,x\n1,2,3\n") ==
          "t.csv, line 1: columns 2 and 3 are both named 'x'; rename one");
    CHECK(refusal("id,x\na,1\nb,2,3\n") ==
          "t.csv, line 3: the row has 3 or more cells, the header names 2 columns; add what is "
          "missing, or put text with commas in quotes");
    CHECK_THAT(refusal("id,x\na,1\nb\n"), Contains("line 3: the row has 1 cells"));
    CHECK(refusal("id,x\na,1\n ,2\n") ==
          "t.csv, line 3, column 'id': the id is empty; every row needs one, or set "
          "data.missing_id to "
          "\"skip\"");
    CHECK_THAT(refusal("id,x\na,\"1\nb,2\n"), Contains("line 2: a quote in the row that begins"));
    CHECK_THAT(refusal("id,t\na,5\" wide\nb,6\" wide\n"),
               Contains("line 2, column 't': a quote inside an unquoted cell"));
    CHECK_THAT(refusal("id,t\na,\"x\"y\n"), Contains("line 2, column 't'"));
    CHECK_THAT(refusal("i\"d\",t\na,b\n"), Contains("line 1: the header has a quote"));
    // far down, after a cell of several lines
    CHECK_THAT(refusal("id,t,x\na,\"1\n2\n3\",1\nb,c,1\nc,d,1\nd,e,1\ne,f,1\nf,g,1\ng,h,1\nh,i,1\n"
                       "i,j,1\nj,k,zwölf\n"),
               Contains("line 13, column 'x': 'zwölf' is not a number"));
}

TEST_CASE("columns that are not there or make no sense are named") {
    ReadOptions id;
    id.id = "idd";
    CHECK(refusal("id,x\na,1\n", id) ==
          "t.csv, line 1: there is no column 'idd' for the id; did you mean 'id'?");
    CHECK_THAT(refusal("id,xylophone\na,1\n", with_labels({"quux"})),
               Contains("no column 'quux' for a label; the file has 'id' and 'xylophone'"));
    CHECK_THAT(refusal("id,age\na,1\n", with_features({"agee"})), Contains("did you mean 'age'?"));
    CHECK_THAT(refusal("id,x\na,1\n", with_labels({"id"})),
               Contains("column 'id' cannot be both the id and a label"));
    CHECK_THAT(refusal("id,x\na,1\n", with_features({"x", "x"})), Contains("listed twice"));
    ReadOptions both = with_features({"x"});
    both.exclude = {"x"};
    CHECK_THAT(refusal("id,x\na,1\n", both), Contains("cannot be both a feature and excluded"));
    ReadOptions unknown;
    unknown.exclude = {"nothing"};
    CHECK_THAT(refusal("id,x\na,1\n", unknown), Contains("'nothing'"));
}

TEST_CASE("what is not a readable file is said with the party") {
    ReadOptions options;
    options.location = "/nonexistent/bank.csv";
    options.id = "id";
    options.party = "master";
    auto table = data::read(options);
    REQUIRE_FALSE(table);
    CHECK(table.error().code == Errc::io);
    CHECK(table.error().sentence ==
          "master: /nonexistent/bank.csv cannot be opened: No such file or directory");
    const Scratch scratch;
    options.location = scratch.path.string();
    table = data::read(options);
    REQUIRE_FALSE(table);
    CHECK_THAT(table.error().sentence, Contains("not a regular file"));
    options.location = (scratch.path / "pipe").string();
    REQUIRE(::mkfifo(options.location.c_str(), 0600) == 0);
    table = data::read(options);  // and does not wait for a writer
    REQUIRE_FALSE(table);
    CHECK_THAT(table.error().sentence, Contains("not a regular file"));
}

namespace {
/// About 12 MB: three chunks.
std::string large_file(bool faulty) {
    Rng rng(3);
    std::string text = "id,a,t,b,wide\n";
    const char* const words[] = {"north", "south", "\"east, or\nwest\"", "", "\"say \"\"hi\"\"\""};
    for (int i = 0; i < 130'000; ++i) {
        text += "id" + std::to_string(i) + "," + std::to_string(rng.below(1000)) + "." +
                std::to_string(rng.below(1000)) + "," + words[rng.below(5)] + ",";
        if (faulty && (i == 60'000 || i == 120'000))
            text += "broken" + std::to_string(i);
        else if (rng.below(10) != 0)
            text += std::to_string(rng.uniform());
        text += "," + std::string(50 + rng.below(20), 'x') + "\n";
    }
    return text;
}
}  // namespace

TEST_CASE("the result and the first fault do not depend on the number of threads") {
    const Scratch scratch;
    ReadOptions options;
    options.id = "id";
    options.location = scratch.write(large_file(false));
    std::uint64_t done = 0;
    options.threads = 1;
    const auto one = data::read(options, [&](std::uint64_t bytes, std::uint64_t total) {
        CHECK(bytes > done);
        CHECK(bytes <= total);
        done = bytes;
    });
    REQUIRE(one);
    CHECK(done > 8'000'000);
    for (const unsigned threads : {2U, 5U}) {
        options.threads = threads;
        const auto more = data::read(options);
        REQUIRE(more);
        REQUIRE(more->rows() == one->rows());
        REQUIRE(more->features.size() == 4);
        bool same = more->lines == one->lines;
        for (std::size_t row = 0; row < one->rows(); ++row) {
            same &= more->ids[row] == one->ids[row];
            for (std::size_t c = 0; c < 4; ++c)
                same &= more->features[c].text(row) == one->features[c].text(row);
        }
        CHECK(same);
        CHECK(more->features[1].dictionary == one->features[1].dictionary);
    }
    options.location = scratch.write(large_file(true));
    options.threads = 1;
    const std::string sentence = data::read(options).error().sentence;
    CHECK_THAT(sentence, Contains("'broken60000'"));
    options.threads = 4;
    for (int i = 0; i < 3; ++i) CHECK(data::read(options).error().sentence == sentence);
}

TEST_CASE("the columns are known before the rows are read") {
    const Scratch scratch;
    const auto source = open_source({scratch.write("\xef\xbb\xbfid,\"a, b\",c\n\"never closed\n")});
    REQUIRE(source);
    CHECK((*source)->columns() == std::vector<std::string>{"id", "a, b", "c"});
    CHECK_FALSE((*source)->read({}));
    CHECK_FALSE(open_source({scratch.write("")}));
}

TEST_CASE("a source is read again, with other columns and as it is then") {
    const Scratch scratch;
    const auto source = open_source({scratch.write("id,x,y\na,1,2\n")});
    REQUIRE(source);
    TableRequest request;
    request.labels = {"y"};
    const auto one = (*source)->read(request);
    REQUIRE(one);
    CHECK(one->features.size() == 1);
    request.labels.clear();
    const auto two = (*source)->read(request);
    REQUIRE(two);
    CHECK(two->features.size() == 2);
}

TEST_CASE("a source that was refused is refused again, with the same words") {
    const Scratch scratch;
    // the last character was cut off: no encoding is near
    const auto source = open_source({scratch.write("\xef\xbb\xbfid,a\n1,x\n2,\xcd")});
    REQUIRE(source);
    const auto first = (*source)->read({});
    REQUIRE_FALSE(first);
    CHECK_FALSE((*source)->for_each_row([](std::span<const std::string_view>) {}));
    const auto again = (*source)->read({});
    REQUIRE_FALSE(again);
    CHECK(again.error().sentence == first.error().sentence);
}

TEST_CASE("others are not told what stands in the table") {
    const auto told = [](std::string_view text, ReadOptions options = {}) {
        options.party = "member-0";
        const Failure failure = failure_of(text, std::move(options));
        CHECK(failure.party == "member-0");
        CHECK_THAT(failure.sentence, Contains("secret"));
        CHECK_THAT(failure.for_others, !Contains("secret"));
        CHECK_THAT(failure.for_others, Contains("member-0: t.csv"));
        return failure.for_others;
    };
    std::string cell = "id,secret\n";
    for (int i = 0; i < 20; ++i) cell += std::to_string(i) + ",1\n";
    CHECK(told(cell + "a,secret\n") ==
          "member-0: t.csv, line 22, column 2: a cell is not a number as the rest of the column "
          "is; correct it, leave the cell empty or exclude the column");
    CHECK(told("secret,x,secret\n1,2,3\n") ==
          "member-0: t.csv, line 1: columns 1 and 3 have the same name; rename one");
    CHECK_THAT(told("secret,x\n1,2\n"), Contains("a column for the id is not there"));
    CHECK_THAT(told("id,secret\n1,\"2\"3\n"), Contains("line 2, column 2: a quote"));
    CHECK_THAT(told("id,x\n1,2\n", with_labels({"secret"})),
               Contains("a column for a label is not there"));
    CHECK_THAT(told("id,secret\n1,2\n", with_features({"secret", "secret"})),
               Contains("a column is listed twice as a feature"));
}

TEST_CASE("a kind of source that is not there is said, with those that are") {
    const auto source = open_source({"oracle:scott@tiger", "master"});
    REQUIRE_FALSE(source);
    CHECK(source.error().code == Errc::bad_config);
    CHECK_THAT(
        source.error().sentence,
        Contains("there is no kind of source 'oracle'; there is file: (the path of a file, or "));
    const Scratch scratch;
    scratch.write("id,x\na,1\n", "ten:one.csv");
    CHECK(open_source({(scratch.path / "ten:one.csv").string()}));
    CHECK(open_source({"file:" + (scratch.path / "ten:one.csv").string()}));
}

TEST_CASE("the place of a row is its line in the file") {
    const Table t = table_of("id,t\na,\"1\n2\"\n\nb,3\n");
    CHECK(t.place_of(0).line == 2);
    CHECK(t.place_of(1).line == 5);
    CHECK_THAT(t.place_of(1).text(), Contains("t.csv, line 5"));
    CHECK(Place{"p", "a/b.csv", 3, "x", 2}.text() == "p: a/b.csv, line 3, column 'x'");
    CHECK(Place{"p", "a/b.csv", 3, "x", 2}.text_for_others() == "p: b.csv, line 3, column 2");
    CHECK(Place{"p", "exec:psql -W secret"}.text_for_others() == "p: the output of its command");
}

// -- whose decimal mark counts ------------------------------------------------------------

namespace {

/// Rows 1 to 12 of ids and these amounts, again and again.
std::string amounts(std::initializer_list<const char*> cells) {
    std::string text = "id;betrag\n";
    for (int row = 0; row < 12; ++row)
        text +=
            std::to_string(row) + ";" + cells.begin()[row % static_cast<int>(cells.size())] + "\n";
    return text;
}

bool told(const Table& table, const std::string& what) {
    return std::ranges::any_of(
        table.notes, [&](const std::string& note) { return note.find(what) != std::string::npos; });
}

}  // namespace

TEST_CASE("a table that shows no decimal mark has that of the training table") {
    const Table train = table_of(amounts({"3.456,78", "12,5", "1.234,00"}));
    CHECK(train.features[0].decimal == ',');
    CHECK(train.features[0].numbers[0] == 3456.78);
    CHECK_FALSE(told(train, "without the signs"));
    ReadOptions as_trained;
    as_trained.known = known_columns(train);
    as_trained.format.usual_decimal = usual_decimal(as_trained.known);
    const Table whole = table_of(amounts({"1.234", "12.500"}), as_trained);
    CHECK(whole.features[0].numbers[0] == 1234);
    CHECK(told(whole, "as in the training table"));
    // one that shows its own mark keeps it
    const Table other = table_of(amounts({"1234.5", "12.25"}), as_trained);
    CHECK(other.features[0].numbers[0] == 1234.5);
    const Table same = table_of(amounts({"1.234,00", "99,50"}), as_trained);
    CHECK(same.features[0].numbers[0] == 1234);
    CHECK_FALSE(told(same, "without the signs"));
    // a decimal point is no silent choice either
    as_trained.format.usual_decimal = '.';
    const Table points = table_of(amounts({"850", "1.234"}), as_trained);
    CHECK(points.features[0].numbers[1] == 1.234);
    CHECK(told(points, "numbers such as 1.234 have a decimal point"));
}

TEST_CASE("what may be thousands or fractions is decided by what is beside it, and told") {
    const Table thousands = table_of(amounts({"850", "1.234"}));
    CHECK(thousands.features[0].numbers[1] == 1234);
    CHECK(told(thousands, "digits in groups"));
    const Table open = table_of(amounts({"1.234", "2.345"}));
    CHECK(open.features[0].numbers[0] == 1.234);
    CHECK(told(open, "numbers such as 1.234 have a decimal point"));
    CHECK_FALSE(told(table_of(amounts({"1.5", "2.345"})), "decimal"));
    CHECK_FALSE(told(table_of(amounts({"850", "12"})), "decimal"));
}

TEST_CASE("a column of dates with a cell that is none says which") {
    std::string text = "id,d\n";
    for (int day = 1; day <= 28; ++day)
        text +=
            std::to_string(day) + ",2024-03-" + (day < 10 ? "0" : "") + std::to_string(day) + "\n";
    const Table bad = table_of(text + "29,2023-02-30\n");
    CHECK(bad.features[0].kind == ColumnKind::text);
    CHECK(told(bad, "not all cells are dates: 'd' ('2023-02-30' on line 30)"));
    CHECK(table_of(text).features[0].date == DateForm::ymd);
}
