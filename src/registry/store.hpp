#pragma once
// The tables behind the registry. The only file of the program that sees SQLite is store.cpp. Not
// thread-safe: the registry's thread has it.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "bus/core/ledger.hpp"

namespace vflbus::registry {

class Store {
  public:
    /// Empty: in memory. Errors: bad_data, io.
    static Result<std::unique_ptr<Store>> open(const std::filesystem::path& file);
    ~Store();
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;

    /// All or nothing of what stands between them goes to disk. Errors: io.
    Result<> begin();
    Result<> commit();
    void rollback() noexcept;

    Result<> put(const bus::RunRow& row);
    Result<> put(const bus::NodeRow& row);
    /// Whatever was on or up is `unknown`; sizes count on from what they were.
    Result<> forget_what_ran();
    /// At most so many rows stay; what runs or is here always does.
    Result<> trim(std::uint64_t runs_max, std::uint64_t nodes_max);

    /// Those that are on first, then the youngest. `status` as in Question::runs.
    Result<std::vector<bus::RunRow>> runs(const std::string& status, std::uint64_t limit);
    /// Those whose id begins with these hexadecimal digits.
    Result<std::vector<bus::RunRow>> runs_with(const std::string& prefix, std::uint64_t limit);
    /// Those that are here first, by name.
    Result<std::vector<bus::NodeRow>> nodes(std::uint64_t limit);

  private:
    struct Impl;
    explicit Store(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace vflbus::registry
