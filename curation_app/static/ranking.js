// Judging pairs without waiting: the next pair is there before this one is judged. The page works
// without this file, as a form.

import { complain, record, say } from "./send.js";

const form = document.getElementById("judge");
const undo = document.getElementById("undo");
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", s: "skip" };
const done = []; // what this page judged and did not take back, the newest last
const waiting = []; // pairs that undo took from the screen
let current = form ? JSON.parse(form.dataset.pair) : null;
let next = null;

document.getElementById("keys").hidden = false;

async function fetchNext() {
  const response = await fetch(form.dataset.next, { headers: { Accept: "application/json" } });
  const pair = await response.json();
  if (response.status === 404) return null; // all pairs of the class are judged
  if (!response.ok) throw new Error(pair.error);
  for (const side of ["left", "right"]) new Image().src = `/pictures/${pair[side].id}/original`;
  return pair;
}

function ahead() {
  next = fetchNext();
  next.catch(() => {}); // told when it is needed
}

function show(pair) {
  current = pair;
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
  if (!pair.progress) return;
  document.getElementById("votes").textContent = pair.progress.per_picture.toFixed(1);
  document.getElementById("unseen").textContent = pair.progress.unseen;
}

async function showNext() {
  if (waiting.length) {
    show(waiting.pop());
    return;
  }
  const pair = await next;
  if (pair) {
    show(pair);
    ahead();
  }
  return pair;
}

const count = () => done.filter((one) => one.outcome !== "skip").length;

// Tell the server; the promise is true when it is on record.
function tell(pair, outcome) {
  const values = { left: pair.left.id, right: pair.right.id, repeats: pair.repeats ?? "", outcome };
  document.getElementById(outcome)?.closest("button").classList.add("chosen");
  return record(form.action, values, () => {
    done.push({ pair, outcome });
    undo.disabled = false;
    say(`${count()} judged`);
    return true;
  });
}

let busy = false;
let told = null; // the pair on the screen, when it is judged and no other one came
let recorded = null;
let shown = Promise.resolve();

async function judge(outcome) {
  if (busy || !form) return;
  busy = true;
  if (told !== current) recorded = tell(current, outcome);
  told = current;
  shown = showNext();
  try {
    // The page of a class without pairs left says so; an answer that failed stays to be read.
    if ((await shown) === null && (await recorded)) window.location.reload();
  } catch (error) {
    complain(error);
    ahead();
  }
  busy = false;
}

// Whether the answer to an undo is about the pair that this page judged last.
function isOf(pair, pictures) {
  const ids = [pair.left.id, pair.right.id];
  return pictures.length === 2 && pictures.every((picture) => ids.includes(picture.id));
}

function takeBack() {
  record("/undo", {}, async (answer) => {
    await shown.catch(() => {});
    undo.disabled = !answer.can_undo;
    say(answer.changed ? "the last one was taken back" : "nothing to take back");
    const last = done.at(-1);
    if (!last || !isOf(last.pair, answer.pictures)) return;
    done.pop();
    if (current !== last.pair) waiting.push(current);
    told = null;
    show(last.pair);
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
