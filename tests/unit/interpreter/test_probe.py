"""Starting an interpreter to ask what it is, and its answer, checked as untrusted data."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from processes import wait_until
from pyctrigger.errors import InterpreterError, RefusedError
from pyctrigger.interpreter import child
from pyctrigger.interpreter import probe as module
from pyctrigger.interpreter.interpreter import Account, Interpreter, facts_of
from pyctrigger.interpreter.probe import is_complete, parse_answer, probe, require_modest
from pyctrigger.interpreter.rights import Rights
from unit.interpreter.made_up import BUILD, open_way_to

if TYPE_CHECKING:
    from pathlib import Path

MARK = b"\npyctrigger-probe:"
SAID: dict[str, Any] = {
    "implementation": "cpython",
    "version": [3, 11, 7],
    "release": "3.11.7",
    "cache_tag": "cpython-311",
    "magic_number": "a70d0d0a",
    "abi_flags": "",
    "free_threaded": False,
    "prefix": "/usr",
    "schemes": {"deb_system": {"purelib": "/usr/lib/python3/dist-packages", "stdlib": "/usr/lib/python3.11"}},
    "default_scheme": "deb_system",
    "inside": ["/@/lib/python3.11/site-packages"],
    "build": BUILD,
    "class_names": ["cmp_to_key.<locals>.K", "finalize._Info"],
    "witnesses": ["/usr/lib/python3.11/os.py"],
}


def said(answer: Any, noise: bytes = b"") -> bytes:
    """The bytes on standard output, with what a sitecustomize may print around them."""
    return noise + MARK + json.dumps(answer).encode() + b"\n" + noise


def parse(**changes: Any) -> Any:
    """The answer with other fields; None leaves one out."""
    return parse_answer("/p", said({key: value for key, value in {**SAID, **changes}.items() if value is not None}))


def test_every_field_arrives() -> None:
    """As a value of the right kind."""
    found = parse()
    expected = Interpreter(
        executable="/p",
        implementation="cpython",
        version=(3, 11, 7),
        release="3.11.7",
        cache_tag="cpython-311",
        magic_number=b"\xa7\r\r\n",
        abi_flags="",
        free_threaded=False,
        prefix="/usr",
        schemes=SAID["schemes"],
        default_scheme="deb_system",
        inside=("/@/lib/python3.11/site-packages",),
        build=tuple(SAID["build"].items()),
        class_names=("cmp_to_key.<locals>.K", "finalize._Info"),
    )
    assert (expected, ("/usr/lib/python3.11/os.py",)) == found


@pytest.mark.parametrize("noise", [b"", b"hello\n", b"\xff\0{}", b"pyctrigger-probe:{}"])
def test_an_answer_is_found_in_the_noise(noise: bytes) -> None:
    """What precedes and follows its line is ignored."""
    assert "cpython-311" == parse_answer("/p", said(SAID, noise))[0].cache_tag


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", False),
        (b"anything\n", False),
        (MARK, False),
        (MARK + b"{}", False),
        (MARK + b"{}\n", True),
        (MARK + b"\n", True),
        (b"x" + MARK + b"{}\nmore", True),
        (MARK[1:] + b"{}\n", False),
    ],
)
def test_a_line_is_waited_for_to_its_end(data: bytes, expected: bool) -> None:
    """And for nothing behind it."""
    assert expected is is_complete(data)
    assert expected is is_complete(bytearray(data))


UNREADABLE = "/p gave an unreadable answer"
#: Bytes that are no answer.
NO_ANSWERS = [b"", b"[]", MARK + b"\n", MARK + b"[]\n", MARK + b"7\n", MARK + b"{\n", MARK + b"\xff\n", said("text")]


@pytest.mark.parametrize("data", [*NO_ANSWERS, MARK + b"[" * 100_000 + b"\n"])
def test_bytes_that_are_no_answer(data: bytes) -> None:
    """Not an object, no JSON, no text, or nested without end."""
    with pytest.raises(InterpreterError) as caught:
        parse_answer("/p", data)
    assert UNREADABLE == caught.value.message


LONG = "x" * 65
PATH_4096, PATH_4097 = "/" + "x" * 4095, "/" + "x" * 4096
#: One field with another value, and what is said of it; None: it is accepted.
FIELDS: list[tuple[str, Any, str | None]] = [
    ("implementation", "pypy", None),
    ("implementation", "a" * 64, None),
    ("implementation", LONG, f"implementation is '{LONG}'"),
    ("implementation", "", "implementation is ''"),
    ("implementation", "c python", "implementation is 'c python'"),
    ("implementation", "caf\u00e9", "implementation is 'caf\\xe9'"),
    ("implementation", "cpython\n", "implementation is 'cpython\\n'"),
    ("implementation", 7, "implementation is 7"),
    ("version", [3, 6, 0], None),
    ("version", [3, 15, 999], None),
    ("version", [3, 15, 1000], "version is [3, 15, 1000]"),
    ("version", [3, 15, -1], "version is [3, 15, -1]"),
    ("version", [3, 15], "version is [3, 15]"),
    ("version", [3, 15, 0, 0], "version is [3, 15, 0, 0]"),
    ("version", [4, 0, 0], "version is [4, 0, 0]"),
    ("version", [3, 11, True], "version is [3, 11, True]"),
    ("version", "3.11.7", "version is '3.11.7'"),
    ("release", "3.14.0rc2+~-", None),
    ("release", "3.14 rc", "release is '3.14 rc'"),
    ("cache_tag", "c" * 64, None),
    ("cache_tag", LONG, f"cache_tag is '{LONG}'"),
    ("cache_tag", "cpython.311", "cache_tag is 'cpython.311'"),
    ("cache_tag", "../x", "cache_tag is '../x'"),
    ("cache_tag", ["x"], "cache_tag is ['x']"),
    ("magic_number", "ffff0d0a", None),
    ("magic_number", "a70d0d0b", "magic_number is 'a70d0d0b'"),
    ("magic_number", "A70D0D0A", "magic_number is 'A70D0D0A'"),
    ("magic_number", "a70d0d0a00", "magic_number is 'a70d0d0a00'"),
    ("abi_flags", "td", None),
    ("abi_flags", "abcdefgh", None),
    ("abi_flags", "abcdefghi", "abi_flags is 'abcdefghi'"),
    ("abi_flags", "T", "abi_flags is 'T'"),
    ("free_threaded", True, None),
    ("free_threaded", 1, "free_threaded is 1"),
    ("free_threaded", "no", "free_threaded is 'no'"),
    ("prefix", "/", None),
    ("prefix", PATH_4096, None),
    ("prefix", PATH_4097, f"not an absolute path: {ascii(PATH_4097)[:100]}"),
    ("prefix", "usr", "not an absolute path: 'usr'"),
    ("prefix", "", "not an absolute path: ''"),
    ("prefix", "/a\0b", "not an absolute path: '/a\\x00b'"),
    ("prefix", "/a/../b", "not a normalized path: '/a/../b'"),
    ("prefix", "/a/..", "not a normalized path: '/a/..'"),
    ("prefix", "/a/..b", None),
    ("prefix", "/\ud800", "not a file name: '/\\ud800'"),
    ("prefix", "/\udcff", None),
    ("prefix", 7, "not an absolute path: 7"),
    ("schemes", {}, None),
    ("schemes", {f"s{number}": {} for number in range(64)}, None),
    ("schemes", {"x": {"purelib": "/a", "platlib": "/b", "stdlib": "/c", "platstdlib": "/d"}}, None),
    ("schemes", {"x": {"scripts": "/a"}}, "not a scheme: 'x'"),
    ("schemes", {"x": ["/a"]}, "not a scheme: 'x'"),
    ("schemes", {"a b": {}}, "not a scheme: 'a b'"),
    ("schemes", {"x": {"purelib": "a"}}, "not an absolute path: 'a'"),
    ("schemes", [], "not a table of schemes: []"),
    ("default_scheme", "posix_prefix", None),
    ("default_scheme", "posix-prefix", "default_scheme is 'posix-prefix'"),
    ("inside", [], None),
    ("inside", ["/@/" + "x"] * 64, None),
    ("inside", ["/usr/lib"], "not a path in an environment: '/usr/lib'"),
    ("inside", ["/@"], "not a path in an environment: '/@'"),
    ("inside", "/@/x", "not a list of paths: '/@/x'"),
    ("build", {}, "not the facts of a build: {}"),
    ("build", [], "not the facts of a build: []"),
    (
        "build",
        {**SAID["build"], "more": "x"},
        f"not the facts of a build: {ascii({**SAID['build'], 'more': 'x'})[:100]}",
    ),
    ("build", {**SAID["build"], "pypy": "7.3.11.final.0"}, None),
    ("build", {**SAID["build"], "system": "GNU/kFreeBSD"}, None),
    ("build", {**SAID["build"], "system": "caf\u00e9"}, "system is 'caf\\xe9'"),
    ("build", {**SAID["build"], "c_library": "x" * 100}, None),
    ("build", {**SAID["build"], "c_library": "x" * 101}, f"c_library is '{'x' * 99}"),
    ("build", {**SAID["build"], "debug": False}, "debug is False"),
    ("build", {**SAID["build"], "word": "64\nlittle"}, "word is '64\\nlittle'"),
    ("class_names", [], None),
    ("class_names", ["x" * 200] * 64, None),
    ("class_names", ["x" * 201], f"not the name of a class: '{'x' * 99}"),
    ("class_names", ["a b"], "not the name of a class: 'a b'"),
    ("class_names", [""], "not the name of a class: ''"),
    ("class_names", [1], "not the name of a class: 1"),
    ("class_names", "x", "not a list of classes: 'x'"),
    ("witnesses", [], None),
    ("witnesses", ["/x"] * 64, None),
    ("witnesses", ["relative"], "not an absolute path: 'relative'"),
    ("witnesses", {}, "not a list of paths: {}"),
]


@pytest.mark.parametrize(("key", "value", "problem"), FIELDS)
def test_a_field_is_what_a_python_says(key: str, value: Any, problem: str | None) -> None:
    """In type, length and alphabet."""
    if problem is None:
        parse(**{key: value})
        return
    with pytest.raises(InterpreterError) as caught:
        parse(**{key: value})
    assert f"/p gave an invalid answer: {problem}" == caught.value.message


@pytest.mark.parametrize("key", ["schemes", "inside", "witnesses", "class_names"])
def test_a_list_has_an_end(key: str) -> None:
    """Sixty-five of anything is more than a Python has."""
    many: Any = {f"s{number}": {} for number in range(65)} if key == "schemes" else ["/@/x"] * 65
    with pytest.raises(InterpreterError, match=r"not a table of schemes: |not a list of (paths|classes): "):
        parse(**{key: many})


@pytest.mark.parametrize("key", [key for key in SAID if key != "cache_tag"])
def test_an_answer_without_a_field_is_incomplete(key: str) -> None:
    """It says which one."""
    with pytest.raises(InterpreterError) as caught:
        parse(**{key: None})
    assert f"/p gave an incomplete answer: it lacks '{key}'" == caught.value.message


#: What may be a Python, and can be no target: what it says, and what we say of it.
NO_TARGETS = [
    ({"version": [3, 5, 9]}, "/p is Python 3.5.9; 3.6 is the oldest target"),
    ({"version": [2, 7, 18]}, "/p is Python 2.7.18; 3.6 is the oldest target"),
    ({"version": [2, 7, 18], "schemes": None}, "/p is Python 2.7.18; 3.6 is the oldest target"),
    ({"cache_tag": ""}, "/p has no cache tag (sys.implementation.cache_tag is None): it can't use bytecode"),
]


@pytest.mark.parametrize(("changes", "message"), NO_TARGETS)
def test_a_python_that_can_be_no_target(changes: dict[str, Any], message: str) -> None:
    """Too old, or without bytecode, whatever else is wrong."""
    with pytest.raises(InterpreterError) as caught:
        parse(**changes)
    assert message == caught.value.message


def test_no_cache_tag_is_no_missing_one() -> None:
    """`null` is an answer."""
    with pytest.raises(InterpreterError, match="has no cache tag"):
        parse_answer("/p", said({**SAID, "cache_tag": None}))
    with pytest.raises(InterpreterError, match="it lacks 'cache_tag'"):
        parse(cache_tag=None)


# -- directories that another account's interpreter claims ------------------------------------------------------------


def claiming(account: Account | None, *paths: str, environment: str | None = None) -> Interpreter:
    """An interpreter of an account's in /home/p, with these directories in a scheme."""
    schemes = {"scheme": dict(zip(("purelib", "platlib"), paths))}
    interpreter: Interpreter = parse(prefix="/home/p", schemes=schemes)[0]
    return interpreter._replace(account=account, environment=environment)


OWNERS = {"/srv/theirs": 1000, "/srv/roots": 0, "/home/p": 1000, "/home/pp": 0, "/opt/env/lib": 0}
CLAIMS: list[tuple[int | None, str, str | None, bool]] = [
    (None, "/srv/roots", None, True),  # our own, or root's: nobody else chooses
    (1000, "/home/p", None, True),
    (1000, "/home/p/lib", None, True),
    (1000, "/home/pp", None, False),
    (1000, "/srv/theirs", None, True),
    (1000, "/srv/roots", None, False),
    (1000, "/srv/absent", None, True),
    (1000, "/opt/env/lib", None, False),
    (1000, "/opt/env/lib", "/opt/env", True),
    (1000, "/opt/env/lib", "/opt/env/", True),
    (1000, "/opt/env/lib", "/opt/envX", False),
    (1001, "/srv/theirs", None, False),
]


@pytest.mark.parametrize(("uid", "path", "environment", "is_modest"), CLAIMS)
def test_an_accounts_interpreter_names_its_own_directories(
    monkeypatch: pytest.MonkeyPatch, uid: int | None, path: str, environment: str | None, is_modest: bool
) -> None:
    """Below its home or its environment, owned by it, or not there."""
    monkeypatch.setattr(module, "_owner_of", OWNERS.get)
    account = None if uid is None else Account(uid, uid)
    interpreter = claiming(account, "/home/p", path, environment=environment)
    if is_modest:
        require_modest(interpreter)
        return
    with pytest.raises(RefusedError) as caught:
        require_modest(interpreter)
    message = f"/p belongs to account {uid}, but claims {path}"
    assert (message, "name an interpreter that root owns") == (caught.value.message, caught.value.hint)


def test_owner_is_the_links_not_its_goals(tmp_path: Path) -> None:
    """And no account's if nothing is there."""
    (tmp_path / "link").symlink_to("nowhere")
    assert (os.geteuid(), None) == (module._owner_of(str(tmp_path / "link")), module._owner_of(str(tmp_path / "none")))


# -- programs that are started ----------------------------------------------------------------------------------------

ALICE = 64601


def program(place: Path, body: str, **changes: Any) -> str:
    """A script whose `answer` is a Python's, with other fields."""
    (place / "answer").write_bytes(said({**SAID, **changes}))
    path = place / "python"
    path.write_text(f'#!/bin/sh\nanswer() {{ sed "s/@UID@/$(id -u)/" {place}/answer; }}\n{body}\n')
    path.chmod(0o755)
    return str(path)


WORKS, NO_PYTHON = "", "is not a working Python: "
#: A program, the seconds that it has, and what is said of it.
PROGRAMS = [
    ("answer", 30, WORKS),
    ("echo hello; answer; echo bye", 30, WORKS),
    ("sleep 0.3; answer", 30, WORKS),
    ("answer; sleep 0.3", 30, WORKS),
    ("cat; answer", 30, WORKS),
    ("exec 2>&-; sleep 0.2; answer", 30, WORKS),
    ("true", 30, f"{NO_PYTHON}exit status 0"),
    ("exit 3", 30, f"{NO_PYTHON}exit status 3"),
    ("answer; exit 3", 30, f"{NO_PYTHON}exit status 3"),
    ("echo no way >&2; exit 3", 30, f"{NO_PYTHON}exit status 3, it said: no way"),
    ("kill -9 $$", 30, f"{NO_PYTHON}killed by SIGKILL"),
    ("exec >&- 2>&-; sleep 0.2; exit 4", 30, f"{NO_PYTHON}exit status 4"),
    ("sleep 2 & exit 5", 1, f"{NO_PYTHON}exit status 5"),
    ("exec sleep 60", 0.2, "did not answer within 0.2 s"),
    ("answer; exec sleep 60", 1, "did not end within 1 s"),
    ("head -c 1000 /dev/zero", 30, f"{NO_PYTHON}exit status 0"),
    ("head -c 1001 /dev/zero", 30, "is not a Python: its answer is too long"),
    ("head -c 1001 /dev/zero >&2; sleep 60", 30, "is not a Python: its answer is too long"),
]


@pytest.mark.parametrize(("body", "timeout", "problem"), PROGRAMS)
def test_what_starts_is_a_python_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, timeout: float, problem: str
) -> None:
    """It answers and ends in time; what others keep open isn't waited for, and nothing of it stays."""
    monkeypatch.setattr(module, "_MAX_BYTES", 1000)
    path = program(tmp_path, f"echo $$ > {tmp_path}/pid\n{body}")
    before = len(os.listdir("/proc/self/fd"))
    if problem == WORKS:
        assert "3.11.7" == probe(path, timeout=timeout).interpreter.release
    else:
        with pytest.raises(InterpreterError) as caught:
            probe(path, timeout=timeout)
        assert f"{path} {problem}" == caught.value.message
    assert len(os.listdir("/proc/self/fd")) <= before
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_is_done_meanwhile(tmp_path: Path) -> None:
    """The interpreter runs at that time; if it fails, nothing of it stays."""
    path = program(tmp_path, f"echo $$ > {tmp_path}/pid\nuntil [ -e {tmp_path}/seen ]; do sleep 0.01; done; answer")

    def look() -> None:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
        os.kill(int((tmp_path / "pid").read_text()), 0)
        (tmp_path / "seen").touch()

    assert "3.11.7" == probe(path, meanwhile=look).interpreter.release

    def fail() -> None:
        wait_until(lambda: (tmp_path / "pid").read_text() != "")
        raise RefusedError("no")

    for name in ("seen", "pid"):
        (tmp_path / name).unlink()
    (tmp_path / "pid").touch()
    with pytest.raises(RefusedError, match="no"):
        probe(path, meanwhile=fail)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_system_that_refuses_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some sandboxes do."""

    def refuse() -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("select.poll", refuse)
    path = program(tmp_path, "answer")
    with pytest.raises(InterpreterError) as caught:
        probe(path)
    assert f"{path} can't be probed: Operation not permitted" == caught.value.message


@pytest.mark.parametrize("marker", ["pyvenv.cfg", "none"])
def test_an_answer_is_kept_with_what_it_rests_on(tmp_path: Path, marker: str) -> None:
    """The executable, all above it, and what it has loaded, if that exists."""
    place, loaded = tmp_path / "v/bin", tmp_path / "os.py"
    place.mkdir(parents=True)
    (tmp_path / "v" / marker).touch()
    loaded.touch()
    path = program(place, "answer", release="@UID@", witnesses=[str(loaded), f"{tmp_path}/absent"])
    found = probe(path)
    environment = str(tmp_path / "v") if marker == "pyvenv.cfg" else None
    assert (path, f"{os.geteuid()}", None, None, environment) == (
        found.interpreter.executable,
        found.interpreter.release,
        found.interpreter.account,
        found.interpreter.root,
        found.interpreter.environment,
    )
    present = {each.path for each in found.witnesses if each.facts}
    assert {str(tmp_path), str(place), path, str(loaded)} <= present
    assert f"{tmp_path}/absent" not in present


def test_what_changes_while_it_is_asked_isnt_believed(tmp_path: Path) -> None:
    """It may be another one by now."""
    path = program(tmp_path, 'touch "$0"; answer')
    with pytest.raises(RefusedError) as caught:
        probe(path)
    assert (f"{path}, or what it loads, changed while it was probed", "run it again") == (
        caught.value.message,
        caught.value.hint,
    )


@pytest.mark.usefixtures("as_root")
def test_what_root_started_loads_nothing_of_others(tmp_path: Path) -> None:
    """Its code ran as root."""
    loaded = tmp_path / "os.py"
    loaded.touch()
    os.chown(loaded, ALICE, ALICE)
    path = program(tmp_path, "answer", witnesses=[str(loaded)])
    with pytest.raises(RefusedError) as caught:
        probe(path)
    message = f"{path} loads {loaded}, which somebody other than root owns"
    assert (message, "run as that account, or name another interpreter") == (caught.value.message, caught.value.hint)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Rights]:
    """The rights of all that is started."""
    found: list[Rights] = []

    def start(executable: str, name: str, *, rights: Rights) -> Any:
        found.append(rights)
        return child.start(executable, name, rights=rights)

    monkeypatch.setattr(module, "start", start)
    return found


@pytest.mark.usefixtures("as_root")
def test_an_accounts_interpreter_is_asked_under_that_account(tmp_path: Path, started: list[Rights]) -> None:
    """What it says that it loads proves nothing; what it claims has to be its own."""
    loaded = tmp_path / "os.py"
    loaded.touch()
    path = program(open_way_to(tmp_path), "answer", release="@UID@", witnesses=[str(loaded)])
    os.chown(path, ALICE, ALICE)
    found = probe(path)
    assert [Rights(Account(ALICE, ALICE), is_foreign=True)] == started
    assert (Account(ALICE, ALICE), str(ALICE)) == (found.interpreter.account, found.interpreter.release)
    names = [each.path for each in found.witnesses]
    assert (True, False) == (path in names, str(loaded) in names)
    program(tmp_path, "answer", prefix="/home", schemes={"x": {"purelib": "/usr"}})
    with pytest.raises(RefusedError, match=f"belongs to account {ALICE}, but claims /usr"):
        probe(path)


@pytest.mark.usefixtures("as_root")
def test_a_roots_interpreter_is_asked_under_nobodys_account(tmp_path: Path, started: list[Rights]) -> None:
    """After a chroot(2); the answer rests on what it names, seen from outside."""
    place, loaded = tmp_path / "v/bin", tmp_path / "os.py"
    place.mkdir(parents=True)
    (tmp_path / "v/pyvenv.cfg").touch()
    loaded.touch()
    path = program(place, "answer", release="@UID@", witnesses=[str(loaded), f"{tmp_path}/absent"])
    open_way_to(place)
    found = probe(path, root="/")
    assert (path, "/", f"/{tmp_path}/v", None) == (
        found.interpreter.executable,
        found.interpreter.root,
        found.interpreter.environment,
        found.interpreter.account,
    )
    uid = int(found.interpreter.release)
    assert (True, [Rights(Account(uid, uid), uid, "/")]) == (uid >= 60_578, started)
    paths = (f"/{path}", f"/{loaded}")
    assert [(each, facts_of(os.stat(each))) for each in paths] == [tuple(each) for each in found.witnesses]
