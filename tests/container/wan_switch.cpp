// A switch in user space between network namespaces, for kernels without netem: one TUN device per
// host, with delay, loss and bandwidth per host and direction.
//
//   wan_switch HOST=ADDRESS,DELAY_MS,LOSS_PERCENT,KBIT ...
//
// HOST is a name under /run/netns. A packet from A to B waits DELAY_MS of A and of B, is lost with
// their LOSS_PERCENT, and passes A's and B's KBIT per second (0: no limit). Prints "ready" once all
// devices are up, and how many packets it passed on and lost when it is told to end (SIGTERM).

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <queue>
#include <random>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

struct Host {
    std::uint32_t address = 0;
    int fd = -1;
    double delay_ms = 0;
    double loss_percent = 0;
    double kbit = 0;
    Clock::time_point out_free{};  ///< when its uplink has sent what it was given
    Clock::time_point in_free{};
};

struct Packet {
    Clock::time_point due;
    std::uint64_t number = 0;  ///< keeps the order of packets that are due together
    std::size_t to = 0;
    std::vector<unsigned char> bytes;
    bool operator<(const Packet& other) const {
        return due != other.due ? due > other.due : number > other.number;
    }
};

volatile std::sig_atomic_t stopped = 0;

/// A TUN device in the namespace `name`, with this address.
int open_device(const std::string& name, const std::string& address) {
    const int space = ::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
    if (space < 0 || ::setns(space, CLONE_NEWNET) != 0) return -1;
    ::close(space);
    const int fd = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    ifreq request{};
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    std::strcpy(request.ifr_name, "tun0");
    if (fd < 0 || ::ioctl(fd, TUNSETIFF, &request) != 0) return -1;
    const std::string up = "ip addr add " + address +
                           "/24 dev tun0 && ip link set tun0 up mtu 1500 && ip link set lo up";
    return std::system(up.c_str()) == 0 ? fd : -1;
}

Clock::duration time_of(std::size_t bytes, double kbit) {
    return kbit <= 0 ? Clock::duration(0)
                     : microseconds(static_cast<long>(static_cast<double>(bytes) * 8000 / kbit));
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGTERM, [](int) { stopped = 1; });
    const int home = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    std::vector<Host> hosts;
    for (int i = 1; i < argc; ++i) {
        std::array<char, 64> name{};
        std::array<char, 32> address{};
        Host host;
        if (std::sscanf(argv[i], "%63[^=]=%31[^,],%lf,%lf,%lf", name.data(), address.data(),
                        &host.delay_ms, &host.loss_percent, &host.kbit) != 5) {
            std::fprintf(stderr, "wan_switch: cannot read %s\n", argv[i]);
            return 2;
        }
        host.address = ::inet_addr(address.data());
        host.fd = open_device(name.data(), address.data());
        if (host.fd < 0) {
            std::perror(argv[i]);
            return 1;
        }
        hosts.push_back(host);
    }
    (void)::setns(home, CLONE_NEWNET);
    std::puts("ready");
    std::fflush(stdout);

    std::mt19937 random(1);
    std::uniform_real_distribution<> percent(0, 100);
    std::priority_queue<Packet> under_way;
    std::vector<unsigned char> buffer(65536);
    std::uint64_t passed = 0;
    std::uint64_t lost = 0;
    while (stopped == 0) {
        std::vector<pollfd> ready;
        for (const Host& host : hosts) ready.push_back({host.fd, POLLIN, 0});
        timespec wait{0, 100'000'000};
        if (!under_way.empty()) {
            const auto left = std::chrono::nanoseconds(under_way.top().due - Clock::now()).count();
            wait.tv_nsec = std::max<long>(0, std::min<long>(left, wait.tv_nsec));
        }
        ::ppoll(ready.data(), ready.size(), &wait, nullptr);
        for (std::size_t from = 0; from < hosts.size(); ++from) {
            if ((ready[from].revents & POLLIN) == 0) continue;
            for (;;) {
                const ssize_t n = ::read(hosts[from].fd, buffer.data(), buffer.size());
                if (n <= 0) break;
                const auto bytes = static_cast<std::size_t>(n);
                if (bytes < 20 || buffer[0] >> 4 != 4) continue;
                std::uint32_t address = 0;
                std::memcpy(&address, &buffer[16], sizeof address);
                for (std::size_t to = 0; to < hosts.size(); ++to) {
                    if (hosts[to].address != address || to == from) continue;
                    Host& a = hosts[from];
                    Host& b = hosts[to];
                    if (percent(random) < a.loss_percent || percent(random) < b.loss_percent) {
                        ++lost;
                        break;
                    }
                    a.out_free = std::max(a.out_free, Clock::now()) + time_of(bytes, a.kbit);
                    const auto arrives =
                        a.out_free +
                        microseconds(static_cast<long>((a.delay_ms + b.delay_ms) * 1000));
                    b.in_free = std::max(b.in_free, arrives) + time_of(bytes, b.kbit);
                    under_way.push({b.in_free, passed++, to, {buffer.begin(), buffer.begin() + n}});
                    break;
                }
            }
        }
        while (!under_way.empty() && under_way.top().due <= Clock::now()) {
            const Packet& packet = under_way.top();
            if (::write(hosts[packet.to].fd, packet.bytes.data(), packet.bytes.size()) < 0) ++lost;
            under_way.pop();
        }
    }
    std::printf("passed %llu lost %llu\n", static_cast<unsigned long long>(passed),
                static_cast<unsigned long long>(lost));
}
