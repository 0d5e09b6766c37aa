"""What a verb's `--help` says beside its options: when to use it, and two examples. A hook never imports it."""

from __future__ import annotations

from typing import NamedTuple


class Guide(NamedTuple):
    """One verb's words."""

    when: str
    """Whole sentences."""
    examples: tuple[tuple[str, str], ...]
    """What a person wants, and what to type for it."""


GUIDES = {
    "run": Guide(
        "Use it after sources changed. Package managers' hooks call it for you. Without a PATH it looks at everything.",
        (
            ("serve every Python that is found", "pyctrigger run"),
            ("serve one environment only", "pyctrigger run --prefix /srv/app/venv"),
        ),
    ),
    "repair": Guide(
        "Use it when you doubt what is on the disk: after a crash, or after a backup was restored. It takes "
        "longer than run, since it compiles every source again to compare.",
        (
            ("check and fix everything of one Python", "pyctrigger repair --python 3.11"),
            ("see what it would fix", "pyctrigger repair --python 3.11 --dry-run"),
        ),
    ),
    "verify": Guide(
        "Use it to find out what is wrong before you change anything, or in a test. It exits 1 if it finds something.",
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
        "Use it before or after you remove a Python. Sources stay, and what a package owns stays.",
        (
            ("see what would go with Python 3.11", "pyctrigger purge --python 3.11 --dry-run"),
            ("remove what a Python that is gone left behind", "pyctrigger purge --cache-tag cpython-39"),
        ),
    ),
    "status": Guide(
        "Use it for an overview. It changes nothing, and waits for nobody.",
        (
            ("see all Pythons side by side", "pyctrigger status"),
            ("answer a monitor in one line (Nagios, Icinga)", "pyctrigger status --check"),
        ),
    ),
    "explain": Guide(
        "Use it when one module starts slowly, or when bytecode isn't what you expect. Name a source, a pyc or a "
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
        "Use it to see what hooks did while nobody was watching.",
        (
            ("list the runs that failed", "pyctrigger history --failed"),
            ("show the newest run in full", "pyctrigger history last"),
        ),
    ),
    "audit": Guide(
        "Use it on wheels, packages and whole repositories before they are installed. Nothing is unpacked or run.",
        (
            ("look through a directory of packages", "pyctrigger audit /srv/repository"),
            (
                "name those to rebuild for another Python",
                "pyctrigger audit --python 3.13 --needs-rebuild /srv/repository",
            ),
        ),
    ),
    "measure": Guide(
        "Use it to find out whether fresh bytecode matters for your program. Your files aren't touched.",
        (
            ("time the import of a module", "pyctrigger measure --prefix /srv/app/venv requests"),
            ("time a script", "pyctrigger measure --prefix /srv/app/venv --script /srv/app/main.py"),
        ),
    ),
    "hooks": Guide(
        "Use it to have a package manager call pyctrigger. A package of pyctrigger brings its hooks along.",
        (
            ("see which hooks there are", "pyctrigger hooks list"),
            ("install dpkg's hook for one Python", "pyctrigger hooks install --manager dpkg --python 3.11"),
        ),
    ),
    "doctor": Guide(
        "Use it first: it says whether hooks are in place, for which Pythons, and what to do next.",
        (
            ("check this system", "pyctrigger doctor"),
            ("the same for a program", "pyctrigger doctor --json"),
        ),
    ),
    "completion": Guide(
        "Use it once for each shell. A package of pyctrigger installs these files for you.",
        (
            ("try it in this shell", 'eval "$(pyctrigger completion bash)"'),
            ("keep it for every fish", "pyctrigger completion fish > ~/.config/fish/completions/pyctrigger.fish"),
        ),
    ),
}

MAIN = Guide(
    "Package managers' hooks call it for you; by hand, start with `doctor`. `pyctrigger COMMAND --help` has more.",
    (
        ("see whether it is hooked in, and all is well", "pyctrigger doctor"),
        ("compile what changed, for every Python that is found", "pyctrigger run"),
    ),
)


def guide(verb: str | None) -> Guide | None:
    """The words of a verb; without one, those of the program."""
    return MAIN if verb is None else GUIDES.get(verb)


def examples_of(found: Guide) -> str:
    """The last lines of a help."""
    return "\nexamples:\n" + "".join(f"  {command}\n      {what}\n" for what, command in found.examples)
