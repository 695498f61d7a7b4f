"""What several stories share: animals to curate, commands that pages show, tables read."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from core.data.starter import draw_animal
from core.images import png_bytes

REPOSITORY = Path(__file__).resolve().parents[2]
CLIPBOARD = ["clipboard-read", "clipboard-write"]
"""What a page must be allowed, so that a test can read what it copied."""


def animals(
    folder: Path, per_class: int, labels: Sequence[str] = ("cat", "dog"), size_px: int = 64
) -> Path:
    """Class folders of starter animals: `cat/00.png`, `cat/01.png`, … of size_px × size_px."""
    for label in labels:
        (folder / label).mkdir(parents=True)
        for seed in range(per_class):
            data = png_bytes(draw_animal(label, seed, size_px))
            (folder / label / f"{seed:02d}.png").write_bytes(data)
    return folder


def follow(page: Page, link: Locator) -> None:
    """Click what leads to another page, and wait until that one's scripts listen: what a test
    presses before is lost."""
    with page.expect_navigation():
        link.click()


def judge(page: Page, key: str) -> dict[str, str]:
    """Press a key on the ranking page, wait for its answer and for the next pair, or the end; what
    was sent."""
    expect(page.locator("#keys")).to_be_visible()  # shown by what listens to keys
    before = page.locator("#judge").evaluate("form => [form.left.value, form.right.value]")
    where = "**/undo" if key == "u" else "**/rank/judge"
    with page.expect_response(where) as answered:
        page.keyboard.press(key)
    assert answered.value.ok
    page.wait_for_function(
        "before => { const form = document.getElementById('judge');"
        " return !form || form.left.value !== before[0] || form.right.value !== before[1]; }",
        arg=before,
    )
    return dict(answered.value.request.post_data_json)


def copy_command(page: Page) -> str:
    """Press the page's first button for copying a command; what is on the clipboard then."""
    page.wait_for_load_state()
    page.evaluate("navigator.clipboard.writeText('')")
    page.locator("button.copy").first.click()
    expect(page.locator("#status")).to_have_text("Copied.")
    return str(page.evaluate("navigator.clipboard.readText()"))


def run_command(command: str, folder: Path) -> str:
    """Run a command in a shell as a person would, in a folder with `jobs/`; what it printed."""
    folder.mkdir(exist_ok=True)
    if not (folder / "jobs").exists():
        (folder / "jobs").symlink_to(REPOSITORY / "jobs")
    first = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": os.pathsep.join([first, os.environ["PATH"]])}
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def table_rows(page: Page, name: str) -> dict[str, dict[str, str]]:
    """A table of the page by its region's name: row to column to text."""
    table = page.get_by_role("region", name=name)
    columns = table.get_by_role("columnheader").all_inner_texts()[1:]
    return {
        row.get_by_role("rowheader").inner_text(): dict(
            zip(columns, row.get_by_role("cell").all_inner_texts(), strict=True)
        )
        for row in table.locator("tbody tr").all()
    }
