#include "data/synth_parties.hpp"

namespace vflbus::data {
namespace {

// clang-format off
const std::vector<SynthSource>& trades() {
    static const std::vector<SynthSource> sources = {
        {"bank",
         {{"age",              43,    12,   18,    92,     0, -0.5},
          {"income",           3400,  1100, 600,   12000,  0, -1.0},
          {"loan_amount",      14000, 5200, 1000,  60000,  0,  0.9},
          {"loan_months",      48,    14,   6,     120,    0,  0.5},
          {"employed_years",   8.5,   4.2,  0,     45,     1, -0.7},
          {"accounts",         3.2,   1.3,  1,     12,     0,  0.0}},
         {{"housing", {"own", "mortgage", "family", "rent"}, 0.6}}},
        {"telecom",
         {{"monthly_bill",     38.5,  11,   5,     150,    2,  0.6},
          {"minutes",          310,   120,  0,     2000,   0,  0.3},
          {"data_gb",          12.4,  4.6,  0,     120,    1, -0.4},
          {"late_bills",       4.1,   1.6,  0,     24,     0,  1.0},
          {"tenure_months",    42,    17,   0,     240,    0, -0.8},
          {"calls_abroad",     6.3,   2.9,  0,     60,     0,  0.0}},
         {{"contract", {"yearly", "monthly", "prepaid"}, 0.7},
          {"region", {"centre", "coast", "east", "lakes", "north", "south", "valley", "west"}, 0}}},
        {"shop",
         {{"basket_value",     54.9,  18,   3,     400,    2, -0.6},
          {"orders",           14,    5.5,  0,     200,    0, -0.5},
          {"returns",          3.8,   1.5,  0,     80,     0,  0.9},
          {"days_since_order", 62,    24,   0,     365,    0,  0.7},
          {"vouchers",         4.4,   1.8,  0,     50,     0,  0.8},
          {"reviews",          2.7,   1.2,  0,     40,     0,  0.0}},
         {{"payment", {"card", "transfer", "invoice", "instalments"}, 0.8},
          {"channel", {"app", "store", "web"}, 0}}},
        {"insurer",
         {{"premium",          610,   190,  80,    4000,   2,  0.4},
          {"claims",           2.6,   1.1,  0,     30,     0,  1.0},
          {"vehicle_years",    7.9,   3.1,  0,     30,     1,  0.6},
          {"kilometres",       14200, 4700, 0,     90000,  0,  0.3},
          {"bonus_class",      11,    4.4,  0,     35,     0, -0.9}},
         {{"cover", {"full", "partial", "liability"}, 0.5}}},
        {"energy",
         {{"consumption_kwh",  3350,  960,  300,   20000,  0,  0.5},
          {"late_payments",    2.9,   1.2,  0,     24,     0,  1.0},
          {"prepayment",       118,   36,   20,    900,    2,  0.4},
          {"meter_years",      9.5,   3.8,  0,     40,     1,  0.3},
          {"contract_years",   6.2,   2.4,  0,     40,     1, -0.8}},
         {{"heating", {"heat pump", "district", "gas", "oil"}, 0.5}}},
        {"transit",
         {{"trips",            188,   66,   0,     2000,   0, -0.5},
          {"fines",            2.2,   0.9,  0,     20,     0,  1.0},
          {"night_trips",      11,    4.1,  0,     300,    0,  0.5},
          {"subscription_months", 22, 8.7,  0,     200,    0, -0.9}},
         {{"ticket", {"yearly", "monthly", "single"}, 0.6}}},
    };
    return sources;
}
// clang-format on

}  // namespace

std::vector<SynthSource> synth_sources(std::uint32_t members) {
    std::vector<SynthSource> sources;
    for (std::uint32_t i = 0; i <= members; ++i) {
        if (i < trades().size()) {
            sources.push_back(trades()[i]);
            continue;
        }
        SynthSource source{"company_" + std::to_string(i), {}, {}};
        for (int k = 1; k <= 5; ++k)
            source.numbers.push_back({"indicator_" + std::to_string(k), 100.0 * k, 30, 0, 1000, 1,
                                      k % 2 == 0 ? -0.25 * k : 0.25 * k});
        source.texts.push_back({"segment", {"gold", "silver", "bronze"}, 0.5});
        sources.push_back(std::move(source));
    }
    return sources;
}

}  // namespace vflbus::data
