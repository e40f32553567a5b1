// What can be said on the command line, and what is said back.

#include <filesystem>
#include <fstream>
#include <string>

#include "base/json.hpp"
#include "catch.hpp"
#include "parties.hpp"

using namespace proc;
TEST_CASE("help and version go to standard output", "[command_line]") {
    const TempDir dir;
    for (const std::string command : {"broker", "actor", "launch", "check", "predict"}) {
        const Finished help = run(dir, {command, "--help"});
        INFO(command);
        CHECK(help.exit_code == 0);
        CHECK(help.out.find("vflbus " + command) != std::string::npos);
        CHECK(help.out.find("Example") != std::string::npos);
        CHECK(help.err.empty());
        CHECK(help.out.find("--parent") == std::string::npos);
    }
    CHECK(run(dir, {"--help"}).out.find("launch") != std::string::npos);
    CHECK(run(dir, {"version"}).out.substr(0, 7) == "vflbus ");
    CHECK(run(dir, {"--version"}).out == run(dir, {"version"}).out);
    CHECK(Json::parse(run(dir, {"version", "--json"}).out)["name"] == "vflbus");
}

TEST_CASE("what is wrong is said in one line with the nearest word", "[command_line]") {
    const TempDir dir;
    const std::vector<std::pair<Words, std::string>> wrong{
        {{"lanch"}, "did you mean launch?"},
        {{"launch", "--lokal"}, "did you mean --local?"},
        {{"launch", "--local", "x"}, "N is the number of members"},
        {{"launch", "--local", "--threads"}, "excludes"},
        {{"launch", "--local", "--transport", "udp"}, "tcp or ipc"},
        {{"actor"}, "--role"},
        {{"actor", "--role", "member"}, "--rank"},
        {{"actor", "--role", "member", "--rank", "x"}, "--rank"},
        {{"actor", "--role", "arbiter", "--rank", "0"}, "an arbiter has no --rank"},
        {{"actor", "--role", "arbiter", "--name", "judge"}, "by the name arbiter"},
        {{"actor", "--role", "arbiter", "--out", "d"}, "--out does not go with this actor"},
        {{"actor", "--role", "serverapp"}, "--app FILE"},
        {{"actor", "--role", "bystander"}, "master, member, arbiter or serverapp"},
        {{"data", "synth", "--out", "d", "--task", "logistik"}, "did you mean logistic?"},
        {{"data", "synth"}, "--out"},
        {{"runs", "--limit", "0"}, "--limit is a whole number from 1, not '0'"},
        {{"runs", "--status", "faild"}, "not 'faild'; did you mean failed?"},
        {{"predict"}, "--model"},
        {{"launch", "--label", "y"}, "--data"}};
    for (const auto& [words, needle] : wrong) {
        const Finished finished = run(dir, words);
        INFO(words[0] << ": " << finished.err);
        CHECK(finished.exit_code == 2);
        CHECK(finished.err.find(needle) != std::string::npos);
        CHECK(finished.err.find('\n') == finished.err.size() - 1);
        CHECK(finished.out.empty());
    }
}

TEST_CASE("broker --bind ipc:// never takes the place of a file", "[command_line]") {
    const TempDir dir;
    std::ofstream(dir / "table.csv") << "id,y\n";
    std::filesystem::create_symlink(dir / "table.csv", dir / "link.csv");
    for (const std::string name : {"table.csv", "link.csv"}) {
        const Finished refused = run(dir, {"broker", "--bind", "ipc://" + (dir / name)});
        INFO(refused.err);
        CHECK(refused.exit_code == 7);
        CHECK(refused.err.find("not a socket") != std::string::npos);
        CHECK(std::filesystem::exists(dir / name));
    }
    std::string line;
    std::getline(std::ifstream(dir / "table.csv") >> std::ws, line);
    CHECK(line == "id,y");
}

namespace {

/// A program of this name in `dir`/bin that does what the script says.
void pretend(const TempDir& dir, const std::string& name, const std::string& script) {
    fs::create_directories(dir / "bin");
    spit(dir / ("bin/" + name), "#!/bin/sh\n" + script + "\n");
    fs::permissions(dir / ("bin/" + name), fs::perms::owner_all);
}

}  // namespace

TEST_CASE("without podman each command that needs it says so, and what else there is",
          "[command_line]") {
    const TempDir dir;
    for (const Words& words : {Words{"launch", "--podman", "2"}, Words{"agent", "status"},
                               Words{"agent", "logs"}, Words{"agent", "stop"}}) {
        Process process(dir, words, {}, {"env", "PATH=" + (dir / "nothing")});
        const Finished finished = process.wait();
        INFO(words[0] << ": " << finished.err);
        CHECK(finished.exit_code == 2);
        CHECK(finished.err.find("there is no podman in PATH; install it (Debian: apt-get install "
                                "podman)") != std::string::npos);
        CHECK(finished.err.find('\n') == finished.err.size() - 1);
        CHECK_FALSE(fs::exists(dir / "runs"));
    }
}

TEST_CASE("agent logs goes to standard output, whatever the container wrote where",
          "[command_line]") {
    const TempDir dir;
    pretend(dir, "runc", "exit 0");
    pretend(dir, "podman",
            "[ \"$1\" = --runtime ] && shift 2\n"
            "case $1 in\n"
            "ps) printf 'vflbus-member-0\\tmember-0\\t00112233\\trunning\\tUp 2 seconds\\n' ;;\n"
            "logs) echo a result; echo a log line >&2 ;;\n"
            "esac");
    Process process(dir, {"agent", "logs"}, {}, {"env", "PATH=" + (dir / "bin:/usr/bin:/bin")});
    const Finished finished = process.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 0);
    CHECK(finished.out == "a result\na log line\n");
    CHECK(finished.err.empty());
}

TEST_CASE("config check and reference", "[command_line]") {
    const TempDir dir;
    make_example(dir);
    const Finished good = run(dir, {"config", "check", "--config", "run.toml"});
    INFO(good.err);
    CHECK(good.exit_code == 0);
    CHECK(good.out.find("good") != std::string::npos);
    const Json said = Json::parse(run(dir, {"config", "check", "-c", "run.toml", "--json"}).out);
    CHECK(said["world_size"] == 2);
    CHECK(said["parties"].size() == 3);

    // flag over environment over file
    const auto hash = [&](const Words& more, const Variables& variables) {
        Words words{"config", "check", "-c", "run.toml", "--json"};
        words.insert(words.end(), more.begin(), more.end());
        return Json::parse(run(dir, words, variables).out)["agreed_hash"].get<std::string>();
    };
    const Variables nine{{"VFLBUS_MODEL_EPOCHS", "9"}};
    CHECK(hash({}, {}) != hash({}, nine));
    CHECK(hash({"--set", "model.epochs=4"}, nine) == hash({}, {}));

    // words that only the reading of a table would stumble over
    for (const auto& [set, needle] : std::vector<std::pair<std::string, std::string>>{
             {"party.member-0.prepare=income=missing=meen",
              "[party.member-0]: prepare: \"missing=meen\" of column \"income\" is none of "},
             {"party.master.prepare=x", "\"x\" is not of the form COLUMN=WORDS"},
             {"party.master.separator=;;", "separator"},
             {"party.member-1.encoding=utf-9", "encoding"},
             {"party.member-1.columns=zip=codes", "\"codes\""}}) {
        for (const char* const command : {"check", "launch"}) {
            Words words{"config", "check", "-c", "run.toml", "--set", set};
            if (command == std::string("launch"))
                words = {"launch", "--local", "-c", "run.toml", "--set", set};
            const Finished refused = run(dir, words);
            INFO(command << " " << set << ": " << refused.err);
            CHECK(refused.exit_code == 2);
            CHECK(refused.err.find(needle) != std::string::npos);
        }
    }

    const Finished reference = run(dir, {"config", "reference"});
    CHECK(reference.exit_code == 0);
    CHECK(reference.out.find("rendezvous_timeout") != std::string::npos);
}

TEST_CASE("output.log_level decides which lines are logged", "[command_line]") {
    const TempDir dir;
    make_example(dir);
    const auto logged = [&](const std::string& how, const std::string& level) {
        const Finished finished =
            run(dir, {"check", how, "--config", "run.toml", "--set", "output.log_level=" + level});
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
        return finished.err;
    };
    for (const std::string how : {"--local", "--threads"}) {
        INFO(how);
        CHECK(logged(how, "error").find("Z warn ") == std::string::npos);
        const std::string info = logged(how, "info");
        CHECK(info.find("Z warn ") != std::string::npos);
        CHECK(info.find("Z info ") != std::string::npos);
        CHECK(info.find("Z debug ") == std::string::npos);
    }
    CHECK(logged("--local", "debug").find("Z debug ") != std::string::npos);
}

TEST_CASE("data synth makes the same files for the same seed", "[command_line]") {
    const TempDir dir;
    const auto synth = [&](const std::string& out, const std::string& seed) {
        const Finished made = run(dir, {"data", "synth", "--out", out, "--rows", "200", "--members",
                                        "3", "--seed", seed, "--json"});
        REQUIRE(made.exit_code == 0);
        CHECK(Json::parse(made.out)["parties"].size() == 4);
        return slurp(dir / (out + "/bank.csv"));
    };
    const std::string first = synth("a", "1");
    CHECK(first.size() > 1000);
    CHECK(synth("b", "1") == first);
    CHECK(synth("c", "2") != first);
}

TEST_CASE("a reader of the output that goes away kills nobody", "[command_line]") {
    const TempDir dir;
    make_example(dir);
    // the shell's own status is that of the last command, so vflbus writes its own into a file
    spit(dir / "pipe.sh",
         "(\"$VFLBUS\" launch --local --config run.toml --json; echo $? >code) | true\n"
         "exit 0\n");
    const std::string binary = std::getenv("VFLBUS_BINARY");
    const std::string command = "cd '" + dir.path().string() + "' && TMPDIR='" + dir / "tmp" +
                                "' VFLBUS='" + binary + "' sh pipe.sh 2>err";
    CHECK(std::system(command.c_str()) == 0);
    CHECK(slurp(dir / "code") == "0\n");
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a name server that is silent is waited for as long as bus.resolve_timeout says",
          "[command_line]") {
    const char* const module = std::getenv("VFLBUS_SILENT_NAMES");
    REQUIRE(module != nullptr);
    const Variables silent{{"LD_PRELOAD", module}};
    const TempDir dir;
    make_example(dir);
    const std::string address = "tcp://broker.silent:7423";
    for (const Words& words :
         {Words{"broker", "--insecure", "--bind", address}, Words{"nodes", "--broker", address},
          Words{"actor", "--role", "master", "--config", "run.toml", "--broker", address, "--set",
                "bus.rendezvous_timeout=1"}}) {
        const Finished finished =
            run(dir, with(words, {"--set", "bus.resolve_timeout=0.35"}), silent);
        INFO(words[0] << ": " << finished.err);
        CHECK(finished.exit_code != 0);
        CHECK(finished.err.find("host \"broker.silent\" could not be resolved in 0.35 s: the name "
                                "server does not answer") != std::string::npos);
    }
}

TEST_CASE("flags of actor may be variables, which other commands do not read", "[command_line]") {
    const TempDir dir;
    make_example(dir);
    const auto actor = [&](Variables variables) {
        variables["VFLBUS_ROLE"] = "member";
        variables["VFLBUS_RANK"] = "0";
        return run(dir, {"actor", "--config", "run.toml", "--broker", "ipc://" + dir / "none"},
                   variables);
    };
    CHECK(run(dir, {"version"}, {{"VFLBUS_ONCE", "maybe"}}).exit_code == 0);
    const Finished once = actor({{"VFLBUS_ONCE", "maybe"}});
    CHECK(once.exit_code == 2);
    CHECK(once.err.find("VFLBUS_ONCE = \"maybe\" is neither true nor false") != std::string::npos);
    const Finished policy = actor({{"VFLBUS_POLICY", "no-policy.toml"}});
    CHECK(policy.exit_code == 3);
    CHECK(policy.err.find("no-policy.toml") != std::string::npos);
}
