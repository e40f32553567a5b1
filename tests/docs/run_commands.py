#!/usr/bin/env python3
"""Every vflbus command that README, docs and help texts print is run as it is printed.

usage: run_commands.py VFLBUS PARSE SOURCE APPS

VFLBUS is the binary, PARSE a program that only parses a command line, SOURCE the root of the
sources, APPS a directory with echo_client.so and sampling_server.so. A command stands in a block
that is marked `sh`, or below "Examples:" in a help text. It is run in a directory that has what the
pages presuppose: conf/, bank.csv, my.toml, a run 1f0c9a33, ... What needs other machines, podman or
Kubernetes is parsed only (PARSED_ONLY says which); nothing else is left out, and a command that is
new on a page is run without further ado.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

RUN = "1f0c9a33" + "0" * 24  # the run of docs/operating.md and of the help texts
OTHER = "77aa01bc" + "0" * 24
OWN_RUN = "2a6b90ff" + "0" * 24  # of own files
README_RUN = "77fec0546056e3f84ce6135cd801f701"
PATIENCE_S = 120

# -- which are not run, and why -------------------------------------------------------

PARSED_ONLY = [
    (r"10\.0\.0\.[15]", "an address of another machine"),
    (r"--podman( |$)|--podman [0-9]|\bagent\b", "needs podman and an image"),
    (r"prerequisites (start|stop)(?!.*--only-write)", "needs podman and images"),
    (r"bank\.toml|shop\.toml", "a configuration of one's own, on a machine of one's own"),
    (r"vflbus (keys|allow|revoke|members|invite|join)\b|--certificates", "needs keys of several machines"),
    (r"predict --model RUN --data new_bank.csv$", "scores rows of parties on other machines"),
    (r"vflbus preflight\b", "needs the table and the broker that it looks at"),
    (r"--role master --set run.world_size=2", "a line of the guide, which tests/container/containers runs whole"),
    (r"vflbus (audit|approve|refuse|grant)\b", "needs a node with a log of its own, and what waits there"),
    (r"vflbus run trace\b", "needs the traces of several machines"),
    (r"ipc:///run/", "needs a directory of root"),
    (r"VFLBUS_RANK=1 vflbus actor", "its configuration is in VFLBUS_CONFIG"),
]
# These go on until they are stopped.
STAYS = re.compile(r"vflbus (broker|actor|ui)\b(?!.*--help)")
# These are masters themselves.
BY_HAND = re.compile(r"vflbus (check|predict) (?!.*(--local|--threads))")
# What `run show` and its like say of a run that is over is right, whatever its exit code.
ALSO_RIGHT = {"run stop": {5}, "run logs": {0}, "health": {0, 1},
              "prerequisites status": {0, 1}}


def split_remark(line):
    """The command of a line of a page, without the remark behind it."""
    line = re.split(r"\s+#\s", line, maxsplit=1)[0]
    return line.strip()


def commands_of_page(path):
    inside = False
    kept = ""
    for line in open(path, encoding="utf-8"):
        if line.startswith("```"):
            inside = line.strip() == "```sh"
            continue
        if not inside:
            continue
        kept += line.rstrip("\n")
        if kept.endswith("\\"):
            kept = kept[:-1]
            continue
        command, kept = split_remark(kept), ""
        if re.match(r"([A-Z_]+=\S+ +)*vflbus ", command + " "):
            yield command


def commands_of_help(binary):
    """Of all help pages, found by walking through the commands that each names."""

    def page(words):
        return subprocess.run([binary, *words, "--help"], capture_output=True, text=True,
                              check=True).stdout

    def walk(words):
        text = page(words)
        examples = re.search(r"^Examples?:\n((?:  .*\n?)+)", text, re.M)
        if examples is None:
            raise SystemExit(f"the help of `vflbus {' '.join(words)}` has no examples")
        for line in examples.group(1).splitlines():
            command = re.split(r"\s{4,}", line.strip())[0]
            if "vflbus " in command + " ":
                yield command
        below = re.search(r"^Subcommands:\n((?:  .*\n)+)", text, re.M)
        for name in re.findall(r"^  (\S+)", below.group(1), re.M) if below else []:
            yield from walk([*words, name])

    yield from walk([])


# -- what the pages presuppose ----------------------------------------------------------

def write(path, text):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def table(path, header, row):
    lines = [header]
    for i in range(400):
        lines.append(row(i))
    write(path, "\n".join(lines) + "\n")


class World:
    """A directory of its own, and those who run in it."""

    def __init__(self, binary, source, apps):
        self.dir = tempfile.mkdtemp(prefix="vflbus-docs-")
        self.binary = binary
        self.background = []
        os.makedirs(os.path.join(self.dir, "bin"))
        os.symlink(binary, os.path.join(self.dir, "bin", "vflbus"))
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("VFLBUS_")}
        self.env["PATH"] = os.path.join(self.dir, "bin") + ":" + self.env["PATH"]
        # the address that the pages use is the default, which this machine may use otherwise
        self.env["VFLBUS_BROKER"] = "ipc://" + os.path.join(self.dir, "bus")
        self.env["VFLBUS_BUS_RENDEZVOUS_TIMEOUT"] = "60"
        os.chdir(self.dir)
        shutil.copytree(os.path.join(source, "conf"), "conf")
        self.must("vflbus data synth --task logistic --out data/logistic --rows 400 --predict-files")
        text = open("conf/logistic.toml", encoding="utf-8").read().replace("../data", "data")
        text = re.sub(r'(data = "data/logistic/(\w+)\.csv")',
                      r'\1\npredict_data = "data/logistic/\2_predict.csv"', text)
        for name in ("my.toml", "mine.toml"):
            write(name, text)
        table("bank.csv", "id,customer_id,y,income", lambda i: f"u{i},u{i},{i % 2},{i * 7 % 31}")
        table("shop.csv", "id,customer_id,spent", lambda i: f"u{i},u{i},{i * 5 % 17 + i % 2}")
        for name in ("client.so", "build/client.so"):
            os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
            shutil.copy(os.path.join(apps, "echo_client.so"), name)
        for name in ("server.so", "build/server.so"):
            shutil.copy(os.path.join(apps, "sampling_server.so"), name)
        self.must("vflbus launch --local --data bank.csv --data shop.csv --label y "
                  f"--id customer_id --run-id {OWN_RUN}")
        for run in (RUN, OTHER, README_RUN):
            self.must(f"vflbus launch --local --config my.toml --run-id {run} "
                      "--set model.epochs=1")
            shutil.copytree(os.path.join("runs", run), os.path.join("saved", run))

    def restore(self):
        """Brings back the runs that an example has removed."""
        for run in (RUN, OTHER, README_RUN):
            if not os.path.exists(os.path.join("runs", run)):
                shutil.copytree(os.path.join("saved", run), os.path.join("runs", run))

    def must(self, command):
        done = subprocess.run(["sh", "-c", command], env=self.env, capture_output=True, text=True,
                              timeout=PATIENCE_S)
        if done.returncode != 0:
            raise SystemExit(f"setting up: {command}\n{done.stdout}{done.stderr}")

    def start(self, command):
        process = subprocess.Popen(["sh", "-c", "exec " + command], env=self.env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        self.background.append(process)
        return process

    def serve(self):
        """A broker, two members and a master that waits for submissions, as in docs/operating.md."""
        self.start("vflbus broker --state-dir registry")
        for rank, name in enumerate(("telecom", "shop")):
            self.start(f"vflbus actor --role member --rank {rank} "
                       f"--config conf/parties/member-{rank}.toml "
                       f"--set party.member-{rank}.predict_data=data/logistic/{name}_predict.csv")
        self.master = self.start(
            "vflbus actor --role master --serve --config conf/parties/master.toml "
            "--set party.master.predict_data=data/logistic/bank_predict.csv")
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            nodes = subprocess.run(["vflbus", "nodes", "--json"], env=self.env,
                                   capture_output=True, text=True)
            if nodes.stdout.count('"up"') >= 3:
                return
            time.sleep(0.2)
        raise SystemExit("the nodes did not come")

    def end_master(self):
        """Its name is free for a master that is started by hand."""
        if self.master.poll() is None:
            self.master.send_signal(signal.SIGTERM)
            self.master.wait(timeout=60)

    def end(self):
        for process in reversed(self.background):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.background):
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
        self.background.clear()

    def close(self):
        self.end()
        os.chdir("/")
        shutil.rmtree(self.dir, ignore_errors=True)


# -- running ----------------------------------------------------------------------------

def concrete(command):
    """Placeholders as a user would fill them in."""
    return (command.replace("1f0c9a33...", RUN).replace("<run_id>", RUN)
            .replace("runs/77fe...", "runs/" + README_RUN))


def minds_signals(pid):
    """Whether it is so far that SIGTERM ends it in order."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            caught = re.search(r"^SigCgt:\s*(\w+)", file.read(), re.M)
    except OSError:
        return False
    return caught is not None and int(caught.group(1), 16) >> (signal.SIGTERM - 1) & 1 == 1


def stays_up(world, command):
    """Whether it comes up, or has ended well; and ends well when told to."""
    process = world.start(command)
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and not minds_signals(process.pid):
        if time.monotonic() > until:
            process.kill()
            return "did not come up"
        time.sleep(0.05)
    early = process.poll()
    if early is not None and early != 0:
        return f"ended at once with exit code {early}"
    if early is None:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            return "did not end by SIGTERM"
        if code not in (0, 130):
            return f"ended with exit code {code}"
    return None


def run(world, command):
    right = {0}
    for words, codes in ALSO_RIGHT.items():
        if f"vflbus {words}" in command:
            right = right | codes
    try:
        done = subprocess.run(["sh", "-c", command], env=world.env, capture_output=True,
                              text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return "did not end"
    if done.returncode in right:
        return None
    return f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"


def parses(parse, command):
    words = shlex.split(concrete(command))
    while words and "=" in words[0]:
        words.pop(0)
    for at, word in enumerate(words):  # what follows is the shell's
        if word in (">", "|", "&", ";"):
            words = words[:at]
            break
    done = subprocess.run([parse, *words[1:]], capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr.strip()


def main():
    binary, parse, source, apps = (os.path.abspath(word) for word in sys.argv[1:5])
    pages = [os.path.join(source, "README.md"), os.path.join(source, "examples/multi_run/README.md")]
    pages += sorted(os.path.join(source, "docs", name) for name in os.listdir(source + "/docs")
                    if name.endswith(".md"))
    commands = {}
    for page in pages:
        for command in commands_of_page(page):
            commands.setdefault(command, os.path.relpath(page, source))
    if len(commands) < 30:
        raise SystemExit(f"only {len(commands)} commands were found on the pages")
    for command in commands_of_help(binary):
        commands.setdefault(command, "help")

    failures = []
    run_count = 0
    world = World(binary, source, apps)
    try:
        world.serve()
        # what a person does by hand in place of the serving master comes after it, and what stays
        # comes last, when the nodes of its name are gone
        order = sorted(commands.items(), key=lambda item: (bool(STAYS.search(item[0])),
                                                           bool(BY_HAND.search(item[0]))))
        serving = True
        for command, where in order:
            wrong = parses(parse, command)
            why = next((why for pattern, why in PARSED_ONLY if re.search(pattern, command)), None)
            if wrong is None and why is None:
                run_count += 1
                world.restore()
                if STAYS.search(command):
                    if serving:
                        world.end()
                        serving = False
                    wrong = stays_up(world, concrete(command))
                else:
                    if BY_HAND.search(command):
                        world.end_master()
                    wrong = run(world, concrete(command))
            if wrong is not None:
                failures.append(f"{where}: {command}\n    {wrong}")
    finally:
        world.close()
    print(f"{len(commands)} commands, {run_count} of them run, {len(failures)} wrong")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
