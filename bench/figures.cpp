#include "figures.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>

#include "base/json.hpp"

namespace vflbus::bench {
namespace {

/// Four significant digits, with k, M, G above 10,000.
std::string human(double value) {
    const char* suffix = "";
    if (std::fabs(value) >= 1e9) {
        value /= 1e9;
        suffix = " G";
    } else if (std::fabs(value) >= 1e6) {
        value /= 1e6;
        suffix = " M";
    } else if (std::fabs(value) >= 1e4) {
        value /= 1e3;
        suffix = " k";
    }
    char text[32];
    std::snprintf(text, sizeof text, "%.4g%s", value, suffix);
    return text;
}

std::string ratio_text(const Spread& r) {
    char text[64];
    std::snprintf(text, sizeof text, "%.2f (%.2f..%.2f)", r.median, r.min, r.max);
    return text;
}

std::string processor() {
    std::ifstream info("/proc/cpuinfo");
    std::string line;
    while (std::getline(info, line))
        if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
    return "unknown";
}

}  // namespace

Spread spread_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    const double median = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    return {median, values.front(), values.back()};
}

double thread_cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double quantile(std::vector<double> values, double p) {
    const auto rank =
        static_cast<std::size_t>(std::clamp(std::ceil(p * static_cast<double>(values.size())) - 1,
                                            0.0, static_cast<double>(values.size() - 1)));
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(rank),
                     values.end());
    return values[rank];
}

std::optional<bool> Figure::holds() const {
    if (!bar) return {};
    const double value = ratio ? ratio->median : ours;
    return bar->kind == Bar::Kind::at_least ? value >= bar->value : value <= bar->value;
}

Figure paired(std::string name, std::string unit, const std::vector<double>& ours,
              const std::vector<double>& theirs, std::optional<Bar> bar, std::string note) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / theirs[i]);
    Figure figure;
    figure.name = std::move(name);
    figure.unit = std::move(unit);
    figure.ours = spread_of(ours).median;
    figure.theirs = spread_of(theirs).median;
    figure.ratio = spread_of(ratios);
    figure.rounds = ours.size();
    figure.bar = bar;
    figure.note = std::move(note);
    return figure;
}

Figure single(std::string name, std::string unit, double value, std::optional<Bar> bar,
              std::string note) {
    Figure figure;
    figure.name = std::move(name);
    figure.unit = std::move(unit);
    figure.ours = value;
    figure.bar = bar;
    figure.note = std::move(note);
    return figure;
}

Report::Report() {
    if (::getloadavg(&load_, 1) != 1) load_ = 0;
    const long cores = ::sysconf(_SC_NPROCESSORS_ONLN);
    std::printf("%s, %ld cores, load %.1f%s\n", processor().c_str(), cores, load_,
                load_ > 0.5 * static_cast<double>(cores)
                    ? ": others are at work here, ratios will scatter"
                    : "");
}

void Report::section(const std::string& title, const std::string& what) {
    section_ = title;
    std::printf("\n%s\n  %s\n  %-34s %12s %12s  %-20s %s\n", title.c_str(), what.c_str(), "figure",
                "ours", "reference", "ratio (min..max)", "bar");
    std::fflush(stdout);
}

void Report::add(Figure figure) {
    std::string bar;
    if (figure.bar) {
        char text[64];
        std::snprintf(text, sizeof text, "%s %.4g%s",
                      figure.bar->kind == Bar::Kind::at_least ? ">=" : "<=", figure.bar->value,
                      *figure.holds() ? "" : "  MISSED");
        bar = text;
    }
    const std::string name = figure.name + (figure.unit.empty() ? "" : ", " + figure.unit);
    std::printf("  %-34s %12s %12s  %-20s %s%s%s\n", name.c_str(), human(figure.ours).c_str(),
                figure.theirs ? human(*figure.theirs).c_str() : "",
                figure.ratio ? ratio_text(*figure.ratio).c_str() : "", bar.c_str(),
                bar.empty() || figure.note.empty() ? "" : "  ", figure.note.c_str());
    std::fflush(stdout);
    entries_.push_back({section_, std::move(figure)});
}

std::string Report::json() const {
    Json out;
    out["machine"] = {{"processor", processor()},
                      {"cores", ::sysconf(_SC_NPROCESSORS_ONLN)},
                      {"load_before", load_}};
    out["figures"] = Json::array();
    for (const auto& [section, f] : entries_) {
        Json one{{"section", section},
                 {"name", f.name},
                 {"unit", f.unit},
                 {"ours", f.ours},
                 {"rounds", f.rounds}};
        if (f.theirs) one["reference"] = *f.theirs;
        if (f.ratio)
            one["ratio"] = {
                {"median", f.ratio->median}, {"min", f.ratio->min}, {"max", f.ratio->max}};
        if (f.bar) {
            one["bar"] = {
                {f.bar->kind == Bar::Kind::at_least ? "at_least" : "at_most", f.bar->value}};
            one["holds"] = *f.holds();
        }
        if (!f.note.empty()) one["note"] = f.note;
        out["figures"].push_back(std::move(one));
    }
    return out.dump(2) + "\n";
}

std::string Report::summary() const {
    std::size_t bars = 0;
    std::size_t held = 0;
    for (const Entry& entry : entries_)
        if (const auto holds = entry.figure.holds()) {
            ++bars;
            held += *holds ? 1 : 0;
        }
    return std::to_string(held) + " of " + std::to_string(bars) + " bars hold";
}

}  // namespace vflbus::bench
