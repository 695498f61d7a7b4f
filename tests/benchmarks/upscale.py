"""The starter upscaler against Lanczos and Real-ESRGAN's weights, on held-out starter animals.

    python tests/benchmarks/upscale.py [--per-class 2] [--weights NAME=FILE …] [--sheet SHEET.png]
    python tests/benchmarks/upscale.py --photographs FILE [--set Set5]

Animals of seeds that no training draws are rendered at 128 and 256 px, averaged to a quarter, and
enlarged four times (RGBA): `coded` averages the coded values, `light` light as `prepare` does,
`spoilt` adds noise, mottling and blur like a diffusion sample's. PSNR and SSIM are basicsr's, over
the four premultiplied channels; edge error is the mean difference of the gradient's length, in grey
levels per pixel, within 2 px of the true edges. Milliseconds are of one thread and one 64 px
picture, all upscalers in turns. With --photographs, weights are held against bicubic on Set5 x4,
RGB PSNR over whole pictures and luma PSNR as papers state it. The last line is JSON.
"""

import argparse
import dataclasses
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.data.starter import LABELS, draw_animal  # noqa: E402  # after the path is set
from core.images import Picture, over, png_bytes, premultiply, unpremultiply  # noqa: E402
from exporters.superres import load_upscaler, upscale_premultiplied, upscale_tiled  # noqa: E402
from exporters.training.config import UpscalerConfig  # noqa: E402
from exporters.training.patches import shrink, spoil  # noqa: E402
from exporters.training.restoration import luma_psnr_db, psnr_db, ssim  # noqa: E402
from exporters.upscale import STARTER_WEIGHTS, lanczos  # noqa: E402
from exporters.vision import Field, dilate, gradient  # noqa: E402

HELD_OUT_SEED = 10_000_000
"""Trainings draw their animals' seeds from 43 bits at random: none of these."""
SIZES_PX = (32, 64)
CONDITIONS = ("coded", "light", "spoilt")
EDGE = 16.0
"""Grey levels per pixel from which the truth has an edge."""
Enlarge = Callable[[Field], Field]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A held-out animal, premultiplied."""

    small: Picture
    large: Picture


def main() -> None:
    """Measure, print a table and one line of JSON."""
    flags = _flags()
    result = _photographs(flags) if flags.photographs else _animals(flags)
    print(json.dumps(result))


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--per-class", type=int, default=2, help="held-out animals of each class")
    parser.add_argument("--weights", nargs="*", default=[], help="more weights, as NAME=FILE")
    parser.add_argument("--sheet", type=Path, help="write crops side by side into this PNG")
    parser.add_argument("--photographs", type=Path, help="weights to hold against bicubic")
    parser.add_argument("--set", default="Set5", help="Set5 or Set14")
    parser.add_argument("--real-data", type=Path, default=ROOT.parent / "shared" / "data")
    return parser.parse_args()


def _upscalers(flags: argparse.Namespace) -> dict[str, Enlarge]:
    def network(weights: Path, **more: str) -> Enlarge:
        # Loaded anew when another one was used between: only one is kept, so each has its own.
        loaded = load_upscaler.__wrapped__(weights, **more)
        return functools.partial(_through, loaded, weights)

    found: dict[str, Enlarge] = {"lanczos": lambda small: lanczos(small, 4 * small.shape[0])}
    if STARTER_WEIGHTS.exists():
        found["starter"] = network(STARTER_WEIGHTS)
        found["starter, bf16"] = network(STARTER_WEIGHTS, precision="bf16")
    for name in ("realesr-general-x4v3", "realesr-animevideov3-x4"):
        weights = flags.real_data / "weights" / f"{name}.pth"
        if weights.exists():
            found[name] = network(weights)
        else:
            print(f"left out: {weights} does not exist (--real-data)", file=sys.stderr)
    for given in flags.weights:
        name, _, file = given.partition("=")
        found[name] = network(Path(file))
    return found


def _through(loaded: object, weights: Path, small: Field) -> Field:
    """`upscale_premultiplied` with a network of one's own."""
    import exporters.superres as module

    kept = module.load_upscaler
    module.load_upscaler = lambda *_: loaded  # type: ignore[assignment]
    try:
        return upscale_premultiplied(small, weights)
    finally:
        module.load_upscaler = kept


def _animals(flags: argparse.Namespace) -> dict[str, object]:
    upscalers = _upscalers(flags)
    rows: dict[str, dict[str, float]] = {name: {} for name in upscalers}
    for condition in CONDITIONS:
        for size_px in SIZES_PX:
            cases = [_case(*which, size_px, condition) for which in _animals_of(flags.per_class)]
            _measure(upscalers, cases, f"{condition}_{size_px}", rows)
    _time(upscalers, rows)
    _print_animals(rows)
    if flags.sheet:
        _write_sheet(upscalers, flags.sheet)
    return {"per_class": flags.per_class, "rows": rows}


def _animals_of(per_class: int) -> list[tuple[str, int]]:
    return [(label, HELD_OUT_SEED + number) for label in LABELS for number in range(per_class)]


def _case(label: str, seed: int, size_px: int, condition: str) -> Case:
    large = premultiply(draw_animal(label, seed, 4 * size_px))
    small = shrink(large, shrinking="area", in_light=condition != "coded")
    if condition == "spoilt":
        small = spoil(small, UpscalerConfig(), np.random.default_rng(seed))
    return Case(small=small, large=large)


def _measure(
    upscalers: dict[str, Enlarge], cases: list[Case], key: str, rows: dict[str, dict[str, float]]
) -> None:
    for name, enlarge in upscalers.items():
        found = []
        for case in cases:
            guess = _levels(enlarge(case.small.astype(np.float32)))
            edges = _edge_error(guess, case.large)
            found.append((psnr_db(guess, case.large), ssim(guess, case.large), edges))
        psnr, similarity, edges = np.mean(found, axis=0).tolist()
        figures = {"psnr_db": psnr, "ssim": similarity, "edge_error": edges}
        rows[name] |= {f"{key}_{what}": round(value, 4) for what, value in figures.items()}


def _levels(picture: Field) -> Picture:
    levels: Picture = np.rint(picture).clip(0, 255).astype(np.uint8)
    return levels


def _edge_error(guess: Picture, truth: Picture) -> float:
    wanted, got = _steepness(truth), _steepness(guess)
    return float(np.abs(got - wanted)[dilate(wanted > EDGE, 2)].mean())


def _steepness(picture: Picture) -> Field:
    """Length of the gradient over all channels."""
    channels = [
        np.square(part)
        for channel in range(4)
        for part in gradient(np.ascontiguousarray(picture[..., channel], dtype=np.float32))
    ]
    return np.sqrt(np.sum(channels, axis=0), dtype=np.float32)


def _time(upscalers: dict[str, Enlarge], rows: dict[str, dict[str, float]]) -> None:
    pictures = [_case(label, HELD_OUT_SEED, 64, "coded").small for label in LABELS]
    spans: dict[str, list[float]] = {name: [] for name in upscalers}
    for picture in pictures:
        for name, enlarge in upscalers.items():
            begun = time.perf_counter()
            enlarge(picture.astype(np.float32))
            spans[name].append(1000 * (time.perf_counter() - begun))
    for name, found in spans.items():
        rows[name]["ms"] = round(statistics.median(found), 1)


def _print_animals(rows: dict[str, dict[str, float]]) -> None:
    print(f"{'upscaler':26}{'picture':>16}{'PSNR':>9}{'SSIM':>8}{'edges':>7}{'ms, 64 px':>11}")
    for condition in CONDITIONS:
        for size_px in SIZES_PX:
            for name, row in rows.items():
                values = [
                    row[f"{condition}_{size_px}_{k}"] for k in ("psnr_db", "ssim", "edge_error")
                ]
                print(
                    f"{name:26}{f'{condition} {size_px} px':>16}{values[0]:6.2f} dB{values[1]:8.4f}"
                    f"{values[2]:7.2f}{row['ms']:11.1f}"
                )


def _write_sheet(upscalers: dict[str, Enlarge], path: Path) -> None:
    """A row for each class: the sample, each enlargement, the truth; on light grey."""
    rows = []
    for label in LABELS:
        case = _case(label, HELD_OUT_SEED + 1, 32, "light")
        side = case.large.shape[0]
        cells = [np.repeat(np.repeat(case.small, 4, axis=0), 4, axis=1)]
        cells += [_levels(enlarge(case.small.astype(np.float32))) for enlarge in upscalers.values()]
        shown = [over(unpremultiply(cell), (235, 235, 235)) for cell in [*cells, case.large]]
        rows.append(np.concatenate([np.pad(c, ((4, 4), (4, 4), (0, 0))) for c in shown], axis=1))
        assert shown[0].shape[0] == side
    sheet = np.concatenate(rows)
    sheet = np.repeat(np.repeat(sheet, 2, axis=0), 2, axis=1)
    path.write_bytes(png_bytes(sheet))


def _photographs(flags: argparse.Namespace) -> dict[str, object]:
    """RGB PSNR of whole pictures, and luma PSNR as papers state it, beside bicubic's."""
    model, scale, _ = load_upscaler(flags.photographs)
    rows: dict[str, list[tuple[float, ...]]] = {"bicubic": [], "trained": []}
    for small_path in sorted((flags.real_data / "sr" / flags.set).glob("*_LR.png")):
        small, large = (_rgb(small_path), _rgb(Path(str(small_path).replace("_LR", "_HR"))))
        size_wh = (large.shape[1], large.shape[0])
        guesses = {
            "bicubic": np.asarray(Image.fromarray(small).resize(size_wh, Image.Resampling.BICUBIC)),
            "trained": _levels(upscale_tiled(small.astype(np.float32), model, scale)),
        }
        for name, guess in guesses.items():
            rows[name].append(
                (psnr_db(guess, large), luma_psnr_db(guess, large), ssim(guess, large))
            )
            one = rows[name][-1]
            print(f"{small_path.name:24}{name:9}{one[0]:6.2f} dB RGB{one[1]:6.2f} dB luma")
    means = {name: np.mean(found, axis=0).tolist() for name, found in rows.items()}
    for name, mean in means.items():
        print(f"{'mean':24}{name:9}{mean[0]:6.2f} dB RGB{mean[1]:6.2f} dB luma, SSIM {mean[2]:.4f}")
    keys = ("rgb_psnr_db", "luma_psnr_db", "ssim")
    result: dict[str, object] = {"set": flags.set}
    for name, mean in means.items():
        result[name] = {key: round(value, 4) for key, value in zip(keys, mean, strict=True)}
    gains = (means["trained"][place] - means["bicubic"][place] for place in (0, 1))
    return result | {f"gain_{k}": round(v, 3) for k, v in zip(keys[:2], gains, strict=True)}


def _rgb(path: Path) -> Picture:
    return np.asarray(Image.open(path).convert("RGB"))


if __name__ == "__main__":
    main()
