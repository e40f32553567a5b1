"""`vflbus ui` in a real Chromium, by its driver: what a person would see, and how fast.

Chromium and its driver come from Debian (chromium, chromium-driver). The driver is spoken to over
HTTP as the WebDriver standard has it, so nothing of PyPI is needed.
"""

import base64
import json
import pathlib
import subprocess
import time
import urllib.error
import urllib.request

ENTER, TAB, SPACE = "\ue007", "\ue004", " "
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    def __init__(self, play, port, width=1280, height=900):
        play.start("chromedriver", ["chromedriver", f"--port={port}"])
        self.base = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                self.call("GET", "/status")
                break
            except OSError:
                time.sleep(0.1)
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": ["--headless=new", "--no-sandbox", "--disable-gpu",
                                            "--no-first-run", "--disable-dev-shm-usage",
                                            f"--window-size={width},{height}"]}}}})
        self.session = "/session/" + made["sessionId"]

    def call(self, method, path, body=None):
        data = None if method == "GET" else json.dumps(body or {}).encode()
        asked = urllib.request.Request(self.base + path, data, method=method,
                                       headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=60) as reply:
            return json.loads(reply.read())["value"]

    def do(self, method, path, body=None):
        return self.call(method, self.session + path, body)

    def open(self, url):
        self.do("POST", "/url", {"url": url})

    def js(self, script, *arguments):
        return self.do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def command(self, name, **parameters):
        """One of Chrome's own commands."""
        return self.do("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def keys(self, text):
        actions = []
        for key in text:
            actions += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def screenshot(self, file):
        file.write_bytes(base64.b64decode(self.do("GET", "/screenshot")))

    def complaints(self):
        return [entry for entry in self.do("POST", "/se/log", {"type": "browser"})
                if entry["level"] in ("WARNING", "SEVERE")]

    def close(self):
        self.do("DELETE", "")


CONFIG = """
[run]
seed = 7
world_size = 2
[model]
task = "logistic"
solver = "sgd"
epochs = {epochs}
batch_size = 64
learning_rate = 0.05
report_train_metrics_iteration = 50
report_test_metrics_iteration = 50
[data]
test_fraction = 0.2
[bus]
broker = "{broker}"
rendezvous_timeout = 60
[output]
share_log = "all"
runs_dir = "{runs}"
"""

# every control that somebody may use has to be reached by Tab alone
REACHED = """
const seen = new Set(window.reached || []);
const now = document.activeElement;
if (now && now !== document.body) seen.add(now.id || now.getAttribute('aria-label') || now.getAttribute('aria-labelledby') || now.href || now.textContent);
window.reached = [...seen];
return window.reached;
"""
CONTROLS = """
return [...document.querySelectorAll('a[href], button, select, input, summary, [tabindex="0"]')]
  .filter((one) => one.checkVisibility({checkVisibilityCSS: true}) && !one.disabled)
  .map((one) => one.id || one.getAttribute('aria-label') || one.getAttribute('aria-labelledby') || one.href || one.textContent);
"""


def start_parties(play, epochs):
    """A broker, two members and a master that trains; the broker's address."""
    work = play.work / "ui"
    work.mkdir()
    subprocess.run([play.vflbus, "data", "synth", "--task", "logistic", "--out", work / "data",
                    "--rows", "2000", "--members", "2"], check=True, capture_output=True)
    log = work / "broker.json"
    with open(log, "wb") as out:
        broker = subprocess.Popen([play.vflbus, "broker", "--bind", "tcp://127.0.0.1:0", "--json"],
                                  stdout=out, stderr=subprocess.DEVNULL, start_new_session=True)
    play.processes.append(broker)
    for _ in range(600):
        if log.read_text().strip():
            break
        time.sleep(0.1)
    address = json.loads(log.read_text())["endpoints"][0]
    for party, table in (("master", "bank"), ("member-0", "telecom"), ("member-1", "shop")):
        text = CONFIG.format(broker=address, runs=work / "runs", epochs=epochs)
        text += f'[party.{party}]\nid = "customer_id"\ndata = "{work}/data/{table}.csv"\n'
        text += 'label = "default"\n' if party == "master" else ""
        if party != "master":  # it takes over what the master says
            text = text[text.index("[bus]"):]
        (work / (party + ".toml")).write_text(text)
    for rank in "01":
        play.start("member-" + rank, [play.vflbus, "actor", "--role", "member", "--rank", rank,
                                      "--config", work / f"member-{rank}.toml"])
    return address, work


def train(play, work, name, *more):
    return play.start(name, [play.vflbus, "actor", "--role", "master", "--config",
                             work / "master.toml", *more])


def wait_for(browser, script, what, patience=60):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if answer := browser.js("return " + script):
            return answer
        time.sleep(0.05)
    raise SystemExit(f"FAILED: {what} did not come within {patience} s; the page says: "
                     + browser.js("return document.body.innerText")[:1500])


def keyboard_reaches_all(browser, check, where):
    browser.js("window.reached = []; document.activeElement.blur(); window.scrollTo(0, 0)")
    wanted = set(browser.js(CONTROLS))
    reached = set()
    for _ in range(3 * len(wanted) + 5):
        browser.keys(TAB)
        reached = set(browser.js(REACHED))
        if wanted <= reached:
            break
    check(wanted <= reached, f"{where}: Tab does not reach {sorted(wanted - reached)}")
    return len(wanted)


def how_late(browser, run, check):
    """The longest time, in seconds, between two changes of the steps that the page shows."""
    script = """
const done = arguments[arguments.length - 1];
const cell = document.querySelector('#runs tbody tr[data-key="' + arguments[0] + '"]').cells[3];
const at = [];
const watch = new MutationObserver(() => at.push(performance.now()));
watch.observe(cell, {subtree: true, childList: true, characterData: true, attributes: true});
setTimeout(() => { watch.disconnect(); done(at); }, 5000);
"""
    at = browser.do("POST", "/execute/async", {"script": script, "args": [run]})
    check(len(at) > 4, f"a run's steps are shown {len(at)} times in 5 s")
    return max(b - a for a, b in zip(at, at[1:])) / 1000


def case_ui(play, free_port, check, until):
    address, work = start_parties(play, epochs=4000)
    shots = pathlib.Path(play.shots)
    shots.mkdir(parents=True, exist_ok=True)
    first = train(play, work, "first", "--set", "model.epochs=5")
    check(first.process.wait(timeout=120) == 0, "the first training is completed")
    second = train(play, work, "second", "--set", "model.learning_rate=0.02")
    port, driver = free_port(), free_port() + 7
    command = [play.vflbus, "ui", "--broker", address, "--http", f"127.0.0.1:{port}",
               "--set", f"output.runs_dir={work}/runs"]
    ui = play.start("ui", command)
    page = f"http://127.0.0.1:{port}/"
    until(lambda: urllib.request.urlopen(page, timeout=5).status == 200, 30, "the page")
    size = sum(len(urllib.request.urlopen(page + name, timeout=5).read())
               for name in ("", "app.js", "app.css"))
    check(size < 300_000, f"the page has {size} bytes")
    browser = Browser(play, driver)
    try:
        browser.open("about:blank")
        browser.open(page)
        rows = "document.querySelectorAll('#runs tbody tr').length === 2"
        wait_for(browser, rows, "two runs")
        wait_for(browser, "document.querySelectorAll('#nodes tbody tr').length >= 3", "the nodes")
        opened = browser.js("""
const page = performance.getEntriesByType('navigation')[0];
return (page.loadEventEnd - page.startTime) / 1000""")
        run = wait_for(browser, "[...document.querySelectorAll('#runs tbody tr')]"
                       ".filter((r) => r.cells[2].textContent === 'running').map((r) => r.dataset.key)[0]",
                       "a run that goes on")
        wait_for(browser, "document.querySelectorAll('#curves path').length > 0", "a curve")
        wait_for(browser, "[...document.querySelectorAll('#nodes tbody tr')]"
                 ".some((r) => r.cells[2].textContent.includes('ms'))", "a node's latency")
        late = how_late(browser, run, check)
        controls = keyboard_reaches_all(browser, check, "all runs")
        # both curves over one another
        browser.js("for (const box of document.querySelectorAll('#runs input')) if (!box.checked) box.click()")
        wait_for(browser, "new Set([...document.querySelectorAll('#legend li')]"
                 ".map((item) => item.textContent.trim().slice(0, 8))).size === 2", "two runs' curves")
        browser.screenshot(shots / "wide.png")
        browser.open(page + "#/run/" + run)
        browser.js("document.querySelector('#numbers').closest('details').open = true")
        wait_for(browser, "document.querySelectorAll('#log div').length > 3", "log lines")
        wait_for(browser, "!document.getElementById('timeline-figure').hidden", "the timeline")
        wait_for(browser, "[...document.querySelectorAll('#parties tbody tr')]"
                 ".filter((r) => Number(r.cells[2].textContent) > 0).length === 3",
                 "what each party computes")
        wait_for(browser, "document.querySelectorAll('#config tbody tr').length > 10", "configuration")
        wait_for(browser, "document.querySelectorAll('#numbers tbody tr').length > 3", "numbers")
        browser.js("const other = document.getElementById('other'); other.selectedIndex = 1;"
                   "other.dispatchEvent(new Event('change'))")
        wait_for(browser, "[...document.querySelectorAll('#config tr.different')]"
                 ".some((r) => r.cells[0].textContent === 'model.learning_rate')", "the difference")
        controls += keyboard_reaches_all(browser, check, "one run")
        look(browser, shots)
        stop_by_keyboard(browser)
        check(second.process.wait(timeout=60) != 0, "a run that is stopped is not completed")
        wait_for(browser, "document.getElementById('one-status').textContent.startsWith('stopped')",
                 "the end of the run")
        bad = browser.complaints()
        check(not bad, f"the console says {bad}")
        check(opened < 1, f"the page opens in {opened:.2f} s")
        check(late < 1, f"steps are shown {late:.2f} s apart")
        comes_back(browser, page)
        ui.process.terminate()
        ui.process.wait(timeout=60)
        play.start("ui-again", command)
        wait_for(browser, HEARS, "the page, from another process")
        browser.js("document.getElementById('sure-yes').click()")
        wait_for(browser, "document.getElementById('stop-said').textContent.includes('anew')",
                 "what to do when the page is another process's")
    finally:
        browser.close()
    print(f"ui: {size} bytes, opens in {opened:.2f} s, steps shown at most {late:.2f} s apart, "
          f"{controls} controls by Tab, a run stopped by keyboard, nothing on the console; "
          f"pictures in {shots}")


HEARS = ("document.getElementById('broker').className === 'quiet' && "
         "document.getElementById('broker').textContent.startsWith('tcp://')")


def comes_back(browser, page):
    """A page that was one too many tries again until there is room."""
    browser.open("about:blank")
    streams = []
    while len(streams) < 16:  # the browser's own goes within a second
        try:
            streams.append(urllib.request.urlopen(page + "events", timeout=10))
        except urllib.error.HTTPError:
            time.sleep(0.1)
    browser.open(page)
    wait_for(browser, "document.getElementById('broker').textContent.includes('too many pages')",
             "the refusal of a page too many")
    for stream in streams:
        stream.close()
    wait_for(browser, HEARS, "the page, when there is room")


def look(browser, shots):
    """Pictures of one run: wide, dark, as on a phone."""
    def picture(name):
        time.sleep(0.5)  # for the eye alone
        browser.screenshot(shots / name)
    browser.js("window.scrollTo(0, 0)")
    picture("run-wide.png")
    media = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.command("Emulation.setEmulatedMedia", features=media)
    picture("run-dark.png")
    browser.js("document.getElementById('log-title').scrollIntoView()")
    picture("log-dark.png")
    browser.command("Emulation.setEmulatedMedia", features=[])
    browser.command("Emulation.setDeviceMetricsOverride", width=390, height=844,
                    deviceScaleFactor=2, mobile=True)
    browser.js("window.scrollTo(0, 0)")
    picture("run-phone.png")
    wide = browser.js("return document.documentElement.scrollWidth - window.innerWidth")
    if wide > 1:
        raise SystemExit(f"FAILED: on a phone the page is {wide} pixels too wide")
    browser.js("location.hash = '#/'")
    picture("phone.png")
    browser.js("history.back()")
    browser.command("Emulation.clearDeviceMetricsOverride")


def stop_by_keyboard(browser):
    wait_for(browser, "!document.getElementById('one').hidden && !document.getElementById('stop').disabled",
             "the stop button")
    browser.js("document.getElementById('stop').focus()")
    browser.keys(ENTER)
    wait_for(browser, "document.getElementById('sure').open", "the question whether")
    for _ in range(4):
        if browser.js("return document.activeElement.id === 'sure-yes'"):
            break
        browser.keys(TAB)
    browser.keys(ENTER)
    wait_for(browser, "document.getElementById('stop-said').textContent.includes('told')", "the answer")
