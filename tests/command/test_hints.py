"""What a message says to type: typed, it does what was wanted. Each row is followed literally, by the same person."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from test_prefixes import make_venv
from test_staged_root import library_name, make_root

from interpreters import tag_of
from packages import write_tree
from pyctrigger.cli.guides import read_guides

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter


class Row(NamedTuple):
    """A failing call, its hint, and the call that follows the hint."""

    call: str
    hint: str
    heeded: str


ROWS = [
    Row(
        "run --python {python} {plain}/m.py",
        "name its directory with --site-dir, or its environment with --prefix",
        "run --python {python} --site-dir {plain} {plain}/m.py",
    ),
    Row(
        "verify --python {python} --site-dir {site} {plain}/m.py",
        "name its directory with --site-dir as well",
        "run --python {python} --site-dir {site} --site-dir {plain} {plain}/m.py",
    ),
    Row(
        "run --dry-run --python {python} {library}/abc.py",
        "add --stdlib",
        "run --dry-run --python {python} --stdlib {library}/abc.py",
    ),
    Row(
        "run --prefix {venv} {other}/{packages}/m.py",
        "leave out --prefix, or name paths inside it",
        "run {other}/{packages}/m.py",
    ),
    Row("run --python {venv}", "for an environment use --prefix {venv}", "run --prefix {venv}"),
    Row(
        "run --prefix {venv} --python py39x",
        "use 3.11, 3.13t, pypy3.11, py311, python3, or the path of an executable",
        "run --prefix {venv} --python {flavour}",
    ),
    Row(
        "run --prefix {venv} --python {another}",
        "use --python {flavour}, or leave it out",
        "run --prefix {venv} --python {flavour}",
    ),
    Row(
        "measure --prefix {venv} --python {another} --runs 1 m",
        "use --python {flavour}, or leave it out",
        "measure --prefix {venv} --python {flavour} --runs 1 m",
    ),
    *(
        Row(
            f"{verb} --python {{python}} --root {{root}} {{root}}{{inside}}/module.py",
            "as seen inside {root}, it is {inside}/module.py",
            f"{verb} --python {{python}} --root {{root}} {{inside}}/module.py",
        )
        for verb in ("run", "repair", "explain", "which")
    ),
    Row(
        "run --python {python} --root {root} --site-dir {root}{inside}",
        "as seen inside, it is {inside}",
        "run --python {python} --root {root} --site-dir {inside}",
    ),
    Row(
        "sweep --python {python} --root {root} --prefix-below {root}/usr",
        "as seen inside, it is /usr",
        "sweep --python {python} --root {root} --site-dir /usr",
    ),
]


@pytest.fixture(scope="module")
def words(newest: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The places of the rows."""
    top: Path = tmp_path_factory.mktemp("hints")
    packages = f"lib/{library_name(newest)}/site-packages"
    for name in ("plain", "site"):
        write_tree(top / name, {"m.py": ""})
    write_tree(top / "site", {"main.py": "import m\n"})
    for name in ("venv", "other"):
        make_venv(newest, top / name)
        write_tree(top / name / packages, {"m.py": ""})
    root = make_root(top / "root", newest)
    (source,) = root.rglob("module.py")
    write_tree(top, {"stored": f'[store]\nurl = "{top}/store"\n'})
    places = {name: f"{top}/{name}" for name in ("plain", "site", "venv", "other", "root", "stored")}
    return {
        **places,
        "python": newest.path,
        "flavour": newest.flavour,
        "another": "3.9" if newest.version != (3, 9) else "3.10",
        "packages": packages,
        "library": f"{newest.prefix}/lib/{library_name(newest)}",
        "tag": tag_of(newest),
        "inside": f"/{source.parent.relative_to(root)}",
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.call)
def test_a_hint_can_be_followed(pyctrigger: Command, words: dict[str, str], row: Row) -> None:
    """The call ends with it, and what it says ends well."""
    refused = pyctrigger.text(*row.call.format(**words).split())
    heeded = pyctrigger.text(*row.heeded.format(**words).split())

    assert refused.code in (2, 69)
    assert refused.err.endswith(f"; {row.hint.format(**words)}\n")
    assert 0 == heeded.code
    assert heeded.err in ("", f"{words['flavour']}: the measured program runs as root\n")


#: What the examples of the helps name, and places here; a command without a scope is about one environment here.
_PLACES = {
    "--python 3.11": "--python {python}",
    "--python 3.13": "--python {python}",
    "/srv/app/venv": "{venv}",
    "/srv/app/main.py": "{site}/main.py",
    "/srv/repository": "{site}",
    "/usr/lib/python3/dist-packages/six.py": "{venv}/{packages}/m.py",
    "/usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc": "{venv}/{packages}/__pycache__/m.{tag}.pyc",
    "/etc/pyctrigger.pem": "{venv}/key.pem",
    " requests": " m",
    " > ~/.config/fish/completions/pyctrigger.fish": "",
    'eval "$(pyctrigger completion bash)"': "pyctrigger completion bash",
}
_SCOPED = ("run", "repair", "verify", "sweep", "status", "explain", "which", "purge")
_EXAMPLES = [command for guide in read_guides().values() for command in guide.examples.splitlines()[::2]]


@pytest.mark.parametrize("example", map(str.strip, _EXAMPLES))
def test_the_examples_of_a_help_do_something(pyctrigger: Command, words: dict[str, str], example: str) -> None:
    """Typed as they are shown, but for the places."""
    for named, here in _PLACES.items():
        example = example.replace(named, here)
    _, verb, *rest = example.format(**words).split()
    if verb in _SCOPED and "--check" not in rest and "--cache-tag" not in rest and "--prefix" not in rest:
        rest += ["--prefix", words["venv"]]
    if verb == "hooks":
        rest += ["--root", words["root"]]
    if verb == "store" and "keygen" not in rest:
        rest += ["--config", words["stored"]]
    pyctrigger.text("run", "--prefix", words["venv"])

    done = pyctrigger.text(verb, *rest)

    assert done.code in ((0, 1, 3) if verb == "doctor" else (0,)), done.err
    assert done.out or "--needs-rebuild" in rest  # there is none to name
