#pragma once
// Apps of your own on the bus: what they are written against. Needs a C++20 compiler and nothing
// else; build a shared object with the flags of `pkg-config --cflags vflbus-app`. docs/apps.md
// tells the rest.
//
//   using namespace vflbus::app;                      // client.cpp
//   Message train(const Message& message, Context& context) {
//       return message.create_reply(message.content());
//   }
//   ClientApp client() { return ClientApp().train(train); }
//   VFLBUS_CLIENT_APP(client)
//
// A ClientApp answers messages on a node, in a process of its own for each run. A ServerApp drives
// one run. An app is refused by a vflbus of another version than the headers it was built with.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeindex>
#include <utility>
#include <variant>
#include <vector>

#ifndef VFLBUS_APP_VERSION
#define VFLBUS_APP_VERSION "0.1.0"
#endif

namespace vflbus::app {

using NodeId = std::uint64_t;
using Duration = std::chrono::milliseconds;

/// How long a message may take to be answered when nothing else is said.
inline constexpr Duration default_ttl = std::chrono::hours(1);

// -- content ---------------------------------------------------------------------

enum class DType : std::uint8_t { f64, f32, i64, i32, u8 };

constexpr std::size_t bytes_of(DType dtype) noexcept {
    return dtype == DType::f64 || dtype == DType::i64 ? 8 : dtype == DType::u8 ? 1 : 4;
}

template <class T>
constexpr DType dtype_of() noexcept {
    if constexpr (std::is_same_v<T, double>)
        return DType::f64;
    else if constexpr (std::is_same_v<T, float>)
        return DType::f32;
    else if constexpr (std::is_same_v<T, std::int64_t>)
        return DType::i64;
    else if constexpr (std::is_same_v<T, std::int32_t>)
        return DType::i32;
    else {
        static_assert(std::is_same_v<T, std::uint8_t>,
                      "tensors hold double, float, std::int64_t, std::int32_t or std::uint8_t");
        return DType::u8;
    }
}

/// Numbers of one type and their shape, row-major unless two apps agree on something else. A tensor
/// does not change once it is made, and its copies share the numbers: a model of 100 MiB that goes
/// to ten nodes is in memory once.
class Tensor {
  public:
    Tensor() = default;
    /// Throws std::invalid_argument when `raw` is not what dtype and shape say.
    Tensor(DType dtype, std::vector<std::uint64_t> shape, std::vector<std::uint8_t> raw)
        : dtype_(dtype), shape_(std::move(shape)) {
        const auto held = std::make_shared<const std::vector<std::uint8_t>>(std::move(raw));
        raw_ = *held;
        owner_ = held;
        check();
    }
    /// The same of memory that `owner` keeps, little-endian, at any alignment.
    Tensor(DType dtype, std::vector<std::uint64_t> shape, std::span<const std::uint8_t> raw,
           std::shared_ptr<const void> owner)
        : dtype_(dtype), shape_(std::move(shape)), raw_(raw), owner_(std::move(owner)) {
        check();
    }
    template <class T>
    static Tensor of(std::span<const T> values, std::vector<std::uint64_t> shape) {
        std::vector<std::uint8_t> raw(values.size_bytes());
        if (!raw.empty()) std::memcpy(raw.data(), values.data(), raw.size());
        return Tensor(dtype_of<T>(), std::move(shape), std::move(raw));
    }
    template <class T>
    static Tensor of(const std::vector<T>& values) {
        return of(std::span<const T>(values), {values.size()});
    }

    [[nodiscard]] DType dtype() const noexcept { return dtype_; }
    [[nodiscard]] const std::vector<std::uint64_t>& shape() const noexcept { return shape_; }
    /// The numbers as bytes, little-endian. Good as long as this tensor or a copy of it.
    [[nodiscard]] std::span<const std::uint8_t> raw() const noexcept { return raw_; }
    [[nodiscard]] std::uint64_t elements() const noexcept {
        std::uint64_t n = 1;
        for (const std::uint64_t extent : shape_) {
            if (extent != 0 && n > UINT64_MAX / extent) return UINT64_MAX;
            n *= extent;
        }
        return n;
    }
    /// A copy of the numbers. Throws std::invalid_argument when the tensor holds another type.
    template <class T>
    [[nodiscard]] std::vector<T> values() const {
        if (dtype_ != dtype_of<T>()) throw std::invalid_argument("a tensor of another type");
        std::vector<T> out(raw_.size() / sizeof(T));
        if (!raw_.empty()) std::memcpy(out.data(), raw_.data(), raw_.size());
        return out;
    }
    friend bool operator==(const Tensor& a, const Tensor& b) noexcept {
        return a.dtype_ == b.dtype_ && a.shape_ == b.shape_ && a.raw_.size() == b.raw_.size() &&
               (a.raw_.empty() || std::memcmp(a.raw_.data(), b.raw_.data(), a.raw_.size()) == 0);
    }

  private:
    void check() const {
        if (raw_.size() / bytes_of(dtype_) != elements() || raw_.size() % bytes_of(dtype_) != 0)
            throw std::invalid_argument("a tensor whose shape does not fit its values");
    }
    DType dtype_ = DType::f64;
    std::vector<std::uint64_t> shape_ = {0};
    std::span<const std::uint8_t> raw_;
    std::shared_ptr<const void> owner_;
};

using Metric = std::variant<std::int64_t, double, std::vector<std::int64_t>, std::vector<double>>;
using Value =
    std::variant<bool, std::int64_t, double, std::string, std::vector<std::uint8_t>,
                 std::vector<std::int64_t>, std::vector<double>, std::vector<std::string>>;
using Values = std::map<std::string, Value>;

/// What a message carries.
struct Record {
    std::map<std::string, Tensor> tensors;
    std::map<std::string, Metric> metrics;
    Values config;
    friend bool operator==(const Record&, const Record&) = default;
};

// -- messages --------------------------------------------------------------------

namespace message_type {
inline constexpr const char* train = "train";
inline constexpr const char* evaluate = "evaluate";
inline constexpr const char* query = "query";
}  // namespace message_type

/// Why a message has no content. The numbers are those of docs/protocol.md, section 9.
struct Error {
    enum Code : int {
        unknown_run = 8,         ///< the run is over
        too_large = 13,          ///< the reply is larger than a message may be
        too_many = 14,           ///< the node is at its limit of runs or waiting messages
        unknown_handler = 15,    ///< the ClientApp has no handler for this type of message
        malformed_message = 16,  ///< the content cannot be read
        node_restarted = 17,     ///< the node's process was started again meanwhile
        node_gone = 18,          ///< the node has left, or was silent for too long
        refused = 32,            ///< the node does not take part
        handler_failed = 34,     ///< the handler threw, or its process died
        cancelled = 36,          ///< the run was stopped
        expired = 37,            ///< no answer within the message's time to live
    };
    int code = 0;
    std::string reason;
};

struct Metadata {
    std::string run_id;
    std::string message_id;  ///< given by push_messages; empty before
    std::string reply_to;    ///< of a reply: the message_id of what it answers
    NodeId src_node_id = 0;
    NodeId dst_node_id = 0;
    std::string group_id;
    std::string message_type;
    Duration ttl = default_ttl;
    std::chrono::system_clock::time_point created_at{};
};

class Message {
  public:
    Message() = default;
    Message(Metadata metadata, Record content)
        : metadata_(std::move(metadata)), content_(std::move(content)) {}
    Message(Metadata metadata, Error error)
        : metadata_(std::move(metadata)), error_(std::move(error)) {}

    [[nodiscard]] const Metadata& metadata() const noexcept { return metadata_; }
    [[nodiscard]] bool has_content() const noexcept { return !error_.has_value(); }
    [[nodiscard]] bool has_error() const noexcept { return error_.has_value(); }
    /// Throws std::logic_error with the reason when there is none.
    [[nodiscard]] const Record& content() const {
        if (error_) throw std::logic_error("a message without content: " + error_->reason);
        return content_;
    }
    [[nodiscard]] Record& content() {
        if (error_) throw std::logic_error("a message without content: " + error_->reason);
        return content_;
    }
    /// Code 0 when the message has content.
    [[nodiscard]] const Error& error() const noexcept {
        static const Error none;
        return error_ ? *error_ : none;
    }

    /// The answer to this message: of the same type, group and run, back to where it came from.
    [[nodiscard]] Message create_reply(Record content) const {
        return Message(reply_metadata(), std::move(content));
    }
    [[nodiscard]] Message create_error_reply(Error error) const {
        return Message(reply_metadata(), std::move(error));
    }

  private:
    [[nodiscard]] Metadata reply_metadata() const {
        Metadata back = metadata_;
        back.message_id.clear();
        back.reply_to = metadata_.message_id;
        std::swap(back.src_node_id, back.dst_node_id);
        back.created_at = std::chrono::system_clock::now();
        return back;
    }
    Metadata metadata_;
    Record content_;
    std::optional<Error> error_;
};

// -- what an app is told ------------------------------------------------------------

/// One per run and node. Lives as long as the run, or as the process that serves it there.
class Context {
  public:
    struct Given {
        std::string run_id;
        NodeId node_id = 0;
        std::string node_name;
        std::int64_t rank = -1;  ///< -1: the node has none
        Values run_config;       ///< --run-config of the ServerApp
        Values node_config;      ///< --node-config of this node
        const std::atomic<bool>* cancelled = nullptr;
    };
    explicit Context(Given given) : given_(std::move(given)) {}
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    [[nodiscard]] const std::string& run_id() const noexcept { return given_.run_id; }
    [[nodiscard]] NodeId node_id() const noexcept { return given_.node_id; }
    [[nodiscard]] const std::string& node_name() const noexcept { return given_.node_name; }
    [[nodiscard]] std::int64_t rank() const noexcept { return given_.rank; }
    [[nodiscard]] const Values& run_config() const noexcept { return given_.run_config; }
    [[nodiscard]] const Values& node_config() const noexcept { return given_.node_config; }
    /// run_config<int>("rounds", 3), run_config<double>("rate", 0.1), <std::string>, <bool>.
    /// Throws std::invalid_argument when the value given is of another type.
    template <class T>
    [[nodiscard]] T run_config(const std::string& name, T fallback) const {
        return get<T>("run configuration", given_.run_config, name, std::move(fallback));
    }
    template <class T>
    [[nodiscard]] T node_config(const std::string& name, T fallback) const {
        return get<T>("node configuration", given_.node_config, name, std::move(fallback));
    }

    /// The run is being stopped, or the message has expired: return soon. A handler or main that
    /// does not is killed a few seconds later.
    [[nodiscard]] bool cancelled() const noexcept {
        return given_.cancelled != nullptr && given_.cancelled->load(std::memory_order_relaxed);
    }

    /// A handler that takes minutes says now and then that it is at work; a line of its log says so
    /// as well. A node whose handler is silent for `bus.progress_stall_after` (5 minutes) is
    /// reported as stalled, and given up after as long again.
    void progress() const;

    /// The app's own T of this run, made at the first call.
    template <class T>
    [[nodiscard]] T& state() {
        std::shared_ptr<void>& slot = state_[std::type_index(typeid(T))];
        if (!slot) slot = std::make_shared<T>();
        return *static_cast<T*>(slot.get());
    }

  private:
    template <class T>
    static T get(const char* where, const Values& values, const std::string& name, T fallback) {
        const auto found = values.find(name);
        if (found == values.end()) return fallback;
        const Value& value = found->second;
        if constexpr (std::is_same_v<T, bool>) {
            if (const auto* v = std::get_if<bool>(&value)) return *v;
        } else if constexpr (std::is_integral_v<T>) {
            if (const auto* v = std::get_if<std::int64_t>(&value))
                if (std::in_range<T>(*v)) return static_cast<T>(*v);
        } else if constexpr (std::is_floating_point_v<T>) {
            if (const auto* v = std::get_if<double>(&value)) return static_cast<T>(*v);
            if (const auto* v = std::get_if<std::int64_t>(&value)) return static_cast<T>(*v);
        } else {
            if (const auto* v = std::get_if<T>(&value)) return *v;
        }
        throw std::invalid_argument(std::string(where) + ": " + name +
                                    " has a value of another type than the app expects");
    }

    Given given_;
    std::map<std::type_index, std::shared_ptr<void>> state_;
};

// -- log -----------------------------------------------------------------------------

enum class Level : std::uint8_t { debug, info, warning, error };
inline constexpr Level INFO = Level::info;
inline constexpr Level WARNING = Level::warning;

/// What the program does for an app. Set before anything of the app is called.
struct Host {
    virtual void log(Level level, std::string_view text) noexcept = 0;
    virtual void progress() noexcept = 0;

  protected:
    ~Host() = default;
};
inline Host* host = nullptr;

inline void Context::progress() const {
    if (host != nullptr) host->progress();
}

namespace detail {
template <class T>
void put(std::ostream& out, const T& part) {
    if constexpr (requires { out << part; }) {
        out << part;
    } else {
        out << '[';
        const char* between = "";
        for (const auto& each : part) {
            out << std::exchange(between, ", ");
            put(out, each);
        }
        out << ']';
    }
}
}  // namespace detail

/// One line in the log of the run: log(INFO, "Pulled ", n, " results of ", ids). Lists print as
/// [1, 2].
template <class... Parts>
void log(Level level, const Parts&... parts) {
    if (host == nullptr) return;
    std::ostringstream text;
    (detail::put(text, parts), ...);
    host->log(level, text.str());
}

// -- client side -----------------------------------------------------------------------

/// A table of handlers by message type: "train", "evaluate" and "query", each with any number of
/// further names, as in "train.pretrain".
class ClientApp {
  public:
    /// The reply. What it throws becomes an error reply with its text. Handlers of one run are
    /// called one after another.
    using Handler = std::function<Message(const Message& message, Context& context)>;

    ClientApp& train(Handler handler) { return on("train", std::move(handler)); }
    ClientApp& evaluate(Handler handler) { return on("evaluate", std::move(handler)); }
    ClientApp& query(Handler handler) { return on("query", std::move(handler)); }
    /// `type` is "category" or "category.name". Throws std::invalid_argument when it is not, or
    /// has a handler already.
    ClientApp& on(const std::string& type, Handler handler) {
        const std::string category = type.substr(0, type.find('.'));
        if (category != "train" && category != "evaluate" && category != "query")
            throw std::invalid_argument("message type \"" + type +
                                        "\" must be train, evaluate or query, or one of them with "
                                        "a dot and a name");
        if (!handlers_.emplace(type, std::move(handler)).second)
            throw std::invalid_argument("message type \"" + type + "\" has two handlers");
        return *this;
    }

    [[nodiscard]] const std::map<std::string, Handler>& handlers() const noexcept {
        return handlers_;
    }

  private:
    std::map<std::string, Handler> handlers_;
};

// -- server side -------------------------------------------------------------------------

/// The hands of a ServerApp in its run. Once the run is being stopped, all waits return at once and
/// nothing is sent any more (Context::cancelled).
class Driver {
  public:
    virtual ~Driver() = default;

    [[nodiscard]] virtual const std::string& run_id() const = 0;
    /// The nodes that take part now: those that were there when main began, then the others in the
    /// order in which they came.
    [[nodiscard]] virtual std::vector<NodeId> get_node_ids() = 0;
    /// Empty when the node never was in this run.
    [[nodiscard]] virtual std::string name_of(NodeId node) = 0;
    /// Waits until at least `count` nodes are there. Whether they are.
    virtual bool wait_for_nodes(std::size_t count, Duration timeout) = 0;

    [[nodiscard]] Message create_message(Record content, std::string message_type,
                                         NodeId dst_node_id, std::string group_id = {},
                                         Duration ttl = default_ttl) const {
        Metadata metadata;
        metadata.run_id = run_id();
        metadata.dst_node_id = dst_node_id;
        metadata.group_id = std::move(group_id);
        metadata.message_type = std::move(message_type);
        metadata.ttl = ttl;
        metadata.created_at = std::chrono::system_clock::now();
        return Message(std::move(metadata), std::move(content));
    }

    /// Sends messages and returns at once: their ids, in order; empty for one that is refused (its
    /// node is not there, it is too large, has no time to live or an error for content).
    virtual std::vector<std::string> push_messages(const std::vector<Message>& messages) = 0;
    /// The replies to these messages that are there, each once. Every message that was pushed gets
    /// one: with content, or with the error that says why not.
    virtual std::vector<Message> pull_messages(const std::vector<std::string>& message_ids) = 0;
    /// Pushes, and waits for all replies or until `timeout`; what is missing then can be pulled
    /// later. For a message that is refused there is an error reply.
    virtual std::vector<Message> send_and_receive(const std::vector<Message>& messages,
                                                  Duration timeout = default_ttl) = 0;

    /// Waits until a reply is there that nobody has pulled. False after `timeout`.
    virtual bool wait_for_reply(Duration timeout) = 0;
    /// The next reply, whatever it answers. Empty after `timeout`.
    virtual std::optional<Message> next_reply(Duration timeout) = 0;
    /// From now on replies go to `take`, called one after another on a thread of the driver's, and
    /// are not there to be pulled. An empty function ends it. `take` must not throw.
    virtual void on_reply(std::function<void(Message)> take) = 0;

    /// What `vflbus run show` has of this run over time, and a line on the terminal and in the log
    /// of the run: log_metrics({{"loss", 0.3}}, round). The first 10,000 calls are kept. Throws std::invalid_argument for more than 64 metrics, or a
    /// name that is empty or longer than 64 bytes.
    virtual void log_metrics(const std::map<std::string, double>& metrics, std::uint64_t step) = 0;
};

/// main of a ServerApp. The run is completed when it returns, and failed with its text when it
/// throws.
using ServerMain = void (*)(Driver& driver, Context& context);

// -- what a shared object shows to the program ---------------------------------------------

/// The first three members never change, so that any version can refuse any other.
struct Exported {
    const char* magic;    ///< "vflbus-app"
    const char* version;  ///< of the headers
    const char* library;  ///< the C++ standard library whose types cross the border
    void (*set_host)(Host*);
    ClientApp (*client)();
    ServerMain server;
};

#if defined(_LIBCPP_VERSION)
inline constexpr const char* standard_library = "libc++";
#elif defined(_GLIBCXX_USE_CXX11_ABI) && _GLIBCXX_USE_CXX11_ABI == 0
inline constexpr const char* standard_library = "libstdc++ with the old ABI";
#else
inline constexpr const char* standard_library = "libstdc++";
#endif

#define VFLBUS_APP_EXPORT(client_, server_)                                          \
    extern "C" __attribute__((visibility("default"))) const ::vflbus::app::Exported* \
    vflbus_app() {                                                                   \
        static const ::vflbus::app::Exported exported{                               \
            "vflbus-app",                                                            \
            VFLBUS_APP_VERSION,                                                      \
            ::vflbus::app::standard_library,                                         \
            [](::vflbus::app::Host* given) { ::vflbus::app::host = given; },         \
            client_,                                                                 \
            server_};                                                                \
        return &exported;                                                            \
    }

/// `function` is a `ClientApp function()`.
#define VFLBUS_CLIENT_APP(function) VFLBUS_APP_EXPORT(function, nullptr)
/// `function` is a `void function(Driver&, Context&)`.
#define VFLBUS_SERVER_APP(function) VFLBUS_APP_EXPORT(nullptr, function)

}  // namespace vflbus::app
