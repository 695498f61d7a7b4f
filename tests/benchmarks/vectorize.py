"""Rate and distortion of the SVGs, beside vtracer's three presets and artists' own.

    python tests/benchmarks/vectorize.py [--animals 100] [--emoji 100] [--photos 40] [--plot FILE]

Inputs: (a) held-out starter animals at 64 px, enlarged; (b) emoji rendered at 512 px; (c) web
photographs at 128 px. What every tracer gets is the same picture at 512 px, the one that the
exporter measures against; vtracer gets it with a thresholded alpha, which suits it best. PSNR is
the worse of white and black ground. Ours is drawn twice: by each style's defaults, and aimed at the
PSNR of vtracer's best preset for this picture (the one with the highest), which is what the ratios
are of. Bytes are without <metadata>, which an artist's file has none of.
"""

import argparse
import dataclasses
import io
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import vtracer
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.data.starter import LABELS, draw_animal  # noqa: E402  # after the path is set
from core.errors import UserError  # noqa: E402
from core.images import Picture  # noqa: E402
from core.render import render_svg  # noqa: E402
from core.sampleset import Sample  # noqa: E402
from exporters.config import ExportConfig  # noqa: E402
from exporters.drawing.fidelity import Fidelity, measure  # noqa: E402
from exporters.drawing.sticker import Sticker, make_sticker  # noqa: E402
from exporters.drawing.subject import prepare  # noqa: E402

SIZE_PX = 512
HELD_OUT = 900_000
"""First seed of animals that nothing was trained or tuned on."""
COMMON = {"max_iterations": 10, "splice_threshold": 45, "length_threshold": 4.0}
PRESETS = {
    "bw": {
        "colormode": "binary",
        "filter_speckle": 4,
        "color_precision": 6,
        "layer_difference": 16,
    },
    "poster": {"colormode": "color", "filter_speckle": 4, "color_precision": 8},
    "photo": {"colormode": "color", "filter_speckle": 10, "color_precision": 8},
}
for _name, _difference, _corner in (("bw", 16, 60), ("poster", 16, 60), ("photo", 48, 180)):
    PRESETS[_name] |= COMMON | {"layer_difference": _difference, "corner_threshold": _corner}
STYLES = {"a": ("flat", "cartoon", "silhouette", "pixel"), "b": ("flat",), "c": ("photo", "flat")}
MATCHED = {"a": "flat", "b": "flat", "c": "photo"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One picture drawn one way."""

    kind: str
    way: str
    name: str
    fidelity: Fidelity
    bytes: int
    paths: int
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
    """A picture, and the size of the artist's own SVG (0: there is none)."""

    name: str
    image_hwc: Picture
    own_bytes: int = 0


def main() -> None:
    """Parse, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, count in (("animals", 100), ("emoji", 100), ("photos", 40)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--plot", type=Path)
    flags = parser.parse_args()
    inputs = {
        "a": list(animals(flags.animals)),
        "b": list(emoji(flags.data / "emoji_svg", flags.emoji)),
        "c": list(photographs(flags.data / "animals8", flags.photos)),
    }
    rows: list[Row] = []
    ratios: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    for kind, pictures in inputs.items():
        for picture in pictures:
            found, ratio = compare(kind, picture)
            rows += found
            ratios[kind] += ratio
            print(f"\r{kind} {picture.name:40.40s}", end="", file=sys.stderr)
    print(file=sys.stderr)
    summary = print_table(rows)
    for kind, found in ratios.items():
        if found:
            middle = statistics.median(found)
            against = "the artist's bytes" if kind == "b" else "vtracer's bytes at its best PSNR"
            print(f"({kind}) ours over {against}: median {middle:.3f}, worst {max(found):.3f}")
            summary[f"{kind} ratio"] = round(middle, 4)
    if flags.plot:
        plot(rows, flags.plot)
    print(json.dumps(summary))


def compare(kind: str, picture: Input) -> tuple[list[Row], list[float]]:
    """All ways to draw one picture, and the ratio of bytes that its kind is judged by."""
    config = config_of(MATCHED[kind], aim_db=32.0)
    reference = prepare(picture.image_hwc, config).reference_hwc
    rows = [by_vtracer(kind, picture.name, reference, preset) for preset in PRESETS]
    for style in STYLES[kind]:
        rows += ours(kind, picture, config_of(style, aim_db=32.0), style)
    if kind == "b":
        drawn = [row for row in rows if row.way == "flat" and row.fidelity.psnr_db >= 32]
        return rows, [row.bytes / picture.own_bytes for row in drawn]
    best = max(rows[: len(PRESETS)], key=lambda row: row.fidelity.psnr_db)
    config = config_of(MATCHED[kind], aim_db=best.fidelity.psnr_db)
    matched = ours(kind, picture, config, f"{MATCHED[kind]} at equal PSNR")
    short = [row for row in matched if row.fidelity.psnr_db < best.fidelity.psnr_db - 0.05]
    for row in short:
        print(
            f"\n{row.name}: {row.fidelity.psnr_db} of {best.fidelity.psnr_db} dB", file=sys.stderr
        )
    ratios = [row.bytes / best.bytes for row in matched if row not in short]
    return rows + matched, ratios


def config_of(style: str, *, aim_db: float) -> ExportConfig:
    """An open gate: what is measured is the curve, not what passes."""
    return ExportConfig(
        samples=Path("unused"),
        style=style,  # type: ignore[arg-type]
        aim_psnr_db=aim_db,
        min_psnr_db=min(aim_db, 20.0),
        min_ssim=0.0,
        min_alpha_iou=0.9,
        max_edge_px=8.0,
    )


def ours(kind: str, picture: Input, config: ExportConfig, way: str) -> list[Row]:
    """One of our styles; empty when it refuses."""
    start = time.process_time()
    sample = Sample(image_hwc=picture.image_hwc, label="animal", seed=0)
    made = make_sticker(sample, config, {})
    seconds = time.process_time() - start
    if not isinstance(made, Sticker):
        print(f"\n{picture.name}: {made.reason}", file=sys.stderr)
        return []
    return [
        Row(
            kind=kind,
            way=way,
            name=picture.name,
            fidelity=made.fidelity,
            bytes=len(made.svg.split("<metadata")[0].encode()),
            paths=made.paths,
            seconds=seconds,
        )
    ]


def by_vtracer(kind: str, name: str, reference_hwc: Picture, preset: str) -> Row:
    """One of vtracer's presets, as its command line has them."""
    clear = reference_hwc.copy()
    clear[..., 3] = np.where(clear[..., 3] >= 128, 255, 0)
    buffer = io.BytesIO()
    Image.fromarray(clear).save(buffer, format="PNG")
    start = time.process_time()
    svg = vtracer.convert_raw_image_to_svg(
        buffer.getvalue(),
        img_format="png",
        hierarchical="stacked",
        mode="spline",
        path_precision=8,
        **PRESETS[preset],
    )
    seconds = time.process_time() - start
    view = f'<svg viewBox="0 0 {SIZE_PX} {SIZE_PX}" '
    rendered = render_svg(svg.replace("<svg ", view, 1), SIZE_PX)
    return Row(
        kind=kind,
        way=f"vtracer {preset}",
        name=name,
        fidelity=measure(rendered, reference_hwc),
        bytes=len(svg.encode()),
        paths=svg.count("<path"),
        seconds=seconds,
    )


def animals(count: int) -> Iterator[Input]:
    """Held-out starter animals at the sample size."""
    for index in range(count):
        label = LABELS[index % len(LABELS)]
        picture = draw_animal(label, HELD_OUT + index, 64)
        yield Input(name=f"{label} {HELD_OUT + index}", image_hwc=picture)


def emoji(folder: Path, count: int) -> Iterator[Input]:
    """Every so many of the artists' SVGs, rendered."""
    files = sorted(folder.glob("*/*.svg"))
    for path in files[:: max(1, len(files) // max(count, 1))][:count]:
        text = path.read_text(encoding="utf-8")
        try:
            yield Input(
                name=path.stem, image_hwc=render_svg(text, SIZE_PX), own_bytes=path.stat().st_size
            )
        except (UserError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)


def photographs(folder: Path, count: int) -> Iterator[Input]:
    """Every seventeenth photograph of each class in turn."""
    for index in range(count):
        label = LABELS[index % len(LABELS)]
        path = sorted((folder / label).glob("*.jpg"))[17 * index]
        yield Input(name=path.stem, image_hwc=np.asarray(Image.open(path).convert("RGB")))


def print_table(rows: list[Row]) -> dict[str, object]:
    """Means per kind and way."""
    print(
        f"{'':3}{'way':24}{'n':>4}{'PSNR':>8}{'SSIM':>8}{'IoU':>8}{'edge px':>8}"
        f"{'KiB':>9}{'paths':>8}{'CPU s':>8}"
    )
    summary: dict[str, object] = {}
    for kind, way in dict.fromkeys((row.kind, row.way) for row in rows):
        group = [row for row in rows if (row.kind, row.way) == (kind, way)]
        figures = [
            statistics.fmean(row.fidelity.psnr_db for row in group),
            statistics.fmean(row.fidelity.ssim for row in group),
            statistics.fmean(row.fidelity.alpha_iou for row in group),
            statistics.fmean(row.fidelity.edge_px for row in group),
            statistics.fmean(row.bytes for row in group) / 1024,
            statistics.fmean(row.paths for row in group),
            statistics.fmean(row.seconds for row in group),
        ]
        db, ssim, iou, edge, kib, paths, seconds = figures
        print(
            f"{kind:3}{way:24}{len(group):4}{db:8.2f}{ssim:8.3f}{iou:8.3f}{edge:8.2f}"
            f"{kib:9.1f}{paths:8.0f}{seconds:8.2f}"
        )
        summary[f"{kind} {way}"] = [round(figure, 4) for figure in figures]
    return summary


def plot(rows: list[Row], path: Path) -> None:
    """Bytes against PSNR, a dot per picture and way, one field per kind."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    kinds = sorted({row.kind for row in rows})
    figure, fields = plt.subplots(1, len(kinds), figsize=(6 * len(kinds), 5), squeeze=False)
    for field, kind in zip(fields[0], kinds, strict=True):
        for way in dict.fromkeys(row.way for row in rows if row.kind == kind):
            group = [row for row in rows if (row.kind, row.way) == (kind, way)]
            sizes = [row.bytes / 1024 for row in group]
            field.plot(sizes, [row.fidelity.psnr_db for row in group], ".", label=way)
        field.set(xscale="log", xlabel="KiB", ylabel="PSNR (dB)", title=f"({kind})")
        field.set_ylim(bottom=10)
        field.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
