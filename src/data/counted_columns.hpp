#pragma once
// Sources whose columns have no names of their own.
//
// The columns of a matrix are called x1, x2, ... because something must be said of them. The same
// name in another file means another column: nothing may be concluded from it.

#include <string_view>

namespace vflbus::data {

/// What such a Source is as well; a dynamic_cast finds out.
class CountedColumns {
  public:
    CountedColumns() = default;
    CountedColumns(const CountedColumns&) = delete;
    CountedColumns& operator=(const CountedColumns&) = delete;
    virtual ~CountedColumns() = default;
    /// Whether the name of this column is only its number.
    [[nodiscard]] virtual bool is_counted(std::string_view column) const noexcept = 0;
};

}  // namespace vflbus::data
