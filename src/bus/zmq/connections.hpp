#pragma once
// The connections of a ROUTER, as the kernel and ZeroMQ's monitor see them.
//
// The problem: a ROUTER shows whole messages and nothing else. It does not say that a connection
// was closed, it keeps the parts of a message in memory until the last one has come, however many
// there are (40 MB of empty parts take 1.3 GB), and when the process is out of descriptors its
// thread tries to accept again and again and says nothing. All three are seen here, by descriptor:
//
// - The monitor tells which descriptors were accepted and closed. A message says which descriptor
//   it came from, so the first message of a connection ties its routing id to its descriptor; or a
//   later one, as ZeroMQ tells of an accepted connection after it has given it to an I/O thread,
//   and another one than that which accepted it may be quicker.
// - The kernel counts the bytes that came for a descriptor. One that receives and delivers no whole
//   message is cut: shutdown(2), after which ZeroMQ closes it and frees what it kept. The kernel
//   counts for tcp alone; of an ipc connection is known whether bytes wait, and how the process has
//   grown meanwhile.
// - Connections that have delivered no message make room, the oldest first, before descriptors run
//   out, and after a minute in any case.
//
// Descriptors are used again. The I/O thread tells of a closed one before it closes it, so whoever
// reads the monitor to its end before a message is looked at never takes a new connection for an
// old one; and nothing is cut whose inode is another one than when it was accepted. (With two I/O
// threads a connection that ends at once may be told as closed before it is told as accepted. What
// then has its descriptor counts as a connection that says nothing. If that is one of the ROUTER's,
// it is taken for closed when it is accepted itself, and its node says HELLO again.) inproc has no
// descriptors: nothing is known of its connections.

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>
#include <zmq.hpp>

#include "base/clock.hpp"
#include "bus/zmq/monitor.hpp"

namespace vflbus::bus {

class Connections {
  public:
    struct Bounds {
        /// Bytes of a message that is not whole yet: of one connection, and of all of them.
        std::uint64_t unfinished = 0;
        std::uint64_t unfinished_in_all = 0;
        /// How long a connection may be there without a message.
        Duration without_message{};
        /// Descriptors that this process may have. 0: as the system says.
        std::uint64_t descriptors = 0;
    };
    using Log = std::function<void(const std::string& line)>;

    /// Before `router` is bound. Where the monitor cannot be had, nothing is ever known.
    Connections(zmq::context_t& context, zmq::socket_t& router, const Bounds& bounds, Log log);
    ~Connections();
    Connections(const Connections&) = delete;
    Connections& operator=(const Connections&) = delete;

    /// Reads all that the monitor has to say.
    void read();
    /// A whole message has come. `introduces`: it may say whose connection this is, so that its
    /// descriptor is looked at again.
    void heard(std::uint32_t connection, const zmq::message_t& frame, bool introduces);
    /// The ROUTER had nothing more to receive.
    void all_heard() noexcept { ++idle_; }
    /// The connections that were closed and whose last message has been heard; each is told once.
    [[nodiscard]] std::vector<std::uint32_t> closed();
    /// Looks at what came for each connection, and cuts those that pass the bounds. Cheap before
    /// `next_check`.
    void check(TimePoint now);
    /// `check` wants to be called then; the end of time while there are no connections.
    [[nodiscard]] TimePoint next_check() const noexcept;
    /// Cuts a connection.
    void cut(std::uint32_t connection);
    /// Readable when there may be something to read; -1 without a monitor.
    [[nodiscard]] int descriptor() const noexcept { return monitor_.descriptor(); }

  private:
    /// How far the ROUTER had been emptied at some moment.
    struct Mark {
        std::uint64_t idle = 0;
        std::uint64_t messages = 0;
    };
    struct Accepted {
        ino_t inode = 0;
        TimePoint since{};
        bool tied = false;           ///< a message has come from it
        std::uint32_t number = 0;    ///< of its routing id, once tied
        std::uint64_t messages = 0;  ///< whole ones
        // -- as `check` saw it
        std::uint64_t messages_then = 0;  ///< whole ones at its last look
        std::uint64_t bytes_then = 0;     ///< of tcp: when the last of them had come
        std::uint64_t bytes_seen = 0;     ///< of tcp: at the time of `mark_then`
        std::uint64_t memory_then = 0;    ///< of ipc: of this process when bytes began to wait
        Mark mark_then;
        int waiting = 0;  ///< looks in a row at which bytes waited for ZeroMQ
        std::uint64_t unfinished = 0;
        bool cut = false;
    };
    struct Closed {
        std::uint32_t number = 0;
        Mark mark;
    };

    [[nodiscard]] Mark mark() const noexcept { return {idle_, messages_}; }
    /// Whether each connection that had a message then was heard since.
    [[nodiscard]] bool all_heard_since(const Mark& then) const noexcept;
    void accepted(int fd);
    void disconnected(int fd);
    void accept_failed(TimePoint now);
    bool look_at(int fd, Accepted& entry, TimePoint now, std::uint64_t memory);
    void cut(int fd, Accepted& entry, const char* why);
    void make_room(std::size_t places, const char* why);

    Bounds bounds_;
    Log log_;
    Monitor monitor_;
    std::map<int, Accepted> accepted_;  ///< by file descriptor
    std::unordered_map<std::uint32_t, int> descriptor_of_;
    std::uint32_t last_ = 0;  ///< who was heard last
    Accepted* last_entry_ = nullptr;
    std::vector<Closed> closed_;
    std::uint64_t idle_ = 0;
    std::uint64_t messages_ = 0;
    TimePoint next_check_{};
    TimePoint full_told_{};
    int statm_ = -1;  ///< /proc/self/statm
};

}  // namespace vflbus::bus
