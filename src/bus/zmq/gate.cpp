#include "bus/zmq/gate.hpp"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "bus/core/allowance.hpp"
#include "bus/keys/allow_list_file.hpp"
#include "bus/keys/enrolment.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/wire/control.hpp"
#include "bus/wire/enrolment.hpp"
#include "bus/zmq/bell.hpp"
#include "bus/zmq/conduct_file.hpp"
#include "bus/zmq/context_impl.hpp"
#include "bus/zmq/possession.hpp"
#include "observe/log.hpp"

namespace vflbus::bus {
namespace {

constexpr int looks_every_ms = 200;
constexpr const char* version = VFLBUS_VERSION;
constexpr std::size_t request_parts_max = 16;
constexpr std::uint8_t all_rights = 0xff;
// who has a key or an invitation may say ENROL as often as he likes: what is beyond this is
// forgotten, for each key, so that one keeps no others from joining, and for all together
constexpr AllowanceLimits enrolments_of_key{.most = 4, .per_second = 0.5};
constexpr AllowanceLimits enrolments{.most = 256, .per_second = 64};
constexpr std::size_t enrolling_keys_max = 4096;
// a handshake costs more than what it lets in: of each key that is let in
constexpr AllowanceLimits connections_of_key{.most = 512, .per_second = 32};
constexpr std::size_t enrolments_waiting_max = 64;

std::string text_in(const zmq::message_t& part) {
    return {static_cast<const char*>(part.data()), part.size()};
}

/// A property as ZMTP writes it: length and name, length in four bytes and value.
std::string property(std::string_view name, std::string_view value) {
    std::string text(1, static_cast<char>(name.size()));
    text += name;
    for (int shift = 24; shift >= 0; shift -= 8)
        text += static_cast<char>(value.size() >> shift & 0xff);
    return text += value;
}

struct Verdict {
    bool in = false;
    std::string name;
    std::string fingerprint;
};

/// At the start of the broker, of the first keys that end soon.
void warn_of_expiry(const AllowList& list) {
    int left = 20;
    const Seconds now = wall_seconds();
    for (const Allowed& entry : list.entries()) {
        const std::string text = expiry_warning("the key of " + entry.name, entry.expires, now);
        if (!text.empty() && left-- > 0) observe::log::warn({.part = "access"}, "{}", text);
    }
}

class GateImpl final : public Gate {
  public:
    GateImpl(std::shared_ptr<Context> context, std::shared_ptr<AllowListFile> file,
             const std::filesystem::path& directory, const KeyPair& own, Seconds own_expires)
        : context_(std::move(context)),
          file_(std::move(file)),
          directory_(directory),
          own_(own),
          enrolments_(enrolments, clock_now()),
          lines_(refusal_lines, clock_now()),
          socket_(context_->zmq, zmq::socket_type::rep) {
        auto owner = std::make_shared<Allowed>();
        owner->name = broker_key_name;
        owner->fingerprint = fingerprint_of(own.public_key);
        owner->key = own.public_key;
        owner->rights = all_rights;
        owner->expires = own_expires;
        owner_ = std::move(owner);
        socket_.set(zmq::sockopt::linger, 0);
        socket_.bind("inproc://zeromq.zap.01");
        std::array<std::uint8_t, 32> random{};
        random_bytes(random);
        word_ = to_hex(random);
        start();
    }

    ~GateImpl() override {
        ending_ = true;
        wake_.ring();
        thread_.join();
        try {
            write_conduct();
        } catch (const std::exception&) {  // there is nobody left to be told
        }
    }

    std::shared_ptr<const Allowed> entry(const std::string& fingerprint) const override {
        if (fingerprint == owner_->fingerprint)
            return owner_->expires <= wall_seconds() ? nullptr : owner_;
        const auto list = file_->list();
        const Allowed* const found = list->find(fingerprint);
        if (found == nullptr || found->expires <= wall_seconds()) return nullptr;
        return {list, found};
    }

    bool may_enrol(const std::string& fingerprint) const override {
        const auto list = file_->list();
        return list->find(fingerprint) != nullptr || list->find_invitation(fingerprint) != nullptr;
    }
    void enrol(EnrolFrame request) override {
        const std::lock_guard held(lock_);
        const TimePoint now = clock_now();
        if (waiting_.size() >= enrolments_waiting_max) return;
        if (enrolling_.size() >= enrolling_keys_max)
            std::erase_if(enrolling_, [&](const auto& one) { return one.second.full(now); });
        if (enrolling_.size() >= enrolling_keys_max && !enrolling_.contains(request.shown)) return;
        Allowance& own =
            enrolling_.try_emplace(request.shown, enrolments_of_key, now).first->second;
        if (!own.take(1, now) || !enrolments_.take(1, now)) return;
        waiting_.push_back(std::move(request));
        wake_.ring();
    }
    std::vector<ConductRow> conduct_before() const override {
        const auto file = conduct_path(directory_);
        std::error_code ec;
        if (!std::filesystem::exists(file, ec)) return {};  // nothing was noted yet
        const auto text = read_file(file);
        if (!text) {
            observe::log::warn({.part = "access"}, "{}; what was held against keys is forgotten",
                               text.error().sentence);
            return {};
        }
        return rows_of(parse_conduct(*text), wall_seconds());
    }
    void note_conduct(std::vector<ConductRow> rows) override {
        const std::lock_guard held(lock_);
        conduct_ = std::move(rows);
        wake_.ring();
    }
    std::vector<EnrolFrame> enrol_answers() override {
        const std::lock_guard held(lock_);
        return std::exchange(answers_, {});
    }

    const std::string& word() const noexcept override { return word_; }
    int descriptor() const noexcept override { return changed_.fd(); }
    bool changed() noexcept override { return changed_.rung(); }
    void read_again() noexcept override {
        again_ = true;
        wake_.ring();
    }

  private:
    /// Signals are for the threads that wait for them: this one is to answer.
    void start() {
        sigset_t all{};
        sigset_t before{};
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            thread_ = std::thread([this] { serve(); });
        } catch (const std::system_error& e) {
            ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
            throw;
        }
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    /// What goes wrong with one question must not end the process, nor let anybody in: ZeroMQ lets
    /// in only who was answered.
    void serve() noexcept {
        while (!ending_) {
            try {
                serve_once();
            } catch (const std::exception& e) {
                pollfd ready{wake_.fd(), POLLIN, 0};
                (void)::poll(&ready, 1, looks_every_ms);
                if (clock_now() - told_ < std::chrono::minutes(1) && told_ != TimePoint{}) continue;
                told_ = clock_now();
                observe::log::error({.part = "access"}, "the gate cannot answer for a moment: {}",
                                    e.what());
            }
        }
    }

    void serve_once() {
        while (answer_one()) {
        }
        while (enrol_one()) {
        }
        write_conduct();
        pollfd ready[] = {{descriptor_of(socket_), POLLIN, 0}, {wake_.fd(), POLLIN, 0}};
        (void)::poll(ready, 2, looks_every_ms);
        (void)wake_.rung();
        const TimePoint now = clock_now();
        const bool always = again_.exchange(false);
        if (!always && now - looked_ < std::chrono::milliseconds(looks_every_ms)) return;
        looked_ = now;
        look_at_list(always);
    }

    void write_conduct() {
        std::optional<std::vector<ConductRow>> rows;
        {
            const std::lock_guard held(lock_);
            rows.swap(conduct_);
        }
        if (!rows) return;
        // (where the directory is read-only, the log has the same)
        (void)write_file_atomically(conduct_path(directory_), conduct_text(*rows, wall_seconds()));
    }

    void look_at_list(bool always) {
        if (!file_->refresh(always)) return;
        observe::log::info({.part = "access"}, "the allow-list was read again keys={}",
                           file_->list()->entries().size());
        changed_.ring();
    }

    /// False: nobody asks.
    bool enrol_one() {
        EnrolFrame frame;
        {
            const std::lock_guard held(lock_);
            if (waiting_.empty()) return false;
            frame = std::move(waiting_.front());
            waiting_.pop_front();
        }
        const Bytes request = std::exchange(frame.body, {});
        if (auto answer = enrolled_answer(frame.shown, request)) {
            frame.header.flags = flag::answer;
            frame.body = encode(*answer);
        } else {
            frame.header.kind = Kind::error;
            frame.header.flags = 0;
            frame.header.aux = static_cast<std::uint64_t>(answer.error().code);
            frame.body = encode_sentence(answer.error().sentence);
        }
        frame.header.src = frame.header.dst = NodeId{};
        {
            const std::lock_guard held(lock_);
            answers_.push_back(std::move(frame));
        }
        changed_.ring();
        return true;
    }

    /// Whether who says a key has its secret.
    bool is_own(const PublicKey& key, const std::string& shown, const EnrolRequest& request) const {
        const auto said = request.extensions.find(extension_possession);
        if (said == request.extensions.end()) return false;
        const auto proof = proof_of({key, own_.public_key, shown, request.name}, own_.secret, key);
        if (!proof || said->second.size() != proof->size()) return false;
        std::uint8_t differs = 0;  // in a time that says nothing of where
        for (std::size_t i = 0; i < proof->size(); ++i) differs |= (*proof)[i] ^ said->second[i];
        return differs == 0;
    }

    /// Before it is answered the list that counts has the key, so that the party can come at once.
    Result<EnrolAnswer> enrolled_answer(const std::string& shown, const Bytes& body) {
        const auto request = decode_enrol_request(body);
        if (!request) return tl::unexpected(request.error());
        if (const auto number = first_not_understood(request->extensions, {extension_possession}))
            return fail(Errc::unsupported_version,
                        not_understood("ENROL of " + request->name, *number, "broker"));
        PublicKey key;
        key.bytes = request->key;
        const std::string fingerprint = fingerprint_of(key);
        if (!is_own(key, shown, *request)) {
            if (const auto ending = lines_.take(clock_now()))
                observe::log::warn({.part = "access"},
                                   "not joined name={} key={} by={}: it has not shown that it has "
                                   "the secret of that key{}",
                                   printable(request->name), fingerprint, shown, *ending);
            return fail(Errc::not_allowed,
                        "the broker lets in no key of which the secret was not shown; use the "
                        "same vflbus version on all parties");
        }
        const auto done = bus::enrol(
            directory_, {shown, request->name, key, static_cast<Seconds>(request->expires)},
            wall_seconds());
        if (!done) {
            if (const auto ending = lines_.take(clock_now()))
                observe::log::warn({.part = "access"}, "not joined name={} key={} by={}: {}{}",
                                   request->name, fingerprint, shown, done.error().sentence,
                                   *ending);
            // what is wrong with a file here is not for strangers
            if (done.error().code == Errc::not_allowed) return tl::unexpected(done.error());
            return fail(Errc::io, done.error().code == Errc::timed_out
                                      ? "the broker's allow-list is being changed; try again"
                                      : "the broker cannot write its allow-list; its log says why, "
                                        "for its owner");
        }
        if (!done->repeated)
            observe::log::info({.part = "access"}, "joined name={} key={} {} expires={} by={}",
                               done->entry.name, fingerprint, text_of_rights(done->entry),
                               date_text(done->entry.expires), shown);
        look_at_list(true);
        return EnrolAnswer{done->entry.name,
                           text_of_rights(done->entry),
                           static_cast<std::uint64_t>(done->entry.expires),
                           static_cast<std::uint64_t>(owner_->expires),
                           version,
                           {}};
    }

    /// False: nobody asks.
    bool answer_one() {
        std::vector<zmq::message_t> parts;
        for (bool more = true; more;) {
            zmq::message_t part;
            if (!receive_part(socket_, part)) return false;
            more = part.more();
            if (parts.size() < request_parts_max) parts.push_back(std::move(part));
        }
        // version, request id, domain, address, routing id, mechanism, key (RFC 27)
        Verdict verdict;
        const bool curve = parts.size() == 7 && text_in(parts[0]) == "1.0" &&
                           text_in(parts[5]) == "CURVE" && parts[6].size() == key_bytes;
        if (curve) verdict = judge(parts[6], text_in(parts[3]));
        reply(parts.size() > 1 ? text_in(parts[1]) : std::string(), verdict);
        return true;
    }

    /// Fills in whose key it is. False: nobody's that is let in.
    bool known(Verdict& verdict) const {
        if (const auto found = entry(verdict.fingerprint)) {
            verdict.name = found->name;
        } else {
            const auto list = file_->list();
            const Invited* const invited = list->find_invitation(verdict.fingerprint);
            if (invited == nullptr || invited->as.expires <= wall_seconds()) return false;
            verdict.name = invited->as.name;
        }
        return verdict.in = true;
    }

    Verdict judge(const zmq::message_t& credentials, const std::string& address) {
        PublicKey key;
        std::memcpy(key.bytes.data(), credentials.data(), key.bytes.size());
        Verdict verdict;
        verdict.fingerprint = fingerprint_of(key);
        if (known(verdict)) return within_bounds(verdict, address);
        // who was allowed or invited a moment ago comes before the list is looked at again; that
        // costs a stranger's handshake one stat(2) more
        look_at_list(false);
        if (known(verdict)) return within_bounds(verdict, address);
        const auto list = file_->list();
        const Invited* const invited = list->find_invitation(verdict.fingerprint);
        const auto ending = lines_.take(clock_now());
        if (!ending) return verdict;
        const Allowed* const expired = list->find(verdict.fingerprint);
        if (invited != nullptr) {
            observe::log::warn({.part = "access"},
                               "not let in key={} from={}: the invitation of {} has expired{}",
                               verdict.fingerprint, address, invited->as.name, *ending);
            return verdict;
        }
        observe::log::warn({.part = "access"}, "not let in key={} from={}: {}{}",
                           verdict.fingerprint, address,
                           expired == nullptr ? "it is not on the allow-list"
                                              : "the key of " + expired->name + " has expired",
                           *ending);
        return verdict;
    }

    /// Whether a key that is known may have one connection more now.
    Verdict within_bounds(Verdict verdict, const std::string& address) {
        const TimePoint now = clock_now();
        if (connecting_.size() >= enrolling_keys_max)
            std::erase_if(connecting_, [&](const auto& one) { return one.second.full(now); });
        Allowance& own =
            connecting_.try_emplace(verdict.name, connections_of_key, now).first->second;
        if (own.take(1, now)) return verdict;
        verdict.in = false;
        if (const auto ending = lines_.take(now))
            observe::log::warn({.part = "access"},
                               "not let in key={} from={}: {} connects too often{}",
                               verdict.fingerprint, address, verdict.name, *ending);
        return verdict;
    }

    void reply(const std::string& request, const Verdict& verdict) {
        const std::array<std::string, 6> parts{
            "1.0",
            request,
            verdict.in ? "200" : "400",
            verdict.in ? "OK" : "the key is not on the allow-list",
            verdict.name,
            verdict.in
                ? property(key_property, verdict.fingerprint) + property(word_property, word_)
                : std::string()};
        for (std::size_t i = 0; i < parts.size(); ++i) {
            const int flags = i + 1 < parts.size() ? ZMQ_SNDMORE : 0;
            while (zmq_send(socket_.handle(), parts[i].data(), parts[i].size(), flags) < 0)
                if (errno != EINTR) throw zmq::error_t();
        }
    }

    std::shared_ptr<Context> context_;
    std::shared_ptr<AllowListFile> file_;
    std::filesystem::path directory_;
    KeyPair own_;
    std::shared_ptr<const Allowed> owner_;
    std::mutex lock_;                                 ///< of the five that follow
    std::optional<std::vector<ConductRow>> conduct_;  ///< that is not written yet
    Allowance enrolments_;
    std::map<std::string, Allowance> enrolling_;  ///< by fingerprint
    std::deque<EnrolFrame> waiting_;
    std::vector<EnrolFrame> answers_;
    std::string word_;
    Bell wake_;
    Bell changed_;
    std::atomic<bool> ending_{false};
    std::atomic<bool> again_{false};
    // -- of the thread
    TimePoint looked_{};
    TimePoint told_{};
    LineAllowance lines_;
    std::map<std::string, Allowance> connecting_;  ///< by name of the key
    zmq::socket_t socket_;
    std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Gate>> Gate::open(std::shared_ptr<Context> context,
                                         const std::filesystem::path& directory, const KeyPair& own,
                                         Seconds own_expires) {
    if (auto begun = begin_allow_list(directory); !begun) return tl::unexpected(begun.error());
    auto file = AllowListFile::open(allow_list_path(directory), [](const std::string& line) {
        observe::log::warn({.part = "access"}, "{}", line);
    });
    if (!file) return tl::unexpected(file.error());
    warn_of_expiry(*(*file)->list());
    try {
        return std::make_unique<GateImpl>(std::move(context), std::move(*file), directory, own,
                                          own_expires);
    } catch (const std::exception& e) {  // a second gate of the context, or no more threads
        return fail(Errc::address, std::string("cannot check keys in this process: ") + e.what());
    }
}

}  // namespace vflbus::bus
