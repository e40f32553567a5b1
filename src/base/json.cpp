#include "base/json.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

namespace vflbus {
namespace {

using Library = nlohmann::json;

std::string quoted_text(std::string_view text) {
    return Library(text).dump(-1, ' ', false, Library::error_handler_t::replace);
}

const char* kind_of(const Json& json) {
    return json.is_null()      ? "null"
           : json.is_boolean() ? "true or false"
           : json.is_number()  ? "a number"
           : json.is_string()  ? "a text"
           : json.is_array()   ? "an array"
           : json.is_object()  ? "an object"
                               : "no JSON";
}

[[noreturn]] void wrong_kind(const Json& json, const char* wanted) {
    throw JsonError(std::string("there is ") + kind_of(json) + " where " + wanted + " should be");
}

[[noreturn]] void out_of_range() {
    throw JsonError("a number is negative, too large or not whole");
}

}  // namespace

/// Takes what the library's parser finds in a text, piece by piece.
class JsonBuilder {
  public:
    using number_integer_t = Library::number_integer_t;
    using number_unsigned_t = Library::number_unsigned_t;
    using number_float_t = Library::number_float_t;

    bool null() { return add(Json()); }
    bool boolean(bool value) { return add(value); }
    bool number_integer(number_integer_t value) { return add(value); }
    bool number_unsigned(number_unsigned_t value) { return add(value); }
    bool number_float(number_float_t value, const std::string&) { return add(value); }
    bool string(std::string& value) { return add(Json(std::move(value))); }
    bool binary(Library::binary_t&) { return false; }
    bool start_object(std::size_t) { return open(Json::object()); }
    bool start_array(std::size_t) { return open(Json::array()); }
    bool key(std::string& key) {
        keys_.back() = std::move(key);
        return true;
    }
    bool end_object() { return close(); }
    bool end_array() { return close(); }
    bool parse_error(std::size_t position, const std::string&, const Library::exception&) {
        wrong_at_ = position;
        return false;
    }

    Json take() { return std::move(whole_); }
    [[nodiscard]] std::size_t wrong_at() const { return wrong_at_; }
    static Json discarded() {
        Json json;
        json.value_ = Json::Discarded{};
        return json;
    }

  private:
    bool add(Json value) {
        if (open_.empty())
            whole_ = std::move(value);
        else if (open_.back().is_array())
            open_.back().push_back(std::move(value));
        else
            open_.back()[keys_.back()] = std::move(value);  // of a key given twice, the last counts
        return true;
    }
    bool open(Json value) {
        if (open_.size() == Json::depth_max) return false;
        open_.push_back(std::move(value));
        keys_.emplace_back();
        return true;
    }
    bool close() {
        Json value = std::move(open_.back());
        open_.pop_back();
        keys_.pop_back();
        return add(std::move(value));
    }

    Json whole_;
    std::vector<Json> open_;         // outermost first
    std::vector<std::string> keys_;  // of each, the key whose value comes next
    std::size_t wrong_at_ = 0;
};

Json::Json() noexcept : value_(nullptr) {}
Json::Json(Kept, bool value) noexcept : value_(value) {}
Json::Json(Kept, std::int64_t value) noexcept : value_(value) {}
Json::Json(Kept, std::uint64_t value) noexcept : value_(value) {}
Json::Json(Kept, double value) noexcept : value_(value) {}
Json::Json(Kept, std::string text) noexcept : value_(std::move(text)) {}
Json::Json(const Json& other) = default;
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(const Json& other) = default;
Json& Json::operator=(Json&& other) noexcept = default;
Json::~Json() = default;

Json::Json(std::initializer_list<Json> values) : value_(nullptr) {
    bool pairs = true;
    for (const Json& value : values)
        pairs = pairs && value.is_array() && value.size() == 2 && value.at(0).is_string();
    if (!pairs) {
        value_ = Array(values);
        return;
    }
    value_ = Object();
    for (const Json& pair : values) (*this)[pair.at(0).as_string()] = pair.at(1);
}

Json Json::array() {
    Json out;
    out.value_ = Array();
    return out;
}

Json Json::array(std::initializer_list<Json> values) {
    Json out;
    out.value_ = Array(values);
    return out;
}

Json Json::object() {
    Json out;
    out.value_ = Object();
    return out;
}

bool Json::is_discarded() const noexcept {
    return std::holds_alternative<Discarded>(value_);
}
bool Json::is_null() const noexcept {
    return std::holds_alternative<std::nullptr_t>(value_);
}
bool Json::is_boolean() const noexcept {
    return std::holds_alternative<bool>(value_);
}
bool Json::is_number() const noexcept {
    return is_number_integer() || std::holds_alternative<double>(value_);
}
bool Json::is_number_integer() const noexcept {
    return std::holds_alternative<std::int64_t>(value_) || is_number_unsigned();
}
bool Json::is_number_unsigned() const noexcept {
    return std::holds_alternative<std::uint64_t>(value_);
}
bool Json::is_string() const noexcept {
    return std::holds_alternative<std::string>(value_);
}
bool Json::is_array() const noexcept {
    return std::holds_alternative<Array>(value_);
}
bool Json::is_object() const noexcept {
    return std::holds_alternative<Object>(value_);
}

std::size_t Json::size() const noexcept {
    if (const auto* array = std::get_if<Array>(&value_)) return array->size();
    if (const auto* object = std::get_if<Object>(&value_)) return object->size();
    return is_null() || is_discarded() ? 0 : 1;
}

// -- what it holds -------------------------------------------------------------------------

bool Json::as_bool() const {
    if (const bool* value = std::get_if<bool>(&value_)) return *value;
    wrong_kind(*this, "true or false");
}

double Json::as_double() const {
    if (const auto* value = std::get_if<double>(&value_)) return *value;
    if (const auto* value = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*value);
    if (const auto* value = std::get_if<std::uint64_t>(&value_)) return static_cast<double>(*value);
    wrong_kind(*this, "a number");
}

const std::string& Json::as_string() const {
    if (const auto* value = std::get_if<std::string>(&value_)) return *value;
    wrong_kind(*this, "a text");
}

std::int64_t Json::as_signed(std::int64_t min, std::int64_t max) const {
    if (const auto* value = std::get_if<std::uint64_t>(&value_)) {
        if (*value > static_cast<std::uint64_t>(max)) out_of_range();
        return static_cast<std::int64_t>(*value);
    }
    if (const auto* value = std::get_if<std::int64_t>(&value_)) {
        if (*value < min || *value > max) out_of_range();
        return *value;
    }
    if (is_number()) out_of_range();
    wrong_kind(*this, "a number");
}

std::uint64_t Json::as_unsigned(std::uint64_t max) const {
    if (const auto* value = std::get_if<std::int64_t>(&value_); value != nullptr && *value < 0)
        out_of_range();
    std::uint64_t whole = 0;
    if (const auto* value = std::get_if<std::uint64_t>(&value_))
        whole = *value;
    else if (const auto* sign = std::get_if<std::int64_t>(&value_))
        whole = static_cast<std::uint64_t>(*sign);
    else if (is_number())
        out_of_range();
    else
        wrong_kind(*this, "a number");
    if (whole > max) out_of_range();
    return whole;
}

// -- arrays and objects ----------------------------------------------------------------------

const Json& Json::at(std::size_t index) const {
    const auto* array = std::get_if<Array>(&value_);
    if (array == nullptr) wrong_kind(*this, "an array");
    if (index >= array->size()) throw JsonError("an array has no element " + std::to_string(index));
    return (*array)[index];
}

void Json::push_back(Json value) {
    if (is_null()) value_ = Array();
    auto* array = std::get_if<Array>(&value_);
    if (array == nullptr) wrong_kind(*this, "an array");
    array->push_back(std::move(value));
}

Json::Array::const_iterator Json::begin() const {
    const auto* array = std::get_if<Array>(&value_);
    if (array == nullptr) wrong_kind(*this, "an array");
    return array->begin();
}

Json::Array::const_iterator Json::end() const {
    const auto* array = std::get_if<Array>(&value_);
    if (array == nullptr) wrong_kind(*this, "an array");
    return array->end();
}

const Json::Object& Json::items() const {
    const auto* object = std::get_if<Object>(&value_);
    if (object == nullptr) wrong_kind(*this, "an object");
    return *object;
}

const Json* Json::find(std::string_view key) const noexcept {
    const auto* object = std::get_if<Object>(&value_);
    if (object == nullptr) return nullptr;
    for (const Member& member : *object)
        if (member.key == key) return &member.value;
    return nullptr;
}

const Json& Json::at(std::string_view key) const {
    if (!is_object()) wrong_kind(*this, "an object");
    const Json* found = find(key);
    if (found == nullptr) throw JsonError("key " + quoted_text(key) + " not found");
    return *found;
}

Json& Json::operator[](std::string_view key) {
    if (is_null()) value_ = Object();
    auto* object = std::get_if<Object>(&value_);
    if (object == nullptr) wrong_kind(*this, "an object");
    for (Member& member : *object)
        if (member.key == key) return member.value;
    return object->emplace_back(std::string(key), Json()).value;
}

bool Json::equals(std::string_view text) const noexcept {
    const auto* value = std::get_if<std::string>(&value_);
    return value != nullptr && *value == text;
}

bool Json::equals(const Json& other) const {
    if (is_number() && other.is_number()) {
        if (is_number_integer() && other.is_number_integer()) {
            const auto equal_to = [&other](auto value) {
                const auto* sign = std::get_if<std::int64_t>(&other.value_);
                return sign != nullptr
                           ? std::cmp_equal(value, *sign)
                           : std::cmp_equal(value, std::get<std::uint64_t>(other.value_));
            };
            const auto* sign = std::get_if<std::int64_t>(&value_);
            return sign != nullptr ? equal_to(*sign) : equal_to(std::get<std::uint64_t>(value_));
        }
        return as_double() == other.as_double();
    }
    if (value_.index() != other.value_.index()) return false;
    if (const auto* value = std::get_if<bool>(&value_))
        return *value == std::get<bool>(other.value_);
    if (const auto* value = std::get_if<std::string>(&value_))
        return *value == std::get<std::string>(other.value_);
    if (const auto* array = std::get_if<Array>(&value_))
        return *array == std::get<Array>(other.value_);
    if (const auto* object = std::get_if<Object>(&value_)) {
        if (object->size() != other.size()) return false;
        for (const Member& member : *object) {
            const Json* found = other.find(member.key);
            if (found == nullptr || !found->equals(member.value)) return false;
        }
    }
    return true;
}

// -- text --------------------------------------------------------------------------------------

Json Json::parse(std::string_view text, std::size_t* wrong_at) {
    // The library takes a zero byte for the end of the text, whatever follows it.
    if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
        if (wrong_at != nullptr) *wrong_at = zero + 1;
        return JsonBuilder::discarded();
    }
    JsonBuilder builder;
    if (Library::sax_parse(text, &builder)) return builder.take();
    if (wrong_at != nullptr) *wrong_at = builder.wrong_at();
    return JsonBuilder::discarded();
}

namespace {

void write(std::string& out, const Json& json, int indent, int depth) {
    const auto line = [&](int level) {
        if (indent < 0) return;
        out += '\n';
        out.append(static_cast<std::size_t>(indent) * static_cast<std::size_t>(level), ' ');
    };
    const auto list = [&](char open, char close, const auto& values, const auto& one) {
        out += open;
        bool first = true;
        for (const auto& value : values) {
            if (!first) out += ',';
            first = false;
            line(depth + 1);
            one(value);
        }
        if (!first) line(depth);
        out += close;
    };
    if (json.is_array()) {
        list('[', ']', json, [&](const Json& element) { write(out, element, indent, depth + 1); });
    } else if (json.is_object()) {
        list('{', '}', json.items(), [&](const Json::Member& member) {
            out += quoted_text(member.key) + (indent < 0 ? ":" : ": ");
            write(out, member.value, indent, depth + 1);
        });
    } else if (json.is_string()) {
        out += quoted_text(json.get<std::string>());
    } else if (json.is_boolean()) {
        out += json.get<bool>() ? "true" : "false";
    } else if (json.is_number_unsigned()) {
        out += std::to_string(json.get<std::uint64_t>());
    } else if (json.is_number_integer()) {
        out += std::to_string(json.get<std::int64_t>());
    } else if (json.is_number()) {
        out += Library(json.get<double>()).dump();  // as short as it reads back the same
    } else {
        out += json.is_discarded() ? "<discarded>" : "null";
    }
}

}  // namespace

std::string Json::dump(int indent) const {
    std::string out;
    write(out, *this, indent, 0);
    return out;
}

}  // namespace vflbus
