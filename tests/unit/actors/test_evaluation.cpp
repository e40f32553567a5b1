// The file of evaluated rows: what it looks like, and that no other file is taken for one.

#include <cstring>

#include "actors/evaluation.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::actors;

namespace {

models::Matrix matrix(std::size_t rows, std::size_t cols, double first) {
    models::Matrix out(rows, cols);
    for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] = first + static_cast<double>(i);
    return out;
}

std::string example() {
    models::Labels labels;
    labels.task = vflbus::Task::multilabel;
    labels.values = matrix(3, 2, 0);
    return evaluation_npy(labels, matrix(3, 2, 10));
}

}  // namespace

TEST_CASE("evaluated rows are a matrix of numpy, labels first") {
    const std::string file = example();
    CHECK(file.starts_with(std::string("\x93NUMPY\x01\x00\x76\x00", 10) +
                           "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 4), }"));
    CHECK(file[127] == '\n');
    CHECK(file.size() == 128 + 12 * sizeof(double));
    double last = 0;
    std::memcpy(&last, file.data() + file.size() - sizeof last, sizeof last);
    CHECK(last == 15);
    const auto back = parse_evaluation(file, 4);
    REQUIRE(back);
    CHECK(back->rows() == 3);
    CHECK((*back)(2, 1) == 5);
    CHECK((*back)(0, 2) == 10);
}

TEST_CASE("a file that is none of evaluated rows is refused") {
    const std::string file = example();
    for (std::size_t bytes = 0; bytes < file.size(); ++bytes) {
        CAPTURE(bytes);
        CHECK_FALSE(parse_evaluation(std::string_view(file).substr(0, bytes), 4));
    }
    CHECK_FALSE(parse_evaluation(file + "x", 4));
    CHECK_FALSE(parse_evaluation(file, 3));
    CHECK_FALSE(parse_evaluation(file, 0));
    // numbers of rows that do not fit, however they multiply
    for (const char* const shape : {"(2, 4)", "(9, 4)", "(4611686018427387907, 4)", "(-3, 4)"}) {
        std::string other = file;
        const std::size_t at = other.find("(3, 4), }");
        const std::string tail = std::string(shape) + ", }";
        other.replace(at, tail.size(), tail);
        CAPTURE(shape);
        CHECK_FALSE(parse_evaluation(other, 4));
    }
}
