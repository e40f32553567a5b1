#pragma once
// A machine's disk in the simulation. Files are written by the product's own steps
// (base/durable.hpp); a process may die before any of them, and a loss of power takes what was not
// synced: names appear or stay away one by one, and of unsynced content a prefix is left.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "actors/env.hpp"
#include "base/durable.hpp"
#include "base/rng.hpp"

namespace vflbus::sim {

class Disk final : public actors::Env, private FileSteps {
    struct Inode {
        std::string content;
        bool synced = false;
    };
    using Names = std::map<std::string, std::shared_ptr<Inode>>;

  public:
    explicit Disk(std::uint64_t seed = 0) : rng_(seed), secrets_(mix_seed(seed, 99)) {}

    /// Asked before each step that changes the disk.
    enum class Fate : std::uint8_t { done, dies, full };
    std::function<Fate()> fate;
    /// Steps so far, of all processes.
    [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }

    // -- what happens to the machine -------------------------------------------------
    /// A new process runs on it: after Fate::dies nothing is written until then.
    void begin() {
        dead_ = false;
        durable_.clear();
    }
    /// Loses, by chance, what was not synced. True when anything was lost.
    bool lose_power();
    /// Somebody removes everything.
    void wipe();
    struct Backup {
        std::map<std::string, std::string> files;
        std::set<std::string> directories;
    };
    [[nodiscard]] Backup backup() const;
    /// Somebody puts a backup in place of all that is there.
    void set_back(const Backup& backup);
    /// Flips a bit in the middle of a file.
    void damage(const std::string& path);

    // -- Env -------------------------------------------------------------------------
    Result<std::string> read_file(const std::filesystem::path& path) override;
    Result<> write_file(const std::filesystem::path& path, std::string_view content) override;
    bool exists(const std::filesystem::path& path) override;
    Result<std::vector<std::string>> list(const std::filesystem::path& directory) override;
    Result<> remove(const std::filesystem::path& path) override;
    std::string utc_now() override { return "2026-01-01T00:00:00Z"; }
    /// The same for the same seed, and never the same again.
    void random(std::span<std::uint8_t> out) override {
        for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(secrets_.next() >> 56);
    }

    /// What a file holds whatever a loss of power takes now; nothing when that is not sure.
    [[nodiscard]] std::optional<std::string> stored(const std::filesystem::path& path) const;
    /// What a process would read now.
    template <class Visit>
    void for_each_file(Visit&& visit) const {
        for (const auto& [path, inode] : names_) visit(path, inode->content);
    }

  private:
    bool is_directory(const std::filesystem::path& path) override;
    Result<> make_directory(const std::filesystem::path& path) override;
    Result<> write(const std::filesystem::path& path, std::string_view content) override;
    Result<> sync(const std::filesystem::path& path) override;
    Result<> rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
    Result<> sync_directory(const std::filesystem::path& path) override;
    void discard(const std::filesystem::path& path) noexcept override;
    bool is_durable(const std::filesystem::path& directory) override {
        return directory == "." ||
               (durable_.contains(directory.string()) && is_directory(directory));
    }
    void note_durable(const std::filesystem::path& directory) override {
        durable_.insert(directory.string());
    }

    Result<> step();

    Rng rng_;
    Rng secrets_;
    std::uint64_t steps_ = 0;
    bool dead_ = false;
    Names names_;   ///< as processes see them
    Names stored_;  ///< as they are after a loss of power
    std::set<std::string> directories_;
    std::set<std::string> stored_directories_;
    std::set<std::string> durable_;  ///< as the present process knows
};

}  // namespace vflbus::sim
