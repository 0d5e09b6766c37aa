"""`python -m pyctrigger`, and what `pyctrigger` is installed as.

As root, unless it was started with `-I`, it leaves the current directory and a user's site before it imports anything:
Python has put them where modules are looked for, and they may be anybody's. Where a variable of Python's own may have
done more, it starts once more with `-I`, which takes 20 ms. What this file and `__init__` need is built in; even
`from __future__` would be looked for there.
"""

import sys

#: Variables that change nothing of what is imported (python(1), "ENVIRONMENT VARIABLES").
_HARMLESS = {
    b"PYTHONDONTWRITEBYTECODE",
    b"PYTHONHASHSEED",
    b"PYTHONIOENCODING",
    b"PYTHONNOUSERSITE",
    b"PYTHONSAFEPATH",
    b"PYTHONUNBUFFERED",
    b"PYTHONUTF8",
}
#: The package that runs is the one that was started; of what else lies beside it everything else comes first.
_AGAIN = """\
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
    """Run the command line; its exit code."""
    import posix

    if posix.geteuid() == 0 and not sys.flags.isolated:
        try:
            if any(name.startswith(b"PYTHON") and name not in _HARMLESS for name in posix.environ):
                _start_again()
            else:
                _leave_what_may_be_anybodys()
        except (OSError, ValueError) as error:
            sys.stderr.write(f"pyctrigger: can't restart with -I: {error}; run python -I -m pyctrigger\n")
            return 0 if "--hook" in sys.argv else 77
    import gc

    from pyctrigger import interruption

    gc.disable()  # imports make no garbage to speak of, and it would look for some two dozen times; ours enables it
    interruption.watch()
    from pyctrigger.cli import main as run  # nearly all of the start's time

    return run()


def _leave_what_may_be_anybodys() -> None:
    """Look nowhere for modules that `-I` leaves out, but in what lies beside this package, and there last."""
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]  # of the script, or the current one
    site = sys.modules.get("site")
    users = getattr(site, "USER_SITE", None) if getattr(site, "ENABLE_USER_SITE", False) else None
    beside = _beside()
    kept = [path for path in sys.path if path not in ("", users, beside)]
    sys.path[:] = [*kept, beside]


def _beside() -> str:
    """The directory in which this package lies."""
    import posix

    here = __file__ if __file__.startswith("/") else f"{posix.getcwd()}/{__file__}"
    return here.rpartition("/")[0].rpartition("/")[0] or "/"


def _start_again() -> None:
    import _signal  # type: ignore[import-not-found]
    import posix

    if not sys.executable:
        raise ValueError("this Python doesn't know its own path")
    beside = _beside()
    options = ["-I"]
    options += ["-B"] if sys.dont_write_bytecode else []
    options += ["-S"] if sys.flags.no_site else []
    options += ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        # A Ctrl-C waits until somebody heeds it: while it starts, Python would answer with a traceback.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGINT])
    posix.execv(sys.executable, [sys.executable, *options, "-c", _AGAIN, beside, *sys.argv])


if __name__ == "__main__":
    sys.exit(main())
