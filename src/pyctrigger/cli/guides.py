"""Guides: what a verb's `--help` has besides its options, when to use it and two examples. Not imported by hooks."""

from __future__ import annotations

from typing import NamedTuple


class Guide(NamedTuple):
    """When to use a verb, with examples."""

    when: str
    """Whole sentences."""
    examples: tuple[tuple[str, str], ...]
    """Pairs of a purpose and the command for it."""


GUIDES = {
    "run": Guide(
        "Use it after sources changed. Package managers' hooks call it for you. Without a PATH it examines everything.",
        (
            ("compile for every Python that is found", "pyctrigger run"),
            ("compile for one environment only", "pyctrigger run --prefix /srv/app/venv"),
        ),
    ),
    "repair": Guide(
        "Use it when you don't trust what is on the disk: after a crash, or after restoring a backup. It takes "
        "longer than run, since it compiles every source again to compare.",
        (
            ("check and fix everything of one Python", "pyctrigger repair --python 3.11"),
            ("see what it would fix", "pyctrigger repair --python 3.11 --dry-run"),
        ),
    ),
    "verify": Guide(
        "Use it to find out what is wrong before you change anything, or in a test. Findings exit with 1.",
        (
            ("check every Python that is found", "pyctrigger verify"),
            ("compile everything again, and compare", "pyctrigger verify --python 3.11 --compare-code"),
        ),
    ),
    "sweep": Guide(
        "Use it to clean up after packages that are gone. It compiles nothing, and keeps what a package owns.",
        (
            ("clean up for every Python that is found", "pyctrigger sweep"),
            ("see what it would remove", "pyctrigger sweep --dry-run"),
        ),
    ),
    "purge": Guide(
        "Use it before or after you remove a Python. It removes neither sources nor bytecode that a package owns.",
        (
            ("see what it would remove for Python 3.11", "pyctrigger purge --python 3.11 --dry-run"),
            ("remove the bytecode of a Python that is gone", "pyctrigger purge --cache-tag cpython-39"),
        ),
    ),
    "status": Guide(
        "Use it for an overview. It changes nothing, and never waits for another run.",
        (
            ("see all Pythons side by side", "pyctrigger status"),
            ("answer a monitor in one line (Nagios, Icinga)", "pyctrigger status --check"),
        ),
    ),
    "explain": Guide(
        "Use it when one module starts slowly, or when bytecode isn't what you expect. Pass a source, a pyc or a "
        "directory.",
        (
            ("ask about one module", "pyctrigger explain /usr/lib/python3/dist-packages/six.py"),
            ("ask for one Python only", "pyctrigger explain --python 3.11 /usr/lib/python3/dist-packages/six.py"),
        ),
    ),
    "which": Guide(
        "Use it to find out what a file in a __pycache__ belongs to, or what bytecode a source has.",
        (
            ("trace one pyc", "pyctrigger which /usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc"),
            ("list the bytecode of one source", "pyctrigger which /usr/lib/python3/dist-packages/six.py"),
        ),
    ),
    "history": Guide(
        "Use it to see what hooks and other runs have done.",
        (
            ("list the runs that failed", "pyctrigger history --failed"),
            ("show the newest run in full", "pyctrigger history last"),
        ),
    ),
    "audit": Guide(
        "Use it on wheels, packages and whole repositories before they are installed. Nothing is unpacked or run.",
        (
            ("check a directory of packages", "pyctrigger audit /srv/repository"),
            (
                "list those to rebuild for another Python",
                "pyctrigger audit --python 3.13 --needs-rebuild /srv/repository",
            ),
        ),
    ),
    "measure": Guide(
        "Use it to find out whether fresh bytecode matters for your program. It doesn't change your files.",
        (
            ("time the import of a module", "pyctrigger measure --prefix /srv/app/venv requests"),
            ("time a script", "pyctrigger measure --prefix /srv/app/venv --script /srv/app/main.py"),
        ),
    ),
    "hooks": Guide(
        "Use it to let a package manager call pyctrigger. pyctrigger's own packages contain their hooks.",
        (
            ("see which hooks there are", "pyctrigger hooks list"),
            ("install dpkg's hook for one Python", "pyctrigger hooks install --manager dpkg --python 3.11"),
        ),
    ),
    "doctor": Guide(
        "Use it first: it shows whether hooks are installed, for which Pythons, and what to do next.",
        (
            ("check this system", "pyctrigger doctor"),
            ("print the same as JSON", "pyctrigger doctor --json"),
        ),
    ),
    "completion": Guide(
        "Use it once for each shell. pyctrigger's packages install these files for you.",
        (
            ("try it in this shell", 'eval "$(pyctrigger completion bash)"'),
            ("keep it for every fish", "pyctrigger completion fish > ~/.config/fish/completions/pyctrigger.fish"),
        ),
    ),
}

MAIN = Guide(
    "Package managers' hooks call it for you; by hand, start with `doctor`. `pyctrigger COMMAND --help` has more.",
    (
        ("see whether hooks are installed and everything works", "pyctrigger doctor"),
        ("compile what changed, for every Python that is found", "pyctrigger run"),
    ),
)


def guide(verb: str | None) -> Guide | None:
    """Returns the guide of a verb, or of the program without one."""
    return MAIN if verb is None else GUIDES.get(verb)


def examples_of(found: Guide) -> str:
    """Returns the examples at the end of a help text."""
    return "\nexamples:\n" + "".join(f"  {command}\n      {what}\n" for what, command in found.examples)
