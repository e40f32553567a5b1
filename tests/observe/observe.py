#!/usr/bin/env python3
"""./dev observe: what vflbus tells real observers, compared number by number.

A training is watched by a real MLflow server, TensorBoard's own reader, Debian's prometheus, and a
person with Debian's chromium (ui.py).
MLflow and TensorBoard come from PyPI into a virtual environment (--venv, made when it is not there);
everything listens at loopback. Each case says what it compared; the first difference ends it with 1.
"""

import argparse
import csv
import json
import math
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONITORING = ROOT / "container" / "monitoring"


def free_port(count=1):
    """The first of so many ports in a row that nobody has now."""
    for base in range(21000, 60000, 17):
        sockets = []
        try:
            for port in range(base, base + count):
                taken = socket.socket()
                sockets.append(taken)
                taken.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for taken in sockets:
                taken.close()
    raise SystemExit("no free ports")


def check(condition, sentence):
    if not condition:
        raise SystemExit("FAILED: " + sentence)


def get(url, patience=10):
    with urllib.request.urlopen(url, timeout=patience) as reply:
        return reply.read().decode()


def until(ask, patience, what):
    """The first true answer of `ask`; what fails meanwhile is tried again."""
    end = time.monotonic() + patience
    last = None
    while time.monotonic() < end:
        try:
            answer = ask()
            if answer:
                return answer
        except Exception as error:  # not there yet
            last = error
        time.sleep(0.3)
    raise SystemExit(f"FAILED: {what} did not come within {patience} s ({last})")


class Server:
    """A process that is ended with us."""

    def __init__(self, command, log, env=None):
        self.log = open(log, "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=env,
                                        start_new_session=True)

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()


def sets(**keys):
    words = []
    for key, value in keys.items():
        words += ["--set", key.replace("__", ".") + "=" + str(value)]
    return words


class Play:
    def __init__(self, arguments, work):
        self.vflbus = arguments.vflbus
        self.venv = pathlib.Path(arguments.venv)
        self.work = pathlib.Path(work)
        self.shots = arguments.pictures
        self.servers = []
        self.processes = []  # without a log of their own

    def start(self, name, command, env=None):
        server = Server(command, self.work / (name + ".log"), env)
        self.servers.append(server)
        return server

    def train(self, name, *more, code=0, **keys):
        """The report of a training, and what was said on standard error."""
        settings = dict(model__solver="sgd", model__epochs=20, data__test_fraction=0.2,
                        model__report_test_metrics_iteration=50, run__experiment_label="credit",
                        observe__mlflow__wait=120, output__runs_dir=self.work / "runs" / name)
        settings.update(keys)
        command = [self.vflbus, "launch", "--local", "2", "--json", *more, *sets(**settings)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.work, timeout=300)
        check(done.returncode == code, f"{name} exits with {done.returncode}: {done.stderr[-800:]}")
        return json.loads(done.stdout), done.stderr

    def mlflow(self, port):
        server = self.start("mlflow", [
            self.venv / "bin" / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{self.work}/mlflow.db",
            "--artifacts-destination", str(self.work / "artifacts")])
        until(lambda: get(f"http://127.0.0.1:{port}/health") == "OK", 120, "MLflow")
        return server

    def python(self, script, *arguments):
        done = subprocess.run([self.venv / "bin" / "python", "-c", script, *map(str, arguments)],
                              capture_output=True, text=True, timeout=300,
                              env=dict(os.environ, MLFLOW_ALLOW_FILE_STORE="true"))
        check(done.returncode == 0, done.stderr[-1500:])
        return json.loads(done.stdout.strip().splitlines()[-1])


READ_MLFLOW = """
import json, sys, mlflow
from mlflow.tracking import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name(sys.argv[2])
runs = client.search_runs([experiment.experiment_id], "tags.`vflbus.run_id` = '%s'" % sys.argv[3])
assert len(runs) == 1, "%d runs of MLflow" % len(runs)
run = runs[0]
history = {key: [[m.step, m.value] for m in client.get_metric_history(run.info.run_id, key)]
           for key in run.data.metrics}
files = {}
def walk(path):
    for f in client.list_artifacts(run.info.run_id, path):
        walk(f.path) if f.is_dir else files.__setitem__(f.path, f.file_size)
walk("")
print(json.dumps(dict(status=run.info.status, name=run.info.run_name, params=run.data.params,
                      tags=run.data.tags, history=history, files=files)))
"""

READ_TENSORBOARD = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0})
events.Reload()
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)]
                  for tag in events.Tags()["scalars"]}))
"""


def expected_metrics(report, joined):
    """{name: [[step, value]]} as the report's history has them."""
    out = {}
    for entry in report["history"]:
        for name, value in entry["metrics"].items():
            key = entry["split"].replace(" ", "_") + joined + name
            out.setdefault(key, []).append([entry["step"], value])
    return out


def compare_history(seen, report, joined, tolerance):
    expected = expected_metrics(report, joined)
    check(expected, "the report has a history")
    for key, values in expected.items():
        check(key in seen, f"{key} is not there; there are {sorted(seen)}")
        got = sorted(seen[key])
        check(len(got) == len(values), f"{key} has {len(got)} values, not {len(values)}")
        for (step, value), (step_there, value_there) in zip(sorted(values), got):
            check(step == step_there, f"{key} has step {step_there}, not {step}")
            check(math.isclose(value, value_there, rel_tol=tolerance, abs_tol=tolerance),
                  f"{key} at step {step} is {value_there}, not {value}")
    steps = [step for step, _ in sorted(seen["loss"])]
    check(steps == list(range(1, report["steps"] + 1)),
          f"the loss is there of {len(steps)} steps, not of each of {report['steps']} once")
    return sum(len(values) for values in expected.values()) + len(steps)


def compare_mlflow(play, uri, report):
    seen = play.python(READ_MLFLOW, uri, "credit", report["run_id"])
    numbers = compare_history(seen["history"], report, "_", 1e-15)
    check(seen["status"] == "FINISHED", f"the run is {seen['status']}")
    for key, value in dict(batch_size="256", members_count="2", is_consequently="False",
                           model_name="logistic", exp_uid=report["run_id"], learning_rate="0.1",
                           ds_size=str(report["rows"]["common"]),
                           epochs=str(report["epochs"])).items():
        check(seen["params"].get(key) == value,
              f"parameter {key} is {seen['params'].get(key)}, not {value}")
    for key, value in report["configuration"].items():
        shown = seen["params"].get(key)
        check(shown is not None, f"parameter {key} is missing")
    check(seen["tags"]["vflbus.config_hash"] == report["config_hash"], "the tag of the hash")
    check(seen["tags"]["vflbus.parties"] == "master, member-0, member-1", "the tag of the parties")
    check({"report.json", "agreed.txt", "model/model.json"} <= set(seen["files"]),
          f"files are {sorted(seen['files'])}")
    return numbers


def case_mlflow(play):
    port = free_port()
    server = play.mlflow(port)
    uri = f"http://127.0.0.1:{port}"
    report, _ = play.train("mlflow", observe__mlflow__uri=uri)
    print(f"mlflow: {compare_mlflow(play, uri, report)} numbers are equal")

    files = "file:" + str(play.work / "mlruns")
    report, _ = play.train("mlflow-files", observe__mlflow__uri=files)
    print(f"mlflow, file store: {compare_mlflow(play, files, report)} numbers are equal")

    # stopped in the middle, and gone on with
    name = "mlflow-resumed"
    runs = play.work / "runs" / name
    command = [play.vflbus, "launch", "--local", "2", "--json", *sets(
        model__solver="sgd", model__epochs=2000, data__test_fraction=0.2,
        model__report_test_metrics_iteration=500, run__experiment_label="credit",
        output__runs_dir=runs, bus__commit_interval=0.2, observe__mlflow__wait=120,
        observe__mlflow__uri=uri)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             cwd=play.work)
    until(lambda: any(json.loads(p.read_text())["run_id"] and json.loads(p.read_text())["last_steps"]
                      for p in runs.glob("*/master/mlflow.json")), 60, "the first values")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=150)
    check(first.returncode == 130, f"a stopped training exits with {first.returncode}")
    run = next(runs.glob("*/master/mlflow.json")).parents[1].name
    done = subprocess.run([play.vflbus, "launch", "--local", "--resume", run, "--json",
                           "--set", f"output.runs_dir={runs}"],
                          capture_output=True, text=True, cwd=play.work, timeout=300)
    check(done.returncode == 0, done.stderr[-800:])
    report = json.loads(done.stdout)
    seen = play.python(READ_MLFLOW, uri, "credit", report["run_id"])
    every = 1 + report["steps_planned"] // 2000
    steps = [step for step, _ in sorted(seen["history"]["loss"])]
    check(steps == [s for s in range(1, report["steps"] + 1)
                    if s % every == 0 or s == report["steps"]],
          "a training that was gone on with has each step once, in one run of MLflow")
    check(seen["status"] == "FINISHED", f"the run is {seen['status']}")
    print(f"mlflow, stopped and gone on with: one run, {len(steps)} losses, each once")

    # frozen: it accepts and never answers
    plain = min(play.train("plain")[0]["train_seconds"] for _ in range(3))
    server.signal(signal.SIGSTOP)
    silent = [play.train("silent", observe__mlflow__uri=uri, observe__mlflow__wait=1)
              for _ in range(3)]
    seconds = min(report["train_seconds"] for report, _ in silent)
    check("did not arrive" in silent[0][1], "what did not arrive is said: " + silent[0][1][-300:])
    check(seconds < 1.3 * plain + 0.2, f"{seconds:.2f} s with a silent server, {plain:.2f} without")
    server.signal(signal.SIGCONT)
    until(lambda: get(f"http://127.0.0.1:{port}/health") == "OK", 60, "MLflow again")
    report = silent[0][0]
    again = subprocess.run([play.vflbus, "launch", "--local", "--resume", report["run_id"], "--json",
                            "--set", f"output.runs_dir={play.work / 'runs' / 'silent'}",
                            "--set", "observe.mlflow.wait=120"],
                           capture_output=True, text=True, cwd=play.work, timeout=200)
    check(again.returncode == 0, again.stderr[-500:])
    numbers = compare_mlflow(play, uri, report)
    killed_in_the_middle(play, server, port, uri)
    print(f"mlflow, silent server: {seconds:.2f} s of training ({plain:.2f} without), said what is "
          f"missing; after --resume {numbers} numbers are equal")


def killed_in_the_middle(play, server, port, uri):
    """SIGKILL while a training logs there; started again before its end, it lacks nothing."""
    runs = play.work / "runs" / "killed"
    training = subprocess.Popen(
        [play.vflbus, "launch", "--local", "2", "--json", *sets(
            model__solver="sgd", model__epochs=2000, data__test_fraction=0.2,
            model__report_test_metrics_iteration=500, run__experiment_label="credit",
            output__runs_dir=runs, observe__mlflow__wait=120, observe__mlflow__uri=uri)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=play.work)
    until(lambda: any(json.loads(p.read_text())["run_id"] and json.loads(p.read_text())["last_steps"]
                      for p in runs.glob("*/master/mlflow.json")), 60, "the first values")
    server.stop()
    again = play.mlflow(port)
    out, said = training.communicate(timeout=300)
    check(training.returncode == 0, said[-800:])
    check("did not arrive" not in said, "everything has arrived: " + said[-400:])
    report = json.loads(out)
    seen = play.python(READ_MLFLOW, uri, "credit", report["run_id"])
    every = 1 + report["steps_planned"] // 2000
    steps = sorted({step for step, _ in seen["history"]["loss"]})
    check(steps == [s for s in range(1, report["steps"] + 1)
                    if s % every == 0 or s == report["steps"]],
          f"of the losses {len(steps)} are there")
    check(seen["status"] == "FINISHED", f"the run is {seen['status']}")
    print(f"mlflow, killed in the middle and started again: {len(steps)} losses, none is missing")
    again.stop()


def case_report(play):
    """The report of a run with 1,000,000 evaluated rows."""
    tables = play.work / "million"
    subprocess.run([play.vflbus, "data", "synth", "--task", "logistic", "--out", tables,
                    "--rows", "1300000", "--members", "1", "--quiet"], check=True)
    runs = play.work / "runs" / "million"
    config = tables / "million.toml"
    parties = {"master": "bank.csv", "member-0": "telecom.csv"}
    config.write_text("".join(
        f'[party.{name}]\nid = "customer_id"\ndata = "{tables / file}"\n'
        + ('label = "default"\n' if name == "master" else "") for name, file in parties.items()))
    done = subprocess.run([play.vflbus, "launch", "--local", "1", "--config", config, "--json", *sets(
        run__world_size=1, model__task="logistic", output__runs_dir=runs)], capture_output=True,
        text=True, cwd=play.work, timeout=600)
    check(done.returncode == 0, done.stderr[-800:])
    report = json.loads(done.stdout)
    page = play.work / "million.html"
    took = []
    worked = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(5):
        begun = time.monotonic()
        subprocess.run([play.vflbus, "report", report["run_id"], "--out", page, "--set",
                        f"output.runs_dir={runs}", "--quiet"], check=True, cwd=play.work,
                       stdout=subprocess.DEVNULL)
        took.append(time.monotonic() - begun)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (ended.ru_utime + ended.ru_stime - worked.ru_utime - worked.ru_stime) / len(took)
    told = json.loads(subprocess.run(
        [play.vflbus, "report", report["run_id"], "--json", "--set", f"output.runs_dir={runs}"],
        check=True, cwd=play.work, capture_output=True, text=True).stdout)
    check(told["evaluated_rows"] >= 1_000_000, f"{told['evaluated_rows']} rows are evaluated")
    size = page.stat().st_size
    check(size < 1e6, f"the page has {size} bytes")
    seconds = sorted(took)[len(took) // 2]
    print(f"report: {told['evaluated_rows']} rows, {seconds:.2f} s (bar 2; {cpu:.2f} s "
          f"of the processor), {size} bytes (bar 1,000,000)")
    check(seconds < 2, f"the report took {seconds:.2f} s")


def case_tensorboard(play):
    report, _ = play.train("tensorboard", observe__tensorboard=play.work / "tb")
    seen = play.python(READ_TENSORBOARD, play.work / "tb" / report["run_id"])
    numbers = compare_history(seen, report, "/", 1e-6)  # TensorBoard has floats of 32 bits
    print(f"tensorboard: {numbers} numbers are equal")


def case_trace(play):
    trace = play.work / "trace.json"
    report, _ = play.train("trace", "--trace", str(trace))
    events = json.loads(trace.read_text())["traceEvents"]
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    check(sorted(names.values()) == ["master", "member-0", "member-1"], f"parties are {names}")
    slices = [e for e in events if e["ph"] == "X"]
    asked = {pid: [] for pid in names}
    for number, member in enumerate(["member-0", "member-1"]):
        pid = next(p for p, name in names.items() if name == member)
        inside = sorted((e["ts"], e["ts"] + e["dur"]) for e in slices
                        if e["pid"] == pid and e["name"] == "step")
        outside = sorted((e["ts"], e["ts"] + e["dur"]) for e in slices
                         if e["pid"] == 1 and e["tid"] == 10 + number and e["name"] == "step")
        check(len(inside) == len(outside) == report["steps"],
              f"{member}: {len(inside)} handled, {len(outside)} asked, of {report['steps']} steps")
        slack = 200  # microseconds between the readings of two clocks
        fits = sum(a - slack <= b and c <= d + slack
                   for (b, c), (a, d) in zip(inside, outside))
        check(fits == len(inside), f"{member}: {len(inside) - fits} steps lie outside of their request")
    print(f"trace: {len(slices)} slices, every step of a member lies within its master's request")


def queries_of_dashboard():
    board = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "15s")


def case_prometheus(play):
    base = free_port(5)
    config = (MONITORING / "prometheus.yml").read_text().replace("5s", "1s")
    for i in range(4):
        config = config.replace(f"127.0.0.1:{9464 + i}", f"127.0.0.1:{base + i}")
    (play.work / "prometheus.yml").write_text(config)
    shutil.copy(MONITORING / "rules.yml", play.work / "rules.yml")
    for what, name in (("config", "prometheus.yml"), ("rules", "rules.yml")):
        done = subprocess.run(["promtool", "check", what, str(play.work / name)],
                              capture_output=True, text=True)
        check(done.returncode == 0, done.stdout + done.stderr)
    port = base + 4
    play.start("prometheus", ["prometheus", f"--config.file={play.work}/prometheus.yml",
                              f"--storage.tsdb.path={play.work}/tsdb",
                              f"--web.listen-address=127.0.0.1:{port}"])
    url = f"http://127.0.0.1:{port}"
    until(lambda: get(url + "/-/ready"), 60, "Prometheus")
    training = subprocess.Popen(
        [play.vflbus, "launch", "--local", "2", "--json", "--metrics", f"127.0.0.1:{base}",
         *sets(model__solver="sgd", model__epochs=1_000_000, run__experiment_label="credit",
               model__report_train_metrics_iteration=500, data__test_fraction=0.2,
               bus__commit_interval=0.5, output__runs_dir=play.work / "runs" / "prometheus")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=play.work)
    try:
        for place in range(4):
            page = until(lambda: get(f"http://127.0.0.1:{base + place}/metrics"), 60, "metrics")
            lint = subprocess.run(["promtool", "check", "metrics"], input=page, text=True,
                                  capture_output=True)
            check(lint.returncode == 0, f"promtool on port {place}: {lint.stdout}{lint.stderr}")

        def value_of(query):
            answer = json.loads(get(url + "/api/v1/query?query=" + urllib.parse.quote(query)))
            return answer["data"]["result"]

        until(lambda: len(value_of("up == 1")) == 4, 60, "all four targets")
        count = 0
        for title, query in queries_of_dashboard():
            until(lambda: value_of(query), 90, f"data for \"{title}\": {query}")
            count += 1
        steps = float(value_of("vflbus_steps_total")[0]["value"][1])
        tasks = value_of('vflbus_task_execution_seconds_count{task="step",party="member-0"}')
        check(abs(float(tasks[0]["value"][1]) - steps) <= 2 + 0.01 * steps,
              "a member has executed as many steps as were done")
        print(f"prometheus: 4 targets, {count} queries of the dashboard have data, "
              f"promtool finds nothing")
    finally:
        training.send_signal(signal.SIGINT)
        try:
            training.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            training.kill()


def case_ui(play):
    import ui
    ui.case_ui(play, free_port, check, until)


CASES = {"ui": case_ui, "prometheus": case_prometheus, "tensorboard": case_tensorboard, "trace": case_trace,
         "report": case_report, "mlflow": case_mlflow}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vflbus", required=True)
    parser.add_argument("--venv", required=True)
    parser.add_argument("--pictures", default="build/observe-ui", help="where those of `ui` go")
    parser.add_argument("cases", nargs="*", help="of " + ", ".join(CASES))
    arguments = parser.parse_args()
    arguments.cases = arguments.cases or list(CASES)
    if unknown := set(arguments.cases) - set(CASES):
        parser.error("no case " + ", ".join(sorted(unknown)))
    arguments.vflbus = str(pathlib.Path(arguments.vflbus).resolve())
    venv = pathlib.Path(arguments.venv)
    if not (venv / "bin" / "mlflow").exists() and {"mlflow", "tensorboard"} & set(arguments.cases):
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "-q", "mlflow", "tensorboard"],
                       check=True)
    with tempfile.TemporaryDirectory(prefix="vflbus-observe-") as work:
        play = Play(arguments, work)
        try:
            for name in arguments.cases:
                CASES[name](play)
        finally:
            for server in play.servers:
                server.stop()
            for process in play.processes:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
