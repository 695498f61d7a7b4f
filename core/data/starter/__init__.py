"""The starter animals: the embedded default data, drawn as vectors from a seed.

from core.data.starter import draw_animal
picture = draw_animal("cat", seed=7, size_px=64)   # 64×64×4, straight alpha
"""

from core.data.starter.animals import LABELS, animal_svg, draw_animal, draw_many
from core.data.starter.collection import write_collection

__all__ = ["LABELS", "animal_svg", "draw_animal", "draw_many", "write_collection"]
