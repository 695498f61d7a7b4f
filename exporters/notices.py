"""What a pack says about its licence and about how it was made."""

import re
from collections.abc import Mapping
from typing import Any

from core.data.pinned import redistributable


def licence_of(parents: Mapping[str, Any]) -> str:
    """The licence that the sample set inherited from its data; `unknown` when none is stated."""
    return str(parents.get("licence") or "unknown")


def may_redistribute(parents: Mapping[str, Any]) -> bool | None:
    """True under known open licences, False when one forbids it, None when nobody knows."""
    return redistributable(licence_of(parents).split(" AND "))


def may_sell(parents: Mapping[str, Any]) -> bool:
    """Whether no licence among them is for non-commercial use alone (CC BY-NC and its kin)."""
    return not re.search(r"(^|[-\s])nc([-\s]|$)|non-?\s?commercial", licence_of(parents).lower())


def pictures_of(parents: Mapping[str, Any]) -> str:
    """What the licence is about: pictures that a model learnt from, or those that were traced."""
    return "pictures" if "pictures" in parents else "training pictures"


def made_by(parents: Mapping[str, Any]) -> str:
    """How the stickers came to be, in a few words."""
    return "Cut out and traced" if "pictures" in parents else "Made with generative AI"


def source_type_of(parents: Mapping[str, Any]) -> str:
    """IPTC's digital source type: drawn by a model, or somebody's pictures, cut out and traced."""
    kind = "algorithmicallyEnhanced" if "pictures" in parents else "trainedAlgorithmicMedia"
    return f"http://cv.iptc.org/newscodes/digitalsourcetype/{kind}"


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
    origin = "that the model was trained on"
    if "pictures" in parents:
        origin = "that these were traced from (pack.json names each one's)"
        verdict = verdict.replace("training pictures", pictures_of(parents)).replace(
            "State the licence when you prepare the\ndataset, train, sample and export again.",
            "State it with\n--licence or in metadata.jsonl, and export again.",
        )
    if allowed and not may_sell(parents):
        verdict += "\nNOT FOR SALE: a licence among them allows no commercial use."
    return (
        f"{name}\n\n"
        f"Licence of the pictures {origin}: {licence}\n\n"
        f"{verdict}\n\n"
        f"Data digest: {parents.get('dataset', parents.get('pictures', 'unknown'))}\n"
    )


def disclosure_text(name: str, parents: Mapping[str, Any], count: int) -> str:
    """The disclosure that stores such as itch.io ask for, ready to be copied."""
    if "pictures" in parents:
        return _disclosure_of_pictures(name, parents, count)
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


def _disclosure_of_pictures(name: str, parents: Mapping[str, Any], count: int) -> str:
    return f"""# Generative AI disclosure

The {count} pictures of **{name}** were not drawn by Menagerie: somebody's pictures were cut out of
their backgrounds and traced into vector graphics by algorithms. Whether those pictures were made
with generative AI, only who brought them knows: say so here before you publish the pack.

- Kind of content: graphics
- Pictures: digest `{parents["pictures"]}` (licence: {licence_of(parents)})
- Digital source type: <{source_type_of(parents)}> (IPTC)

Each SVG carries its origin in `<metadata>`, each PNG in its text chunks; `pack.json` names the file
of every picture.
"""
