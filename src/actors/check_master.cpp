#include <algorithm>
#include <utility>

#include "actors/master.hpp"

namespace vflbus::actors {
namespace {

constexpr std::uint64_t echoes = 11;

class Check final : public CheckMaster {
  public:
    explicit Check(MasterOptions options) : CheckMaster(std::move(options), Purpose::check) {}

    const std::vector<CheckedParty>& parties() const noexcept override { return parties_; }
    std::uint64_t common() const noexcept override { return common_ids(TableKind::train); }
    std::uint64_t common_test() const noexcept override { return common_ids(TableKind::test); }

  private:
    void on_gathered() override {
        enter(Phase::aligning);
        parties_.resize(members_.size() + 1);
        trips_.resize(members_.size());
        parties_[0].name = options_.name;
        parties_[0].version = options_.version;
        for (std::size_t i = 0; i < members_.size(); ++i) {
            parties_[i + 1].name = members_[i].name;
            parties_[i + 1].version = members_[i].version;
        }
        echo();
    }

    void echo() {
        sent_ = driver_->now();
        send_all(message::echo, {});
    }

    void align() {
        ask_ids(TableKind::train);
        ask_ids(TableKind::test);
        for (const TableKind kind : {TableKind::train, TableKind::test}) {
            const auto own = own_->align(kind);
            if (!own) return fail_run(own.error());
            if (kind == TableKind::train) describe(0, *own);
        }
    }

    void describe(std::size_t party, const AlignReply& ids) {
        parties_[party].rows = ids.rows;
        parties_[party].duplicate_rows = ids.duplicate_rows;
        parties_[party].missing_cells = ids.missing_cells;
        parties_[party].columns = ids.columns;
    }

    Result<> on_answer(std::size_t member, const Pending& request, Bytes&& body) override {
        if (request.type == message::echo) {
            trips_[member].push_back(driver_->now() - sent_);
            return {};
        }
        if (request.type == message::select) return take_selected(member, request, body);
        if (request.type != message::align) return {};
        if (request.tag == static_cast<std::uint64_t>(TableKind::train)) {
            const auto ids = decode_align_reply(body);
            if (!ids) return tl::unexpected(ids.error());
            describe(member + 1, *ids);
            ids_of_[member] = ids->ids.size();
        }
        return take_ids(member, request, body);
    }

    void on_all_answered() override {
        if (phase() == Phase::selecting) return release_all();
        if (trips_[0].size() < echoes) return echo();
        if (!asked_) {
            asked_ = true;
            for (std::size_t i = 0; i < trips_.size(); ++i) {
                std::ranges::sort(trips_[i]);
                parties_[i + 1].round_trip_min = trips_[i].front();
                parties_[i + 1].round_trip_median = trips_[i][trips_[i].size() / 2];
            }
            ids_of_.resize(members_.size());
            return align();
        }
        const auto test = present(TableKind::test);
        if (!test) return fail_run(test.error());
        if (const auto train = present(TableKind::train); !train) return fail_run(train.error());
        const std::size_t own_ids = own_->local(TableKind::train).ids.size();
        enter(Phase::selecting);
        if (auto done = select_common(TableKind::train); !done) return fail_run(done.error());
        if (*test)
            if (auto done = select_common(TableKind::test); !done) return fail_run(done.error());
        for (std::size_t p = 0; p < parties_.size(); ++p) {
            const std::size_t ids = p == 0 ? own_ids : ids_of_[p - 1];
            if (ids != 0)
                parties_[p].match_rate = static_cast<double>(common()) / static_cast<double>(ids);
        }
    }

    std::vector<CheckedParty> parties_;
    std::vector<std::vector<Duration>> trips_;
    std::vector<std::size_t> ids_of_;
    TimePoint sent_{};
    bool asked_ = false;
};

}  // namespace

Result<std::unique_ptr<CheckMaster>> make_check_master(MasterOptions options) {
    if (options.config.run.world_size == 0)
        return fail(Errc::bad_config, "run.world_size is not set: say how many members take part");
    return std::make_unique<Check>(std::move(options));
}

}  // namespace vflbus::actors
