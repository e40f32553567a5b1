#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/hash.hpp"
#include "catch.hpp"
#include "policy/gate.hpp"
#include "policy/grants.hpp"

using namespace vflbus;
using namespace vflbus::policy;

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t day_ms = 24LL * 60 * 60 * 1000;

/// A member's directory, its policy, and its clock. The gate can be closed and opened again.
class Member {
  public:
    explicit Member(const std::string& policy)
        : dir_(fs::temp_directory_path() / ("vflbus-gate-" + std::to_string(random_u64()))) {
        fs::create_directories(dir_);
        if (!policy.empty()) change(policy);
        start();
    }
    ~Member() {
        gate.reset();
        fs::remove_all(dir_);
    }
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    void change(const std::string& policy) {
        std::ofstream(dir_ / "policy.toml", std::ios::trunc) << policy;
        with_policy_ = true;
    }
    void start() {
        gate.reset();
        GateOptions options;
        options.state_dir = dir_;
        if (with_policy_) options.policy_file = dir_ / "policy.toml";
        options.tables[Use::train] = {"/data/shop.csv"};
        options.now_ms = [this] { return now; };
        options.log = [this](const std::string& line) { lines.push_back(line); };
        auto opened = Gate::open(std::move(options));
        INFO((opened ? std::string() : opened.error().sentence));
        REQUIRE(opened);
        gate = std::move(*opened);
    }
    std::string audit() const {
        std::ifstream in(observe::audit_file(dir_ / "audit"));
        std::ostringstream out;
        out << in.rdbuf();
        return out.str();
    }
    [[nodiscard]] const fs::path& dir() const { return dir_; }

    std::unique_ptr<Gate> gate;
    std::int64_t now = 20'000 * day_ms + day_ms / 2;
    std::vector<std::string> lines;

  private:
    fs::path dir_;
    bool with_policy_ = false;
};

Request asks(int run, const std::string& owner = "bank", const std::string& text = "text") {
    Request request;
    request.owner = {owner, ""};
    request.run.bytes.fill(static_cast<std::uint8_t>(run));
    request.term = 1;
    request.agreed.emplace();
    request.agreed_text = text;
    request.parties = 3;
    request.participants = {participant_text("member-0", "member", 0),
                            participant_text("member-1", "member", 1)};
    return request;
}

Errc code(const Result<>& result) {
    return result ? Errc::ok : result.error().code;
}

/// The same run with fewer, and one that has another role.
Request with_others(Request request, std::vector<std::string> participants) {
    request.parties = participants.size() + 1;
    request.participants = std::move(participants);
    return request;
}

/// How often `text` stands in the log.
std::size_t times(const Member& member, const std::string& text) {
    const std::string log = member.audit();
    std::size_t count = 0;
    for (std::size_t at = 0; (at = log.find(text, at)) != std::string::npos; ++at) ++count;
    return count;
}

bool whole(const Member& member) {
    const auto verdict = observe::verify_audit(observe::audit_file(member.dir() / "audit"), {});
    if (!verdict) UNSCOPED_INFO(verdict.error().sentence);
    return verdict.has_value();
}

const std::string two_a_day = "[banks]\nowners = [\"bank\"]\nruns_per_day = 2\n";
const std::string held = "approve = \"each\"\nheld_hours = 1\n[banks]\nowners = [\"*\"]\n";

}  // namespace

TEST_CASE("without a policy everything is let in, and recorded", "[gate]") {
    Member member("");
    CHECK(member.gate->admit_owner({"anybody", ""}, asks(1).run));
    CHECK(member.gate->admit(asks(1, "anybody")));
    const std::vector<std::string> names{"age"};
    CHECK(member.gate->columns(asks(1).run, "training table", names, 50));
    CHECK(member.gate->rows(asks(1).run, 40));
    member.gate->ended(asks(1).run, {Errc::ok, 10, 20});
    for (const char* const part : {"\"let in\"", "\"names\":[\"age\"]", "\"rows\":40",
                                   "\"bytes_in\":10", "\"owner\":\"anybody\""})
        CHECK(member.audit().find(part) != std::string::npos);
    CHECK(whole(member));
    CHECK_FALSE(member.gate->columns(asks(2).run, "training table", names, 50));
}

TEST_CASE("an owner that no section names is refused before anything else", "[gate]") {
    Member member(two_a_day);
    const auto refused = member.gate->admit_owner({"shop", ""}, asks(1).run);
    REQUIRE(code(refused) == Errc::refused);
    CHECK(refused.error().for_others == "its policy refuses the run (rule owners)");
    CHECK(code(member.gate->admit(asks(1, "shop"))) == Errc::refused);
    // said once, in one line
    (void)member.gate->admit_owner({"bank", ""}, asks(1).run);
    std::size_t said = 0;
    for (const std::string& line : member.lines) said += line.find("nobody proves") != line.npos;
    CHECK(said == 1);
}

TEST_CASE("runs per day are counted over restarts, a run that recovers is one", "[gate]") {
    Member member(two_a_day);
    CHECK(member.gate->admit(asks(1)));
    member.start();
    CHECK(member.gate->admit(asks(1)));  // the same run, in a new term
    CHECK(member.gate->admit(asks(2)));
    member.start();
    const auto third = member.gate->admit(asks(3));
    REQUIRE(code(third) == Errc::refused);
    CHECK(third.error().for_others.find("runs_per_day") != std::string::npos);
    CHECK(member.gate->admit(asks(2)));
    member.gate->ended(asks(2).run, {Errc::peer_lost});
    CHECK(member.gate->admit(asks(2)));  // it may be gone on with
    member.gate->ended(asks(2).run, {Errc::ok});
    CHECK(code(member.gate->admit(asks(2))) == Errc::refused);  // it is over, and would be another
    CHECK(code(member.gate->admit(asks(1, "bank", "another text"))) == Errc::refused);
    member.now += day_ms;
    CHECK(member.gate->admit(asks(3)));
    CHECK(whole(member));
}

TEST_CASE("a budget of privacy is charged once for a run, over restarts, for good", "[gate]") {
    // a run of 20 epochs at multiplier 20 has rho .05125: epsilon 1.482, two of them 2.153
    Member member("[banks]\nowners = [\"*\"]\nepsilon_max = 2.2\n");
    const auto noisy = [](int run, const std::string& owner = "bank", Use use = Use::train) {
        Request request = asks(run, owner);
        request.use = use;
        request.agreed->privacy.score_noise_multiplier = 20;
        return request;
    };
    CHECK(member.gate->admit(noisy(1)));
    member.start();
    CHECK(member.gate->admit(noisy(1)));  // the same run, in a new term
    member.gate->ended(noisy(1).run, {Errc::peer_lost});
    CHECK(member.gate->admit(noisy(1)));  // it goes on
    CHECK(member.gate->admit(noisy(2)));
    const auto third = member.gate->admit(noisy(3));
    REQUIRE(code(third) == Errc::refused);
    CHECK(third.error().for_others == "its policy refuses the run (rule epsilon_max)");
    CHECK(third.error().sentence.find("is its budget") != std::string::npos);
    CHECK(member.gate->admit(noisy(2)));           // what was let in goes on
    CHECK(member.gate->admit(noisy(3, "other")));  // owners have budgets of their own
    // a prediction costs as well: 1/800, which is left
    CHECK(member.gate->admit(noisy(4, "bank", Use::predict)));
    // time gives nothing back, and neither does the end of a run
    member.gate->ended(noisy(1).run, {Errc::ok});
    member.gate->ended(noisy(2).run, {Errc::ok});
    member.now += 400 * day_ms;
    member.start();
    CHECK(code(member.gate->admit(noisy(5))) == Errc::refused);
    CHECK(code(member.gate->admit(noisy(1))) == Errc::refused);  // it is over, and would be another
    // a run without noise has no price that a budget could hold
    CHECK(code(member.gate->admit(asks(6))) == Errc::refused);
    CHECK(times(member, "\"rho\":0.05125") == 3);
    CHECK(whole(member));
}

TEST_CASE("a budget that could not be charged lets nothing in", "[gate]") {
    Member member("[banks]\nowners = [\"*\"]\nepsilon_max = 1.5\n");
    Request request = asks(1);
    request.agreed->privacy.score_noise_multiplier = 20;
    const fs::path file = policy_directory(member.dir()) / "runs.json";
    fs::create_directories(file / "in its place");
    CHECK_FALSE(member.gate->admit(request));
    fs::remove_all(file);
    CHECK(member.gate->admit(request));  // nothing was charged for the first time
    request.run = asks(2).run;
    CHECK(code(member.gate->admit(request)) == Errc::refused);
}

TEST_CASE("a changed policy counts for the next run", "[gate]") {
    Member member("[banks]\nowners = [\"bank\"]\ncolumns_never = [\"ssn\"]\n");
    CHECK(member.gate->admit(asks(1)));
    member.change("[banks]\nowners = [\"shop\"]\n");
    CHECK(member.gate->admit_owner({"bank", ""}, asks(1).run));
    CHECK(member.gate->admit(asks(1)));
    CHECK(code(member.gate->admit_owner({"bank", ""}, asks(2).run)) == Errc::refused);
    CHECK(code(member.gate->admit(asks(2))) == Errc::refused);
    member.start();
    // the run that goes on is judged by the rules that let it in
    const std::vector<std::string> never{"ssn"};
    CHECK(code(member.gate->columns(asks(1).run, "training table", never, 1)) == Errc::refused);
    member.change("[banks\n");
    CHECK(member.gate->admit(asks(1)));
    CHECK(code(member.gate->admit_owner({"shop", ""}, asks(3).run)) == Errc::refused);
    CHECK(code(member.gate->admit(asks(3, "shop"))) == Errc::refused);
}

TEST_CASE("a held run waits for somebody's word, over restarts", "[gate]") {
    Member member(held);
    CHECK(code(member.gate->admit(asks(1))) == Errc::held);
    CHECK(code(member.gate->admit(asks(1))) == Errc::held);
    CHECK(member.gate->said().empty());
    member.start();
    const auto waiting = read_held(member.dir());
    REQUIRE(waiting.size() == 1);
    CHECK(waiting.at(0).owner.name == "bank");
    SECTION("approved") {
        REQUIRE(say(member.dir(), waiting.at(0), true, "ada"));
        CHECK(member.gate->said() == std::vector<RunId>{asks(1).run});
        CHECK(member.gate->admit(asks(1)));
        CHECK(member.gate->said().empty());
        member.start();
        CHECK(member.gate->admit(asks(1)));
        CHECK(member.audit().find("\"approved\"") != std::string::npos);
        CHECK(member.audit().find("\"by\":\"ada\"") != std::string::npos);
        CHECK(read_held(member.dir()).empty());
        CHECK_FALSE(say(member.dir(), waiting.at(0), true, "ada"));
    }
    SECTION("refused") {
        REQUIRE(say(member.dir(), waiting.at(0), false, "ada"));
        CHECK(code(member.gate->admit(asks(1))) == Errc::refused);
        member.start();
        CHECK(code(member.gate->admit(asks(1))) == Errc::refused);
        CHECK(read_held(member.dir()).empty());
    }
    SECTION("another text under the run that waits") {
        REQUIRE(say(member.dir(), waiting.at(0), true, "ada"));
        CHECK(code(member.gate->admit(asks(1, "bank", "another"))) == Errc::refused);
        CHECK(code(member.gate->admit(asks(1, "shop"))) == Errc::refused);
        CHECK(member.gate->admit(asks(1)));
    }
    SECTION("other participants under the run that waits") {
        REQUIRE(say(member.dir(), waiting.at(0), true, "ada"));
        Request fewer = with_others(asks(1), {participant_text("member-0", "member", 0)});
        CHECK(code(member.gate->admit(fewer)) == Errc::refused);
        Request role = with_others(asks(1), {participant_text("member-0", "member", 0),
                                             participant_text("member-1", "arbiter", -1)});
        CHECK(code(member.gate->admit(role)) == Errc::refused);
        Request turned = asks(1);
        std::swap(turned.participants[0], turned.participants[1]);
        CHECK(member.gate->admit(turned));
    }
    SECTION("who looks at what waits sees with whom it is") {
        CHECK(waiting.at(0).participants ==
              std::vector<std::string>{"member-0 (member 0)", "member-1 (member 1)"});
    }
    SECTION("approved after the policy has changed") {
        REQUIRE(say(member.dir(), waiting.at(0), true, "ada"));
        std::string rule;
        SECTION("another rule") {
            member.change(held + "purposes = [\"check\"]\n");
            rule = "purposes";
        }
        SECTION("the owner is not named any more") {
            member.change("[banks]\nowners = [\"shop\"]\n");
            rule = "owners";
        }
        SECTION("a grant is asked for") {
            member.change(held + "tables = \"granted\"\n");
            rule = "tables";
        }
        SECTION("it is no policy any more") {
            member.change("[banks\n");
            rule = "policy";
        }
        const auto refused = member.gate->admit(asks(1));
        REQUIRE(code(refused) == Errc::refused);
        CHECK(refused.error().for_others.find("rule " + rule + ")") != std::string::npos);
        CHECK(read_held(member.dir()).empty());
        CHECK(times(member, "\"approved\"") == 0);
        member.change(held);
        CHECK(code(member.gate->admit(asks(1))) == Errc::held);  // the old word is gone
    }
    SECTION("nobody says anything in time") {
        member.now += 60 * 60 * 1000;
        CHECK(member.gate->said().size() == 1);
        CHECK(code(member.gate->admit(asks(1))) == Errc::refused);
        CHECK(member.audit().find("\"expired\"") != std::string::npos);
    }
    SECTION("and its owner has gone") {
        member.now += 62 * 60 * 1000;
        // asked for once more, for an owner who waits on
        CHECK(member.gate->said() == std::vector<RunId>{asks(1).run});
        CHECK(member.gate->said().empty());
        CHECK(read_held(member.dir()).empty());
        CHECK(code(member.gate->admit(asks(1))) == Errc::refused);
        CHECK(member.audit().find("\"expired\"") != std::string::npos);
    }
    SECTION("beside a file that is none") {
        std::ofstream(policy_directory(member.dir()) / "held" / asks(2).run.hex()) << "{";
        CHECK(read_held(member.dir()).size() == 1);
    }
    SECTION("their number is bounded") {
        for (int run = 2; run <= 4; ++run) CHECK(code(member.gate->admit(asks(run))) == Errc::held);
        const auto fifth = member.gate->admit(asks(5));
        REQUIRE(code(fifth) == Errc::refused);
        CHECK(fifth.error().for_others.find("held_per_owner_max") != std::string::npos);
        int at = 10;
        for (const char* const owner : {"b", "c", "d"})
            for (int i = 0; i < 4; ++i)
                CHECK(code(member.gate->admit(asks(at++, owner))) == Errc::held);
        CHECK(code(member.gate->admit(asks(at, "e"))) == Errc::refused);
    }
    SECTION("one owner under many names of its key keeps no others out") {
        int kept = 0;
        for (int i = 2; i <= 41; ++i) {
            const std::string name = "c-0000000" + std::to_string(i % 10);
            if (code(member.gate->admit(asks(i, name))) == Errc::held) ++kept;
        }
        CHECK(kept == 4);
        CHECK(code(member.gate->admit(asks(50, "c"))) == Errc::refused);
        CHECK(code(member.gate->admit(asks(51, "d"))) == Errc::held);
    }
    CHECK(whole(member));
}

TEST_CASE("a run with other participants is another run", "[gate]") {
    Member member("[banks]\nowners = [\"bank\"]\nparties_min = 3\n");
    CHECK(member.gate->admit(asks(1)));
    Request fewer = with_others(asks(1), {participant_text("member-0", "member", 0)});
    fewer.term = 2;
    const auto refused = member.gate->admit(fewer);
    REQUIRE(code(refused) == Errc::refused);
    CHECK(refused.error().for_others.find("parties_min") != std::string::npos);
    member.start();
    CHECK(code(member.gate->admit(fewer)) == Errc::refused);
    CHECK(member.gate->admit(asks(1)));
}

TEST_CASE("one id for many runs does not make them one of the day", "[gate]") {
    Member member(two_a_day);
    CHECK(member.gate->admit(asks(1)));
    CHECK(member.gate->admit(asks(1, "bank", "another text")));
    CHECK(code(member.gate->admit(asks(1, "bank", "a third one"))) == Errc::refused);
    CHECK(code(member.gate->admit(asks(2))) == Errc::refused);
    member.start();
    CHECK(code(member.gate->admit(asks(1, "bank", "a third one"))) == Errc::refused);
    CHECK(member.gate->admit(asks(1, "bank", "another text")));
}

TEST_CASE("a held run that is approved is counted once", "[gate]") {
    Member member("approve = \"each\"\n" + two_a_day);
    for (const int run : {1, 2}) {
        CHECK(code(member.gate->admit(asks(run))) == Errc::held);
        const auto waiting = read_held(member.dir());
        REQUIRE(waiting.size() == 1);
        REQUIRE(say(member.dir(), waiting.at(0), true, "ada"));
        CHECK(member.gate->admit(asks(run)));
    }
    CHECK(code(member.gate->admit(asks(3))) == Errc::refused);
}

TEST_CASE("a run that was let in recovers while the policy cannot be read", "[gate]") {
    Member member(two_a_day);
    CHECK(member.gate->admit(asks(1)));
    member.change("[banks\n");
    CHECK(member.gate->admit_owner({"bank", ""}, asks(1).run));
    CHECK(member.gate->admit(asks(1)));
    CHECK(code(member.gate->admit_owner({"bank", ""}, asks(2).run)) == Errc::refused);
    CHECK(code(member.gate->admit_owner({"shop", ""}, asks(1).run)) == Errc::refused);
}

TEST_CASE("what could not be stored is not let in, and the log says so", "[gate]") {
    Member member(two_a_day);
    const fs::path file = policy_directory(member.dir()) / "runs.json";
    fs::create_directories(file / "in its place");
    const auto refused = member.gate->admit(asks(1));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().for_others == "it cannot store what it has decided");
    CHECK(times(member, "\"let in\"") == 1);
    CHECK(times(member, "\"rule\":\"store\"") == 1);
    CHECK(code(member.gate->rows(asks(1).run, 5)) == Errc::refused);
    fs::remove_all(file);
    CHECK(member.gate->admit(asks(1)));
    CHECK(whole(member));
}

TEST_CASE("a held run whose approval could not be stored waits on", "[gate]") {
    Member member(held);
    const fs::path file = policy_directory(member.dir()) / "runs.json";
    fs::create_directories(file / "in its place");
    const auto unheld = member.gate->admit(asks(1));
    REQUIRE_FALSE(unheld);
    CHECK(unheld.error().for_others == "it cannot store what it has decided");
    CHECK(read_held(member.dir()).empty());
    fs::remove_all(file);
    CHECK(code(member.gate->admit(asks(1))) == Errc::held);
    const auto waiting = read_held(member.dir());
    REQUIRE(waiting.size() == 1);
    REQUIRE(say(member.dir(), waiting.at(0), true, "ada"));
    fs::remove(file);
    fs::create_directories(file / "in its place");
    const auto unstored = member.gate->admit(asks(1));
    REQUIRE_FALSE(unstored);
    CHECK(unstored.error().for_others == "it cannot store what it has decided");
    CHECK(read_held(member.dir()).size() == 1);
    fs::remove_all(file);
    CHECK(member.gate->admit(asks(1)));
    CHECK(whole(member));
}

TEST_CASE("a refusal of an owner says nothing of a run that nobody has looked at", "[gate]") {
    Member member(two_a_day);
    CHECK(code(member.gate->admit_owner({"shop", ""}, asks(1).run)) == Errc::refused);
    CHECK(times(member, "\"rule\":\"owners\"") == 1);
    for (const char* const unknown : {"\"use\"", "\"term\"", "\"parties\""})
        CHECK(times(member, unknown) == 0);
}

TEST_CASE("a table needs a grant where the policy says so", "[gate]") {
    Member member("[banks]\nowners = [\"*\"]\ntables = \"granted\"\n");
    CHECK(code(member.gate->admit(asks(1))) == Errc::refused);
    const fs::path directory = policy_directory(member.dir());
    REQUIRE(write_grants(directory, {{"/data/shop.csv", "bank", "", member.now + 1000, "ada"}}));
    CHECK(member.gate->admit(asks(1)));
    CHECK(code(member.gate->admit(asks(2, "shop"))) == Errc::refused);
    member.now += 1000;
    CHECK(code(member.gate->admit(asks(3))) == Errc::refused);
    CHECK(member.gate->admit(asks(1)));
}

TEST_CASE("grants that are made at the same time are all kept", "[gate]") {
    const Member member("");
    const fs::path directory = policy_directory(member.dir());
    constexpr int makers = 8;
    std::vector<std::thread> all;
    for (int i = 0; i < makers; ++i)
        all.emplace_back([&directory, i] {
            for (int j = 0; j < 10; ++j)
                (void)change_grants(directory, [&](std::vector<Grant>& grants) -> Result<> {
                    grants.push_back({"/t", "o" + std::to_string(i * 10 + j), "", 1, "ada"});
                    return {};
                });
        });
    for (std::thread& one : all) one.join();
    const auto grants = read_grants(directory);
    REQUIRE(grants);
    CHECK(grants->size() == makers * 10);
    CHECK_FALSE(change_grants(directory, [](std::vector<Grant>& none) -> Result<> {
        none.clear();
        return fail(Errc::usage, "no");
    }));
    CHECK(read_grants(directory)->size() == makers * 10);
}

TEST_CASE("two processes with one directory count together", "[gate]") {
    Member member(two_a_day);
    auto first = std::move(member.gate);
    member.start();
    CHECK(first->admit(asks(1)));
    CHECK(member.gate->admit(asks(2)));
    CHECK(code(first->admit(asks(3))) == Errc::refused);
    CHECK(code(member.gate->admit(asks(3))) == Errc::refused);
    first->ended(asks(1).run, {Errc::ok});
    member.gate->ended(asks(2).run, {Errc::peer_lost});
    first.reset();
    member.start();
    CHECK(code(member.gate->admit(asks(1))) == Errc::refused);  // is over
    CHECK(member.gate->admit(asks(2)));                         // goes on
    CHECK(whole(member));
}

TEST_CASE("who is refused again and again does not fill the disk", "[gate]") {
    Member member(two_a_day);
    for (int i = 0; i < 500; ++i) (void)member.gate->admit_owner({"shop", ""}, asks(1).run);
    const std::string before = member.audit();
    std::size_t lines = 0;
    for (const char c : before) lines += c == '\n';
    CHECK(lines < 70);
    member.now += 60'000;
    (void)member.gate->admit_owner({"shop", ""}, asks(1).run);
    CHECK(member.audit().find("\"left_out_before\":440") != std::string::npos);
    CHECK(whole(member));
}

TEST_CASE("what cannot be recorded is not let in", "[gate]") {
    Member member("");
    fs::resize_file(observe::audit_file(member.dir() / "audit"), 10);
    const auto refused = member.gate->admit(asks(1));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().for_others == "it cannot write its audit log");
    Member holds(held);
    fs::resize_file(observe::audit_file(holds.dir() / "audit"), 10);
    const auto unheld = holds.gate->admit(asks(1));
    REQUIRE_FALSE(unheld);
    CHECK(unheld.error().for_others == "it cannot write its audit log");
    CHECK(code(member.gate->rows(asks(1).run, 5)) == Errc::refused);
}

TEST_CASE("a gate does not open with a policy that is none", "[gate]") {
    const fs::path dir = fs::temp_directory_path() / ("vflbus-g-" + std::to_string(random_u64()));
    fs::create_directories(dir);
    std::ofstream(dir / "p.toml") << "[a]\nowner = [\"*\"]\n";
    GateOptions options;
    options.state_dir = dir;
    options.policy_file = dir / "p.toml";
    const auto gate = Gate::open(std::move(options));
    REQUIRE_FALSE(gate);
    CHECK(gate.error().code == Errc::bad_config);
    CHECK_FALSE(fs::exists(dir / "audit"));
    fs::remove_all(dir);
}

TEST_CASE("a model is for the owner for whom it was trained, whoever knows its id", "[gate]") {
    const bool judged = GENERATE(true, false);
    CAPTURE(judged);
    Member member(judged ? "[all]\nowners = [\"*\"]\n" : "");
    const RunId trained = asks(1).run;
    REQUIRE(member.gate->admit(asks(1, "bank")));
    member.gate->ended(trained, {});
    member.start();
    const auto predicts = [&](int run, const std::string& owner) {
        Request request = asks(run, owner);
        request.use = Use::predict;
        REQUIRE(member.gate->admit(request));
        return code(member.gate->model(request.run, trained));
    };
    CHECK(predicts(2, "bank") == Errc::ok);
    CHECK(predicts(3, "bank-0123456789abcdef") == Errc::ok);  // another process of that key
    CHECK(predicts(4, "shop") == Errc::refused);
    CHECK(member.gate->model(asks(4).run, trained)
              .error()
              .sentence.find(judged ? "rule all.models_of: " : "rule models_of: ") !=
          std::string::npos);
    CHECK(member.audit().find("\"rule\":\"models_of\"") != std::string::npos);
    // of a model from elsewhere nothing is known
    CHECK(code(member.gate->model(asks(4).run, asks(9).run)) == Errc::ok);
    // nor does anybody else train under that id, whose commits and part would take their place
    const auto under_its_id = member.gate->admit(asks(1, "shop"));
    CHECK(code(under_its_id) == Errc::refused);
    CHECK(under_its_id.error().for_others.find("(rule run)") != std::string::npos);
    CHECK(member.gate->admit(asks(1, "bank", "another text")));
    CHECK(whole(member));
}

TEST_CASE("a policy may give the models of one owner to others", "[gate]") {
    Member member("[all]\nowners = [\"*\"]\nmodels_of = [\"bank\"]\n");
    REQUIRE(member.gate->admit(asks(1, "bank")));
    REQUIRE(member.gate->admit(asks(2, "shop")));
    Request request = asks(3, "market");
    request.use = Use::predict;
    REQUIRE(member.gate->admit(request));
    member.start();
    CHECK(code(member.gate->model(request.run, asks(1).run)) == Errc::ok);
    CHECK(code(member.gate->model(request.run, asks(2).run)) == Errc::refused);
}
