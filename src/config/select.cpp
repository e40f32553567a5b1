#include "config/select.hpp"

#include <charconv>
#include <set>
#include <sstream>

#include "base/ids.hpp"
#include "base/text.hpp"
#include "config/value.hpp"

namespace vflbus::config {
namespace {

/// Takes one bound, such as "information>=0.02", into `select`.
Result<> take_bound(const std::string& word, std::set<std::string>& seen, ColumnSelect& select) {
    const std::size_t at = word.find_first_of("<>");
    const std::string name = word.substr(0, at);
    const bool least = name == "information";
    const std::string sign = least ? ">=" : "<=";
    double* const place = least                   ? &select.information
                          : name == "missing"     ? &select.missing
                          : name == "inflation"   ? &select.inflation
                          : name == "correlation" ? &select.correlation
                                                  : nullptr;
    if (place == nullptr || at == std::string::npos || word.compare(at, 2, sign) != 0)
        return fail(Errc::bad_config, quote(word) +
                                          " is no bound; there are information>=, inflation<=, "
                                          "correlation<= and missing<=, such as information>=0.02");
    if (!seen.insert(name).second)
        return fail(Errc::bad_config, "the bound of " + name + " is there twice");
    const char* const begin = word.data() + at + 2;
    const char* const end = word.data() + word.size();
    const auto [stopped, error] = std::from_chars(begin, end, *place);
    if (error != std::errc{} || stopped != end || !(*place >= 0))
        return fail(Errc::bad_config, quote(word) + ": a number of 0 or more is missing");
    return {};
}

}  // namespace

Result<ColumnSelect> parse_select(std::string_view text) {
    std::istringstream words{std::string(text)};
    ColumnSelect select;
    words >> select.run;
    if (!parse_run_id(select.run))
        return fail(Errc::bad_config,
                    "it begins with the id of a run of `vflbus features`, 32 "
                    "hexadecimal digits, not " +
                        quote(select.run));
    std::set<std::string> seen;
    for (std::string word; words >> word;)
        if (auto good = take_bound(word, seen, select); !good)
            return tl::unexpected(std::move(good.error()));
    if (seen.empty())
        return fail(Errc::bad_config, "no bound follows the id, such as information>=0.02");
    return select;
}

}  // namespace vflbus::config
