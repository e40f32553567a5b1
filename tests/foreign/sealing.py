"""Sealing for the node in Python, written from docs/protocol.md, section 14, alone."""
import hashlib, hmac, struct
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
import msgpack

TERMS, RUN = 1, 2  # purposes
FROM_OWNER, TO_OWNER = 1, 2  # directions
AES_256_GCM = 1
REQUEST_NONCE, REPLY_NONCE, ERROR_NONCE, JOIN_NONCE, ANSWER_NONCE, CLOSE_NONCE = 1, 2, 3, 4, 6, 7


def agreed(secret, public):
    return secret.exchange(X25519PublicKey.from_public_bytes(public))


class Seal:
    """The keys of this process. `known` gives the key of a name, as it was handed out beforehand."""

    def __init__(self, name, secret, public, known):
        self.name, self.public, self.known = name, public, known
        self.key = X25519PrivateKey.from_private_bytes(secret)
        self.session = X25519PrivateKey.generate()
        self.session_public = self.session.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.joinings = 0

    def offer(self, owner, extension):
        """What the OPEN of an owner says; refuses another key than that of its name."""
        aes, key_name, key, session, opening = msgpack.unpackb(extension)
        if key_name != owner or key != self.known(owner):
            raise ValueError("that is not the key of " + owner)
        return {"name": owner, "key_name": key_name, "key": key, "session": session, "opening": opening}

    def terms_query(self, offer, term):
        return msgpack.packb([AES_256_GCM, self.name, self.name, self.public, self.session_public, term,
                              offer["opening"]])

    def keys(self, purpose, run, term, offer, joining):
        """Of both directions, from the owner and to it."""
        secret = (agreed(self.session, offer["session"]) + agreed(self.session, offer["key"]) +
                  agreed(self.key, offer["session"]) + agreed(self.key, offer["key"]))
        root = hmac.new(b"vflbus-seal-1", secret, hashlib.sha256).digest()
        both = (bytes([len(offer["name"])]) + offer["name"].encode() + bytes([len(offer["key_name"])]) +
                offer["key_name"].encode() + offer["key"] + offer["session"] +
                2 * (bytes([len(self.name)]) + self.name.encode()) + self.public + self.session_public)
        info = [b"vflbus-seal-1" + bytes([purpose, AES_256_GCM, direction]) + run +
                struct.pack(">IQQ", term, offer["opening"], joining) + both for direction in (1, 2)]
        # HKDF-Expand to 32 bytes is one round of HMAC
        return [hmac.new(root, text + b"\x01", hashlib.sha256).digest() for text in info]

    def join(self, run, term, offer, digest, body, header):
        """The body of a JOIN whose extension 2 has the configuration hash, and the keys that follow."""
        self.joinings += 1
        keys = self.keys(RUN, run, term, offer, self.joinings)

        def with_sealed(sealed):
            extension = msgpack.packb([AES_256_GCM, self.name, self.public, self.session_public,
                                       offer["opening"], self.joinings, sealed])
            whole = body[:-1] + [{**body[-1], 2: extension}]
            return msgpack.packb(whole)

        sealed = encrypted(keys[1], JOIN_NONCE, 0, msgpack.packb([digest, ""]), header + with_sealed(b""))
        return with_sealed(sealed), keys


def nonce(kind, number):
    return bytes([kind, 0, 0, 0]) + struct.pack(">Q", number)


def encrypted(key, kind, number, text, associated):
    return AESGCM(key).encrypt(nonce(kind, number), text, associated)


def opened(key, kind, number, text, associated):
    return AESGCM(key).decrypt(nonce(kind, number), text, associated)
