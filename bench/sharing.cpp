// Two runs on the same two nodes: bodies of 1 GB beside small messages.
//
// Two processes with a link each and a broker between them, tcp on loopback. The first owns both
// runs, the second takes part in both; whatever it is asked it answers at once.

#include <cstring>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "base/hash.hpp"
#include "bus/zmq/link_loop.hpp"
#include "measure.hpp"
#include "observe/log.hpp"
#include "peer.hpp"
#include "process.hpp"

namespace vflbus::bench {
namespace {

constexpr std::uint16_t type_bulk = 300;
constexpr std::uint16_t type_small = 301;
constexpr std::size_t small_bytes = 64;

RunId run_of(std::uint64_t process, std::uint8_t n) {
    RunId run;
    run.bytes.fill(n);
    std::memcpy(run.bytes.data(), &process, sizeof process);
    return run;
}

class Sharer {
  public:
    /// `pair`: what the names of the two end in; pairs beside each other own different runs.
    Sharer(const std::string& broker, bool owns, const std::string& pair, const std::string& keys)
        : other_("other" + pair) {
        const std::string owner = "owner" + pair;
        const std::uint64_t process = random_u64();  // a later one of its name has runs of its own
        bulk_run_ = run_of(process, 1);
        small_run_ = run_of(process, 2);
        bus::LinkConfig config;
        const auto started = std::chrono::system_clock::now().time_since_epoch();
        config.hello.name = owns ? owner : other_;
        config.hello.role = owns ? "master" : "node";
        config.hello.incarnation = static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(started).count());
        config.hello.instance = process;
        config.hello.version = "bench";
        // others may keep this machine busy for seconds
        config.timings.suspect = config.timings.lost = std::chrono::hours(1);
        auto loop =
            bus::LinkLoop::create(bus::make_context(), broker, std::move(config), keys_of(keys));
        if (!loop) throw std::runtime_error(loop.error().sentence);
        loop_ = std::move(*loop);
        loop_->start();
        if (owns)
            for (const RunId& run : {bulk_run_, small_run_})
                loop_->core().open_run(run, 1, bus::Open{owner, {{other_, "node", -1}}, ""}, now());
        while (joined_ < 2) turn();
    }

    /// Until the bench ends.
    [[noreturn]] void serve() {
        for (;;) turn();
    }

    /// Seconds until a body is answered; round trips of small messages meanwhile, if asked for.
    double bulk(bus::Bytes body, bool with_small) {
        bulk_done_ = false;
        times_.clear();
        const double begin = now_seconds();
        ask(bulk_run_, type_bulk, std::move(body));
        if (with_small) ping();
        while (!bulk_done_) turn();
        const double seconds = now_seconds() - begin;
        while (pinging_) turn();
        return seconds;
    }
    void small(std::size_t count) {
        times_.clear();
        bulk_done_ = false;
        pings_left_ = count;
        ping();
        while (pinging_) turn();
    }
    /// A small message each `every`, until the bench ends.
    [[noreturn]] void trickle(Duration every) {
        for (TimePoint next = now();; next += every) {
            ping();
            while (pinging_) turn();
            std::this_thread::sleep_until(next + every);
        }
    }
    [[nodiscard]] const std::vector<double>& times() const noexcept { return times_; }

  private:
    static TimePoint now() { return std::chrono::steady_clock::now(); }

    void ask(const RunId& run, std::uint16_t type, bus::Bytes body) {
        const auto sent =
            loop_->core().request(run, node_id_of(other_), type, std::move(body), now());
        if (!sent) throw std::runtime_error(sent.error().sentence);
    }
    void ping() {
        pinging_ = true;
        ping_begin_ = now_seconds();
        ask(small_run_, type_small, bus::Bytes(small_bytes, 1));
    }

    void turn() {
        loop_->poll(now() + std::chrono::milliseconds(100), nullptr);
        bus::LinkEvent event;
        while (loop_->core().next_event(event)) {
            if (auto* invited = std::get_if<bus::RunInvited>(&event)) {
                loop_->core().join_run(
                    *invited, bus::Join{other_, "node", -1, 1, {}, "", Errc::ok, ""}, now());
                ++joined_;
            } else if (std::holds_alternative<bus::RunJoined>(event)) {
                ++joined_;
            } else if (auto* asked = std::get_if<bus::RequestArrived>(&event)) {
                const std::size_t bytes = asked->type == type_small ? small_bytes : 0;
                loop_->core().reply(asked->run, asked->from, asked->number, bus::Bytes(bytes, 2),
                                    now());
            } else if (auto* reply = std::get_if<bus::ReplyArrived>(&event)) {
                if (reply->error.code != Errc::ok) throw std::runtime_error(reply->error.sentence);
                if (reply->type == type_bulk) {
                    bulk_done_ = true;
                } else {
                    times_.push_back(now_seconds() - ping_begin_);
                    pinging_ = false;
                    if (pings_left_ > 0 ? --pings_left_ > 0 : !bulk_done_) ping();
                }
            } else if (auto* fatal = std::get_if<bus::LinkFatal>(&event)) {
                throw std::runtime_error(fatal->failure.sentence);
            }
        }
    }

    std::string other_;
    RunId bulk_run_;
    RunId small_run_;
    std::unique_ptr<bus::LinkLoop> loop_;
    int joined_ = 0;
    bool bulk_done_ = false;
    bool pinging_ = false;
    double ping_begin_ = 0;
    std::size_t pings_left_ = 0;
    std::vector<double> times_;
};

struct Answer {
    double seconds = 0;
    double p50 = 0;
    double p99 = 0;
};

Answer answer_of(Child& child) {
    std::istringstream answer(child.hear(std::chrono::minutes(5)));
    std::string done;
    Answer out;
    answer >> done >> out.seconds >> out.p50 >> out.p99;
    if (done != "done") throw std::runtime_error("the owner said " + answer.str());
    return out;
}

}  // namespace

int run_sharer(const std::vector<std::string>& arguments) {
    if (arguments.size() < 2 || arguments.size() > 3)
        throw std::runtime_error("sharer BROKER owner|other[PAIR] [KEYS]");
    observe::log::set_level(observe::log::Level::warn);
    const bool owns = arguments[1].starts_with("owner");
    const std::string pair = arguments[1].substr(std::string("owner").size());
    Sharer sharer(arguments[0], owns, pair, arguments.size() == 3 ? arguments[2] : std::string());
    std::printf("ready\n");
    std::fflush(stdout);
    if (!owns) sharer.serve();
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        std::string verb;
        std::size_t count = 0;
        words >> verb >> count;
        double seconds = 0;
        if (verb == "trickle") sharer.trickle(std::chrono::milliseconds(count));
        if (verb == "small")
            sharer.small(count);
        else if (verb == "bulk" || verb == "both")
            seconds = sharer.bulk(bus::Bytes(count, 3), verb == "both");
        else
            throw std::runtime_error("the owner does not know " + line);
        const auto& times = sharer.times();
        std::printf("done %.9f %.9f %.9f\n", seconds, times.empty() ? 0 : quantile(times, 0.5),
                    times.empty() ? 0 : quantile(times, 0.99));
        std::fflush(stdout);
    }
    return 0;
}

namespace {

/// Two peers that are let in, and send each other small messages while they live.
class Trickle {
  public:
    static constexpr const char* owner = "owner-b";
    static constexpr const char* other = "other-b";

    Trickle(const std::string& broker, const std::string& keys) {
        for (const char* const who : {owner, other})
            peers_.emplace_back(own_path(),
                                std::vector<std::string>{"role", "sharer", broker, who, keys});
        for (Child& peer : peers_) peer.hear();
        peers_[0].say("trickle 50");
    }

  private:
    std::vector<Child> peers_;
};

}  // namespace

std::vector<double> bulk_rates(std::size_t bytes, int rounds, const std::string& keys,
                               std::vector<double>* beside_small) {
    const ScratchDirectory scratch;
    std::string made;
    if (!keys.empty())
        made = (keys == unsealed ? keys : std::string()) +
               make_keys(scratch.path() + "/keys", {{"owner", "master"},
                                                    {"other", "node"},
                                                    {Trickle::owner, "master"},
                                                    {Trickle::other, "node"}});
    std::vector<std::string> broker{"role", "broker", "tcp://127.0.0.1:*"};
    if (!made.empty()) broker.push_back(keys_of(made).directory);
    Child router(own_path(), broker);
    const std::string endpoint = router.hear();
    Child owner(own_path(), {"role", "sharer", endpoint, "owner", made});
    Child other(own_path(), {"role", "sharer", endpoint, "other", made});
    owner.hear();
    other.hear();
    std::vector<double> rates;
    const auto rate = [&] {
        owner.say("bulk " + std::to_string(bytes));
        return static_cast<double>(bytes) / answer_of(owner).seconds;
    };
    (void)rate();
    for (int round = 0; round < rounds; ++round) {
        rates.push_back(rate());
        if (beside_small == nullptr) continue;
        const Trickle small(endpoint, made);
        beside_small->push_back(rate());
    }
    return rates;
}

void measure_sharing(Report& report, const Settings& settings) {
    const std::size_t bytes = settings.quick ? 20'000'000 : 1'000'000'000;
    const std::size_t pings = settings.quick ? 200 : 2000;
    const int rounds = settings.rounds > 0 ? settings.rounds : settings.quick ? 1 : 5;
    report.section("Two runs on the same two nodes",
                   "one moves bodies of " + std::to_string(bytes / 1'000'000) +
                       " MB, the other sends 64 B and waits for the answer; each alone, and both "
                       "together; tcp loopback");
    Child router(own_path(), {"role", "broker", "tcp://127.0.0.1:*"});
    const std::string endpoint = router.hear();
    Child owner(own_path(), {"role", "sharer", endpoint, "owner"});
    Child other(own_path(), {"role", "sharer", endpoint, "other"});
    owner.hear();
    other.hear();
    const auto tell = [&](const std::string& verb, std::size_t count) {
        owner.say(verb + " " + std::to_string(count));
        return answer_of(owner);
    };
    std::vector<double> p50_beside, p50_alone, p99_beside, p99_alone, rate_beside, rate_alone;
    const double size = static_cast<double>(bytes);
    for (int round = -1; round < rounds; ++round) {
        const Answer small = tell("small", pings);
        const Answer alone = tell("bulk", bytes);
        const Answer both = tell("both", bytes);
        if (round < 0) continue;
        p50_alone.push_back(1e6 * small.p50);
        p99_alone.push_back(1e3 * small.p99);
        rate_alone.push_back(size / alone.seconds);
        p50_beside.push_back(1e6 * both.p50);
        p99_beside.push_back(1e3 * both.p99);
        rate_beside.push_back(size / both.seconds);
    }
    report.add(paired("small round trip beside, p50", "us", p50_beside, p50_alone,
                      Bar{Bar::Kind::at_most, 3}));
    report.add(single("small round trip beside, p99", "ms", quantile(p99_beside, 0.5),
                      Bar{Bar::Kind::at_most, 20}));
    report.add(single("small round trip alone, p99", "ms", quantile(p99_alone, 0.5)));
    report.add(paired("bulk beside small messages", "bytes/s", rate_beside, rate_alone,
                      Bar{Bar::Kind::at_least, 0.8}));
    report.add(single("broker, most memory", "MB",
                      static_cast<double>(router.memory_bytes("VmHWM")) / 1e6));
}

}  // namespace vflbus::bench
