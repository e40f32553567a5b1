// Private set intersection without a bus: what a point costs on either path, and two parties with a
// million ids each. Processor time, as others keep the machine busy; the bars count both parties on
// two cores.

#include <sys/resource.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "measure.hpp"
#include "privacy/psi/lists.hpp"

namespace vflbus::bench {
namespace {

namespace psi = privacy::psi;

std::vector<Hash128> ids(std::size_t first, std::size_t count) {
    std::vector<Hash128> out(count);
    for (std::size_t i = 0; i < count; ++i) out[i] = hash128(std::to_string(first + i), "bench");
    return out;
}

struct PsiDuel {
    double seconds = 0;
    std::uint64_t common = 0;
};

/// Both parties' work, in parts as the bus carries it. Half of the ids are common.
PsiDuel intersect(std::size_t count, psi::Path path) {
    constexpr std::size_t part = 4096;
    const std::vector<Hash128> sets[2] = {ids(0, count), ids(count / 2, count)};
    const double began = thread_cpu_seconds();
    const psi::OwnList first(sets[0], random_bytes, path);
    const psi::OwnList second(sets[1], random_bytes, path);
    const psi::OwnList* const own[2] = {&first, &second};
    psi::PassingList passing[2] = {psi::PassingList(path), psi::PassingList(path)};
    std::vector<std::vector<psi::Tag>> tags;
    for (std::size_t p = 0; p < 2; ++p) {
        for (std::size_t at = 0; at < count; at += part) {
            const std::vector<psi::Point> points = own[p]->points(at, std::min(part, count - at));
            if (!passing[p].take(own[1 - p]->secret(), points))
                throw std::runtime_error("a point was refused");
        }
        if (!passing[p].close()) throw std::runtime_error("a list was refused");
        tags.push_back(passing[p].tags(0, count));
        passing[p].drop();
    }
    const std::vector<psi::Marks> marks = psi::common_of(tags);
    for (std::size_t p = 0; p < 2; ++p) {
        const auto back = passing[p].marks_back(marks[p]);
        if (!back || !own[p]->own_marks(*back)) throw std::runtime_error("marks were refused");
    }
    return {thread_cpu_seconds() - began, psi::marked(marks[0])};
}

/// Microseconds for a point: hashed, multiplied.
std::pair<double, double> per_point(std::size_t count, psi::Path path) {
    const std::vector<Hash128> set = ids(0, count);
    std::vector<psi::Point> points(count);
    const psi::Secret secret;
    const double began = thread_cpu_seconds();
    psi::hash_to_points(set, points, path);
    const double hashed = thread_cpu_seconds();
    if (!psi::multiply(secret, points, points, path))
        throw std::runtime_error("a point was refused");
    const double to_us = 1e6 / static_cast<double>(count);
    return {(hashed - began) * to_us, (thread_cpu_seconds() - hashed) * to_us};
}

double peak_mib() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    return static_cast<double>(used.ru_maxrss) / 1024;
}

}  // namespace

void measure_psi(Report& report, const Settings& settings) {
    report.section("psi", "private set intersection: processor time, without a bus");
    const int rounds = settings.rounds > 0 ? settings.rounds : 5;
    const std::size_t few = settings.quick ? 64 : 4096;
    std::vector<double> fast_hash;
    std::vector<double> fast_multiply;
    std::vector<double> hash;
    std::vector<double> multiplied;
    for (int round = 0; round < rounds; ++round) {
        const auto [h, m] = per_point(few, psi::Path::portable);
        hash.push_back(h);
        multiplied.push_back(m);
        if (psi::best_path() == psi::Path::portable) continue;
        const auto [fh, fm] = per_point(few, psi::best_path());
        fast_hash.push_back(fh);
        fast_multiply.push_back(fm);
    }
    if (psi::best_path() == psi::Path::portable) {
        report.add(single("hash to a point", "us", spread_of(hash).median));
        report.add(single("X25519", "us", spread_of(multiplied).median));
    } else {
        report.add(paired("hash to a point, IFMA and portable", "us", fast_hash, hash));
        report.add(paired("X25519, IFMA and libsodium", "us", fast_multiply, multiplied));
    }
    const std::size_t million = settings.quick ? 1000 : 1'000'000;
    const std::size_t portable_ids = million / 20;
    const PsiDuel portable = intersect(portable_ids, psi::Path::portable);
    const double scaled = portable.seconds * 20 / 2;
    report.add(single("1,000,000 with 1,000,000, portable, both parties on two cores", "s", scaled,
                      Bar{Bar::Kind::at_most, 160}, "20 times what 50,000 take"));
    if (psi::best_path() == psi::Path::portable) return;
    const PsiDuel fast = intersect(million, psi::best_path());
    if (fast.common != million - million / 2) throw std::runtime_error("another intersection");
    report.add(single("1,000,000 with 1,000,000, IFMA, both parties on two cores", "s",
                      fast.seconds / 2, Bar{Bar::Kind::at_most, 30}));
    report.add(single("memory of both parties together", "MiB", peak_mib(),
                      Bar{Bar::Kind::at_most, 600}, "peak of the process"));
}

}  // namespace vflbus::bench
