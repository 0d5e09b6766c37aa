"""What the promises need, and nothing else: the floor of a program in Python that keeps them.

Two processes read, prove and write, each with a worker that only compiles. Nothing is judged, recorded, reported,
bounded or dealt out; nobody looks whether a directory may be trusted, and no worker is confined. What is left is what a
run can't do without: each source is opened below the descriptor of its directory, without following a link, and read;
it goes to another process, and its code comes back; both are digested; a pyc gets its name when it is whole.
"""

from __future__ import annotations

#: The worker, of the target: as the one of the bare loop, but source and code come and go through pipes.
_WORKER = r"""
import gc, marshal, struct, sys, warnings
warnings.simplefilter("ignore")
gc.disable()
read, write = sys.stdin.buffer.read, sys.stdout.buffer
while True:
    head = read(8)
    if not head:
        break
    path, size = struct.unpack("<II", head)
    path = read(path).decode("utf-8", "surrogateescape")
    try:
        body = marshal.dumps(compile(read(size), path, "exec", dont_inherit=True, optimize=0))
    except (SyntaxError, ValueError):
        body = b""
    write.write(struct.pack("<I", len(body)) + body)
    write.flush()
"""

#: The program: a tree, and the target.
FLOOR = r"""
import fcntl, gc, os, stat, struct, subprocess, sys
from hashlib import sha256
gc.disable()
tree, target, worker = sys.argv[1:]
WIDE, AHEAD = 1 << 20, 1 << 17

def start():
    child = subprocess.Popen([target, "-I", "-S", "-c", worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for end in (child.stdin, child.stdout):
        fcntl.fcntl(end, 1031, WIDE)  # F_SETPIPE_SZ
    return child

def read_all(directory, names):
    found, place = [], os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    for name in names:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=place)
        status = os.fstat(source)
        data = os.read(source, status.st_size + 1)
        os.close(source)
        found.append((name, status, data, sha256(data).digest()))
    return place, found

def ask(child, directory, found):
    pieces = []
    for name, _, data, _ in found:
        path = os.fsencode(directory + "/" + name)
        pieces += (struct.pack("<II", len(path), len(data)), path, data)
    child.stdin.write(b"".join(pieces))
    child.stdin.flush()

def write_all(child, place, found):
    try:
        os.mkdir("__pycache__", dir_fd=place)
    except FileExistsError:
        pass
    cache = os.open("__pycache__", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
    for name, status, data, digest in found:
        (size,) = struct.unpack("<I", child.stdout.read(4))
        if not size:
            continue
        body = child.stdout.read(size)
        proof = sha256(body).digest()
        header = MAGIC + struct.pack("<III", 0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
        new = os.open(NEW, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, status.st_mode & 0o666, dir_fd=cache)
        os.writev(new, (header, body))
        os.fstat(new)
        os.close(new)
        os.rename(NEW, name[:-3] + TAG, src_dir_fd=cache, dst_dir_fd=cache)
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
        before = place, found
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
child = os.fork()
work(pieces[bool(child)::2])
if not child:
    os._exit(0)
os.wait()
"""


def floor(python: str, target: str, tree: str) -> list[str]:
    """The command line of that program, for a host's interpreter and a target's."""
    return [python, "-I", "-S", "-c", FLOOR, tree, target, _WORKER]
