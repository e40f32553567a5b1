// The configuration checks what columns are declared to be, and the data room reads them: both know
// the same kinds.

#include <algorithm>
#include <string>
#include <vector>

#include "catch.hpp"
#include "config/keys.hpp"
#include "data/column_rules.hpp"

using namespace vflbus;

TEST_CASE("the kinds of columns that a configuration allows are those that tables know") {
    const config::Key* const key = config::find_key("party", "columns");
    REQUIRE(key != nullptr);
    for (const std::string_view kind : key->choices) {
        const std::vector<std::string> rule{"x=" + std::string(kind)};
        const auto parsed = data::parse_column_rules(rule);
        REQUIRE(parsed);
        CHECK(data::name_of(parsed->front().kind) == kind);
    }
    for (int i = 0; i <= static_cast<int>(data::DeclaredKind::ignore); ++i)
        CHECK(std::ranges::count(key->choices, data::name_of(static_cast<data::DeclaredKind>(i))) ==
              1);
    CHECK(key->choices.size() == static_cast<std::size_t>(data::DeclaredKind::ignore) + 1);
}
