#pragma once
// What one party brings into a run, whoever it is: its tables, which of their rows all parties
// have, how these are split, and the numbers that its features become.
//
// Members answer messages with it; the master has one for its own features. It knows nothing of
// models: the halves of an algorithm (training/algorithm.hpp) are built on its designs.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "actors/messages.hpp"
#include "actors/run/commit_file.hpp"
#include "actors/tables.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "data/align.hpp"
#include "data/preprocess.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors {

/// The training table and the test table of a party, with their rows that all parties have: what an
/// alignment comes to.
struct AlignedTables {
    struct One {
        std::shared_ptr<const data::Table> table;
        data::LocalIds local;
        data::Aligned common;
        bool aligned = false;
        bool selected = false;
    };
    std::array<One, 2> tables;  ///< by TableKind
};

class Party {
  public:
    /// `name` goes in front of the sentences of its failures; a member's is empty, because who
    /// receives them knows whose they are.
    Party(std::string name, config::AgreedHalf agreed, TableSource tables);

    // -- tables and alignment -------------------------------------------------------
    /// Loads the table unless it is there. False: the party has no such table. The columns of a
    /// test table are read as those of the training table are, the columns of a prediction table as
    /// the model part knows them (after `use`).
    Result<bool> load(TableKind kind);
    /// Loads, and hashes the ids. The reply's ids stay in local(kind).
    Result<AlignReply> align(TableKind kind);
    /// Keeps of local(kind) what is marked (bit i % 8 of byte i / 8: id i): the ids that all
    /// parties have, after a private set intersection. The marks fit.
    void restrict_to(TableKind kind, std::span<const std::uint8_t> marks);
    /// `rows`: how many aligned rows all parties must come to.
    Result<> select(TableKind kind, const data::Selection& selection, std::uint64_t rows);
    /// What has come of the alignment, before `drop_tables`.
    [[nodiscard]] AlignedTables aligned_tables() const;
    /// Whether rows are selected of the training table, and of the test table if one was loaded:
    /// what was aligned and not selected is not what the parties have in common.
    [[nodiscard]] bool wholly_aligned() const noexcept {
        return selected(TableKind::train) &&
               (table(TableKind::test) == nullptr || selected(TableKind::test));
    }
    /// Goes on from there, in place of `load`, `align` and `select`.
    void use(const AlignedTables& aligned);
    [[nodiscard]] bool aligned(TableKind kind) const noexcept;
    [[nodiscard]] bool selected(TableKind kind) const noexcept;
    [[nodiscard]] const data::LocalIds& local(TableKind kind) const noexcept;
    /// Null before load.
    [[nodiscard]] const data::Table* table(TableKind kind) const noexcept;
    /// The table with a share in it, for another Party of the same process.
    [[nodiscard]] std::shared_ptr<const data::Table> shared_table(TableKind kind) const {
        return side(kind).table;
    }
    /// Table rows of one side, or absent_row: train and test after `split`, predict after `select`.
    /// Test rows are of the test table when it was selected, otherwise of the training table.
    [[nodiscard]] std::span<const std::uint32_t> rows(TableKind kind) const noexcept;

    // -- training -------------------------------------------------------------------
    /// Train and test rows: by the test table; by `test_bitmap` where data.test_fraction leaves it
    /// to the master (bit i % 8 of byte i / 8: aligned row i is a test row); or by the ids, which a
    /// member does not know of rows that it lacks. bad_data without training rows,
    /// malformed_message for a bitmap that does not fit.
    Result<> split(std::span<const std::uint8_t> test_bitmap = {});
    /// What `split` was given.
    [[nodiscard]] std::span<const std::uint8_t> test_bitmap() const noexcept {
        return test_bitmap_;
    }
    /// The aligned rows of a table, before they are split.
    [[nodiscard]] const data::Aligned& common(TableKind kind) const noexcept {
        return side(kind).common;
    }
    /// Of the rows of one side: those that the party does not have (data.join = "left").
    [[nodiscard]] std::uint64_t absent(TableKind kind) const noexcept;
    /// Preprocessing and designs. Needs `split`.
    Result<> build();
    /// The design of one side, for an algorithm that keeps it in a form of its own: from here on
    /// `design(kind)` is empty.
    [[nodiscard]] data::Design take_design(TableKind kind);
    /// Lets the training and test tables go (after build; the master reads its labels first).
    void drop_tables();

    // -- commits ----------------------------------------------------------------------
    /// Of what `build` was given.
    [[nodiscard]] const AlignmentDigest& alignment() const noexcept { return alignment_; }

    // -- prediction -------------------------------------------------------------------
    /// Takes over the columns of a stored model part.
    void use(std::vector<data::PreparedColumn> columns);
    /// The design of the selected rows (after use and select).
    Result<> build_predict();

    // -- properties -------------------------------------------------------------------
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const config::AgreedHalf& agreed() const noexcept { return agreed_; }
    /// Features after preprocessing: the width of its designs.
    [[nodiscard]] std::size_t features() const noexcept { return preprocessor_.width(); }
    [[nodiscard]] const data::Preprocessor& preprocessor() const noexcept { return preprocessor_; }
    [[nodiscard]] const data::PreprocessReport& prepared() const noexcept { return prepared_; }
    [[nodiscard]] models::DesignView design(TableKind kind) const noexcept;
    /// What `build_predict` met in the rows to be predicted.
    [[nodiscard]] const data::TransformReport& transformed() const noexcept { return transformed_; }
    /// A failure of its tables, with its name in front if it has one.
    [[nodiscard]] Failure named(Failure failure) const;

  private:
    AlignmentDigest digest() const;

    struct Side {
        std::shared_ptr<const data::Table> table;
        bool loaded = false;
        bool aligned = false;
        bool selected = false;
        data::LocalIds local;
        data::Aligned common;
        std::vector<std::uint32_t> rows;
        data::Design design;
    };
    Side& side(TableKind kind) noexcept { return sides_[static_cast<std::size_t>(kind)]; }
    const Side& side(TableKind kind) const noexcept {
        return sides_[static_cast<std::size_t>(kind)];
    }

    std::string name_;
    config::AgreedHalf agreed_;
    TableSource tables_;
    std::array<Side, table_kinds> sides_;
    data::Preprocessor preprocessor_;
    std::vector<std::uint8_t> test_bitmap_;
    bool uses_part_ = false;  ///< its columns are those of a stored model part
    data::PreprocessReport prepared_;
    data::TransformReport transformed_;
    AlignmentDigest alignment_;
};

}  // namespace vflbus::actors
