"""`python -m pyctrigger`, and what `pyctrigger` is installed as.

As root, unless it was started with `-I`, it first removes the current directory and the user site from the search path:
Python has put them there, and they may be anybody's. If one of Python's own environment variables may have had other
effects, it restarts with `-I`, which takes 20 ms. What this file and `__init__` import is built in; even
`from __future__` would be searched for there.
"""

import sys

#: Variables that don't change what is imported (python(1), "ENVIRONMENT VARIABLES").
_HARMLESS = {
    b"PYTHONDONTWRITEBYTECODE",
    b"PYTHONHASHSEED",
    b"PYTHONIOENCODING",
    b"PYTHONNOUSERSITE",
    b"PYTHONSAFEPATH",
    b"PYTHONUNBUFFERED",
    b"PYTHONUTF8",
}
#: Runs the package that was started. Everything else is found before what is next to that package.
_RESTART = """\
import sys
beside = sys.argv[1]
sys.path.insert(0, beside)
import pyctrigger
sys.path.append(sys.path.pop(0))
sys.argv[:] = sys.argv[2:]
from pyctrigger.__main__ import main
sys.exit(main())
"""


def main() -> int:
    """Run the command line. Returns its exit code."""
    import posix

    if posix.geteuid() == 0 and not sys.flags.isolated:
        try:
            if any(name.startswith(b"PYTHON") and name not in _HARMLESS for name in posix.environ):
                _restart_isolated()
            else:
                _restrict_search_path()
        except (OSError, ValueError) as error:
            advice = "run it without environment variables that begin with PYTHON"
            if "--hook" in sys.argv:
                advice += "; pyctrigger did not run; once that is mended: pyctrigger repair"
            sys.stderr.write(f"pyctrigger: can't restart with -I: {error}; {advice}\n")
            return 0 if "--hook" in sys.argv else 77
    import gc

    gc.disable()  # imports make hardly any garbage, and it would run some two dozen times; `cli.main` enables it
    try:
        from pyctrigger import interruption

        interruption.watch()
        from pyctrigger.cli import main as run  # nearly all of the start's time

        return run()  # the verb's module, too, may be one that can't be loaded
    except Exception as error:  # noqa: BLE001 - of torn bytecode even a TypeError
        reason = f"{type(error).__name__}: {error}"
        is_hook = "--hook" in sys.argv
        advice = "try again, or install it anew"
        if is_hook:  # as hooks say of any other failure
            advice = "pyctrigger did not run; once that is mended: pyctrigger repair"
        sys.stderr.write(f"pyctrigger: can't load its own modules: {reason}; {advice}\n")
        return 0 if is_hook else 70


def _restrict_search_path() -> None:
    """Search only where `-I` does, and last next to this package."""
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]  # of the script, or the current one
    site = sys.modules.get("site")
    users = getattr(site, "USER_SITE", None) if getattr(site, "ENABLE_USER_SITE", False) else None
    beside = _package_parent()
    kept = [path for path in sys.path if path not in ("", users, beside)]
    sys.path[:] = [*kept, beside]


def _package_parent() -> str:
    """Returns the directory of this package."""
    import posix

    here = __file__ if __file__.startswith("/") else f"{posix.getcwd()}/{__file__}"
    return here.rpartition("/")[0].rpartition("/")[0] or "/"


def _restart_isolated() -> None:
    import _signal  # type: ignore[import-not-found]
    import posix

    if not sys.executable:
        raise ValueError("this Python doesn't know its own path")
    beside = _package_parent()
    options = ["-I"]
    options += ["-B"] if sys.dont_write_bytecode else []
    options += ["-S"] if sys.flags.no_site else []
    options += ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        # Ctrl-C stays pending until we handle it: Python would print a traceback while it starts.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGINT])
    posix.execv(sys.executable, [sys.executable, *options, "-c", _RESTART, beside, *sys.argv])


if __name__ == "__main__":
    sys.exit(main())
