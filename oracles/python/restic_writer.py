"""A second writer of the vault's format, made from the format's description alone and sharing no code with the product.

Used by vaults.py, which makes good and damaged vaults for the tests of crates/vault. Needs the packages `cryptography` and `zstandard`.
Stock restic 0.14 accepts what it writes. Not for production: it holds everything in memory.
"""

import base64
import hashlib
import json
import os
import struct

import zstandard
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.poly1305 import Poly1305

TIME = "2026-01-02T03:04:05Z"
# An irreducible polynomial of degree 53, so that stock restic can also write into the vault.
POLYNOMIAL = 0x3DA3358B4DC173


def sha(data):
    return hashlib.sha256(data).digest()


def b64(data):
    return base64.b64encode(data).decode()


def dumps(value):
    """JSON as Go's encoding/json writes it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, "\\u%04x" % ord(character))
    return text.encode()


class Key:
    """The three parts of a key: AES-256-CTR, and Poly1305 with an AES-128 encrypted nonce."""

    def __init__(self, encrypt, k, r):
        self.encrypt, self.k, self.r = encrypt, k, r

    def mac(self, iv, ciphertext):
        nonce = Cipher(algorithms.AES(self.k), modes.ECB()).encryptor().update(iv)
        return Poly1305.generate_tag(self.r + nonce, ciphertext)

    def seal(self, plain):
        iv = os.urandom(16)
        ciphertext = Cipher(algorithms.AES(self.encrypt), modes.CTR(iv)).encryptor().update(plain)
        return iv + ciphertext + self.mac(iv, ciphertext)

    def open(self, sealed):
        iv, ciphertext, mac = sealed[:16], sealed[16:-16], sealed[-16:]
        assert self.mac(iv, ciphertext) == mac
        return Cipher(algorithms.AES(self.encrypt), modes.CTR(iv)).decryptor().update(ciphertext)


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def compress(plain, **options):
    return zstandard.ZstdCompressor(**options).compress(plain)


class Repository:
    """A vault in a directory."""

    def __init__(self, path):
        self.path = path
        self.key = Key(os.urandom(32), os.urandom(16), os.urandom(16))

    def init(self, password, polynomial=POLYNOMIAL, version=2, n=1024, **extra):
        for name in ("keys", "index", "snapshots", "locks", "data"):
            os.makedirs(os.path.join(self.path, name), exist_ok=True)
        self.add_key(password, n=n)
        config = {"version": version, "id": os.urandom(32).hex(), "chunker_polynomial": "%x" % polynomial, **extra}
        write(os.path.join(self.path, "config"), self.key.seal(dumps(config)))

    def add_key(self, password, n=1024, r=8, p=1, salt=None, data=None, name=None, kdf="scrypt"):
        salt = salt or os.urandom(64)
        user = Scrypt(salt=salt, length=64, n=n, r=r, p=p).derive(password.encode())
        master = {"mac": {"k": b64(self.key.k), "r": b64(self.key.r)}, "encrypt": b64(self.key.encrypt)}
        sealed = data or Key(user[:32], user[32:48], user[48:]).seal(dumps(master))
        file = {"created": TIME, "username": "u", "hostname": "h", "kdf": kdf, "N": n, "r": r, "p": p,
                "salt": b64(salt), "data": b64(sealed)}
        return self.raw("keys", dumps(file), name)

    def raw(self, directory, data, name=None):
        """A file with these bytes, named by its digest unless told otherwise."""
        name = name or sha(data).hex()
        write(os.path.join(self.path, directory, name), data)
        return name

    def unpacked(self, directory, value):
        """An index, snapshot or lock."""
        return self.raw(directory, self.key.seal(b"\x02" + compress(dumps(value))))

    def seal_blob(self, plain, compressed=True, options=None):
        return self.key.seal(compress(plain, **(options or {})) if compressed else plain)

    def pack(self, blobs, tree=False, compressed=True, options=None, types=None):
        """Stores a pack; the answer is its entry for an index. `types` gives each blob's own kind in a mixed pack."""
        types = types or [tree] * len(blobs)
        out, header, entries = b"", b"", []
        for plain, is_tree in zip(blobs, types):
            identity, sealed = sha(plain), self.seal_blob(plain, compressed, options)
            entry = {"id": identity.hex(), "type": "tree" if is_tree else "data", "offset": len(out), "length": len(sealed)}
            if compressed:
                header += bytes([2 + is_tree]) + struct.pack("<II", len(sealed), len(plain)) + identity
                entry["uncompressed_length"] = len(plain)
            else:
                header += bytes([int(is_tree)]) + struct.pack("<I", len(sealed)) + identity
            entries.append(entry)
            out += sealed
        header = self.key.seal(header)
        out += header + struct.pack("<I", len(header))
        name = sha(out).hex()
        write(self.pack_path(name), out)
        return {"id": name, "blobs": entries}

    def pack_path(self, name):
        return os.path.join(self.path, "data", name[:2], name)

    def index(self, packs, **extra):
        return self.unpacked("index", {**extra, "packs": packs})

    def snapshot(self, tree, **fields):
        record = {"time": TIME, "tree": sha(tree).hex(), "paths": ["/dump.sql"], "hostname": "h", **fields}
        return self.unpacked("snapshots", record)


def node(name, kind, **fields):
    """A tree's node with its fields in restic's order."""
    defaults = {"name": name, "type": kind, "mode": 0o644, "mtime": TIME, "atime": TIME, "ctime": TIME, "uid": 0, "gid": 0}
    if kind == "dir":
        defaults["mode"] = (1 << 31) | 0o755
    if kind == "symlink":
        defaults["mode"] = (1 << 27) | 0o777
    tail = {"content": None} if "content" not in fields else {}
    return {**defaults, **fields, **tail}


def file_node(name, chunks, **fields):
    content = [sha(chunk).hex() for chunk in chunks]
    size = fields.pop("size", sum(map(len, chunks)))
    middle = {"size": size} if size else {}
    return node(name, "file", **{**middle, "links": 1, "content": content, **fields})


def tree(nodes):
    """A tree blob: canonical JSON with its newline."""
    return dumps({"nodes": nodes}) + b"\n"
