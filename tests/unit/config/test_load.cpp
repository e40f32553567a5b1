#include "base/text.hpp"
#include "config/document.hpp"
#include "config/keys.hpp"
#include "support.hpp"

using namespace vflbus;
using namespace vflbus::config;
using namespace vflbus::config::testing;

namespace {

constexpr const char* three_parties = R"(
[run]
seed = 7
experiment_label = "Zürich"
[model]
task = "multilabel"
epochs = 3
learning_rate = 1        # an integer is a number
optimizer = "adam"
class_weights = [1, 2.5]
[data]
duplicates = "first"
test_fraction = 0.25
[bus]
broker = "ipc:///tmp/b"
bind = ["tcp://127.0.0.1:7000", "ipc:///tmp/b"]
heartbeat_interval = 2
[output]
log_level = "debug"
runs_dir = "../out"
[party.master]
data = "bank.csv"
label = ["a", "b"]
id = "customer"
[party.member-0]
data = "/abs/telecom.csv"
exclude = "note"
[party.member-1]
data = "../shop.csv"
features = ["x", "y"]
)";

}  // namespace

TEST_CASE("a file of all sections is read") {
    const Config config = value_of(load_text(three_parties));
    CHECK(config.run.seed == 7);
    CHECK(config.run.experiment_label == "Zürich");
    CHECK(config.run.world_size == 2);
    CHECK(config.model.task == Task::multilabel);
    CHECK(config.model.epochs == 3);
    CHECK(config.model.learning_rate == 1.0);
    CHECK(config.model.optimizer == Optimizer::adam);
    CHECK(config.model.class_weights.rule == ClassWeights::Rule::numbers);
    CHECK(config.model.class_weights.numbers == std::vector<double>{1, 2.5});
    CHECK(config.data.duplicates == Duplicates::first);
    CHECK(config.data.test_fraction == 0.25);
    CHECK(config.bus.broker == "ipc:///tmp/b");
    CHECK(config.bus.bind.size() == 2);
    CHECK(config.bus.heartbeat_interval == 2.0);
    CHECK(config.output.log_level == "debug");
    CHECK(config.parties.size() == 3);
    CHECK(config.parties.at("master").label == std::vector<std::string>{"a", "b"});
    CHECK(config.parties.at("master").id == "customer");
    CHECK(config.parties.at("member-0").exclude == std::vector<std::string>{"note"});
    CHECK(config.parties.at("member-0").id == "id");
    CHECK(config.parties.at("member-1").features == std::vector<std::string>{"x", "y"});
    CHECK(config.has_agreed_half());
    CHECK(config.origin_of("model.epochs") == "conf/x.toml:7");
    CHECK(config.origin_of("model.shuffle") == "the default");
    CHECK(config.file == "conf/x.toml");
}

TEST_CASE("paths of a file are relative to it, others to the current directory") {
    const Folder folder;
    folder.write("conf/x.toml", three_parties);
    LoadOptions options;
    options.path = "conf/x.toml";
    options.base_dir = folder.path();
    options.sets = {{"party.member-0.test_data=t.csv"}, {"party.member-1.test_data=t.csv"}};
    options.environment = {{"VFLBUS_PARTY_MASTER_TEST_DATA", "m.csv"},
                           {"VFLBUS_DATA_TEST_FRACTION", "0"}};
    const Config config = value_of(load(options));
    const auto below = [&](const char* name) { return (folder.path() / name).string(); };
    CHECK(config.parties.at("master").data == below("conf/bank.csv"));
    CHECK(config.parties.at("member-0").data == "/abs/telecom.csv");
    CHECK(config.parties.at("member-1").data == below("shop.csv"));
    CHECK(config.parties.at("member-0").test_data == below("t.csv"));
    CHECK(config.parties.at("master").test_data == below("m.csv"));
    CHECK(config.output.runs_dir == below("out"));
}

TEST_CASE("what columns are is a table, a list, or one flag") {
    const std::vector<std::string> rules{"zip*=category", "a.b=date-dmy", "area=id"};
    const std::string table =
        "[party.member-0]\nid = \"id\"\n"
        "[party.member-0.columns]\n\"zip*\" = \"category\"\n\"a.b\" = \"date-dmy\"\narea = "
        "\"id\"\n";
    const std::string in_line =
        "[party.member-0]\ncolumns = { \"zip*\" = \"category\", \"a.b\" = \"date-dmy\", "
        "area = \"id\" }\n";
    const std::string list =
        "[party.member-0]\ncolumns = [\"zip*=category\", \"a.b=date-dmy\", \"area=id\"]\n";
    for (const std::string& text : {table, in_line, list}) {
        const Config config = value_of(load_text(text));
        CHECK(config.parties.at("member-0").columns == rules);
        // and comes back from the file that is saved with a run
        CHECK(value_of(load_text(to_toml(config, {}))).parties.at("member-0").columns == rules);
    }
    LoadOptions options;
    options.sets = {{"party.member-0.columns=zip*=category,area=id", "--set"}};
    CHECK(value_of(load_bare(options)).parties.at("member-0").columns ==
          std::vector<std::string>{"zip*=category", "area=id"});
}

TEST_CASE("runs go below the current directory unless stated") {
    const Folder folder;
    LoadOptions options;
    options.base_dir = folder.path();
    CHECK(value_of(load(options)).output.runs_dir == (folder.path() / "runs").string());
}

TEST_CASE("flag over environment over file over a command's default over default") {
    LoadOptions options;
    options.defaults = {"model.epochs=11", "model.momentum=0.1", "bus.rendezvous_timeout=60"};
    CHECK(value_of(load_text("[model]\nshuffle = false\n", options)).model.epochs == 11);
    CHECK(value_of(load_text("[model]\nepochs = 12\n", options)).model.epochs == 12);
    options.environment = {{"VFLBUS_MODEL_EPOCHS", "13"}};
    CHECK(value_of(load_text("[model]\nepochs = 12\n", options)).model.epochs == 13);
    options.sets = {{"model.epochs=14"}};
    const Config config = value_of(load_text("[model]\nepochs = 12\n", options));
    CHECK(config.model.epochs == 14);
    CHECK(config.origin_of("model.epochs") == "--set");
    CHECK(config.bus.rendezvous_timeout == 60.0);
    CHECK_FALSE(config.stated("bus.rendezvous_timeout"));
    options.sets.push_back({"model.epochs = 15"});
    CHECK(value_of(load_text("", options)).model.epochs == 15);
}

TEST_CASE("a file is found by the flag, then VFLBUS_CONFIG, then ./vflbus.toml") {
    const Folder folder;
    folder.write("vflbus.toml", "[run]\nseed = 1\n");
    folder.write("b/other.toml", "[run]\nseed = 2\n");
    folder.write("c.toml", "[run]\nseed = 3\n");
    LoadOptions options;
    options.base_dir = folder.path();
    CHECK(value_of(load(options)).file == "vflbus.toml");
    options.environment = {{"VFLBUS_CONFIG", "b/other.toml"}};
    CHECK(value_of(load(options)).run.seed == 2);
    options.path = "c.toml";
    CHECK(value_of(load(options)).run.seed == 3);
    options.path.clear();
    options.search = false;
    CHECK(value_of(load(options)).file.empty());
    CHECK_FALSE(value_of(load(options)).has_agreed_half());
}

TEST_CASE("environment variables alone make a configuration") {
    LoadOptions options;
    options.environment = {
        {"VFLBUS_ROLE", "master"},           {"VFLBUS_MODEL_TASK", "multilabel"},
        {"VFLBUS_PARTY_DATA", "/d/x.csv"},   {"VFLBUS_PARTY_ID", "key"},
        {"VFLBUS_PARTY_LABEL", "y, z"},      {"VFLBUS_RUN_WORLD_SIZE", "2"},
        {"VFLBUS_BROKER", "tcp://b:7000"},   {"VFLBUS_MODEL_CLASS_WEIGHTS", "1,3"},
        {"VFLBUS_LOG_LEVEL", "warn"},        {"VFLBUS_RUN_SEED", ""},
        {"VFLBUS_SERVICE_HOST", "10.0.0.1"}, {"HOME", "/nowhere"},
        {"VFLBUS_BROKER_PORT", "tcp://x"}};
    const Config master = value_of(load_bare(options));
    CHECK(master.self == "master");
    CHECK(master.model.task == Task::multilabel);
    CHECK(master.model.class_weights.numbers == std::vector<double>{1, 3});
    CHECK(master.parties.at("master").data == "/d/x.csv");
    CHECK(master.parties.at("master").id == "key");
    CHECK(master.parties.at("master").label == std::vector<std::string>{"y", "z"});
    CHECK(master.bus.broker == "tcp://b:7000");
    CHECK(master.output.log_level == "warn");
    CHECK(master.run.seed == 1);
    CHECK(check_party(master, master.self).has_value());

    options.environment = {{"VFLBUS_RANK", "1"}, {"VFLBUS_PARTY_DATA", "/d/x.csv"}};
    const Config member = value_of(load_bare(options));
    CHECK(member.self == "member-1");
    CHECK(member.parties.at("member-1").data == "/d/x.csv");
    CHECK(member.run.world_size == 0);
    CHECK_FALSE(member.has_agreed_half());
    CHECK(check_party(member, member.self).has_value());
}

TEST_CASE("the command line says who the process is, before the environment") {
    LoadOptions options;
    options.self = "member-0";
    options.environment = {{"VFLBUS_RANK", "1"}, {"VFLBUS_PARTY_ID", "key"}};
    CHECK(value_of(load_bare(options)).parties.at("member-0").id == "key");
}

TEST_CASE("text is written bare or quoted in flags, lists by commas or as an array") {
    LoadOptions options;
    const auto with = [&](const std::string& set) {
        options.sets = {{set}};
        return value_of(load_bare(options));
    };
    CHECK(with("run.experiment_label=a = b").run.experiment_label == "a = b");
    CHECK(with(R"(run.experiment_label="t\u00e9")").run.experiment_label == "té");
    CHECK(with("run.experiment_label=12").run.experiment_label == "12");
    CHECK(with("party.master.features=a, b").parties.at("master").features ==
          std::vector<std::string>{"a", "b"});
    CHECK(with(R"(party.master.features=["a,b", "c"])").parties.at("master").features ==
          std::vector<std::string>{"a,b", "c"});
    CHECK(with("party.master.features=").parties.at("master").features.empty());
    CHECK(with("model.class_weights=balanced").model.class_weights.rule ==
          ClassWeights::Rule::balanced);
    CHECK(with("model.learning_rate=1e-3").model.learning_rate == 1e-3);
    CHECK(with("model.shuffle=false").model.shuffle == false);
    CHECK(with("bus.bind=tcp://127.0.0.1:1,ipc:///x").bus.bind.size() == 2);
}

TEST_CASE("the number of members comes from their sections or is stated") {
    CHECK(value_of(load_text("[party.master]\n[party.member-0]\n[party.member-1]\n"))
              .run.world_size == 2);
    CHECK(value_of(load_text("[run]\nseed = 2\n[party.member-0]\n")).run.world_size == 1);
    CHECK(value_of(load_text("[party.member-0]\n")).run.world_size == 0);
    CHECK(value_of(load_text("[run]\nworld_size = 5\n[party.member-3]\n")).run.world_size == 5);
    CHECK(value_of(load_text("[party.member-3]\ndata = \"x.csv\"\n")).run.world_size == 0);
    CHECK(value_of(load_text("")).run.world_size == 0);
}

TEST_CASE("the environment of a process is cut down to our variables") {
    const char* const block[] = {"PATH=/bin", "VFLBUS_A=1=2", "VFLBUS_B=", "VFLBUS", nullptr};
    const auto variables = environment_of(block);
    CHECK(variables == std::map<std::string, std::string>{{"VFLBUS_A", "1=2"}, {"VFLBUS_B", ""}});
    CHECK(environment_of(nullptr).empty());
}

TEST_CASE("every key can be stated by a flag and by a variable with its own default") {
    for (const Key& key : keys()) {
        INFO(key.section << "." << key.name);
        CHECK_FALSE(key.doc.empty());
        CHECK(key.doc.back() == '.');
        CHECK(find_key(key.section, key.name) == &key);
        if (key.type == Type::integer || key.type == Type::number) CHECK(key.min < key.max);
        if (key.name == "world_size") continue;
        Config config;
        PartyConfig party;
        const Field field = key.field(config, party);
        std::string text;
        if (auto* const* v = std::get_if<bool*>(&field))
            text = **v ? "true" : "false";
        else if (auto* const* n = std::get_if<std::uint64_t*>(&field))
            text = std::to_string(**n);
        else if (auto* const* d = std::get_if<double*>(&field))
            text = shortest(**d);
        else if (auto* const* s = std::get_if<std::string*>(&field))
            text = **s;
        else if (auto* const* b = std::get_if<std::uint8_t*>(&field))
            text = key.choices[**b];
        else if (std::holds_alternative<ClassWeights*>(field))
            text = "none";
        LoadOptions options;
        const std::string section(key.section == "party" ? "party.master" : key.section);
        options.sets = {{section + "." + std::string(key.name) + "=" + text}};
        CHECK(value_of(load_bare(options)).stated(section + "." + std::string(key.name)));
    }
}

TEST_CASE("what a command needs is asked for by name") {
    const Config config = value_of(load_text(three_parties));
    CHECK(check_launch(config).has_value());
    CHECK(check_party(config, "member-1").has_value());
    const auto sentence = [](const Result<>& result) {
        REQUIRE_FALSE(result.has_value());
        CHECK(result.error().code == Errc::bad_config);
        return result.error().sentence;
    };
    CHECK(sentence(check_party(config, "member-2")) ==
          "conf/x.toml: member-2 has no section [party.member-2]; there are sections for master, "
          "member-0 and member-1; add one with data and id, or set VFLBUS_PARTY_DATA");
    CHECK(sentence(check_launch(Config{})).find("master has no section") != std::string::npos);
    CHECK(sentence(check_launch(value_of(load_text(
                       "[run]\nworld_size = 2\n[party.master]\ndata = \"a\"\nlabel = \"y\"\n"
                       "[party.member-0]\ndata = \"b\"\n"))))
              .find("member-1 has no section [party.member-1]") != std::string::npos);
    CHECK(sentence(check_launch(value_of(load_text("[party.master]\nlabel = \"y\"\n"))))
              .find("set party.master.data") != std::string::npos);
    CHECK(sentence(check_launch(value_of(load_text("[party.master]\ndata = \"y\"\n"))))
              .find("set party.master.label") != std::string::npos);
    CHECK(
        sentence(check_launch(value_of(load_text("[party.master]\ndata = \"d\"\nlabel = \"y\"\n"))))
            .find("run.world_size is missing") != std::string::npos);
}

TEST_CASE("a missing file is named with its party, key, line and where the set can be had") {
    const Folder folder;
    folder.write("there.csv", "id\n");
    folder.write("x.toml",
                 "[party.master]\ndata = \"there.csv\"\n[party.member-0]\ndata = \"away.csv\"\n"
                 "source = \"the library, room 4\"\n[party.member-1]\ndata = \".\"\n");
    LoadOptions options;
    options.path = "x.toml";
    options.base_dir = folder.path();
    const Config config = value_of(load(options));
    CHECK(check_files(config, "master").has_value());
    const auto missing = check_files(config, "member-0");
    REQUIRE_FALSE(missing.has_value());
    CHECK(missing.error().code == Errc::io);
    CHECK(explained(missing.error()) == "x.toml:4: member-0: the file of party.member-0.data, " +
                                            (folder.path() / "away.csv").string() +
                                            ", is not there; the set can be had from the library, "
                                            "room 4");
    const auto directory = check_files(config, "member-1");
    REQUIRE_FALSE(directory.has_value());
    CHECK(explained(directory.error()).find("is not a file; name the right one") !=
          std::string::npos);
}

TEST_CASE("parties with keys do not show scores, residuals or ids unless that is stated") {
    const Config alone = value_of(load_text("[run]\nworld_size = 1\n"));
    CHECK(alone.run.protocol == Protocol::honest);
    CHECK(alone.data.alignment == Alignment::hashed);
    const std::string keys = "[bus]\ncertificates = \"keys\"\n";
    const Config many = value_of(load_text(keys));
    CHECK(many.run.protocol == Protocol::encrypted);
    CHECK(many.data.alignment == Alignment::psi);
    CHECK(value_of(load_text(keys + "[run]\nprotocol = \"honest\"\n")).run.protocol ==
          Protocol::honest);
    CHECK(value_of(load_text(keys + "[model]\nsolver = \"adam\"\n")).run.protocol ==
          Protocol::encrypted);
    // one dense layer at each party, whose sum is what the master goes on with
    const Config network = value_of(load_text(keys + "[model]\nname = \"mlp\"\n"));
    CHECK(network.run.protocol == Protocol::encrypted);
    CHECK(network.model.combine == Combine::sum);
    CHECK(network.model.bottom == "64");
    const Config masked =
        value_of(load_text("[run]\nprotocol = \"masked\"\n[model]\nname = \"resnet\"\n"));
    CHECK(masked.model.combine == Combine::sum);
    CHECK(masked.model.bottom == ModelConfig().bottom);
    const Config mean = value_of(
        load_text(keys + "[model]\nname = \"mlp\"\ncombine = \"mean\"\nbottom = \"16\"\n"));
    CHECK(mean.model.combine == Combine::mean);
    CHECK(mean.model.bottom == "16");
    for (const std::string model :
         {"name = \"resnet\"\n", "name = \"mlp\"\nbottom = \"8-4\"\n",
          "name = \"mlp\"\ncombine = \"concat\"\n", "sequential = true\ntask = \"linear\"\n"}) {
        const auto refused = load_text(keys + "[model]\n" + model);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().sentence.find("\"honest\"") != std::string::npos);
        CHECK(value_of(load_text(keys + "[run]\nprotocol = \"honest\"\n[model]\n" + model))
                  .run.protocol == Protocol::honest);
    }
}
