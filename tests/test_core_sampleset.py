"""Sample sets on disk: columns without pictures, and shards that are checked one at a time."""

import numpy as np
import pytest

from core.errors import UserError
from core.sampleset import (
    Sample,
    finish_sample_set,
    open_sample_set,
    read_labels,
    read_seeds,
    shard_name,
    write_shard,
)


@pytest.fixture
def folder(tmp_path):
    """Two shards of two grey pictures."""
    for shard in range(2):
        pictures = [
            Sample(image_hwc=np.full((4, 4, 3), 60 * seed, dtype=np.uint8), label=label, seed=seed)
            for label, seed in (("cat", 2 * shard), ("fish", 2 * shard + 1))
        ]
        write_shard(tmp_path / shard_name(shard), pictures)
    finish_sample_set(
        tmp_path,
        count=4,
        labels=["cat", "fish"],
        settings={},
        parents={},
        shards=[shard_name(0), shard_name(1)],
    )
    return tmp_path


def test_labels_and_seeds_are_read_without_the_pictures(folder):
    assert read_labels(folder / shard_name(1)) == ["cat", "fish"]
    assert read_seeds(folder / shard_name(1)) == [2, 3]
    (folder / shard_name(1)).write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match="not a readable sample shard"):
        read_labels(folder / shard_name(1))


def test_one_shard_is_checked_alone(folder):
    path = folder / shard_name(1)
    path.write_bytes(path.read_bytes() + b"x")
    opened = open_sample_set(folder)
    assert [sample.seed for sample in opened.read(0)] == [0, 1]
    with pytest.raises(UserError, match=r"part-00001\.parquet was altered"):
        opened.read(1)
    with pytest.raises(UserError, match="was altered"):
        opened.verify()


def test_a_lost_shard_is_named(folder):
    (folder / shard_name(0)).unlink()
    with pytest.raises(UserError, match=r"part-00000\.parquet is missing: sample again"):
        open_sample_set(folder, verify=True)
