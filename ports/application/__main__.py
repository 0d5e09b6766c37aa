"""Starts pyctrigger from its private application directory: `PYTHON -I -S -B FILE-OR-DIRECTORY [ARGUMENT ...]`.

Nothing outside of this directory and the standard library is imported, so a transaction may replace every package of
the system meanwhile. The syntax is an old one throughout: whatever `python3` is has to be able to read this file, and
to say that it doesn't fit.
"""

import sys

LAUNCHER = "@PREFIX@/bin/pyctrigger"
#: Parts of the standard library that some systems package apart, and that no run can do without.
NEEDED = ("_sqlite3", "fcntl", "json", "select", "shutil", "sqlite3", "subprocess")


def unfit():
    """Why this interpreter can't be the host; "" for one that can."""
    if sys.version_info < (3, 9):
        return "is Python %d.%d, and 3.9 is the oldest that runs pyctrigger" % sys.version_info[:2]
    finder = sys.meta_path[-1]
    lacking = [name for name in NEEDED if name not in sys.builtin_module_names and not finder.find_spec(name)]
    return "lacks %s" % ", ".join(lacking) if lacking else ""


def main():
    """Run pyctrigger; its exit code. An interpreter that doesn't fit hands over to the next one."""
    number = 0
    launched = False
    if len(sys.argv) > 1 and sys.argv[1].startswith("--host="):  # the launcher's own: which one in its list this is
        number = int(sys.argv.pop(1)[len("--host=") :])
        launched = True
    reason = unfit()
    if reason:
        import os

        complaint = "%s %s" % (sys.executable, reason)
        os.execv("/bin/sh", ["/bin/sh", LAUNCHER, "--after=%d" % number, complaint] + sys.argv[1:])
    directory = __file__.rpartition("/")[0]
    if sys.path[0] != directory:  # of a directory Python itself does this, and of a file with -I it doesn't
        sys.path.insert(0, directory)
        sys.argv[0] = directory
    if sys.argv[1:] == ["--own-bytecode"]:
        keep_own_bytecode()
        return 0
    if sys.argv[1:] == ["--serves"]:
        return 0 if serves() else 1
    import gc

    gc.disable()  # imports make no garbage; main() enables it
    try:
        from pyctrigger import interruption

        interruption.watch(ignored=launched and "--hook" in sys.argv)
        from pyctrigger.cli import main as pyctrigger

        code = pyctrigger(program=(LAUNCHER,))
        if "--hook" in sys.argv and lacks_own_bytecode():
            keep_own_bytecode()
        return code
    except Exception as error:  # noqa: BLE001 - as in pyctrigger/__main__.py: of torn bytecode even a TypeError
        reason = "%s: %s" % (type(error).__name__, error)
        is_hook = "--hook" in sys.argv
        advice = "try again, or install it anew"
        if is_hook:
            advice = "pyctrigger did not run; once that is mended: pyctrigger repair"
        sys.stderr.write("pyctrigger: can't load its own modules: %s; %s\n" % (reason, advice))
        return 0 if is_hook else 70


def serves():
    """Whether hooks compile whatever is installed, as pyctrigger-takeover asks."""
    from pyctrigger.errors import PyctriggerError
    from pyctrigger.run.scope import config

    try:
        return config.load(hook=True).compiles_all
    except PyctriggerError:
        return False


def lacks_own_bytecode():
    """Whether this host has never run from here: Python was upgraded since the package was installed."""
    import os

    import pyctrigger

    return not os.path.exists(pyctrigger.__spec__.cached) and os.access(os.path.dirname(pyctrigger.__file__), os.W_OK)


def keep_own_bytecode():
    """Compile this directory for its host.

    Checked hashes: systems that set all times to 0, or unpack an upgrade with the times of before, can't make such
    bytecode stale, and no wrong one is ever taken.
    """
    import os

    from pyctrigger.errors import PyctriggerError
    from pyctrigger.pyc.header import InvalidationMode
    from pyctrigger.run.scope.request import Bytecode, Request, Running, Scope, Work
    from pyctrigger.run.trigger import perform

    own = Request(
        Work.RUN,
        Scope(pythons=(sys.executable,), site_dirs=(os.path.dirname(os.path.abspath(__file__)),)),
        Bytecode(optimize=(0,), invalidation_mode=InvalidationMode.CHECKED_HASH, replaces_owned=True),
        running=Running(stateless=True, jobs=1),
    )
    try:
        perform(own)
    except PyctriggerError:
        pass  # without bytecode a start takes longer, and that is all


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
