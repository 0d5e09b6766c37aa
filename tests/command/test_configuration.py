"""The configuration: every key, all faults at once with hints, and which file is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from children import public_directory
from confinement import NOBODY, command_for, private_mounts
from conftest import absent
from packages import pycs_below, write_tree
from pyctrigger.errors import ConfigurationError
from pyctrigger.pyc.header import InvalidationMode
from pyctrigger.run.scope.config import FlavourSettings, Settings, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command import Argument, Command
    from interpreters import Interpreter

#: The contract's table, with its defaults.
DEFAULTS = """
[defaults]
optimize = [0]              # each package ships its system's policy
invalidation_mode = "timestamp"
exclude = []
create_missing = true
owned_stale = "keep"
untrusted_directories = "refuse"
duplicates = "hardlink"
jobs = 0
file_timeout = 60
memory_limit = "2GiB"
lock_timeout = 300
log = "none"
[store]
url = ""
write = true
trusted_keys = []
signing_key = ""
password_file = ""
max_size = "1GiB"
timeout = 1.0
[hooks]
enabled = true
"""

EVERY_KEY = r"""
[defaults]
optimize = [2, 0, 2]
invalidation_mode = "checked-hash"
exclude = ["*/lib2to3/tests/data/*", "*.bad.py"]
create_missing = false
owned_stale = "replace"
untrusted_directories = "allow"
duplicates = "copy"
jobs = 3
file_timeout = 2.5
memory_limit = "512 MiB"
lock_timeout = 0
log = "syslog"
[store]
url = "local"
write = false
trusted_keys = ["ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "/etc/pyctrigger.keys"]
signing_key = "/etc/pyctrigger.pem"
password_file = "/etc/pyctrigger.password"
max_size = "5 GiB"
timeout = 2
[hooks]
enabled = false
[flavours."3.11"]
executable = "/usr/local/bin/python3.11"
optimize = [0, 1, 2]
site_dirs = ["/usr/local/lib/python3.11/site-packages"]
[flavours."3.13t"]
optimize = [1]
[flavours."pypy3.9"]
"""

EVERY_FAULT = r"""
optimise = [1]
[defaults]
optimize = [0, 3]
invalidation_mode = "sometimes"
exclude = "*/tests/*"
create_missing = 1
owned_stale = "keeep"
untrusted_directories = "ask"
duplicates = []
jobs = 4097
file_timeout = -1
memory_limit = "2 GB of RAM"
lock_timeout = true
log = ["syslog"]
jobz = 1
"two\nlines" = 1
[store]
url = "store"
write = 0
trusted_keys = ["ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
signing_key = "~/key"
password_file = 3
max_size = "1 PiB"
timeout = 0
key = ""
[hooks]
enabled = "no"
disabled = true
[flavours."3.11"]
executable = "python3.11"
optimize = []
site_dirs = ["lib"]
prefix = "/usr"
[flavours.py312]
optimize = [0]
[flavours.3.13]
optimize = [0]
"""

KEYS = (
    "optimize, invalidation_mode, exclude, create_missing, owned_stale, untrusted_directories, duplicates, jobs, "
    "file_timeout, memory_limit, lock_timeout, log"
)
SIZE = 'a size such as "2GiB", "512MiB" or a number of bytes'
FAULTS = [
    "optimise is not known; known keys: defaults, store, hooks, flavours",
    f"defaults.jobz is not known (did you mean jobs?); known keys: {KEYS}",
    rf"defaults.'two\nlines' is not known; known keys: {KEYS}",
    "defaults.optimize can't be [0, 3]; write a list of optimization levels, such as [0, 1, 2]",
    'defaults.invalidation_mode can\'t be \'sometimes\'; write one of "timestamp", "checked-hash", "unchecked-hash"',
    "defaults.exclude can't be '*/tests/*'; write a list of texts, such as [\"*/tests/data/*\"]",
    "defaults.create_missing can't be 1; write true or false",
    'defaults.owned_stale can\'t be \'keeep\'; write one of "keep", "replace" (did you mean keep?)',
    'defaults.untrusted_directories can\'t be \'ask\'; write one of "refuse", "allow"',
    'defaults.duplicates can\'t be []; write one of "hardlink", "copy"',
    "defaults.jobs can't be 4097; write a whole number from 0 to 4096",
    "defaults.file_timeout can't be -1; write a number of seconds, 0 or more",
    f"defaults.memory_limit can't be '2 GB of RAM'; write {SIZE}",
    "defaults.lock_timeout can't be True; write a number of seconds, 0 or more",
    'defaults.log can\'t be [\'syslog\']; write one of "none", "syslog"',
    "store.key is not known; known keys: url, write, trusted_keys, signing_key, password_file, max_size, timeout",
    'store.url can\'t be \'store\'; write "", "local", an absolute path, or a URL',
    "store.write can't be 0; write true or false",
    f"store.trusted_keys can't be ['ed25519:{'A' * 43}=']; anybody can sign for this key",
    "store.signing_key can't be '~/key'; write \"\" or an absolute path",
    'store.password_file can\'t be 3; write "" or an absolute path',
    f"store.max_size can't be '1 PiB'; write {SIZE}",
    "store.timeout can't be 0; write a number of seconds, more than 0 and at most 60",
    "hooks.disabled is not known (did you mean enabled?); known keys: enabled",
    "hooks.enabled can't be 'no'; write true or false",
    'flavours."3.11".prefix is not known; known keys: executable, optimize, site_dirs',
    "flavours.\"3.11\".executable can't be 'python3.11'; write the absolute path of an interpreter",
    'flavours."3.11".optimize can\'t be []; write a list of optimization levels, such as [0, 1, 2]',
    "flavours.\"3.11\".site_dirs can't be ['lib']; write absolute paths",
    'flavours.py312 is not a version; write "3.11" or "pypy3.11", quoted',
    'flavours.3 is not a version; write "3.11" or "pypy3.11", quoted',
]


def faults(text: str | bytes) -> list[str]:
    """What is wrong with a configuration, without the name of the file."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text if isinstance(text, bytes) else text.encode(), "FILE")
    return [line.replace("FILE: ", "", 1) for line in str(caught.value).splitlines()]


def problems_of(text: bytes) -> tuple[tuple[str, str | None], ...] | None:
    """The faults of a configuration; None if it is one without any."""
    try:
        settings = parse(text, "FILE")
    except ConfigurationError as error:
        return error.problems
    assert isinstance(settings, Settings)
    return None


# ------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("text", ["", "[defaults]\n", "[defaults]\n[hooks]\n[flavours]\n", DEFAULTS])
def test_defaults_are_the_contracts(text: str) -> None:
    """Said or unsaid."""
    assert parse(text.encode(), "FILE") == Settings()


def test_every_key_is_read() -> None:
    """Levels sorted and once each, sizes in bytes, times in seconds."""
    assert parse(EVERY_KEY.encode(), "FILE") == Settings(
        optimize=(0, 2),
        invalidation_mode=InvalidationMode.CHECKED_HASH,
        exclude=("*/lib2to3/tests/data/*", "*.bad.py"),
        create_missing=False,
        owned_stale="replace",
        untrusted_directories="allow",
        duplicates="copy",
        jobs=3,
        file_timeout=2.5,
        memory_limit=512 << 20,
        lock_timeout=0.0,
        log="syslog",
        store_url="local",
        store_write=False,
        store_trusted_keys=("ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "/etc/pyctrigger.keys"),
        store_signing_key="/etc/pyctrigger.pem",
        store_password_file="/etc/pyctrigger.password",
        store_max_size=5 << 30,
        store_timeout=2.0,
        hooks_enabled=False,
        flavours={
            "3.11": FlavourSettings(
                "/usr/local/bin/python3.11", (0, 1, 2), ("/usr/local/lib/python3.11/site-packages",)
            ),
            "3.13t": FlavourSettings(optimize=(1,)),
            "pypy3.9": FlavourSettings(),
        },
    )


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ('"1048576"', 1 << 20),
        ('"3 KiB"', 3 << 10),
        ('"5mib"', 5 << 20),
        ('" 2GiB "', 2 << 30),
        ('"2GB"', 2 * 10**9),
        ('"7MB"', 7 * 10**6),
        ('"9kB"', 9000),
        ("9223372036854775807", (1 << 63) - 1),
    ],
)
def test_sizes(written: str, count: int) -> None:
    """Binary and decimal units are two things."""
    assert parse(f"[defaults]\nmemory_limit = {written}\n".encode(), "FILE").memory_limit == count


# ------------------------------------------------------------------------------------------------------------- faults


def test_every_fault_is_told_at_once() -> None:
    """With its key and a hint."""
    assert faults(EVERY_FAULT) == FAULTS


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("defaults = 1", "defaults is not a table; write [defaults]"),
        ("hooks = []", "hooks is not a table; write [hooks]"),
        ("[[flavours]]\n", "flavours is not a table; write [flavours]"),
        ('[flavours]\n"3.11" = 1', 'flavours."3.11" is not a table; write [flavours."3.11"]'),
        ('[flavours."python3.11"]', 'flavours.\'python3.11\' is not a version; write "3.11" or "pypy3.11", quoted'),
        ('[flavours."/bin/python"]', 'flavours.\'/bin/python\' is not a version; write "3.11" or "pypy3.11", quoted'),
        (
            '[flavours."3.11"]\nexecutable = "/a\\u0000b"',
            "flavours.\"3.11\".executable can't be '/a\\x00b'; write the absolute path of an interpreter",
        ),
        (
            '[flavours."3.11"]\nsite_dirs = ["/a\\u0000b"]',
            "flavours.\"3.11\".site_dirs can't be ['/a\\x00b']; write absolute paths",
        ),
        ("[defaults]\njobs = true", "defaults.jobs can't be True; write a whole number from 0 to 4096"),
        ("[defaults]\njobs = 1.0", "defaults.jobs can't be 1.0; write a whole number from 0 to 4096"),
        ("[defaults]\nlock_timeout = nan", "defaults.lock_timeout can't be nan; write a number of seconds, 0 or more"),
        ("[defaults]\nlock_timeout = inf", "defaults.lock_timeout can't be inf; write a number of seconds, 0 or more"),
        (
            "[defaults]\noptimize = [true]",
            "defaults.optimize can't be [True]; write a list of optimization levels, such as [0, 1, 2]",
        ),
        (
            "[defaults]\nmemory_limit = 9223372036854775808",
            f"defaults.memory_limit can't be 9223372036854775808; write {SIZE}",
        ),
        (
            "[defaults]\nmemory_limit = '8589934592GiB'",
            f"defaults.memory_limit can't be '8589934592GiB'; write {SIZE}",
        ),
        (
            f"[defaults]\nlog = '{'x' * 100}'",
            f'defaults.log can\'t be \'{"x" * 56}...; write one of "none", "syslog"',
        ),
    ],
)
def test_fault_is_told_on_one_line(text: str, problem: str) -> None:
    """Whatever is in the wrong place."""
    assert faults(text) == [problem]


def test_number_that_python_does_not_print() -> None:
    """Above 4,300 digits it has no decimal form, which is no reason for a traceback."""
    (problem,) = faults(f"[defaults]\njobs = 0x{'f' * 5000}")
    assert problem.startswith("defaults.jobs can't be ")
    assert problem.endswith("; write a whole number from 0 to 4096")
    assert len(problem) < 120


@pytest.mark.parametrize(
    "text",
    [
        b"[defaults\n",
        b"[defaults]\njobs = \n",
        b"[a]\n[a]\n",
        b"a = " + b"[" * 50_000,
        b"[defaults]\njobs = " + b"1" * 5000,
    ],
    ids=["bracket", "no-value", "twice", "too-deep", "too-long"],
)
def test_text_that_is_no_toml(text: bytes) -> None:
    """Is one fault of the file's, with the parser's own words."""
    (problem,) = faults(text)
    assert problem.startswith(("not valid TOML: ", "defaults.jobs = "))


def test_text_that_is_no_utf8() -> None:
    """Names the byte."""
    assert faults(b'log = "\xe9"\n') == ["byte 7 isn't UTF-8; save the file as UTF-8"]


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["2GiB", "3.11", "ed25519:"])
)
_names = st.sampled_from(
    [
        *KEYS.split(", "),
        "trusted_keys",
        "signing_key",
        "timeout",
        "enabled",
        "executable",
        "site_dirs",
        "3.11",
        "pypy3.9",
        "x y",
        "\n",
    ]
) | st.text(max_size=4)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(each)}" for key, each in value.items()) + "}"
    text = "".join(
        f"\\U{ord(letter):08x}" if 0xD800 > ord(letter) or ord(letter) > 0xDFFF else "?" for letter in str(value)
    )
    return f'"{text}"'


@given(
    st.dictionaries(
        st.sampled_from(["defaults", "store", "hooks", "flavours"]) | st.text(max_size=3),
        st.recursive(
            _scalars,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
            max_leaves=12,
        ),
        max_size=3,
    )
)
def test_any_document_is_settings_or_a_configuration_error(document: dict[str, object]) -> None:
    """And each of its faults is one line."""
    text = "\n".join(f"{_toml(key)} = {_toml(value)}" for key, value in document.items())
    problems = problems_of(text.encode())
    assert problems is None or (
        problems and not any("\n" in text for problem in problems for text in filter(None, problem))
    )


@given(st.binary(max_size=60) | st.text(alphabet="[]{}=.\"'\n#,0a-:", max_size=40).map(str.encode))
def test_any_bytes_are_settings_or_a_configuration_error(text: bytes) -> None:
    """A file that is no configuration is never a defect of ours."""
    problems = problems_of(text)
    assert problems is None or problems


# ------------------------------------------------------------------------------------------------- with the command


def test_command_names_file_and_every_fault(pyctrigger: Command, tmp_path: Path) -> None:
    """One line each, and nothing is begun."""
    file = tmp_path / "pyctrigger.toml"
    file.write_text(EVERY_FAULT)

    outcome = pyctrigger.text("run", "--config", file, "")

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines() == [f"pyctrigger: {file}: {fault}" for fault in FAULTS]
    assert not pyctrigger.state.exists()
    document = pyctrigger.json("run", "--config", file, "").document
    parts = [fault.partition("; ") for fault in FAULTS]
    told = [(each["code"], each["message"], each["hint"]) for each in document["errors"]]
    assert told == [(2, f"{file}: {reason}", hint) for reason, _, hint in parts]


def test_named_file_has_to_be_there(pyctrigger: Command, tmp_path: Path) -> None:
    """The defaults are no substitute for what somebody names."""
    outcome = pyctrigger.text("run", "--config", tmp_path / "gone.toml", "")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"pyctrigger: configuration {tmp_path}/gone.toml: no such file; name a readable file\n"
    outcome = pyctrigger.text("run", "--config", tmp_path, "")
    assert outcome.code == 2
    assert outcome.err == f"pyctrigger: configuration {tmp_path}: not a regular file; name a readable file\n"


def test_configuration_decides_and_the_command_line_decides_over_it(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter
) -> None:
    """Levels, excludes and the flavour's own levels."""
    write_tree(site, {"one.py": "", "data/bad.py": ""})
    major, minor = newest.version[:2]
    file = tmp_path / "pyctrigger.toml"
    file.write_text(
        f'[defaults]\noptimize = [0]\nexclude = ["*/data/*"]\n[flavours."{major}.{minor}"]\noptimize = [1, 2]\n'
    )
    arguments: list[Argument] = ["--config", file, "--python", newest.path, "--site-dir", site]

    assert pyctrigger.json("run", *arguments).code == 0
    tag = f"one.cpython-{major}{minor}"
    assert _names_of(pycs_below(site)) == [f"{tag}.opt-1.pyc", f"{tag}.opt-2.pyc"]
    assert pyctrigger.json("run", *arguments, "--optimize", "0").code == 0
    assert _names_of(pycs_below(site)) == [f"{tag}.opt-1.pyc", f"{tag}.opt-2.pyc", f"{tag}.pyc"]


def test_missing_bytecode_can_be_left_missing(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter
) -> None:
    """`create_missing = false` fixes what exists and adds nothing."""
    write_tree(site, {"one.py": "", "two.py": ""})
    file = tmp_path / "pyctrigger.toml"
    file.write_text("[defaults]\ncreate_missing = false\n")
    arguments: list[Argument] = ["--python", newest.path, "--site-dir", site]
    pyctrigger.json("run", *arguments, site / "one.py")
    (pyc,) = [path for path in pycs_below(site) if b"one" in path]
    for other in set(pycs_below(site)) - {pyc}:
        os.unlink(other)
    os.truncate(pyc, 16)

    outcome = pyctrigger.json("run", "--config", file, *arguments)

    assert (outcome.counts["compiled"], pycs_below(site)) == (1, [pyc])
    assert os.path.getsize(pyc) > 16


def test_flavour_has_its_executable_and_directories(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter, interpreters: list[Interpreter]
) -> None:
    """What the configuration names is asked whether it is that flavour."""
    write_tree(site, {"one.py": ""})
    dotted = ".".join(map(str, newest.version[:2])) + ("t" if newest.free_threaded else "")
    file = tmp_path / "pyctrigger.toml"
    file.write_text(f'[flavours."{dotted}"]\nexecutable = "{newest.path}"\nsite_dirs = ["{site}", "/nonexistent"]\n')

    outcome = pyctrigger.json("run", "--config", file, "--python", dotted)

    assert (outcome.code, outcome.counts["compiled"]) == (0, 1)
    assert outcome.run["interpreter"]["executable"] == newest.path
    other = next((each for each in interpreters if each.flavour != newest.flavour), None)
    if other is None:
        absent("a second flavour")
    file.write_text(f'[flavours."{dotted}"]\nexecutable = "{other.path}"\n')
    outcome = pyctrigger.text("run", "--config", file, "--python", dotted)
    assert outcome.code == 69
    assert outcome.err == (
        f"pyctrigger: {other.path} should be {newest.flavour}, but is {other.flavour}; "
        f"use --python {other.flavour}, or correct {newest.flavour}'s executable in the configuration\n"
    )


def _names_of(paths: list[bytes]) -> list[str]:
    return sorted(os.fsdecode(os.path.basename(path)) for path in paths)


# ------------------------------------------------------------------------------------------------------- whose file


@pytest.fixture
def public(as_root: None) -> Iterator[Path]:
    """A directory of root's that everybody may enter."""
    with public_directory() as directory:
        yield directory


GIVE_UP = "give the file, and the directories above it, to root (chown)"


@pytest.mark.parametrize(
    ("owner", "mode", "above_owner", "above_mode", "word"),
    [
        (NOBODY, 0o644, 0, 0o755, f"account {NOBODY} owns a part of its path; {GIVE_UP}"),
        (0, 0o664, 0, 0o755, "others may write {file}; chmod go-w {file}"),
        (0, 0o646, 0, 0o755, "others may write {file}; chmod go-w {file}"),
        (0, 0o644, NOBODY, 0o755, f"account {NOBODY} owns a part of its path; {GIVE_UP}"),
        (0, 0o644, 0, 0o775, "others may write {above}; chmod go-w {above}"),
        (0, 0o644, 0, 0o777, "others may write {above}; chmod go-w {above}"),
        (NOBODY, 0o644, 0, 0o1777, f"account {NOBODY} owns a part of its path; {GIVE_UP}"),
    ],
)
def test_root_refuses_a_file_that_others_could_change(
    public: Path, pyctrigger: Command, owner: int, mode: int, above_owner: int, above_mode: int, word: str
) -> None:
    """Or could put in another's place; it says what, with a hint if there is one."""
    above, file = public / "above", public / "above" / "pyctrigger.toml"
    above.mkdir()
    file.write_text("")
    os.chown(file, owner, 0)
    file.chmod(mode)
    os.chown(above, above_owner, 0)
    above.chmod(above_mode)

    outcome = pyctrigger.text("run", "--config", file, "")

    assert outcome.code == 77
    reason = word.format(file=file, above=above)
    assert outcome.err == f"pyctrigger: configuration {file} is not trusted by root: {reason}\n"
    assert pyctrigger.json("run", "--config", file, "").document["errors"][0]["code"] == 77


def test_root_trusts_its_own_file_also_behind_a_link(public: Path, pyctrigger: Command, newest: Interpreter) -> None:
    """But not a link that somebody else made in a directory for all."""
    (public / "real.toml").write_text("[defaults]\njobs = -1\n")
    shared = public / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    for name, owner in (("own.toml", 0), ("foreign.toml", NOBODY)):
        (shared / name).symlink_to(public / "real.toml")
        os.chown(shared / name, owner, owner, follow_symlinks=False)

    assert pyctrigger.text("run", "--config", shared / "own.toml", "").code == 2
    assert pyctrigger.text("run", "--config", shared / "foreign.toml", "").code == 77


@pytest.fixture
def as_nobody(public: Path) -> Command:
    """pyctrigger for an account without rights; its home is the public directory's `home`."""
    home = public / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    command = command_for(NOBODY, home / "state")
    if command is None:
        absent("no Python 3.9 or later that other accounts than root's may execute")
    return command


def _account(home: Path, **variables: str) -> dict[str, Any]:
    """For `Command.text`: the child's account and environment."""
    env = {"HOME": str(home), "XDG_CONFIG_HOME": "", "XDG_RUNTIME_DIR": str(home), "PYTHONPATH": "", **variables}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/", "env": env}


def test_variable_names_the_file_of_others_than_root(public: Path, as_nobody: Command, pyctrigger: Command) -> None:
    """And never that of root or of a hook, whose environment somebody else may have made."""
    bad = public / "bad.toml"
    bad.write_text("[defaults]\njobs = -1\n")
    word = f"pyctrigger: {bad}: defaults.jobs can't be -1; write a whole number from 0 to 4096\n"

    outcome = as_nobody.text("run", "", **_account(public / "home", PYCTRIGGER_CONFIG=str(bad)))
    assert (outcome.code, outcome.err) == (2, word)
    hook = as_nobody.text("run", "--hook", "", **_account(public / "home", PYCTRIGGER_CONFIG=str(bad)))
    assert (hook.code, str(bad) in hook.err) == (0, False)
    named = as_nobody.text("run", "--hook", "--config", bad, "", **_account(public / "home"))
    assert (named.code, named.err) == (0, word)
    root = pyctrigger.text("run", "", env={"PYCTRIGGER_CONFIG": str(bad)})
    assert str(bad) not in root.err


def test_others_than_root_have_a_file_of_their_own(public: Path, as_nobody: Command, pyctrigger: Command) -> None:
    """Where platformdirs says; root's environment moves nothing."""
    for name in ("home/.config/pyctrigger", "xdg/pyctrigger"):
        (public / name).mkdir(parents=True)
        (public / name / "pyctrigger.toml").write_text("[defaults]\njobs = -1\n")
    places = {"HOME": str(public / "home"), "XDG_CONFIG_HOME": str(public / "xdg")}

    outcome = as_nobody.text("run", "", **_account(public / "home"))
    assert f"{public}/home/.config/pyctrigger/pyctrigger.toml: defaults.jobs" in outcome.err
    outcome = as_nobody.text("run", "", **_account(public / "home", **places))
    assert f"{public}/xdg/pyctrigger/pyctrigger.toml: defaults.jobs" in outcome.err
    outcome = pyctrigger.text("run", "", env=places)
    assert str(public) not in outcome.err


def test_system_has_one_file(public: Path, as_nobody: Command, pyctrigger: Command) -> None:
    """Root's, and that of everybody without a file of his own."""
    script = f"cp -a /etc {public}/etc; echo 'jobs = 1' >{public}/etc/pyctrigger.toml; mount --bind {public}/etc /etc"
    word = (
        "pyctrigger: /etc/pyctrigger.toml: jobs is not known (it belongs in [defaults]);"
        " known keys: defaults, store, hooks, flavours\n"
    )
    with private_mounts(script) as inside:
        pyctrigger.program = [*inside, *pyctrigger.program]
        assert pyctrigger.text("run", "").err == word
        assert pyctrigger.text("run", "--hook", "").err == word
        # The account is changed inside: entering mounts takes root's rights.
        nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        as_nobody.program = [*inside, *nobody, *as_nobody.program]
        assert as_nobody.text("run", "", env={"HOME": str(public / "home"), "XDG_CONFIG_HOME": ""}).err == word
