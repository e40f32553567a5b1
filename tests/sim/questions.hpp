#pragma once
// A run of numbered questions, some of many chunks: the bus without anything on top. And a visitor,
// who asks the broker and the nodes beside all runs (docs/protocol.md, section 12).

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "actors/node/app.hpp"
#include "world.hpp"

namespace vflbus::sim {

inline constexpr actors::MessageType question = 300;
/// The agreed text of such a run.
inline constexpr std::string_view questions = "questions";

/// A question that wants a longer answer gets a short one.
inline constexpr std::uint64_t answer_bytes_max = 2u << 20;

/// What a member answers: what it was asked, who it is, and as much more as the question wants.
actors::Bytes answer_to(std::span<const std::uint8_t> body, const std::string& member,
                        std::uint64_t incarnation);

struct AskerPlan {
    std::vector<bus::Participant> members;
    /// The run is open to all who serve apps; it is over when so many at least have answered all.
    bool open = false;
    std::size_t nodes = 0;
    std::size_t number = 12;  ///< questions to each
    /// Their answers may be anything, or none; the run does not wait for them.
    std::set<std::string> distrusted{};
    /// One question, and one answer, of so many is longer than `large_from` bytes, up to twice.
    std::uint64_t large_one_in = 40;
    std::uint64_t large_from = bus::chunk_bytes;
    bool extensions = false;  ///< OPEN and JOIN have some that may be ignored
};

/// What OPEN of such a run has, and what the JOIN of `member` answers to it.
bus::Extensions open_extensions(const RunId& run);
bus::Extensions join_extensions(const bus::Extensions& open, const std::string& member);

/// Asks each member `number` questions, four at a time, and again what was lost with a process.
class Asker final : public actors::ServerApp {
  public:
    /// `place`: its node in the world.
    Asker(World& world, std::size_t place, std::uint64_t seed, AskerPlan plan);

    const actors::RunSpec& spec() const override { return spec_; }
    void on_opened(actors::Driver&) override {}
    void on_join(actors::Driver& driver, NodeId node, const bus::Join& join) override;
    void on_reply(actors::Driver& driver, actors::Message&& reply) override;
    void on_peer(actors::Driver& driver, const actors::PeerEvent& event) override;
    void on_timer(actors::Driver&) override {}
    void on_link(actors::Driver& driver, bool up, const std::string& sentence) override;
    void on_closed(const actors::Ending& ending) override;

    /// What is still asked of whom, for the story of a run that did not finish.
    [[nodiscard]] std::string open_questions() const;

    bool done = false;
    actors::Ending ending;      ///< when done
    std::uint64_t replies = 0;  ///< so far

  private:
    struct Asked {
        actors::Bytes body;
        std::uint64_t incarnation = 0;  ///< of the process that is asked
    };

    void ask(actors::Driver& driver, NodeId node);
    void push(actors::Driver& driver, NodeId node, actors::Bytes body);
    std::uint64_t length();

    World& world_;
    std::size_t place_;
    Rng rng_;
    AskerPlan plan_;
    actors::RunSpec spec_;
    std::map<NodeId, std::size_t> asked_;
    std::map<NodeId, std::string> names_;
    std::set<NodeId> distrusted_;  ///< those of them that have joined
    std::map<std::pair<NodeId, std::uint64_t>, Asked> open_;
};

/// Asks whoever there is: each question has one outcome, an answer from the node that was asked or
/// an error, within its time.
class Visitor {
  public:
    Visitor(World& world, std::size_t place, std::uint64_t seed, std::vector<std::string> names,
            std::vector<RunId> runs, std::set<std::string> distrusted = {});

    /// Its process begins: what an earlier one has asked is forgotten with it.
    void begin() { open_.clear(); }
    /// Asks one question or a burst of them.
    void ask();
    void may_ask_about(const RunId& run) { runs_.push_back(run); }
    void on_answer(const bus::AnswerArrived& answer);
    [[nodiscard]] bool waits() const noexcept { return !open_.empty(); }

  private:
    struct Asked {
        std::string name;  ///< empty: the broker
        RunId run;
        bus::Question question{};
        bus::Bytes body;
    };

    void ask_one();
    void check_rows(const Asked& asked, const bus::AnswerArrived& answer);

    World& world_;
    std::size_t place_;
    Rng rng_;
    std::vector<std::string> names_;
    std::vector<RunId> runs_;
    std::set<std::string> distrusted_;  ///< their answers may be anything
    std::map<std::uint64_t, Asked> open_;
};

/// How the nodes of a simulation answer it.
bus::Bytes answer_query(const bus::QueryArrived& query, const std::string& name);

}  // namespace vflbus::sim
