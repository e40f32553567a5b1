// Method: random bytes from an alphabet that is rich in what CSV gives meaning to, and damaged
// copies of a sound file. Nothing may crash (the sanitizers watch), and what is accepted must be
// consistent.

#include "base/rng.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;

namespace {
void check_consistent(const Result<Table>& table) {
    if (!table) {
        REQUIRE_FALSE(table.error().sentence.empty());
        return;
    }
    REQUIRE(table->rows() > 0);
    for (const auto* columns : {&table->labels, &table->features})
        for (const Column& column : *columns) {
            const bool text = column.kind == ColumnKind::text;
            REQUIRE((text ? column.codes.size() : column.numbers.size()) == table->rows());
            for (std::size_t row = 0; text && row < table->rows(); ++row)
                REQUIRE((column.codes[row] == missing_code ||
                         column.codes[row] < column.dictionary.size()));
            REQUIRE(std::is_sorted(column.dictionary.begin(), column.dictionary.end()));
        }
    for (std::size_t row = 0; row < table->rows(); ++row) REQUIRE_FALSE(table->ids[row].empty());
}
}  // namespace

TEST_CASE("random bytes never crash the reader") {
    Rng rng(20240501);
    constexpr std::string_view alphabet = "\",\n\r\n,, a1.-e9\"\"xNA?\t";
    int accepted = 0;
    for (int round = 0; round < 4000; ++round) {
        std::string text = round % 3 == 0 ? "" : round % 3 == 1 ? "id,x\n" : "y,id\n";
        for (auto n = rng.below(60); n > 0; --n)
            text.push_back(rng.below(40) == 0 ? static_cast<char>(rng.below(256))
                                              : alphabet[rng.below(alphabet.size())]);
        const auto table = read_text(text);
        accepted += table.has_value();
        check_consistent(table);
    }
    CHECK(accepted > 20);
}

TEST_CASE("damaged copies of a sound file never crash the reader") {
    Rng rng(99);
    const std::string sound =
        "id,y,age,\"contract, type\",note\r\nC1,0,33,yearly,\"a "
        "\"\"b\"\"\nc\"\r\nC2,1,,monthly,\r\n"
        "C3,1,4.5e1,yearly,x\r\n";
    REQUIRE(read_text(sound));
    int accepted = 0;
    for (int round = 0; round < 4000; ++round) {
        std::string text = sound;
        for (auto n = 1 + rng.below(3); n > 0 && !text.empty(); --n) {
            const std::size_t at = rng.below(text.size());
            switch (rng.below(3)) {
                case 0:
                    text[at] = static_cast<char>(rng.below(256));
                    break;
                case 1:
                    text.erase(at, rng.below(8));
                    break;
                default:
                    text.insert(at, 1, "\",\n\r"[rng.below(4)]);
            }
        }
        const auto table = read_text(text, with_labels({"y"}));
        accepted += table.has_value();
        check_consistent(table);
    }
    CHECK(accepted > 100);
}
