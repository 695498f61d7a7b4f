"""Merging pictures into a collection: read them, tell what would change, and do what was decided.

What is read waits in `curation_app.imports.waiting`; what is decided becomes one action in the log,
which an undo takes back as a whole.
"""

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import cast

from core.collection import CollectionItem
from core.data.decode import UnreadableError
from core.errors import UserError
from core.files import digest_of, write_bytes
from curation_app.context import App
from curation_app.imports.lending import carried, without_votes
from curation_app.imports.resemblance import among, with_known
from curation_app.imports.waiting import FAILED, READY, Import, Imports, Staged
from curation_app.indexing.facts import Facts, look
from curation_app.intake.candidates import Candidate
from curation_app.intake.links import forget_downloads
from curation_app.intake.origins import Origin, trouble
from curation_app.intake.plan import Known, Merge, MergePlan, Near, plan_merge
from curation_app.intake.staging import Manner, Progress, stage
from curation_app.intake.uploads import UploadOrigin, discard_old
from curation_app.opening import CHUNK, found_of
from curation_app.records import Acted, Change, Found
from curation_app.store import imports as store
from curation_app.store.engine import writing
from curation_app.tasks import Task
from curation_app.thumbnails import SIDE_PX, keep_thumbnail, thumbnail_path
from curation_app.workspace import STORED, Workspace

_DAY_S = 86_400.0
UNKNOWN = "unknown"
"""The licence of pictures of which nobody knows any better."""


def imports_of(app: App) -> Imports:
    """The app's imports."""
    found = app.parts.get("imports")
    if found is None:
        found = app.parts.setdefault("imports", Imports(app.workspace.imports))
    return cast(Imports, found)


def incoming(app: App) -> Path:
    """Where uploads wait until they are read."""
    return app.workspace.folder / "incoming"


def downloads(app: App) -> Path:
    """Where it is remembered what was downloaded lately."""
    return app.workspace.folder / "downloads"


def begin(
    app: App, curator_id: int, collection_id: int, title: str, open_origin: Callable[[], Origin]
) -> Import:
    """Read an origin in the background, for its curator to decide about it."""
    imports = imports_of(app)
    found = imports.begin(curator_id, collection_id, title)

    def work(task: Task) -> None:
        try:
            _read(app, found, open_origin, task)
        except Exception as error:
            if imports.update(found.id, state=FAILED, error=_words(error)) is None:
                imports.discard(found.id)  # what was written while it was being discarded
            raise

    # One after another for each curator: nobody waits for the downloads of another one.
    task = app.tasks.start(f"bring in {curator_id}", f"Reading {title}", work)
    imports.works_at(found.id, task)
    return found


def plan(app: App, found: Import) -> MergePlan:
    """What an import would change now."""
    imports = imports_of(app)
    with app.engine.connect() as connection:
        newest = store.newest_id(connection, found.collection_id)
    seen = found
    while newest > seen.seen_id and not _seek(app, seen):
        again = imports.find(found.id, found.curator_id)
        if again is None:
            raise UserError(f"{found.title} was discarded")
        seen = again
    staged = imports.staged(found.id)
    others = {digest for pair in staged.near for digest in (pair.sha256, pair.other)}
    with app.engine.connect() as connection:
        known = store.known(connection, found.collection_id, {*staged.rows, *others})
    classes = found.decisions.classes
    # Pages of one import follow one another, and each choice asks for the plan again.
    last = cast(_Last | None, app.parts.get("plan"))
    if last and last.staged is staged and (last.known, last.classes) == (known, classes):
        return last.plan
    planned = plan_merge(staged.candidates, known, near=staged.near, relabel=classes)
    app.parts["plan"] = _Last(staged=staged, known=known, classes=classes, plan=planned)
    return planned


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Last:
    """The plan that was made last, and of what."""

    staged: Staged
    known: list[Known]
    classes: Mapping[str, str]
    plan: MergePlan


def signature(planned: MergePlan) -> str:
    """The same as long as the plan says the same: what is done must be what was shown."""
    rows = [
        [item.key, item.kind, item.labels, item.near, [[one.id, one.label] for one in item.known]]
        for item in planned.items
    ]
    return digest_of(rows)[:32]


def check_same(planned: MergePlan, shown: str) -> None:
    """Refuse to do what nobody has seen; UserError when the plan is another one by now."""
    if signature(planned) != shown:
        raise UserError(
            "the plan has changed, since classes were renamed or somebody changed the collection: "
            "look at it again, then bring the pictures in"
        )


def decide(found: Import, planned: MergePlan) -> Merge:
    """What is to be done, by what was chosen; choices that no longer can be are passed over."""
    items = {item.key: item for item in planned.items}
    choices = {
        key: choice
        for key, choice in found.decisions.choices.items()
        if key in items and choice.action in items[key].choices
    }
    return planned.decide(choices, by_kind=found.decisions.by_kind)


def unlicensed(merge: Merge) -> int:
    """How many pictures would be brought in that state no licence."""
    return sum(not candidate.licence for candidate in merge.additions)


def carry_out(app: App, found: Import, planned: MergePlan) -> Task:
    """Do what was decided, in the background; UserError when something is undecided yet."""
    merge, shown = decide(found, planned), signature(planned)
    without = unlicensed(merge)
    if without and not found.decisions.licence:
        raise UserError(
            f"{without} of the pictures state no licence: name one for them, or write {UNKNOWN!r}"
        )
    if not merge.additions and not merge.relabels:
        raise UserError("nothing would change: choose something to bring in, or discard the import")
    imports = imports_of(app)
    if not imports.claim(found):
        raise UserError(
            f"{found.title} is being brought in already, or was decided otherwise in another "
            "window: reload the page"
        )

    def work(task: Task) -> None:
        try:
            check_same(plan(app, found), shown)  # others may have had their turn before
            acted = _carry_out(app, found, merge, task)
        except Exception as error:
            imports.give_up(found.id, _words(error))
            raise
        task.result = _result(merge)
        imports.finish(found.id, result=task.result, first_id=_first(acted, merge))
        judge = app.parts.get("judge")
        if judge is not None:  # scores in memory know none of the new pictures
            judge.forget(found.collection_id)
        for listener in app.listeners:
            listener(acted)

    task = app.tasks.start("merge", f"Bringing in {found.title}", work)
    imports.works_at(found.id, task)
    return task


def discard(app: App, found: Import) -> None:
    """Forget an import, and remove what nobody refers to any more; UserError too late for that."""
    if not imports_of(app).discard(found.id):
        raise UserError("the pictures are just being brought in: undo that afterwards")
    app.tasks.start("sweep", "Removing what nobody wants", functools.partial(sweep, app))


def sweep(app: App, task: Task | None = None) -> None:
    """Remove originals older than a day that neither a picture nor an import refers to."""
    # In this order: what goes on record meanwhile was waiting before, and being read before that.
    old_s = _old_s(app)
    wanted = imports_of(app).digests()
    with app.engine.connect() as connection:
        wanted |= store.stored_digests(connection)
    originals = app.workspace.originals
    # Originals of another database, which once used this folder, look unwanted here.
    mark, own = app.workspace.folder / "owner", hashlib.sha256(app.secret.encode()).hexdigest()
    if not mark.is_file() and all(
        path.name.split(".")[0] in wanted for path in originals.folder.glob("??/*")
    ):
        write_bytes(mark, own.encode())
    swept = 0
    if mark.is_file() and mark.read_text() == own:
        swept = originals.sweep(wanted, older_than_s=old_s)
    if task is not None:
        task.result = f"{_number(swept, 'file')} removed."


def _old_s(app: App) -> float:
    """How old what nobody refers to must be: older than the oldest reading that goes on."""
    since = imports_of(app).reading_since()
    if since is None:
        return _DAY_S
    return max(_DAY_S, (datetime.datetime.now(datetime.UTC) - since).total_seconds() + _DAY_S)


def _read(app: App, found: Import, open_origin: Callable[[], Origin], task: Task) -> None:
    imports = imports_of(app)
    sweep(app)
    discard_old(incoming(app), older_than_s=_old_s(app))
    forget_downloads(downloads(app))
    ignored = 0

    def report(progress: Progress) -> None:
        nonlocal ignored
        ignored = progress.ignored
        task.report(progress.done, progress.total)

    manner = Manner(enough_px=SIDE_PX, look=functools.partial(_look, app.workspace))
    with _opened(open_origin) as origin:
        imports.keep(found.id, stage(origin, app.workspace.originals, manner, progress=report))
    if not imports.staged(found.id).candidates:
        raise UserError(f"{found.title} holds no picture: nothing was brought in")
    _seek(app, found)
    if imports.update(found.id, state=READY, ignored=ignored) is None:
        imports.discard(found.id)  # what was written while it was being discarded
        return
    task.result = "It waits for a decision."


@contextlib.contextmanager
def _opened(open_origin: Callable[[], Origin]) -> Iterator[Origin]:
    origin = open_origin()
    try:
        yield origin
    finally:
        if isinstance(origin, UploadOrigin):
            origin.discard()


def _look(workspace: Workspace, data: bytes, pixels: object) -> Facts:
    facts = look(data)
    keep_thumbnail(thumbnail_path(workspace.previews, facts.sha256), facts.preview)
    return dataclasses.replace(facts, preview=b"")


def _seek(app: App, found: Import) -> bool:
    """Look for look-alikes among the pictures that came since this was last done.

    False when another request has done so since `found` was read.
    """
    imports = imports_of(app)
    staged, thumbnails = imports.staged(found.id), imports.thumbnails(found.id)
    near: list[Near] = staged.near or among(staged, thumbnails)
    with app.engine.connect() as connection:
        known = store.hashes_after(connection, found.collection_id, found.seen_id)
        fetch = functools.partial(store.thumbnails, connection)
        near = [*near, *with_known(staged, thumbnails, known, fetch)]
    return imports.keep_near(found, near, int(known.ids.max(initial=found.seen_id)))


def _carry_out(app: App, found: Import, merge: Merge, task: Task) -> Acted:
    total = len(merge.additions)
    ids: dict[str, int] = {}
    task.report(0, total)
    for some in _chunks(_found(app, found, merge)):
        with writing(app.engine) as connection:
            recorded = store.record_hidden(connection, found.collection_id, some)
        ids |= zip((one.sha256 for one in some), recorded, strict=True)
        task.report(len(ids), total)
    changes = [
        Change(picture_id=one.picture_id, field="label", value=one.after) for one in merge.relabels
    ]
    for candidate in merge.additions:
        changes += carried(ids[candidate.sha256], candidate.provenance)
    key = f"import {found.id}"
    with writing(app.engine) as connection:
        return store.bring_in(connection, found.curator_id, list(ids.values()), changes, key=key)


def _found(app: App, found: Import, merge: Merge) -> Iterator[Found]:
    """What is to be added, as the database records it."""
    additions = {candidate.sha256: candidate for candidate in merge.additions}
    for facts in imports_of(app).facts(found.id):
        candidate = additions.pop(facts.sha256, None)
        if candidate is None:
            continue
        try:
            yield found_of(_item(candidate, found.decisions.licence), facts, place=STORED)
        except UnreadableError as error:
            raise UserError(f"{candidate.name} cannot be recorded: {error}; leave it out") from None


def _item(candidate: Candidate, licence: str) -> CollectionItem:
    provenance: dict[str, object] = dict(without_votes(candidate.provenance))
    earlier = candidate.extra.get("provenance")
    if isinstance(earlier, Mapping):  # it came here by way of another collection
        provenance["earlier"] = earlier
    return CollectionItem(
        file_name=_name(candidate),
        label=candidate.label,
        split=candidate.split,
        score=candidate.score,
        tags=candidate.tags,
        source=candidate.source or None,
        licence=candidate.licence or licence or None,
        extra=dict(candidate.extra) | {"provenance": provenance},
    )


def _name(candidate: Candidate) -> str:
    """What it was called, and its digest: no file that ever comes has that name."""
    digest = candidate.sha256[:12]
    stem = re.sub(r"[^\w.-]+", "-", PurePosixPath(candidate.name).stem)
    stem = stem.removesuffix(digest).strip("-.")[:60]
    name = PurePosixPath(candidate.file_name)
    return str(
        name.with_name(f"{stem}-{digest}{name.suffix}" if stem else f"{digest}{name.suffix}")
    )


def _first(acted: Acted, merge: Merge) -> int:
    relabelled = {one.picture_id for one in merge.relabels}
    return min((one for one in acted.picture_ids if one not in relabelled), default=0)


def _result(merge: Merge) -> str:
    parts = [f"{_number(len(merge.additions), 'picture')} brought in"]
    parts += [f"{len(merge.relabels):,} moved to another class"] if merge.relabels else []
    return ", ".join(parts) + "."


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _chunks(found: Iterator[Found]) -> Iterator[list[Found]]:
    some: list[Found] = []
    for one in found:
        some.append(one)
        if len(some) == CHUNK:
            yield some
            some = []
    if some:
        yield some


def _words(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    return trouble(error) if isinstance(error, OSError) else "a bug: the terminal tells more"
