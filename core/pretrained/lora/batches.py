"""Which pictures a step sees, with which noise: functions of (seed, step) alone.

The pictures of a step have one shape. An epoch shows every picture once, in batches drawn anew; a
batch that a shape's last pictures do not fill begins that shape again.
"""

import dataclasses
import functools

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from core.pretrained.lora.config import LoraConfig
from core.pretrained.lora.encoded import TEXTS, Encoded, EncodedItem
from core.pretrained.lora.texts import Texts
from core.seeds import mixed_seed

_ORDER, _DRAWS = 1, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """Some of a step's pictures."""

    rows: Tensor
    """N places in the step's whole batch."""
    latents: Tensor
    """N×C×h×w."""
    noise: Tensor
    """The same, normally distributed, shifted by --noise-offset."""
    timesteps: Tensor
    """N int64."""
    captions: Tensor
    """N places of their captions among the embeddings; the last place is nothing said."""
    sizes: Tensor
    """N×6, as SDXL is told: original height and width, crop's top and left, height and width."""


class Batches:
    """The batches of a training, on the device that trains."""

    def __init__(
        self, config: LoraConfig, encoded: Encoded, *, timesteps: int, device: torch.device
    ) -> None:
        self._config, self._encoded, self._device = config, encoded, device
        self._timesteps = timesteps
        self._nothing = len(encoded.captions)
        self._by_size: dict[tuple[int, int], list[int]] = {}
        for place, item in enumerate(encoded.items):
            self._by_size.setdefault(item.size_wh, []).append(place)
        self.per_epoch = sum(
            -(-len(places) // config.batch_size) for places in self._by_size.values()
        )
        """Steps of an epoch."""

    def texts(self) -> Texts:
        """The embeddings of all captions, in main memory: SDXL's are 0.3 MiB each."""
        found = load_file(self._encoded.folder / TEXTS)
        return Texts(found["embeds"], found.get("pooled"))

    def parts(self, step: int, *, rank: int, processes: int, accumulate: int) -> list[Batch]:
        """One process's share of a step's pictures, in micro-batches."""
        config = self._config
        count = config.batch_size
        places = self._epoch(step // self.per_epoch)[step % self.per_epoch]
        draws = torch.Generator().manual_seed(mixed_seed(config.seed, step, _DRAWS))
        items = [self._encoded.items[place] for place in places]
        stored = self._encoded.latents[items[0].size_wh]
        mirrored = torch.rand(count, generator=draws) < (0.5 if config.flip else 0.0)
        silent = torch.rand(count, generator=draws) < config.caption_drop
        timesteps = torch.randint(self._timesteps, (count,), generator=draws)
        noise = torch.randn((count, *stored.shape[2:]), generator=draws)
        if config.noise_offset:
            shift = torch.randn((*noise.shape[:2], 1, 1), generator=draws)
            noise = noise + config.noise_offset * shift
        mine = torch.arange(count * rank // processes, count * (rank + 1) // processes)
        parts = []
        for rows in mine.chunk(accumulate):
            chosen = [items[row] for row in rows]
            latents = np.stack([stored[items[r].row, int(mirrored[r])] for r in rows.tolist()])
            captions = [self._nothing if silent[r] else items[r].caption for r in rows.tolist()]
            batch = Batch(
                rows=rows,
                latents=torch.from_numpy(latents).float(),
                noise=noise[rows],
                timesteps=timesteps[rows],
                captions=torch.tensor(captions),
                sizes=torch.tensor([_told(item) for item in chosen]),
            )
            parts.append(self._moved(batch))
        return parts

    @functools.lru_cache(maxsize=2)  # noqa: B019 - lives as long as the training
    def _epoch(self, epoch: int) -> list[list[int]]:
        """Places of the pictures of each of its steps."""
        generator = torch.Generator().manual_seed(mixed_seed(self._config.seed, epoch, _ORDER))
        size, steps = self._config.batch_size, list[list[int]]()
        for places in self._by_size.values():
            order = torch.randperm(len(places), generator=generator).tolist()
            for first in range(0, len(order), size):
                chosen = [order[(first + k) % len(order)] for k in range(size)]
                steps.append([places[place] for place in chosen])
        return [steps[k] for k in torch.randperm(len(steps), generator=generator).tolist()]

    def _moved(self, batch: Batch) -> Batch:
        values = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
        here = ("rows", "captions")  # what they number is in main memory
        moved = {n: v if n in here else v.to(self._device) for n, v in values.items()}
        return Batch(**moved)


def _told(item: EncodedItem) -> list[float]:
    (width, height), (x, y) = item.size_wh, item.crop_xy
    return [float(v) for v in (*item.original_wh[::-1], y, x, height, width)]
