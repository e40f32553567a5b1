// What a seed draws: faults, limits, what is trained.

#include <stdexcept>

#include "swarm_state.hpp"

namespace vflbus::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t table_rows = 40;
constexpr std::uint64_t encrypted_message = 512 << 10;

AskerPlan questions_plan() {
    AskerPlan plan;
    plan.members = {{"member-0", "member", 0}, {"member-1", "member", 1}};
    plan.nodes = plan.members.size();
    return plan;
}

/// Small bodies do what large ones do: travel in many chunks, wait for credit, for room, for the
/// window.
bus::Limits draw_limits(Rng& rng) {
    bus::Limits limits;
    const std::size_t chunks[] = {4 << 10, 6 << 10, 16 << 10, 64 << 10};
    limits.chunk = chunks[rng.below(4)];
    limits.credit_share_min = 8 << 10;
    limits.credit_share_max = (8 << 10) << rng.below(4);
    limits.credit_total = (64 << 10) << rng.below(3);
    limits.credit_first = (4 << 10) << rng.below(6);
    limits.bulk_lead = std::min<std::uint64_t>(limits.credit_first, (4 << 10) << rng.below(6));
    if (limits.chunk == chunks[3]) {  // bodies that ask for credit and come whole in one frame
        limits.chunk = limits.bulk_lead = 128 << 10;
        limits.credit_first = std::max<std::uint64_t>(limits.bulk_lead, 2 * limits.credit_first);
    }
    limits.hop_window = (32 << 10) << rng.below(5);
    limits.hop_window_max = limits.hop_window << rng.below(4);
    limits.mark_every = limits.hop_window >> (1 + rng.below(3));
    limits.broker_queue = (std::max(limits.hop_window, limits.credit_total) + 1) << rng.below(3);
    limits.body_budget = (96 << 10) << rng.below(4);
    // (what is asked here fits into the smallest)
    limits.message = (256 << 10) << rng.below(3);
    limits.kept_of_one = (512 << 10) << rng.below(2);
    limits.outstanding = 1 + rng.below(bus::outstanding_requests_max);
    if (!bus::consistent(limits)) throw std::logic_error("limits that contradict each other");
    return limits;
}

}  // namespace

Plan draw(std::uint64_t seed) {
    Rng rng(mix_seed(seed, 1));
    Plan plan;
    plan.asker = questions_plan();
    WorldOptions& world = plan.world;
    plan.patience = rng.below(3) == 0 ? 15 : 60;
    world.link_timeout = seconds(plan.patience);
    const Duration delays[] = {milliseconds(1), milliseconds(5), milliseconds(20)};
    world.faults.delay_max = delays[rng.below(3)];
    const Duration handlers[] = {milliseconds(1), milliseconds(5), milliseconds(30)};
    world.faults.handler_max = handlers[rng.below(3)];
    for (std::size_t& variant : plan.variant) variant = rng.below(drawn_variants);
    // every sixteenth: a draw of its own would make other stories of all seeds
    if (seed % 16 == 0) plan.variant[0] = folds_variant;
    if (seed % 16 == 6) plan.variant[0] = network_variant;
    if (seed % 16 == 4) plan.variant[0] = seed % 32 == 4 ? psi_variant : left_psi_variant;
    if (seed % 32 == 15) plan.variant[0] = encrypted_variant;
    if (seed % 32 == 31) plan.variant[0] = encrypted_lbfgs_variant;
    if (seed % 64 == 63) plan.variant[0] = encrypted_network_variant;
    if (seed % 64 == 54) plan.variant[1] = network_variant;  // the second one is masked
    if (seed % 32 == 9) plan.variant[0] = noisy_variant;
    if (seed % 32 == 23) plan.variant = {encrypted_lbfgs_variant, encrypted_variant};
    if (seed % 32 == 11) plan.variant = {arbitered_variant, arbitered_variant};
    plan.explores = seed % 32 == 17;
    const std::uint64_t steps[] = {1, 3, 10, 40, 0};
    plan.commit_steps = steps[rng.below(5)];
    if (plan.commit_steps == 0) plan.commit_interval = 0.3;
    if (rng.below(4) == 0) plan.restarts_max = 1;  // two in a row are rare enough
    plan.restart_when_lost = rng.below(2) == 0;
    plan.faults = faults_least + rng.below(7);
    if (rng.below(2) == 0) world.timings.progress_stall = seconds(2 + rng.below(9));
    // some strike one after the other has healed, most while the same training goes on
    const Duration step = 2 * world.faults.delay_max + world.faults.handler_max;
    plan.gap = rng.below(3) == 0 ? Duration(milliseconds(100 + rng.below(900)))
                                 : step * static_cast<std::int64_t>(3 + rng.below(28));
    for (std::size_t kind = 0; kind < fault_kinds; ++kind)
        if (rng.below(3) != 0) plan.on.insert(static_cast<FaultKind>(kind));
    // what costs a run its model, or a user's patience, is rare
    for (const FaultKind rare :
         {FaultKind::owner_asleep, FaultKind::wipe, FaultKind::damage, FaultKind::twin_member,
          FaultKind::twin_master, FaultKind::stop_now, FaultKind::disk_full, FaultKind::hang})
        if (rng.below(3) != 0) plan.on.erase(rare);
    if (plan.on.contains(FaultKind::death_in_write) && rng.below(2) == 0)
        plan.deaths_per_step = 0.01;
    plan.app = rng.below(2) == 0;
    plan.asker.open = rng.below(2) == 0;
    const std::uint64_t hostile = rng.below(8);  // in three of eight nobody, in one both
    plan.hostile_member = hostile == 3 || hostile == 4 || hostile == 7;
    plan.hostile_owner = hostile >= 5;
    if (plan.hostile_member) plan.asker.distrusted = {"member-2"};
    const double shares[] = {0, 0.002, 0.01, 0.05, 0.3};
    plan.changed = shares[rng.below(5)];
    plan.lies_per_s = static_cast<double>(1 + rng.below(8));
    world.limits.message = 4 << 20;
    if (rng.below(4) != 0) {
        world.limits = draw_limits(rng);
        // in some of them so few that a hostile owner comes to its share
        if (seed % 4 == 0) world.limits.runs = 32;
        world.frames_vary = rng.below(2) == 0;
        world.bulk = rng.below(4) != 0;
        plan.asker.large_one_in = 2;
        plan.asker.large_from = bus::credit_free_bytes;
        world.body_bytes_max = 2 * bus::credit_free_bytes + 1024;
    }
    // a smaller message holds no ciphertexts, and is refused when a training begins
    if (seed % 8 == 7 || plan.explores)
        world.limits.message = std::max(world.limits.message, encrypted_message);
    // three of four: a draw of its own would make other stories of all seeds
    world.seal = seed % 4 != 2;
    world.keys = seed % 8 < 4;
    world.extensions = plan.asker.extensions = rng.below(2) == 0;
    return plan;
}

Plan calm_plan(std::size_t variant) {
    Plan plan;
    plan.asker = questions_plan();
    plan.world.link_timeout = seconds(60);
    plan.variant = {variant, variant};
    plan.commit_steps = 7;
    return plan;
}

config::Config configuration(std::size_t variant, std::size_t number, std::size_t members,
                             const Plan& plan) {
    static const std::vector<std::string> common{
        "data.test_fraction=0.2",     "model.report_test_metrics_iteration=20",
        "party.master.data=none.csv", "party.master.id=id",
        "party.master.label=y",       "bus.rendezvous_timeout=120"};
    static const std::vector<std::string> models[variants] = {
        {"model.task=logistic", "model.learning_rate=0.1", "model.epochs=25", "model.batch_size=8"},
        {"model.task=logistic", "model.learning_rate=0.02", "model.optimizer=adam",
         "model.epochs=25", "model.batch_size=8"},
        {"model.task=linear", "model.sequential=true", "model.reg_lambda=0.5", "model.epochs=25",
         "model.batch_size=8"},
        {"model.task=linear", "model.learning_rate=0.05", "model.momentum=0.9",
         "model.label_holder_alone=true", "model.epochs=25", "model.batch_size=8"},
        {"model.task=logistic", "model.solver=lbfgs", "model.l2=0.01", "model.tolerance=1e-9"},
        {"model.task=logistic", "model.learning_rate=0.02", "model.optimizer=adam",
         "model.epochs=12", "model.batch_size=8", "data.folds=2"},
        {"model.task=logistic", "model.name=mlp", "model.bottom=4-3", "model.top=4",
         "model.norm=batch", "model.dropout=0.2", "model.schedule=cosine", "model.epochs=25",
         "model.batch_size=8"},
        {"model.task=logistic", "model.learning_rate=0.1", "model.epochs=25", "model.batch_size=8",
         "data.alignment=psi"},
        {"model.task=logistic", "model.learning_rate=0.02", "model.optimizer=adam",
         "model.epochs=5", "model.batch_size=8", "run.protocol=encrypted"},
        {"model.task=logistic", "model.solver=lbfgs", "model.l2=0.01", "model.tolerance=1e-3",
         "run.protocol=encrypted"},
        {"model.task=logistic", "model.learning_rate=0.1", "model.epochs=12", "model.batch_size=8",
         "run.protocol=arbitered"},
        {"model.task=logistic", "model.learning_rate=0.1", "model.solver=sgd", "model.epochs=25",
         "model.batch_size=8", "model.report_test_metrics_iteration=0", "data.stratify=false",
         "privacy.noise_multiplier=1", "privacy.score_noise_multiplier=2",
         "privacy.insecure_testing=true"},
        {"model.task=logistic", "model.learning_rate=0.1", "model.epochs=25", "model.batch_size=8",
         "data.alignment=psi", "data.join=left"},
        {"model.task=logistic", "model.name=mlp", "model.bottom=3", "model.top=4",
         "model.dropout=0.2", "model.epochs=5", "model.batch_size=8", "model.combine=sum",
         "run.protocol=encrypted"},
    };
    // parsing costs more than a hundred steps
    static std::map<std::tuple<std::size_t, std::size_t, std::size_t>, config::Config> parsed;
    const std::tuple key(variant, number, members);
    const auto known = parsed.find(key);
    if (known == parsed.end()) {
        std::vector<std::string> settings = common;
        settings.insert(settings.end(), models[variant].begin(), models[variant].end());
        settings.push_back("run.seed=" + std::to_string(number + 5));
        settings.push_back("run.world_size=" + std::to_string(members));
        // ciphertexts of lattices are larger than messages here, and keys take time in each term
        if (variant == arbitered_variant && number == 0) settings.push_back("run.he=none");
        if (variant == arbitered_variant && number == 1)
            settings.insert(settings.end(),
                            {"run.he=paillier", "run.he_key_bits=512", "run.insecure_testing=true",
                             "model.class_weights=balanced"});
        if (variant == folds_variant || (number == 1 && (variant == 0 || variant == 4)))
            settings.push_back("run.protocol=masked");
        if (number == 1 && variant == network_variant)
            settings.insert(settings.end(), {"run.protocol=masked", "model.combine=sum"});
        // no draw of its own: it would make other stories of all seeds
        if (number == 1 && variant == 1) settings.push_back("data.join=left");
        parsed[key] = configure(settings);
    }
    config::Config config = parsed.at(key);
    config.bus.commit_interval = plan.commit_interval;
    config.bus.commit_steps = plan.commit_steps;
    config.bus.restarts_max = plan.restarts_max;
    config.bus.recv_timeout = plan.patience;
    config.bus.on_state_lost =
        plan.restart_when_lost ? config::StateLost::restart : config::StateLost::fail;
    return config;
}

std::shared_ptr<const data::Table> table_of(std::size_t place) {
    static const std::shared_ptr<const data::Table> tables[] = {
        make_table("member-0", table_rows, 2, false, 2),
        make_table("member-1", table_rows, 3, false, 3),
        make_table("master", table_rows, 1, true, 1),
    };
    return tables[std::min<std::size_t>(place, 2)];
}

}  // namespace vflbus::sim
