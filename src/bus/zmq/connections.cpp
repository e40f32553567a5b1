#include "bus/zmq/connections.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

namespace vflbus::bus {
namespace {

/// From look to look; at most a hundredth of the time goes into looking.
constexpr Duration looks_every = std::chrono::milliseconds(10);
constexpr int share_of_looks = 100;
/// An ipc connection is cut when bytes waited for so many looks in a row, no message came in that
/// time, and the process has grown by so much in it.
constexpr int waiting_looks = 5;
constexpr std::uint64_t grown_bytes = 32u << 20;
/// Descriptors that are kept free for files, and for connections that come between two looks.
constexpr std::uint64_t spare_descriptors = 16;
constexpr Duration full_told_every = std::chrono::seconds(60);

/// The bytes that the kernel has received for a tcp connection and ZeroMQ has read; nothing for
/// another kind.
std::optional<std::uint64_t> bytes_read(int fd) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
    if (size < offsetof(tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
        return std::nullopt;
    int waiting = 0;
    if (::ioctl(fd, SIOCINQ, &waiting) != 0) waiting = 0;
    const std::uint64_t received = info.tcpi_bytes_received;
    return received - std::min(received, static_cast<std::uint64_t>(waiting));
}

bool bytes_wait(int fd) {
    int waiting = 0;
    return ::ioctl(fd, SIOCINQ, &waiting) == 0 && waiting > 0;
}

/// Of a socket; 0 for anything else.
ino_t inode_of(int fd) {
    struct stat found{};
    return ::fstat(fd, &found) == 0 && S_ISSOCK(found.st_mode) ? found.st_ino : 0;
}

std::uint64_t resident_bytes(int statm) {
    char text[128];
    const ssize_t n = ::pread(statm, text, sizeof text - 1, 0);
    if (n <= 0) return 0;
    text[n] = '\0';
    const char* const second = std::strchr(text, ' ');
    if (second == nullptr) return 0;
    return std::strtoull(second, nullptr, 10) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t allowed_descriptors() {
    rlimit limit{};
    return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

}  // namespace

Connections::Connections(zmq::context_t& context, zmq::socket_t& router, const Bounds& bounds,
                         Log log)
    : bounds_(bounds),
      log_(std::move(log)),
      monitor_(context, router,
               ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_ACCEPT_FAILED | ZMQ_EVENT_DISCONNECTED) {
    if (bounds_.descriptors == 0) bounds_.descriptors = allowed_descriptors();
    if (monitor_.descriptor() < 0) return;
    statm_ = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    read();  // a socket wakes only a reader that has found nothing before
}

Connections::~Connections() {
    if (statm_ >= 0) ::close(statm_);
}

// -- what the monitor tells ------------------------------------------------------

void Connections::read() {
    bool failed = false;
    while (const auto event = monitor_.next()) {
        const auto [number, value] = *event;
        if (number == ZMQ_EVENT_ACCEPTED) accepted(value);
        if (number == ZMQ_EVENT_DISCONNECTED) disconnected(value);
        if (number == ZMQ_EVENT_ACCEPT_FAILED)
            failed =
                failed || value == EMFILE || value == ENFILE || value == ENOBUFS || value == ENOMEM;
    }
    if (failed) accept_failed(clock_now());
}

void Connections::accepted(int fd) {
    const ino_t inode = inode_of(fd);
    if (accepted_.count(fd) != 0) disconnected(fd);  // it was closed without a word
    if (inode == 0) return;                          // closed again already
    Accepted entry;
    entry.inode = inode;
    entry.since = clock_now();
    entry.mark_then = mark();
    accepted_.emplace(fd, entry);
    if (accepted_.size() == 1) next_check_ = entry.since;
    if (static_cast<std::uint64_t>(fd) + spare_descriptors >= bounds_.descriptors)
        accept_failed(entry.since);
}

void Connections::disconnected(int fd) {
    const auto found = accepted_.find(fd);
    if (found == accepted_.end()) return;
    if (found->second.tied) {
        descriptor_of_.erase(found->second.number);
        closed_.push_back({found->second.number, mark()});
    }
    last_entry_ = nullptr;
    accepted_.erase(found);
}

/// A connection that has said something may be a node's: it stays. The oldest of the others are
/// closed, as a node needs no time to say HELLO; ZeroMQ goes on accepting with what they give back.
void Connections::accept_failed(TimePoint now) {
    const bool tell = full_told_ == TimePoint{} || now - full_told_ >= full_told_every;
    if (tell) full_told_ = now;
    if (tell && log_)
        log_("out of descriptors: this process may have " + std::to_string(bounds_.descriptors) +
             "; connections that have not said HELLO are closed for others; raise the limit "
             "(ulimit -n, LimitNOFILE=)");
    make_room(spare_descriptors, "");
}

void Connections::make_room(std::size_t places, const char* why) {
    std::vector<std::pair<TimePoint, int>> silent;
    for (const auto& [fd, entry] : accepted_)
        if (!entry.tied && !entry.cut) silent.emplace_back(entry.since, fd);
    std::sort(silent.begin(), silent.end());
    // half of them stay: who has come just now is given the time to say who it is
    const std::size_t most = std::min(places, (silent.size() + 1) / 2);
    for (std::size_t i = 0; i < most; ++i) cut(silent[i].second, accepted_[silent[i].second], why);
}

// -- what the ROUTER delivers -----------------------------------------------------

void Connections::heard(std::uint32_t connection, const zmq::message_t& frame, bool introduces) {
    if (monitor_.descriptor() < 0) return;
    ++messages_;
    if (connection == last_ && last_entry_ != nullptr && !introduces) {
        ++last_entry_->messages;
        return;
    }
    auto known = descriptor_of_.find(connection);
    if (known == descriptor_of_.end() || introduces) {
        read();
        known = descriptor_of_.find(connection);
        const int fd = zmq_msg_get(frame.handle(), ZMQ_SRCFD);
        const auto at = accepted_.find(fd);
        // (without an entry it is closed already, or has no descriptor)
        if (at == accepted_.end()) return;
        if (known != descriptor_of_.end() && known->second != fd) descriptor_of_.erase(known);
        if (at->second.tied && at->second.number != connection)
            descriptor_of_.erase(at->second.number);
        at->second.tied = true;
        at->second.number = connection;
        known = descriptor_of_.insert_or_assign(connection, fd).first;
    }
    last_ = connection;
    last_entry_ = &accepted_.at(known->second);
    ++last_entry_->messages;
}

/// The ROUTER takes a message of each connection in turn, so after as many messages as there are
/// connections each of them had its turn.
bool Connections::all_heard_since(const Mark& then) const noexcept {
    return idle_ > then.idle || messages_ > then.messages + accepted_.size() + 1;
}

std::vector<std::uint32_t> Connections::closed() {
    std::vector<std::uint32_t> told;
    std::erase_if(closed_, [&](const Closed& entry) {
        if (!all_heard_since(entry.mark)) return false;
        told.push_back(entry.number);
        return true;
    });
    return told;
}

// -- what the kernel counts -------------------------------------------------------

TimePoint Connections::next_check() const noexcept {
    return accepted_.empty() ? TimePoint::max() : next_check_;
}

void Connections::check(TimePoint now) {
    if (monitor_.descriptor() < 0 || now < next_check()) return;
    read();
    const std::uint64_t memory = statm_ < 0 ? 0 : resident_bytes(statm_);
    std::uint64_t all = 0;
    std::vector<std::pair<std::uint64_t, int>> largest;
    for (auto& [fd, entry] : accepted_) {
        if (entry.cut || !look_at(fd, entry, now, memory)) continue;
        all += entry.unfinished;
        if (entry.unfinished != 0) largest.emplace_back(entry.unfinished, fd);
    }
    if (all > bounds_.unfinished_in_all) {
        std::sort(largest.rbegin(), largest.rend());
        for (const auto& [bytes, fd] : largest) {
            if (all <= bounds_.unfinished_in_all) break;
            all -= bytes;
            cut(fd, accepted_[fd], "too much of unfinished messages waits in all");
        }
    }
    const TimePoint end = clock_now();
    next_check_ = end + std::max<Duration>(looks_every, share_of_looks * (end - now));
}

/// False when it was cut. Bytes count as those of a message that is not whole only when the ROUTER
/// was emptied after they had come, and had no message of this connection. Example of what goes
/// wrong otherwise: this thread sleeps while ZeroMQ reads 16 MiB of whole messages of an honest
/// node, and looks before it receives them.
bool Connections::look_at(int fd, Accepted& entry, TimePoint now, std::uint64_t memory) {
    if (!entry.tied && now - entry.since > bounds_.without_message) {
        cut(fd, entry, "");
        return false;
    }
    const auto bytes = bytes_read(fd);
    if (entry.messages != entry.messages_then) {
        entry.messages_then = entry.messages;
        entry.bytes_then = entry.bytes_seen = bytes.value_or(0);
        entry.unfinished = 0;
        entry.waiting = 0;
        entry.mark_then = mark();
        return true;
    }
    bool too_long = false;
    if (bytes) {
        if (all_heard_since(entry.mark_then)) {
            entry.unfinished = entry.bytes_seen - entry.bytes_then;
            entry.bytes_seen = std::max(*bytes, entry.bytes_seen);
            entry.mark_then = mark();
        }
        too_long = entry.unfinished > bounds_.unfinished;
    } else {
        entry.waiting = bytes_wait(fd) ? entry.waiting + 1 : 0;
        if (entry.waiting <= 1) {
            entry.memory_then = memory;
            entry.mark_then = mark();
        }
        entry.memory_then = std::min(entry.memory_then, memory);
        too_long = entry.waiting >= waiting_looks && all_heard_since(entry.mark_then) &&
                   memory > entry.memory_then + grown_bytes;
    }
    if (!too_long) return true;
    cut(fd, entry, "its message does not end");
    return false;
}

void Connections::cut(std::uint32_t connection) {
    read();
    const auto found = descriptor_of_.find(connection);
    if (found == descriptor_of_.end()) return;
    if (Accepted& entry = accepted_.at(found->second); !entry.cut) cut(found->second, entry, "");
}

void Connections::cut(int fd, Accepted& entry, const char* why) {
    entry.cut = true;
    // (the I/O thread may have closed it since the monitor was read)
    if (inode_of(fd) != entry.inode) return;
    // its close then resets it: a peer that sends to a full window would hear of it minutes later
    const linger at_once{1, 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::shutdown(fd, SHUT_RDWR);
    if (*why != '\0' && log_) log_("a connection is closed: " + std::string(why));
}

}  // namespace vflbus::bus
