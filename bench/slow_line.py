#!/usr/bin/env python3
"""slow_line.py VFLBUS [ROUND_TRIP_MS [MBIT_S [PROTOCOL...]]]: a training whose member is behind a slow line.

A broker, a master beside it, and a member that reaches the broker through a proxy on loopback that delays each
byte by half of ROUND_TRIP_MS (40) and lets MBIT_S (50) pass in each direction. For each PROTOCOL (honest, masked
and encrypted): bytes and milliseconds of a step of mini-batches of 256, 30 columns at the member, and of a round
of L-BFGS, without keys, as keys add a few percent to the bytes. With `wide` among the protocols: mini-batches of
4096 with 330 columns as well, under `encrypted`, and what the log says of the layout for this line.
"""
import heapq
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

VFLBUS = os.path.abspath(sys.argv[1])
ROUND_TRIP_S, MBIT_S = [float(a) for a in sys.argv[2:4]] + [40., 50.][len(sys.argv[2:4]):]
ROUND_TRIP_S /= 1000
WIDE = 'wide' in sys.argv[4:]
PROTOCOLS = [a for a in sys.argv[4:] if a != 'wide'] or ([] if WIDE else ['honest', 'masked', 'encrypted'])
ENV = {k: v for k, v in os.environ.items() if not k.startswith('VFLBUS')}
ROWS, COLUMNS = 10000, 30
WIDE_ROWS, WIDE_COLUMNS = 20480, 330


def pump(source, sink):
    """What comes out of `source` goes into `sink`, as late as the line makes it."""
    waiting, order, more = [], itertools.count(), threading.Condition()

    def deliver():
        while True:
            with more:
                while not waiting:
                    more.wait()
                due, _, data = waiting[0]
                heapq.heappop(waiting)
            time.sleep(max(0, due - time.monotonic()))
            try:
                sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)
            except OSError:
                return
            if not data:
                return

    threading.Thread(target=deliver, daemon=True).start()
    free = 0.
    while True:
        try:
            data = source.recv(4096)
        except OSError:
            data = b''
        free = max(free, time.monotonic()) + len(data) * 8 / (MBIT_S * 1e6)
        with more:
            heapq.heappush(waiting, (free + ROUND_TRIP_S / 2, next(order), data))
            more.notify()
        if not data:
            return


def proxy(listener, port):
    while True:
        try:
            near = listener.accept()[0]
        except OSError:
            return  # closed
        while True:
            try:
                far = socket.create_connection(('127.0.0.1', port))
                break
            except ConnectionRefusedError:  # the broker is not up yet
                time.sleep(0.02)
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for a, b in ((near, far), (far, near)):
            threading.Thread(target=pump, args=(a, b), daemon=True).start()


def tables(directory, rows, columns):
    draw = random.Random(1)
    with open(directory + '/master.csv', 'w') as master, open(directory + '/member.csv', 'w') as member:
        master.write('id,y,x\n')
        member.write('id,' + ','.join('x%d' % j for j in range(columns)) + '\n')
        for i in range(rows):
            x = [draw.gauss(0, 1) for _ in range(columns + 1)]
            master.write('%d,%d,%.4f\n' % (i, sum(x) + draw.gauss(0, 3) > 0, x[0]))
            member.write('%d,' % i + ','.join('%.4f' % v for v in x[1:]) + '\n')


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def measure(directory, protocol, solver):
    port = free_port()
    listener = socket.create_server(('127.0.0.1', 0))
    threading.Thread(target=proxy, args=(listener, port), daemon=True).start()
    near, far = ('tcp://127.0.0.1:%d' % p for p in (port, listener.getsockname()[1]))
    runs = ['--set', 'output.runs_dir=' + directory + '/runs']
    children = [subprocess.Popen([VFLBUS, 'broker', '--bind', near, '-q', '--state-dir', directory + '/broker'],
                                 env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
    children.append(subprocess.Popen([VFLBUS, 'actor', '--role', 'member', '--rank', '0', '--broker', far, '--once',
                                      '--set', 'party.member-0.data=' + directory + '/member.csv',
                                      '--set', 'party.member-0.id=id', *runs],
                                     env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    solving = {'sgd': ['--set', 'model.batch_size=256', '--set', 'model.epochs=2'], 'lbfgs': [],
               'wide': ['--set', 'model.batch_size=4096', '--set', 'model.epochs=6']}[solver]
    try:
        told = subprocess.run(
            [VFLBUS, 'actor', '--role', 'master', '--broker', near, '--json',
             '--set', 'party.master.data=' + directory + '/master.csv', '--set', 'party.master.label=y',
             '--set', 'party.master.id=id', '--set', 'run.world_size=1', '--set', 'run.protocol=' + protocol,
             '--set', 'data.alignment=hashed', '--set', 'model.solver=' + solver.replace('wide', 'sgd'), *solving,
             *runs],
            env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if told.returncode != 0:
            sys.exit(told.stderr)
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
        listener.close()
    report = json.loads(told.stdout)
    steps = report['steps']
    traffic = report['bytes']['parties']['master']
    for line in told.stderr.splitlines():
        if 'line to member' in line:
            print(line[line.index('line to'):], flush=True)
    print(json.dumps({'protocol': protocol, 'solver': solver, 'steps': steps,
                      'ms_of_a_step': round(1000 * report['train_seconds'] / steps, 1),
                      'kB_of_the_run_by_step': {'down': round(traffic['sent'] / steps / 1000, 1),
                                                'up': round(traffic['received'] / steps / 1000, 1)}}), flush=True)


with tempfile.TemporaryDirectory() as scratch:
    if PROTOCOLS:
        tables(scratch, ROWS, COLUMNS)
    for way in ('sgd', 'lbfgs'):
        for name in PROTOCOLS:
            measure(scratch, name, way)
    if WIDE:
        tables(scratch, WIDE_ROWS, WIDE_COLUMNS)
        measure(scratch, 'encrypted', 'wide')
