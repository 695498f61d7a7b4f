"""Where YAMNet's weights and the names of its categories are: given, kept from before, or fetched.

Both files are published under the Apache-2.0 licence; what is fetched must have the digests stated
here.
"""

import csv
import io
import os
import zipfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from core.errors import UserError
from core.files import digest_bytes, write_bytes

VARIABLE = "MENAGERIE_YAMNET"
"""Names the weights' file, when no flag does."""
CLASS_MAP = "yamnet_class_map.csv"
"""Beside the weights: index, mid, display_name."""

_GITHUB = "https://raw.githubusercontent.com/"
_WEIGHTS = (
    _GITHUB
    + "google-coral/coralmicro/5552624bbc9e3388fd5fa1de2dd2a24d8111971f/models/yamnet.tflite",
    "469be6a3421cbc52cf97e9f2f966cba984198e8e7af9854d68b3e3ebb1e04194",
)
_NAMES = (
    _GITHUB + "tensorflow/models/dbeeb148f10adf723067040eedcccda00bdce1e8/research/audioset/yamnet/"
    "yamnet_class_map.csv",
    "cdf24d193e196d9e95912a2667051ae203e92a2ba09449218ccb40ef787c6df2",
)
_LABEL_FILES = ("yamnet_label_list.txt", "labels.txt")
"""In weights with TFLite's metadata, which is a zip at their end."""
_PATIENCE_S = 20.0
_LARGEST = 32 * 2**20
_CURE = f"give --yamnet PATH or set {VARIABLE} to yamnet.tflite, with {CLASS_MAP} beside it"


def find_weights(
    given: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    files: tuple[tuple[str, str], tuple[str, str]] = (_WEIGHTS, _NAMES),
) -> Path:
    """YAMNet's file: `given`, else the environment's, else the cache's, else fetched into that.

    files: address and SHA-256 of weights and names. UserError says what to give when there is none.
    """
    for path in (given, Path(environment[VARIABLE]) if environment.get(VARIABLE) else None):
        if path is not None:
            if not path.is_file():
                raise UserError(f"there are no weights of YAMNet at {path}: {_CURE}")
            return path
    folder = _cache(environment)
    paths = (folder / "yamnet.tflite", folder / CLASS_MAP)
    for path, (address, digest) in zip(reversed(paths), reversed(files), strict=True):
        if not path.is_file():
            write_bytes(path, fetch(address, digest))
    return paths[0]


def fetch(address: str, digest: str) -> bytes:
    """What is at an address; UserError when it cannot be had or has another SHA-256."""
    try:
        with urlopen(address, timeout=_PATIENCE_S) as answer:
            data: bytes = answer.read(_LARGEST)
    except (OSError, HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())[:120]
        raise UserError(
            f"YAMNet is not on this machine and could not be fetched ({reason}): {_CURE}"
        ) from None
    if (found := digest_bytes(data)) != digest:
        raise UserError(
            f"{address} gave a file with digest {found[:12]}, not {digest[:12]}: it was not kept; "
            f"{_CURE}"
        )
    return data


def category_names(weights: Path) -> tuple[str, ...]:
    """The names of YAMNet's categories, in its order: of the file beside it, or of its metadata."""
    beside = weights.with_name(CLASS_MAP)
    names = _from_table(beside) if beside.is_file() else _from_metadata(weights)
    if not names:
        raise UserError(f"{weights} has no names of its categories: put {CLASS_MAP} beside it")
    return names


def _from_table(path: Path) -> tuple[str, ...]:
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        if [int(row["index"]) for row in rows] == list(range(len(rows))):
            return tuple(row["display_name"] for row in rows)
    except (KeyError, ValueError, TypeError, csv.Error):
        pass
    raise UserError(f"{path} is no class map of YAMNet: its columns are index,mid,display_name")


def _from_metadata(weights: Path) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(weights) as metadata:
            for name in _LABEL_FILES:
                if name in metadata.namelist():
                    return tuple(metadata.read(name).decode("utf-8").splitlines())
    except (zipfile.BadZipFile, UnicodeDecodeError):
        pass
    return ()


def _cache(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "menagerie"
