"""A sample set in the making: what is the same whichever model draws its pictures."""

import itertools
from pathlib import Path

from core.files import write_bytes
from core.images import contact_sheet, png_bytes
from core.parts import Parts, make_everything
from core.sampleset import DONE, SampleSet, open_sample_set, read_shard, shard_name

_SHEET_AT_MOST = 128


class ShardedPictures:
    """Pictures in shards of a fixed size: one part (`core.parts.Parts`) per shard."""

    def __init__(self, folder: Path, *, pictures: int, shard_size: int) -> None:
        self.folder = folder
        self._pictures = pictures
        self.shards = [shard_name(i) for i in range(-(-pictures // shard_size))]

    @property
    def count(self) -> int:
        """Number of shards."""
        return len(self.shards)

    def missing(self) -> list[int]:
        """Shards that are not there yet."""
        return [i for i, shard in enumerate(self.shards) if not (self.folder / shard).exists()]

    def finished(self) -> bool:
        """Whether the done-marker is there."""
        return (self.folder / DONE).exists()

    def write_contact_sheet(self) -> None:
        """Draw pictures spread evenly over the whole set, in order, on one sheet."""
        stride = -(-self._pictures // _SHEET_AT_MOST)
        samples = itertools.chain.from_iterable(
            read_shard(self.folder / shard) for shard in self.shards
        )
        chosen = [sample.image_hwc for sample in itertools.islice(samples, None, None, stride)]
        sheet = contact_sheet(chosen, columns=min(16, len(chosen)), cell_px=96)
        write_bytes(self.folder / "contact_sheet.png", png_bytes(sheet))


def complete(work: Parts) -> SampleSet:
    """Make all that is missing of a sample set; UserError when its folder holds another one."""
    if work.finished():
        work.begin()
        print(f"{work.folder} is finished already: nothing to do")
    else:
        make_everything(work)
    return open_sample_set(work.folder)
