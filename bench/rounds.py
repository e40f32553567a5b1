#!/usr/bin/env python3
"""rounds.py BUILD [NODES [SERVERS [TIMES]]]: the example of examples/multi_run, many at once.

NODES (64) nodes are started, registered and idle; then SERVERS (16) server apps start, and each measures its three
rounds, from its first push to its last pull. Prints the median and the worst of the servers, TIMES (5) times, for
"together": all runs are there, and begin their rounds at the same moment; and for "starting": each begins when
it can, while the others are still being started. Bar: 50 ms after start-up, which is "together".
"""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1])
NODES, SERVERS, TIMES = [int(a) for a in sys.argv[2:]] + [64, 16, 5][len(sys.argv) - 2:]
VFLBUS = BUILD + '/cli/vflbus'
ENV = {k: v for k, v in os.environ.items() if not k.startswith('VFLBUS')}


def start(*words, **more):
    return subprocess.Popen([VFLBUS, *words], env=ENV, **more)


def measure(common, app, run_config):
    """Milliseconds of three rounds of each of SERVERS server apps that start at the same time."""
    config = [word for key, value in run_config().items() for word in ('--run-config', '%s=%s' % (key, value))]
    servers = [start('actor', '--role', 'serverapp', '--app', '%s/tests/proc/apps/%s.so' % (BUILD, app), *config, *common,
                     stderr=subprocess.PIPE, text=True) for _ in range(SERVERS)]
    took = []
    for server in servers:
        said = server.communicate()[1]
        assert server.returncode == 0 and 'The echo differs' not in said, said
        took.append(float(re.search('3 rounds took ([0-9.e+-]+) ms', said).group(1)))
    return took


def report(how, took):
    print('{"case": "%s", "rounds_ms_median": %.1f, "rounds_ms_worst": %.1f}'
          % (how, statistics.median(took), max(took)), flush=True)


def main(directory):
    bus = 'ipc://' + directory + '/bus'
    common = ['--broker', bus, '--set', 'output.runs_dir=' + directory + '/runs']
    children = [start('broker', '--bind', bus, '-q', '--state-dir', directory + '/broker',
                      stdout=subprocess.DEVNULL)]
    try:
        for i in range(NODES):
            children.append(start('actor', '--role', 'member', '--app', BUILD + '/tests/proc/apps/echo_client.so', '-q',
                                  '--name', 'node-%d' % i, *common))
        while True:
            time.sleep(0.5)
            said = subprocess.run([VFLBUS, 'nodes', '--json', '--broker', bus], env=ENV, capture_output=True)
            if said.returncode == 0 and \
                    sum(n['status'] == 'up' for n in json.loads(said.stdout)['nodes']) >= NODES:
                break
        for _ in range(TIMES):
            time.sleep(2)
            report('together', measure(common, 'test_server', lambda: {
                'play': 'rounds', 'nodes': NODES, 'begin-at': time.time() + 3}))
            time.sleep(2)
            report('starting', measure(common, 'sampling_server', dict))
    finally:
        for child in reversed(children):
            child.terminate()
        for child in children:
            child.wait()


with tempfile.TemporaryDirectory() as scratch:
    main(scratch)
