// What `vflbus data inspect` and `vflbus data split` are made of.

#include <fstream>
#include <sstream>

#include "data/inspect.hpp"
#include "data/vertical_split.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;
using Catch::Matchers::Contains;

namespace {

std::string content(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

SourceOptions table(const Scratch& scratch, std::string_view text) {
    SourceOptions options;
    options.location = scratch.write(text);
    return options;
}

}  // namespace

TEST_CASE("a table is described column by column") {
    const Scratch scratch;
    const auto found = inspect(table(scratch,
                                     "customer_id;age;city;same;gone;day\n"
                                     "a;1;Kiel;5;;2024-01-01\n"
                                     "b;2;Ulm;5;;2024-01-02\n"
                                     "c;;Kiel;5;;2024-01-03\n"
                                     "d;5;;5;;2024-01-04\n"),
                               {}, 64);
    REQUIRE(found);
    CHECK(found->rows == 4);
    CHECK(found->id == "customer_id");
    CHECK(found->columns.front().use == "the record id");
    REQUIRE(found->columns.size() == 6);
    const ColumnSummary& age = found->columns[1];
    CHECK(age.kind == "number");
    CHECK(age.missing == 1);
    CHECK(age.distinct == 3);
    CHECK(age.low == 1);
    CHECK(age.high == 5);
    CHECK(age.histogram == std::vector<std::uint64_t>{1, 0, 1, 0, 0, 0, 0, 0, 0, 1});
    const ColumnSummary& city = found->columns[2];
    CHECK(city.kind == "category");
    CHECK(city.common.front() == std::pair<std::string, std::uint64_t>{"Kiel", 2});
    CHECK(city.use == "2 features of 0 and 1");
    CHECK(found->columns[3].use == "left out: it is constant");
    CHECK(found->columns[4].use == "left out: no cell is there");
    CHECK(found->columns[5].kind == "date (ymd)");
    REQUIRE_FALSE(found->notes.empty());
    CHECK_THAT(found->notes[0], Contains("separator"));
    const auto declared =
        inspect(table(scratch, "a,b\n1,2\n3,4\n"), {{"b", DeclaredKind::ignore}}, 64);
    REQUIRE(declared);
    CHECK(declared->columns[1].use == "not read: it is declared to be ignored");
}

TEST_CASE("the record id of a table is no fraction and not in the middle of a word") {
    const auto id_of = [](const std::string& text) {
        const Scratch scratch;
        const auto found = inspect(table(scratch, text), {}, 64);
        REQUIRE(found);
        return found->id;
    };
    CHECK(id_of("kunde;width;z\nk1;1.5;1\nk2;2.5;1\n") == "kunde");
    CHECK(id_of("kunde;umsatz\nk1;1.5\nk2;1.5\n") == "kunde");
    CHECK(id_of("valid;userId\n1;7\n2;8\n") == "userId");
    CHECK(id_of("ID;name\n1;a\n2;b\n") == "ID");
    CHECK(id_of("x;Kunden-Id\n1.5;7\n2.5;8\n") == "Kunden-Id");
    CHECK(id_of("width;z\n1.5;1\n2.5;1\n").empty());
}

TEST_CASE("a table is cut into those of several parties, cell by cell as it was") {
    const Scratch scratch;
    VerticalSplitOptions options;
    options.source = table(scratch,
                           "id;y;a;b;c\n"
                           "u1;1;1,5;\"x;y\";007\n"
                           "u2;0;2,5;\"say \"\"hi\"\"\";8\n");
    options.labels = {"y"};
    options.out_dir = scratch.path / "parts";
    const auto split = split_vertically(options);
    REQUIRE(split);
    CHECK(split->id == "id");
    CHECK_FALSE(split->ids_made);
    REQUIRE(split->parts.size() == 2);
    CHECK(content(split->parts[0].file) ==
          "id;y;a;b\nu1;1;1,5;\"x;y\"\nu2;0;2,5;\"say \"\"hi\"\"\"\n");
    CHECK(content(split->parts[1].file) == "id;c\nu1;007\nu2;8\n");
    // a party's file may lie elsewhere
    std::filesystem::rename(split->parts[1].file, scratch.path / "elsewhere");
    std::filesystem::create_symlink("../elsewhere", split->parts[1].file);
    REQUIRE(split_vertically(options));
    CHECK(std::filesystem::is_symlink(split->parts[1].file));
    CHECK(content(scratch.path / "elsewhere") == "id;c\nu1;007\nu2;8\n");
}

TEST_CASE("rows without an id are numbered, and others may lack some of them") {
    const Scratch scratch;
    std::string text = "a,b\n";
    for (int i = 0; i < 1000; ++i) text += std::to_string(i) + "," + std::to_string(-i) + "\n";
    VerticalSplitOptions options;
    options.source = table(scratch, text);
    options.out_dir = scratch.path;
    options.overlap = 0.5;
    const auto split = split_vertically(options);
    REQUIRE(split);
    CHECK(split->ids_made);
    CHECK(split->parts[0].rows == 1000);
    CHECK(split->parts[1].rows > 400);
    CHECK(split->parts[1].rows < 600);
    CHECK_THAT(content(split->parts[0].file), Contains("\n1000,999\n"));
}

TEST_CASE("pictures are cut from the left to the right") {
    const Scratch scratch;
    VerticalSplitOptions options;
    // two rows of three pixels, two channels each
    options.source = table(scratch,
                           "id,y,a0,a1,b0,b1,c0,c1,d0,d1,e0,e1,f0,f1\n"
                           "u,9,1,2,3,4,5,6,7,8,9,10,11,12\n");
    options.labels = {"y"};
    options.image = ImageShape{2, 3, 2};
    options.out_dir = scratch.path;
    const auto split = split_vertically(options);
    REQUIRE(split);
    CHECK(content(split->parts[0].file) == "id,y,a0,a1,b0,b1,d0,d1,e0,e1\nu,9,1,2,3,4,7,8,9,10\n");
    CHECK(split->parts[0].image == ImageShape{2, 2, 2});
    CHECK(content(split->parts[1].file) == "id,c0,c1,f0,f1\nu,5,6,11,12\n");
    CHECK(split->parts[1].image == ImageShape{2, 1, 2});
    options.image = ImageShape{2, 3, 1};
    const auto other = split_vertically(options);
    REQUIRE_FALSE(other);
    CHECK(other.error().code == Errc::usage);
    CHECK_THAT(other.error().sentence,
               Contains("--image 2x3 takes 6 columns") && Contains("there are 12"));
    options.image = ImageShape{12, 1, 1};
    CHECK_THAT(split_vertically(options).error().sentence, Contains("too few for 2 parties"));
}

TEST_CASE("a split that cannot be is refused") {
    const Scratch scratch;
    VerticalSplitOptions options;
    options.out_dir = scratch.path;
    const auto refusal = [&] {
        const auto split = split_vertically(options);
        return split ? Failure{Errc::ok, "accepted"} : split.error();
    };
    options.source = table(scratch, "id,a\nu,1\n");
    CHECK_THAT(refusal().sentence, Contains("1 columns for 2 parties"));
    options.labels = {"z"};
    CHECK_THAT(refusal().sentence, Contains("--label z: there is no such column"));
    options.labels.clear();
    options.parties = 1;
    CHECK(refusal().code == Errc::usage);
    options.parties = 2;
    options.source = table(scratch, "id,a,b\nu,1,2\nv,1\n");
    CHECK_THAT(refusal().sentence, Contains("line 3: the row has 2 cells, the header 3"));
    CHECK_FALSE(std::filesystem::exists(scratch.path / "t_master.csv"));
}
