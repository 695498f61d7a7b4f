import json
from pathlib import Path

import pytest

from core.collection import (
    CollectionItem,
    collection_digest,
    parse_metadata,
    read_collection,
    write_collection,
)
from core.errors import UserError
from tests.verbs import trouble_of


def test_a_collection_reads_back_as_written(tmp_path: Path) -> None:
    items = [
        CollectionItem(file_name="dog/ß 🐶.png", label="dog", score=0.5, tags=("good", "boy")),
        CollectionItem(file_name="cat/1.png", label="cat", licence="CC0-1.0", extra={"mood": 3}),
    ]
    digest = write_collection(tmp_path, items)
    read, bad = read_collection(tmp_path)
    assert bad == []
    assert read == sorted(items, key=lambda item: item.file_name)
    assert collection_digest(read) == digest == collection_digest(items[::-1])


def test_a_revision_has_another_digest_when_one_label_changes() -> None:
    before = [CollectionItem(file_name="1.png", label="cat")]
    after = [CollectionItem(file_name="1.png", label="dog")]
    assert collection_digest(before) != collection_digest(after)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a JSON object"),
        ('{"label": "cat"}', "names no file_name"),
        ('{"file_name": "../../etc/passwd"}', "leads out"),
        ('{"file_name": "/etc/passwd"}', "absolute"),
        ('{"file_name": "C:\\\\x.png"}', "Windows"),
        ('{"file_name": "a.png", "label": ["cat"]}', "label"),
        ('{"file_name": "a.png", "score": "high"}', "score"),
        ('{"file_name": "a.png", "score": NaN}', "score"),
        ('{"file_name": "a.png", "tags": "x"}', "tags"),
    ],
)
def test_a_bad_row_is_named_with_its_reason_and_the_others_are_read(line: str, reason: str) -> None:
    items, bad = parse_metadata(line + '\n\n{"file_name": "good.png"}\n')
    assert [item.file_name for item in items] == ["good.png"]
    assert len(bad) == 1
    assert reason in bad[0].reason


def test_a_picture_named_twice_keeps_its_first_row() -> None:
    rows = [{"file_name": "1.png", "label": label} for label in ("cat", "dog")]
    items, bad = parse_metadata("\n".join(map(json.dumps, rows)))
    assert [item.label for item in items] == ["cat"]
    assert "named twice" in bad[0].reason


def test_the_american_license_column_is_understood() -> None:
    items, _ = parse_metadata('{"file_name": "1.png", "license": "MIT"}')
    assert items[0].licence == "MIT"


def test_a_folder_without_metadata_is_no_collection(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no metadata\.jsonl"):
        read_collection(tmp_path)


def test_collections_and_pinned_datasets_are_opened_without_torch() -> None:
    code = (
        "import sys, core.collection, core.data.pinned, core.data.prepare, jobs.prepare;"
        "assert not {'torch', 'cv2', 'datasets'} & set(sys.modules)"
    )
    assert trouble_of(code) == ""
