"""Power-function averaging of weights: a long memory late in training, a short one early.

Two averages of different widths are tracked and now and then kept. Any other width is made from
what was kept, after training: each kept average is a known mean over the training's weights, its
profile, and the sum of them whose profile comes nearest to the wanted one is that average nearly
(Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models", section 3
and appendix C).
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from core.errors import UserError
from core.files import write_bytes

_LARGEST_MISFIT = 0.1
"""Widths whose profile the kept ones meet no better than this (relative, mean square) are refused:
beyond, the made average and a tracked one visibly part."""


@dataclasses.dataclass(frozen=True)
class _Profile:
    """Which average of the training's weights something is: p(τ) ∝ τ^γ for τ up to `step`."""

    step: int
    gamma: float


def ema_gamma(relative_width: float) -> float:
    """The exponent γ whose averaging profile has this width, relative to the training's length.

    Solves (γ+1)^½ (γ+2)^-1 (γ+3)^-½ = width (Karras et al. 2024, equation 126) by bisection;
    width in (0, 0.28].
    """
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        width = (middle + 1) ** 0.5 / ((middle + 2) * (middle + 3) ** 0.5)
        low, high = (middle, high) if width > relative_width else (low, middle)
    return (low + high) / 2


@torch.no_grad()
def ema_update(
    average: Iterable[Tensor],
    current: Iterable[Tensor],
    *,
    step: int,
    gamma: float,
    steps: int = 1,
) -> None:
    """Move the average towards the current weights in place after training step `step` (from 1).

    β = (1 - 1/step)^(γ+1) (Karras et al. 2024, equation 127); the first step copies. steps: how
    many since the last update. Their βs multiply to (1 - steps/step)^(γ+1), since (1 - 1/n) is
    (n - 1)/n and the product telescopes: older weights count exactly as with an update at each
    step, and what those between would have had goes to the current ones.
    """
    beta = (1 - steps / step) ** (gamma + 1)
    torch._foreach_lerp_(list(average), list(current), 1 - beta)


def save_averages(path: Path, averages: dict[float, dict[str, Tensor]], *, step: int) -> None:
    """Keep averages (width → weights) of step `step` in one file, atomically, in half precision.

    Its 11 bits change an average by about 2e-4 of its norm, and one made of several by as much.
    """
    widths = list(averages)
    tensors = {
        f"{index}.{name}": tensor.detach().half().contiguous()
        for index, width in enumerate(widths)
        for name, tensor in averages[width].items()
    }
    # In one entry: safetensors writes several in an order of chance, and the bytes shall repeat.
    facts = {"averages": json.dumps({"step": step, "widths": widths})}
    write_bytes(path, save(tensors, facts))


def load_average(path: Path, width: float) -> dict[str, Tensor]:
    """One of the averages in a file that `save_averages` wrote, in float32."""
    with _opened(path) as file:
        return _weights(file, _facts(file)["widths"].index(width))


def averaged_weights(folder: Path, width: float) -> dict[str, Tensor]:
    """The average of this width (0.03 to 0.2 of the run with 8 snapshots) at the last snapshot.

    folder: `averages/` of a run. Weights by name, float32, on the CPU. Solves the least-squares
    problem of Karras et al. 2024, appendix C, with one more condition: that the sum's profile has
    weight 1, so that weights which did not change come out exactly.

    Raises UserError when there are no snapshots, they cannot be read, or meet the width too badly.
    """
    paths = sorted(folder.glob("step_????????.safetensors"))
    if not paths:
        raise UserError(
            f"{folder} holds no snapshots of averaged weights, which another averaging width is "
            "made of: train with --snapshots 8, or leave the width out"
        )
    try:
        profiles = [_profiles_in(path) for path in paths]
        flat = [profile for found in profiles for profile in found]
        shares = iter(_shares(flat, width, folder))
        total: dict[str, Tensor] = {}
        for path, found in zip(paths, profiles, strict=True):
            with _opened(path) as file:
                for index, share in zip(range(len(found)), shares, strict=False):
                    for name, tensor in _weights(file, index).items():
                        total[name] = total.get(name, 0) + share * tensor.double()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the snapshots in {folder} cannot be read ({type(error).__name__}: {error}): remove "
            "the broken one, or leave the averaging width out"
        ) from error
    return {name: tensor.float() for name, tensor in total.items()}


def _profiles_in(path: Path) -> list[_Profile]:
    with _opened(path) as file:
        facts = _facts(file)
    return [_Profile(int(facts["step"]), ema_gamma(width)) for width in facts["widths"]]


def _opened(path: Path) -> Any:
    """A safetensors file; its own methods have no types."""
    return safe_open(path, "pt")


def _facts(file: Any) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(file.metadata()["averages"])
    return facts


def _weights(file: Any, index: int) -> dict[str, Tensor]:
    prefix = f"{index}."
    return {
        name.removeprefix(prefix): file.get_tensor(name).float()
        for name in file.keys()  # noqa: SIM118  # it is no mapping
        if name.startswith(prefix)
    }


def _shares(profiles: Sequence[_Profile], width: float, folder: Path) -> list[float]:
    """How much of each kept average makes the wanted one."""
    last = max(profile.step for profile in profiles)
    shares, misfit = _solved(profiles, width, last)
    if misfit > _LARGEST_MISFIT:
        tried = np.arange(0.01, 0.281, 0.01)
        near = [w for w in tried if _solved(profiles, w, last)[1] <= _LARGEST_MISFIT]
        raise UserError(
            f"an averaging width of {width:g} cannot be made from the "
            f"{len({p.step for p in profiles})} snapshots in {folder}: give one from "
            f"{min(near):.2f} to {max(near):.2f}, or train with more --snapshots"
        )
    return [float(share) for share in shares]


def _solved(
    profiles: Sequence[_Profile], width: float, last: int
) -> tuple[NDArray[np.float64], float]:
    """Shares that sum to 1, and the relative root-mean-square misfit of their profile."""
    steps = np.array([profile.step for profile in profiles], dtype=np.float64)
    gammas = np.array([profile.gamma for profile in profiles])
    wanted = np.array(ema_gamma(width))
    among = _overlap(steps[:, None], gammas[:, None], steps, gammas)
    towards = _overlap(steps, gammas, np.array(float(last)), wanted)
    of_itself = float(_overlap(*2 * (np.array(float(last)), wanted)))
    # Profiles overlap in 1/steps; scaled, their rows and the condition's are of one size.
    count, scale = len(profiles), float(last)
    system = np.ones((count + 1, count + 1))
    system[:count, :count], system[count, count] = among * scale, 0.0
    # Nearly alike profiles make it nearly singular: least squares gives the smallest shares.
    solution = np.linalg.lstsq(system, np.append(towards * scale, 1.0), rcond=None)[0][:count]
    square = of_itself - 2 * solution @ towards + solution @ among @ solution
    return solution, float(np.sqrt(max(0.0, square) / of_itself))


def _overlap(
    step: NDArray[np.float64],
    gamma: NDArray[np.float64],
    other_step: NDArray[np.float64],
    other_gamma: NDArray[np.float64],
) -> NDArray[np.float64]:
    """∫ p q dτ of two profiles, p(τ) = (γ+1) τ^γ / step^(γ+1) up to its step, 0 after it."""
    shorter, longer = np.minimum(step, other_step), np.maximum(step, other_step)
    product = (gamma + 1) * (other_gamma + 1) / (gamma + other_gamma + 1)
    result: NDArray[np.float64] = (
        product * (shorter / step) ** gamma * (shorter / other_step) ** other_gamma / longer
    )
    return result
