#include <functional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "policy/grants.hpp"
#include "policy/policy.hpp"

using namespace vflbus;
using namespace vflbus::policy;

namespace {

Policy parsed(const std::string& text) {
    auto policy = parse_policy(text, "p.toml");
    INFO((policy ? std::string() : policy.error().sentence));
    REQUIRE(policy);
    return *policy;
}

Section section(const std::string& rules) {
    return parsed("[banks]\nowners = [\"*\"]\n" + rules + "\n").sections.at(0);
}

Request training() {
    Request request;
    request.owner = {"bank", ""};
    request.use = Use::train;
    request.parties = 3;
    request.agreed.emplace();
    return request;
}

std::string rule_of(const std::optional<Refusal>& refusal) {
    return refusal ? refusal->rule : std::string();
}

}  // namespace

TEST_CASE("every rule lets in what it allows, and names itself where it does not", "[policy]") {
    struct Row {
        const char* rules;
        std::function<void(Request&, Circumstances&)> change;
        const char* refused;  ///< by which rule; empty: let in
    };
    const std::string digest(64, 'a');
    const std::string apps = "apps = [\"" + digest + "\"]";
    const auto nothing = [](Request&, Circumstances&) {};
    const auto key = [](const char* print) {
        return [print](Request& r, Circumstances&) { r.owner.fingerprint = print; };
    };
    const auto use = [](Use what) { return [what](Request& r, Circumstances&) { r.use = what; }; };
    const auto app = [](const std::string& of) {
        return [of](Request& r, Circumstances&) {
            r.use = Use::app;
            r.agreed.reset();
            r.app = of;
        };
    };
    const auto minute = [](int m) {
        return [m](Request&, Circumstances& c) { c.minute_of_day = m; };
    };
    const auto parties = [](std::uint64_t n) {
        return [n](Request& r, Circumstances&) { r.parties = n; };
    };
    const auto batch = [](config::Solver solver, std::uint64_t rows) {
        return [=](Request& r, Circumstances&) {
            r.agreed->model.solver = solver;
            r.agreed->model.batch_size = rows;
        };
    };
    const auto noise = [](double multiplier, double spent) {
        return [multiplier, spent](Request& r, Circumstances& c) {
            r.agreed->privacy.score_noise_multiplier = multiplier;
            c.rho_spent = spent;
        };
    };
    const auto today = [](std::uint64_t n) {
        return [n](Request&, Circumstances& c) { c.runs_today = n; };
    };
    const std::vector<Row> rows{
        {"", nothing, ""},
        {"fingerprints = [\"ab\"]", key("ab"), ""},
        {"fingerprints = [\"ab\"]", key("cd"), "fingerprints"},
        {"fingerprints = [\"K7-qf\"]", key("k7qF"), ""},
        {"fingerprints = [\"--\"]", key(""), "fingerprints"},
        {"fingerprints = [\"ab\"]", nothing, "fingerprints"},
        {"purposes = [\"train\"]", nothing, ""},
        {"purposes = [\"train\"]", use(Use::predict), "purposes"},
        {"purposes = [\"train\", \"check\"]", use(Use::check), ""},
        {"purposes = [\"train\"]", app(digest), "purposes"},
        {apps.c_str(), app(digest), ""},
        {apps.c_str(), app(std::string(64, 'b')), "apps"},
        {apps.c_str(), app(""), "apps"},
        {apps.c_str(), nothing, ""},
        {"tasks = [\"logistic\"]", nothing, ""},
        {"tasks = [\"linear\"]", nothing, "tasks"},
        {"models = [\"linear\", \"mlp\"]", nothing, ""},
        {"models = [\"linear\"]",
         [](Request& r, Circumstances&) { r.agreed->model.name = config::ModelName::mlp; },
         "models"},
        {"solvers = [\"lbfgs\"]", nothing, ""},
        {"solvers = [\"sgd\", \"adam\"]", nothing, "solvers"},
        {"alignments = [\"hashed\"]", nothing, ""},
        {"alignments = [\"psi\"]", nothing, "alignments"},
        {"protocols = [\"honest\"]", nothing, ""},
        {"protocols = [\"masked\"]", nothing, "protocols"},
        {"protocols_never = [\"honest\"]", nothing, "protocols_never"},
        {"protocols_never = [\"masked\"]", nothing, ""},
        {"parties_min = 3", nothing, ""},
        {"parties_min = 4", nothing, "parties_min"},
        {"parties_min = 2", parties(0), "parties_min"},
        {"batch_min = 100", nothing, ""},  // lbfgs takes all rows
        {"batch_min = 100", batch(config::Solver::sgd, 99), "batch_min"},
        {"batch_min = 100", batch(config::Solver::sgd, 100), ""},
        {"batch_min = 100", batch(config::Solver::adam, 0), ""},
        {"batch_min = 100", batch(config::Solver::sequential, 1), "batch_min"},
        {"differential_privacy = true", nothing, "differential_privacy"},
        {"differential_privacy = true", noise(1, 0), ""},
        // (20 epochs at .5: rho 82, epsilon 144)
        {"differential_privacy = true", noise(.5, 0), "differential_privacy"},
        {"differential_privacy = true\ndelta = 0.1", noise(.95, 0), ""},
        {"differential_privacy = true\nepsilon_max = 1000", noise(1e-9, 0), "differential_privacy"},
        {"differential_privacy = true",
         [](Request& r, Circumstances&) {
             r.agreed->privacy.score_noise_multiplier = 1;
             r.agreed->privacy.insecure_testing = true;
         },
         "differential_privacy"},
        {"differential_privacy = true",
         [](Request& r, Circumstances&) { r.agreed->privacy.noise_multiplier = 1; },
         "differential_privacy"},  // that hides the labels alone
        {"differential_privacy = false", nothing, ""},
        // of 20 epochs rho is 41 / (2 * 20^2) = .05125: epsilon 1.482
        {"epsilon_max = 1.5", noise(20, 0), ""},
        {"epsilon_max = 1.48", noise(20, 0), "epsilon_max"},
        {"epsilon_max = 1.48\ndelta = 1e-5", noise(20, 0), ""},
        {"epsilon_max = 1.5", noise(20, 1e-3), "epsilon_max"},
        {"epsilon_max = 1000", nothing, "epsilon_max"},
        {"epsilon_max = 1", use(Use::check), ""},
        {"hours = [\"08:00-18:00\"]", minute(8 * 60), ""},
        {"hours = [\"08:00-18:00\"]", minute(18 * 60), "hours"},
        {"hours = [\"08:00-18:00\"]", minute(8 * 60 - 1), "hours"},
        {"hours = [\"22:00-06:00\"]", minute(23 * 60), ""},
        {"hours = [\"22:00-06:00\"]", minute(5 * 60), ""},
        {"hours = [\"22:00-06:00\"]", minute(12 * 60), "hours"},
        {"hours = [\"00:00-24:00\"]", minute(24 * 60 - 1), ""},
        {"runs_per_day = 2", today(1), ""},
        {"runs_per_day = 2", today(2), "runs_per_day"},
        {"tables = \"granted\"",
         [](Request&, Circumstances& c) { c.tables_without_grant = {"/shop.csv"}; }, "tables"},
        {"tables = \"granted\"", nothing, ""},
        {"tables = \"any\"",
         [](Request&, Circumstances& c) { c.tables_without_grant = {"/shop.csv"}; }, ""},
    };
    for (const Row& row : rows) {
        INFO(row.rules);
        Request request = training();
        Circumstances circumstances;
        row.change(request, circumstances);
        const auto refusal = judge(section(row.rules), request, circumstances);
        CHECK(rule_of(refusal) == row.refused);
        if (!refusal) continue;
        const Failure failure = failure_of(*refusal);
        CHECK(failure.code == Errc::refused);
        CHECK(failure.sentence.find("banks." + refusal->rule) != std::string::npos);
        CHECK(failure.for_others == "its policy refuses the run (rule " + refusal->rule + ")");
    }
}

TEST_CASE("columns and rows are judged when they are known", "[policy]") {
    const Section s = section(
        "columns = [\"age\", \"income*\"]\ncolumns_never = [\"*_name\", \"income_of_?\"]\n"
        "rows_min = 100\nbatch_min = 10\npsi_ids_max = 1000");
    const auto columns = [&](const std::vector<std::string>& names) {
        return rule_of(judge_columns(s.name, s.data, names));
    };
    CHECK(columns({}).empty());
    CHECK(columns({"age", "income", "income_2"}).empty());
    CHECK(columns({"age", "zip"}) == "columns");
    CHECK(columns({"age", "last_name"}) == "columns_never");
    CHECK(columns({"income_of_x"}) == "columns_never");
    const auto refusal = judge_columns(s.name, s.data, std::vector<std::string>{"zip"});
    REQUIRE(refusal);
    const Failure failure = failure_of(*refusal);
    CHECK(failure.sentence.find("column zip") != std::string::npos);
    CHECK(failure.for_others.find("zip") == std::string::npos);
    CHECK(rule_of(judge_rows(s.name, s.data, 99)) == "rows_min");
    CHECK(rule_of(judge_rows(s.name, s.data, 100)).empty());
    CHECK(rule_of(judge_batch(s.name, s.data, 9)) == "batch_min");
    CHECK(rule_of(judge_batch(s.name, s.data, 10)).empty());
    CHECK(rule_of(judge_psi_list(s.name, s.data, 1000)).empty());
    CHECK(rule_of(judge_psi_list(s.name, s.data, 1001)) == "psi_ids_max");
    CHECK(rule_of(judge_psi_list(s.name, DataRules{}, UINT64_MAX)).empty());
}

TEST_CASE("the first section that names the owner decides", "[policy]") {
    const Policy policy = parsed(
        "[b]\nowners = [\"bank\", \"ins-*\"]\n[a]\nowners = [\"bank\", \"shop\"]\ntasks = "
        "[\"linear\"]\n");
    REQUIRE(policy.sections.size() == 2);
    CHECK(policy.section_of({"bank", ""})->name == "b");
    CHECK(policy.section_of({"ins-2", ""})->name == "b");
    CHECK(policy.section_of({"shop", ""})->name == "a");
    CHECK(policy.section_of({"ban", ""}) == nullptr);
    const Policy held = parsed(
        "approve = \"each\"\nheld_max = 3\n[a]\nowners = [\"x\"]\n[b]\nowners = [\"y\"]\napprove = "
        "\"never\"\n");
    CHECK(held.sections[0].approve_each);
    CHECK_FALSE(held.sections[1].approve_each);
    CHECK(held.held_max == 3);
}

TEST_CASE("what is wrong in a policy is named with its line", "[policy]") {
    const std::string a = "[a]\nowners = [\"*\"]\n";
    const std::vector<std::pair<std::string, std::string>> rows{
        {a + "colums = [\"x\"]", "p.toml:3: unknown key colums; the nearest is columns"},
        {"aprove = \"each\"\n" + a, "p.toml:1: unknown key aprove; the nearest is approve"},
        {"[a]\ntasks = [\"linear\"]", "p.toml:1: [a] names no owners"},
        {a + "tasks = [\"logistc\"]", "p.toml:3: tasks has the entry \"logistc\""},
        {a + "protocols = \"plain\"", "p.toml:3: protocols has the entry"},
        {a + "purposes = []", "p.toml:3: purposes is an empty list"},
        {a + "owners = [\"x\"]", "TOML"},
        {"[a]\nowners = 3", "p.toml:2: owners must be"},
        {a + "parties_min = 1", "p.toml:3: parties_min must be an integer from 2 to 4096"},
        {a + "rows_min = -1", "p.toml:3: rows_min must be"},
        {a + "rows_min = \"many\"", "p.toml:3: rows_min must be"},
        {a + "hours = [\"8-18\"]", "p.toml:3: hours has the entry \"8-18\""},
        {a + "hours = [\"08:00-25:00\"]", "p.toml:3: hours has the entry"},
        {a + "apps = [\"abc\"]", "p.toml:3: apps has the entry \"abc\""},
        {a + "approve = \"always\"", "p.toml:3: approve must be \"each\" or \"never\""},
        {a + "epsilon_max = 0", "p.toml:3: epsilon_max must be a number above 0, and 1000 at most"},
        {a + "delta = \"small\"", "p.toml:3: delta must be a number above 0, and 0.1 at most"},
        {a + "differential_privacy = 1", "p.toml:3: differential_privacy must be true or false"},
        {a + "tables = \"all\"", "p.toml:3: tables must be"},
        {a + "[a.b]\nowners = [\"x\"]", "p.toml:3: unknown key b"},
        {"[a", "p.toml:1"},
    };
    for (const auto& [text, says] : rows) {
        INFO(text);
        const auto policy = parse_policy(text, "p.toml");
        REQUIRE_FALSE(policy);
        CHECK(policy.error().code == Errc::bad_config);
        INFO(policy.error().sentence);
        CHECK(policy.error().sentence.find(says) != std::string::npos);
    }
}

TEST_CASE("a grant is of a table, to an owner, until a moment", "[policy]") {
    const std::vector<Grant> grants{{"/t.csv", "bank", "", 1000, "me"},
                                    {"/u.csv", "bank", "key", 1000, "me"}};
    CHECK(granted(grants, "/t.csv", {"bank", ""}, 999));
    CHECK_FALSE(granted(grants, "/t.csv", {"bank", ""}, 1000));
    CHECK_FALSE(granted(grants, "/t.csv", {"shop", ""}, 999));
    CHECK_FALSE(granted(grants, "/x.csv", {"bank", ""}, 999));
    CHECK(granted(grants, "/u.csv", {"bank", "key"}, 999));
    CHECK_FALSE(granted(grants, "/u.csv", {"bank", ""}, 999));
    // a run that the bank submits
    CHECK(granted(grants, "/t.csv", {"bank-1f0c9a33", ""}, 999));
    CHECK_FALSE(granted(grants, "/t.csv", {"bank-north", ""}, 999));
    CHECK_FALSE(granted(grants, "/u.csv", {"bank-1f0c9a33", ""}, 999));
}

TEST_CASE("the section of an owner is that of the runs that it submits", "[policy]") {
    const auto policy =
        parse_policy("[banks]\nowners = [\"bank\"]\n[rest]\nowners = [\"*\"]\n", "p.toml");
    REQUIRE(policy);
    const auto section = [&](const char* name) { return policy->section_of({name, ""})->name; };
    CHECK(section("bank") == "banks");
    CHECK(section("bank-1f0c9a33") == "banks");
    CHECK(section("bank-north") == "rest");
    CHECK(section("shop-1f0c9a33") == "rest");
}
