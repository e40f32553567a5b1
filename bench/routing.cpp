// Broker against relay, the same peers before either.

#include <iterator>
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
    // Which processes share a core changes all figures by a factor and lasts: many short rounds,
    // and new processes now and then.
    const int placements = settings.quick ? 1 : 3;
    const int rounds = settings.rounds > 0 ? settings.rounds : settings.quick ? 2 : 6;
    const int trips = settings.quick ? 4 : 20;
    const int ms = settings.quick ? 30 : 150;
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
    struct Pair {
        std::vector<double> ours;
        std::vector<double> theirs;
        void add(double our, double their) {
            ours.push_back(our);
            theirs.push_back(their);
        }
    };
    struct Flows {
        Pair rate, bytes, cpu;
    } flows[std::size(sizes)];
    Pair p50;
    Pair p99;
    double after = 0;
    for (int placement = 0; placement < placements; ++placement) {
        System ours(true);
        System theirs(false);
        for (std::size_t i = 0; i < std::size(sizes); ++i)
            for (int round = -1; round < rounds; ++round) {
                const int time = round < 0 ? ms / 3 : ms;
                const System::Flow our = ours.flow(time, sizes[i].bytes);
                const System::Flow their = theirs.flow(time, sizes[i].bytes);
                if (round < 0) continue;
                flows[i].rate.add(our.messages_per_s, their.messages_per_s);
                flows[i].bytes.add(our.bytes_per_s, their.bytes_per_s);
                flows[i].cpu.add(our.router_cpu_us, their.router_cpu_us);
            }
        for (int round = -1; round < trips; ++round) {
            const System::RoundTrip our = ours.ping(pings);
            const System::RoundTrip their = theirs.ping(pings);
            if (round < 0) continue;
            p50.add(1e6 * our.p50, 1e6 * their.p50);
            p99.add(1e6 * our.p99, 1e6 * their.p99);
        }
        after = static_cast<double>(ours.router().memory_bytes("VmRSS")) / 1e6;
    }
    for (std::size_t i = 0; i < std::size(sizes); ++i) {
        const Size& size = sizes[i];
        const Pair& flow = size.by_bytes ? flows[i].bytes : flows[i].rate;
        const std::string name = size.name;
        report.add(paired(name, size.by_bytes ? "bytes/s" : "messages/s", flow.ours, flow.theirs,
                          Bar{Bar::Kind::at_least, size.bar}));
        report.add(paired(name + ", CPU of the router", "us/message", flows[i].cpu.ours,
                          flows[i].cpu.theirs));
    }
    report.add(paired("round trip of 64 B, p50", "us", p50.ours, p50.theirs,
                      Bar{Bar::Kind::at_most, 1.3}));
    report.add(paired("round trip of 64 B, p99", "us", p99.ours, p99.theirs));
    report.add(single("broker after all that, resident", "MB", after));
}

}  // namespace vflbus::bench
