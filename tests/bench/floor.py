"""What the promises need, and nothing else: the floor of a program in Python that keeps them.

Two processes read, prove and write, each with a worker that only compiles. Nothing is judged, recorded, reported,
bounded or dealt out; nobody looks whether a directory may be trusted, and no worker is confined. What is left is what a
run can't do without: each source is opened below the descriptor of its directory, without following a link, and read;
it goes to another process, and its code comes back; both are digested; a pyc gets its name when it is whole.

`PROMISES` are those beyond that, each kept in the least that Python needs for it: a line or two in the same loops, with
no function, no class and no case that is rare. In the programs below their lines end in the promise's name.
"""

from __future__ import annotations

import re
from collections.abc import Collection

PROMISES = {
    "limits": "a source has its time and memory",
    "same": "bytes depend on the source alone",
    "edits": "no half of an edit is compiled",
    "readers": "a pyc has the readers of its source",
    "records": "what was written is known",
}

#: The worker, of the target: as the one of the bare loop, but source and code come and go through pipes.
_WORKER = r"""
import gc, marshal, struct, sys, warnings
import resource, signal, time  #: limits
warnings.simplefilter("ignore")
gc.disable()
def may_be_split(code):  #: same
    found, kind, codes = [], type(code), [code]  #: same
    for each in codes:  #: same
        for constant in each.co_consts:  #: same
            if constant.__class__ is kind: codes.append(constant)  #: same
            elif constant.__class__ is frozenset: found.append(constant)  #: same
    return len(found) > 1 and len({id(each) for each in found}) > len(set(found))  #: same
read, write = sys.stdin.buffer.read, sys.stdout.buffer
while True:
    head = read(8)
    if not head:
        break
    path, size = struct.unpack("<II", head)
    path = read(path).decode("utf-8", "surrogateescape")
    signal.setitimer(signal.ITIMER_PROF, 60)  #: limits
    begun, used = time.perf_counter(), time.process_time()  #: limits
    try:
        code = compile(read(size), path, "exec", dont_inherit=True, optimize=0)
        body = marshal.dumps(code)
        if may_be_split(code): pass  #: same
    except (SyntaxError, ValueError):
        body = b""
    spent, used = time.perf_counter() - begun, time.process_time() - used  #: limits
    signal.setitimer(signal.ITIMER_PROF, 0)  #: limits
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 1 << 30: sys.exit()  #: limits
    write.write(struct.pack("<I", len(body)) + body)
    write.flush()
"""

#: The program: a tree, and the target.
FLOOR = r"""
import fcntl, gc, os, stat, struct, subprocess, sys
import pickle, socket, sqlite3  #: records
from hashlib import sha256
gc.disable()
tree, target, worker = sys.argv[1:]
WIDE, AHEAD = 1 << 20, 1 << 17

def start():
    child = subprocess.Popen([target, "-I", "-S", "-c", worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for end in (child.stdin, child.stdout):
        fcntl.fcntl(end, 1031, WIDE)  # F_SETPIPE_SZ
    return child

ROW = struct.Struct("<5q16s5q16s16s")  #: records
def stamp(status):  #: edits
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns  #: edits

def read_all(directory, names):
    found, place = [], os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    for name in names:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=place)
        status = os.fstat(source)
        readers = None
        if status.st_mode & 0o077:  #: readers
            try: readers = os.getxattr(source, "system.posix_acl_access")  #: readers
            except OSError: pass  #: readers
        data = os.read(source, status.st_size + 1)
        after = os.fstat(source)  #: edits
        if stamp(after) != stamp(status) or len(data) != status.st_size: continue  #: edits
        os.close(source)
        found.append((name, status, data, sha256(data).digest(), readers))
    return place, found

def ask(child, directory, found):
    pieces = []
    for name, _, data, _, _ in found:
        path = os.fsencode(directory + "/" + name)
        pieces += (struct.pack("<II", len(path), len(data)), path, data)
    child.stdin.write(b"".join(pieces))
    child.stdin.flush()

def write_all(child, directory, place, found):
    try:
        os.mkdir("__pycache__", dir_fd=place)
    except FileExistsError:
        pass
    cache = os.open("__pycache__", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
    above = os.fstat(cache)  #: readers
    try: os.getxattr(cache, "system.posix_acl_default")  #: readers
    except OSError: pass  #: readers
    rows = []  #: records
    for name, status, data, digest, readers in found:
        (size,) = struct.unpack("<I", child.stdout.read(4))
        if not size:
            continue
        body = child.stdout.read(size)
        proof = sha256(body).digest()
        header = MAGIC + struct.pack("<III", 0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
        new = os.open(NEW, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, status.st_mode & 0o666, dir_fd=cache)
        os.writev(new, (header, body))
        own = os.fstat(new)
        due = above.st_uid, above.st_gid, status.st_mode & 0o666  #: readers
        if (own.st_uid, own.st_gid, own.st_mode & 0o777) != due: raise SystemExit  #: readers
        os.close(new)
        os.rename(NEW, name[:-3] + TAG, src_dir_fd=cache, dst_dir_fd=cache)
        got = os.stat(name[:-3] + TAG, dir_fd=cache, follow_symlinks=False)  #: records
        if (got.st_ino, got.st_mtime_ns) != (own.st_ino, own.st_mtime_ns): continue  #: records
        rows.append(ROW.pack(*stamp(status), digest[:16], *stamp(got), proof[:16], header) + name.encode())  #: records
    say.send(pickle.dumps((directory, b"\n".join(rows))))  #: records
    os.close(cache)
    os.close(place)

def work(pieces):
    global NEW
    NEW = "new.%d" % os.getpid()
    child = start()
    before = None
    for directory, names, size in pieces:
        place, found = read_all(directory, names)
        if before and size > AHEAD:
            write_all(child, *before)
            before = None
        ask(child, directory, found)
        if before:
            write_all(child, *before)
        before = directory, place, found
        if size > AHEAD:
            write_all(child, *before)
            before = None
    if before:
        write_all(child, *before)
    child.stdin.close()
    child.wait()

about = "import importlib.util, sys; print(importlib.util.MAGIC_NUMBER.hex(), sys.implementation.cache_tag)"
magic, tag = subprocess.run([target, "-I", "-S", "-c", about], stdout=subprocess.PIPE, text=True).stdout.split()
MAGIC, TAG = bytes.fromhex(magic), "." + tag + ".pyc"
pieces = []
for directory, _, names in os.walk(tree):
    taken, size = [], 0
    for entry in os.scandir(directory):
        if entry.name.endswith(".py") and entry.is_file(follow_symlinks=False):
            taken.append(entry.name)
            size += entry.stat().st_size
            if size > AHEAD // 2:
                pieces.append((directory, taken, size))
                taken, size = [], 0
    if taken:
        pieces.append((directory, taken, size))
pieces.sort(key=lambda piece: piece[2], reverse=True)
hear, say = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  #: records
if os.fork():  #: records
    say.close()  #: records
    database = sqlite3.connect("")  #: records
    database.execute("create table records (directory, pycs)")  #: records
    while row := hear.recv(1 << 20):  #: records
        database.execute("insert into records values (?, ?)", pickle.loads(row))  #: records
    database.commit()  #: records
    os.wait()  #: records
    sys.exit()  #: records
child = os.fork()
work(pieces[bool(child)::2])
if not child:
    os._exit(0)
os.wait()
"""

#: The same for a second run.
SECOND_PROMISES = {
    "readers": "a pyc has the readers of its source",
    "places": "nothing is believed of a place where another account may rename",
    "links": "no link is followed",
    "orphans": "no pyc is left without its source",
    "ticks": "a later change shows",
    "hooks": "the next hook looks at a directory by one status",
}

#: A second run over a tree that was compiled: a tree, the first run's manifest, the tag of its pycs, and a new database
#: for what the third run relies on.
_SECOND = r"""
import gc, os, sqlite3, struct, sys
import time  #: ticks
import json  #: hooks
gc.disable()
tree, manifest, tag, notes = sys.argv[1:]
glances = {}  #: hooks
def is_young(status, now):  #: ticks
    return max(status.st_mtime_ns, status.st_ctime_ns) + 20000000 >= now  #: ticks
known, settled = sqlite3.connect(manifest), sqlite3.connect(notes)
RECORDS = "select names, records from blocks where directory = ?"
PACK, RECORD, NO_RECORD = struct.Struct("<5Q").pack, struct.Struct("<40s20s40s20s17pqH"), (b"",) * 5

def stamp(status):
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

def entries(directory):
    sources, below = [], []
    for entry in os.scandir(directory):
        if entry.name.endswith(".py"):
            sources.append(entry.name)
        elif entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
            below.append(entry.name)
    return sorted(sources), sorted(below)

def notes_below(path, directory):
    began = time.time_ns()  #: ticks
    place = os.fstat(directory)
    if place.st_uid or place.st_mode & 0o022: sys.exit(3)  #: places
    seen = [PACK(*stamp(place))]
    glances[path] = seen[0].hex()  #: hooks
    young = is_young(place, began)  #: ticks
    sources, below = entries(directory)
    if sources:
        cache = os.open("__pycache__", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        place = os.fstat(cache)
        if place.st_uid or place.st_mode & 0o022: sys.exit(3)  #: places
        seen.append(PACK(*stamp(place)))
        glances[path + "/__pycache__"] = seen[1].hex()  #: hooks
        young |= is_young(place, began)  #: ticks
        there = set(os.listdir(cache))
        if there.difference([name[:-3] + tag for name in sources]): sys.exit(4)  #: orphans
        records = {}
        for names, packed in known.execute(RECORDS, (os.fsencode(path + "/__pycache__"),)):
            records.update(zip(os.fsdecode(names).split("\0"), RECORD.iter_unpack(packed)))
        for name in sources:
            pyc = name[:-3] + tag
            source, _, own, _, header = records.get(pyc, NO_RECORD)[:5]
            status, its = os.lstat(name, dir_fd=directory), os.lstat(pyc, dir_fd=cache)
            if its.st_mode & 0o022 or (status.st_mode ^ its.st_mode) & 0o444: sys.exit(5)  #: readers
            if its.st_mode & 0o444 != 0o444 and status[4:6] != its[4:6]: sys.exit(5)  #: readers
            if status.st_mode & its.st_mode & 0o170000 != 0o100000: sys.exit(6)  #: links
            status, its = stamp(status), stamp(its)
            packed = PACK(*status), PACK(*its)
            if pyc not in there or packed != (source, own):
                seen = None  # it doesn't compile, or was too young
                break
            if header[8:] != struct.pack("<II", status[3] // 1000000000, status[2]):
                sys.exit(2)
            seen += packed
        os.close(cache)
    if young: seen = None  #: ticks
    if seen:
        yield path, "/".join(below), "/".join(sources), b"".join(seen)
    for name in below:
        place = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        yield from notes_below(path + "/" + name, place)
        os.close(place)

settled.execute("create table settled (path primary key, below, sources, seen) without rowid")
rows = notes_below(tree, os.open(tree, os.O_RDONLY | os.O_DIRECTORY))
settled.executemany("insert into settled values (?, ?, ?, ?)", rows)
settled.execute("create table parts (glances)")  #: hooks
settled.execute("insert into parts values (?)", (json.dumps(glances),))  #: hooks
settled.commit()
"""

_MARKED = re.compile(r"^(.*\S)  #: (\w+)\n", re.MULTILINE)


def floor(python: str, target: str, tree: str, *promises: str) -> list[str]:
    """The command line of that program, for a host's interpreter and a target's; it keeps these promises, too."""

    return [python, "-I", "-S", "-c", _keeping(promises, FLOOR), tree, target, _keeping(promises, _WORKER)]


def second(python: str, tree: str, manifest: str, tag: str, notes: str, *promises: str) -> list[str]:
    """The command line of a second run that only looks whether all is as recorded, takes that down, and keeps these."""
    return [python, "-I", "-S", "-c", _keeping(promises, _SECOND), tree, manifest, tag, notes]


def _keeping(promises: Collection[str], program: str) -> str:
    return _MARKED.sub(lambda line: f"{line[1]}\n" if line[2] in promises else "", program)
