"""The command `ports/build`: reads its arguments, builds, prints the paths of what it built."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from .platforms import PLATFORMS
from .stage import settle, source_date_epoch, stage
from .trouble import BuildError

CHECKOUT = Path(__file__).resolve().parent.parent.parent

#: The module that builds each format.
_BUILDERS = {"deb": "debian", "rpm": "rpm", "arch": "arch", "freebsd": "freebsd"}


def main() -> int:
    """Build; 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="ports/build", description="Builds the packages of pyctrigger.")
    parser.add_argument("format", choices=[*PLATFORMS, "all"])
    parser.add_argument("directory", metavar="OUTDIR", help="where the built files appear")
    parser.add_argument(
        "--stage", action="store_true", help="only lay the package's files out below OUTDIR, for another tool to pack"
    )
    parser.add_argument("--prefix", metavar="DIR", help="with --stage freebsd: where the port goes (/usr/local)")
    parser.add_argument("--localbase", metavar="DIR", help="with --stage freebsd: where other ports are (/usr/local)")
    parser.add_argument("--maintainer", metavar="ADDRESS", help="with freebsd: who submits the ports")
    options = parser.parse_args()
    os.umask(0o022)
    outdir = Path(options.directory).resolve()
    formats = list(PLATFORMS) if options.format == "all" else [options.format]
    if options.stage and len(formats) > 1:
        parser.error("--stage lays out one format at a time")
    if (options.prefix or options.localbase) and not (options.stage and formats == ["freebsd"]):
        parser.error("only --stage freebsd takes another prefix")
    if options.maintainer and (options.stage or "freebsd" not in formats):
        parser.error("only the ports name who maintains them")
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        for name in formats:
            builder = importlib.import_module(f"builder.{_BUILDERS[name]}")
            if options.stage and name == "freebsd":
                builder.lay_out(CHECKOUT, outdir, options.prefix or "/usr/local", options.localbase or "/usr/local")
            elif options.stage:
                stage(CHECKOUT, PLATFORMS[name], outdir)
                builder.stage_hooks(CHECKOUT, PLATFORMS[name], outdir)
            if options.stage:
                settle(outdir, source_date_epoch(CHECKOUT))
                continue
            named = {"maintainer": options.maintainer} if name == "freebsd" and options.maintainer else {}
            for path in builder.build(CHECKOUT, outdir, **named):
                print(path, flush=True)
    except (BuildError, OSError) as error:
        print(f"ports/build: {error}", file=sys.stderr)
        return 1
    return 0
