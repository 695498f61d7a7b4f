"""The house rules: who imports whom, what stays light, and that no job shadows a real module."""

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "exporters", "curation_app", "jobs")
MAY_IMPORT = {
    "core": {"core"},
    "exporters": {"core", "exporters"},
    "curation_app": {"core", "curation_app"},
    "jobs": {"core", "exporters", "curation_app", "jobs"},
}
ONE_DOOR = (
    "ai_edge_litert",
    "basicsr",
    "cv2",
    "vtracer",
    "spandrel",
    "resvg_py",
    "soundfile",
    "submitit",
)


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
    return names


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    assert sources(package)
    for path in sources(package):
        used = {name.split(".")[0] for name in imports_of(path)} & set(PACKAGES)
        assert used <= MAY_IMPORT[package], f"{path} imports {used - MAY_IMPORT[package]}"


@pytest.mark.parametrize("module", ONE_DOOR)
def test_awkward_dependencies_have_one_importer(module: str) -> None:
    importers = [
        path
        for package in PACKAGES
        for path in sources(package)
        if module in {name.split(".")[0] for name in imports_of(path)}
    ]
    assert len(importers) == 1, importers


@pytest.mark.parametrize(
    "module",
    [
        *("curation_app", "core.errors", "core.config", "core.collection", "core.images"),
        *("core.rundir", "core.data.pinned", "core.diffusion.sampleconfig", "jobs.train"),
        *("jobs.sample", "jobs.export", "jobs.prepare", "jobs.evaluate", "jobs.launch"),
        *("core.inspection.planning", "jobs.visualize", "jobs.sweep", "jobs.listen"),
        *("jobs.calls", "jobs.phrases", "jobs.worker", "jobs.aftermath", "jobs.status"),
        "jobs.train_upscaler",
    ],
)
def test_light_modules_load_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd="/").returncode == 0


def test_no_job_shadows_a_module() -> None:
    # `python jobs/x.py` puts jobs/ first on the path.
    for path in sources("jobs"):
        name = path.stem
        if name == "__init__":
            continue
        assert name not in sys.stdlib_module_names, path
        found = find_spec(name)
        assert found is None or Path(str(found.origin)).parent == ROOT / "jobs", path
