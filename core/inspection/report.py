"""The report of a look inside: chosen sections, one after another, on one page."""

from collections.abc import Callable
from html import escape
from pathlib import Path

from core.files import write_bytes, write_json
from core.inspection import sections_layers, sections_pictures
from core.inspection.config import SECTIONS, Section, VisualizeConfig
from core.inspection.planning import figures_path, plan_of
from core.inspection.sections_pictures import Made
from core.inspection.specimens import Specimens, choose_specimens
from core.inspection.subject import Subject, open_subject
from core.progress import progress
from core.report import parts
from core.report.page import html_page
from core.threads import fixed_threads

_Make = Callable[[Subject, Specimens, VisualizeConfig], Made]
_MAKERS: dict[Section, tuple[str, _Make]] = {
    "denoising": ("From noise to pictures", sections_pictures.denoising),
    "levels": ("One picture, more and more noise", sections_pictures.levels),
    "maps": ("Feature maps", sections_layers.maps),
    "attention": ("Attention", sections_layers.attention),
    "activations": ("Activations by layer and noise level", sections_layers.activity),
    "skips": ("What each skip connection contributes", sections_layers.skips),
    "gradients": ("Gradients by layer", sections_layers.gradients),
    "interpolation": ("Between two pictures", sections_pictures.interpolation),
}
_CSS = (
    "h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; } main figure > img { max-width: 100%; } "
    ".pictures figure { width: min-content; } .pictures figure img { max-width: none; }"
)


def write_report(config: VisualizeConfig, out: Path, *, device: str = "cpu") -> Path:
    """Look inside and write `out`, an HTML file, and its figures as JSON beside it, last.

    The same bytes for the same inputs on one machine. UserError when the model or the dataset
    cannot be opened or do not fit together.
    """
    plan = plan_of(config)
    with fixed_threads():
        subject = open_subject(config.run, device=device)
        specimens = choose_specimens(subject, config)
        chosen = [name for name in SECTIONS if name in config.sections]
        made: dict[Section, Made] = {}
        with progress(title="looking inside", total=len(chosen), unit="section") as bar:
            for name in chosen:
                bar.set_postfix_str(name)
                made[name] = _MAKERS[name][1](subject, specimens, config)
                bar.update()
    write_bytes(out, _page(subject, specimens, plan["parents"], made).encode())
    figures = {name: figures for name, (_, figures) in made.items()}
    write_json(figures_path(out), {**plan, "figures": figures})
    return out


def _page(
    subject: Subject, specimens: Specimens, parents: dict[str, str], made: dict[Section, Made]
) -> str:
    title = f"Inside {subject.name}"
    titles = {name: _MAKERS[name][0] for name in made}
    channels, height, width = subject.shape_chw
    parameters = sum(weight.numel() for weight in subject.unet.parameters())
    facts: dict[str, parts.Cell] = {
        **subject.facts,
        "makes": f"{width} × {height}, {channels} channels",
        "parameters": f"{parameters / 1e6:.2f} million",
        "classes": ", ".join(subject.label_names) or "none",
        "looked at with": specimens.words,
        **{f"{name}, SHA-256": digest[:16] for name, digest in parents.items()},
    }
    body = f"<h1>{escape(title)}</h1>" + parts.facts(facts)
    body += parts.contents(titles.values())
    body += "".join(parts.section(titles[name], html) for name, (html, _) in made.items())
    return html_page(title=title, body=body, css=_CSS)
