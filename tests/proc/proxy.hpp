#pragma once
// A TCP proxy on loopback that a test puts between a party and its broker: it delays, limits, cuts
// and swallows, per direction, and is told so while it runs.

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace proc {

enum class Direction : std::uint8_t { out, back };  ///< to the target; from it

struct Condition {
    std::chrono::milliseconds delay{0};  ///< of every byte
    double bytes_per_second = 0;         ///< of all connections together; 0: no limit
    /// Nothing gets through, not even the end of a connection, and nobody is told. What is under
    /// way comes later, as TCP would send it again.
    bool hole = false;
};

enum class Cut : std::uint8_t { fin, rst };

class Proxy {
  public:
    /// Listens on a port of the kernel's choice and connects to `target`, "tcp://127.0.0.1:PORT".
    explicit Proxy(const std::string& target);
    ~Proxy();
    Proxy(const Proxy&) = delete;
    Proxy& operator=(const Proxy&) = delete;

    /// "tcp://127.0.0.1:PORT"
    [[nodiscard]] std::string endpoint() const;
    void set(Direction direction, const Condition& condition);
    void set(const Condition& condition);
    /// Ends all connections, with what is under way in them. New ones are taken.
    void cut(Cut how);

    /// From now on counts how often each of these texts passes, in either direction, wherever the
    /// pieces in which it comes are cut.
    void watch_for(std::vector<std::string> texts);
    [[nodiscard]] std::map<std::string, std::size_t> seen() const;

    [[nodiscard]] std::uint64_t bytes(Direction direction) const;  ///< that got through
    [[nodiscard]] std::uint64_t connections() const { return connections_; }

  private:
    struct Connection;
    struct Lane;

    void serve();
    void accept_one();
    void wake() const;
    /// Moves what can be moved. Whether the connection goes on.
    bool move(Connection& connection);
    bool read(Lane& lane);
    void look_into(Lane& lane, const std::string& bytes);
    bool write(Lane& lane, std::size_t direction);

    std::uint16_t target_ = 0;
    std::uint16_t port_ = 0;
    int listener_ = -1;
    int wake_ = -1;
    mutable std::mutex mutex_;  ///< of the next five
    std::vector<std::string> watched_;
    std::map<std::string, std::size_t> seen_;
    std::array<Condition, 2> conditions_{};
    bool cut_wanted_ = false;
    Cut cut_{};
    std::atomic<bool> stop_{false};
    std::atomic<std::uint64_t> connections_{0};
    std::array<std::atomic<std::uint64_t>, 2> bytes_{};
    // the thread's own
    std::array<Condition, 2> now_{};
    std::array<double, 2> credit_{};
    std::list<Connection> open_;
    std::thread thread_;
};

}  // namespace proc
