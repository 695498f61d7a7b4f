"""What every job's command line shares: parse, print the config, run, say one line when it fails.

A job is a `flags` dataclass — `config` (all the result depends on), then where and how to run it —
and a function that takes it. `menagerie <verb>` and `python jobs/<verb>.py` are the same thing.
"""

import contextlib
import errno
import importlib
import io
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

import tyro

from core.config import config_to_dict
from core.errors import UserError

VERBS = ("prepare", "train", "sample", "evaluate", "export", "curate")


_MACHINE_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
"""What the user mends on the machine: a full disk or quota, a folder that may not be written."""


class Flags(Protocol):
    """What every job's flags have."""

    @property
    def config(self) -> Any:
        """All that the result depends on."""

    @property
    def dry_run(self) -> bool:
        """Print the config and stop."""


F = TypeVar("F", bound=Flags)


def run_job(
    flags_type: type[F],
    run: Callable[[F], str | None],
    argv: Sequence[str] | None = None,
    *,
    verb: str,
    description: str,
    default: F | None = None,
) -> int:
    """Parse `argv` (default: the process's), print the config, run the job; the exit code.

    `run` may return a closing line, printed last. Exit codes: 0 done (or dry run), 2 the user can
    mend it (one line on stderr), 130 interrupted, 141 nobody reads the output any more.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        flags = _parse(flags_type, arguments, verb, description, default)
        print(json.dumps(config_to_dict(flags.config), indent=2, ensure_ascii=False))
        if flags.dry_run:
            return 0
        begun = time.monotonic()
        closing = run(flags)
        print(f"{verb}: done in {_duration(time.monotonic() - begun)}")
        if closing:
            print(closing)
        return 0
    except UserError as error:
        print(f"{verb}: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (a pager, `head`) has left: leave too, without a second complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in _MACHINE_TROUBLE:
            raise
        where = f" ({error.filename})" if error.filename else ""
        print(
            f"{verb}: error: {error.strerror}{where}: mend that and run it again", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        print(f"{verb}: stopped; run the same command again to go on", file=sys.stderr)
        return 130


def flag_value(argv: Sequence[str] | None, flag: str, default: str) -> str:
    """The last value given for `flag` on the command line, before full parsing (for presets)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    value = default
    for position, argument in enumerate(arguments):
        if argument == flag and position + 1 < len(arguments):
            value = arguments[position + 1]
        elif argument.startswith(flag + "="):
            value = argument.split("=", 1)[1]
    return value


def main() -> int:
    """The `menagerie` command: `menagerie <verb> [flags]`."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(f"usage: menagerie {{{','.join(VERBS)}}} [flags]")
        print("Each verb explains itself: menagerie <verb> --help")
        return 0
    verb = sys.argv[1]
    if verb not in VERBS:
        print(f"menagerie: error: no verb {verb!r}; known are {', '.join(VERBS)}", file=sys.stderr)
        return 2
    job = importlib.import_module(f"jobs.{verb}")
    return int(job.main(sys.argv[2:]))


def _parse(
    flags_type: type[F],
    arguments: list[str],
    verb: str,
    description: str,
    default: F | None,
) -> F:
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flags = tyro.cli(
                flags_type,
                prog=f"menagerie {verb}",
                description=description,
                args=arguments,
                default=default,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
            return cast(F, flags)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UserError(_one_line(complaint.getvalue())) from None


def _one_line(message: str) -> str:
    """A boxed complaint as plain text."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", message)
    text = re.sub(r"[╭╮╰╯│─]+", " ", text)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"^(Parsing error|Value error|Invalid choice|Unrecognized options)\s+", "", text)
    return text.replace(" For full helptext, see", "; see").replace(
        " For full helptext, run", "; see"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
