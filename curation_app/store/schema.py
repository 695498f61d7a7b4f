"""The tables, alike on SQLite and PostgreSQL."""

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from curation_app.records import OUTCOMES, ROLES, STATES

FORMAT = 2
"""Goes up whenever the tables change, together with a step in `migrations`."""

metadata = MetaData()
_ID = BigInteger().with_variant(Integer, "sqlite")


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})")


def _only(condition: str) -> dict[str, Any]:
    """Of an index: the rows that it holds."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

curators = Table(
    "curators",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    # None: cannot log in. The local curator is such a one.
    Column("password", Text),
    Column("role", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    # Goes up when the password or role changes: older sessions then end.
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("at", Text, nullable=False),
    _one_of("role", ROLES),
)

attempts = Table(
    "attempts",  # to log in; what throttles the next ones
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("succeeded", Boolean, nullable=False),
    Column("at_s", Float, nullable=False),
    Index("attempts_by_time", "at_s"),
)

collections = Table(
    "collections",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("root", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", Text, nullable=False),
    _one_of("kind", ("pictures", "samples")),
)

pictures = Table(
    "pictures",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("collection_id", ForeignKey("collections.id"), nullable=False),
    # Other bytes under the same name are another picture: nobody has voted on those.
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    # Where its bytes are: records.Found.place.
    Column("place", Text, nullable=False, server_default=""),
    Column("stamp", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("source", Text, nullable=False, server_default=""),
    Column("licence", Text, nullable=False, server_default=""),
    Column("present", Boolean, nullable=False),
    Column("first_label", Text, nullable=False),
    # What was seen when it was first opened: curation_app.indexing.
    Column("width_px", Integer, nullable=False),
    Column("height_px", Integer, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("dhash", BigInteger, nullable=False),
    Column("facts", Text, nullable=False),
    # The replay of the log.
    Column("state", Text, nullable=False, server_default="unseen"),
    Column("stars", Integer, nullable=False, server_default="0"),
    Column("label", Text, nullable=False),
    Column("merged_into", ForeignKey("pictures.id")),
    Column("votes", Integer, nullable=False, server_default="0"),
    Column("score", Float, nullable=False, server_default="0"),
    Column("deviation", Float, nullable=False, server_default="10"),
    UniqueConstraint("collection_id", "name", "sha256"),
    _one_of("state", STATES),
    CheckConstraint("stars BETWEEN 0 AND 5"),
)
# What a page shows: present, and not merged into another one.
_SHOWN = (pictures.c.collection_id, pictures.c.present, pictures.c.merged_into)
Index("pictures_shown", *_SHOWN, pictures.c.id)
Index("pictures_counted", *_SHOWN, pictures.c.label, pictures.c.state)
Index("pictures_by_state", *_SHOWN, pictures.c.state, pictures.c.id)
Index("pictures_by_label", *_SHOWN, pictures.c.label, pictures.c.id)
Index("pictures_by_score", *_SHOWN, pictures.c.score, pictures.c.id)
Index("pictures_by_deviation", *_SHOWN, pictures.c.deviation, pictures.c.id)
Index("pictures_by_sha256", pictures.c.sha256)
Index("pictures_by_source", pictures.c.collection_id, pictures.c.source)
Index("pictures_by_keeper", pictures.c.merged_into)

looks = Table(
    "looks",  # apart from `pictures`, whose rows stay small
    metadata,
    Column("picture_id", ForeignKey("pictures.id"), primary_key=True),
    Column("thumbnail", LargeBinary, nullable=False),
)

searches = Table(
    "searches",  # for copies: what the last one in each collection found
    metadata,
    Column("collection_id", ForeignKey("collections.id"), primary_key=True),
    Column("at", Text, nullable=False),
    # curation_app.copies.finding packs it.
    Column("found", LargeBinary, nullable=False),
)

flags = Table(
    "flags",
    metadata,
    Column("picture_id", ForeignKey("pictures.id"), primary_key=True),
    Column("flag", Text, primary_key=True),
    Index("flags_by_name", "flag", "picture_id"),
)

nearest = Table(
    "nearest",  # of samples: the training picture that is most like each
    metadata,
    Column("picture_id", ForeignKey("pictures.id"), primary_key=True),
    # Digest of the pinned dataset, and the place in it.
    Column("dataset", Text, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("distance", Float, nullable=False),
    Column("mirrored", Boolean, nullable=False),
    Column("copied", Boolean, nullable=False),
    Index("nearest_by_distance", "dataset", "distance", "picture_id"),
)

tags = Table(
    "tags",  # the replay of the log
    metadata,
    Column("picture_id", ForeignKey("pictures.id"), primary_key=True),
    Column("tag", Text, primary_key=True),
    Index("tags_by_name", "tag", "picture_id"),
)

actions = Table(
    "actions",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("curator_id", ForeignKey("curators.id"), nullable=False),
    Column("kind", Text, nullable=False),
    # Of an undo or a redo: what it takes back, or brings back.
    Column("target_id", ForeignKey("actions.id")),
    # The client's own name for it: a request sent twice acts once.
    Column("key", Text, unique=True),
    Column("at", Text, nullable=False),
    Index("actions_by_curator", "curator_id", "id"),
    sqlite_autoincrement=True,
)

changes = Table(
    "changes",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("action_id", ForeignKey("actions.id"), nullable=False),
    Column("picture_id", ForeignKey("pictures.id"), nullable=False),
    # As of records.Change.
    Column("field", Text, nullable=False),
    Column("value", Text, nullable=False),
    Index("changes_by_picture", "picture_id", "field", "id"),
    Index("changes_by_action", "action_id"),
    Index("changes_apart", "id", **_only("field = 'apart'")),
    sqlite_autoincrement=True,
)

comparisons = Table(
    "comparisons",
    metadata,
    Column("action_id", ForeignKey("actions.id"), primary_key=True, autoincrement=False),
    Column("left_id", ForeignKey("pictures.id"), nullable=False),
    Column("right_id", ForeignKey("pictures.id"), nullable=False),
    Column("outcome", Text, nullable=False),
    # The comparison that this one repeats, sides changed, to measure consistency.
    Column("repeats_id", ForeignKey("comparisons.action_id")),
    _one_of("outcome", OUTCOMES),
    Index("comparisons_by_left", "left_id"),
    Index("comparisons_by_right", "right_id"),
)

undone = Table(
    "undone",  # the replay of the log: actions that do not stand
    metadata,
    Column("action_id", ForeignKey("actions.id"), primary_key=True, autoincrement=False),
)

_LOG = (actions, changes, comparisons)


def _when_made(dialect: str, statement: str) -> None:
    ddl: Any = DDL  # untyped in SQLAlchemy
    event.listen(metadata, "after_create", ddl(statement).execute_if(dialect=dialect))


for _table in _LOG:
    for _verb in ("UPDATE", "DELETE"):
        _when_made(
            "sqlite",
            f"CREATE TRIGGER {_table.name}_never_{_verb.lower()} BEFORE {_verb}"
            f" ON {_table.name} BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
        )

_when_made(
    "postgresql",
    "CREATE OR REPLACE FUNCTION menagerie_append_only() RETURNS trigger AS "
    "$$ BEGIN RAISE EXCEPTION 'the log is append-only'; END $$ LANGUAGE plpgsql",
)
for _table in _LOG:
    _when_made(
        "postgresql",
        f"CREATE TRIGGER {_table.name}_append_only BEFORE UPDATE OR DELETE ON {_table.name}"
        " FOR EACH STATEMENT EXECUTE FUNCTION menagerie_append_only()",
    )
