#pragma once
// JSON values behind a plain header. The library that reads and writes the text is seen by json.cpp
// alone: in every file that included it, it cost five seconds of compiling.

#include <compare>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace vflbus {

namespace detail {
template <class T>
concept JsonText =
    std::convertible_to<const T&, std::string_view> && !std::same_as<T, std::nullptr_t>;
}  // namespace detail

/// A value is not of the kind that was asked for, or a key is not there; what() says which.
class JsonError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// One JSON value. An object keeps its members in the order in which they were added, so that files
/// are written in the order of the code and read well.
class Json {
  public:
    struct Member;
    using Array = std::vector<Json>;
    using Object = std::vector<Member>;

    // Templates, because a braced list must find the constructor from a list alone.
    Json() noexcept;  // null
    template <std::same_as<std::nullptr_t> T>
    Json(T) noexcept : Json() {}
    template <std::same_as<bool> T>
    Json(T value) noexcept : Json(Kept{}, value) {}
    template <class T>
        requires detail::JsonText<T>
    Json(const T& text) : Json(Kept{}, std::string(std::string_view(text))) {}
    template <std::same_as<std::string> T>
    Json(T&& text) noexcept : Json(Kept{}, std::move(text)) {}
    template <std::signed_integral T>
    Json(T value) noexcept : Json(Kept{}, static_cast<std::int64_t>(value)) {}
    template <std::unsigned_integral T>
        requires(!std::same_as<T, bool>)
    Json(T value) noexcept : Json(Kept{}, static_cast<std::uint64_t>(value)) {}
    template <std::floating_point T>
    Json(T value) noexcept : Json(Kept{}, static_cast<double>(value)) {}
    template <class T>
        requires std::constructible_from<Json, const T&>
    Json(const std::vector<T>& values) : Json(array()) {
        for (const auto& value : values) push_back(T(value));
    }
    /// {{"key", value}, ...} is an object; any other list an array.
    Json(std::initializer_list<Json> values);

    Json(const Json& other);
    Json(Json&& other) noexcept;
    Json& operator=(const Json& other);
    Json& operator=(Json&& other) noexcept;
    ~Json();

    static Json array();
    static Json object();
    static Json array(std::initializer_list<Json> values);

    /// The value of a text. `is_discarded()` when the text is no JSON, or is nested more deeply
    /// than `depth_max`; `wrong_at` is then the byte, from 1, at which it goes wrong. Never throws.
    static Json parse(std::string_view text, std::size_t* wrong_at = nullptr);
    static constexpr std::size_t depth_max = 200;

    /// Its text: on one line, or with each level indented by so many blanks. What is not UTF-8 in a
    /// text becomes U+FFFD; a number that is not finite becomes null.
    [[nodiscard]] std::string dump(int indent = -1) const;

    [[nodiscard]] bool is_discarded() const noexcept;
    [[nodiscard]] bool is_null() const noexcept;
    [[nodiscard]] bool is_boolean() const noexcept;
    [[nodiscard]] bool is_number() const noexcept;
    /// Written without point or exponent.
    [[nodiscard]] bool is_number_integer() const noexcept;
    /// A whole number that was read without a sign, or came from an unsigned type.
    [[nodiscard]] bool is_number_unsigned() const noexcept;
    [[nodiscard]] bool is_string() const noexcept;
    [[nodiscard]] bool is_array() const noexcept;
    [[nodiscard]] bool is_object() const noexcept;

    /// Elements or members; 0 for null, 1 for any other value.
    [[nodiscard]] std::size_t size() const noexcept;
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /// The value as a bool, a number, a std::string or a std::vector of them.
    /// Throws JsonError when it is of another kind, or a number that T cannot hold.
    template <class T>
    [[nodiscard]] T get() const;

    // -- arrays -------------------------------------------------------------------------
    /// Throws JsonError when this is no array, or has no such element.
    [[nodiscard]] const Json& at(std::size_t index) const;
    template <std::integral T>
    const Json& operator[](T index) const {
        return at(static_cast<std::size_t>(index));
    }
    template <std::integral T>
    Json& operator[](T index) {
        return const_cast<Json&>(at(static_cast<std::size_t>(index)));
    }
    /// Null becomes an array.
    void push_back(Json value);
    /// The elements. Throws JsonError when this is no array.
    [[nodiscard]] Array::const_iterator begin() const;
    [[nodiscard]] Array::const_iterator end() const;

    // -- objects ------------------------------------------------------------------------
    /// Throws JsonError when this is no object, or has no such member.
    [[nodiscard]] const Json& at(std::string_view key) const;
    const Json& operator[](std::string_view key) const { return at(key); }
    /// Adds a null when there is no such member. Null becomes an object.
    Json& operator[](std::string_view key);
    /// Null when there is no such member, or this is no object.
    [[nodiscard]] const Json* find(std::string_view key) const noexcept;
    [[nodiscard]] bool contains(std::string_view key) const noexcept {
        return find(key) != nullptr;
    }
    /// The member as a T, or `otherwise` when there is none. Throws JsonError when it is no T.
    template <class T>
    [[nodiscard]] T value(std::string_view key, T otherwise) const {
        const Json* found = find(key);
        return found == nullptr ? otherwise : found->get<T>();
    }
    [[nodiscard]] std::string value(std::string_view key, const char* otherwise) const {
        return value(key, std::string(otherwise));
    }
    /// The members, in order. Throws JsonError when this is no object.
    [[nodiscard]] const Object& items() const;

    /// Numbers are equal when their values are, however they are stored. (Inside the class, so that
    /// they are found for a Json only, and never for two texts.)
    friend bool operator==(const Json& a, const Json& b) { return a.equals(b); }
    template <detail::JsonText T>
    friend bool operator==(const Json& a, const T& text) {
        return a.equals(std::string_view(text));
    }
    /// What is no number is neither below nor above one.
    template <class T>
        requires std::integral<T> || std::floating_point<T>
    friend std::partial_ordering operator<=>(const Json& a, T number) {
        if (!a.is_number()) return std::partial_ordering::unordered;
        return a.as_double() <=> static_cast<double>(number);
    }

  private:
    struct Kept {};
    struct Discarded {};
    friend class JsonBuilder;

    // In json.cpp, where Member is known.
    Json(Kept, bool value) noexcept;
    Json(Kept, std::int64_t value) noexcept;
    Json(Kept, std::uint64_t value) noexcept;
    Json(Kept, double value) noexcept;
    Json(Kept, std::string text) noexcept;

    [[nodiscard]] bool equals(const Json& other) const;
    [[nodiscard]] bool equals(std::string_view text) const noexcept;
    [[nodiscard]] bool as_bool() const;
    [[nodiscard]] double as_double() const;
    [[nodiscard]] const std::string& as_string() const;
    [[nodiscard]] std::int64_t as_signed(std::int64_t min, std::int64_t max) const;
    [[nodiscard]] std::uint64_t as_unsigned(std::uint64_t max) const;

    std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, Array,
                 Object, Discarded>
        value_;
};

struct Json::Member {
    std::string key;
    Json value;
};

namespace detail {
template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
}  // namespace detail

template <class T>
T Json::get() const {
    if constexpr (std::same_as<T, bool>) {
        return as_bool();
    } else if constexpr (std::unsigned_integral<T>) {
        return static_cast<T>(as_unsigned(std::numeric_limits<T>::max()));
    } else if constexpr (std::signed_integral<T>) {
        return static_cast<T>(
            as_signed(std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
    } else if constexpr (std::floating_point<T>) {
        return static_cast<T>(as_double());
    } else if constexpr (std::same_as<T, std::string>) {
        return as_string();
    } else {
        static_assert(detail::is_vector<T>, "a bool, a number, a std::string or a std::vector");
        T out;
        out.reserve(size());
        for (const Json& element : *this) out.push_back(element.get<typename T::value_type>());
        return out;
    }
}

}  // namespace vflbus
