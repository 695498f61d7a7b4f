"""Approving samples in the browser, and exporting just those by the command on the page."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import expect

from core.files import read_json
from curation_app.judging import Judge
from tests.browser.conftest import Open, assert_accessible, take_picture, wait_for_pictures
from tests.browser.stories import CLIPBOARD, copy_command, follow, judge, run_command
from tests.curating import JSON, app_of, open_app
from tests.samplesets import animal, write_sample_set

pytestmark = pytest.mark.browser
Serve = Callable[[Flask], str]
SEEDS = {1: 101, 2: 102, 3: 103, 4: 104, 5: 205, 6: 206}
"""Number in the app to seed: four cats and two fish."""


def exported(work: Path, command: str) -> list[int]:
    """Run an export; seeds of the stickers that it made."""
    run_command(command, work)
    facts = read_json(work / "packs" / "animals" / "pack.json")
    assert not facts["refused"]
    return sorted(one["seed"] for one in facts["stickers"])


def test_samples_are_ranked_approved_and_exported(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    made = [animal("cat" if key < 5 else "fish", seed) for key, seed in SEEDS.items()]
    samples = write_sample_set(tmp_path / "animals", [made[:3], made[3:]])
    app, client = open_app(samples.folder)
    parts = app_of(app)
    parts.parts["judge"] = Judge(parts.engine, parts.tasks, seed=2)  # no pair comes once more
    parts.listeners.append(parts.parts["judge"].listen)
    address = serve(app)
    # The last answer of a class is that there is no pair left, of which the browser complains.
    page = open_page(f"{address}/rank/?label=cat", permissions=CLIPBOARD, failing=True)
    # Ranked first: of each pair, the cat with the lower number wins.
    for _ in range(6):
        left, right = (page.locator(f"[name={side}]").input_value() for side in ("left", "right"))
        judge(page, "ArrowLeft" if int(left) < int(right) else "ArrowRight")
    expect(page.get_by_text("There is no pair left")).to_be_visible()
    follow(page, page.get_by_role("link", name="See the order").first)
    ranked = page.locator(".tile").evaluate_all("all => all.map(one => Number(one.dataset.id))")
    assert ranked == [1, 2, 3, 4]

    # In the order of the ranking, by keyboard: the best three are kept, the last one is not.
    for key in ("ArrowRight", "k", "k", "k", "r"):
        page.keyboard.press(key)
    expect(page.locator("#picture-4")).to_have_attribute("data-state", "reject")
    page.locator("#picture-2 .view").focus()
    page.keyboard.press("t")
    page.locator("#tagging input").fill("extra ear")
    page.keyboard.press("Enter")
    expect(page.locator("#picture-2 .tag:not(.flag)")).to_have_text(["extra ear"])
    page.goto(f"{address}/?label=fish")
    page.locator("#picture-6").get_by_role("button", name="keep").click()
    expect(page.locator("[data-count=keep]")).to_have_text("1")

    page.get_by_role("link", name="Samples").click()
    expect(page.get_by_text("It was not written yet")).to_be_visible()
    page.get_by_role("button", name="Write approved.json").click()
    expect(page.get_by_text("It holds just these 4")).to_be_visible()
    wait_for_pictures(page)
    assert_accessible(page)
    approved = [SEEDS[number] for number in (1, 2, 3, 6)]
    assert read_json(samples.folder / "approved.json")["seeds"] == approved
    assert exported(tmp_path / "whole", copy_command(page)) == approved

    # The one with an extra ear stays out.
    page.get_by_role("checkbox", name="extra ear").check()
    page.get_by_role("button", name="Show the command").click()
    expect(page.get_by_text("3 samples go into the pack")).to_be_visible()
    assert_accessible(page)
    take_picture(page, "samples")
    command = copy_command(page)
    assert command.endswith("--without-tags 'extra ear'")
    assert exported(tmp_path / "clean", command) == [SEEDS[number] for number in (1, 3, 6)]

    # Whoever changes their mind is told that the file does not hold any more.
    page.goto(f"{address}/?label=fish")
    page.keyboard.press("u")
    expect(page.locator("[data-count=keep]")).to_have_text("0")
    page.get_by_role("link", name="Samples").click()
    expect(page.get_by_text("What it says is out of date")).to_be_visible()
    facts = client.get("/samples/", headers=JSON).get_json()
    assert facts["approved"]["seeds"] == approved[:3]
    assert facts["written"]["current"] is False
