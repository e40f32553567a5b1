#include "data/labels.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;
using Catch::Matchers::Contains;

namespace {
std::string refusal_of(const std::string& text, Task task,
                       std::vector<std::string> columns = {"y"}) {
    const Table t = table_of(text, with_labels(std::move(columns)));
    const auto coding = fit_labels(t, task, all_rows(t));
    if (coding) return "accepted";
    CHECK(coding.error().code == Errc::bad_data);
    return coding.error().sentence;
}

struct Coded {
    LabelCoding coding;
    Labels labels;
};
Coded coded(const std::string& text, Task task, std::vector<std::string> columns = {"y"}) {
    const Table t = table_of(text, with_labels(std::move(columns)));
    auto coding = fit_labels(t, task, all_rows(t));
    if (!coding) FAIL(coding.error().sentence);
    auto labels = encode_labels(t, *coding, all_rows(t));
    if (!labels) FAIL(labels.error().sentence);
    return {std::move(*coding), std::move(*labels)};
}
}  // namespace

TEST_CASE("linear labels are the numbers") {
    const Coded c = coded("id,y\na,1.5\nb,-2\n", Task::linear);
    CHECK(c.labels.values == std::vector<double>{1.5, -2});
    CHECK(c.coding.outputs() == 1);
}

TEST_CASE("of two classes the larger or later one is positive") {
    const Coded coded_numbers = coded("id,y\na,10\nb,-9\nc,10\n", Task::logistic);
    CHECK(coded_numbers.labels.values == std::vector<double>{1, 0, 1});
    CHECK(coded_numbers.coding.classes[0] == std::vector<std::string>{"-9", "10"});
    const Coded texts = coded("id,y\na,yes\nb,no\n", Task::logistic);
    CHECK(texts.labels.values == std::vector<double>{1, 0});
    CHECK(class_counts(coded_numbers.coding, coded_numbers.labels)[0] ==
          std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("multilabel codes each column, row by row") {
    const Coded c = coded("id,y,z\na,0,u\nb,1,u\nc,1,v\n", Task::multilabel, {"z", "y"});
    CHECK(c.labels.values == std::vector<double>{0, 0, 0, 1, 1, 1});
    CHECK(c.coding.output_names() == std::vector<std::string>{"z", "y"});
    CHECK(class_counts(c.coding, c.labels)[1] == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("softmax classes are sorted by value when they are numbers") {
    const Coded coded_numbers = coded("id,y\na,10\nb,9\nc,1.0\nd,9\n", Task::softmax);
    CHECK(coded_numbers.coding.classes[0] == std::vector<std::string>{"1", "9", "10"});
    CHECK(coded_numbers.labels.classes == std::vector<std::uint32_t>{2, 1, 0, 1});
    const Coded texts = coded("id,y\na,10\nb,9\nc,x\nd,y\ne,z\n", Task::softmax);
    CHECK(texts.coding.classes[0] == std::vector<std::string>{"10", "9", "x", "y", "z"});
    CHECK(texts.coding.outputs() == 5);
    CHECK(class_counts(coded_numbers.coding, coded_numbers.labels)[0] ==
          std::vector<std::uint64_t>{1, 2, 1});
}

TEST_CASE("labels that cannot be learned are refused with the reason") {
    CHECK_THAT(refusal_of("id,y\na,1\nb,1\n", Task::logistic),
               Contains("label 'y': every row has the same class '1'"));
    CHECK_THAT(refusal_of("id,y\na,u\nb,u\n", Task::softmax), Contains("the same class 'u'"));
    CHECK_THAT(refusal_of("id,y\na,1\nb,\nc,0\nd,\n", Task::logistic),
               Contains("2 of 4 rows have no label, the first on line 3"));
    CHECK_THAT(refusal_of("id,y\na,\nb,1\n", Task::linear), Contains("1 of 2 rows have no label"));
    CHECK_THAT(
        refusal_of("id,y\na,1\nb,2\nc,3\n", Task::logistic),
        Contains("needs two classes, but there are 3: '1', '2' and '3'; set task to softmax"));
    CHECK_THAT(refusal_of("id,y,z\na,1,1\nb,2,2\nc,2,3\n", Task::multilabel, {"y", "z"}),
               Contains("label 'z'") && Contains("needs two classes"));
    CHECK_THAT(refusal_of("id,y\na,1.5\nb,1.5\n", Task::linear),
               Contains("every row has the same value '1.5'; there is nothing to learn"));
    CHECK_THAT(refusal_of("id,y\na,u\nb,v\n", Task::linear), Contains("holds text such as 'u'"));
    CHECK_THAT(refusal_of("id,y\na,1\n", Task::logistic, {}), Contains("no label column is named"));
    CHECK_THAT(refusal_of("id,y,z\na,1,1\n", Task::softmax, {"y", "z"}),
               Contains("task softmax needs one label column, not 2"));
    std::string many = "id,y\n";
    for (std::size_t i = 0; i <= classes_max; ++i)
        many += std::to_string(i) + "," + std::to_string(i) + ".5\n";
    CHECK_THAT(refusal_of(many, Task::softmax), Contains("more than 1000 different values"));
}

TEST_CASE("a class that training did not know is refused with its line") {
    const Table train = table_of("id,y\na,1\nb,0\n", with_labels({"y"}));
    const auto coding = fit_labels(train, Task::logistic, all_rows(train));
    const Table test = table_of("id,y\na,1\nb,2\n", with_labels({"y"}));
    const auto labels = encode_labels(test, *coding, all_rows(test));
    REQUIRE_FALSE(labels);
    CHECK_THAT(labels.error().sentence,
               Contains("the class '2' on line 3 is one that training did not know"));
    const Table other = table_of("id,x\na,1\n");
    CHECK_THAT(encode_labels(other, *coding, all_rows(other)).error().sentence,
               Contains("has no label column 'y'"));
}

TEST_CASE("only the rows in use count") {
    const Table t = table_of("id,y\na,1\nb,\nc,0\nd,7\n", with_labels({"y"}));
    CHECK(fit_labels(t, Task::logistic, std::vector<std::uint32_t>{0, 2}));
    CHECK_FALSE(fit_labels(t, Task::logistic, std::vector<std::uint32_t>{}));
}
