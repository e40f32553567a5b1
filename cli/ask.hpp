#pragma once
// Questions to a broker and, through it, to owners and participants of runs: what `vflbus runs`,
// `run` and `nodes` are made of (docs/protocol.md, section 12).

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "bus/wire/questions.hpp"
#include "bus/zmq/context.hpp"
#include "bus/zmq/link_loop.hpp"
#include "config/config.hpp"

namespace vflbus::cli {

struct Ask {
    NodeId of;  ///< broker_node: the broker itself
    RunId run;
    bus::Question what{};
    bus::Bytes body;
};

/// A node that is here for questions only, and is not listed among nodes.
class Asker {
  public:
    /// Errors: unreachable, naming the address, when the broker does not answer within 3 s;
    /// address; cancelled.
    /// `turned_away`: set where that is because of who answers there, and not because nobody does.
    static Result<Asker> connect(const config::Config& config, const bus::StopSignal& stop,
                                 bool* turned_away = nullptr);

    Asker(Asker&&) noexcept = default;
    Asker& operator=(Asker&&) noexcept = default;
    ~Asker();

    /// One answer, or why there is none, per question and in their order. Errors of single
    /// questions: those that were answered, and timed_out.
    std::vector<Result<bus::Bytes>> ask(std::vector<Ask> questions);
    Result<bus::Bytes> ask(Ask question);

    // -- without waiting: in place of `ask`, not beside it -----------------------------
    struct Answered {
        std::uint64_t number = 0;
        Result<bus::Bytes> body;
    };
    /// Asks, and returns the number under which the answer, or timed_out, comes to `next`. Not more
    /// than bus::queries_max at a time.
    std::uint64_t begin(Ask question);
    /// Works on the link until `until` or until something has come.
    void poll(TimePoint until);
    std::optional<Answered> next();
    /// Whether there is a session with the broker.
    [[nodiscard]] bool connected() const;
    /// Why there is none, as far as it is known.
    [[nodiscard]] std::string trouble() const;

    /// What the broker has said of itself.
    [[nodiscard]] const bus::LinkUp& broker() const noexcept { return broker_; }
    /// Waits, keeping the link; false when asked to stop.
    bool pause(Duration duration);

    // -- of the broker -----------------------------------------------------------
    Result<std::vector<bus::RunRow>> runs(const std::string& status, std::uint64_t limit);
    Result<std::vector<bus::NodeRow>> nodes(std::uint64_t limit);
    /// The one run whose id begins with `text`. Errors: unknown_run, usage for digits that several
    /// runs have, which are named.
    Result<bus::RunRow> run(const std::string& text);

  private:
    Asker() = default;
    std::shared_ptr<bus::Context> context_;
    std::unique_ptr<bus::LinkLoop> loop_;
    const bus::StopSignal* stop_ = nullptr;
    bus::LinkUp broker_;
    std::optional<Failure> fatal_;  ///< why the link will not come up again
};

/// For so long a broker may know nothing of a run that goes on: one that was started again learns
/// of it from those who take part.
Duration forgotten_after(const config::Config& config);

// -- what rows look like ------------------------------------------------------------

/// The master to which this run was submitted; empty when its owner is not a process of such.
/// That process is gone with its run, and the master answers in its place.
std::string serving_master(const std::string& owner, const RunId& run);
/// "2026-02-03 04:05:06"; "-" for 0. In local time where standard output is a terminal, otherwise
/// in UTC, so that what programs read does not depend on where they run.
std::string time_text(std::uint64_t ms);
/// The title of a column of such times: "CREATED (UTC)" where they are that.
std::string time_title(const std::string& what);
/// "2026-02-03T04:05:06.789Z"; empty for 0.
std::string time_json(std::uint64_t ms);
/// From its start to its end, or to now; "-" when it has not started.
std::string duration_text(const bus::RunRow& row, std::uint64_t now_ms);
/// "completed", "failed (owner_lost)".
std::string state_text(const bus::RunRow& row);
class JsonObject;
/// The keys of docs/json.md; more may be added to them.
JsonObject json_of(const bus::RunRow& row);
JsonObject json_of(const bus::NodeRow& row);
std::string to_json(const bus::RunRow& row);
std::string to_json(const bus::NodeRow& row);

}  // namespace vflbus::cli
