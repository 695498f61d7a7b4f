"""PixiJS and Phaser load a pack's atlas and draw every frame where and as it should be."""

import base64
import functools
import http.server
import io
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from core.files import read_json
from tests.engines.conftest import fetch

pytestmark = [pytest.mark.browser, pytest.mark.engines]
Pictures = dict[str, np.ndarray[Any, Any]]

PIXI = """<!doctype html><canvas></canvas><script src="pixi.min.js"></script><script>
async function draw([first, ground]) {
  const app = new PIXI.Application();
  await app.init({width: 96, height: 96, backgroundAlpha: 0, preference: "webgl",
    antialias: false, resolution: 1});
  const sheet = await PIXI.Assets.load(first);
  const sheets = [sheet, ...(sheet.linkedSheets || [])];
  const drawn = {}, animations = {};
  for (const one of sheets) {
    for (const [name, list] of Object.entries(one.animations)) animations[name] = list.length;
    for (const [name, texture] of Object.entries(one.textures)) {
      const sprite = new PIXI.Sprite(texture);
      sprite.position.set(48, 48);  // anchors are in the sheet: the middle
      app.stage.removeChildren();
      app.stage.addChild(sprite);
      const frame = new PIXI.Rectangle(0, 0, 96, 96);
      drawn[name] = await app.renderer.extract.base64(
        {target: app.stage, frame, resolution: 1, clearColor: ground});
    }
  }
  return {drawn, animations};
}
</script>"""

PHASER = """<!doctype html><body><script src="phaser.min.js"></script><script>
function draw([url, ground]) {
  const key = "zoo";
  return new Promise((resolve, reject) => {
    const drawn = {};
    class Scene extends Phaser.Scene {
      preload() {
        this.load.on("loaderror", (file) => reject(new Error("cannot load " + file.url)));
        this.load.multiatlas(key, url, "atlas");
      }
      create() {
        const names = this.textures.get(key).getFrameNames();
        const next = () => {
          const name = names.shift();
          if (!name) return resolve({drawn});
          const sprite = this.add.sprite(48, 48, key, name);  // origins are in the sheet
          this.game.renderer.snapshot((image) => {
            drawn[name] = image.src;
            sprite.destroy();
            next();
          });
        };
        next();
      }
    }
    new Phaser.Game({type: Phaser.WEBGL, width: 96, height: 96, backgroundColor: ground,
      scene: Scene, banner: false, audio: {noAudio: true}, antialias: false,
      render: {preserveDrawingBuffer: true, premultipliedAlpha: true}});
  });
}
</script>"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def site(pack: Path, tmp_path: Path) -> Iterator[str]:
    """The atlas with both engines beside it, behind a plain web server."""
    shutil.copytree(pack / "atlas", tmp_path / "atlas")
    shutil.copy(fetch("pixi.js", "dist/pixi.min.js"), tmp_path)
    shutil.copy(fetch("phaser", "dist/phaser.min.js"), tmp_path)
    (tmp_path / "pixi.html").write_text(PIXI)
    (tmp_path / "phaser.html").write_text(PHASER)
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(browser: Browser, url: str, argument: object) -> Any:
    page = browser.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(url)
    answer = page.evaluate("(argument) => draw(argument)", argument)
    page.close()
    assert not problems
    return answer


def over(picture: np.ndarray[Any, Any], ground: str) -> np.ndarray[Any, Any]:
    """Premultiplied RGBA over black or white, RGB."""
    colour: np.ndarray[Any, Any] = picture[..., :3]
    return colour if ground == "#000000" else colour + 1 - picture[..., 3:]


def assert_alike(drawn: dict[str, str], wanted: Pictures, ground: str) -> None:
    """Every frame is there, and no pixel is off by more than rounding."""
    assert sorted(drawn) == sorted(wanted)
    for name, url in drawn.items():
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            found = np.asarray(image.convert("RGB")).astype(np.float32) / 255
        hoped = over(wanted[name], ground)
        assert found.shape == hoped.shape
        furthest = np.abs(found - hoped).max()
        assert furthest <= 3 / 255, name
        assert np.abs(np.roll(found, 1, axis=1) - hoped).max() > 0.2  # one pixel off would be seen


@pytest.mark.parametrize("ground", ["#000000", "#ffffff"])
def test_pixi_draws_every_frame_in_its_place(
    site: str, webgl: Browser, pack: Path, wanted: Pictures, ground: str
) -> None:
    first = read_json(pack / "pack.json")["atlas"]["formats"]["pixi"][0]
    answer = ask(webgl, f"{site}/pixi.html", [f"atlas/{first}", ground])
    assert_alike(answer["drawn"], wanted, ground)
    assert set(answer["animations"]) == {name.partition("_")[0] for name in wanted}


@pytest.mark.parametrize("ground", ["#000000", "#ffffff"])
def test_phaser_draws_every_frame_in_its_place(
    site: str, webgl: Browser, pack: Path, wanted: Pictures, ground: str
) -> None:
    (file,) = read_json(pack / "pack.json")["atlas"]["formats"]["phaser"]
    answer = ask(webgl, f"{site}/phaser.html", [f"atlas/{file}", ground])
    assert_alike(answer["drawn"], wanted, ground)
