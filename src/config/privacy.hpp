#pragma once
// Differential privacy as a configuration asks for it ([privacy]): the rules between its keys, and
// what a run with it promises. Both sides compute the promise from the agreed half alone, so that a
// member knows before the run what it would cost.

#include "config/config.hpp"

namespace vflbus::config {

class Problems;

void check_privacy(const Config& config, Problems& problems);

/// What the members receive in the whole run tells of one row's label (with encrypted, of its
/// columns at other parties too), in rho of zero-concentrated differential privacy: one row
/// replaced by any other. Each row counts once in each epoch, as it is in one batch of it; nothing
/// is subtracted for not knowing which (members do). Infinite without such noise.
double rho_of_labels(const AgreedHalf& agreed);
/// What leaves a member in the whole run tells of one row of its columns. The same.
double rho_of_features(const AgreedHalf& agreed);
/// ... in a prediction.
double rho_of_predicted_features(const AgreedHalf& agreed);

}  // namespace vflbus::config
