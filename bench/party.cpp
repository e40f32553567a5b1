#include "party.hpp"

#include <stdexcept>
#include <utility>

#include "observe/log.hpp"
#include "peer.hpp"

namespace vflbus::bench {

Rng numbers_of(int rank) {
    return Rng(static_cast<std::uint64_t>(rank + 11));
}

std::shared_ptr<const data::Table> made_table(const std::string& party, int rank, data::Ids ids,
                                              std::size_t features, Rng& rng) {
    auto table = std::make_shared<data::Table>();
    table->path = "generated";
    table->party = party;
    table->ids = std::move(ids);
    const auto column = [&](const std::string& name, auto&& value) {
        data::Column made;
        made.name = name;
        for (std::size_t row = 0; row < table->ids.size(); ++row) made.numbers.push_back(value());
        return made;
    };
    if (rank < 0)
        table->labels.push_back(column("y", [&] { return rng.uniform() < 0.3 ? 1.0 : 0.0; }));
    for (std::size_t c = 0; rank >= 0 && c < features; ++c)
        table->features.push_back(
            column("x" + std::to_string(c), [&] { return rng.uniform() - 0.5; }));
    return table;
}

std::unique_ptr<actors::Node> made_node(const std::string& broker, const std::string& state_dir,
                                        const std::string& name, const std::string& role,
                                        std::int64_t rank, const std::string& keys) {
    observe::log::set_level(observe::log::Level::warn);
    actors::NodeOptions options;
    options.context = bus::make_context();
    options.broker = broker;
    options.name = name;
    options.role = role;
    options.rank = rank;
    options.state_dir = state_dir + "/" + name;
    options.keys = keys_of(keys);
    auto node = actors::Node::create(std::move(options));
    if (!node) throw std::runtime_error(node.error().sentence);
    return std::move(*node);
}

}  // namespace vflbus::bench
