"""A pinned dataset's pictures as an autoencoder's latents, written beside them.

    latents.npy   float16 N×2×C×h×w: of each picture, and of its mirror image (which is not the
                  mirror image of its latents)
    encoder/      the autoencoder itself, in safetensors: samples are decoded with it

Both are covered by the dataset's digest. The last bits of latents may differ between kinds of
processors; a GPU is used where there is one.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.pinned import LATENTS, PinnedDataset, amend_pinned, open_pinned
from core.errors import UserError
from core.files import canonical_json, digest_file, read_json, write_json
from core.progress import progress
from core.threads import fixed_threads

ENCODER = "encoder"
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_BATCH, _BATCH_PIXELS = 8, 4 * 256**2
"""Most pictures that are encoded together, and most pixels of them; one picture always goes."""
_CHECKED = 64
"""Pictures that are decoded again to see what encoding costs them."""


def encode_dataset(folder: Path, autoencoder: Any) -> str:
    """Write the latents of a pinned dataset (not yet in use) into it; returns its new digest.

    `autoencoder` comes from `core.diffusion.autoencoder.open_autoencoder`. Raises UserError when
    the pictures do not fit it.
    """
    dataset = open_pinned(folder)
    require_fitting(autoencoder, size_px=dataset.size_px, channels=dataset.channels)
    with fixed_threads():
        latents = _write_latents(dataset, autoencoder)
        psnr_db = _reconstruction_psnr_db(dataset, autoencoder, latents)
    _save_encoder(folder / ENCODER, autoencoder)
    facts = {
        "class": type(autoencoder).__name__,
        "sha256": digest_file(folder / ENCODER / _WEIGHTS),
        "latent_chw": list(latents.shape[2:]),
        "reconstruction_psnr_db": round(psnr_db, 1),
    }
    files = (LATENTS, f"{ENCODER}/config.json", f"{ENCODER}/{_WEIGHTS}")
    return amend_pinned(folder, files=files, facts={"encoder": facts})


def open_encoder(dataset: PinnedDataset) -> Any | None:
    """The autoencoder that made a dataset's latents, in fp32; None when it has no latents."""
    if dataset.latents is None:
        return None
    from core.diffusion.autoencoder import open_autoencoder

    return open_autoencoder(str(dataset.folder / ENCODER))


def is_encoded_by(dataset: PinnedDataset, autoencoder: Any) -> bool:
    """Whether this very autoencoder, by its config and weights, made the dataset's latents."""
    import torch

    made: Any = open_encoder(dataset)
    if type(made) is not type(autoencoder) or _stated(made) != _stated(autoencoder):
        return False
    theirs, ours = made.state_dict(), autoencoder.state_dict()
    same_names: bool = theirs.keys() == ours.keys()
    return same_names and all(torch.equal(theirs[name], ours[name]) for name in ours)


def require_fitting(autoencoder: Any, *, size_px: int, channels: int) -> None:
    """UserError unless the autoencoder takes pictures of this shape."""
    from core.diffusion.autoencoder import compression

    takes, factor = int(autoencoder.config.in_channels), compression(autoencoder)
    if takes != channels:
        raise UserError(
            f"the autoencoder takes {takes} channels, but the pictures have {channels}: prepare "
            f"with --channels {takes}"
            + (" (transparency is then laid over --background)" if takes == 3 else "")
        )
    if size_px % factor:
        raise UserError(
            f"size_px is {size_px}: the autoencoder makes one latent of {factor}×{factor} pixels, "
            f"so give a multiple of {factor}"
        )


def _write_latents(dataset: PinnedDataset, autoencoder: Any) -> NDArray[np.float16]:
    from core.diffusion.autoencoder import to_latents

    count, batch = len(dataset.images_nhwc), _batch(dataset)
    written: Any = None
    with (
        _on_best_device(autoencoder),
        progress(title="encoding", total=count, unit="picture") as bar,
    ):
        for start in range(0, count, batch):
            pictures = _network_input(dataset.images_nhwc[start : start + batch], autoencoder)
            pair = [to_latents(autoencoder, batch) for batch in (pictures, pictures.flip(3))]
            found = np.stack([latents.cpu().numpy() for latents in pair], axis=1)
            if not np.isfinite(found.astype(np.float16)).all():
                raise UserError("the autoencoder makes latents that float16 cannot hold")
            if written is None:
                shape = (count, *found.shape[1:])
                written = np.lib.format.open_memmap(
                    dataset.folder / LATENTS, mode="w+", dtype=np.float16, shape=shape
                )
            written[start : start + batch] = found
            bar.update(len(found))
    written.flush()
    latents: NDArray[np.float16] = written
    return latents


def _reconstruction_psnr_db(
    dataset: PinnedDataset, autoencoder: Any, latents: NDArray[np.float16]
) -> float:
    """How like themselves pictures come back from their latents: over a sample's mean error."""
    import torch

    from core.diffusion.autoencoder import from_latents

    rows = np.unique(np.linspace(0, len(latents) - 1, _CHECKED).astype(int))
    errors, batch = [], _batch(dataset)
    with _on_best_device(autoencoder) as device:
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            stored = torch.from_numpy(latents[some, 0]).float().to(device)
            found = from_latents(autoencoder, stored).clamp(-1, 1)
            pictures = _network_input(dataset.images_nhwc[some], autoencoder)
            errors += ((found - pictures) * 127.5).square().mean((1, 2, 3)).tolist()
    return float(10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-6)))


def _batch(dataset: PinnedDataset) -> int:
    return min(max(_BATCH_PIXELS // dataset.size_px**2, 1), _BATCH)


def _network_input(images_nhwc: NDArray[np.uint8], autoencoder: Any) -> Any:
    import torch

    from core.diffusion.pixels import as_network_input

    return as_network_input(torch.from_numpy(np.array(images_nhwc)).to(autoencoder.device))


def _save_encoder(folder: Path, autoencoder: Any) -> None:
    autoencoder.save_pretrained(folder, safe_serialization=True)
    config = read_json(folder / "config.json")
    # Where it was opened from is no property of it.
    write_json(folder / "config.json", {k: v for k, v in config.items() if k != "_name_or_path"})


def _stated(autoencoder: Any) -> str:
    """Its config without the notes of diffusers, such as where it was opened from."""
    return canonical_json({k: v for k, v in autoencoder.config.items() if k[0] != "_"})


@contextlib.contextmanager
def _on_best_device(autoencoder: Any) -> Iterator[Any]:
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    autoencoder.to(device)
    try:
        yield device
    finally:
        autoencoder.to("cpu")
