"""Colours chosen by hand: natural coats first, then a few playful ones for each class."""

import colorsys
from dataclasses import dataclass, fields, replace

from core.data.starter.dice import Dice


@dataclass(frozen=True)
class Palette:
    """The colours of one animal, as #rrggbb."""

    base: str
    """Most of the body."""
    belly: str
    """Belly, muzzle, socks."""
    mark: str
    """Spots, stripes, patches, mane, shell."""
    accent: str
    """Ears, beak, fins, rim."""
    dark: str
    """Outlines, pupils, mouths."""


def _table(text: str) -> tuple[Palette, ...]:
    rows = [line.split() for line in text.strip().splitlines()]
    return tuple(Palette(*(f"#{value}" for value in row[:5])) for row in rows)


# Columns: base, belly, mark, accent, dark; then the name of the coat.
PALETTES: dict[str, tuple[Palette, ...]] = {
    "bird": _table(
        """
        5aa9e6 fdf3e1 2f6fb5 f9a03f 1d3557 bluebird
        e4572e fbe3c8 a8321a f6bd3b 4a1610 cardinal
        ffd34e fff4c9 f0a92c f47c3c 5c3a10 canary
        8c6a50 f6e3cb 5f4433 f0a93b 35241a sparrow
        7cb342 f4f1b8 4c7f26 ef5b4c 243d14 parakeet
        3d4252 f7f5f0 2a2e3b f6a436 15171f penguin
        7a5c7e f3e4dc 513a58 f2b04a 2c1d33 starling
        f48fb1 ffe7ee d65c86 f9a826 5a1e38 rosefinch
        4db6ac e9fbf3 23867c ff8a65 123f3b kingfisher
        f5f1e8 ffffff cfc6b4 f59b42 4c443a dove
        """
    ),
    "cat": _table(
        """
        f2994a fff1dc c9661f f4a3a0 57290f ginger
        9aa5b1 f3f5f7 64707d f2a9ae 2c333b tabby
        474a58 ffffff 30323d e99aa5 16171d tuxedo
        fbf5ea ffffff e8b989 f5aeb0 5f4c41 white
        f3e2c8 fff9ee 6f4c3b d99a8e 3a261d siamese
        fff4e4 ffffff e2873a f2a5a2 4a332b calico
        b98658 f6e6d0 754829 e79c93 3a2213 brown
        7f97b2 e6edf4 526a86 eda7b0 23303f russian
        f6cf9b fff6e6 dc9a55 f3a7a0 5b3a1e cream
        b7a3e0 f4eefc 8a72c2 f5a9c4 382a5c lavender
        93d3bd effbf5 58a98e f7a9a8 1d4a3d mint
        """
    ),
    "dog": _table(
        """
        d99a54 fdf0dc 9a5f2a 9a5f2a 4a2a12 beagle
        f4c06a fff3d6 d9953a d28f3c 583312 golden
        8a5a3c f1dcc3 5b3823 5b3823 2f1b10 chocolate
        4b4e5a f4efe8 33353f 33353f 17181e collie
        fdf6ea ffffff 4a4a55 4a4a55 2b2a30 dalmatian
        fff2dc ffffff c77d3e b86c30 4a2c16 spaniel
        b5bcc6 f6f7f9 7c8692 7c8692 2d333b husky
        d6703a fdebd6 9c4320 9c4320 481d0c setter
        ead2ae fff8ea 5c4438 5c4438 2f211b pug
        86b6dd eef7fd 4f86b5 4f86b5 1c3a55 blue
        f3a6b4 ffeef1 d16e83 d16e83 57222f pink
        """
    ),
    "fish": _table(
        """
        ff8a3c fff1df ffffff f2682a 5a230c clownfish
        ffb23e fff0c4 f07d28 f78a2e 5e2c0a goldfish
        3f8fe0 d8f0ff 1d4f9e ffd34d 10284f tang
        f7d548 fff8d4 4a4a55 f2b632 4a390b butterfly
        ef5350 ffe3dc ffffff c62f37 4e1015 snapper
        5cc8c2 e8fbf3 238a8b f78f6b 0f4246 parrotfish
        9bb4c9 f0f6fa 5f7d97 7f9bb4 22323f minnow
        8e7cd8 efe9fc 5a46ab f48fb4 2a1d58 betta
        7fcf6a f1fbd9 3f9448 f9c645 1b421f guppy
        f48fb1 ffeaf1 d4527f ffb870 541a35 rosy
        """
    ),
    "frog": _table(
        """
        7cc24a f3f7c4 4b9130 f49a8c 22431a common
        5fb56b eaf7c9 2f7f45 f2917f 163d24 tree
        a9c94a fbf9cf 71942a f3a07c 37450f lime
        8c9a52 f2ecc4 5f6c30 d98a6a 2f3414 olive
        b98a54 f7e8c8 7f5a30 e58f77 3d2711 toad
        3fa7d6 dff3fb 1c4f8c f6a77f 0f2a4d dart
        f2793d fff0cf c14a1c f7b267 521d0b tomato
        f4c53a fff6cf 3f3a33 f0955a 4a3507 golden
        45b8a0 e4faf0 1f8273 f7a394 0e3e37 jade
        b08ad6 f3eafc 7a55aa f5a6c0 35204f violet
        """
    ),
    "horse": _table(
        """
        b5713c f3dcc0 4a2a1a 8a5027 3a2013 bay
        d98f4e fbe8cf f7dfb4 a8622c 4d2a12 chestnut
        f0c581 fff4e0 f8e8c6 c4914c 553714 palomino
        6b4a3a e3cbb4 2f1f19 4a3126 21140f brown
        4b4d5a d9dbe2 2c2e38 30323c 15161c black
        f7f3ec ffffff cfc3b2 d8c7b4 57493f white
        aab2bd eef1f4 6a7482 858f9c 2d333c grey
        e2c39a fbefdc 5b4334 a3805a 3d2a1e dun
        f2b8c6 fff0f4 b57edc d98aa4 5a2a4a candy
        9fc9ea eff8ff 5f80cf 6ea3cc 22405e sky
        """
    ),
    "rabbit": _table(
        """
        fdf8f0 ffffff e6d5c2 f6aab2 5d4b44 white
        b98d68 f7e8d6 8a6141 eda49b 3e2818 wild
        a3abb6 f3f5f8 737d8a f2a7b0 2e343c grey
        8a5f45 f2dfcb 5f3d29 e5978f 332013 cocoa
        f3cfa0 fff7e8 dda05d f5a79f 5c3c20 cream
        545663 f0f0f4 3a3b46 eb9fac 1a1b22 black
        fff3e2 ffffff b5794a f3a6a0 4d3324 dutch
        d8b9a4 fdf1e9 a98067 f0a19d 48301f fawn
        f5b5c6 fff0f5 dd7f9c ee7f9e 5a2439 pink
        a9c8ee f0f7ff 7097c9 f3a9c2 243c5e blue
        """
    ),
    "turtle": _table(
        """
        8cc152 f4f3c2 6b8e3a b98a4a 2d3f17 pond
        a3c76d fbf5cf a8713a d8a55c 3d3014 tortoise
        c9b06a fbf1cd 7d5a34 b58a4e 3a2b16 desert
        6fbf8f eaf9dc 2f7f6b 5fae92 133f35 sea
        5fb0a5 e5f8ee 8a5a3c c08a5a 1d3a38 box
        b5c95a fcf8cf d97b3a f0a850 40340f sunny
        7fb5d9 ecf7fd 3f6fa8 6d9ccb 16304f ocean
        e8b36a fff3d9 a8482f cf6b45 4a2012 ember
        a99be0 f3effd 6a55b0 8d7ace 2c2058 violet
        f0a3b0 ffeff2 c05a78 db8298 551f34 rose
        """
    ),
}

_PLAYFUL = 2  # how many rows at the end of each table nature never made

COLLARS = ("#e5484d", "#3e7bd6", "#2fa36b", "#f2b233", "#8a5fd0", "#f0709a")
IRISES = ("#f2c230", "#8fce5a", "#69b7e8", "#e8a04c", "#6fd0b5")
WHITE = "#ffffff"
PINK = "#f58ea0"
BLUSH = "#ff8796"


def choose(label: str, dice: Dice) -> Palette:
    """A palette of the class, every colour shifted together by a hair: no two coats alike."""
    table = PALETTES[label]
    palette = dice.pick(table[:-_PLAYFUL] if dice.chance(0.82) else table[-_PLAYFUL:])
    hue, light = dice.between(-0.012, 0.012), dice.between(-0.025, 0.025)
    shifted = {f.name: _shift(getattr(palette, f.name), hue, light) for f in fields(palette)}
    return Palette(**{**shifted, "dark": palette.dark})


def tinted(palette: Palette) -> Palette:
    """The palette with whites toned down, for animals without an outline to hold them."""
    share = 0.02 + 0.14 * luminance(palette.base)
    return replace(palette, belly=mix(palette.belly, palette.base, share))


def mix(a: str, b: str, share: float) -> str:
    """Colour `a` with a share (0..1) of colour `b`."""
    pairs = zip(_rgb(a), _rgb(b), strict=True)
    return _hex([x + (y - x) * share for x, y in pairs])


def luminance(colour: str) -> float:
    """Perceived lightness, 0..1 (Rec. 601 weights)."""
    red, green, blue = _rgb(colour)
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


def _shift(colour: str, hue: float, light: float) -> str:
    h, li, s = colorsys.rgb_to_hls(*(value / 255 for value in _rgb(colour)))
    rgb = colorsys.hls_to_rgb((h + hue) % 1.0, min(1.0, max(0.0, li + light)), s)
    return _hex([value * 255 for value in rgb])


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _hex(values: list[float]) -> str:
    return "#" + "".join(f"{min(255, max(0, round(value))):02x}" for value in values)
