// Keyboard triage. The page works without this file; votes and undo go through its own forms.
"use strict";

const tiles = [...document.querySelectorAll(".tile")];
const undoForm = document.getElementById("undo");
const status = document.getElementById("status");
const KEYS = { k: "keep", m: "maybe", r: "reject" };
// One request after another, so that votes are recorded in the order they were made.
let queue = Promise.resolve();

document.getElementById("keys").hidden = false;

async function send(form, values) {
  const body = new URLSearchParams({ ...Object.fromEntries(new FormData(form)), ...values });
  const headers = { Accept: "application/json" };
  const response = await fetch(form.action, { method: "POST", body, headers });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `the app answered ${response.status}`);
  return answer;
}

// A vote shows only once the app says that it is recorded.
function show(answer, said) {
  const tile = document.getElementById(`picture-${answer.id}`);
  if (tile) {
    tile.dataset.state = answer.state;
    for (const button of tile.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.value === answer.state));
    }
  }
  let total = 0;
  for (const [state, count] of Object.entries(answer.counts)) {
    document.querySelector(`[data-count="${state}"]`).textContent = count;
    total += count;
  }
  document.querySelector('[data-count="all"]').textContent = total;
  undoForm.elements.event.value = answer.last_vote ?? "";
  undoForm.querySelector("button").disabled = answer.last_vote === null;
  status.classList.remove("failed");
  status.textContent = `${answer.name}: ${said} ${answer.state}`;
  return tile;
}

function record(task) {
  queue = queue.then(task).catch((error) => {
    status.classList.add("failed");
    status.textContent = `Not recorded: ${error.message}`;
  });
}

function vote(tile, state) {
  record(async () => show(await send(tile.querySelector("form"), { state }), "now"));
}

function undo() {
  record(async () => {
    if (undoForm.elements.event.value === "") return;
    const tile = show(await send(undoForm, {}), "back to");
    if (tile) focus(tile);
  });
}

function focus(tile) {
  const view = tile?.querySelector(".view");
  view?.focus();
  tile?.scrollIntoView({ block: "nearest" });
}

function current() {
  return tiles.indexOf(document.activeElement.closest(".tile"));
}

function columns() {
  const first = tiles[0].offsetTop;
  const second = tiles.findIndex((tile) => tile.offsetTop > first);
  return second < 0 ? tiles.length : second;
}

function move(step) {
  const from = current();
  const to = from < 0 ? 0 : from + step;
  if (tiles[to]) {
    focus(tiles[to]);
  } else if (Math.abs(step) === 1) {
    document.querySelector(step > 0 ? '[rel="next"]' : '[rel="prev"]')?.focus();
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form === undoForm) {
    event.preventDefault();
    undo();
  } else if (form.matches(".votes") && event.submitter) {
    event.preventDefault();
    vote(form.closest(".tile"), event.submitter.value);
  }
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea") || !tiles.length) return;
  const steps = {
    ArrowLeft: () => -1,
    ArrowRight: () => 1,
    ArrowUp: () => -columns(),
    ArrowDown: () => columns(),
  };
  const key = event.key.toLowerCase();
  if (event.key in steps) {
    move(steps[event.key]());
  } else if (key === "u") {
    undo();
  } else if (key in KEYS) {
    if (event.repeat) return;
    if (current() >= 0) vote(tiles[current()], KEYS[key]);
    move(1);
  } else {
    return;
  }
  event.preventDefault();
});
