"""The emoji that messengers want beside each sticker, by the name of its class."""

_EMOJI = {
    "ant": "🐜", "bat": "🦇", "bear": "🐻", "bee": "🐝", "beetle": "🪲", "bird": "🐦",
    "boar": "🐗", "bunny": "🐰", "butterfly": "🦋", "camel": "🐫", "cat": "🐱",
    "chick": "🐤", "chicken": "🐔", "cow": "🐮", "crab": "🦀", "crocodile": "🐊",
    "deer": "🦌", "dinosaur": "🦕", "dog": "🐶", "dolphin": "🐬", "donkey": "🫏",
    "dragon": "🐉", "duck": "🦆", "eagle": "🦅", "elephant": "🐘", "fish": "🐟",
    "flamingo": "🦩", "fox": "🦊", "frog": "🐸", "giraffe": "🦒", "goat": "🐐",
    "goose": "🪿", "gorilla": "🦍", "hamster": "🐹", "hedgehog": "🦔", "hippo": "🦛",
    "horse": "🐴", "kangaroo": "🦘", "kitten": "🐱", "koala": "🐨", "ladybug": "🐞",
    "lion": "🦁", "lizard": "🦎", "llama": "🦙", "lobster": "🦞", "monkey": "🐵",
    "mouse": "🐭", "octopus": "🐙", "otter": "🦦", "owl": "🦉", "panda": "🐼",
    "parrot": "🦜", "peacock": "🦚", "penguin": "🐧", "pig": "🐷", "pony": "🐴",
    "puppy": "🐶", "rabbit": "🐰", "raccoon": "🦝", "rat": "🐀", "rhino": "🦏",
    "rooster": "🐓", "seal": "🦭", "shark": "🦈", "sheep": "🐑", "shrimp": "🦐",
    "skunk": "🦨", "sloth": "🦥", "snail": "🐌", "snake": "🐍", "spider": "🕷️",
    "squid": "🦑", "squirrel": "🐿️", "swan": "🦢", "tiger": "🐯", "turkey": "🦃",
    "turtle": "🐢", "unicorn": "🦄", "whale": "🐳", "wolf": "🐺", "worm": "🪱", "zebra": "🦓",
}  # fmt: skip
ANY = "🐾"
"""For classes that have none of their own."""


def emoji_for(label: str) -> str:
    """One emoji for a class: by its name, else by a word of it (`house cat`, `cats`), else 🐾."""
    words = "".join(c if c.isalpha() else " " for c in label.lower()).split()
    for word in (label.lower(), *reversed(words)):
        for name in (word, word.removesuffix("s")):
            if name in _EMOJI:
                return _EMOJI[name]
    return ANY
