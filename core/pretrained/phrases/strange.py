"""A small embedded check that a word is none of English: it holds letters that English never joins.

No word list is needed: each mark below is in no word of Debian's largest English lists, nor of its
French, German, Italian and Spanish ones. `^` and `$` are a word's ends.
"""

_TEXT = """
^bwo ^bwu ^fju ^fni ^fny ^gwo ^hho ^hne ^hnf ^hni ^hrr ^mfi ^mii ^mrr ^ngh ^pwo ^rra ^rre ^tke
^tki ^tkl ^tky ^zv auu$ axx bluo blw brrh bwau bwo$ bwu$ djiu fhri fhru fje$ fji fjy ghoa grra
grro grru haam haau hhaa hhoa hhua hhuo hnye hnyi hnyu hreh hruu huo$ ihih jii jui$ krr kwae
kwek kwoe luu mhoa mhua mria mriy myao myau nyao nyhi nyhu oabr oomh pfii pfy pji pju pjy prr
pwu raek rriy snfe snfi snfy svii svy tjiu tjs tjy tkm tsvu uoe uwh uwou uwr uwu vua vuu whuu
wrr wuo wuu yaau yheh yiau yiya ymf zhoa zhoo zhr
"""
MARKS = tuple(_TEXT.split())
"""Letters that no English word holds side by side."""


def is_strange(word: str) -> bool:
    """Whether no English word is spelt like this one (of one piece, without hyphens)."""
    whole = f"^{word.lower()}$"
    return any(mark in whole for mark in MARKS)
