"""How well a sample becomes a flat SVG: what evaluation asks of the exporter."""

from core.evaluation.traced import Traced
from core.images import Picture
from core.sampleset import Sample


def trace_flat(image_hwc: Picture) -> Traced | None:
    """Bytes and fidelity of the flat style, as exported by default; None when its gate refuses.

    A picture without transparency is drawn whole.
    """
    # The tracer's modules take half a second to load: not for `--help`.
    from pathlib import Path

    from core.data.transform import with_alpha
    from exporters.config import ExportConfig
    from exporters.drawing.sticker import Sticker, make_sticker

    config = ExportConfig(samples=Path("samples"), cut_out="none")
    sample = Sample(image_hwc=with_alpha(image_hwc), label="sample", seed=0)
    made = make_sticker(sample, config, {})
    if not isinstance(made, Sticker):
        return None
    return Traced(
        bytes=len(made.svg.encode()), psnr_db=made.fidelity.psnr_db, ssim=made.fidelity.ssim
    )
