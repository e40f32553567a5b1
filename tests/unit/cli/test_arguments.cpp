// The command line: what it takes, what it refuses, and what its help says.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "base/text.hpp"
#include "catch.hpp"
#include "command_text.hpp"

using namespace vflbus;
using cli::Command;
using Words = std::vector<std::string>;

namespace {

/// What standard output and standard error get while it lives.
class Captured {
  public:
    Captured() {
        std::fflush(stdout);
        for (int i = 0; i < 2; ++i) {
            std::string name = "/tmp/vflbus-cli-XXXXXX";
            files_[i] = ::mkstemp(name.data());
            ::unlink(name.c_str());
            before_[i] = ::dup(i + 1);
            ::dup2(files_[i], i + 1);
        }
    }
    ~Captured() { end(); }
    Captured(const Captured&) = delete;
    Captured& operator=(const Captured&) = delete;

    std::string out() { return text(0); }
    std::string err() { return text(1); }

  private:
    void end() {
        if (before_[0] < 0) return;
        std::fflush(stdout);
        for (int i = 0; i < 2; ++i) {
            ::dup2(before_[i], i + 1);
            ::close(before_[i]);
            before_[i] = -1;
        }
    }
    std::string text(int which) {
        end();
        std::string text(1 << 16, '\0');
        const ssize_t n = ::pread(files_[which], text.data(), text.size(), 0);
        text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
        return text;
    }
    int files_[2]{};
    int before_[2]{-1, -1};
};

struct Parsed {
    Command command;
    std::string out;
    std::string err;
    [[nodiscard]] int code() const {
        const auto* exit = std::get_if<cli::Exit>(&command);
        return exit == nullptr ? -1 : exit->code;
    }
};

Parsed parse(const Words& words) {
    std::vector<const char*> argv{"vflbus"};
    for (const std::string& word : words) argv.push_back(word.c_str());
    Captured captured;
    Parsed parsed{cli::parse(static_cast<int>(argv.size()), argv.data()), {}, {}};
    parsed.out = captured.out();
    parsed.err = captured.err();
    return parsed;
}

template <class Arguments>
Arguments taken(const Words& words) {
    const Parsed parsed = parse(words);
    INFO(parsed.err);
    REQUIRE(std::holds_alternative<Arguments>(parsed.command));
    return std::get<Arguments>(parsed.command);
}

std::string refused(const Words& words) {
    const Parsed parsed = parse(words);
    CHECK(parsed.code() == 2);
    CHECK(parsed.out.empty());
    CHECK(std::ranges::count(parsed.err, '\n') == 1);
    return parsed.err;
}

void visit(const cli::CommandText& command, const auto& with) {
    with(command);
    for (const cli::CommandText& below : command.commands) visit(below, with);
}

}  // namespace

TEST_CASE("flags of a command reach its struct", "[cli]") {
    const auto actor = taken<cli::ActorArguments>(
        {"actor", "--role", "member", "--rank", "3", "--once", "-s", "a=b", "-s", "c=d"});
    CHECK(actor.rank == 3);
    CHECK(actor.once);
    CHECK(actor.sets == Words{"a=b", "c=d"});
    const auto launch = taken<cli::LaunchArguments>({"launch", "--local", "4", "--json"});
    CHECK(launch.local);
    CHECK(launch.members == 4);
    CHECK(launch.json);
    CHECK_FALSE(taken<cli::LaunchArguments>({"launch", "--local"}).members.has_value());
    CHECK(taken<cli::AgentArguments>({"agent", "stop", "--all"}).action ==
          cli::AgentArguments::Action::stop);
    CHECK(taken<cli::PrerequisitesArguments>({"prerequisites", "stop", "--dir", "d"}).dir == "d");
    CHECK(taken<cli::ExportArguments>({"export", "systemd"}).form ==
          cli::ExportArguments::Form::systemd);
    CHECK(taken<cli::RunLogsArguments>({"run", "logs", "12ab", "-f"}).run == "12ab");
    CHECK(taken<cli::RunsArguments>({"runs"}).limit == 50);
}

TEST_CASE("a number that is none is named with its flag", "[cli]") {
    // CLI11 itself makes 18446744073709551615 of -1
    for (const Words& words :
         {Words{"actor", "--role", "member", "--rank", "-1"}, Words{"health", "--rank", "-1"},
          Words{"runs", "--limit", "-1"}, Words{"nodes", "--limit", "many"},
          Words{"data", "synth", "--out", "x", "--rows", "-5"},
          Words{"data", "synth", "--out", "x", "--members", "1.5"},
          Words{"data", "synth", "--out", "x", "--seed", "18446744073709551616"},
          Words{"agent", "start", "--rank", "x"}}) {
        const std::string sentence = refused(words);
        CAPTURE(sentence);
        const std::string& flag = words[words.size() - 2];
        CHECK(sentence.find(flag + " is a whole number from ") != std::string::npos);
        CHECK(sentence.find("not '" + words.back() + "'") != std::string::npos);
    }
    CHECK(refused({"runs", "--limit", "0"}).find("--limit is a whole number from 1") !=
          std::string::npos);
    CHECK(refused({"launch", "--local", "0"}).find("at least 1, not '0'") != std::string::npos);
}

TEST_CASE("a trace without a name is refused", "[cli]") {
    CHECK(refused({"launch", "--local", "2", "--trace", ""}).find("--trace") != std::string::npos);
    CHECK(taken<cli::LaunchArguments>({"launch", "--local", "2", "--trace", "t.json"}).trace ==
          "t.json");
}

TEST_CASE("an unknown word is named, with what is near", "[cli]") {
    CHECK(refused({"lanch"}) ==
          "vflbus: vflbus has no command lanch; there are launch, broker, "
          "actor, check, psi, predict, tune, features, train-joined, runs, nodes, top, ui, run, "
          "model, "
          "report, data, config, "
          "health, "
          "agent, prerequisites, export, audit, keys, allow, revoke, members, invite, join, "
          "preflight, approve, "
          "refuse, "
          "grant, completion "
          "and version; did you mean launch?\n");
    CHECK(refused({"run", "shw", "12"}).find("vflbus run has no command shw; there are show, ") !=
          std::string::npos);
    CHECK(refused({"launch", "--trasport", "tcp"})
              .find("unknown argument --trasport; did you mean "
                    "--transport?") != std::string::npos);
    // nothing is near enough to be meant
    CHECK(refused({"launch", "--lr", "0.1"}) ==
          "vflbus: unknown argument --lr; did you mean --set model.learning_rate=VALUE?\n");
    // what is a key of the configuration is nearer than a flag that is spelt like it
    CHECK(refused({"launch", "--solver", "adam"}) ==
          "vflbus: unknown argument --solver; did you mean --set model.solver=VALUE?\n");
    CHECK(refused({"launch", "--batch-size=64"}) ==
          "vflbus: unknown argument --batch-size=64; did you mean --set model.batch_size=VALUE?\n");
    CHECK(refused({"launch", "--noise-multiplier", "1"})
              .find("did you mean --set privacy.noise_multiplier=VALUE?") != std::string::npos);
    CHECK(refused({"launch", "--local", "--frobnicate"}).find("--frobnicate; see") !=
          std::string::npos);
    CHECK(refused({"nodes", "extra"}).find("unknown argument extra") != std::string::npos);
}

TEST_CASE("a group without a command says which there are", "[cli]") {
    CHECK(refused({"run"}) ==
          "vflbus: vflbus run needs one of show, stop, logs, compare, plot, trace, remove, submit "
          "and predict; see "
          "vflbus run --help\n");
    CHECK(refused({"data"}).find("needs one of synth, inspect and split") != std::string::npos);
    CHECK(refused({"run", "--json"}).find("unknown argument --json") != std::string::npos);
}

TEST_CASE("what is missing, or does not go together, is one sentence", "[cli]") {
    CHECK(refused({"predict", "--local"}).find("--model") != std::string::npos);
    CHECK(refused({"run", "show"}).find("RUN") != std::string::npos);
    CHECK(refused({"launch", "--local", "--threads"}).find("--threads") != std::string::npos);
    CHECK(refused({"launch", "--server", "a.so"}).find("--client") != std::string::npos);
    CHECK(refused({"launch", "-q", "-v"}).find("-") != std::string::npos);
}

TEST_CASE("help is asked for in three ways", "[cli]") {
    const std::string help = parse({"run", "show", "--help"}).out;
    CHECK(help.find("vflbus run show") != std::string::npos);
    CHECK(parse({"help", "run", "show"}).out == help);
    CHECK(parse({"run", "show", "help"}).out == help);
    CHECK(parse({"help"}).out == parse({"--help"}).out);
    CHECK(parse({"help"}).code() == 0);
    CHECK(parse({}).out == parse({"--help"}).out);
    CHECK(refused({"help", "lunch"}).find("did you mean launch?") != std::string::npos);
    // a value that happens to be that word
    CHECK(taken<cli::SubmitArguments>({"run", "submit", "--label", "help"}).label == "help");
}

TEST_CASE("each help page has examples of its own, and each of them parses", "[cli]") {
    std::vector<std::string> footers;
    visit(cli::command_text(), [&](const cli::CommandText& command) {
        CAPTURE(command.path);
        CHECK_FALSE(command.summary.empty());
        CHECK(std::ranges::find(footers, command.footer) == footers.end());
        footers.push_back(command.footer);
        const auto examples = cli::examples_in(command.footer);
        CHECK_FALSE(examples.empty());
        for (const std::string& example : examples) {
            CAPTURE(example);
            Words words;
            for (const std::string& word : split(example, ' ')) {
                if (word == ">") break;  // what follows is the shell's
                if (!word.empty()) words.push_back(word);
            }
            while (!words.empty() && words[0].find('=') != std::string::npos)
                words.erase(words.begin());  // variables
            REQUIRE_FALSE(words.empty());
            if (words[0] != "vflbus") continue;
            words.erase(words.begin());
            const Parsed parsed = parse(words);
            CAPTURE(parsed.err);
            CHECK(parsed.code() == -1);
        }
    });
}
