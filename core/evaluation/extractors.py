"""What turns pictures into features: our own classifier, Inception or DINOv2."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from core.data.pinned import PinnedDataset, SplitName
from core.errors import UserError
from core.evaluation.config import FeatureKind
from core.evaluation.recognition import Recognizer
from core.files import digest_bytes
from core.images import Picture, over, unpremultiply
from core.progress import progress
from core.threads import fixed_threads

_BATCH = 32
_WHITE = (255, 255, 255)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extracted:
    """What is known of pictures."""

    features: Tensor
    """N×D."""
    probabilities: Tensor
    """N×L, of the extractor's own classes; L = 0 where it has none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extractor:
    """Features of pictures, and what made them."""

    kind: FeatureKind
    digest: str
    """SHA-256 of the weights: figures of other weights do not compare."""
    extract: Callable[[Sequence[Picture]], Extracted]
    """Of straight-alpha H×W×C pictures of any size."""

    def of_part(self, dataset: PinnedDataset, split: SplitName) -> Extracted:
        """The same of a split's pictures."""
        images, _ = dataset.part(split)
        starts = range(0, len(images), 256)
        title = f"features of the {split} pictures"
        found = [self.extract([])]
        for at in progress(starts, title=title, unit="block", hidden=len(starts) < 5):
            block = np.array(images[at : at + 256])
            found.append(self.extract([unpremultiply(image) for image in block]))
        return joined(found)


def joined(parts: Sequence[Extracted]) -> Extracted:
    """All of them, one after the other."""
    wide = [part for part in parts if len(part.features)] or list(parts[:1])
    return Extracted(
        features=torch.cat([part.features for part in wide]),
        probabilities=torch.cat([part.probabilities for part in wide]),
    )


def open_extractor(kind: FeatureKind, weights: str, recognizer: Recognizer) -> Extractor:
    """The extractor; UserError, in one line that says what to fetch, without its weights."""
    return _built_in(recognizer) if kind == "built-in" else open_network(kind, weights)


def open_network(kind: FeatureKind, weights: str) -> Extractor:
    """A network that others trained: `inception` or `dinov2`; UserError as `open_extractor`."""
    if kind == "dinov2":
        from core.evaluation.dinov2 import Dinov2

        dinov2 = Dinov2(weights)
        return _of_network(
            kind,
            dinov2.state(),
            lambda batch: Extracted(
                features=dinov2(batch), probabilities=torch.empty((len(batch), 0))
            ),
        )
    from core.evaluation.inception import WHERE, Inception

    if not weights:
        raise UserError(
            f"--features inception takes --weights FILE: fetch {WHERE} (91 MB), or use --features "
            "built-in, which needs no download"
        )
    inception = Inception(Path(weights))

    def extract(batch: Tensor) -> Extracted:
        features, probabilities = inception(batch)
        return Extracted(features=features, probabilities=probabilities)

    return _of_network(kind, inception.state(), extract)


def _built_in(recognizer: Recognizer) -> Extractor:
    def extract(pictures: Sequence[Picture]) -> Extracted:
        if not pictures:
            classes = len(recognizer.label_names)
            empty = torch.empty((0, classes))
            return Extracted(features=recognizer.features([]), probabilities=empty)
        return Extracted(
            features=recognizer.features(pictures),
            probabilities=recognizer.probabilities(pictures),
        )

    return Extractor(kind="built-in", digest=recognizer.digest, extract=extract)


def _of_network(
    kind: FeatureKind, state: dict[str, Tensor], network: Callable[[Tensor], Extracted]
) -> Extractor:
    def extract(pictures: Sequence[Picture]) -> Extracted:
        with fixed_threads():
            found = [network(batch) for batch in _batches(pictures)]
        empty = Extracted(features=torch.empty((0, 0)), probabilities=torch.empty((0, 0)))
        return joined(found or [empty])

    contiguous = {name: tensor.contiguous() for name, tensor in sorted(state.items())}
    return Extractor(kind=kind, digest=digest_bytes(save(contiguous)), extract=extract)


def _batches(pictures: Sequence[Picture]) -> Iterator[Tensor]:
    """Over white, as they are seen, in batches of pictures of one size."""
    at = 0
    while at < len(pictures):
        shape = pictures[at].shape[:2]
        end = at
        while end < min(len(pictures), at + _BATCH) and pictures[end].shape[:2] == shape:
            end += 1
        batch = np.stack([over(picture, _WHITE) for picture in pictures[at:end]])
        yield torch.from_numpy(batch).permute(0, 3, 1, 2)
        at = end
