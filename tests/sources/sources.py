#!/usr/bin/env python3
"""./dev sources: databases as sources of tables, against a real PostgreSQL server.

The server is Debian's, with a database of its own in a directory that is removed afterwards; it
listens at loopback and at a socket in that directory. Each case says what it found; the first
difference ends it with 1.
"""

import argparse
import contextlib
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SECRET = "sesame-8461"


def check(condition, sentence):
    if not condition:
        raise SystemExit("FAILED: " + sentence)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """A PostgreSQL that only this process knows of. It refuses to run as root, so root hands it over
    to the user that Debian's package has made."""

    def __init__(self, programs, directory):
        self.programs = programs
        self.directory = directory
        self.port = free_port()
        self.data = directory / "data"
        self.owner = "postgres" if os.geteuid() == 0 else None
        os.chmod(directory, 0o755)
        if self.owner:
            shutil.chown(directory, self.owner)
        self.run("initdb", "-D", self.data, "-U", "owner", "-A", "trust", "-E", "UTF8",
                 "--no-sync", "--locale=C")
        with open(self.data / "pg_hba.conf", "w") as rules:
            rules.write("local all all trust\nhost all secret 127.0.0.1/32 scram-sha-256\n"
                        "host all all 127.0.0.1/32 trust\n")
        with open(self.data / "postgresql.conf", "a") as settings:
            settings.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nfsync = off\n"
                           f"unix_socket_directories = '{directory}'\n")
        self.run("pg_ctl", "-D", self.data, "-l", directory / "log", "-w", "start")

    def run(self, program, *words):
        command = [str(self.programs / program), *map(str, words)]
        if self.owner:
            command = ["setpriv", f"--reuid={self.owner}", "--regid=postgres", "--clear-groups",
                       *command]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.directory,
                              timeout=120)
        check(done.returncode == 0, f"{program}: {done.stderr or done.stdout}")
        return done.stdout

    def sql(self, text):
        return self.run("psql", "-h", self.directory, "-p", self.port, "-U", "owner", "-d",
                        "postgres", "-v", "ON_ERROR_STOP=1", "-At", "-c", text)

    def location(self, query, user="owner"):
        return f"postgresql://{user}@127.0.0.1:{self.port}/postgres?query={query}"

    def pid(self):
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid(), signal.SIGCONT)
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")


class Binary:
    def __init__(self, path, directory):
        self.path = str(pathlib.Path(path).resolve())
        self.directory = directory
        self.said = ""

    def run(self, *words, seconds=60, **environment):
        done = subprocess.run([self.path, *words], capture_output=True, text=True,
                              cwd=self.directory, timeout=seconds,
                              env={**os.environ, **environment})
        self.said += done.stdout + done.stderr
        return done

    def refused(self, location, **environment):
        """The one sentence in which a table is refused."""
        done = self.run("data", "inspect", location, **environment)
        check(done.returncode != 0, f"{location} was read")
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        check(len(lines) == 1, f"more than one line about {location}: {lines}")
        return lines[0]


def inspected(binary, location, **environment):
    done = binary.run("data", "inspect", location, "--json", **environment)
    check(done.returncode == 0, done.stderr)
    return json.loads(done.stdout)


def weights(directory, run):
    out = []
    for part in sorted(directory.glob(f"{run}/*/model.json")):
        model = json.loads(part.read_text())
        out.append((part.parent.name, model["weights"], model["intercept"]))
    return out


def case_same_model(binary, server):
    """A training on tables of the server has the model of one on the same CSV files, bit for bit."""
    binary.run("data", "synth", "--out", "files", "--rows", "3000")
    directory = binary.directory
    for party in ("bank", "telecom"):
        path = directory / "files" / f"{party}.csv"
        header, rows = path.read_text().split("\n", 1)
        kinds = {}
        for line in rows.splitlines():
            for name, cell in zip(header.split(","), line.split(",")):
                if cell and not re.fullmatch(r"-?[0-9.]+", cell):
                    kinds[name] = "text"
        columns = ", ".join(f'"{n}" {kinds.get(n, "float8")}' for n in header.split(","))
        server.sql(f"create table {party} ({columns})")
        server.sql(f"copy {party} from '{path}' with (format csv, header)")
    train = ["launch", "--threads", "--label", "default", "--id", "customer_id", "--json"]
    ran = {}
    for name, tables in (("files", ["files/bank.csv", "files/telecom.csv"]),
                         ("server", [server.location("select * from bank"),
                                     server.location("select * from telecom")])):
        done = binary.run(*train, "--data", tables[0], "--data", tables[1], "--set", f"output.runs_dir={name}")
        check(done.returncode == 0, done.stderr)
        ran[name] = weights(directory / name, json.loads(done.stdout)["run_id"])
    check(ran["files"] and ran["files"] == ran["server"], "the models differ")
    return f"{len(ran['files'])} parts with equal weights"


def case_rows(binary, server):
    """NULL, text of any kind, and numbers to the last bit; a million rows."""
    server.sql("create table odd (id text, x float8, note text, gone int);"
               "insert into odd values ('a', 0.1, 'one, \"two\"', 1), "
               "('b', 0.30000000000000004, E'three\\nfour', null), ('c', 1e-300, null, 3)")
    seen = inspected(binary, server.location("select * from odd"))
    missing = {column["name"]: column["missing"] for column in seen["columns"]}
    check(seen["rows"] == 3 and missing == {"id": 0, "x": 0, "note": 1, "gone": 1}, str(seen))
    begun = time.monotonic()
    seen = inspected(binary, server.location(
        "select i as id, i * 0.5 as x, i % 7 as y from generate_series(1, 1000000) i"))
    check(seen["rows"] == 1000000, str(seen))
    return f"1,000,000 rows in {time.monotonic() - begun:.1f} s"


def case_refusals(binary, server):
    """What the server refuses is one sentence."""
    for query, words in (
            ("select * from nowhere", 'relation "nowhere" does not exist'),
            ("select 1 as id; select 2", "cannot insert multiple commands"),
            ("delete from odd returning id", "read-only transaction"),
            ("create table mine (id int)", "read-only transaction"),
            ("commit", "gives no rows"),
            ("select 1000 / (500 - i) as id from generate_series(1, 1000) i",
             "failed while its rows were read: ERROR:  division by zero"),
            ("select 1 as id, 2 as id", "two columns of its query are called 'id'")):
        refusal = binary.refused(server.location(query))
        check(words in refusal, f"{query}: {refusal}")
    check(server.sql("select count(*) from odd").strip() == "3", "a row is gone")
    return "7 queries"


def case_schema(binary, server):
    """A column that goes between the training and the prediction is missed by name."""
    train = binary.run("launch", "--threads", "--data", server.location("select * from bank"),
                       "--data", server.location("select * from telecom"), "--label", "default",
                       "--id", "customer_id", "--json", "--set", "output.runs_dir=schema")
    check(train.returncode == 0, train.stderr)
    gone = server.sql("select column_name from information_schema.columns where table_name = "
                      "'telecom' and data_type = 'double precision' limit 1").strip()
    server.sql(f"alter table telecom drop column {gone}")
    done = binary.run("predict", "--threads", "--model",
                      "schema/" + json.loads(train.stdout)["run_id"],
                      "--data", server.location("select * from bank"),
                      "--data", server.location("select * from telecom"), "--out", "-")
    check(done.returncode != 0 and gone in done.stderr, f"{gone}: {done.stderr}")
    return f"'{gone}' is missed"


def case_closes(binary, server):
    """A server that closes the connection in the middle."""
    begun = time.monotonic()
    refusal = binary.refused(server.location(
        "select i as id, case when i = 5000 then pg_terminate_backend(pg_backend_pid()) end as x "
        "from generate_series(1, 10000) i"))
    check("closed the connection" in refusal or "terminating connection" in refusal, refusal)
    check(time.monotonic() - begun < 20, "it took too long")
    server.sql("select 1")
    return refusal.split(": ", 1)[1]


def case_silent(binary, server):
    """A server that stops answering, before it is connected to and in the middle of its rows."""
    config = binary.directory / "silent.toml"

    def write(query):
        config.write_text("\n".join([
            "[party.member-0]", f"data = \"{server.location(query)}\"", "id = \"id\"",
            "source_timeout = 3", "[party.master]", "data = \"files/bank.csv\"",
            "id = \"customer_id\"", "label = \"default\"", "source_timeout = 3",
            "[run]", "world_size = 1", ""]))

    found = []
    for place in ("in the middle", "at the beginning"):
        write("select i as id, pg_sleep(0.001) as x from generate_series(1, 10000000) i"
              if place == "in the middle" else "select 1 as id")
        postmaster = server.pid()
        if place == "at the beginning":
            os.kill(postmaster, signal.SIGSTOP)
        begun = time.monotonic()
        try:
            done = binary.run("launch", "--threads", "--config", "silent.toml", seconds=60)
        finally:
            os.kill(postmaster, signal.SIGCONT)
        took = time.monotonic() - begun
        check(done.returncode != 0 and "did not answer within 3.00 s" in done.stderr + done.stdout,
              f"{place}: {done.stderr}")
        check(took < 30, f"{place}: {took:.0f} s")
        found.append(f"{place} {took:.1f} s")
    return ", ".join(found)


def case_password(binary, server):
    """A password comes from PGPASSFILE, and nothing that is said has it."""
    server.sql(f"create user secret password '{SECRET}'; grant select on odd to secret")
    passwords = binary.directory / "pgpass"
    query = "select id, gone from odd"
    for password, works in ((SECRET, True), ("wrong-" + SECRET, False)):
        passwords.write_text(f"*:*:*:secret:{password}\n")
        passwords.chmod(0o600)
        location = server.location(query, "secret")
        if works:
            check(inspected(binary, location, PGPASSFILE=str(passwords))["rows"] == 3, "3 rows")
        else:
            refusal = binary.refused(location, PGPASSFILE=str(passwords))
            check("password authentication failed" in refusal, refusal)
    refusal = binary.refused(server.location(query, f"secret:{SECRET}"))
    check("has a password in its location" in refusal, refusal)
    check(SECRET not in binary.said, "the password was said")
    return "said nowhere"


CASES = {name[5:]: case for name, case in list(globals().items()) if name.startswith("case_")}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vflbus", required=True)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []])
    arguments = parser.parse_args()
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if not found:
        raise SystemExit("no PostgreSQL server is here: ./dev packages sources")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="vflbus-sources-"))
    work = directory / "work"
    work.mkdir()
    server = None
    try:
        server = Server(pathlib.Path(found[-1]).parent, directory)
        binary = Binary(arguments.vflbus, work)
        for name in arguments.cases or CASES:
            print(f"{name}: {CASES[name](binary, server)}", flush=True)
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
