#pragma once
// The measurements, one function per section of the report.

#include <string>
#include <vector>

#include "figures.hpp"

namespace vflbus::bench {

struct Settings {
    bool quick = false;  ///< shows that everything runs; its figures mean little
    int rounds = 0;      ///< 0: as each section likes
};

/// Broker against relay: messages/s, bytes/s, processor time, round trips, memory of the idle
/// broker.
void measure_routing(Report& report, const Settings& settings);
/// One run's large bodies beside another's small messages, against each alone.
void measure_sharing(Report& report, const Settings& settings);
/// A step of training against scatter and gather through the relay plus the bare arithmetic.
void measure_step(Report& report, const Settings& settings);
/// A step of a split network against scatter and gather through the relay plus the same arithmetic.
void measure_split(Report& report, const Settings& settings);
/// The same step with keys (CURVE) and sealing against one in the clear, the share of each, large
/// bodies, and a step beside a flood of connections.
void measure_security(Report& report, const Settings& settings);
void measure_protocols(Report& report, const Settings& settings);
/// Bytes per second of bodies from one node to another through a broker, tcp on loopback. `keys`:
/// "" in the clear, "unsealed:" with CURVE alone, anything else with CURVE and sealing.
/// `beside_small`: also while two others, which are let in, exchange one small message each 50 ms.
std::vector<double> bulk_rates(std::size_t bytes, int rounds, const std::string& keys,
                               std::vector<double>* beside_small = nullptr);
/// The arithmetic kernels against Eigen.
void measure_kernels(Report& report, const Settings& settings);
/// read_table of a CSV file: speed per core, peak memory.
void measure_csv(Report& report, const Settings& settings);
/// Predictions of a million rows, from tables in memory.
void measure_predict(Report& report, const Settings& settings);
/// Training to convergence by L-BFGS, against scikit-learn.
void measure_solver(Report& report, const Settings& settings);
/// Private set intersection of a million ids with a million.
void measure_psi(Report& report, const Settings& settings);
/// Lattice encryption of a batch at both ends.
void measure_privacy(Report& report, const Settings& settings);
/// Apps: round trips beside a handler that computes; many runs one after another.
void measure_apps(Report& report, const Settings& settings);
/// One message to each of many nodes, and all replies.
void measure_nodes(Report& report, const Settings& settings);
/// A training with commits every second, against none.
void measure_commits(Report& report, const Settings& settings);
/// Trainings at once on the same members, against one by one.
void measure_runs(Report& report, const Settings& settings);

/// Seconds of one step's arithmetic with Eigen alone: the scores and gradients of `members` blocks
/// of rows x features, and the residual; mean over `steps`.
double bare_arithmetic(int steps, int members, int rows, int features);

/// Seconds of one step of a split network with Eigen alone, in one process: members' networks of
/// features-128-64, 64-1 on top of all, ReLU and Adam; mean over `steps`.
double bare_network(int steps, int members, int rows, int features);
/// A training that everybody watches against one that nobody does; the page for Prometheus.
void measure_observe(Report& report, const Settings& settings);

}  // namespace vflbus::bench
