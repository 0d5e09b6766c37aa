"""Suggestions for mistyped words: "did you mean"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: What other tools call our commands. They are spelled differently, so that no comparison of letters finds them.
COMMANDS = {
    **dict.fromkeys(("build", "compile", "compileall", "update", "trigger"), "run"),
    **dict.fromkeys(("fix", "mend", "rebuild"), "repair"),
    **dict.fromkeys(("check", "lint", "validate", "diff"), "verify"),
    **dict.fromkeys(("clean", "gc", "prune", "tidy"), "sweep"),
    **dict.fromkeys(("clear", "delete", "remove", "rm", "wipe"), "purge"),
    **dict.fromkeys(("info", "ls", "show", "stats"), "status"),
    **dict.fromkeys(("why", "describe"), "explain"),
    **dict.fromkeys(("owner", "where", "whose"), "which"),
    **dict.fromkeys(("log", "logs", "journal", "runs"), "history"),
    **dict.fromkeys(("bench", "benchmark", "time"), "measure"),
    **dict.fromkeys(("hook", "install", "uninstall", "list", "setup"), "hooks"),
    **dict.fromkeys(("diagnose", "health"), "doctor"),
    "version": "--version",
    "help": "--help",
}
#: Programs and distributions that people type instead of the package manager's name.
MANAGERS = {
    **dict.fromkeys(("apt", "apt-get", "aptitude", "deb", "debian"), "dpkg"),
    **dict.fromkeys(("dnf", "dnf5", "yum", "zypper", "microdnf"), "rpm"),
    **dict.fromkeys(("arch", "paru", "yay"), "pacman"),
    **dict.fromkeys(("alpine",), "apk"),
    **dict.fromkeys(("freebsd", "pkgng", "ports"), "pkg"),
}


def did_you_mean(word: str, known: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """Returns `` (did you mean status?)`` for a word that resembles a known one, or an empty string."""
    import difflib  # only after a mistake

    words = {each.lstrip("-"): each for each in known}  # a common "--" would make any two options similar
    other = (synonyms or {}).get(word.lower())
    if other is None or not (other in words or other.startswith("--")):
        like = difflib.get_close_matches(word.lower().lstrip("-"), words, 1)
        other = words[like[0]] if like else None
    return f" (did you mean {other}?)" if other else ""
