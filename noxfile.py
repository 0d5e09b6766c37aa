"""The commands that people run: `nox -s tests`, `nox -s bench`."""

import nox

nox.options.sessions = ["tests"]


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that is checked, as tests/all.py does it."""
    session.run("python3", "tests/all.py", *session.posargs, external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure beside the peers and write docs/performance.md; arguments go to tests/bench/performance.py."""
    session.install(".[bench]")
    session.run("python", "tests/bench/performance.py", "--page", "docs/performance.md", *session.posargs)
