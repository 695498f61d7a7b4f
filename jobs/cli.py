"""What every job's command line shares: parse, print the config, run, say one line when it fails.

A verb (`jobs.verbs.Verb`) has a `flags` dataclass — `config` (all the result depends on), then
where and how to run it — and functions that take it. `menagerie <verb>` and `python jobs/<verb>.py`
are the same thing.
"""

import contextlib
import importlib
import io
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Sequence
from typing import TypeVar, cast

import tyro

from core.config import config_to_dict
from core.errors import UserError, machine_trouble
from jobs.cluster import ClusterFlags, choose
from jobs.verbs import Flags, Verb

VERBS = (
    *("prepare", "train", "finetune", "sample", "evaluate", "sweep", "visualize", "export"),
    *("gallery", "train_upscaler", "curate", "listen", "calls", "phrases", "postcards"),
    *("nightly", "publish", "digest", "status"),
)


F = TypeVar("F", bound=Flags)


def run_verb(verb: Verb[F], argv: Sequence[str] | None = None) -> int:
    """Parse `argv` (default: the process's), print the config, run or launch; the exit code.

    Exit codes: 0 done (or dry run, or submitted), 2 the user can mend it (one line on stderr), 130
    interrupted, 141 nobody reads the output any more.
    """
    arguments = tuple(sys.argv[1:] if argv is None else argv)
    try:
        return _run(verb, arguments)
    except UserError as error:
        return complain(verb.name, str(error))
    except BrokenPipeError:
        # The reader (a pager, `head`) has left: leave too, without a second complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        trouble = machine_trouble(error)
        if trouble is None:
            raise
        return complain(verb.name, trouble)
    except RuntimeError as error:
        if not _is_out_of_gpu_memory(error):
            raise
        return complain(
            verb.name,
            f"GPU memory is not enough ({str(error).partition('. ')[0]}): take less at a time (see "
            "--help for --batch-size, --accumulate, --gradient-checkpointing, --offload); the same "
            "command goes on",
        )
    except KeyboardInterrupt:
        print(f"{verb.name}: stopped; run the same command again to go on", file=sys.stderr)
        return 130


def _is_out_of_gpu_memory(error: RuntimeError) -> bool:
    torch = sys.modules.get("torch")  # without it nothing was on a GPU
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def complain(verb: str, message: str) -> int:
    """One line on stderr; the exit code for what the user can mend."""
    print(f"{verb}: error: {message}", file=sys.stderr)
    return 2


def _run(verb: Verb[F], arguments: tuple[str, ...]) -> int:
    flags = parse(verb, arguments)
    if verb.command is not None:
        return verb.command(flags)
    print(json.dumps(config_to_dict(flags.config), indent=2, ensure_ascii=False))
    place: ClusterFlags | None = getattr(flags, "cluster", None)
    if place is not None:
        cluster = choose(place)
        print(f"cluster: {cluster.kind} ({cluster.why})", file=sys.stderr)
        if cluster.kind != "inline":
            from jobs.launch import launch  # submitit, only where it is needed

            return launch(verb, flags, arguments, cluster)
    if flags.dry_run:
        if verb.check is not None and verb.checks_in_place and place is not None:
            print("\n".join(verb.check(flags, cluster)))
        return 0
    begun = time.monotonic()
    closing = verb.run(flags)
    print(f"{verb.name}: done in {duration(time.monotonic() - begun)}")
    if closing:
        print(closing)
    return 0


def flag_value(arguments: Sequence[str], flag: str, default: str) -> str:
    """The last value given for `flag` on the command line, before full parsing (for presets)."""
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


def parse(verb: Verb[F], arguments: Sequence[str]) -> F:
    """The verb's flags; UserError, in one line, when they are wrong."""
    default = verb.default(arguments) if verb.default is not None else None
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flags = tyro.cli(
                verb.flags,
                prog=f"menagerie {verb.name}",
                description=verb.description,
                args=list(arguments),
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


def duration(seconds: float) -> str:
    """A span of time as people say it."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
