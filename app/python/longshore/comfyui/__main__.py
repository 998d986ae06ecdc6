"""`python -m longshore.comfyui migrate FILE...`"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .migrate import Migration, migrate

_ABOUT = """Turns workflows that use the shared loaders of the Inspire Pack or the nodes of Model Memory Snapshot, in the
format of the interface or of the API, into workflows of Longshore's nodes. A preload_config.json of the latter is read
as well. The file itself stays as it is; the result is FILE with .longshore before its ending."""


def main(arguments: "list[str] | None" = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m longshore.comfyui", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("migrate", help="turn other packs' workflows into ours", description=_ABOUT)
    command.add_argument("files", nargs="+", type=Path, metavar="FILE")
    command.add_argument("-o", "--output", type=Path, help="where to write the result of a single file")
    wanted = parser.parse_args(arguments)
    if wanted.output and len(wanted.files) > 1:
        parser.error("--output takes the result of one file")
    return max(_migrate(path, wanted.output) for path in wanted.files)


def _migrate(path: Path, output: "Path | None") -> int:
    try:
        result: Migration = migrate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    for note in result.notes:
        print(f"{path}: {note}")
    if not result.changed:
        print(f"{path}: nothing to change")
        return 0
    output = output or path.with_suffix(f".longshore{path.suffix}")
    output.write_text(json.dumps(result.document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    print(f"{path}: {result.changed} changed -> {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
