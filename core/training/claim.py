"""Whose folder a run's is: one config and one dataset for good. Free of torch."""

from core.config import config_to_dict, differing_fields, load_config, save_config
from core.data.pinned import PinnedDataset
from core.diffusion.modelinfo import describe_model, model_digest
from core.errors import UserError
from core.files import read_json, write_json
from core.rundir import RunFolder
from core.training.config import TrainConfig


def claim(run: RunFolder, config: TrainConfig, dataset: PinnedDataset) -> None:
    """Make the folder this run's; UserError when it is another's already."""
    check_claim(run, config, dataset)
    if not run.config.exists():
        save_config(config, run.config)
    write_json(
        run.data,
        {
            "folder": str(dataset.folder),
            "digest": dataset.digest,
            "licence": dataset.licence,
            "labels": list(dataset.label_names),
            "size_px": dataset.size_px,
            "channels": dataset.channels,
            "parent": parent_of(config),
        },
    )


def parent_of(config: TrainConfig) -> dict[str, str] | None:
    """Folder, digest and licence of the model that --init-from names; None without it."""
    if config.init_from is None:
        return None
    licence = describe_model(config.init_from).facts.get("licence", "unknown")
    digest = model_digest(config.init_from)
    return {"folder": str(config.init_from), "digest": digest, "licence": str(licence)}


def check_claim(run: RunFolder, config: TrainConfig, dataset: PinnedDataset) -> None:
    """UserError when the folder holds a run of other settings or data; writes nothing."""
    if not run.config.exists():
        return
    found = load_config(TrainConfig, run.config)
    if differing := differing_fields(found, config):
        was = {name: config_to_dict(found)[name] for name in differing}
        raise UserError(f"{run.root} holds a run with other settings, {was}: name another --out")
    if not run.data.exists():
        return
    began = read_json(run.data)
    if began["digest"] != dataset.digest:
        raise UserError(
            f"the data of {run.root} changed since it began (another digest): name another --out"
        )
    parent = parent_of(config)
    if parent and began["parent"]["digest"] != parent["digest"]:
        raise UserError(
            f"{run.root} began from another model than {config.init_from} now holds (another "
            "digest): name another --out"
        )
