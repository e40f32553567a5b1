#pragma once
// data.select: which columns a training takes, by the figures of an earlier `vflbus features`.

#include <limits>
#include <string>
#include <string_view>

#include "base/errc.hpp"

namespace vflbus::config {

/// "RUN information>=0.02 inflation<=10 correlation<=0.95 missing<=1000": the id of the run that
/// made the figures, and one or more bounds, each at most once.
struct ColumnSelect {
    std::string run;                                             ///< 32 hexadecimal digits
    double information = 0;                                      ///< at least
    double missing = std::numeric_limits<double>::infinity();    ///< rows at most
    double inflation = std::numeric_limits<double>::infinity();  ///< at most
    /// At most, by its amount, with a column that has more information.
    double correlation = 1;
    friend bool operator==(const ColumnSelect&, const ColumnSelect&) = default;
};

/// Errors: bad_config, a sentence without the key.
Result<ColumnSelect> parse_select(std::string_view text);

}  // namespace vflbus::config
