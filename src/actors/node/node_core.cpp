#include "actors/node/node_core.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <utility>

#include "actors/node/thrown.hpp"
#include "base/assert.hpp"
#include "base/planted.hpp"
#include "base/text.hpp"
#include "bus/keys/dates.hpp"
#include "observe/log.hpp"

namespace vflbus::actors {

/// Type 1 of docs/protocol.md, section 8: every node answers it.
constexpr MessageType echo_type = 1;
/// Section 5: a run that has this participant is open to all nodes that serve apps.
constexpr std::string_view any_node = "*";

struct NodeCore::Unlocked {
    explicit Unlocked(NodeLock& lock) : lock_(lock) { lock_.release_for_handler(); }
    ~Unlocked() { lock_.take_after_handler(); }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;
    NodeLock& lock_;
};

/// What other threads leave for the node: answers, signs of progress, posted work, and rooms whose
/// content is gone. Outlives the node, since a Replier may.
struct NodeCore::Mail {
    struct Answer {
        RunId run;
        std::uint32_t term;
        NodeId to;
        std::uint64_t number;
        Result<Bytes> answer;
    };
    struct Progress {
        RunId run;
        std::uint32_t term;
        NodeId to;
        std::uint64_t number;
    };
    struct Posted {
        RunId run;
        Call call;
    };
    /// To a question about a run.
    struct QueryAnswer {
        bus::QueryArrived query;
        Result<Bytes> answer;
    };

    template <class Letter>
    void put(std::vector<Letter> Mail::* box, Letter letter) {
        const std::lock_guard guard(mutex);
        if (closed) return;
        (this->*box).push_back(std::move(letter));
        if (wake) wake();
    }

    std::mutex mutex;
    bool closed = false;
    std::function<void()> wake;
    std::vector<Answer> answers;
    std::vector<Progress> progress;
    std::vector<Posted> posted;
    std::vector<std::uint64_t> rooms;
    std::vector<RunId> reconsidered;
    std::vector<QueryAnswer> query_answers;
};

// -- driver ----------------------------------------------------------------------

/// Called by the driven app, whose handlers run with the lock released.
class NodeCore::DriverImpl final : public Driver {
  public:
    DriverImpl(NodeCore& core, const RunSpec& spec)
        : core_(core), run_(spec.run), term_(spec.term), spec_(spec) {
        for (const bus::Participant& participant : spec.participants)
            if (participant.name != any_node)
                names_.emplace_back(node_id_of(participant.name), participant.name);
    }

    TimePoint now() const override { return core_.config_.now(); }

    std::vector<NodeId> get_node_ids() const override {
        std::vector<NodeId> ids;
        for (const auto& [id, name] : names_)
            if (joined_.count(id) != 0) ids.push_back(id);
        return ids;
    }

    std::string name_of(NodeId node) const override {
        for (const auto& [id, name] : names_)
            if (id == node) return name;
        return "node " + std::to_string(node.value);
    }

    std::uint64_t asked() const override { return asked_; }

    Result<std::uint64_t> push_message(NodeId dst, MessageType type, Bytes content) override {
        const std::lock_guard guard(core_.lock_);
        auto number = core_.link_.request(run_, dst, type, std::move(content), now());
        // the link has forgotten the run; its end, with the reason, is on its way to the app
        if (!number && number.error().code == Errc::run_ended && !closing_) return 0;
        return number;
    }

    std::uint64_t message_bytes_max() const override {
        const std::lock_guard guard(core_.lock_);
        return core_.link_.message_bytes_max();
    }

    void set_timer(TimePoint at) override {
        const std::lock_guard guard(core_.lock_);
        timer_ = at;
    }

    void post(std::function<void()> work) override {
        core_.mail_->put(&Mail::posted, Mail::Posted{run_, std::move(work)});
    }

    void reopen(std::uint32_t term) override {
        const std::lock_guard guard(core_.lock_);
        term_ = term;
        joined_.clear();
        core_.link_.open_run(run_, term,
                             bus::Open{core_.config_.name, spec_.participants, spec_.agreed,
                                       core_.driven_app_->spec().extensions},
                             now());
    }

    void close(Errc code, std::string sentence) override {
        const std::lock_guard guard(core_.lock_);
        if (closing_) return;
        moved_ = core_.link_.bytes_of(run_);
        closing_ = true;
        Ending ending{code, std::move(sentence)};
        if (core_.begun_) return core_.link_.close_run(run_, std::move(ending), now());
        // nobody else has heard of the run
        core_.enqueue(run_, bus::RunClosed{run_, std::move(ending)});
    }

    BytesMoved bytes_moved() const override {
        const std::lock_guard guard(core_.lock_);
        const bus::LinkBytes moved = closing_ ? moved_ : core_.link_.bytes_of(run_);
        return {moved.sent, moved.received};
    }

    void joined(NodeId node, const std::string& name, bool in) {
        if (std::ranges::none_of(names_, [&](const auto& known) { return known.first == node; }))
            names_.emplace_back(node, name);
        if (in)
            joined_[node] = true;
        else
            joined_.erase(node);
    }

    NodeCore& core_;
    RunId run_;
    std::uint32_t term_;
    RunSpec spec_;
    std::vector<std::pair<NodeId, std::string>> names_;
    std::map<NodeId, bool> joined_;
    TimePoint timer_ = TimePoint::max();
    std::uint64_t asked_ = 0;
    bool closing_ = false;
    bus::LinkBytes moved_;
};

// -- node ------------------------------------------------------------------------

NodeCore::NodeCore(NodeCoreConfig config, bus::LinkCore& link, NodeLock& lock)
    : config_(std::move(config)), link_(link), lock_(lock), mail_(std::make_shared<Mail>()) {
    mail_->wake = config_.wake;
}

NodeCore::~NodeCore() {
    const std::lock_guard guard(mail_->mutex);
    mail_->closed = true;
}

void NodeCore::serve(ClientApp app) {
    app_ = std::move(app);
}

void NodeCore::drive(ServerApp& app) {
    VFLBUS_ASSERT(driven_app_ == nullptr, "a node drives one run at a time");
    driven_app_ = &app;
    driven_ending_.reset();
    begun_ = opened_ = false;
    driver_ = std::make_unique<DriverImpl>(*this, app.spec());
    if (!link_.up()) return;  // it begins with the link
    enqueue(RunId(driver_->run_), Call([this] {
                const std::lock_guard guard(lock_);
                begin_driven();
            }));
}

void NodeCore::stop_driven(bool at_once) {
    if (driven_app_ == nullptr || driver_->closing_) return;
    if (at_once) {
        const Unlocked unlocked(lock_);
        return driver_->close(Errc::cancelled, "the run was ended at once by its owner");
    }
    enqueue(RunId(driver_->run_), Call([this] { driven_app_->on_stop(*driver_); }));
}

void NodeCore::abandon_driven(const Ending& ending) {
    VFLBUS_ASSERT(busy_ == 0, "no handler is at work when its run is abandoned");
    if (driven_app_ != nullptr) end_driven(ending);
}

bool NodeCore::driven(const RunId& run) const {
    return driven_app_ != nullptr && driver_->run_ == run;
}

bool NodeCore::timer_due() const {
    if (driven_app_ == nullptr || driver_->closing_ || config_.now() < driver_->timer_)
        return false;
    const auto strand = strands_.find(driver_->run_);
    return strand == strands_.end() || (!strand->second.busy && strand->second.waiting.empty());
}

TimePoint NodeCore::next_deadline() const {
    TimePoint next = TimePoint::max();
    // a strand that is busy, or has more to do, comes by here again
    if (driven_app_ != nullptr && !driver_->closing_ && handling_ && busy_ < config_.workers) {
        const auto strand = strands_.find(driver_->run_);
        if (strand == strands_.end() || !strand->second.busy) next = driver_->timer_;
    }
    if (down_since_ && !contexts_.empty())
        next = std::min(next, *down_since_ + config_.link_timeout);
    return next;
}

// -- strands -----------------------------------------------------------------------

void NodeCore::enqueue(const RunId& run, Work work) {
    Strand& strand = strands_[run];
    strand.waiting.push_back(std::move(work));
    if (strand.busy || strand.ready) return;
    strand.ready = true;
    ready_.push_back(run);
}

void NodeCore::answer_queries() {
    bus::QueryArrived query;
    while (link_.next_query(query)) {
        if (!query_handler_) {
            link_.answer(query,
                         fail(Errc::unknown_message, config_.name + " answers no questions"));
            continue;
        }
        const QueryReplier reply = query_replier(query);
        try {
            query_handler_(query, reply);
        } catch (...) {
            reply(fail(Errc::handler_failed, config_.name + ": " + what_was_thrown()));
        }
    }
    std::vector<Mail::QueryAnswer> answers;  // of the handler, at once, and of other threads
    {
        const std::lock_guard guard(mail_->mutex);
        answers.swap(mail_->query_answers);
    }
    for (const Mail::QueryAnswer& a : answers) link_.answer(a.query, a.answer);
}

/// May outlive this node: then nobody is answered.
QueryReplier NodeCore::query_replier(const bus::QueryArrived& query) {
    bus::QueryArrived head = query;
    head.body.clear();
    return [mail = mail_, head = std::move(head),
            replied = std::make_shared<std::atomic<bool>>(false)](Result<Bytes> answer) {
        if (replied->exchange(true)) return;
        mail->put(&Mail::query_answers, Mail::QueryAnswer{head, std::move(answer)});
    };
}

/// Of a content that its app may keep for longer than its handler runs. A small one has asked for
/// no room, and what it has of the link's memory it gives back when the handler has returned.
ContentRoom NodeCore::keep_room(bus::BodyRoom room, std::size_t content_bytes) {
    if (!room || content_bytes <= bus::credit_free_bytes) return {};
    const std::uint64_t number = ++last_room_;
    rooms_.emplace(number, std::move(room));
    return {static_cast<const void*>(this), [mail = mail_, number](const void*) {
                try {
                    mail->put(&Mail::rooms, number);
                } catch (...) {  // no memory for a number: the room stays taken
                }
            }};
}

/// What the link has received, put into the strands.
void NodeCore::take_events() {
    bus::LinkEvent event;
    while (!failing_ && link_.next_event(event)) {
        if (const auto* up = std::get_if<bus::LinkUp>(&event)) {
            note_up(*up);
        } else if (const auto* down = std::get_if<bus::LinkDown>(&event)) {
            note_down(*down);
        } else if (const auto* fatal = std::get_if<bus::LinkFatal>(&event)) {
            fail_all(fatal->failure);
            continue;
        }
        const RunId* const run = std::visit(
            [](const auto& e) -> const RunId* {
                if constexpr (requires { e.run; })
                    return &e.run;
                else
                    return nullptr;
            },
            event);
        if (run == nullptr) {  // about the link
            if (driven_app_ != nullptr) enqueue(RunId(driver_->run_), std::move(event));
            continue;
        }
        const RunId of = *run;
        const auto context = contexts_.find(of);
        if (context != contexts_.end()) {
            const auto* invited = std::get_if<bus::RunInvited>(&event);
            const auto* closed = std::get_if<bus::RunClosed>(&event);
            if ((closed != nullptr && closed->joined &&
                 (closed->invitation == 0 ||
                  closed->invitation == context->second->invitation_number)) ||
                (invited != nullptr && invited->term > context->second->invitation().term))
                context->second->cancel();
        }
        enqueue(of, std::move(event));
    }
}

/// Takes what the link and other threads have left, and puts it into the strands.
void NodeCore::collect() {
    std::vector<Mail::Answer> answers;
    std::vector<Mail::Progress> progress;
    std::vector<Mail::Posted> posted;
    std::vector<std::uint64_t> rooms;
    std::vector<RunId> reconsidered;
    {
        const std::lock_guard guard(mail_->mutex);
        answers.swap(mail_->answers);
        progress.swap(mail_->progress);
        posted.swap(mail_->posted);
        rooms.swap(mail_->rooms);
        reconsidered.swap(mail_->reconsidered);
    }
    for (const std::uint64_t number : rooms) rooms_.erase(number);
    answer_queries();
    take_events();  // gives the rooms to those that wait for one
    for (const Mail::Progress& p : progress) link_.note_progress(p.run, p.term, p.to, p.number);
    for (Mail::Answer& a : answers) answer(a.run, a.term, a.to, a.number, std::move(a.answer));
    for (const RunId& run : reconsidered)
        if (auto invitation = held_.extract(run))
            enqueue(run, bus::LinkEvent(std::move(invitation.mapped())));
    for (Mail::Posted& p : posted)
        if (driven(p.run) && !driver_->closing_) enqueue(p.run, std::move(p.call));
}

/// Events that strands have not handled are dropped; each hears of the end after its handler.
void NodeCore::fail_all(const Failure& failure) {
    failing_ = failure;
    ready_.clear();
    for (auto& [run, strand] : strands_) {
        strand.waiting.clear();
        strand.ready = false;
    }
    const Ending ending{failure.code, failure.sentence};
    if (driven_app_ != nullptr) enqueue(driver_->run_, bus::RunClosed{driver_->run_, ending});
    for (const auto& [run, context] : contexts_) {
        context->cancel();
        enqueue(run, bus::RunClosed{run, ending});
    }
}

/// Calls a handler of the driven app with the lock released. If it throws, the run is closed with
/// the cause: a process that ended by `terminate` would be started again, and fail again.
template <class Handler>
void NodeCore::call_driven(Handler&& handler) {
    const Unlocked unlocked(lock_);
    try {
        handler();
    } catch (...) {
        driver_->close(Errc::handler_failed, config_.name + " failed: " + what_was_thrown());
    }
}

void NodeCore::work(const RunId& run, Work work) {
    ++busy_;
    const std::uint64_t begun = link_.begin_work();
    strands_[run].busy = true;
    if (auto* event = std::get_if<bus::LinkEvent>(&work)) {
        std::visit([this](auto& e) { on(e); }, *event);
    } else if (driven(run) && !driver_->closing_) {
        call_driven(std::get<Call>(work));
    }
    VFLBUS_ASSERT(busy_ > 0, "a handler that returns had begun");
    --busy_;
    link_.end_work(begun);
    Strand& strand = strands_.at(run);
    strand.busy = false;
    if (!strand.waiting.empty()) {
        strand.ready = true;
        ready_.push_back(run);
    } else if (!driven(run) && contexts_.count(run) == 0) {
        strands_.erase(run);
    }
}

/// Handles one event of a strand that is free, or the timer. False: nothing to do for this thread.
bool NodeCore::work_once() {
    if (!handling_ || busy_ >= config_.workers) return false;
    if (!ready_.empty()) {
        const RunId run = ready_.front();
        ready_.pop_front();
        Strand& strand = strands_.at(run);
        strand.ready = false;
        Work next = std::move(strand.waiting.front());
        strand.waiting.pop_front();
        work(run, std::move(next));
        return true;
    }
    if (!timer_due()) return false;
    driver_->timer_ = TimePoint::max();
    work(RunId(driver_->run_), Call([this] { driven_app_->on_timer(*driver_); }));
    return true;
}

void NodeCore::pump() {
    do {
        collect();
        while (work_once()) collect();
        give_up_link();
    } while (handling_ && busy_ < config_.workers && !ready_.empty());
    if (failing_ && busy_ == 0 && ready_.empty()) fatal_ = failing_;
}

/// Runs that this node serves do not outlive the link for longer than link_timeout.
void NodeCore::give_up_link() {
    if (!down_since_ || contexts_.empty() || failing_ ||
        config_.now() - *down_since_ < config_.link_timeout)
        return;
    const Ending ending{
        Errc::unreachable,
        "the broker was not reachable for " +
            human_seconds(std::chrono::duration<double>(config_.link_timeout).count())};
    down_since_ = config_.now();  // once per period
    for (const auto& [run, context] : contexts_) {
        context->cancel();
        link_.forget_run(run);
        enqueue(run, bus::RunClosed{run, ending});
    }
}

void NodeCore::cancel_handlers() {
    for (const auto& [run, context] : contexts_) context->cancel();
}

/// Said once of a process.
void NodeCore::compare_clocks(const bus::LinkUp& event) {
    const auto theirs = bus::clock_in(event.extensions);
    if (!theirs || std::exchange(clocks_compared_, true)) return;
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto ours = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
    if (const std::string text = bus::clock_warning(*theirs, ours); !text.empty())
        observe::log::warn("{}", text);
}

/// Whatever the node does, as only who drives a run gets the event itself.
void NodeCore::note_up(const bus::LinkUp& event) {
    was_up_ = true;
    down_since_.reset();
    compare_clocks(event);
    if (std::exchange(said_lost_, false) && config_.say) config_.say("the broker is back");
}

void NodeCore::note_down(const bus::LinkDown& event) {
    if (!down_since_) down_since_ = config_.now();
    if (!contexts_.empty() && config_.say && !std::exchange(said_lost_, true))
        config_.say("lost the broker: " + event.sentence + "; the runs here wait " +
                    human_seconds(std::chrono::duration<double>(config_.link_timeout).count()) +
                    " for it");
}

void NodeCore::on(bus::LinkUp&) {
    if (driven_app_ == nullptr || driver_->closing_ || !begin_driven()) return;
    call_driven([this] { driven_app_->on_link(*driver_, true, {}); });
}

void NodeCore::on(bus::LinkDown& event) {
    if (driven_app_ == nullptr || driver_->closing_) return;
    call_driven([&] { driven_app_->on_link(*driver_, false, event.sentence); });
}

// -- serving ---------------------------------------------------------------------

void NodeCore::reconsider(const RunId& run) {
    mail_->put(&Mail::reconsidered, RunId(run));
}

void NodeCore::on(bus::RunInvited& event) {
    held_.erase(event.run);
    const auto known = contexts_.find(event.run);
    // asked twice before the first answer was out: the link has repeated that answer itself
    if (known != contexts_.end()) {
        const std::uint32_t term = known->second->invitation().term;
        const bool same = known->second->invitation_number == event.invitation;
        if (term > event.term || (term == event.term && same)) return;
    }
    // Of the same term: the run was closed and opened again while the app was about to answer, so
    // that nobody was told that it joins.
    if (known != contexts_.end())
        end_context(RunId(event.run),
                    Ending{Errc::stale_term, "a newer term of the run has begun"});
    Invitation invitation{event.run,
                          event.term,
                          event.owner,
                          event.open.owner,
                          event.open.participants,
                          std::move(event.open.agreed),
                          std::move(event.open.extensions),
                          std::move(event.owner_fingerprint)};
    auto context = std::make_unique<Context>(std::move(invitation), config_.name, config_.rank);
    context->message_bytes_max = link_.message_bytes_max();
    context->invitation_number = event.invitation;
    bus::Join join = link_.own_join();
    Result<> agreed = app_ ? Result<>{} : fail(Errc::refused, config_.name + " serves no runs");
    if (app_) {
        const Unlocked unlocked(lock_);
        try {  // as in `handle`: a user's handler must not end the node
            agreed = app_->join(*context);
        } catch (...) {
            agreed = fail(Errc::handler_failed, config_.name + ": " + what_was_thrown());
        }
    }
    join.config_hash = context->config_hash;
    join.extensions = context->join_extensions;
    if (!agreed) {
        join.code = agreed.error().code;
        join.sentence = agreed.error().sentence;
        if (join.code == Errc::held && held_.size() < config_.held_max) {
            const Invitation& of = context->invitation();
            held_.emplace(event.run, bus::RunInvited{of.run, of.term, of.owner,
                                                     bus::Open{of.owner_name, of.participants,
                                                               of.agreed, of.extensions},
                                                     of.owner_fingerprint, event.invitation});
        } else if (!served_ending_) {
            served_ending_ = Ending{join.code, join.sentence};
        }
    } else {
        contexts_[event.run] = std::move(context);
    }
    link_.join_run(event, std::move(join), config_.now());
}

Result<Bytes> NodeCore::handle(const Message& message, Context& context) {
    if (message.metadata.message_type == echo_type) return message.content;
    const ClientApp::Handler* handler =
        app_ ? app_->handler_of(message.metadata.message_type) : nullptr;
    if (handler == nullptr)
        return fail(Errc::unknown_message, config_.name + " has no handler for message type " +
                                               std::to_string(message.metadata.message_type));
    try {
        return (*handler)(message, context);
    } catch (...) {  // a user's handler must not end the node
        return fail(Errc::handler_failed, config_.name + ": " + what_was_thrown());
    }
}

/// A request of a run that this node does not serve.
void NodeCore::refuse(const bus::RequestArrived& event) {
    const Failure failure =
        driven(event.run)
            ? Failure{Errc::unknown_message,
                      config_.name + ", which owns the run, has no handler for message type " +
                          std::to_string(event.type)}
            : Failure{Errc::unknown_run, config_.name + " is not in this run"};
    link_.reply_error(event.run, event.from, event.number, failure, config_.now());
}

/// The handler returns at once and answers later.
void NodeCore::defer(const ClientApp::DeferredHandler& handler, bus::RequestArrived& event,
                     Message message, Context& context) {
    const Mail::Progress asked{event.run, event.term, event.from, event.number};
    message.room = keep_room(event.room, message.content.size());
    Replier replier(
        [mail = mail_, asked](Result<Bytes>&& answer) {
            mail->put(&Mail::answers, Mail::Answer{asked.run, asked.term, asked.to, asked.number,
                                                   std::move(answer)});
        },
        [mail = mail_, asked] { mail->put(&Mail::progress, asked); }, message.room);
    const Unlocked unlocked(lock_);
    try {
        handler(std::move(message), context, replier);
    } catch (...) {
        replier(fail(Errc::handler_failed, config_.name + ": " + what_was_thrown()));
    }
}

void NodeCore::on(bus::RequestArrived& event) {
    const auto found = contexts_.find(event.run);
    if (found == contexts_.end()) {
        if (!driven(event.run) || event.type != echo_type) return refuse(event);
        return link_.reply(event.run, event.from, event.number, std::move(event.body),
                           config_.now());
    }
    Context& context = *found->second;
    // the broker lets participants talk to each other; but only the owner may have work done, or
    // one member could have another one's scores, or end its part of the run
    if (event.from != context.invitation().owner && event.type != echo_type &&
        !VFLBUS_PLANTED(request_of_anybody))
        return link_.reply_error(
            event.run, event.from, event.number,
            {Errc::not_owner, config_.name + " takes requests of run " + event.run.short_hex() +
                                  " from " + context.invitation().owner_name + " alone"},
            config_.now());
    Message message;
    message.metadata = {event.run, event.term, event.number, event.from, link_.id(), event.type};
    message.content = std::move(event.body);
    if (const auto* deferred = app_ ? app_->deferred_handler_of(event.type) : nullptr)
        return defer(*deferred, event, std::move(message), context);
    HandledRequest handled{event.run, event.type};
    handled.bytes_in = message.content.size();
    if (config_.on_handled) handled.begun = config_.now();
    Result<Bytes> result;
    {
        const Unlocked unlocked(lock_);
        result = handle(message, context);
    }
    if (config_.on_handled) {
        handled.ended = config_.now();
        handled.failed = !result.has_value();
        if (result) handled.bytes_out = result->size();
        config_.on_handled(handled);
    }
    answer(event.run, event.term, event.from, event.number, std::move(result));
}

void NodeCore::answer(const RunId& run, std::uint32_t term, NodeId to, std::uint64_t number,
                      Result<Bytes> answer) {
    ++handled_;
    const auto found = contexts_.find(run);
    if (found == contexts_.end() || found->second->invitation().term != term) return;
    if (answer)
        link_.reply(run, to, number, std::move(*answer), config_.now());
    else
        link_.reply_error(run, to, number, answer.error(), config_.now());
}

void NodeCore::end_context(const RunId& run, const Ending& ending) {
    const auto found = contexts_.find(run);
    if (found == contexts_.end()) return;
    const std::unique_ptr<Context> context = std::move(found->second);
    contexts_.erase(found);
    context->cancel();
    {
        const Unlocked unlocked(lock_);
        try {
            if (app_) app_->end(ending, *context);
        } catch (...) {  // the run is over either way, and nobody waits for an answer
        }
    }
    if (!served_ending_ && ending.code != Errc::stale_term) served_ending_ = ending;
}

/// Each process of an owner begins a term of its own. One that comes in the term of an earlier
/// process does not know that there was one: its disk was set back, and the state here is not what
/// it takes it for. It is refused; resumed it takes a later term, and restores a commit.
void NodeCore::watch_owner(const bus::PeerChanged& event) {
    const auto found = contexts_.find(event.run);
    if (found == contexts_.end() || event.what != bus::PeerChanged::What::up) return;
    const Invitation& invitation = found->second->invitation();
    if (invitation.owner != event.node || invitation.term != event.term) return;
    std::uint64_t& known = found->second->owner_incarnation;
    if (known == 0) known = event.incarnation;
    if (known == event.incarnation || VFLBUS_PLANTED(owner_set_back)) return;
    bus::Join join = link_.own_join();
    join.code = Errc::stale_term;
    join.sentence = config_.name + " has joined term " + std::to_string(event.term) + " of run " +
                    event.run.short_hex() + " with an earlier process of " + invitation.owner_name +
                    ", whose stored state was set back since then: go on with `--resume " +
                    event.run.hex() + "`";
    const bus::RunInvited invited{event.run, event.term, event.node, {}};
    end_context(invited.run, Ending{join.code, join.sentence});
    link_.join_run(invited, std::move(join), config_.now());
}

// -- driving ---------------------------------------------------------------------

/// False: the run does not begin.
bool NodeCore::begin_driven() {
    if (begun_) return true;
    Result<> ready;
    {
        const Unlocked unlocked(lock_);
        try {
            ready = driven_app_->on_welcome();
        } catch (...) {
            ready = fail(Errc::handler_failed, config_.name + " failed: " + what_was_thrown());
        }
    }
    if (driver_->closing_) return false;  // it was closed without its app
    if (!ready) {
        end_driven({ready.error().code, ready.error().sentence});
        return false;
    }
    begun_ = true;
    const RunSpec& spec = driven_app_->spec();
    driver_->term_ = spec.term;
    link_.open_run(spec.run, spec.term,
                   bus::Open{config_.name, spec.participants, spec.agreed, spec.extensions},
                   config_.now());
    return true;
}

void NodeCore::on(bus::RunOpened& event) {
    if (!driven(event.run) || opened_ || driver_->closing_) return;
    opened_ = true;
    driver_->asked_ = event.asked;
    call_driven([this] { driven_app_->on_opened(*driver_); });
}

void NodeCore::on(bus::RunJoined& event) {
    if (!driven(event.run) || driver_->closing_ || event.term != driver_->term_) return;
    driver_->joined(event.node, event.join.name, event.join.code == Errc::ok);
    call_driven([&] { driven_app_->on_join(*driver_, event.node, event.join); });
}

void NodeCore::on(bus::PeerChanged& event) {
    if (!driven(event.run)) return watch_owner(event);
    if (driver_->closing_ || event.term != driver_->term_) return;
    using What = bus::PeerChanged::What;
    PeerEvent told;
    told.what = event.what == What::up        ? PeerEvent::What::up
                : event.what == What::suspect ? PeerEvent::What::suspect
                                              : PeerEvent::What::down;
    told.node = event.node;
    told.name = event.name;
    told.incarnation = event.incarnation;
    told.reason = event.reason;
    told.silent = std::chrono::milliseconds(event.silent_ms);
    call_driven([&] { driven_app_->on_peer(*driver_, told); });
}

void NodeCore::on(bus::ReplyArrived& event) {
    if (!driven(event.run) || driver_->closing_ || event.term != driver_->term_) return;
    Message reply;
    reply.metadata = {event.run, event.term, event.number, event.from, link_.id(), event.type};
    reply.content = std::move(event.body);
    reply.error = std::move(event.error);
    reply.room = keep_room(event.room, reply.content.size());
    ++handled_;
    call_driven([&] { driven_app_->on_reply(*driver_, std::move(reply)); });
}

void NodeCore::on(bus::RunClosed& event) {
    held_.erase(event.run);
    if (!event.joined) {
        // one that is about to be joined ends when it is: the link says so again
        if (app_ && contexts_.count(event.run) == 0 && !served_ending_)
            served_ending_ = event.ending;
        return;
    }
    if (driven(event.run)) return end_driven(event.ending);
    const auto context = contexts_.find(event.run);
    if (event.invitation != 0 && context != contexts_.end() &&
        context->second->invitation_number != event.invitation)
        return;  // it has been invited again since
    if (VFLBUS_PLANTED(context_kept) && event.ending.code == Errc::ok) return;
    end_context(event.run, event.ending);
}

void NodeCore::end_driven(const Ending& ending) {
    ServerApp* app = std::exchange(driven_app_, nullptr);
    Ending known = ending;
    {
        const Unlocked unlocked(lock_);
        try {
            app->on_closed(ending);
        } catch (...) {  // the run is over; what it had still to do, like its report, is not done
            if (known.code == Errc::ok)
                known = {Errc::handler_failed, config_.name + " failed: " + what_was_thrown()};
        }
    }
    driven_ending_ = std::move(known);
}

}  // namespace vflbus::actors
