"""What a pack says about its licence and about how it was made."""

from collections.abc import Mapping
from typing import Any

from core.data.pinned import redistributable


def licence_of(parents: Mapping[str, Any]) -> str:
    """The licence that the sample set inherited from its data; `unknown` when none is stated."""
    return str(parents.get("licence") or "unknown")


def may_redistribute(parents: Mapping[str, Any]) -> bool | None:
    """True under known open licences, False when one forbids it, None when nobody knows."""
    return redistributable(licence_of(parents).split(" AND "))


def licence_text(name: str, parents: Mapping[str, Any]) -> str:
    """The pack's LICENSE: the data's licence carried over, or a loud warning."""
    licence = licence_of(parents)
    allowed = may_redistribute(parents)
    if allowed:
        verdict = (
            "These stickers may be passed on under the conditions of that licence (for instance\n"
            "naming its authors, where it asks for that)."
        )
    elif allowed is False:
        verdict = (
            "DO NOT REDISTRIBUTE. That licence does not allow works made from the data to be\n"
            "passed on. Keep this pack to yourself, or export one trained on open pictures."
        )
    else:
        verdict = (
            "LICENCE UNKNOWN: DO NOT REDISTRIBUTE until it is known. Nobody stated under which\n"
            "terms the training pictures may be used. State the licence when you prepare the\n"
            "dataset, train, sample and export again."
        )
    return (
        f"{name}\n\n"
        f"Licence of the pictures that the model was trained on: {licence}\n\n"
        f"{verdict}\n\n"
        f"Data digest: {parents.get('dataset', 'unknown')}\n"
    )


def disclosure_text(name: str, parents: Mapping[str, Any], count: int) -> str:
    """The disclosure that stores such as itch.io ask for, ready to be copied."""
    return f"""# Generative AI disclosure

The {count} pictures of **{name}** were made with generative AI: a small class-conditional diffusion
model drew them, and a tracer turned them into vector graphics. No artist drew them by hand.

- Kind of content: graphics
- Trained on: the dataset with digest `{parents.get("dataset", "unknown")}`
  (licence: {licence_of(parents)})
- Model digest: `{parents.get("model", "unknown")}`
- Digital source type:
  <http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia> (IPTC)

Each SVG carries its origin in `<metadata>`, each PNG in its text chunks; `pack.json` lists the seed
of every picture.
"""
