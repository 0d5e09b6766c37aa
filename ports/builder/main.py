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
    parser.add_argument("--source", action="store_true", help="with deb: the source package, for dpkg-buildpackage")
    parser.add_argument("--debhelper", action="store_true", help="with deb: what a source package's debian/rules needs")
    parser.add_argument("--prefix", metavar="DIR", help="with --stage freebsd: where the port goes (/usr/local)")
    parser.add_argument("--localbase", metavar="DIR", help="with --stage freebsd: where other ports are (/usr/local)")
    parser.add_argument("--maintainer", metavar="ADDRESS", help="who submits the ports, or the source package")
    options = parser.parse_args()
    os.umask(0o022)
    outdir = Path(options.directory).resolve()
    formats = list(PLATFORMS) if options.format == "all" else [options.format]
    if options.stage and len(formats) > 1:
        parser.error("--stage lays out one format at a time")
    if (options.prefix or options.localbase) and not (options.stage and formats == ["freebsd"]):
        parser.error("only --stage freebsd takes another prefix")
    if _is_source(options) and formats != ["deb"]:
        parser.error("only deb has a source package")
    if options.stage + options.source + options.debhelper > 1:
        parser.error("--stage, --source and --debhelper are three things")
    if options.maintainer and (options.stage or options.debhelper or not (options.source or "freebsd" in formats)):
        parser.error("only the ports and the source package name who maintains them")
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        for name in formats:
            for path in _make(name, outdir, options):
                print(path, flush=True)
    except (BuildError, OSError) as error:
        print(f"ports/build: {error}", file=sys.stderr)
        return 1
    return 0


def _make(name: str, outdir: Path, options: argparse.Namespace) -> list[Path]:
    """The paths of what was built, none where it was only laid out. Raises BuildError."""
    builder = importlib.import_module(f"builder.{'debian_source' if _is_source(options) else _BUILDERS[name]}")
    if options.debhelper:
        builder.lay_out(CHECKOUT, outdir)
    elif options.stage and name == "freebsd":
        builder.lay_out(CHECKOUT, outdir, options.prefix or "/usr/local", options.localbase or "/usr/local")
    elif options.stage:
        stage(CHECKOUT, PLATFORMS[name], outdir)
        builder.stage_hooks(CHECKOUT, PLATFORMS[name], outdir)
    else:
        is_named = options.maintainer and (options.source or name == "freebsd")
        named = {"maintainer": options.maintainer} if is_named else {}
        built: list[Path] = builder.build(CHECKOUT, outdir, **named)
        return built
    if options.stage:
        settle(outdir, source_date_epoch(CHECKOUT))
    return []


def _is_source(options: argparse.Namespace) -> bool:
    return bool(options.source or options.debhelper)
