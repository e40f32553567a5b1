// What needs no bus: the kernels against Eigen, and reading CSV.

#include <sys/resource.h>

#include <Eigen/Dense>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>

#include "base/rng.hpp"
#include "data/source.hpp"
#include "measure.hpp"
#include "models/kernels.hpp"
#include "peer.hpp"
#include "process.hpp"

namespace vflbus::bench {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

/// Keeps the optimizer from dropping what nobody reads.
void keep(const double* value) {
    asm volatile("" : : "r"(value) : "memory");
}

/// Seconds per call, over enough calls for `seconds`.
template <class Call>
double timed(double seconds, Call&& call) {
    int calls = 1;
    for (;;) {
        const double begin = now_seconds();
        for (int i = 0; i < calls; ++i) call();
        const double passed = now_seconds() - begin;
        if (passed >= seconds / 4) return passed / calls;
        calls *= passed > 0 ? std::max(2, static_cast<int>(seconds / passed / 2)) : 8;
    }
}

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto of = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    return of(usage.ru_utime) + of(usage.ru_stime);
}

/// rows x columns of numbers with six digits, an id in front. Returns the file's size.
std::uint64_t write_csv(const std::string& path, int rows, int columns) {
    std::ofstream out(path, std::ios::binary);
    out << "id";
    for (int c = 0; c < columns; ++c) out << ",x" << c;
    out << '\n';
    Rng rng(1);
    std::string line;
    char cell[32];
    for (int r = 0; r < rows; ++r) {
        line = "p" + std::to_string(r);
        for (int c = 0; c < columns; ++c) {
            const double value = 200 * rng.uniform() - 100;
            const auto end =
                std::to_chars(cell, cell + sizeof cell, value, std::chars_format::fixed, 6);
            line.append(",").append(cell, end.ptr);
        }
        out << line << '\n';
    }
    if (!out.flush()) throw std::runtime_error("cannot write " + path);
    return static_cast<std::uint64_t>(out.tellp());
}

}  // namespace

double bare_arithmetic(int steps, int members, int rows, int features) {
    static std::vector<MatrixXd> X;
    static std::vector<VectorXd> w;
    static VectorXd y;
    if (y.size() != rows) {
        X.clear();
        w.clear();
        for (int k = 0; k < members; ++k) {
            X.push_back(MatrixXd::Random(rows, features));
            w.push_back(VectorXd::Zero(features));
        }
        y = (VectorXd::Random(rows).array() > 0).cast<double>();
    }
    VectorXd z(rows);
    VectorXd r(rows);
    VectorXd part(rows);
    VectorXd g(features);
    const double begin = now_seconds();
    for (int step = 0; step < steps; ++step) {
        z.setZero();
        for (std::size_t k = 0; k < X.size(); ++k) {
            part.noalias() = X[k] * w[k];
            z += part;
        }
        r = ((1 + (-z.array()).exp()).inverse() - y.array()) / rows;
        for (std::size_t k = 0; k < X.size(); ++k) {
            g.noalias() = X[k].transpose() * r;
            w[k] -= 0.05 * g;
        }
        keep(w[0].data());
    }
    return (now_seconds() - begin) / steps;
}

namespace {

using Eigen::MatrixXf;

/// A dense layer of columns of records, without a bias, and its step of Adam.
struct BareLayer {
    MatrixXf w, m, v, g, in, out;
    bool bent = true;  ///< max(x, 0) behind it

    BareLayer(int outputs, int inputs, bool with_relu)
        : w(MatrixXf::Random(outputs, inputs) * 0.05F),
          m(MatrixXf::Zero(outputs, inputs)),
          v(MatrixXf::Zero(outputs, inputs)),
          bent(with_relu) {}
    const MatrixXf& forward(const MatrixXf& x) {
        in = x;
        out.noalias() = w * in;
        if (bent) out = out.cwiseMax(0.0F);
        return out;
    }
    /// The gradient by `in`, unless nobody needs it.
    void backward(MatrixXf by_out, MatrixXf* by_in) {
        if (bent) by_out = (out.array() > 0).select(by_out, 0.0F);
        g.noalias() = by_out * in.transpose();
        if (by_in != nullptr) by_in->noalias() = w.transpose() * by_out;
        m = 0.9F * m + 0.1F * g;
        v.array() = 0.999F * v.array() + 0.001F * g.array().square();
        w.array() -= 0.001F * m.array() / (v.array().sqrt() + 1e-8F);
    }
};

}  // namespace

double bare_network(int steps, int members, int rows, int features) {
    constexpr int hidden = 128;
    constexpr int numbers = 64;
    std::vector<BareLayer> first;
    std::vector<BareLayer> second;
    std::vector<MatrixXf> x;
    for (int k = 0; k < members; ++k) {
        first.emplace_back(hidden, features, true);
        second.emplace_back(numbers, hidden, true);
        x.push_back(MatrixXf::Random(features, rows));
    }
    BareLayer top(numbers, numbers * members, true);
    BareLayer last(1, numbers, false);
    MatrixXf joined(numbers * members, rows);
    MatrixXf by_joined;
    MatrixXf by_hidden;
    const MatrixXf y = (MatrixXf::Random(1, rows).array() > 0).cast<float>();
    const double begin = now_seconds();
    for (int step = 0; step < steps; ++step) {
        for (int k = 0; k < members; ++k) {
            const auto at = static_cast<std::size_t>(k);
            joined.middleRows(numbers * k, numbers) = second[at].forward(first[at].forward(x[at]));
        }
        const MatrixXf z = last.forward(top.forward(joined));
        const MatrixXf r =
            ((1 + (-z.array()).exp()).inverse() - y.array()) / static_cast<float>(rows);
        last.backward(r, &by_hidden);
        top.backward(by_hidden, &by_joined);
        for (int k = 0; k < members; ++k) {
            const auto at = static_cast<std::size_t>(k);
            second[at].backward(by_joined.middleRows(numbers * k, numbers), &by_hidden);
            first[at].backward(by_hidden, nullptr);
        }
    }
    return (now_seconds() - begin) / steps;
}

void measure_kernels(Report& report, const Settings& settings) {
    const int rounds = settings.rounds > 0 ? settings.rounds : settings.quick ? 2 : 15;
    const double seconds = settings.quick ? 0.002 : 0.02;
    report.section("Kernels", std::string("against Eigen in doubles, one core, ") +
                                  models::name_of(models::best_isa()) +
                                  "; ours keep one order of summation on all machines");
    struct Shape {
        int rows, features, outputs;
    };
    for (const Shape shape : {Shape{256, 30, 1}, Shape{256, 200, 1}, Shape{256, 392, 10}}) {
        const auto size = [](int n) { return static_cast<std::size_t>(n); };
        MatrixXd X = MatrixXd::Random(shape.rows, shape.features);
        MatrixXd W = MatrixXd::Random(shape.features, shape.outputs);
        MatrixXd R = MatrixXd::Random(shape.rows, shape.outputs);
        MatrixXd Z(shape.rows, shape.outputs);
        MatrixXd G(shape.features, shape.outputs);
        const models::ConstMatrixView x{X.data(), size(shape.rows), size(shape.features)};
        const models::ConstMatrixView w{W.data(), size(shape.features), size(shape.outputs)};
        const models::ConstMatrixView r{R.data(), size(shape.rows), size(shape.outputs)};
        const models::MatrixView z{Z.data(), size(shape.rows), size(shape.outputs)};
        const models::MatrixView g{G.data(), size(shape.features), size(shape.outputs)};
        const double flops = 2.0 * shape.rows * shape.features * shape.outputs;
        std::vector<double> rate[4];
        for (int round = 0; round < rounds; ++round) {
            const auto note = [&](int which, double s) { rate[which].push_back(flops / s / 1e9); };
            note(0, timed(seconds, [&] { models::partial_scores(x, w, z), keep(Z.data()); }));
            note(1, timed(seconds, [&] { Z.noalias() = X * W, keep(Z.data()); }));
            note(2, timed(seconds, [&] { models::gradient(x, r, g), keep(G.data()); }));
            note(3, timed(seconds, [&] { G.noalias() = X.transpose() * R, keep(G.data()); }));
        }
        const std::string name = std::to_string(shape.rows) + " x " +
                                 std::to_string(shape.features) + " x " +
                                 std::to_string(shape.outputs);
        report.add(paired("scores " + name, "GFLOP/s", rate[0], rate[1]));
        report.add(paired("gradient " + name, "GFLOP/s", rate[2], rate[3]));
    }
}

// -- CSV -----------------------------------------------------------------------------

int run_csv(const std::vector<std::string>& arguments) {
    if (arguments.size() != 2) throw std::runtime_error("csv FILE THREADS");
    data::SourceOptions options;
    options.location = arguments[0];
    options.threads = static_cast<unsigned>(std::stoul(arguments[1]));
    const std::uint64_t before = own_memory_bytes("VmRSS");
    const double begin = now_seconds();
    const double cpu = cpu_seconds();
    const auto table = data::read_table(options, {});
    if (!table) throw std::runtime_error(table.error().sentence);
    std::printf("%.9f %.9f %zu %zu %llu\n", now_seconds() - begin, cpu_seconds() - cpu,
                table->rows(), table->features.size(),
                static_cast<unsigned long long>(own_memory_bytes("VmHWM") - before));
    return 0;
}

void measure_csv(Report& report, const Settings& settings) {
    const int rounds = settings.rounds > 0 ? std::min(settings.rounds, 5) : settings.quick ? 1 : 3;
    const int rows = settings.quick ? 20'000 : 300'000;
    const int columns = 30;
    report.section("CSV", std::to_string(rows) + " rows x " + std::to_string(columns) +
                              " numbers of six decimals and an id; the file is in the page cache");
    const ScratchDirectory scratch;
    const std::string path = scratch.path() + "/table.csv";
    const auto bytes = static_cast<double>(write_csv(path, rows, columns));
    const double numbers = 8.0 * rows * columns;
    for (const int threads : {1, 2}) {
        std::vector<double> per_core;
        std::vector<double> wall;
        std::vector<double> peak;
        for (int round = 0; round < rounds; ++round) {
            Child reader(own_path(), {"role", "csv", path, std::to_string(threads)});
            std::istringstream answer(reader.hear());
            double seconds = 0;
            double cpu = 0;
            double read_rows = 0;
            double read_columns = 0;
            double memory = 0;
            answer >> seconds >> cpu >> read_rows >> read_columns >> memory;
            if (read_rows != rows || read_columns != columns)
                throw std::runtime_error("the CSV came back with another shape");
            per_core.push_back(bytes / cpu / 1e6);
            wall.push_back(bytes / seconds / 1e6);
            peak.push_back(memory / numbers);
        }
        const std::string with = threads == 1 ? ", 1 thread" : ", 2 threads";
        report.add(single("per second of processor" + with, "MB/s", spread_of(per_core).median,
                          Bar{Bar::Kind::at_least, 200}));
        report.add(single("per second" + with, "MB/s", spread_of(wall).median));
        report.add(single("peak memory / numbers" + with, "", spread_of(peak).median,
                          Bar{Bar::Kind::at_most, 2.1}, "the ids are in it"));
    }
}

}  // namespace vflbus::bench
