"""What a look inside is made from, and whether it was made already. Free of torch."""

from pathlib import Path
from typing import Any

from core.config import config_to_dict
from core.data.pinned import open_pinned
from core.errors import UserError
from core.files import digest_file, read_json
from core.inspection.config import VisualizeConfig
from core.rundir import RunFolder

WEIGHTS = "diffusion_pytorch_model.safetensors"


def plan_of(config: VisualizeConfig) -> dict[str, Any]:
    """The settings and the digests of network, dataset and training's figures.

    UserError when there is no network or no dataset.
    """
    settings = {k: v for k, v in config_to_dict(config).items() if k not in ("run", "data")}
    parents = {"model": digest_file(weights_of(config.run))}
    data = data_of(config)
    if data is not None:
        parents["dataset"] = open_pinned(data).digest
    metrics = run_of(config.run).metrics
    if metrics.is_file():
        parents["metrics"] = digest_file(metrics)
    return {"settings": settings, "parents": parents}


def finished(config: VisualizeConfig, out: Path) -> bool:
    """Whether the report is there, whole, and made from just this."""
    figures = figures_path(out)
    if not (out.is_file() and figures.is_file()):
        return False
    made = read_json(figures)
    return {name: made.get(name) for name in ("settings", "parents")} == plan_of(config)


def check_out(out: Path) -> None:
    """UserError when the page, or the figures beside it, would take another file's place."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {out}: name an HTML file, such as {out.with_suffix('.html')}")
    figures = figures_path(out)
    if figures.is_file():
        made = read_json(figures)
        if not (isinstance(made, dict) and {"settings", "parents"} <= made.keys()):
            raise UserError(
                f"--out {out}: its figures would take the place of {figures}, which is something "
                "else: give another name"
            )


def figures_path(out: Path) -> Path:
    """The report's figures as JSON, beside it; written last."""
    return out.with_suffix(".json")


def default_out(config: VisualizeConfig) -> Path:
    """In a run's folder; beside any other model's."""
    run = run_of(config.run)
    if run.config.is_file() and run.model.is_dir():
        return run.root / "visualize.html"
    folder = config.run.resolve()
    return folder.with_name(f"{folder.name}-visualize.html")


def run_of(path: Path) -> RunFolder:
    """The run whose folder, or whose model's, this is; of any other folder nothing will exist."""
    inside = path.name == "model" and RunFolder(path.parent).data.is_file()
    return RunFolder(path.parent if inside else path)


def data_of(config: VisualizeConfig) -> Path | None:
    """The dataset to take pictures from; UserError when a run's own is not there any more."""
    if config.data is not None:
        return config.data
    noted = run_of(config.run).data
    if not noted.is_file():
        return None
    folder = Path(read_json(noted)["folder"])
    if not folder.is_dir():
        raise UserError(
            f"{config.run} was trained on {folder}, which is not there: name its pinned dataset "
            "with --data"
        )
    return folder


def weights_of(run: Path) -> Path:
    """The weights of a run, a pipeline or a network's folder; UserError without safetensors."""
    for folder in (run / "model" / "unet", run / "unet", run):
        if (folder / WEIGHTS).is_file():
            return folder / WEIGHTS
    if RunFolder(run).checkpoints.is_dir():
        raise UserError(f"{run} has no finished model yet: run its train command again")
    if (run / "config.json").is_file() or (run / "unet" / "config.json").is_file():
        raise UserError(
            f"{run} has no {WEIGHTS}: only safetensors are opened; save the model again with "
            "`save_pretrained(…, safe_serialization=True)`"
        )
    raise UserError(
        f"{run} is neither a run nor a diffusers model: give a run of `menagerie train`, or a "
        "folder with config.json and safetensors"
    )
