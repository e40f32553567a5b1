#include "observers/tensorboard.hpp"

#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include "base/clock.hpp"
#include "observe/log.hpp"
#include "observers/wall_time.hpp"

namespace vflbus::observers {
namespace {

constexpr auto flush_every = std::chrono::seconds(1);

constexpr std::array<std::uint32_t, 256> crc_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t rest = byte;
        for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ ((rest & 1) != 0 ? 0x82F63B78U : 0U);
        table[byte] = rest;
    }
    return table;
}

template <class T>
void put_little_endian(std::string& out, T value) {
    for (std::size_t i = 0; i < sizeof value; ++i)
        out += static_cast<char>((value >> (8 * i)) & 0xFF);
}

/// So that the checksum of data with a checksum in it is not trivial (TFRecord's own rule).
std::uint32_t masked(std::string_view bytes) {
    const std::uint32_t crc = crc32c(bytes);
    return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U;
}

// -- protocol buffers -----------------------------------------------------------------

enum class Wire : unsigned { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_varint(std::string& out, std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
    out += static_cast<char>(value);
}
void put_key(std::string& out, unsigned field, Wire wire) {
    put_varint(out, (field << 3) | static_cast<unsigned>(wire));
}
void put_bytes(std::string& out, unsigned field, std::string_view bytes) {
    put_key(out, field, Wire::bytes);
    put_varint(out, bytes.size());
    out += bytes;
}

std::string event_at(double wall_time, std::uint64_t step) {
    std::string event;
    put_key(event, 1, Wire::fixed64);
    put_little_endian(event, std::bit_cast<std::uint64_t>(wall_time));
    if (step != 0) {
        put_key(event, 2, Wire::varint);
        put_varint(event, step);
    }
    return event;
}

double seconds_since_1970(TimePoint at) {
    return std::chrono::duration<double>(since_1970(at)).count();
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) noexcept {
    static constexpr std::array<std::uint32_t, 256> table = crc_table();
    std::uint32_t crc = 0xFFFFFFFFU;
    for (const char c : bytes)
        crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
    return ~crc;
}

std::string tf_record(std::string_view data) {
    std::string length;
    put_little_endian(length, static_cast<std::uint64_t>(data.size()));
    std::string out = length;
    put_little_endian(out, masked(length));
    out += data;
    put_little_endian(out, masked(data));
    return out;
}

std::string version_event(double wall_time) {
    std::string event = event_at(wall_time, 0);
    put_bytes(event, 3, "brain.Event:2");
    return event;
}

std::string scalar_event(double wall_time, std::uint64_t step, std::string_view tag, float value) {
    std::string entry;  // Summary.Value: tag 1, simple_value 2
    put_bytes(entry, 1, tag);
    put_key(entry, 2, Wire::fixed32);
    put_little_endian(entry, std::bit_cast<std::uint32_t>(value));
    std::string summary;
    put_bytes(summary, 1, entry);
    std::string event = event_at(wall_time, step);
    put_bytes(event, 5, summary);
    return event;
}

std::string restart_event(double wall_time, std::uint64_t step) {
    std::string session;  // SessionLog: status 1 = START
    put_key(session, 1, Wire::varint);
    put_varint(session, 1);
    std::string event = event_at(wall_time, step);
    put_bytes(event, 7, session);
    return event;
}

// -- the observer ---------------------------------------------------------------------

Result<std::shared_ptr<TensorBoardObserver>> TensorBoardObserver::open(
    const std::filesystem::path& directory, bool resumed) {
    std::error_code ec;
    std::filesystem::create_directories(directory, ec);
    if (ec) return fail(Errc::io, "cannot create " + directory.string() + ": " + ec.message());
    char host[256] = "localhost";
    ::gethostname(host, sizeof host - 1);
    const double now = seconds_since_1970(clock_now());
    const std::string path =
        (directory / ("events.out.tfevents." + std::to_string(static_cast<std::int64_t>(now)) +
                      "." + host + "." + std::to_string(::getpid())))
            .string();
    std::FILE* const file = std::fopen(path.c_str(), "abe");
    if (file == nullptr)
        return fail(Errc::io, "cannot write " + path + ": " + std::strerror(errno));
    std::shared_ptr<TensorBoardObserver> observer(new TensorBoardObserver(file, path, resumed));
    observer->write(version_event(now));
    std::fflush(file);
    return observer;
}

TensorBoardObserver::~TensorBoardObserver() {
    std::fclose(file_);
}

void TensorBoardObserver::write(const std::string& event) {
    const std::string record = tf_record(event);
    if (std::fwrite(record.data(), 1, record.size(), file_) != record.size() && error_ == 0)
        error_ = errno;
}

void TensorBoardObserver::flush() {
    if (std::fflush(file_) != 0 && error_ == 0) error_ = errno;
}

void TensorBoardObserver::scalar(const std::string& tag, double value, std::uint64_t step,
                                 TimePoint at) {
    const auto [last, first] = last_steps_.try_emplace(tag, step);
    if (!first && step <= last->second) return;  // again after a recovery: the same number
    last->second = step;
    const double wall = seconds_since_1970(at);
    if (restarts_) write(restart_event(wall, step));
    restarts_ = false;
    write(scalar_event(wall, step, tag, static_cast<float>(value)));
    if (at - flushed_ < flush_every) return;
    flushed_ = at;
    flush();
}

void TensorBoardObserver::on_step(const observe::ProgressState& state, TimePoint at) {
    if (!std::isnan(state.loss)) scalar("loss", state.loss, state.step, at);
}

void TensorBoardObserver::on_metrics(const observe::ProgressState&,
                                     const observe::HistoryEntry& entry, TimePoint at) {
    for (const auto& [name, value] : entry.metrics)
        scalar(entry.split + "/" + name, value, entry.step, at);
}

void TensorBoardObserver::on_end(const observe::RunReport&, const Failure&) {
    flush();
    if (error_ != 0)
        observe::log::warn({.part = "observe"}, "TensorBoard's {} lacks events: {}", path_,
                           std::strerror(error_));
}

}  // namespace vflbus::observers
