// Keyboard triage, choosing several, zoom, comparison and endless scrolling. The page works without
// this file: votes, undo and batches are plain forms, and Next is a link.

import { record, say, settled } from "./send.js";

const grid = document.getElementById("grid");
const pages = document.getElementById("pages");
const undo = document.getElementById("undo");
const redo = document.getElementById("redo");
const batch = document.getElementById("batch");
const zoom = document.getElementById("zoom");
const tagging = document.getElementById("tagging");
const KEYS = { k: "state:keep", m: "state:maybe", r: "state:reject" };
const here = new URL(window.location.href);
let moving = false; // to a page that is still on its way: keys wait for it
let scored = null; // the tile that the last number or letter went to

document.getElementById("keys").hidden = false;

const tiles = () => (grid ? [...grid.children] : []);
const current = () => document.activeElement?.closest?.(".tile") ?? null;
const chosen = () => tiles().filter((tile) => tile.querySelector(".name input")?.checked);

function focus(tile) {
  tile?.querySelector(".view").focus();
  tile?.scrollIntoView({ block: "nearest" });
}

function show(answer, said) {
  const label = here.searchParams.get("label");
  for (const picture of answer.pictures) {
    const tile = document.getElementById(`picture-${picture.id}`);
    if (tile && label) recount(tile, picture, label);
    if (tile) paint(tile, picture);
  }
  if (answer.counts && !label) count(answer.counts);
  if (undo) undo.disabled = !answer.can_undo;
  if (redo) redo.disabled = !answer.can_redo;
  const [first] = answer.pictures;
  const what = answer.changed === 1 && first ? first.name : `${answer.changed} pictures`;
  say(answer.changed ? `${what}: ${said}` : "Nothing to change");
  return answer;
}

function paint(tile, picture) {
  tile.dataset.state = picture.state;
  tile.dataset.stars = picture.stars;
  for (const button of tile.querySelectorAll(".votes button")) {
    button.setAttribute("aria-pressed", String(button.value === `state:${picture.state}`));
  }
  const stars = tile.querySelector(".stars");
  stars.textContent = "★".repeat(picture.stars);
  stars.setAttribute("aria-label", `${picture.stars} stars`);
  stars.hidden = !picture.stars;
  const moved = picture.label === picture.first_label ? [] : [["label", picture.label]];
  const words = [...moved, ...picture.tags.map((tag) => ["", tag]), ...picture.flags.map((flag) => ["flag", flag])];
  stars.parentElement.replaceChildren(stars, ...words.map(([kind, text]) => {
    const word = document.createElement("span");
    word.className = `tag ${kind}`.trim();
    word.textContent = text;
    return word;
  }));
}

function count(counts) {
  let total = 0;
  for (const [state, number] of Object.entries(counts)) {
    document.querySelector(`[data-count="${state}"]`).textContent = number;
    total += number;
  }
  document.querySelector('[data-count="all"]').textContent = total;
}

// Of one class, answers tell no counts: what became of its tiles does.
function recount(tile, picture, label) {
  const add = (state, by) => {
    for (const name of [state, "all"]) {
      const shown = document.querySelector(`[data-count="${name}"]`);
      shown.textContent = Number(shown.textContent) + by;
    }
  };
  if (!tile.dataset.moved) add(tile.dataset.state, -1);
  tile.dataset.moved = picture.label === label ? "" : "1";
  if (!tile.dataset.moved) add(picture.state, 1);
}

function values(pairs) {
  return new URLSearchParams(pairs);
}

function some(targets) {
  if (!targets.length) say("No picture is meant: go to one with an arrow key, or choose some");
  return targets.length > 0;
}

function act(targets, what, said) {
  if (!some(targets)) return;
  scored = targets[0];
  const pairs = targets.map((tile) => ["picture", tile.dataset.id]);
  record("/act", values([...pairs, ["do", what]]), (answer) => show(answer, said));
}

function step(url, said) {
  record(url, values([]), (answer) => {
    // Pictures that came, went, or are more than an answer holds: only the page itself tells.
    const gone = answer.changed !== answer.pictures.length;
    const unknown = answer.changed > 0 && !answer.pictures.some((one) => document.getElementById(`picture-${one.id}`));
    if (gone || (unknown && answer.pictures.length > 2)) {
      settled().then(() => window.location.reload()); // what was done meanwhile comes first
      return;
    }
    show(answer, said);
    const tile = document.getElementById(`picture-${answer.pictures[0]?.id}`);
    if (tile) focus(tile);
  });
}

function columns() {
  const all = tiles();
  const below = all.findIndex((tile) => tile.offsetTop > all[0].offsetTop);
  return below < 0 ? all.length : below;
}

async function move(by) {
  const all = tiles();
  const from = all.indexOf(current());
  const to = from < 0 ? 0 : from + by;
  if (to < all.length) {
    if (all[to]) focus(all[to]);
    return;
  }
  moving = true;
  if (await more()) focus(tiles()[Math.min(to, tiles().length - 1)]);
  moving = false;
}

// The next page is put below this one as its end comes near.
let loading = null;
function more() {
  const next = pages.querySelector('[rel="next"]');
  if (!grid || !next) return Promise.resolve(false);
  loading ??= fetch(`${next.href}&part=1`)
    .then((response) => (response.ok ? response.text() : Promise.reject(new Error("no answer"))))
    .then((html) => append(html, next))
    .catch(() => false)
    .finally(() => { loading = null; });
  return loading;
}

function append(html, next) {
  const holder = document.createElement("template");
  holder.innerHTML = html; // from our own server, escaped there
  const fresh = [...holder.content.querySelectorAll(".tile")].filter((tile) => !document.getElementById(tile.id));
  grid.append(...fresh);
  const last = tiles().at(-1).dataset.id;
  if (fresh.length && holder.content.querySelector("[data-later]")) {
    const url = new URL(next.href);
    url.searchParams.set("after", last);
    next.href = url.href;
  } else {
    next.remove();
  }
  return fresh.length > 0;
}

function closer(targets) {
  const figures = targets.slice(0, 4).map((tile) => {
    const view = tile.querySelector(".view");
    const figure = document.createElement("figure");
    const image = new Image();
    image.src = view.dataset.original;
    image.alt = view.querySelector("img").alt;
    const caption = document.createElement("figcaption");
    caption.textContent = image.alt;
    figure.append(image, caption);
    return figure;
  });
  zoom.querySelector(".closer").replaceChildren(...figures);
  zoom.setAttribute("aria-label", targets.length > 1 ? "Compare" : "Closer");
  if (!zoom.open) zoom.showModal();
}

function tag(targets) {
  if (!some(targets)) return;
  tagging.querySelector("input").value = "";
  tagging.returnValue = "";
  tagging.showModal();
  tagging.addEventListener("close", () => {
    const text = tagging.querySelector("input").value.trim();
    const what = tagging.returnValue;
    if (what && text) act(targets, `${what}:${text}`, what === "tag" ? `tagged ${text}` : `no longer ${text}`);
    focus(targets[0]);
  }, { once: true });
}

// What keys act on: the chosen pictures, else the one with the focus, else the last one.
function meant() {
  const many = chosen();
  if (many.length) return many;
  const one = current() ?? scored;
  return one && one.isConnected ? [one] : [];
}

function tellChosen() {
  const number = chosen().length;
  document.getElementById("chosen").textContent = number ? `${number} chosen` : "Several at once";
}

function vote(key) {
  const targets = meant();
  const what = KEYS[key] ?? `stars:${key}`;
  const said = KEYS[key] ? `now ${what.slice(6)}` : `${key} star${key === "1" ? "" : "s"}`;
  act(targets, what, said);
  if (KEYS[key] && targets.length === 1 && current()) move(1);
}

const ACTIONS = {
  ArrowLeft: () => move(-1),
  ArrowRight: () => move(1),
  ArrowUp: () => move(-columns()),
  ArrowDown: () => move(columns()),
  u: () => step("/undo", "taken back"),
  y: () => step("/redo", "done again"),
  t: () => tag(meant()),
  z: () => closer(current() ? [current()] : meant()),
  c: () => (chosen().length > 1 ? closer(chosen()) : say("Choose two to four pictures with x, then compare")),
  x: () => {
    const box = current()?.querySelector(".name input");
    if (box) box.checked = !box.checked;
    tellChosen();
  },
  Escape: () => {
    for (const tile of chosen()) tile.querySelector(".name input").checked = false;
    tellChosen();
  },
};
const READ_ONLY = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "z", "c", "x", "Escape"];

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || zoom.open || tagging.open) return;
  if (event.target.matches("select, textarea, input:not([type=checkbox])") || !tiles().length) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!undo && !READ_ONLY.includes(key)) return;
  if (moving) {
    event.preventDefault();
    return;
  }
  if (key in KEYS || (key >= "0" && key <= "5")) {
    if (event.repeat) return;
    vote(key);
  } else if (key in ACTIONS) {
    ACTIONS[key]();
  } else {
    return;
  }
  event.preventDefault();
});

document.addEventListener("change", (event) => {
  if (event.target.matches(".name input")) tellChosen();
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  const what = event.submitter?.value;
  if (form.matches(".votes")) {
    event.preventDefault();
    act([form.closest(".tile")], what, `now ${what.slice(6)}`);
  } else if (form.matches(".steps")) {
    event.preventDefault();
    if (event.submitter === redo) step("/redo", "done again");
    else step("/undo", "taken back");
  } else if (form === batch && !form.elements.all.checked) {
    event.preventDefault();
    const text = form.elements.text.value.trim();
    act(chosen(), what.includes(":") ? what : `${what}:${text}`, what.includes(":") ? `now ${what.slice(6)}` : `${what} ${text}`);
  }
});

// It tells of changes alone, and the end may still be near when a page was put below: asked anew.
if (grid && "IntersectionObserver" in window) {
  const end = new IntersectionObserver(async (entries) => {
    if (!entries.some((entry) => entry.isIntersecting) || !(await more())) return;
    end.unobserve(pages);
    end.observe(pages);
  }, { rootMargin: "800px" });
  end.observe(pages);
}
