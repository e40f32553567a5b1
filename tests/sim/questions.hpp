#pragma once
// A run of numbered questions, some of several chunks: the bus without anything on top.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "actors/app.hpp"
#include "world.hpp"

namespace vflbus::sim {

inline constexpr actors::MessageType question = 300;
/// The agreed text of such a run.
inline constexpr std::string_view questions = "questions";

/// What a member answers: who it is and what it was asked.
actors::Bytes answer_to(std::span<const std::uint8_t> body, const std::string& member);

/// Asks each member `questions` times, four at a time, and again what was lost with a process.
class Asker final : public actors::ServerApp {
  public:
    Asker(World& world, std::uint64_t seed, std::vector<bus::Participant> members,
          std::size_t number);

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

    std::size_t answered = 0;
    bool done = false;
    actors::Ending ending;  ///< when done

  private:
    void ask(actors::Driver& driver, NodeId node);
    void push(actors::Driver& driver, NodeId node, actors::Bytes body);

    World& world_;
    Rng rng_;
    std::size_t number_;
    actors::RunSpec spec_;
    std::map<NodeId, std::size_t> asked_;
    std::map<std::pair<NodeId, std::uint64_t>, actors::Bytes> open_;
};

}  // namespace vflbus::sim
