"""Starts pyctrigger from its private application directory: `PYTHON -I -S -B FILE-OR-DIRECTORY [ARGUMENT ...]`.

Nothing outside of this directory and the standard library is imported, so a transaction may replace every package of
the system meanwhile. The syntax is an old one throughout: whatever `python3` is has to be able to read this file, and
to say that it doesn't fit. Python compiles it at each start, so all else is in `start.py`.
"""

import sys

LAUNCHER = "@PREFIX@/bin/pyctrigger"


def unfit():
    """Why this interpreter can't be the host; "" for one that can."""
    if sys.version_info < (3, 9):
        return "is Python %d.%d, and 3.9 is the oldest that runs pyctrigger" % sys.version_info[:2]
    import start

    return start.lacking()


def main():
    """Run pyctrigger; its exit code. An interpreter that doesn't fit hands over to the next one."""
    number = 0
    launched = False
    if len(sys.argv) > 1 and sys.argv[1].startswith("--host="):  # the launcher's own: which one in its list this is
        number = int(sys.argv.pop(1)[len("--host=") :])
        launched = True
    directory = __file__.rpartition("/")[0]
    if sys.path[0] != directory:  # of a directory Python itself does this, and of a file with -I it doesn't
        sys.path.insert(0, directory)
        sys.argv[0] = directory
    try:
        reason = unfit()
        if reason:
            import os

            complaint = "%s %s" % (sys.executable, reason)
            os.execv("/bin/sh", ["/bin/sh", LAUNCHER, "--after=%d" % number, complaint] + sys.argv[1:])
        import start

        return start.main(directory, LAUNCHER, launched)
    except Exception as error:  # noqa: BLE001 - as in pyctrigger/__main__.py: of torn bytecode even a TypeError
        is_hook = "--hook" in sys.argv
        advice = "try again, or install it anew"
        if is_hook:
            advice = "pyctrigger did not run; once that is mended: pyctrigger repair"
        said = "%s: %s" % (type(error).__name__, error)
        sys.stderr.write("pyctrigger: can't load its own modules: %s; %s\n" % (said, advice))
        return 0 if is_hook else 70


def end(code):
    """End at once: the work is done, and somebody would wait for 2 to 6 ms while the process is taken apart."""
    import os

    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # nobody listens any more
            pass
    os._exit(code)


if __name__ == "__main__":
    exit_code = main()
    if "audit" in sys.argv:  # the client of a cluster has threads, and much to end by itself
        sys.exit(exit_code)
    end(exit_code)
