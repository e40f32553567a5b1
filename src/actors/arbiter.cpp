#include "actors/arbiter.hpp"

#include <memory>
#include <optional>
#include <utility>

#include "actors/purpose.hpp"
#include "actors/training/linear/arbitered.hpp"
#include "bus/wire/control.hpp"
#include "config/agreed.hpp"
#include "data/labels.hpp"

namespace vflbus::actors {
namespace {

using observe::log::Level;

/// What the arbiter keeps of one run in one term.
struct ArbiterRun {
    config::AgreedHalf agreed;
    std::optional<linear::SharePlan> plan;
    std::unique_ptr<linear::ShareOpener> opener;  ///< of the training that is under way
    std::uint64_t steps = 0;
    std::uint64_t next = 0;               ///< the step that may be opened
    std::vector<std::uint64_t> features;  ///< of each party, as the first step said them
};

class ArbiterApp {
  public:
    explicit ArbiterApp(ArbiterOptions options) : options_(std::move(options)) {}

    Result<> join(Context& context) const {
        const Invitation& invitation = context.invitation();
        const auto open = parse_open_text(invitation.agreed);
        if (!open) return tl::unexpected(open.error());
        config::Config mine = options_.config;
        if (auto agreed = config::agree(mine, open->canonical, invitation.owner_name); !agreed)
            return agreed;
        if (!needs_arbiter(mine, open->purpose))
            return fail(Errc::not_a_participant,
                        "is an arbiter, which takes part in trainings with run.protocol = "
                        "\"arbitered\" alone");
        context.config_hash = config::agreed_hash(mine);
        auto run = std::make_shared<ArbiterRun>();
        run->agreed = mine;
        context.set_state(std::move(run));
        log(Level::info, context,
            "joined a training of " + invitation.owner_name +
                (invitation.term > 1 ? ", term " + std::to_string(invitation.term) : ""));
        return {};
    }

    void end(const Ending& ending, Context& context) const {
        if (context.state<ArbiterRun>() == nullptr) return;
        const bool good = ending.code == Errc::ok;
        log(good || ending.code == Errc::stale_term ? Level::info : Level::warn, context,
            good ? std::string("the run has ended") : ending.sentence);
        context.set_state(std::shared_ptr<ArbiterRun>{});
    }

    /// A key for the training that begins; that of an earlier fold is forgotten.
    Result<Bytes> make_key(const Message& message, Context& context) const {
        ArbiterRun* const run = context.state<ArbiterRun>();
        if (run == nullptr) return fail(Errc::unknown_run, "not in this run");
        const auto request = linear::decode_arbiter_key_request(message.content);
        if (!request) return tl::unexpected(request.error());
        if (request->rows == 0 || request->outputs == 0 || request->outputs > data::classes_max)
            return fail(Errc::malformed_message, "a training without rows or outputs");
        const linear::ShareShape shape{request->rows, request->outputs, request->steps,
                                       request->weighted};
        const auto plan = linear::plan_shares(run->agreed, shape, context.message_bytes_max);
        if (!plan) return tl::unexpected(plan.error());
        run->plan = *plan;
        run->opener = linear::ShareOpener::create(*plan, request->seed);
        run->steps = request->steps;
        run->next = 0;
        run->features.clear();
        return linear::encode_arbiter_key_reply(run->opener->public_key());
    }

    /// Opens the hidden gradients of one step, once. What each party may ask for follows from its
    /// columns, whose number stays that of the first step.
    Result<Bytes> open(const Message& message, Context& context) const {
        ArbiterRun* const run = context.state<ArbiterRun>();
        if (run == nullptr) return fail(Errc::unknown_run, "not in this run");
        if (!run->opener) return fail(Errc::state_lost, "was asked to open before it made a key");
        const auto request = linear::decode_open_request(message.content);
        if (!request) return tl::unexpected(request.error());
        if (auto good = check(*request, *run); !good)
            return tl::unexpected(std::move(good.error()));
        run->features = request->features;
        run->next = request->step + 1;
        std::vector<std::vector<std::uint64_t>> opened;
        for (std::size_t party = 0; party < request->answers.size(); ++party) {
            auto numbers = run->opener->open(request->features[party], request->answers[party]);
            if (!numbers) return tl::unexpected(std::move(numbers.error()));
            linear::note_opened(party, *numbers);
            opened.push_back(std::move(*numbers));
        }
        return linear::encode_open_reply(opened);
    }

  private:
    static Result<> check(const linear::OpenRequest& request, const ArbiterRun& run) {
        // steps that were done before a recovery are not opened again: their key is gone
        if (request.step < run.next || request.step >= run.steps)
            return fail(Errc::handler_failed, "was asked to open step " +
                                                  std::to_string(request.step) +
                                                  ", where each of " + std::to_string(run.steps) +
                                                  " steps is opened once and " +
                                                  std::to_string(run.next) + " is the next one");
        if (request.features.size() != run.plan->parties)
            return fail(Errc::malformed_message,
                        "gradients of " + std::to_string(request.features.size()) +
                            " parties where there are " + std::to_string(run.plan->parties));
        if (!run.features.empty() && run.features != request.features)
            return fail(Errc::malformed_message,
                        "a party has other columns than in the first step");
        for (std::size_t party = 0; party < request.features.size(); ++party) {
            const std::uint64_t features = request.features[party];
            const std::size_t bytes = request.answers[party].size();
            // (the size follows from a layout that takes time by the number of results, each of
            // which has more than a byte)
            if (features > linear::share_columns_max || features > bytes / run.plan->outputs ||
                bytes != run.plan->answer_bytes(features))
                return fail(Errc::malformed_message, "a hidden gradient of " +
                                                         std::to_string(bytes) + " bytes for " +
                                                         std::to_string(features) + " columns");
        }
        return {};
    }

    void log(Level level, const Context& context, const std::string& text) const {
        if (options_.log) options_.log(level, context.invitation().run, text);
    }

    ArbiterOptions options_;
};

}  // namespace

ClientApp make_arbiter_app(ArbiterOptions options) {
    const auto arbiter = std::make_shared<const ArbiterApp>(std::move(options));
    ClientApp app;
    app.on_join([arbiter](Context& context) { return arbiter->join(context); });
    app.on_end(
        [arbiter](const Ending& ending, Context& context) { arbiter->end(ending, context); });
    app.on(message::arbiter_key, [arbiter](const Message& message, Context& context) {
        return arbiter->make_key(message, context);
    });
    app.on(message::open, [arbiter](const Message& message, Context& context) {
        return arbiter->open(message, context);
    });
    app.on(message::release, [](const Message& message, Context&) -> Result<Bytes> {
        if (auto decoded = bus::decode_ending(message.content); !decoded)
            return tl::unexpected(decoded.error());
        return encode_empty();
    });
    return app;
}

}  // namespace vflbus::actors
