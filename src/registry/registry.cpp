#include "registry/registry.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <variant>

#include "registry/store.hpp"

namespace vflbus::registry {
namespace {

using bus::LedgerQuestion;
using bus::NodeRow;
using bus::RunRow;

constexpr std::size_t notes_max = 65'536;
/// What waits to be written has no more bytes than this, and what is being written at the moment no
/// more either: a row of a run names up to 256 participants, whose names others have chosen.
constexpr std::size_t notes_bytes_max = 32 << 20;
constexpr std::size_t questions_max = 256;
/// Notes gather for so long, unless somebody asks.
constexpr auto batch_every = std::chrono::milliseconds(50);
/// Rows are counted out after so many notes.
constexpr std::uint64_t trim_every = 256;

std::size_t bytes_of(const std::vector<std::string>& texts) {
    std::size_t bytes = 0;
    for (const std::string& text : texts) bytes += sizeof text + text.size();
    return bytes;
}

std::size_t bytes_of(const RunRow& row) {
    return sizeof row + row.reason.size() + row.owner.size() + row.role.size() +
           bytes_of(row.names);
}

std::size_t bytes_of(const NodeRow& row) {
    return sizeof row + row.name.size() + row.role.size() + row.version.size() +
           bytes_of(row.features);
}

class Writer final : public Registry {
  public:
    Writer(Options options, std::unique_ptr<Store> store, int ready)
        : options_(std::move(options)),
          store_(std::move(store)),
          ready_(ready),
          thread_([this] { write(); }) {}

    ~Writer() override {
        {
            const std::lock_guard guard(mutex_);
            ending_ = true;
        }
        wakes_.notify_all();
        thread_.join();
        ::close(ready_);
    }

    void note(RunRow row) override { enqueue(std::move(row)); }
    void note(NodeRow row) override { enqueue(std::move(row)); }

    bool ask(LedgerQuestion question) override {
        {
            const std::lock_guard guard(mutex_);
            if (questions_ >= questions_max) return false;
            ++questions_;
            queue_.push_back(std::move(question));
        }
        wakes_.notify_all();
        return true;
    }

    int answers_fd() const override { return ready_; }

    bool next_answer(Answer& out) override {
        const std::lock_guard guard(mutex_);
        if (answers_.empty()) {
            std::uint64_t count;
            [[maybe_unused]] const ssize_t n = ::read(ready_, &count, sizeof count);
            return false;
        }
        out = std::move(answers_.front());
        answers_.pop_front();
        --questions_;
        return true;
    }

    void flush() override {
        std::unique_lock lock(mutex_);
        flushing_ = true;
        wakes_.notify_all();
        done_.wait(lock, [this] { return queue_.empty() && !busy_; });
        flushing_ = false;
    }

    std::uint64_t dropped() const override { return dropped_.load(); }

  private:
    using Entry = std::variant<RunRow, NodeRow, LedgerQuestion>;

    template <class Row>
    void enqueue(Row row) {
        const std::size_t bytes = bytes_of(row);
        {
            const std::lock_guard guard(mutex_);
            if (queue_.size() >= notes_max || queued_bytes_ + bytes > notes_bytes_max) {
                ++dropped_;
                return;
            }
            queued_bytes_ += bytes;
            queue_.push_back(std::move(row));
            if (queue_.size() != 1) return;
        }
        wakes_.notify_all();
    }

    void write() {
        std::unique_lock lock(mutex_);
        for (;;) {
            wakes_.wait(lock, [this] { return ending_ || !queue_.empty(); });
            wakes_.wait_for(lock, batch_every,
                            [this] { return ending_ || flushing_ || questions_ != 0; });
            if (queue_.empty()) {
                if (ending_) return;
                continue;
            }
            std::deque<Entry> batch;
            batch.swap(queue_);
            queued_bytes_ = 0;
            busy_ = true;
            lock.unlock();
            std::vector<Answer> answers = apply(batch);
            lock.lock();
            busy_ = false;
            for (Answer& answer : answers) answers_.push_back(std::move(answer));
            if (!answers.empty()) {
                const std::uint64_t one = 1;
                [[maybe_unused]] const ssize_t n = ::write(ready_, &one, sizeof one);
            }
            if (queue_.empty()) done_.notify_all();
        }
    }

    std::vector<Answer> apply(std::deque<Entry>& batch) {
        std::vector<Answer> answers;
        if (const std::uint64_t dropped = dropped_.load(); dropped != told_dropped_) {
            told_dropped_ = dropped;
            warn("the registry does not keep up with its disk and has left out " +
                 std::to_string(dropped) + " notes");
        }
        bool open = false;
        const auto failed = [&](const Failure& failure) {
            warn("the registry is not written: " + failure.sentence);
            if (open) store_->rollback();
            open = false;
        };
        const auto put = [&](const auto& row) {
            if (!open) {
                if (const auto begun = store_->begin(); !begun) return failed(begun.error());
                open = true;
            }
            if (const auto written = store_->put(row); !written) failed(written.error());
            ++noted_;
        };
        const auto settle = [&] {
            if (!open) return;
            if (noted_ - trimmed_at_ >= trim_every) {
                trimmed_at_ = noted_;
                if (const auto done = store_->trim(options_.runs_max, options_.nodes_max); !done)
                    return failed(done.error());
            }
            if (const auto done = store_->commit(); !done) return failed(done.error());
            open = false;
            warned_.clear();
        };
        for (const Entry& entry : batch) {
            if (const auto* question = std::get_if<LedgerQuestion>(&entry)) {
                settle();
                answers.push_back({question->token, answer(*question)});
            } else if (const auto* run = std::get_if<RunRow>(&entry)) {
                put(*run);
            } else {
                put(std::get<NodeRow>(entry));
            }
        }
        settle();
        return answers;
    }

    Result<bus::Bytes> answer(const LedgerQuestion& question) {
        if (question.question == bus::Question::nodes) {
            const auto rows = store_->nodes(question.limit);
            if (!rows) return tl::unexpected(rows.error());
            return bus::encode(std::span<const NodeRow>(*rows));
        }
        const auto rows = question.question == bus::Question::run
                              ? store_->runs_with(question.text, question.limit)
                              : store_->runs(question.text, question.limit);
        if (!rows) return tl::unexpected(rows.error());
        return bus::encode(std::span<const RunRow>(*rows));
    }

    /// The same trouble is told once, until something was written again.
    void warn(const std::string& text) {
        if (text == warned_) return;
        warned_ = text;
        if (options_.warn) options_.warn(text);
    }

    Options options_;
    std::unique_ptr<Store> store_;
    int ready_;
    std::mutex mutex_;
    std::condition_variable wakes_;
    std::condition_variable done_;
    std::deque<Entry> queue_;
    std::size_t queued_bytes_ = 0;  ///< of the notes in it
    std::deque<Answer> answers_;
    std::size_t questions_ = 0;  ///< waiting, or answered and not yet taken
    bool busy_ = false;
    bool flushing_ = false;
    bool ending_ = false;
    std::atomic<std::uint64_t> dropped_{0};
    // -- of the thread
    std::uint64_t told_dropped_ = 0;
    std::uint64_t noted_ = 0;
    std::uint64_t trimmed_at_ = 0;
    std::string warned_;
    std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Registry>> Registry::open(Options options) {
    auto store = Store::open(options.file);
    if (!store) return tl::unexpected(store.error());
    if (const auto done = (*store)->forget_what_ran(); !done) return tl::unexpected(done.error());
    if (const auto done = (*store)->trim(options.runs_max, options.nodes_max); !done)
        return tl::unexpected(done.error());
    const int ready = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ready < 0)  // nobody would hear of an answer
        return fail(Errc::io, std::string("cannot make an eventfd: ") + std::strerror(errno));
    return std::unique_ptr<Registry>(new Writer(std::move(options), std::move(*store), ready));
}

}  // namespace vflbus::registry
