#include <catch.hpp>
#include <cstdlib>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "fake_mlflow.hpp"
#include "observers/mlflow.hpp"

using namespace vflbus;
using namespace vflbus::observers;
using namespace std::chrono_literals;
using test::FakeMlflow;

namespace {

namespace fs = std::filesystem;

struct Folder {
    fs::path path = fs::temp_directory_path() / ("vflbus-mlflow-" + random_run_id().hex());
    Folder() { fs::create_directories(path); }
    ~Folder() { fs::remove_all(path); }
};

struct Play {
    Folder folder;
    std::vector<std::string> said;

    MlflowJob job(const std::string& uri, std::chrono::milliseconds wait = 60s) {
        MlflowJob job;
        job.uri = uri;
        job.experiment = "credit & co";
        job.run_name = "logistic-1f0c9a33";
        job.params = {{"batch_size", "256"}, {"long", std::string(2000, 'x')}};
        job.tags = {{"vflbus.version", "1"}};
        job.state_file = folder.path / "master" / "mlflow.json";
        job.artifacts = {{"report.json", folder.path / "report.json"},
                         {"model/model.json", folder.path / "not there"}};
        job.wait = wait;
        job.batch_every = 1ms;
        job.retry_max = 10ms;
        job.warn = [this](const std::string& text) { said.push_back(text); };
        return job;
    }
    std::unique_ptr<MlflowSender> sender(const std::string& uri,
                                         std::chrono::milliseconds wait = 60s) {
        auto made = MlflowSender::start(job(uri, wait));
        REQUIRE(made.has_value());
        return std::move(*made);
    }
};

std::vector<std::string> losses(std::uint64_t from, std::uint64_t to) {
    std::vector<std::string> out;
    for (std::uint64_t step = from; step <= to; ++step)
        out.push_back("loss@" + std::to_string(step) + "=0.5");
    return out;
}

void add_losses(MlflowSender& sender, std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t step = from; step <= to; ++step) sender.add({"loss", 0.5, 1000, step});
}

/// MLflow refuses more than 1,000 of them together.
std::size_t sent_by(const FakeMlflow::Request& request) {
    const Json body = Json::parse(request.body);
    return body["metrics"].size() + body["params"].size() + body["tags"].size();
}

template <class Check>
bool soon(Check&& check) {
    for (int i = 0; i < 60'000 && !check(); ++i) std::this_thread::sleep_for(1ms);
    return check();
}

}  // namespace

TEST_CASE("a run is made in its experiment, and everything arrives once") {
    Play play;
    FakeMlflow server;
    CHECK(write_file_atomically(play.folder.path / "report.json", "{\"status\":1}").has_value());
    const auto sender = play.sender(server.url() + "/");
    add_losses(*sender, 1, 2500);
    sender->add({"test_auc", std::nan(""), 1000, 2500});
    sender->add_param("ds_size", "500");
    sender->add_tag("vflbus.status", "completed");
    CHECK(sender->finish("FINISHED"));
    CHECK(play.said.empty());

    auto expected = losses(1, 2500);
    expected.emplace_back("test_auc@2500=\"NaN\"");
    CHECK(server.metrics() == expected);
    for (const auto& request : server.requests("log-batch")) CHECK(sent_by(request) <= 1000);
    CHECK(server.pairs("params") ==
          std::map<std::string, std::string>{{"batch_size", "256"},
                                             {"ds_size", "500"},
                                             {"long", std::string(mlflow_param_bytes_max, 'x')}});
    CHECK(server.pairs("tags")["vflbus.status"] == "completed");
    CHECK(server.requests("get-by-name?experiment_name=credit%20%26%20co").size() == 1);
    CHECK(server.requests("experiments/create").size() == 1);
    REQUIRE(server.requests("runs/create").size() == 1);
    const Json made = Json::parse(server.requests("runs/create")[0].body);
    CHECK(made["experiment_id"] == "7");
    CHECK(made["run_name"] == "logistic-1f0c9a33");
    const auto files = server.requests("PUT ");
    REQUIRE(files.size() == 1);
    CHECK(files[0].line == "PUT /api/2.0/mlflow-artifacts/artifacts/7/abc/artifacts/report.json");
    CHECK(files[0].body == "{\"status\":1}");
    const auto ends = server.requests("runs/update");
    REQUIRE(ends.size() == 1);
    CHECK(Json::parse(ends[0].body)["status"] == "FINISHED");
}

TEST_CASE("a server that is killed and comes back misses nothing") {
    Play play;
    FakeMlflow server;
    const auto sender = play.sender(server.url());
    add_losses(*sender, 1, 10);
    REQUIRE(soon([&] { return server.metrics().size() == 10; }));
    server.kill();
    add_losses(*sender, 11, 5000);
    server.start();
    REQUIRE(server.bound());
    CHECK(sender->finish("FINISHED"));
    CHECK(server.metrics() == losses(1, 5000));
    CHECK(server.requests("runs/create").size() == 1);
}

TEST_CASE(
    "what has not arrived at the end is said, kept, and sent when the run is asked for again") {
    Play play;
    FakeMlflow server;
    CHECK(write_file_atomically(play.folder.path / "report.json", "{}").has_value());
    {
        const auto sender = play.sender(server.url(), 50ms);
        add_losses(*sender, 1, 10);
        REQUIRE(soon([&] { return server.metrics().size() == 10; }));
        server.kill();
        add_losses(*sender, 11, 1500);
        CHECK_FALSE(sender->finish("FINISHED"));
    }
    REQUIRE(play.said.size() == 1);
    CHECK(play.said[0].find("1490 metric values") != std::string::npos);
    CHECK(play.said[0].find("1 file and the end of the run did not arrive") != std::string::npos);
    CHECK(play.said[0].find("--resume") != std::string::npos);
    server.start();
    REQUIRE(server.bound());
    const auto later = play.sender(server.url());
    REQUIRE(later->anything_left());
    CHECK(later->finish({}));
    CHECK(server.metrics() == losses(1, 1500));
    CHECK(server.requests("runs/create").size() == 1);
    CHECK(server.requests("PUT ").size() == 1);
    CHECK(Json::parse(server.requests("runs/update").back().body)["status"] == "FINISHED");
}

TEST_CASE("a server that accepts and never answers holds nobody up") {
    Play play;
    FakeMlflow server;
    server.fall_silent(true);
    const auto sender = play.sender(server.url(), 50ms);
    const auto begun = std::chrono::steady_clock::now();
    add_losses(*sender, 1, 1000);
    CHECK_FALSE(sender->finish("FINISHED"));
    // (without giving up the request that is under way this would take 60 s)
    CHECK(std::chrono::steady_clock::now() - begun < 15s);
    REQUIRE(play.said.size() == 1);
    CHECK(play.said[0].find("1000 metric values") != std::string::npos);
    CHECK(play.said[0].find("(no answer within ") != std::string::npos);
}

TEST_CASE("a training that is gone on with goes on in the same run, and logs no step twice") {
    Play play;
    FakeMlflow server;
    {
        const auto first = play.sender(server.url());
        add_losses(*first, 1, 20);
        CHECK(first->finish("FAILED"));
    }
    const auto second = play.sender(server.url());
    second->reopen();
    add_losses(*second, 15, 30);  // from the last commit
    CHECK(second->finish("FINISHED"));
    CHECK(server.metrics() == losses(1, 30));
    CHECK(server.requests("runs/create").size() == 1);
    CHECK(Json::parse(server.requests("runs/update").back().body)["status"] == "FINISHED");
}

TEST_CASE("a run whose making was not confirmed is found, and not made twice") {
    Play play;
    FakeMlflow server;
    server.lose_answer();
    MlflowJob job = play.job(server.url());
    job.tags = {{std::string(mlflow_run_tag), "1f0c"}};
    auto sender = MlflowSender::start(std::move(job));
    REQUIRE(sender.has_value());
    add_losses(**sender, 1, 3);
    CHECK((*sender)->finish("FINISHED"));
    CHECK(server.requests("runs/create").size() == 1);
    CHECK(server.metrics() == losses(1, 3));
    const auto searches = server.requests("runs/search");
    REQUIRE(searches.size() == 2);
    CHECK(Json::parse(searches[0].body).value("filter", "") == "tags.`vflbus.run_id` = '1f0c'");
}

TEST_CASE("an answer that is none of MLflow's ends no process, and is said") {
    struct Case {
        const char* line;
        int status;
        const char* body;
        const char* said;
    };
    for (const Case& wrong : std::initializer_list<Case>{
             {"/api", 404, R"({"error_code":404,"message":"no route"})", "answers 404: no route"},
             {"/api", 401, "", "answers 401; MLFLOW_TRACKING_TOKEN, or "},
             {"/api", 403, R"({"message":5})", "answers 403: 5"},
             {"/api", 403, R"({"message":{"a":1},"error_code":null})", "answers 403"},
             {"/api", 404, R"([1,2])", "answers 404"},
             {"get-by-name", 200, R"({"experiment":null})", "names no experiment"},
             {"get-by-name", 200, R"({"experiment":[1]})", "names no experiment"},
             {"get-by-name", 200, R"({"experiment":{"experiment_id":null}})", "no experiment"},
             {"experiments/create", 200, R"({"experiment_id":[]})", "names no experiment"},
             {"runs/search", 200, R"({"runs":[5]})", ""},
             {"runs/search", 200, R"({"runs":[{"info":{"run_id":null}}]})", ""},
             {"runs/create", 200, R"({"run":[1,2]})", "names no run"},
             {"runs/create", 200, R"({"run":{"info":["run_id"]}})", "names no run"},
             {"runs/create", 200, R"({"run":{"info":{"run_id":true}}})", "names no run"},
             {"log-batch", 404, R"({"error_code":3,"message":{"a":1}})", "answers 404"}}) {
        CAPTURE(wrong.line, wrong.body);
        Play play;
        FakeMlflow server;
        server.answer_with(wrong.line, wrong.status, wrong.body);
        const std::string_view said = wrong.said;
        // nobody waits for what never comes, and a slow machine has time for what does
        MlflowJob job = play.job(server.url(), said.empty() ? 60s : 300ms);
        job.tags = {{std::string(mlflow_run_tag), "1f0c"}};
        auto sender = MlflowSender::start(std::move(job));
        REQUIRE(sender.has_value());
        add_losses(**sender, 1, 3);
        REQUIRE(soon([&] { return !server.requests(wrong.line).empty(); }));
        CHECK((*sender)->finish("FINISHED") == said.empty());
        if (said.empty()) continue;
        REQUIRE(play.said.size() == 1);
        CHECK(play.said[0].find(said) != std::string::npos);
    }
}

TEST_CASE("numbers in place of ids are taken as their texts") {
    Play play;
    FakeMlflow server;
    server.answer_with("get-by-name", 200, R"({"experiment":{"experiment_id":12}})");
    server.answer_with("runs/create", 200, R"({"run":{"info":{"run_id":7,"artifact_uri":null}}})");
    const auto sender = play.sender(server.url());
    add_losses(*sender, 1, 3);
    CHECK(sender->finish("FINISHED"));
    CHECK(Json::parse(server.requests("runs/create")[0].body)["experiment_id"] == "12");
    CHECK(Json::parse(server.requests("log-batch")[0].body)["run_id"] == "7");
}

TEST_CASE("of a file the shown part alone is uploaded") {
    Play play;
    FakeMlflow server;
    CHECK(write_file_atomically(play.folder.path / "agreed.txt", "salt\n").has_value());
    MlflowJob job = play.job(server.url());
    job.artifacts = {{"agreed.txt", play.folder.path / "agreed.txt",
                      [](std::string_view) { return std::string("nothing"); }}};
    auto sender = MlflowSender::start(std::move(job));
    REQUIRE(sender.has_value());
    CHECK((*sender)->finish("FINISHED"));
    REQUIRE(server.requests("PUT ").size() == 1);
    CHECK(server.requests("PUT ")[0].body == "nothing");
}

TEST_CASE("what waits goes to the other server that a resume names, and the run ends there") {
    Play play;
    FakeMlflow first;
    FakeMlflow second;
    CHECK(write_file_atomically(play.folder.path / "report.json", "{}").has_value());
    SECTION("when some of it has not arrived") {
        const auto sender = play.sender(first.url(), 50ms);
        add_losses(*sender, 1, 10);
        REQUIRE(soon([&] { return first.metrics().size() == 10; }));
        first.kill();
        add_losses(*sender, 11, 20);
        sender->add_param("ds_size", "500");
        CHECK_FALSE(sender->finish("FAILED"));
    }
    SECTION("when all of it has arrived") {
        const auto sender = play.sender(first.url());
        add_losses(*sender, 1, 10);
        CHECK(sender->finish("FAILED"));
    }
    const bool some = first.metrics().size() == 10 && !play.said.empty();
    MlflowJob job = play.job(second.url());
    std::vector<std::string> informed;
    job.info = [&](const std::string& text) { informed.push_back(text); };
    auto later = MlflowSender::start(std::move(job));
    REQUIRE(later.has_value());
    REQUIRE((*later)->anything_left());
    CHECK((*later)->finish({}));
    CHECK(second.metrics() == (some ? losses(11, 20) : std::vector<std::string>{}));
    CHECK(second.pairs("params")["batch_size"] == "256");
    CHECK(second.pairs("params").contains("ds_size") == some);
    CHECK(second.requests("PUT ").size() == 1);
    REQUIRE(second.requests("runs/update").size() == 1);
    CHECK(Json::parse(second.requests("runs/update")[0].body)["status"] == "FAILED");
    REQUIRE_FALSE(informed.empty());
    CHECK(informed[0].find("at " + first.url() + " stay there") != std::string::npos);
}

TEST_CASE("a training that goes on at another server ends there once") {
    Play play;
    FakeMlflow first;
    FakeMlflow second;
    {
        const auto sender = play.sender(first.url());
        add_losses(*sender, 1, 10);
        CHECK(sender->finish("FAILED"));
    }
    const auto later = play.sender(second.url());
    later->reopen();
    add_losses(*later, 6, 12);  // from the last commit
    CHECK(later->finish("FINISHED"));
    CHECK(second.metrics() == losses(6, 12));
    CHECK(Json::parse(second.requests("runs/update").back().body)["status"] == "FINISHED");
}

TEST_CASE("what the server refuses is said, and the rest arrives") {
    Play play;
    FakeMlflow server;
    CHECK(write_file_atomically(play.folder.path / "report.json", "{}").has_value());
    server.refuse("mlflow-artifacts", 403);
    const auto sender = play.sender(server.url());
    add_losses(*sender, 1, 3);
    CHECK_FALSE(sender->finish("FINISHED"));
    CHECK(server.metrics() == losses(1, 3));
    REQUIRE(play.said.size() == 1);
    CHECK(play.said[0].find("1 request it has refused (it answers 403: no)") != std::string::npos);
    CHECK(server.requests("runs/update").size() == 1);
}

TEST_CASE("who asks is said as MLflow's own client says it") {
    Play play;
    FakeMlflow server;
    ::setenv("MLFLOW_TRACKING_TOKEN", "secret-token", 1);
    CHECK(play.sender(server.url())->finish("FINISHED"));
    ::unsetenv("MLFLOW_TRACKING_TOKEN");
    CHECK(server.requests("runs/create")[0].head.find("Authorization: Bearer secret-token") !=
          std::string::npos);
    Play other;
    ::setenv("MLFLOW_TRACKING_USERNAME", "me", 1);
    ::setenv("MLFLOW_TRACKING_PASSWORD", "pw", 1);
    CHECK(other.sender(server.url())->finish("FINISHED"));
    ::unsetenv("MLFLOW_TRACKING_USERNAME");
    ::unsetenv("MLFLOW_TRACKING_PASSWORD");
    CHECK(server.requests("runs/create")[1].head.find("Authorization: Basic bWU6cHc=") !=
          std::string::npos);
}

TEST_CASE("a proxy of the environment is used") {
    Play play;
    FakeMlflow proxy;
    ::setenv("http_proxy", proxy.url().c_str(), 1);
    CHECK(play.sender("http://tracking.example:5000")->finish("FINISHED"));
    ::unsetenv("http_proxy");
    CHECK(proxy.requests("POST http://tracking.example:5000/api/2.0/mlflow/runs/create").size() ==
          1);
}

TEST_CASE("a directory gets the layout of mlflow's file store") {
    Play play;
    CHECK(write_file_atomically(play.folder.path / "report.json", "{}").has_value());
    const fs::path root = play.folder.path / "mlruns";
    for (int run = 0; run < 2; ++run) {
        fs::remove(play.folder.path / "master" / "mlflow.json");
        const auto sender = play.sender("file:" + root.string());
        add_losses(*sender, 1, 2);
        CHECK(sender->finish("FINISHED"));
    }
    std::vector<fs::path> experiments = entries_of(root);
    REQUIRE(experiments.size() == 1);  // both runs are in one
    std::vector<fs::path> runs;
    for (const fs::path& entry : entries_of(experiments[0]))
        if (fs::is_directory(entry)) runs.push_back(entry);
    REQUIRE(runs.size() == 2);
    CHECK(read_file(runs[0] / "metrics" / "loss").value() == "1000 0.5 1\n1000 0.5 2\n");
    CHECK(read_file(runs[0] / "params" / "batch_size").value() == "256");
    CHECK(read_file(runs[0] / "artifacts" / "report.json").value() == "{}");
    const std::string meta = read_file(runs[0] / "meta.yaml").value();
    CHECK(meta.find("\nstatus: 3\n") != std::string::npos);
    CHECK(meta.find("\nrun_name: 'logistic-1f0c9a33'\n") != std::string::npos);
    CHECK(read_file(experiments[0] / "meta.yaml").value().find("\nname: 'credit & co'\n") !=
          std::string::npos);
}

TEST_CASE("where MLflow is another place, all is kept for whoever sends it later") {
    // a container has a directory of the same name to itself, and what it writes there is lost
    Play play;
    CHECK(write_file_atomically(play.folder.path / "report.json", "{}").has_value());
    const fs::path root = play.folder.path / "mlruns";
    MlflowJob inside = play.job("file:" + root.string());
    inside.keeps_all = true;
    {
        const auto sender = MlflowSender::start(inside);
        REQUIRE(sender.has_value());
        add_losses(**sender, 1, 2);
        CHECK_FALSE((*sender)->finish("FINISHED"));
    }
    CHECK(!fs::exists(root));
    CHECK(play.said.empty());
    std::this_thread::sleep_for(5ms);
    const auto later = play.sender("file:" + root.string());
    CHECK(later->anything_left());
    CHECK(later->finish({}));
    const std::vector<fs::path> experiments = entries_of(root);
    REQUIRE(experiments.size() == 1);
    fs::path run;
    for (const fs::path& entry : entries_of(experiments[0]))
        if (fs::is_directory(entry)) run = entry;
    CHECK(read_file(run / "metrics" / "loss").value() == "1000 0.5 1\n1000 0.5 2\n");
    CHECK(read_file(run / "artifacts" / "report.json").value() == "{}");
    const std::string meta = read_file(run / "meta.yaml").value();
    CHECK(meta.find("\nstatus: 3\n") != std::string::npos);
    const auto time = [&](const std::string& key) {
        const std::size_t at = meta.find("\n" + key + ": ");
        REQUIRE(at != std::string::npos);
        return std::stoll(meta.substr(at + key.size() + 3));
    };
    CHECK(time("start_time") <= time("end_time"));  // the run's own, however late they are sent
}

TEST_CASE("an address that is none of MLflow is refused, and passwords are in no sentence") {
    Play play;
    for (const char* uri : {"databricks", "postgresql://x", "", "file:", "ftp://x", "http://",
                            "https:///path", "http://:5000", "http://me:pw@", "http://me:pw@/x"})
        CHECK(MlflowSender::start(play.job(uri)).error().code == Errc::bad_config);
    CHECK(without_password("http://me:pw@host:5000/a@b") == "http://host:5000/a@b");
    CHECK(without_password("http://host/a@b") == "http://host/a@b");
}
