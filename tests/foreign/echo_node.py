#!/usr/bin/python3
"""A node of vflbus, written from docs/protocol.md alone: joins the runs it is invited to, and echoes."""
import hashlib, random, struct, sys, time
import msgpack, zmq

address, name = sys.argv[1:3]
HELLO, WELCOME, PING, PONG, BYE, OPEN, JOIN, CLOSE, REQUEST, REPLY, ERROR, WINDOW, CREDIT, MARK = [*range(1, 13), 16, 20]
QUERY, ANSWER, TERMS, SEALED = 17, 18, 33, 16  # kinds, a question, a flag
LAYOUT = struct.Struct(">BBHBBBBBB16sBIBQBQBQBQBQBQBHBQ")  # section 2
CHUNK = WINDOW_BYTES = 512 << 10
MARK_EVERY = 128 << 10
me = int.from_bytes(hashlib.blake2b(b"vflbus-node:" + name.encode(), digest_size=16).digest()[:8], "little") or 1
incarnation, instance = time.time_ns() // 1_000_000, random.getrandbits(64)
sock = zmq.Context().socket(zmq.DEALER)
def words_of(file):  # of a key: section 13
    return {line.split()[0]: line.split()[1] for line in open(f"{sys.argv[3]}/{file}") if line[:1] not in "#\n"}

seal, sealed_runs, invited = None, {}, {}  # section 14: keys of runs; runs whose text is asked for
if len(sys.argv) > 3:
    own, broker = words_of(f"{name}.key"), words_of("broker.pub")
    sock.curve_serverkey, sock.curve_publickey, sock.curve_secretkey = (
        key.encode() for key in (broker["public"], own["public"], own["secret"]))
    if len(sys.argv) > 4:
        import sealing
        from zmq.utils.z85 import decode as raw
        seal = sealing.Seal(name, raw(own["secret"]), raw(own["public"]), lambda who: raw(words_of(who + ".pub")["public"]))
sock.connect(address)
terms, bodies, answers, waiting = {}, {}, {}, []  # by run; by (run, source, number); frames behind the window
up, hellos, next_hello = False, 0, 0.0
sent = marked = consumed = 0  # bytes on this hop, section 7
marks = {}  # what was sent before each MARK, by its token

def header(kind, run, term, src, dst, request=0, type=0, flags=0, total=0):  # as associated data: section 14
    return LAYOUT.pack(0x9D, 0xCD, 0xAF01, 0xCC, kind, 0xCC, flags, 0xC4, 16, run, 0xCE, term, 0xCF, src, 0xCF, dst,
                       0xCF, request, 0xCF, 0, 0xCF, total, 0xCF, 0, 0xCD, type, 0xCF, 0)

def join(run, term, src, agreed, code, why):
    body = [name, "node", -1, incarnation, hashlib.blake2b(agreed.encode(), digest_size=32).digest(), "py", code, why, {1: b"odd"}]
    if run in invited:
        digest, body[4] = body[4], bytes(32)
        body, sealed_runs[run] = seal.join(run, term, invited[run][0], digest, body, header(JOIN, run, term, me, src))
    send(JOIN, body if run in invited else msgpack.packb(body), run, term, src)

def reply_body(run, term, src, request, type, flags, body):
    if run not in sealed_runs:
        return body, flags
    kind = sealing.ERROR_NONCE if flags & 1 else sealing.REPLY_NONCE
    flags |= SEALED
    about = header(REPLY, run, term, me, src, request, type, flags, len(body) + 16)
    return sealing.encrypted(sealed_runs[run][1], kind, request, body, about), flags

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
        if seal and 2 in extensions:  # the text is asked for, and JOIN follows
            invited[run] = seal.offer(owner, extensions.pop(2)), hashlib.blake2b(part, digest_size=32).digest(), term, src
            send(QUERY, seal.terms_query(invited[run][0], term), run=run, dst=src, request=1, type=TERMS)
            continue
        unknown = [number for number in extensions if number % 2 == 0]  # odd ones may be ignored
        code, why = (2, name + " does not know extension %d" % unknown[0]) if unknown else (0, "")  # unsupported_version
        join(run, term, src, agreed, code, why)
        if unknown:
            continue
        if terms.get(run) != term:  # a new run, or a new term: nothing of the old one counts
            bodies, answers, terms[run] = {}, {}, term
    elif kind == ANSWER and type == TERMS and flags == SEALED and run in invited:
        offer, digest, term, _ = invited[run]
        count, text = msgpack.unpackb(part)
        key = seal.keys(sealing.TERMS, run, term, offer, 0)[0]
        about = header(ANSWER, run, 0, src, me, request, TERMS, SEALED) + digest
        agreed = sealing.opened(key, sealing.ANSWER_NONCE, count, text, about).decode()
        bodies, answers, terms[run] = {}, {}, term
        join(run, term, src, agreed, 0, "")
    elif kind == REQUEST:
        if offset == 0 and total > 64 << 10:  # there is always room here, for the attempt of this tag
            send(CREDIT, run=run, term=term, dst=src, request=request, aux=total, below=aux)
        answers = {k: v for k, v in answers.items() if k[:2] != key[:2] or k[2] >= below}
        if terms.get(run) == term and offset == (offset and len(bodies.get(key, b""))) and request >= below:
            bodies[key] = bodies.get(key, b"") * (offset > 0) + part
            if len(bodies[key]) == total:
                body = bodies.pop(key)
                if run in sealed_runs:  # what does not open ends this node, and the test with it
                    about = header(REQUEST, run, term, src, me, request, type, flags, total)
                    body = sealing.opened(sealed_runs[run][0], sealing.REQUEST_NONCE, request, body, about)
                wrong = (msgpack.packb([15, name + " only echoes"]), 1)  # unknown_message
                if key not in answers:
                    plain, wrong_flag = (body, 0) if type == 1 else wrong
                    answers[key] = reply_body(run, term, src, request, type, wrong_flag, plain)
                send(REPLY, answers[key][0], run, term, src, request, type, answers[key][1])
    elif kind == MARK:
        send(WINDOW, aux=aux)
    elif kind == WINDOW:
        consumed = marks.pop(aux, consumed)
    elif kind == CLOSE and terms.pop(run, None):
        if run in sealed_runs:
            code, sentence, [[node, text]] = msgpack.unpackb(part)
            about = header(CLOSE, run, term, invited[run][3], me, flags=SEALED)
            ending = msgpack.unpackb(sealing.opened(sealed_runs[run][0], sealing.CLOSE_NONCE, 0, text, about))
            if node != me or sentence == "done" or ending != [0, "done"]:
                sys.exit("the run ended otherwise than its owner said")
        send(BYE)
        sock.close(1000)
        sys.exit(0)
    elif kind == ERROR and aux == 3:  # not_registered
        up = False
    elif kind == BYE or kind == ERROR and run == bytes(16):
        sys.exit("the broker says %d %s" % (aux, msgpack.unpackb(part) if part else ""))
