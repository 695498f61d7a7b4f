"""Samplers by name: which of diffusers' schedulers fit a pipeline. Free of torch until one is made.

A pipeline says by its own scheduler how its network was trained; others fit when they walk the same
kind of noise.
"""

from typing import Any

from core.errors import UserError

_BETAS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2-ancestral": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmpp-2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp-2m-karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpmpp-2m-sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "tcd": ("TCDScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
_EDM: dict[str, tuple[str, dict[str, Any]]] = {
    "edm-dpmpp-2m": ("EDMDPMSolverMultistepScheduler", {}),
    "edm-euler": ("EDMEulerScheduler", {}),
}
_FLOW: dict[str, tuple[str, dict[str, Any]]] = {
    "flow-euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "flow-heun": ("FlowMatchHeunDiscreteScheduler", {}),
}
_FAMILIES = (_BETAS, _EDM, _FLOW)
_UNSEEDED = "DPMSolverSDEScheduler"
"""Keeps one source of noise for all pictures, whatever their generators: nothing could be repeated.
"""
_DISTILLED, _DISTILLED_STEPS = ("LCMScheduler", "TCDScheduler"), 50
NAMES = tuple(sorted(name for family in _FAMILIES for name in family))
"""All names that some pipeline takes."""


def check_scheduler(name: str, own_class: str) -> None:
    """UserError unless the named scheduler (empty: its own) fits a pipeline with this own class."""
    fitting = fitting_names(own_class)
    if name and name not in fitting:
        allowed = ", ".join(fitting) or "none but its own"
        raise UserError(
            f"--scheduler {name} does not fit a pipeline made with {own_class}; those that fit: "
            f"{allowed}; or leave it out for its own"
        )
    if not name and own_class == _UNSEEDED:
        raise UserError(
            f"the pipeline's own {own_class} draws noise that no seed decides: give --scheduler "
            "dpmpp-2m-sde, or another one"
        )


def check_steps(name: str, own_class: str, steps: int) -> None:
    """UserError for more steps than a scheduler of distilled models was distilled to."""
    kind = next((family[name][0] for family in _FAMILIES if name in family), own_class)
    if kind in _DISTILLED and steps > _DISTILLED_STEPS:
        raise UserError(
            f"--steps is {steps}: a {kind} takes {_DISTILLED_STEPS} at most, and models that are "
            "made for it take 1 to 8"
        )


def fitting_names(own_class: str) -> tuple[str, ...]:
    """Names of the schedulers that walk the kind of noise which `own_class` walks."""
    for family in _FAMILIES:
        kinds = {kind for kind, _ in family.values()} | ({_UNSEEDED} if family is _BETAS else set())
        if own_class in kinds:
            return tuple(sorted(family))
    return ()


def scheduler_named(name: str, own: Any) -> Any:
    """The named scheduler with the noise levels of the pipeline's own; that one for an empty name.

    UserError when it does not fit.
    """
    check_scheduler(name, type(own).__name__)
    if not name:
        return own
    import diffusers

    kind, changes = next(family[name] for family in _FAMILIES if name in family)
    return getattr(diffusers, kind).from_config(own.config, **changes)
