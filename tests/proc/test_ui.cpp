// `vflbus ui` and `vflbus top` as a plain HTTP client and a pipe see them; a real browser looks at
// the page in ./dev observe ui.

#include <algorithm>
#include <csignal>
#include <memory>
#include <set>
#include <sstream>
#include <string>

#include "catch.hpp"
#include "parties.hpp"
#include "socket.hpp"
#include "support.hpp"

using namespace proc;
using vflbus::test::ask;
using vflbus::test::Connected;

namespace {

/// `vflbus ui` of a broker, and a stream of what it tells.
class Ui {
  public:
    Ui(const TempDir& dir, const std::string& broker, const Words& more = {})
        : process(dir, with({"ui", "--broker", broker, "--http", "127.0.0.1:0", "--json"}, more)) {
        REQUIRE(process.await_output("}"));
        address = Json::parse(process.out())["address"].get<std::string>();
        url = address.substr(0, address.find('/', sizeof "http://"));
    }
    [[nodiscard]] std::string get(const std::string& path, const std::string& headers = {}) const {
        return ask(url, "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + headers +
                            "Connection: close\r\n\r\n");
    }
    [[nodiscard]] std::string post(const std::string& path, const std::string& headers) const {
        return ask(url, "POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n" +
                            headers + "Connection: close\r\n\r\n");
    }
    /// What a page needs to say to change something.
    [[nodiscard]] std::string action_word() const {
        const std::string page = get("/");
        const std::string mark = "name=\"action-word\" content=\"";
        const std::size_t at = page.find(mark);
        return at == std::string::npos ? "" : page.substr(at + mark.size(), 32);
    }

    Process process;
    std::string address;
    std::string url;
};

/// Listens to the events of `path` until `seen` is content with all that was told.
bool hears(const Ui& ui, const std::string& path,
           const std::function<bool(const std::string&)>& seen, const std::string& headers = {}) {
    const Connected stream(ui.url);
    stream.send("GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + headers + "\r\n");
    std::string told;
    const auto until = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < until) {
        const std::string piece = stream.receive();
        if (piece.empty()) return false;
        told += piece;
        if (seen(told)) return true;
    }
    return false;
}

std::function<bool(const std::string&)> all_of(std::set<std::string> texts) {
    return [texts = std::move(texts)](const std::string& told) {
        for (const std::string& text : texts)
            if (told.find(text) == std::string::npos) return false;
        return true;
    };
}

/// `vflbus` at a terminal of 40 columns and 10 lines, in front or in the background of a shell;
/// with exit code 99 when it was stopped there.
Finished at_terminal(const TempDir& dir, const std::string& place, const Words& words) {
    return python(dir,
                  "import fcntl, os, pty, signal, struct, sys, termios\n"
                  "pid, fd = pty.fork()\n"
                  "if pid == 0:\n"
                  "    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 10, 40, 0, 0))\n"
                  "    job = os.fork()\n"
                  "    if job == 0:\n"
                  "        signal.signal(signal.SIGTTOU, signal.SIG_DFL)\n"
                  "        if sys.argv[1] == 'background':\n"
                  "            os.setpgid(0, 0)\n"
                  "            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)\n"
                  "        os.execve(sys.argv[2], ['vflbus'] + sys.argv[3:],\n"
                  "                  dict(os.environ, TERM='xterm', NO_COLOR='1'))\n"
                  "    status = os.waitpid(job, os.WUNTRACED)[1]\n"
                  "    if os.WIFSTOPPED(status):\n"
                  "        os.kill(job, signal.SIGKILL)\n"
                  "        os._exit(99)\n"
                  "    os._exit(os.WEXITSTATUS(status))\n"
                  "while True:\n"
                  "    try: data = os.read(fd, 4096)\n"
                  "    except OSError: break\n"
                  "    if not data: break\n"
                  "    sys.stdout.buffer.write(data)\n"
                  "sys.stdout.flush()\n"
                  "sys.exit(os.WEXITSTATUS(os.waitpid(pid, 0)[1]))\n",
                  with({place, binary()}, words));
}

}  // namespace

TEST_CASE("a broker and a node are looked at by a page of their own process", "[ui]") {
    const TempDir dir;
    const auto page_of = [](Process& process) {
        const std::string mark = "the page is at ";
        REQUIRE(process.await_output(mark, true));
        const std::string said = process.err();
        const std::size_t at = said.find(mark) + mark.size();
        return said.substr(at, said.find_first_of("/\n", at + sizeof "http://") - at);
    };
    const auto get = [](const std::string& url) {
        return ask(url, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    };
    Process broker(dir, {"broker", "--bind", "ipc://" + (dir / "bus"), "--http", "127.0.0.1:0"});
    CHECK(get(page_of(broker)).find("<title>vflbus") != std::string::npos);
    const std::string address = first_endpoint(broker);
    const Finished refused =
        run(dir, {"broker", "--bind", "ipc://" + (dir / "other"), "--http", "0.0.0.0:0"});
    CHECK(refused.exit_code != 0);
    CHECK(refused.err.find("observe.remote=true") != std::string::npos);
    make_example(dir);
    Process member(dir, {"actor", "--role", "member", "--rank", "0", "--broker", address,
                         "--config", "run.toml", "--http", "127.0.0.1:0"});
    CHECK(get(page_of(member)).find("<title>vflbus") != std::string::npos);
    // a page that is gone is missed by the one that has it
    const std::string of_broker = std::to_string(broker.pid());
    const std::string child = slurp("/proc/" + of_broker + "/task/" + of_broker + "/children");
    REQUIRE(!child.empty());
    ::kill(std::stoi(child), SIGKILL);
    CHECK(broker.await_output("was ended by signal 9 (Killed); `vflbus ui` starts another", true));
    member.signal(SIGTERM);
    CHECK(member.wait().exit_code == 0);
    broker.signal(SIGTERM);
    CHECK(broker.wait().exit_code == 0);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a browser is shown nodes, runs and what one run does, and can stop it", "[ui]") {
    const TempDir dir;
    make_example(dir);
    ByHand parties(dir, with(long_enough, {"--set", "model.epochs=20000"}), {}, true);
    parties.start_all();
    REQUIRE(await(*parties.master, [&] { return record(dir.path() / "runs" / run_id).step > 0; }));
    Ui ui(dir, parties.endpoint);

    const std::string page = ui.get("/");
    CHECK(page.starts_with("HTTP/1.1 200"));
    CHECK(page.find("Content-Security-Policy: default-src 'none'; script-src 'self'") !=
          std::string::npos);
    for (const char* elsewhere : {"http://", "https://", "//cdn"})
        for (const char* file : {"/", "/app.js", "/app.css"}) {
            std::string text = ui.get(file);
            // a name, not an address
            if (file == std::string("/app.js"))
                text = replaced(text, "http://www.w3.org/2000/svg", "");
            CHECK(text.find(elsewhere) == std::string::npos);
        }
    CHECK(ui.get("/", "Origin: http://evil.example\r\n").starts_with("HTTP/1.1 403"));
    CHECK(ask(ui.url, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
              .starts_with("HTTP/1.1 403"));

    CHECK(hears(ui, "/events?details=" + run_id,
                all_of({"event: overview", "\"name\": \"member-0\"", "\"name\": \"member-1\"",
                        "\"status\": \"running\"", "\"latency_seconds\": 0.", "event: run",
                        "model.epochs = 20000", "\"compute_us\"", "event: metrics", "event: losses",
                        "event: log"})));

    const std::string stop = "/stop?run=" + run_id;
    const std::string origin = "Origin: http://127.0.0.1\r\n";
    CHECK_FALSE(ui.get(stop).starts_with("HTTP/1.1 200"));
    CHECK(ui.post(stop, origin).starts_with("HTTP/1.1 403"));
    CHECK(ui.post(stop, origin + "X-Vflbus-Action: 00\r\n").starts_with("HTTP/1.1 403"));
    const std::string word = "X-Vflbus-Action: " + ui.action_word() + "\r\n";
    CHECK(ui.post(stop, "Origin: http://evil.example\r\n" + word).starts_with("HTTP/1.1 403"));
    CHECK(ui.post("/stop?run=ff", origin + word).starts_with("HTTP/1.1 400"));
    CHECK_FALSE(parties.master->reap());
    CHECK(ui.post(stop, origin + word).starts_with("HTTP/1.1 200"));
    CHECK(parties.master->wait().exit_code != 0);
    CHECK(hears(ui, "/events", all_of({"\"status\": \"stopped\""})));
    CHECK(ui.post(stop, origin + word).starts_with("HTTP/1.1 409"));
    ui.process.signal(SIGTERM);
    CHECK(ui.process.wait().exit_code == 0);
}

TEST_CASE("without a broker the page shows what lies here, and says so", "[ui]") {
    const TempDir dir;
    make_example(dir);
    REQUIRE(run(dir, launch(dir, "runs", {"--set", "model.epochs=3"})).exit_code == 0);
    const Ui ui(dir, "tcp://127.0.0.1:1",
                {"--token", "--set", "output.runs_dir=" + (dir / "runs")});
    CHECK(ui.get("/").starts_with("HTTP/1.1 401"));
    const std::string token = ui.address.substr(ui.address.find("token=") + 6);
    const std::string let_in = ui.get("/?token=" + token);
    CHECK(let_in.starts_with("HTTP/1.1 303"));
    const std::size_t at = let_in.find("Set-Cookie: ") + 12;
    const std::string cookie = "Cookie: " + let_in.substr(at, let_in.find(';', at) - at) + "\r\n";
    CHECK(ui.get("/", cookie).starts_with("HTTP/1.1 200"));
    CHECK(hears(ui, "/events?curves=" + run_id,
                all_of({"\"answers\": false", "no broker answers at tcp://127.0.0.1:1",
                        "\"status\": \"completed\"", "event: metrics"}),
                cookie));
}

TEST_CASE("an address of others is refused without --remote", "[ui]") {
    const TempDir dir;
    const Finished refused = run(dir, {"ui", "--http", "0.0.0.0:0"});
    CHECK(refused.exit_code != 0);
    CHECK(refused.err.find("--remote") != std::string::npos);
    Process open(dir, {"ui", "--http", "0.0.0.0:0", "--remote"});
    REQUIRE(open.await_output("/?token="));
    CHECK(open.out().starts_with("http://0.0.0.0:"));
    CHECK(open.err().find("put the machine's name in place of 0.0.0.0") != std::string::npos);
    open.signal(SIGTERM);
    CHECK(open.wait().exit_code == 0);
}

TEST_CASE("top writes nodes and runs as plain text into a pipe, and as JSON once", "[ui]") {
    const TempDir dir;
    make_example(dir);
    ByHand parties(dir, with(long_enough, {"--set", "model.epochs=20000"}), {}, true);
    parties.start_all();
    REQUIRE(await(*parties.master, [&] { return record(dir.path() / "runs" / run_id).step > 0; }));
    const Finished text = run(dir, {"top", "--broker", parties.endpoint});
    CHECK(text.exit_code == 0);
    CHECK(text.out.find('\x1b') == std::string::npos);
    for (const char* shown : {"member-0", "member-1", "master", "running", "1 of 1 runs going on"})
        CHECK(text.out.find(shown) != std::string::npos);
    const Finished json = run(dir, {"top", "--broker", parties.endpoint, "--json"});
    CHECK(json.exit_code == 0);
    const Json told = Json::parse(json.out);
    CHECK(told["broker"]["answers"] == true);
    CHECK(told["nodes"].size() == 3);
    CHECK(told["runs"][0]["run_id"] == run_id);
    CHECK(told["runs"][0]["progress"]["step"].get<std::uint64_t>() > 0);
    CHECK(told["nodes"][0]["memory_bytes"].get<std::uint64_t>() > 0);
    CHECK(run(dir, {"top", "--broker", "tcp://127.0.0.1:1"}).exit_code != 0);

    const Words once{"top", "--times", "1", "--broker", parties.endpoint};
    const Finished behind = at_terminal(dir, "background", once);
    INFO(behind.out << behind.err);
    CHECK(behind.exit_code == 0);
    const Finished narrow = at_terminal(dir, "front", once);
    INFO(narrow.out << narrow.err);
    CHECK(narrow.exit_code == 0);
    const std::string clear = "\x1b[J";
    REQUIRE(narrow.out.find(clear) != std::string::npos);
    const std::string picture = narrow.out.substr(narrow.out.rfind(clear) + clear.size());
    CHECK(picture.starts_with(parties.endpoint));
    CHECK(std::ranges::count(picture, '\n') < 10);
    std::istringstream lines(picture);
    for (std::string line; std::getline(lines, line);)
        CHECK(std::ranges::count_if(line, [](char c) {
                  return c != '\r' && (static_cast<unsigned char>(c) & 0xC0) != 0x80;
              }) <= 40);
}
