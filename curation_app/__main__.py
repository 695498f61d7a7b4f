"""Curate a collection in the browser: `python -m curation_app PICTURES`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import UserError
from curation_app.server import ServeSettings, serve


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and serve; the exit code."""
    parser = argparse.ArgumentParser(prog="curation_app", description=__doc__)
    parser.add_argument("collection", type=Path, help="class folders, or one with metadata.jsonl")
    parser.add_argument("--host", default=ServeSettings.host, help="127.0.0.1 or localhost")
    parser.add_argument("--port", type=int, default=ServeSettings.port, help="0: any free one")
    parser.add_argument("--database", type=Path, help="default: COLLECTION/.curation.sqlite")
    parser.add_argument("--revisions", type=Path, help="default: COLLECTION-revisions")
    values = vars(parser.parse_args(argv))
    try:
        serve(values.pop("collection"), ServeSettings(**values))
    except UserError as error:
        print(f"curate: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
