// The ServerApp: in each round it draws some nodes, sends each a message and waits for the replies.
// Several may run at once on the same nodes.

#include <algorithm>
#include <chrono>
#include <iterator>
#include <random>
#include <string>
#include <vector>
#include <vflbus/app.hpp>

using namespace vflbus::app;
using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

void server(Driver& driver, Context& context) {
    const auto num_nodes_per_round = context.run_config<std::size_t>("nodes-per-round", 2);
    const int num_rounds = context.run_config("rounds", 3);
    std::mt19937 random{std::random_device{}()};
    steady_clock::time_point begin;  // of the first push

    for (int server_round = 1; server_round <= num_rounds; ++server_round) {
        log(INFO, "Starting server round ", server_round);

        // sample nodes of those that are there
        while (!driver.wait_for_nodes(num_nodes_per_round, seconds(1)))
            if (context.cancelled()) return;
        const std::vector<NodeId> all_node_ids = driver.get_node_ids();
        std::vector<NodeId> node_ids;
        std::sample(all_node_ids.begin(), all_node_ids.end(), std::back_inserter(node_ids),
                    num_nodes_per_round, random);

        // create and push messages
        std::vector<Message> messages;
        for (const NodeId node_id : node_ids) {
            Record record;
            record.config["round"] = server_round;
            record.tensors["weights"] = Tensor::of(std::vector<double>{0.5, double(server_round)});
            messages.push_back(driver.create_message(record, message_type::train, node_id,
                                                     std::to_string(server_round)));
        }
        if (server_round == 1) begin = steady_clock::now();
        std::vector<std::string> message_ids = driver.push_messages(messages);

        // pull replies; a message that was refused has an empty id
        std::erase(message_ids, "");
        std::vector<Message> all_replies;
        while (all_replies.size() < message_ids.size() && !context.cancelled()) {
            driver.wait_for_reply(seconds(1));
            std::vector<Message> replies = driver.pull_messages(message_ids);
            log(INFO, "Pulled ", replies.size(), " result(s)");
            std::move(replies.begin(), replies.end(), std::back_inserter(all_replies));
        }

        // leave out errors; an echo has the content that was sent
        std::vector<NodeId> src_node_ids;
        for (const Message& reply : all_replies) {
            if (!reply.has_content()) {
                log(WARNING, "No reply from ", driver.name_of(reply.metadata().src_node_id), ": ",
                    reply.error().reason);
                continue;
            }
            if (reply.content() != messages.front().content()) log(WARNING, "The echo differs");
            src_node_ids.push_back(reply.metadata().src_node_id);
        }
        log(INFO, "Received replies from node IDs: ", src_node_ids);
    }
    const std::chrono::duration<double, std::milli> took = steady_clock::now() - begin;
    log(INFO, num_rounds, " rounds took ", took.count(), " ms");
    log(INFO, "Multi-run example complete!");
}

}  // namespace

VFLBUS_SERVER_APP(server)
