"""Makes vaults for the tests: `vaults.py OUT SCENARIO...` writes OUT/<scenario>/vault and OUT/<scenario>/expected/<files>.

Every scenario has a file `dump.sql` in the root tree unless its purpose forbids it, and the password `secret`. The content is the same in
each run; keys and nonces are not. `vaults.py --list` names the scenarios.
"""

import json
import os
import random
import struct
import sys

from restic_writer import TIME, Key, Repository, compress, file_node, node, sha, tree, write

PASSWORD = "secret"
SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__.replace("_", "-")] = function
    return function


def chunk_list(count=12, seed=1, longest=20_000):
    source = random.Random(seed)
    words = [bytes(source.choices(range(32, 127), k=source.randrange(3, 9))) for _ in range(200)]
    chunks = []
    for _ in range(count):
        length = source.randrange(1, longest)
        text = b" ".join(source.choices(words, k=length // 4 + 1))[:length]
        chunks.append(text if source.random() < 0.7 else source.randbytes(length))
    return chunks


class Builder:
    """One stream in a vault, with places to do it wrong."""

    def __init__(self, out, key=None, **config):
        self.out = out
        self.repository = Repository(os.path.join(out, "vault"))
        self.repository.key = key or self.repository.key
        self.repository.init(PASSWORD, **config)
        self.chunks = chunk_list()

    def expect(self, name, content):
        write(os.path.join(self.out, "expected", name), content)

    def unique(self):
        return list(dict.fromkeys(self.chunks))

    def finish(self, nodes=None, root=None, packs=None, index=True, snapshot=None):
        """Writes what the caller did not write otherwise; the answer is the pair of data and tree entries."""
        self.expect("dump.sql", b"".join(self.chunks))
        root = root if root is not None else tree(nodes or [file_node("dump.sql", self.chunks)])
        data = packs[0] if packs else self.repository.pack(self.unique())
        trees = packs[1] if packs else self.repository.pack([root], tree=True)
        if index:
            self.repository.index([data, trees])
        self.repository.snapshot(root, **(snapshot or {}))
        return data, trees


def damage(path, change):
    with open(path, "rb") as file:
        content = bytearray(file.read())
    write(path, bytes(change(content)))


def flip(position):
    def change(content):
        content[position] ^= 0x10
        return content
    return change


# --- good vaults

@scenario
def plain(out):
    Builder(out).finish()


@scenario
def irregular(out):
    """319 chunks of 1 byte to 200 kB, some repeated, an uncompressed pack, a 40 MiB blob, an empty file, folders, a symlink."""
    b = Builder(out)
    b.chunks = chunk_list(300, seed=2, longest=200_000)
    b.chunks += b.chunks[:18] + [b"x"]
    raw = chunk_list(5, seed=3)
    big = random.Random(4).randbytes(1 << 16) * 640
    unicode_name = "größe \U0001F600 <&>\u2028.txt"
    inner = tree([file_node(unicode_name, raw)])
    root = tree([
        file_node("big", [big]),
        file_node("dump.sql", b.chunks),
        file_node("empty", []),
        node("folder", "dir", subtree=sha(inner).hex()),
        node("link", "symlink", linktarget="dump.sql"),
    ])
    unique = b.unique()
    packs = [b.repository.pack(unique[:150]), b.repository.pack(unique[150:]), b.repository.pack(raw, compressed=False),
             b.repository.pack([big]), b.repository.pack([inner, root], tree=True)]
    b.repository.index(packs[:2])
    b.repository.index(packs[2:])
    b.repository.snapshot(root, paths=["/irregular"])
    b.expect("dump.sql", b"".join(b.chunks))
    b.expect("big", big)
    b.expect("empty", b"")
    b.expect("folder/" + unicode_name, b"".join(raw))


@scenario
def frames_without_size(out):
    """zstd frames with a checksum and without their content's size."""
    b = Builder(out)
    root = tree([file_node("dump.sql", b.chunks)])
    options = {"write_checksum": True, "write_content_size": False}
    b.finish(root=root, packs=(b.repository.pack(b.unique(), options=options), b.repository.pack([root], tree=True, options=options)))


@scenario
def index_in_plain_json(out):
    b = Builder(out)
    data, trees = b.finish(index=False)
    b.repository.raw("index", b.repository.key.seal(json.dumps({"packs": [data, trees]}).encode()))


@scenario
def index_with_old_fields(out):
    """`supersedes` of old restic, `packs_to_delete` of rustic, and fields that nobody knows."""
    b = Builder(out)
    data, trees = b.finish(index=False)
    stale = {**data, "id": sha(b"gone").hex(), "time": TIME, "size": 1}
    b.repository.index([data, trees], supersedes=[sha(b"old").hex()], packs_to_delete=[stale], future={"a": [1]})


@scenario
def pack_in_two_indexes(out):
    b = Builder(out)
    data, trees = b.finish()
    b.repository.index([trees, data], supersedes=[])


@scenario
def blobs_in_two_packs(out):
    b = Builder(out)
    b.finish()
    b.repository.index([b.repository.pack(b.unique())])


@scenario
def mixed_pack(out):
    b = Builder(out)
    root = tree([file_node("dump.sql", b.chunks)])
    b.expect("dump.sql", b"".join(b.chunks))
    blobs = b.unique() + [root]
    b.repository.index([b.repository.pack(blobs, types=[False] * len(b.unique()) + [True])])
    b.repository.snapshot(root)


@scenario
def pack_in_no_index(out):
    b = Builder(out)
    b.finish()
    b.repository.pack([b"an orphan of a crashed writer"])


@scenario
def foreign_files(out):
    """Names that restic does not know, and temporary files."""
    b = Builder(out)
    data, _ = b.finish()
    for path in ("README", "index/notes", "snapshots/.hidden", "own/file", "data/zz/file",
                 "data/%s/%s-tmp-123" % (data["id"][:2], data["id"]), "keys/%s-tmp-1" % data["id"]):
        write(os.path.join(b.repository.path, path), b"")


@scenario
def loose_trees(out):
    """Nodes out of order, no newline at the end, fields that nobody knows, file type bits in the mode."""
    b = Builder(out)
    nodes = [file_node("z-last", []), {**file_node("dump.sql", b.chunks), "mode": 0o100644, "future": {"x": 1}}]
    root = json.dumps({"nodes": nodes, "future": 1}).encode()
    b.finish(root=root, snapshot={"future": [1], "paths": None})
    b.expect("z-last", b"")


@scenario
def empty_blob(out):
    b = Builder(out)
    b.chunks = [b"", b"after the empty blob", b""]
    root = tree([file_node("dump.sql", b.chunks)])
    b.finish(root=root, packs=(b.repository.pack(b.unique(), compressed=False), b.repository.pack([root], tree=True)))


@scenario
def extra_config_fields(out):
    Builder(out, chunk_size=1 << 20, future="x").finish()


@scenario
def second_key_with_other_cost(out):
    b = Builder(out)
    b.finish()
    b.repository.add_key("other", n=1 << 15, p=2)


@scenario
def broken_key_files(out):
    """Broken JSON, an unknown derivation, a salt of the wrong length, a wrong name, beside the good key."""
    b = Builder(out)
    b.finish()
    for number in range(5):
        b.repository.raw("keys", b"{broken %d" % number)
    b.repository.add_key(PASSWORD, kdf="argon2id")
    b.repository.add_key(PASSWORD, salt=b"short")
    b.repository.add_key(PASSWORD, name=sha(b"another name").hex())


@scenario
def greedy_key_files(out):
    """Keys that ask for more memory and time than anyone has, and numbers that overflow."""
    b = Builder(out)
    b.finish()
    for n, r, p in ((1 << 62, 8, 1), (1 << 30, 1 << 20, 1), (0, 8, 1), (3, 8, 1), (1024, 0, 0), (1024, 1 << 31, 1 << 31)):
        key = {"created": TIME, "username": "u", "hostname": "h", "kdf": "scrypt", "N": n, "r": r, "p": p, "salt": "A" * 86 + "==", "data": "AAAA"}
        b.repository.raw("keys", json.dumps(key).encode())


# --- vaults that must be refused, or whose damage must be told

@scenario
def reducible_polynomial(out):
    Builder(out, polynomial=(1 << 53)).finish()


@scenario
def small_polynomial(out):
    """Irreducible, but of degree 2: restic reads such a vault and cannot write into it."""
    Builder(out, polynomial=7).finish()


@scenario
def version_three(out):
    Builder(out, version=3).finish()


@scenario
def only_broken_keys(out):
    b = Builder(out)
    b.finish()
    for name in os.listdir(os.path.join(b.repository.path, "keys")):
        os.remove(os.path.join(b.repository.path, "keys", name))
    b.repository.raw("keys", b"{}")


@scenario
def too_many_keys(out):
    """61 keys; the good one may be beyond those that are tried."""
    b = Builder(out)
    b.finish()
    for number in range(60):
        b.repository.add_key("not it %d" % number, n=16)


@scenario
def zero_master_key(out):
    Builder(out, key=Key(bytes(32), bytes(16), bytes(16))).finish()


@scenario
def content_null(out):
    b = Builder(out)
    b.finish(nodes=[{**file_node("dump.sql", b.chunks), "content": None}])


@scenario
def wrong_size(out):
    b = Builder(out)
    b.finish(nodes=[file_node("dump.sql", b.chunks, size=5)])


@scenario
def slash_in_name(out):
    b = Builder(out)
    b.finish(nodes=[file_node("dump.sql", b.chunks), file_node("x/../../evil", b.chunks)])


@scenario
def dots_as_name(out):
    b = Builder(out)
    b.finish(nodes=[file_node("..", b.chunks), file_node("dump.sql", b.chunks)])


@scenario
def duplicate_names(out):
    b = Builder(out)
    b.finish(nodes=[file_node("dump.sql", b.chunks), file_node("dump.sql", b.chunks[:1])])


@scenario
def part_of_a_pack_in_the_index(out):
    b = Builder(out)
    data, trees = b.finish(index=False)
    b.repository.index([{**data, "blobs": data["blobs"][:3]}, trees])


@scenario
def wrong_plain_length_in_the_index(out):
    b = Builder(out)
    data, trees = b.finish(index=False)
    for entry in data["blobs"]:
        entry["uncompressed_length"] += 1
    b.repository.index([data, trees])


@scenario
def enormous_numbers_in_the_index(out):
    b = Builder(out)
    data, trees = b.finish(index=False)
    lies = ({"offset": 2**32 - 1}, {"length": 2**32 - 1}, {"uncompressed_length": 2**32 - 1}, {"length": 0}, {"length": 31},
            {"offset": 2**32 - 1, "length": 2**32 - 1})
    for entry, lie in zip(data["blobs"], lies):
        entry.update(lie)
    b.repository.index([data, trees])


@scenario
def negative_numbers_in_the_index(out):
    b = Builder(out)
    data, trees = b.finish(index=False)
    data["blobs"][0]["offset"] = -1
    b.repository.index([data, trees])


@scenario
def bomb(out):
    """A blob of a few bytes that unpacks to 2 GiB of zeros, under the id of something small."""
    b = Builder(out)
    frame = zeros_frame(2 << 30)
    identity = sha(b.chunks[0])
    sealed = b.repository.key.seal(frame)
    header = b.repository.key.seal(bytes([2]) + struct.pack("<II", len(sealed), len(b.chunks[0])) + identity)
    content = sealed + header + struct.pack("<I", len(header))
    name = sha(content).hex()
    write(b.repository.pack_path(name), content)
    b.chunks = b.chunks[:1]
    root = tree([file_node("dump.sql", b.chunks)])
    entry = {"id": identity.hex(), "type": "data", "offset": 0, "length": len(sealed), "uncompressed_length": len(b.chunks[0])}
    b.finish(root=root, packs=({"id": name, "blobs": [entry]}, b.repository.pack([root], tree=True)))


def zeros_frame(length):
    """A zstd frame of RLE blocks, without going through so many zeros: 128 KiB each."""
    blocks = length >> 17
    out = struct.pack("<I", 0xFD2FB528) + bytes([0b10100000]) + struct.pack("<I", length)
    for number in range(blocks):
        header = (1 << 17) << 3 | 1 << 1 | (number == blocks - 1)
        out += struct.pack("<I", header)[:3] + b"\0"
    return out


@scenario
def index_lost(out):
    b = Builder(out)
    b.finish(index=False)


@scenario
def index_damaged(out):
    b = Builder(out)
    b.finish()
    directory = os.path.join(b.repository.path, "index")
    damage(os.path.join(directory, os.listdir(directory)[0]), flip(40))


@scenario
def index_of_unknown_encoding(out):
    b = Builder(out)
    b.finish(index=False)
    b.repository.raw("index", b.repository.key.seal(b"\x03" + compress(b"{}")))


@scenario
def tree_pack_flipped(out):
    b = Builder(out)
    _, trees = b.finish()
    damage(b.repository.pack_path(trees["id"]), flip(20))


@scenario
def tree_pack_one_byte_short(out):
    b = Builder(out)
    _, trees = b.finish()
    damage(b.repository.pack_path(trees["id"]), lambda content: content[:40])


@scenario
def data_pack_flipped(out):
    b = Builder(out)
    data, _ = b.finish()
    damage(b.repository.pack_path(data["id"]), flip(data["blobs"][5]["offset"] + 18))


@scenario
def data_pack_short(out):
    b = Builder(out)
    data, _ = b.finish()
    damage(b.repository.pack_path(data["id"]), lambda content: content[:data["blobs"][-1]["offset"] + 1])


@scenario
def data_pack_lost(out):
    b = Builder(out)
    data, _ = b.finish()
    os.remove(b.repository.pack_path(data["id"]))


@scenario
def blobs_swapped(out):
    """Two blobs of the same key whose index entries are exchanged: every MAC holds, the content is another's."""
    b = Builder(out)
    data, trees = b.finish(index=False)
    one, two = data["blobs"][0], data["blobs"][1]
    one["id"], two["id"] = two["id"], one["id"]
    b.repository.index([data, trees])


@scenario
def tree_is_not_json(out):
    b = Builder(out)
    b.finish(root=b"\xff\xfe not a tree")


@scenario
def tree_of_wrong_types(out):
    b = Builder(out)
    b.finish(root=json.dumps({"nodes": [{"name": 5, "type": ["file"], "content": "x"}]}).encode())


@scenario
def subtree_missing(out):
    b = Builder(out)
    b.finish(nodes=[file_node("dump.sql", b.chunks), node("folder", "dir", subtree=sha(b"nowhere").hex())])


@scenario
def folder_without_tree(out):
    b = Builder(out)
    b.finish(nodes=[file_node("dump.sql", b.chunks), node("folder", "dir")])


@scenario
def snapshot_damaged(out):
    """A good snapshot beside one that is flipped, one cut short, one of nonsense, one empty."""
    b = Builder(out)
    b.finish()
    good = b.repository.snapshot(b"elsewhere", time="2026-01-03T03:04:05Z")
    cut = b.repository.snapshot(b"elsewhere", time="2026-01-04T03:04:05Z")
    directory = os.path.join(b.repository.path, "snapshots")
    damage(os.path.join(directory, good), flip(-1))
    damage(os.path.join(directory, cut), lambda content: content[:50])
    b.repository.unpacked("snapshots", {"time": 1, "tree": "x"})
    b.repository.raw("snapshots", b"", name=sha(b"empty").hex())


@scenario
def config_damaged(out):
    b = Builder(out)
    b.finish()
    damage(os.path.join(b.repository.path, "config"), flip(20))


@scenario
def config_lost(out):
    b = Builder(out)
    b.finish()
    os.remove(os.path.join(b.repository.path, "config"))


# --- locks of others

def lock(b, exclusive, time, **fields):
    return b.repository.unpacked("locks", {"time": time, "exclusive": exclusive, "hostname": "elsewhere", "username": "somebody", "pid": 1, **fields})


@scenario
def locked_shared(out):
    b = Builder(out)
    b.finish()
    lock(b, False, TIME)


@scenario
def locked_exclusive(out):
    b = Builder(out)
    b.finish()
    lock(b, True, TIME)


@scenario
def lock_empty(out):
    """A lock of a writer that crashed between making and filling it. (Stock restic 0.14 panics on it.)"""
    b = Builder(out)
    b.finish()
    b.repository.raw("locks", b"")


@scenario
def lock_unreadable(out):
    b = Builder(out)
    b.finish()
    b.repository.raw("locks", b"\x00" * 100)


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(SCENARIOS))
        return
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    for name in sys.argv[2:]:
        SCENARIOS[name](os.path.join(sys.argv[1], name))


main()
