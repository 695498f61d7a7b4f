// Judging pairs without waiting: the next pair is there before this one is judged. The page works
// without this file, as a form.

import { complain, record, say } from "./send.js";

const form = document.getElementById("judge");
const undo = document.getElementById("undo");
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", s: "skip" };
let next = null;
let judged = 0;

document.getElementById("keys").hidden = false;

async function fetchNext() {
  const response = await fetch(form.dataset.next, { headers: { Accept: "application/json" } });
  const pair = await response.json();
  if (!response.ok) throw new Error(pair.error);
  for (const side of ["left", "right"]) new Image().src = `/pictures/${pair[side].id}/original`;
  return pair;
}

function ahead() {
  next = fetchNext();
  next.catch(() => {}); // told when it is needed
}

function show(pair) {
  for (const side of ["left", "right"]) {
    const picture = pair[side];
    form.elements[side].value = picture.id;
    const image = document.getElementById(side);
    image.src = `/pictures/${picture.id}/original`;
    image.alt = `${picture.label}: ${picture.name}`;
    const caption = image.closest("figure").querySelector("figcaption");
    const link = caption.querySelector("a");
    link.href = `/pictures/${picture.id}`;
    link.firstElementChild.textContent = picture.name;
    const sign = picture.score < 0 ? "−" : "+";
    caption.querySelector("span").textContent = picture.votes
      ? `${sign}${Math.abs(picture.score).toFixed(2)} ± ${picture.deviation.toFixed(2)}`
      : "no votes yet";
    image.closest("button").classList.remove("chosen");
  }
  form.elements.repeats.value = pair.repeats ?? "";
}

let busy = false;
async function judge(outcome) {
  if (busy || !form) return;
  busy = true;
  const values = Object.fromEntries(["left", "right", "repeats"].map((name) => [name, form.elements[name].value]));
  document.getElementById(outcome)?.closest("button").classList.add("chosen");
  record(form.action, { ...values, outcome }, () => {
    judged += outcome === "skip" ? 0 : 1;
    undo.disabled = false;
    say(`${judged} judged`);
  });
  try {
    show(await next);
    ahead();
  } catch (error) {
    complain(error);
  }
  busy = false;
}

function takeBack() {
  record("/undo", {}, (answer) => {
    judged = Math.max(0, judged - (answer.changed ? 1 : 0));
    undo.disabled = !answer.can_undo;
    say(answer.changed ? "the last one was taken back" : "nothing to take back");
    if (answer.pictures.length === 2) {
      const [left, right] = answer.pictures;
      show({ left, right, repeats: null });
    }
  });
}

if (form) {
  ahead();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    judge(event.submitter.value);
  });
  undo?.closest("form").addEventListener("submit", (event) => {
    event.preventDefault();
    takeBack();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.matches("select, input") || !undo) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key in KEYS) judge(KEYS[key]);
    else if (key === "u") takeBack();
    else return;
    event.preventDefault();
  });
}
