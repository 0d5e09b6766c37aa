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
    options = parser.parse_args()
    os.umask(0o022)
    outdir = Path(options.directory).resolve()
    formats = list(PLATFORMS) if options.format == "all" else [options.format]
    if options.stage and len(formats) > 1:
        parser.error("--stage lays out one format at a time")
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        for name in formats:
            builder = importlib.import_module(f"builder.{_BUILDERS[name]}")
            if options.stage:
                stage(CHECKOUT, PLATFORMS[name], outdir)
                builder.stage_hooks(CHECKOUT, PLATFORMS[name], outdir)
                settle(outdir, source_date_epoch(CHECKOUT))
                continue
            for path in builder.build(CHECKOUT, outdir):
                print(path, flush=True)
    except (BuildError, OSError) as error:
        print(f"ports/build: {error}", file=sys.stderr)
        return 1
    return 0
