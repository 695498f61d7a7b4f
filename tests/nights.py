"""A small plan of nights, and what stands for a trained run where none is drawn from."""

from pathlib import Path

from core.files import write_json

PLAN = """
name = "Tiny animals"
nights = "nights"
keep_nights = 2

[sample]
run = "run"
per_class = 3
steps = 2
shard_size = 4
batch_size = 4

[evaluate]
data = "data"
epochs = 1

[[export]]
name = "animals"
size_px = 64
small_px = 64
min_psnr_db = 5
min_alpha_iou = 0.1

[publish]
folder = "public"
"""


def write_plan(folder: Path, *changes: tuple[str, str]) -> Path:
    text = PLAN
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / "nightly.toml"
    path.write_text(text)
    return path


def fake_run(folder: Path, labels: tuple[str, ...] = ("cat", "fish")) -> None:
    """A run's model as far as planning looks at it."""
    unet = folder / "run/model/unet"
    unet.mkdir(parents=True)
    write_json(unet / "config.json", {"sample_size": 8, "out_channels": 64})
    (unet / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    write_json(folder / "run/model/model_index.json", {"labels": labels, "facts": {}, "patch": 4})
