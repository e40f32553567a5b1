#include "member_gate.hpp"

#include <chrono>
#include <filesystem>
#include <utility>

#include "apps/run_config.hpp"
#include "bus/zmq/address.hpp"
#include "data/source.hpp"
#include "observe/log.hpp"
#include "settings.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;
namespace log = observe::log;

constexpr auto said_look_every = std::chrono::milliseconds(500);

std::vector<std::string> those_given(std::initializer_list<std::string> paths) {
    std::vector<std::string> given;
    for (const std::string& path : paths)
        if (!path.empty()) given.push_back(data::absolute_location(path));
    return given;
}

bool is_local(const std::string& broker) {
    const auto address = bus::parse_address(broker);
    return address && address->local_only;
}

/// What the owner may hear of a refusal; the rest stays in the log here.
tl::unexpected<Failure> for_the_owner(Failure failure, const RunId& run, const std::string& node) {
    if (!failure.for_others.empty()) {
        log::error({run, {}, node, "policy"}, "{}", failure.sentence);
        failure.sentence = std::exchange(failure.for_others, {});
    }
    return tl::unexpected(std::move(failure));
}

policy::Request app_request(const actors::Invitation& invitation, const std::string& digest) {
    policy::Request request;
    request.owner = {invitation.owner_name, invitation.owner_fingerprint};
    request.run = invitation.run;
    request.term = invitation.term;
    request.use = policy::Use::app;
    request.agreed_text = invitation.agreed;
    request.app = digest;
    const auto& named = invitation.participants;
    const bool open = named.size() == 1 && named[0] == bus::any_node;
    request.parties = open ? 0 : named.size() + 1;
    for (const bus::Participant& one : named)
        request.participants.push_back(policy::participant_text(one.name, one.role, one.rank));
    return request;
}

}  // namespace

Result<std::unique_ptr<policy::Gate>> open_gate(const config::Config& config,
                                                const PartyOptions& options,
                                                const std::string& party) {
    const std::string name = options.node_name.empty() ? party : options.node_name;
    policy::GateOptions gate;
    gate.policy_file = options.policy;
    const auto section = config.parties.find(party);
    if (section != config.parties.end()) {
        const config::PartyConfig& mine = section->second;
        if (gate.policy_file.empty()) gate.policy_file = mine.policy;
        gate.tables[policy::Use::train] = those_given({mine.data, mine.test_data});
        gate.tables[policy::Use::check] = gate.tables[policy::Use::train];
        gate.tables[policy::Use::predict] = those_given({mine.predict_data});
    }
    if (gate.policy_file.empty() && !options.audits) return nullptr;
    gate.state_dir = options.state_dir.empty() ? node_directory(config, name) : options.state_dir;
    if (!options.policy_dir.empty()) gate.state_dir = options.policy_dir;
    const std::string& broker = broker_of(config, options);
    gate.broker_checks_names = !config.bus.certificates.empty() && broker.starts_with("tcp://");
    gate.log = [name](const std::string& line) { log::info({{}, {}, name, "policy"}, "{}", line); };
    if (gate.policy_file.empty() && !is_local(broker))
        log::warn({{}, {}, name, "policy"},
                  "there is no policy: whoever opens a run may use this member's columns "
                  "(docs/policy.md)");
    return policy::Gate::open(std::move(gate));
}

actors::ClientApp with_judged_apps(actors::ClientApp app, policy::Judge& judge,
                                   const std::string& digest) {
    actors::ClientApp judged = app;
    judged.on_join([app, &judge, digest](actors::Context& context) -> Result<> {
        const actors::Invitation& invitation = context.invitation();
        if (!apps::run_config_of(invitation.agreed)) return app.join(context);
        const policy::Request request = app_request(invitation, digest);
        auto good = judge.admit_owner(request.owner, request.run);
        if (good) good = judge.admit(request);
        if (!good) return for_the_owner(std::move(good.error()), request.run, context.node_name());
        auto joined = app.join(context);
        if (!joined) judge.ended(request.run, {joined.error().code});
        return joined;
    });
    judged.on_end([app, &judge](const actors::Ending& ending, actors::Context& context) {
        app.end(ending, context);
        if (apps::run_config_of(context.invitation().agreed))
            judge.ended(context.invitation().run, {ending.code});
    });
    return judged;
}

HeldWatch::HeldWatch(policy::Gate* gate, actors::Node& node) {
    if (gate == nullptr) return;
    thread_ = std::thread([this, gate, &node] {
        std::unique_lock lock(mutex_);
        while (!changed_.wait_for(lock, said_look_every, [this] { return over_; })) {
            lock.unlock();
            for (const RunId& run : gate->said()) node.reconsider(run);
            lock.lock();
        }
    });
}

HeldWatch::~HeldWatch() {
    {
        const std::lock_guard lock(mutex_);
        over_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

}  // namespace vflbus::cli
