// Private set intersection from outside: the command, over a broker and within a process, and as
// the alignment of a training of which the field knows the answer.

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "base/json.hpp"
#include "catch.hpp"
#include "support.hpp"

using namespace proc;

namespace {

/// `n` ids from `first`, last one first, with another column that is not read.
std::string table(int first, int n, const std::string& more = "") {
    std::string text = "customer,secret\n";
    for (int i = first + n - 1; i >= first; --i)
        text += "\"Ms, no. " + std::to_string(i) + "\",x" + std::to_string(i) + "\n";
    return text + more;
}

std::multiset<std::string> lines(const std::string& file) {
    std::multiset<std::string> out;
    std::string text = slurp(file);
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        out.insert(text.substr(at, end - at));
        at = end + 1;
    }
    return out;
}

std::multiset<std::string> expected(int first, int end) {
    std::multiset<std::string> out{"id"};
    for (int i = first; i < end; ++i) out.insert("\"Ms, no. " + std::to_string(i) + "\"");
    return out;
}

}  // namespace

TEST_CASE("psi --local intersects three files", "[psi]") {
    const TempDir dir;
    spit(dir / "a.csv", table(0, 60));
    spit(dir / "b.csv", table(20, 60, "\"Ms, no. 50\",again\n"));
    spit(dir / "c.csv", table(33, 60));
    const Words words{"psi",   "--local", "--data",   "a.csv", "--data",     "b.csv", "--data",
                      "c.csv", "--id",    "customer", "--out", "common.csv", "--json"};
    const Finished done = run(dir, words);
    INFO(done.err);
    REQUIRE(done.exit_code == 0);
    CHECK(lines(dir / "common.csv") == expected(33, 60));
    const Json report = Json::parse(done.out);
    CHECK(report["common"] == 27);
    CHECK(report["parties"][1]["duplicate_rows"] == 1);
    CHECK(left_behind(dir).empty());

    Words least = words;
    least.insert(least.end(), {"--min", "28"});
    const Finished refused = run(dir, least);
    CHECK(refused.exit_code != 0);
    CHECK(refused.err.find("fewer than --min (28)") != std::string::npos);
    CHECK(refused.err.find(" 27") == std::string::npos);  // nor how many (times have no blank)

    // as few ids as an attack would ask for are refused without being told to
    spit(dir / "b.csv", table(51, 60));
    spit(dir / "c.csv", table(51, 60));
    const Finished few = run(dir, words);
    CHECK(few.exit_code != 0);
    CHECK(few.err.find("fewer than --min (10)") != std::string::npos);
}

TEST_CASE("psi over a broker: each party writes the ids of its own file", "[psi]") {
    const TempDir dir;
    spit(dir / "bank.csv", table(0, 40));
    spit(dir / "shop.csv", table(15, 40));
    Process broker(dir, {"broker", "--bind", "ipc://" + dir / "bus"});
    REQUIRE(broker.await_output("ipc://"));
    const std::string address = "ipc://" + dir / "bus";
    const Words common{"--broker", address, "--id", "customer", "--min", "5"};
    Words shop{"psi",    "--parties", "2",     "--rank",         "0",
               "--data", "shop.csv",  "--out", "shop_common.csv"};
    Words bank{"psi", "--parties", "2", "--data", "bank.csv", "--out", "bank_common.csv"};
    shop.insert(shop.end(), common.begin(), common.end());
    bank.insert(bank.end(), common.begin(), common.end());
    Process member(dir, shop);
    const Finished led = run(dir, bank);
    INFO(led.err);
    REQUIRE(led.exit_code == 0);
    CHECK(led.out.find("25 ids are common to all parties: bank_common.csv") != std::string::npos);
    const Finished served = member.wait();
    INFO(served.err);
    CHECK(served.exit_code == 0);
    CHECK(lines(dir / "bank_common.csv") == expected(15, 40));
    CHECK(slurp(dir / "bank_common.csv") == slurp(dir / "shop_common.csv"));
    broker.signal(15);
    CHECK(broker.wait().exit_code == 0);
}

TEST_CASE("psi keeps to a least number of common ids that is stated anywhere", "[psi]") {
    const TempDir dir;
    spit(dir / "a.csv", table(0, 30));
    spit(dir / "b.csv", table(10, 40));
    const Words psi{"psi", "--local", "--data", "a.csv", "--data", "b.csv", "--id", "customer"};
    const auto with = [&](Words more) {
        Words words = psi;
        words.insert(words.end(), more.begin(), more.end());
        return run(dir, words);
    };
    CHECK(with({}).exit_code == 0);  // 20 are common, and 10 must be
    CHECK(with({"--set", "data.common_min=25"}).exit_code == 3);
    CHECK(with({"--set", "data.common_min=25", "--min", "20"}).exit_code == 0);
    spit(dir / "psi.toml", "[data]\ncommon_min = 25\n");
    CHECK(with({"--config", "psi.toml"}).exit_code == 3);
}

TEST_CASE("psi says what is wrong with its flags", "[psi]") {
    const TempDir dir;
    spit(dir / "a.csv", table(0, 3));
    for (const auto& [words, sentence] : std::vector<std::pair<Words, std::string>>{
             {{"psi", "--data", "a.csv"}, "--parties N"},
             {{"psi", "--local", "--data", "a.csv"}, "at least twice"},
             {{"psi", "--parties", "2", "--data", "a.csv", "--data", "a.csv"}, "has one file"},
             {{"psi", "--local", "--rank", "0", "--data", "a.csv", "--data", "a.csv"},
              "leave --rank and --parties out"},
             {{"psi", "--local", "--data", "a.csv", "--data", "a.csv", "--id", "customer", "--min",
               "2", "--out", "nowhere/common.csv"},
              "--out nowhere/common.csv: there is no directory "},
             {{"psi", "--local", "--data", "a.csv", "--data", "a.csv", "--id", "customer", "--min",
               "2", "--out", "tmp"},
              "--out tmp is a directory; name a file in it"}}) {
        const Finished done = run(dir, words);
        CHECK(done.exit_code == 2);
        INFO(done.err);
        CHECK(done.err.find(sentence) != std::string::npos);
    }
}

TEST_CASE("breast with sample ids: 299 common, and the figures of hashed", "[psi]") {
    const fs::path data = std::getenv("VFLBUS_SHARED_DATA") == nullptr
                              ? fs::path()
                              : fs::path(std::getenv("VFLBUS_SHARED_DATA"));
    if (!fs::exists(data / "breast_hetero_guest_sample_id.csv")) {
        WARN("skipped: breast_hetero_guest_sample_id.csv is not here");
        return;
    }
    const TempDir dir;
    std::map<std::string, Json> metrics;
    for (const std::string way : {"hashed", "psi"})
        for (const std::string duplicates : {"first", "all"}) {
            INFO(way + ", " + duplicates);
            const std::string guest = (data / "breast_hetero_guest_sample_id.csv").string();
            const std::string host = (data / "breast_hetero_host_sample_id.csv").string();
            const Finished done =
                run(dir, {"launch", "--threads", "--json", "--set", "run.world_size=1", "--set",
                          "party.master.data=" + guest, "--set", "party.master.label=y", "--set",
                          "party.member-0.data=" + host, "--set", "model.task=logistic", "--set",
                          "data.duplicates=" + duplicates, "--set", "data.alignment=" + way});
            INFO(done.err);
            REQUIRE(done.exit_code == 0);
            const Json report = Json::parse(done.out);
            // the 299 common ids are in 1118 rows of the guest
            const std::uint64_t rows = duplicates == "all" ? 1118 : 299;
            CHECK(report["parties"][0]["rows_matched"] == rows);
            CHECK(report["parties"][1]["rows_matched"] == 299);
            const auto [known, first] = metrics.emplace(duplicates, report["metrics"]);
            if (!first) CHECK(known->second == report["metrics"]);
        }
    CHECK(metrics["first"] != metrics["all"]);
}
