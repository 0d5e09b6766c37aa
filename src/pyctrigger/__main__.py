"""`python -m pyctrigger`, and what `pyctrigger` is installed as.

As root it starts once more with `-I` before it imports anything, unless it was started so: by then Python has put the
current directory, `PYTHONPATH` and a user's site before its own modules, and they may be anybody's. What this file and
`__init__` need is built in; even `from __future__` would be looked for there.
"""

import sys

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
            _start_again()
        except (OSError, ValueError) as error:
            sys.stderr.write(f"pyctrigger: it can't be started anew with -I: {error}; say python -I -m pyctrigger\n")
            return 0 if "--hook" in sys.argv else 77
    import gc

    from pyctrigger import interruption

    gc.disable()  # imports make no garbage to speak of, and it would look for some two dozen times; ours enables it
    interruption.watch()
    from pyctrigger.cli import main as run  # nearly all of the start's time

    return run()


def _start_again() -> None:
    import _signal  # type: ignore[import-not-found]
    import posix

    if not sys.executable:
        raise ValueError("this Python doesn't know its own path")
    here = __file__ if __file__.startswith("/") else f"{posix.getcwd()}/{__file__}"
    beside = here.rpartition("/")[0].rpartition("/")[0] or "/"
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
