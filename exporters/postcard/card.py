"""One card: everything that lies in its folder."""

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from core.audio import decode_audio, wav_bytes
from core.files import digest_bytes, write_bytes
from core.pretrained.calls.syllables import RATE_HZ
from core.pretrained.calls.synthesis import synthesise
from core.pretrained.calls.work import Call
from core.pretrained.phrases.speech import speak
from core.render import render_svg
from exporters.postcard.back import BARS, Words, draw_back
from exporters.postcard.colours import scheme_of
from exporters.postcard.front import draw_front
from exporters.postcard.names import name_of
from exporters.postcard.pdf import pdf_bytes
from exporters.postcard.scene import BLEED_MM, TRIM_MM, Scene, from_svg, to_svg
from exporters.postcard.source import Chosen, Portrait
from exporters.postcard.waveform import loudness_bars

DPI = 300
PRINT_PX = (
    round((TRIM_MM[0] + 2 * BLEED_MM) * DPI / 25.4),
    round((TRIM_MM[1] + 2 * BLEED_MM) * DPI / 25.4),
)
"""Width and height of a side with its bleed: 1819×1311."""
_DIGITS = 10
"""Of digests in the small print."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voice:
    """What one animal says, and how it sounds."""

    wav: bytes
    call_facts: dict[str, Any]
    phrase: str


def voice_of(
    chosen: Chosen,
    calls: Mapping[tuple[str, int], Call] | None,
    phrases: Mapping[tuple[str, int], str] | None,
) -> Voice:
    """An animal's call and phrase, from folders of them or by the embedded generators."""
    key = (chosen.label, chosen.seed)
    if calls is None:
        wave = synthesise(*key)
        wav, how = wav_bytes(wave.astype("float32"), RATE_HZ), "embedded synthesiser"
    else:
        calls[key].samples()  # says so when the file was altered
        wav, how = calls[key].path.read_bytes(), "given"
    phrase = speak(*key) if phrases is None else phrases[key]
    facts = {"sha256": digest_bytes(wav), "from": how}
    return Voice(wav=wav, call_facts=facts, phrase=phrase)


def write_card(
    folder: Path,
    chosen: Chosen,
    portrait: Portrait,
    voice: Voice,
    *,
    set_title: str,
    provenance: Mapping[str, str],
) -> dict[str, Any]:
    """Write front and back (SVG, PNG), PDF and sound into an empty folder; what is known of it."""
    scheme = scheme_of(portrait.seen_hwc, chosen.seed)
    name = name_of(chosen.label, chosen.seed, scheme)
    sound = decode_audio(voice.wav).mono()
    bars = loudness_bars(sound.samples, BARS)
    facts = {
        "label": chosen.label,
        "seed": chosen.seed,
        "folder": chosen.name,
        "name": name,
        "alt": portrait.alt,
        "phrase": voice.phrase,
        "seconds": round(sound.seconds, 3),
        "bars": bars,
        "picture": portrait.facts,
        "call": voice.call_facts,
        "phrase_sha256": digest_bytes(voice.phrase.encode()),
        "colours": {"ground": scheme.ground, "halo": scheme.halo, "light": scheme.light},
    }
    words = Words(
        name=name,
        set_title=set_title,
        phrase=voice.phrase,
        seed=chosen.seed,
        seconds=sound.seconds,
        small_print=small_print(facts, provenance),
    )
    line = f"{set_title} · Nº {chosen.seed}"
    front = draw_front(
        portrait.figure,
        scheme,
        label=chosen.label,
        seed=chosen.seed,
        name=name,
        line=line,
        alt=f"{name}: {portrait.alt[0].lower()}{portrait.alt[1:]} in a landscape of its colours",
    )
    back = draw_back(portrait.figure, scheme, words, bars)
    origin = {"label": chosen.label, "seed": str(chosen.seed), **provenance}
    _write_sides(folder, {"front": front, "back": back}, name, origin)
    write_bytes(folder / "call.wav", voice.wav)
    return facts


def small_print(facts: Mapping[str, Any], provenance: Mapping[str, str]) -> list[str]:
    """Where a card comes from: in words, then in the first digits of digests."""
    shared = {key: value for key, value in provenance.items() if key != "licence"}
    made_of = {
        "picture": facts["picture"].get("svg_sha256") or facts["picture"]["pixels_sha256"],
        "call": facts["call"]["sha256"],
        "phrase": facts["phrase_sha256"],
        **shared,
    }
    digests = ", ".join(f"{key} {value[:_DIGITS]}" for key, value in made_of.items())
    origin = "drawn from a picture" if "pictures" in provenance else "imagined by a model"
    return [
        f"No such animal exists: {facts['label']}, seed {facts['seed']}, {origin}; its call and "
        f"its words are made up. Licence: {provenance['licence']}.",
        f"{digests[0].upper()}{digests[1:]}.",
    ]


def sides_of(folder: Path) -> list[Scene]:
    """Front and back of a finished card."""
    return [from_svg((folder / f"{side}.svg").read_text("utf-8")) for side in ("front", "back")]


def print_png(scene: Scene, origin: Mapping[str, str]) -> bytes:
    """A side with its bleed as PNG of `PRINT_PX`, which knows its 300 dpi and its origin."""
    info = PngInfo()
    for key, value in sorted(origin.items()):
        info.add_itxt(f"menagerie:{key}", value)
    pixels = render_svg(to_svg(scene, size_px=PRINT_PX), *PRINT_PX)
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels[..., :3]).save(buffer, format="PNG", dpi=(DPI, DPI), pnginfo=info)
    return buffer.getvalue()


def _write_sides(
    folder: Path, sides: Mapping[str, Scene], name: str, origin: Mapping[str, str]
) -> None:
    for side, scene in sides.items():
        write_bytes(folder / f"{side}.svg", to_svg(scene, bleed=False).encode())
        write_bytes(folder / f"{side}.png", print_png(scene, origin))
    write_bytes(folder / "card.pdf", pdf_bytes(sides_of(folder), name))
