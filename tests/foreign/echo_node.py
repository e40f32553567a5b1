#!/usr/bin/python3
"""A node of vflbus, written from docs/protocol.md alone: joins the runs it is invited to, and echoes."""
import hashlib, random, struct, sys, time
import msgpack, zmq

address, name = sys.argv[1:3]
HELLO, WELCOME, PING, PONG, BYE, OPEN, JOIN, CLOSE, REQUEST, REPLY, ERROR, WINDOW, CREDIT, MARK = [*range(1, 13), 16, 20]
LAYOUT = struct.Struct(">BBHBBBBBB16sBIBQBQBQBQBQBQBHBQ")  # section 2
CHUNK = WINDOW_BYTES = 512 << 10
MARK_EVERY = 128 << 10
me = int.from_bytes(hashlib.blake2b(b"vflbus-node:" + name.encode(), digest_size=16).digest()[:8], "little") or 1
incarnation, instance = time.time_ns() // 1_000_000, random.getrandbits(64)
sock = zmq.Context().socket(zmq.DEALER)
if len(sys.argv) > 3:  # a directory of keys: section 13
    own, broker = ({line.split()[0]: line.split()[1] for line in open(f"{sys.argv[3]}/{file}") if line[:1] not in "#\n"}
                   for file in (f"{name}.key", "broker.pub"))
    sock.curve_serverkey, sock.curve_publickey, sock.curve_secretkey = (
        key.encode() for key in (broker["public"], own["public"], own["secret"]))
sock.connect(address)
terms, bodies, answers, waiting = {}, {}, {}, []  # by run; by (run, source, number); frames behind the window
up, hellos, next_hello = False, 0, 0.0
sent = marked = consumed = 0  # bytes on this hop, section 7
marks = {}  # what was sent before each MARK, by its token

def send(kind, body=b"", run=bytes(16), term=0, dst=0, request=0, type=0, flags=0, aux=0, below=0):
    for offset in range(0, max(len(body), 1), CHUNK):
        part = body[offset:offset + CHUNK]
        head = LAYOUT.pack(0x9D, 0xCD, 0xAF01, 0xCC, kind, 0xCC, flags, 0xC4, 16, run, 0xCE, term, 0xCF, me, 0xCF, dst,
                           0xCF, request, 0xCF, below, 0xCF, len(body), 0xCF, offset, 0xCD, type, 0xCF, aux)
        frames = [head, part] if part else [head]
        waiting.append(frames) if kind == REPLY else sock.send_multipart(frames)

while True:
    if not up and time.monotonic() >= next_hello:
        hellos, next_hello = hellos + 1, time.monotonic() + min(8, 0.25 * 2 ** hellos)
        send(HELLO, msgpack.packb([name, "node", -1, incarnation, instance, "py", [], {}]), request=hellos)
    while waiting and sent - consumed < WINDOW_BYTES:
        sent += sum(map(len, waiting[0]))
        sock.send_multipart(waiting.pop(0))
        if sent - marked >= MARK_EVERY:
            token = random.getrandbits(64) or 1
            send(MARK, aux=token)
            marks[token] = marked = sent
    if not sock.poll(250):
        up and send(PING)
        continue
    head, part = (sock.recv_multipart() + [b""])[:2]
    (kind, flags, run, term, src, dst, request, below, total, offset, type, aux) = [
        LAYOUT.unpack(head)[i] for i in (4, 6, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27)]
    key = (run, src, request)
    if kind == WELCOME and request == hellos:
        up, sent, marked, consumed, waiting, marks = True, 0, 0, 0, [], {}
    elif kind == PING:
        send(PONG, request=request)
    elif kind == OPEN:
        owner, participants, agreed, extensions = msgpack.unpackb(part, strict_map_key=False)
        unknown = [number for number in extensions if number % 2 == 0]  # odd ones may be ignored
        role, rank = "node", -1  # as in HELLO
        digest = hashlib.blake2b(agreed.encode(), digest_size=32).digest()
        code, why = (2, name + " does not know extension %d" % unknown[0]) if unknown else (0, "")  # unsupported_version
        send(JOIN, msgpack.packb([name, role, rank, incarnation, digest, "py", code, why, {1: b"odd"}]), run, term, src)
        if unknown:
            continue
        if terms.get(run) != term:  # a new run, or a new term: nothing of the old one counts
            bodies, answers, terms[run] = {}, {}, term
    elif kind == REQUEST:
        if offset == 0 and total > 64 << 10:  # there is always room here, for the attempt of this tag
            send(CREDIT, run=run, term=term, dst=src, request=request, aux=total, below=aux)
        answers = {k: v for k, v in answers.items() if k[:2] != key[:2] or k[2] >= below}
        if terms.get(run) == term and offset == (offset and len(bodies.get(key, b""))) and request >= below:
            bodies[key] = bodies.get(key, b"") * (offset > 0) + part
            if len(bodies[key]) == total:
                body = bodies.pop(key)
                wrong = (msgpack.packb([15, name + " only echoes"]), 1)  # unknown_message
                answers.setdefault(key, (body, 0) if type == 1 else wrong)
                send(REPLY, answers[key][0], run, term, src, request, type, answers[key][1])
    elif kind == MARK:
        send(WINDOW, aux=aux)
    elif kind == WINDOW:
        consumed = marks.pop(aux, consumed)
    elif kind == CLOSE and terms.pop(run, None):
        send(BYE)
        sock.close(1000)
        sys.exit(0)
    elif kind == ERROR and aux == 3:  # not_registered
        up = False
    elif kind == BYE or kind == ERROR and run == bytes(16):
        sys.exit("the broker says %d %s" % (aux, msgpack.unpackb(part) if part else ""))
