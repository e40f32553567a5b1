// Made by make_solver_cases.py with scikit-learn 1.2.1; not to be edited.
#pragma once
#include "solver_tables.hpp"
namespace support {
inline const std::vector<SolverCase> solver_cases = {
    {"correlated columns", Task::logistic, 400, 20, "chain", 0.991679198},
    {"correlated columns, numbers", Task::linear, 400, 20, "chain", 89.2748285},
    {"correlated columns, classes", Task::softmax, 400, 12, "chain", 0.755},
    {"correlated columns, labels", Task::multilabel, 400, 12, "chain", 0.899583155},
    {"columns twice", Task::logistic, 300, 16, "twice", 0.978181818},
    {"columns twice, numbers", Task::linear, 300, 16, "twice", 101.408849},
    {"a column that is the sum of others", Task::linear, 300, 12, "sum", 96.7354053},
    {"a column that is the sum of others, classes", Task::softmax, 300, 12, "sum", 0.88},
    {"more columns than rows", Task::logistic, 60, 150, "plain", 1},
    {"more columns than rows, numbers", Task::linear, 60, 150, "plain", 8.98815928},
    {"more columns than rows, classes", Task::softmax, 60, 150, "plain", 1},
    {"a constant column", Task::logistic, 200, 8, "constant", 0.937910509},
    {"a constant column, numbers", Task::linear, 200, 8, "constant", 89.7459631},
    {"huge columns", Task::logistic, 300, 10, "huge", 0.961540212},
    {"huge columns, numbers", Task::linear, 300, 10, "huge", 91.7575641},
    {"tiny columns", Task::logistic, 300, 10, "tiny", 0.970553752},
    {"tiny columns, numbers", Task::linear, 300, 10, "tiny", 93.1966364},
    {"rare categories", Task::logistic, 1000, 30, "rare", 0.980497146},
    {"rare categories, numbers", Task::linear, 1000, 30, "rare", 100.125485},
    {"powers of one column", Task::linear, 200, 8, "powers", 98.3894777},
    {"powers of one column, two classes", Task::logistic, 200, 8, "powers", 0.899953249},
    {"nearly separable", Task::logistic, 200, 5, "separable", 0.999023438},
    {"few rows", Task::logistic, 12, 4, "plain", 1},
    {"heavy tails", Task::logistic, 500, 8, "heavy", 0.828313618},
};
/// Of all rows, and of the label holder's columns alone (NaN: it has none).
struct SharedCase {
    const char* name;
    double joined;
    double alone;
};
inline const std::vector<SharedCase> shared_cases = {
    {"default_credit", 0.724213615, 0.65854216},
    {"default_credit, balanced", 0.724970906, NAN},
    {"default_credit, row weights", 0.724428767, NAN},
    {"breast", 0.997449923, 0.992891496},
    {"vehicle", 0.81678487, 0.741134752},
    {"motor", 0.284430959, 0.839636018},
    {"mnist", 1, NAN},
};
}  // namespace support
