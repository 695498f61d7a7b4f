"""Curate pictures in the browser: `python -m curation_app PICTURES`; `--help` lists the flags."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import UserError
from curation_app.server import ServeSettings, serve


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and serve; the exit code."""
    parser = argparse.ArgumentParser(prog="curation_app", description=__doc__)
    parser.add_argument("collections", type=Path, nargs="*", help="collections and sample sets")
    for field in dataclasses.fields(ServeSettings):
        flag = f"--{field.name.replace('_', '-')}"
        kind = str(field.type)
        if kind == "<class 'bool'>":
            parser.add_argument(flag, action="store_true")
        elif kind.startswith("tuple"):
            of: type = Path if "Path" in kind else str
            parser.add_argument(flag, type=of, nargs="*", default=())
        else:
            of = Path if "Path" in kind else int if "int" in kind else str
            parser.add_argument(flag, type=of, default=field.default)
    values = vars(parser.parse_args(argv))
    try:
        folders = values.pop("collections")
        values = {key: tuple(one) if isinstance(one, list) else one for key, one in values.items()}
        serve(folders, ServeSettings(**values))
    except UserError as error:
        print(f"curate: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
