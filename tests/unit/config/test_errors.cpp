// What is refused, and that the sentence names the place, the key and the nearest valid one.

#include "support.hpp"

using namespace vflbus;
using namespace vflbus::config;
using namespace vflbus::config::testing;

namespace {

struct Bad {
    const char* text;
    std::vector<const char*> said;  ///< the sentence begins with the first and has all others
};

void check_said(const std::string& sentence, const std::vector<const char*>& said) {
    INFO(sentence);
    CHECK(sentence.starts_with(said[0]));
    for (const char* const part : said) {
        INFO(part);
        CHECK(sentence.find(part) != std::string::npos);
    }
}

}  // namespace

TEST_CASE("files are refused with line, key and the nearest valid one") {
    const std::vector<Bad> cases = {
        // -- names
        {"[model]\n\nepoch = 3\n",
         {"conf/x.toml:3: ", "unknown key model.epoch;", "nearest is model.epochs"}},
        {"[model]\nlerning_rate = 3\n",
         {"conf/x.toml:2: ", "model.lerning_rate", "nearest is model.learning_rate"}},
        {"[model]\nEpochs = 3\n", {"conf/x.toml:2: ", "model.Epochs", "nearest is model.epochs"}},
        {"[model]\nseed = 3\n",
         {"conf/x.toml:2: ", "unknown key model.seed", "nearest is run.seed"}},
        {"[run]\ndata = \"x\"\n", {"conf/x.toml:2: ", "run.data", "party.master.data"}},
        {"[run]\nzzzzzzzzzz = 1\n",
         {"conf/x.toml:2: ", "run.zzzzzzzzzz", "[run] has seed, protocol"}},
        {"[observe.mlflow]\nuri = \"http://\"\n",
         {"conf/x.toml:2: ", "observe.mlflow.uri names no host", "http://HOST:PORT"}},
        {"[observe.mlflow]\nuri = \"https://me:pw@:5000/x\"\n",
         {"conf/x.toml:2: ", "observe.mlflow.uri names no host"}},
        {"\n[modle]\nepochs = 3\n",
         {"conf/x.toml:2: ", "unknown section [modle]", "nearest is [model]"}},
        {"[party.memeber-1]\ndata = \"x\"\n",
         {"conf/x.toml:1: ", "[party.memeber-1]", "nearest is [party.member-1]"}},
        {"[party.member-01]\n",
         {"conf/x.toml:1: ", "[party.member-01]", "nearest is [party.member-1]"}},
        {"[party.member--1]\n", {"conf/x.toml:1: ", "nearest is [party.member-1]"}},
        {"[party.member-99999]\n", {"conf/x.toml:1: ", "unknown section"}},
        {"[party.Master]\n", {"conf/x.toml:1: ", "nearest is [party.master]"}},
        {"[master]\n", {"conf/x.toml:1: ", "[master]", "nearest is [party.master]"}},
        {"[party]\ndata = \"x\"\n",
         {"conf/x.toml:2: ", "party.data belongs to no party", "party.master.data"}},
        {"epochs = 3\n", {"conf/x.toml:1: ", "outside of a section", "nearest is model.epochs"}},
        {"epoch = 3\n", {"conf/x.toml:1: ", "outside of a section", "nearest is model.epochs"}},
        {"model = 3\n", {"conf/x.toml:1: ", "model must be a section: [model]"}},
        {"[[model]]\nepochs = 3\n", {"conf/x.toml:1: ", "model must be a section: [model]"}},
        {"[[party.master]]\n",
         {"conf/x.toml:1: ", "party.master must be a section: [party.master]"}},
        {"[party.master]\nlable = \"y\"\n",
         {"conf/x.toml:2: ", "party.master.lable", "nearest is party.master.label"}},
        {"[bus]\nheartbeat_intervall = 1\n",
         {"conf/x.toml:2: ", "nearest is bus.heartbeat_interval"}},
        // -- types
        {"[model]\nepochs = \"20\"\n",
         {"conf/x.toml:2: ", "model.epochs is \"20\", a string, but must be an integer from 1",
          "nearest valid value is 20"}},
        {"[model]\nepochs = 20.4\n",
         {"conf/x.toml:2: ", "20.4, a float", "nearest valid value is 20"}},
        {"[model]\nepochs = nan\n", {"conf/x.toml:2: ", "nan, a float", "default is 20"}},
        {"[model]\nepochs = true\n", {"conf/x.toml:2: ", "true, a boolean", "default is 20"}},
        {"[model]\nepochs = [20]\n", {"conf/x.toml:2: ", "an array", "default is 20"}},
        {"[model]\nepochs = 2020-01-01\n", {"conf/x.toml:2: ", "a date or time", "default is 20"}},
        {"[model.epochs]\nx = 1\n",
         {"conf/x.toml:1: ", "model.epochs is a table", "default is 20"}},
        {"[model]\nshuffle = \"false\"\n",
         {"conf/x.toml:2: ", "model.shuffle", "true or false", "nearest valid value is false"}},
        {"[model]\nshuffle = 1\n",
         {"conf/x.toml:2: ", "1, an integer", "nearest valid value is true"}},
        {"[model]\nlearning_rate = \"fast\"\n",
         {"conf/x.toml:2: ", "model.learning_rate", "a number above 0", "default is 0.1"}},
        {"[run]\nexperiment_label = 5\n",
         {"conf/x.toml:2: ", "5, an integer", "nearest valid value is \"5\""}},
        {"[party.master]\nlabel = 5\n",
         {"conf/x.toml:2: ", "party.master.label", "a string or an array of strings"}},
        {"[party.master]\nlabel = [\"y\", 5]\n",
         {"conf/x.toml:2: ", "party.master.label", "5, an integer"}},
        {"[party.master]\nfeatures = [[\"y\"]]\n", {"conf/x.toml:2: ", "an array in an array"}},
        {"[model]\nclass_weights = true\n",
         {"conf/x.toml:2: ", "model.class_weights", "\"balanced\""}},
        {"[model]\nclass_weights = [1, \"2\"]\n", {"conf/x.toml:2: ", "\"2\", a string"}},
        // -- values
        {"[model]\nepochs = 0\n",
         {"conf/x.toml:2: ", "model.epochs = 0 is impossible", "nearest valid value is 1"}},
        {"[model]\nepochs = -5\n",
         {"conf/x.toml:2: ", "model.epochs = -5", "nearest valid value is 1"}},
        {"[model]\nepochs = 9223372036854775807\n",
         {"conf/x.toml:2: ", "9223372036854775807", "nearest valid value is 1000000"}},
        {"[model]\nlearning_rate = 0\n", {"conf/x.toml:2: ", "above 0", "default is 0.1"}},
        {"[model]\nlearning_rate = inf\n",
         {"conf/x.toml:2: ", "inf", "nearest valid value is 1000"}},
        {"[model]\nlearning_rate = nan\n", {"conf/x.toml:2: ", "nan", "default is 0.1"}},
        {"[model]\nmomentum = 1.0\n", {"conf/x.toml:2: ", "below 1", "default is 0"}},
        {"[data]\ntest_fraction = -0.1\n",
         {"conf/x.toml:2: ", "data.test_fraction", "nearest valid value is 0"}},
        {"[run]\nworld_size = 0\n",
         {"conf/x.toml:2: ", "run.world_size", "left out, it is the number of `[party.member-K]`"}},
        {"[model]\ntask = \"logistik\"\n",
         {"conf/x.toml:2: ", "model.task = \"logistik\" is unknown", "nearest is \"logistic\""}},
        {"[model]\ntask = \"\"\n",
         {"conf/x.toml:2: ", "model.task", "one of \"linear\", \"logistic\""}},
        {"[model]\noptimizer = \"admm\"\n", {"conf/x.toml:2: ", "nearest is \"adam\""}},
        {"[data]\nduplicates = \"frist\"\n", {"conf/x.toml:2: ", "nearest is \"first\""}},
        {"[output]\nlog_level = \"warning\"\n",
         {"conf/x.toml:2: ", "output.log_level", "\"warn\""}},
        {"[run]\nprotocol = \"arbitered\"\n[model]\nsolver = \"lbfgs\"\n",
         {"conf/x.toml:4: ", "model.solver = \"lbfgs\" does not go with", "\"sgd\" and \"adam\""}},
        {"[run]\nprotocol = \"arbitered\"\nhe = \"none\"\n[model]\ntask = \"multilabel\"\n"
         "class_weights = \"balanced\"\n",
         {"conf/x.toml:6: ", "does not go with", "another weight for each label"}},
        {"[run]\nprotocol = \"arbitered\"\n[model]\nclass_weights = \"balanced\"\n",
         {"conf/x.toml:4: ", "model.class_weights", "run.he = \"paillier\""}},
        {"[run]\nhe_key_bits = 1024\n",
         {"conf/x.toml:2: ", "protects nothing", "run.insecure_testing"}},
        {"[run]\nhe_key_bits = 2050\n", {"conf/x.toml:2: ", "no multiple of 128"}},
        {"[run]\nprotocol = \"honset\"\n",
         {"conf/x.toml:2: ", "is unknown", "nearest is \"honest\""}},
        {"[model]\nclass_weights = \"balance\"\n", {"conf/x.toml:2: ", "nearest is \"balanced\""}},
        {"[model]\nclass_weights = [1, -2]\n", {"conf/x.toml:2: ", "-2", "positive"}},
        {"[model]\nclass_weights = [1]\n", {"conf/x.toml:2: ", "one per class"}},
        {"[bus]\nbroker = \"127.0.0.1:7000\"\n",
         {"conf/x.toml:2: ", "bus.broker", "nearest is \"tcp://127.0.0.1:7000\""}},
        {"[bus]\nbroker = \"udp://h:1\"\n", {"conf/x.toml:2: ", "nearest is \"tcp://h:1\""}},
        {"[bus]\nbroker = \"tcp://h\"\n", {"conf/x.toml:2: ", "a host and a port"}},
        {"[bus]\nbroker = \"tcp://h:70000\"\n", {"conf/x.toml:2: ", "0 to 65535"}},
        {"[bus]\nbind = [\"ipc://\"]\n", {"conf/x.toml:2: ", "bus.bind", "a name must follow"}},
        {"[party.master]\nfeatures = [\"a\", \"a\"]\n", {"conf/x.toml:2: ", "\"a\" twice"}},
        {"[party.master]\nfeatures = [\"\"]\n", {"conf/x.toml:2: ", "empty entry"}},
        {"[party.master]\nid = \"\"\n", {"conf/x.toml:2: ", "party.master.id is empty"}},
        {"[run]\nexperiment_label = \"a\\u0007\"\n",
         {"conf/x.toml:2: ", "run.experiment_label", "control characters"}},
        // -- what columns are
        {"[party.master.columns]\nzip = \"categry\"\n",
         {"conf/x.toml:1: ", "party.master.columns makes \"zip\" a \"categry\"",
          "the nearest is \"category\""}},
        {"[party.master]\ncolumns = \"zip\"\n",
         {"conf/x.toml:2: ", "says no kind for \"zip\": write \"zip=category\""}},
        {"[party.master]\ncolumns = [\"=id\"]\n",
         {"conf/x.toml:2: ", "names no column in \"=id\""}},
        {"[party.master.columns]\nzip = 3\n",
         {"conf/x.toml:1: ", "an entry that is no text (write zip = \"category\""}},
        {"[party.master.prepare]\nzip = 3\n",
         {"conf/x.toml:1: ", "an entry that is no text (write zip = \"scale=robust\""}},
        {"[party.master]\nlabel = \"y\"\nprepare = [\"a=scale=none\", \" y =missing=0\"]\n",
         {"conf/x.toml:3: ", "party.master.prepare names the label \"y\"", "only features"}},
        {"[party.member-0]\nprepare = [\"id=text=hash:8\"]\n",
         {"conf/x.toml:2: ", "party.member-0.prepare names the id column \"id\""}},
        {"[party.master]\nsample_weight = \"w\"\nprepare = [\"w=clip=0.1\"]\n",
         {"conf/x.toml:3: ", "party.master.prepare names the sample_weight \"w\""}},
        {"[party.master.columns]\na.b = \"id\"\n",
         {"conf/x.toml:1: ", "a name with a dot goes into quotation marks"}},
        {"[party.master.columns]\n\"a*\" = \"id\"\n\"a*\" = \"id\"\n", {"conf/x.toml:3:"}},
        {"[data.columns]\nzip = \"category\"\n", {"conf/x.toml:1: ", "data.columns"}},
        // -- pictures
        {"[party.member-0]\nimage = \"28\"\n",
         {"conf/x.toml:2: ", "party.member-0.image = \"28\" is no size of pictures", "\"28x14\""}},
        {"[party.member-0]\nimage = \"28x0\"\n", {"conf/x.toml:2: ", "no size of pictures"}},
        {"[party.member-0]\nimage = \"28x14x3x\"\n", {"conf/x.toml:2: ", "no size of pictures"}},
        {"[party.member-0]\nimage = \"4x4\"\nprepare = [\"*=scale=none\"]\n",
         {"conf/x.toml:3: ", "party.member-0.prepare has no meaning beside image"}},
        {"[model]\nname = \"mlp\"\nwidth_factor = 2\n",
         {"conf/x.toml:3: ", "model.width_factor = 2", "no meaning with model.name = \"mlp\""}},
        {"[model]\nname = \"efficientnet\"\nblocks = 3\n",
         {"conf/x.toml:3: ", "model.blocks = 3", "no meaning with model.name = \"efficientnet\""}},
        {"[model]\nname = \"efficientnet\"\nbottom = \"64\"\n",
         {"conf/x.toml:3: ", "takes two: the channels of its last convolution"}},
        {"[model]\nname = \"efficientnet\"\nbottom = \"64-32-16\"\n",
         {"conf/x.toml:3: ", "has 3 numbers, but an efficientnet takes two"}},
        // -- combinations
        {"[model]\ntask = \"logistic\"\nsequential = true\n",
         {"conf/x.toml:3: ", "model.sequential", "model.task = \"linear\" only"}},
        {"[model]\noptimizer = \"adam\"\nmomentum = 0.9\n",
         {"conf/x.toml:3: ", "model.momentum", "\"sgd\" only"}},
        {"[model]\ntask = \"linear\"\nsequential = true\nmomentum = 0.9\n",
         {"conf/x.toml:4: ", "model.momentum", "set model.momentum = 0"}},
        {"[model]\ntask = \"linear\"\nsequential = true\nweight_decay = 0.9\n",
         {"conf/x.toml:4: ", "model.weight_decay", "model.reg_lambda"}},
        {"[model]\ntask = \"linear\"\nclass_weights = \"balanced\"\n",
         {"conf/x.toml:3: ", "model.class_weights", "\"none\""}},
        {"[model]\ntask = \"logistic\"\nclass_weights = [1, 2, 3]\n",
         {"conf/x.toml:3: ", "3 numbers", "[negative, positive]"}},
        {"[model]\ntask = \"poisson\"\nearly_stopping = \"auc\"\n",
         {"conf/x.toml:3: ", "\"auc\" is no metric of model.task = \"poisson\"",
          "loss, deviance, d2, rmse and mae"}},
        {"[model]\ntask = \"multilabel\"\nearly_stopping = \"f1\"\n",
         {"conf/x.toml:3: ", "is no metric", "f1_micro"}},
        {"[run]\nprotocol = \"arbitered\"\n[model]\nsolver = \"sgd\"\nearly_stopping = \"auc\"\n",
         {"conf/x.toml:5: ", "does not go with run.protocol = \"arbitered\""}},
        {"[privacy]\nnoise_multiplier = 1\n",
         {"conf/x.toml: ", "[privacy]) does not go with model.solver = \"lbfgs\"",
          "exact sums over all rows"}},
        {"[model]\nname = \"mlp\"\n[privacy]\nnoise_multiplier = 1\n",
         {"conf/x.toml:2: ", "does not go with model.name = \"mlp\""}},
        {"[model]\nsolver = \"sgd\"\nclass_weights = \"balanced\"\n[privacy]\n"
         "noise_multiplier = 1\n",
         {"conf/x.toml:3: ", "counted on the labels"}},
        {"[model]\nsolver = \"sgd\"\n[data]\ntest_fraction = 0.2\n[privacy]\n"
         "noise_multiplier = 1\n",
         {"conf/x.toml: ", "data.stratify = true", "set data.stratify = false"}},
        {"[model]\nsolver = \"adam\"\nreport_test_metrics_iteration = 5\n[privacy]\n"
         "score_noise_multiplier = 1\n",
         {"conf/x.toml:3: ", "metrics on the way"}},
        {"[privacy]\ninsecure_testing = true\n",
         {"conf/x.toml:2: ", "has no meaning without noise"}},
        {"[run]\nprotocol = \"encrypted\"\n[model]\ntask = \"gamma\"\n",
         {"conf/x.toml:2: ", "model.task = \"gamma\" works with run.protocol = \"honest\" only"}},
        {"[model]\ntask = \"multilabel\"\n[party.master]\nlabel = \"y\"\n",
         {"conf/x.toml:4: ", "party.master.label names 1 column", "\"logistic\""}},
        {"[model]\ntask = \"softmax\"\n[party.master]\nlabel = [\"y\", \"z\"]\n",
         {"conf/x.toml:4: ", "names 2 columns", "\"multilabel\""}},
        {"[party.member-0]\nlabel = \"y\"\n",
         {"conf/x.toml:2: ", "only the master", "party.master.label"}},
        {"[party.master]\nlabel = \"id\"\n", {"conf/x.toml:2: ", "id column"}},
        {"[party.master]\nlabel = \"y\"\nfeatures = [\"x\", \"y\"]\n",
         {"conf/x.toml:3: ", "features names the label"}},
        {"[party.master]\nlabel = \"y\"\nexclude = [\"y\"]\n",
         {"conf/x.toml:3: ", "exclude names the label"}},
        {"[party.master]\nfeatures = [\"id\"]\n",
         {"conf/x.toml:2: ", "features names the id column"}},
        {"[party.master]\nfeatures = [\"a\"]\nexclude = \"a\"\n",
         {"conf/x.toml:3: ", "both party.master.features"}},
        {"[data]\nfolds = 1\n", {"conf/x.toml:2: ", "data.folds = 1 is no cross-validation"}},
        {"[data]\nfolds = 3\n[party.master]\ndata = \"a\"\ntest_data = \"b\"\n",
         {"conf/x.toml:5: ", "party.master.test_data", "data.folds = 3", "contradict"}},
        {"[data]\ntest_fraction = 0.1\n[party.master]\ndata = \"a\"\ntest_data = \"b\"\n",
         {"conf/x.toml:5: ", "party.master.test_data", "data.test_fraction = 0"}},
        {"[party.master]\ndata = \"a\"\ntest_data = \"b\"\n[party.member-0]\ndata = \"c\"\n",
         {"conf/x.toml:3: ", "party.member-0.test_data is not"}},
        {"[run]\nworld_size = 1\n[party.member-0]\n[party.member-1]\n",
         {"conf/x.toml:4: ", "[party.member-1] contradicts run.world_size = 1 (conf/x.toml:2)",
          "member-0 to member-0"}},
        {"[run]\nseed = 1\n[party.member-1]\ndata = \"x\"\n",
         {"conf/x.toml:3: ", "run.world_size is missing", "run.world_size = 2"}},
        {"[bus]\nheartbeat_interval = 5\n",
         {"conf/x.toml:2: ", "bus.heartbeat_interval = 5 must be below bus.suspect_after = 3"}},
        {"[bus]\nsuspect_after = 10\n",
         {"conf/x.toml:2: ", "must be below bus.disconnect_idle_client_time = 10"}},
        {"[bus]\nhello_retry_max = 0.1\n",
         {"conf/x.toml:2: ", "bus.hello_retry_min = 0.25 must be at most"}},
        {"[bus]\nframe_bytes_max = 65536\n",
         {"conf/x.toml:2: ", "bus.chunk_bytes", "below bus.frame_bytes_max"}},
        // -- syntax
        {"[model]\nepochs = \n", {"conf/x.toml:2:", "not valid TOML"}},
        {"[model]\nepochs = 1\nepochs = 2\n", {"conf/x.toml:3:", "not valid TOML"}},
        {"[model\n", {"conf/x.toml:1:", "not valid TOML"}},
        {"[run]\nexperiment_label = \"\xff\"\n", {"conf/x.toml:2:", "not valid TOML"}},
        // (toml++ reaches what it has declared unreachable for letters before U+049A)
        {"[run]\n\xc3\xa4 = 1\n", {"conf/x.toml:2:", "not valid TOML"}},
        {"[model]\nsolver = l\xd2\x87\n", {"conf/x.toml:2:", "not valid TOML"}},
    };
    for (const Bad& bad : cases) {
        INFO(bad.text);
        check_said(sentence_of(load_text(bad.text)), bad.said);
    }
}

TEST_CASE("flags are refused by their name") {
    const std::vector<Bad> cases = {
        {"model.epoch=3", {"--set: ", "unknown key model.epoch", "nearest is model.epochs"}},
        {"epochs=3", {"--set epochs=3: ", "nearest is model.epochs"}},
        {"model.epochs", {"--set model.epochs: ", "section.key=value"}},
        {"=3", {"--set =3: ", "section.key=value"}},
        {"model.=3", {"--set model.=3: ", "section.key=value"}},
        {"", {"--set ", "section.key=value"}},
        {"model.epochs=", {"--set: ", "model.epochs", "an integer"}},
        {"model.epochs=many", {"--set: ", "model.epochs is \"many\""}},
        {"model.epochs=0", {"--set: ", "nearest valid value is 1"}},
        {"modle.epochs=2", {"--set: ", "unknown section [modle]", "[model]"}},
        {"party.data=2", {"--set: ", "belongs to no party"}},
        {"party.boss.data=2", {"--set: ", "unknown section [party.boss]"}},
        {"model.class_weights=1,x", {"--set: ", "model.class_weights", "\"x\", a string"}},
        {"model.shuffle=yes", {"--set: ", "true or false"}},
        {"bus.broker=localhost", {"--set: ", "nearest is \"tcp://localhost\""}},
        {"run.experiment_label=\xff", {"--set: ", "\"?\"", "UTF-8"}},
        {"model.\xc3=1", {"--set: ", "unknown key model.?;"}},
    };
    for (const Bad& bad : cases) {
        INFO(bad.text);
        LoadOptions options;
        options.sets = {{bad.text}};
        check_said(sentence_of(load_bare(options)), bad.said);
    }
    LoadOptions options;
    options.sets = {{"bus.broker=nowhere", "--broker"}};
    check_said(sentence_of(load_bare(options)), {"--broker: bus.broker", "tcp://nowhere"});
}

TEST_CASE("variables are refused by their name") {
    struct BadVariable {
        const char* name;
        const char* value;
        std::vector<const char*> said;
    };
    const std::vector<BadVariable> cases = {
        {"VFLBUS_MODEL_EPOCH", "3", {"VFLBUS_MODEL_EPOCH: ", "nearest is VFLBUS_MODEL_EPOCHS"}},
        {"VFLBUS_RUN_QQQQQQQQQQQQQQQQQQ", "3", {"VFLBUS_RUN_", "[run] has seed"}},
        {"VFLBUS_MODEL_EPOCHS", "x", {"VFLBUS_MODEL_EPOCHS: model.epochs is \"x\""}},
        {"VFLBUS_PARTY_DATA", "x", {"VFLBUS_PARTY_DATA: ", "VFLBUS_ROLE and VFLBUS_RANK"}},
        {"VFLBUS_PARTY_DATTA", "x", {"VFLBUS_PARTY_DATTA: ", "nearest is VFLBUS_PARTY_DATA"}},
        {"VFLBUS_PARTY_MEMBER_0_LABLE",
         "x",
         {"VFLBUS_PARTY_MEMBER_0_LABLE: ", "nearest is VFLBUS_PARTY_MEMBER_0_LABEL"}},
        {"VFLBUS_PARTY_MEMBER_X_DATA",
         "x",
         {"VFLBUS_PARTY_MEMBER_X_DATA: ", "VFLBUS_PARTY_MEMBER_0_DATA"}},
        {"VFLBUS_PARTY_MEMBER_0", "x", {"VFLBUS_PARTY_MEMBER_0: "}},
        {"VFLBUS_ROLE", "mastre", {"VFLBUS_ROLE: ", "nearest is \"master\""}},
        {"VFLBUS_RANK", "-1", {"VFLBUS_RANK: ", "0 to 4094"}},
        {"VFLBUS_RANK", "one", {"VFLBUS_RANK: ", "\"one\""}},
        {"VFLBUS_BROKER", "host:1", {"VFLBUS_BROKER: bus.broker", "tcp://host:1"}},
    };
    for (const BadVariable& bad : cases) {
        INFO(bad.name << "=" << bad.value);
        LoadOptions options;
        options.environment = {{bad.name, bad.value}};
        check_said(sentence_of(load_bare(options)), bad.said);
    }
}

TEST_CASE("up to five problems are told at once, and how many more there are") {
    const std::string sentence =
        sentence_of(load_text("[model]\na1 = 1\na2 = 1\na3 = 1\na4 = 1\na5 = 1\na6 = 1\na7 = 1\n"));
    CHECK(std::count(sentence.begin(), sentence.end(), '\n') == 5);
    CHECK(sentence.starts_with("conf/x.toml:2: "));
    CHECK(sentence.ends_with("(and 2 more)"));
}

TEST_CASE("an unknown section is told once, whatever it holds") {
    const std::string sentence = sentence_of(load_text("[modle]\nepochs = 1\nx = 2\n"));
    CHECK(sentence.find('\n') == std::string::npos);
}

TEST_CASE("a configuration that is not there is named with who named it") {
    const Folder folder;
    LoadOptions options;
    options.base_dir = folder.path();
    options.path = "away.toml";
    auto result = load(options);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code == Errc::io);
    CHECK(result.error().sentence.starts_with("away.toml: there is no such configuration file"));
    options.path.clear();
    options.environment = {{"VFLBUS_CONFIG", "gone.toml"}};
    result = load(options);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().sentence.starts_with("gone.toml (named by VFLBUS_CONFIG): "));
    options.path = ".";
    result = load(options);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().sentence.find("is not a file") != std::string::npos);
}

TEST_CASE("absurd files are refused before they cost anything") {
    CHECK(sentence_of(load_text(std::string(2u << 20, '#'))).find("longer than 1.0 MiB") !=
          std::string::npos);
    std::string deep = "a";
    for (int i = 0; i < 100'000; ++i) deep += ".a";
    CHECK(sentence_of(load_text("\n" + deep + " = 1\n")).starts_with("conf/x.toml:2: "));
    CHECK(sentence_of(load_text("[" + deep + "]\n")).starts_with("conf/x.toml:1: "));
    CHECK_FALSE(load_text("[run]\nseed = " + std::string(200'000, '[')).has_value());
    CHECK_FALSE(
        load_text("[run]\nexperiment_label = \"" + std::string(5000, 'x') + "\"\n").has_value());
}
