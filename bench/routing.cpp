// Broker against relay, the same peers before either.

#include <memory>
#include <sstream>

#include "bus/wire/limits.hpp"
#include "measure.hpp"
#include "process.hpp"

namespace vflbus::bench {
namespace {

// the two hop windows that a broker begins with
constexpr std::uint64_t credit_bytes = 2 * bus::hop_window_bytes_min;

/// A broker or a relay with two peers.
class System {
  public:
    explicit System(bool broker)
        : router_(broker ? Child(own_path(), {"role", "broker", "tcp://127.0.0.1:*"})
                         : Child(neighbor("vflbus-relay"), {"tcp://127.0.0.1:*"})),
          endpoint_(router_.hear()),
          owner_(peer(broker, 1)),
          other_(peer(broker, 2)) {
        owner_.hear();
        other_.hear();
    }

    struct Flow {
        double messages_per_s = 0;
        double bytes_per_s = 0;
        double router_cpu_us = 0;  ///< per message
    };
    Flow flow(int ms, std::size_t body) {
        const double cpu = router_.cpu_seconds();
        other_.say("consume");
        owner_.say("produce " + std::to_string(ms) + " " + std::to_string(body) + " " +
                   std::to_string(credit_bytes));
        owner_.hear();
        std::istringstream answer(other_.hear());
        std::string done;
        double messages = 0;
        double bytes = 0;
        double seconds = 1;
        answer >> done >> messages >> bytes >> seconds;
        return {messages / seconds, messages * static_cast<double>(body) / seconds,
                1e6 * (router_.cpu_seconds() - cpu) / messages};
    }

    struct RoundTrip {
        double p50 = 0;
        double p99 = 0;
    };
    RoundTrip ping(int count) {
        other_.say("serve 64");
        owner_.say("ping " + std::to_string(count) + " 64");
        std::istringstream answer(owner_.hear());
        other_.hear();
        std::string done;
        RoundTrip trip;
        answer >> done >> trip.p50 >> trip.p99;
        return trip;
    }

    [[nodiscard]] const Child& router() const noexcept { return router_; }

  private:
    Child peer(bool broker, int slot) const {
        return Child(own_path(), {"role", "peer", broker ? "broker" : "relay", endpoint_,
                                  std::to_string(slot), "2"});
    }

    Child router_;
    std::string endpoint_;
    Child owner_;
    Child other_;
};

struct Size {
    const char* name;
    std::size_t bytes;
    bool by_bytes;
    double bar;
};
constexpr Size sizes[] = {{"64 B", 64, false, 0.8},
                          {"1 KiB", 1024, false, 0.8},
                          {"64 KiB", 64 << 10, true, 0.9},
                          {"1 MiB", 1 << 20, true, 0.9}};

}  // namespace

void measure_routing(Report& report, const Settings& settings) {
    const int rounds = settings.rounds > 0 ? settings.rounds : settings.quick ? 2 : 15;
    const int ms = settings.quick ? 30 : 200;
    // a pair of processes may share a core for a while: many short rounds, not few long ones
    const int trips = settings.quick ? 4 : 40;
    const int pings = settings.quick ? 50 : 200;
    report.section(
        "Broker against relay",
        "producer -> broker or relay -> consumer, three processes, tcp loopback; at most 1 MiB in "
        "flight end to end for both (the broker's two hop windows hold besides); 1 MiB bodies are "
        "two "
        "frames");
    {
        Child broker(own_path(), {"role", "broker", "tcp://127.0.0.1:*"});
        broker.hear();
        report.add(single("idle broker, resident memory", "MB",
                          static_cast<double>(broker.memory_bytes("VmRSS")) / 1e6,
                          Bar{Bar::Kind::at_most, 20}));
    }
    System ours(true);
    System theirs(false);
    for (const Size& size : sizes) {
        std::vector<double> rate[2];
        std::vector<double> bytes[2];
        std::vector<double> cpu[2];
        for (int round = -1; round < rounds; ++round) {
            int side = 0;
            for (System* system : {&ours, &theirs}) {
                const System::Flow flow = system->flow(round < 0 ? ms / 3 : ms, size.bytes);
                if (round >= 0) {
                    rate[side].push_back(flow.messages_per_s);
                    bytes[side].push_back(flow.bytes_per_s);
                    cpu[side].push_back(flow.router_cpu_us);
                }
                ++side;
            }
        }
        const Bar bar{Bar::Kind::at_least, size.bar};
        const std::string name = size.name;
        if (size.by_bytes)
            report.add(paired(name, "bytes/s", bytes[0], bytes[1], bar));
        else
            report.add(paired(name, "messages/s", rate[0], rate[1], bar));
        report.add(paired(name + ", CPU of the router", "us/message", cpu[0], cpu[1]));
    }
    std::vector<double> p50[2];
    std::vector<double> p99[2];
    for (int round = -1; round < trips; ++round) {
        int side = 0;
        for (System* system : {&ours, &theirs}) {
            const System::RoundTrip trip = system->ping(pings);
            if (round >= 0) {
                p50[side].push_back(1e6 * trip.p50);
                p99[side].push_back(1e6 * trip.p99);
            }
            ++side;
        }
    }
    report.add(
        paired("round trip of 64 B, p50", "us", p50[0], p50[1], Bar{Bar::Kind::at_most, 1.3}));
    report.add(paired("round trip of 64 B, p99", "us", p99[0], p99[1]));
    report.add(single("broker after all that, resident", "MB",
                      static_cast<double>(ours.router().memory_bytes("VmRSS")) / 1e6));
}

}  // namespace vflbus::bench
