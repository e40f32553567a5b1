// What a run with noise promises, of the agreed half alone.

#include <cmath>

#include "config/privacy.hpp"
#include "support.hpp"

using namespace vflbus;
using namespace vflbus::config;

TEST_CASE("a release costs 1 / (2 multiplier^2), and all of a run are added") {
    AgreedHalf agreed;
    agreed.run.world_size = 2;
    agreed.model.epochs = 1;
    CHECK(std::isinf(rho_of_labels(agreed)));
    CHECK(std::isinf(rho_of_features(agreed)));
    CHECK(std::isinf(rho_of_predicted_features(agreed)));
    agreed.privacy.noise_multiplier = 2;
    agreed.privacy.score_noise_multiplier = 4;
    CHECK(rho_of_labels(agreed) == .125);
    CHECK(rho_of_predicted_features(agreed) == 1 / 32.);
    CHECK(rho_of_features(agreed) == 3 / 32.);  // scores, a step, and scores at the end
    agreed.model.epochs = 10;
    CHECK(rho_of_labels(agreed) == 10 / 8.);
    CHECK(rho_of_features(agreed) == 21 / 32.);
    // two members, the master's own columns and the intercept
    agreed.run.protocol = Protocol::encrypted;
    CHECK(rho_of_labels(agreed) == 40 / 8.);
    agreed.model.intercept = false;
    CHECK(rho_of_labels(agreed) == 30 / 8.);
    // four trainings with the row, and one that tests it
    agreed.data.folds = 4;
    CHECK(rho_of_labels(agreed) == 120 / 8.);
    CHECK(rho_of_features(agreed) == (4 * 21 + 1) / 32.);
}
