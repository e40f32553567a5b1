// What commands print for programs has the keys of docs/json.md, and no others.

#include <algorithm>
#include <cstdlib>
#include <set>
#include <sstream>
#include <string>

#include "catch.hpp"
#include "parties.hpp"
#include "support.hpp"

using namespace proc;

namespace {

using Keys = std::set<std::string>;

/// "runs[].owner" and so on, of everything in `json`.
void add_keys(Keys& keys, const Json& json, const std::string& above) {
    if (json.is_object())
        for (const auto& [name, value] : json.items()) {
            const std::string key = above.empty() ? name : above + "." + name;
            keys.insert(key);
            add_keys(keys, value, key);
        }
    if (json.is_array())
        for (const Json& entry : json) add_keys(keys, entry, above + "[]");
}

/// The keys in the tables below "## SCHEMA".
Keys documented(const std::string& schema) {
    std::istringstream page(slurp(fs::path(std::getenv("VFLBUS_SOURCE")) / "docs/json.md"));
    Keys keys;
    bool below = false;
    for (std::string line; std::getline(page, line);) {
        if (line.starts_with("## ")) below = line == "## " + schema;
        if (!below || !line.starts_with("| `")) continue;
        const std::string cell = line.substr(0, line.find(" | ", 2));
        for (std::size_t at = 0; (at = cell.find('`', at)) != std::string::npos;) {
            const std::size_t end = cell.find('`', at + 1);
            keys.insert(cell.substr(at + 1, end - at - 1));
            at = end + 1;
        }
    }
    return keys;
}

bool stands_for(std::string pattern, const std::string& key) {
    if (pattern.ends_with('?')) pattern.pop_back();
    if (!pattern.ends_with('*')) return pattern == key;
    pattern.pop_back();
    return key.starts_with(pattern);
}

/// `also`: what the page says to be as in another schema.
void check_keys(const std::string& printed, const std::string& schema, const Keys& also = {}) {
    INFO(printed);
    const Json json = Json::parse(printed);
    CHECK(json["schema"] == schema);
    CHECK(json["schema_version"] == 1);
    Keys there;
    add_keys(there, json, "");
    there.erase("schema");
    there.erase("schema_version");
    Keys said = documented(schema);
    CHECK_FALSE(said.empty());
    said.insert(also.begin(), also.end());
    for (const std::string& key : there) {
        INFO(schema << " has " << key);
        CHECK(std::any_of(said.begin(), said.end(),
                          [&](const std::string& one) { return stands_for(one, key); }));
    }
    for (const std::string& key : said) {
        if (key.ends_with('?')) continue;
        INFO(schema << " should have " << key);
        CHECK(std::any_of(there.begin(), there.end(),
                          [&](const std::string& one) { return stands_for(key, one); }));
    }
}

/// `runs[].owner` as `run.owner`.
Keys as_run(const Keys& keys) {
    Keys out;
    for (const std::string& key : keys)
        out.insert(key == "runs" ? "run" : "run" + key.substr(std::string("runs[]").size()));
    return out;
}

}  // namespace

TEST_CASE("what commands print for programs is what the page says", "[json]") {
    const TempDir dir;
    make_example(dir);
    ByHand hand(dir, {"--set", "model.epochs=3", "--set", "output.share_log=all"}, {}, true);
    hand.start_all();
    REQUIRE(hand.master->wait().exit_code == 0);
    const auto asked = [&](Words words) {
        return run(dir, with(words, {"--broker", hand.endpoint, "--json", "--set",
                                     "output.runs_dir=" + (dir / "runs")}))
            .out;
    };
    const Keys of_runs = documented("vflbus-runs");
    Keys of_both = documented("vflbus-nodes");
    of_both.insert(of_runs.begin(), of_runs.end());
    check_keys(asked({"runs"}), "vflbus-runs");
    check_keys(asked({"nodes"}), "vflbus-nodes");
    check_keys(asked({"top"}), "vflbus-overview", of_both);
    check_keys(asked({"run", "show", run_id}), "vflbus-run", as_run(of_runs));
    check_keys(asked({"run", "plot", run_id}), "vflbus-curves");
    check_keys(asked({"run", "compare", run_id, run_id}), "vflbus-comparison");
    spit(dir / "one.json",
         "[\n{\"name\":\"a\",\"ph\":\"X\",\"ts\":1.0,\"dur\":1.0,\"pid\":1,\"tid\":1},\n");
    check_keys(run(dir, {"run", "trace", "one.json", "--out", "all.json", "--json"}).out,
               "vflbus-trace");
    CHECK(Json::parse(slurp(dir / "all.json"))["traceEvents"].size() == 1);
    CHECK(run(dir, {"run", "trace", "one.json", "--out", "one.json"}).exit_code == 2);
    const Finished none = run(dir, {"run", "trace", "run.toml", "--out", "none.json"});
    CHECK(none.exit_code == 3);
    CHECK(none.err.find("run.toml is no trace of a party") != std::string::npos);
    const std::string log = run(dir, {"run", "logs", run_id, "--local", "--json", "--set",
                                      "output.runs_dir=" + (dir / "runs")})
                                .out;
    const Json lines = Json::parse(log);
    CHECK(lines["schema"] == "vflbus-log");
    CHECK(lines["lines"].size() > 0);
    CHECK(asked({"model", "show", run_id}).empty());  // it asks no broker
    for (const Words& words :
         {Words{"model", "show", run_id, "--json", "--set", "output.runs_dir=" + (dir / "runs")},
          Words{"data", "inspect", "data/shop.csv", "--json"}}) {
        const Json shown = Json::parse(run(dir, words).out);
        CHECK(shown["schema"].get<std::string>() ==
              (words[0] == "model" ? "vflbus-model" : "vflbus-table"));
        CHECK(shown["schema_version"] == 1);
    }
}
