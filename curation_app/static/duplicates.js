// Deciding about groups of copies without waiting: a slider that shows its groups at once, keys, and
// groups that go when they are merged. The page works without this file, as forms.

import { record, say } from "./send.js";

const slide = document.getElementById("slide");
let showing = 0; // the last request of the slider; answers to earlier ones come too late

const groups = () => [...document.querySelectorAll(".group")];
const current = () => document.activeElement?.closest?.(".group") ?? null;

function focus(group) {
  group?.focus();
  group?.scrollIntoView({ block: "nearest" });
}

function tellKeys() {
  const keys = document.getElementById("keys");
  if (keys) keys.hidden = false;
}

// Put what the server shows at that address in place of what is shown.
async function load(url, said) {
  const mine = (showing += 1);
  const at = groups().indexOf(current());
  try {
    const response = await fetch(url, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const found = page.getElementById("found");
    if (mine !== showing) return;
    if (!found) throw new Error(page.querySelector("[role=alert]")?.textContent.trim() || "no answer");
    document.getElementById("found").replaceWith(document.importNode(found, true));
    tellKeys();
    if (said) say(said);
    if (at >= 0) focus(groups()[Math.min(at, groups().length - 1)]);
  } catch (error) {
    if (mine === showing) say(`This cannot be shown: ${error.message}`);
  }
}

function slid() {
  const url = new URL(slide.action);
  url.search = new URLSearchParams(new FormData(slide));
  window.history.replaceState(null, "", url);
  return load(url).then(() => {
    if (!document.getElementById("status").textContent) say(document.getElementById("summary").textContent);
  });
}

function valuesOf(group) {
  const pairs = [["group", group.querySelector('[name="group"]').value]];
  const kept = group.querySelector("input:checked");
  if (kept) pairs.push(["keep", kept.value]);
  const label = group.querySelector("select")?.value;
  if (label) pairs.push(["label", label]);
  return new URLSearchParams(pairs);
}

function take(group, url, said) {
  const undecided = group.querySelector("select");
  if (url.endsWith("/merge") && undecided && !undecided.value) {
    say("Choose the class first: the pictures are in several");
    undecided.focus();
    return;
  }
  const values = valuesOf(group);
  const fields = group.querySelector("fieldset"); // what is decided is in no other decision
  const all = groups();
  const next = all[all.indexOf(group) + 1] ?? all[all.indexOf(group) - 1];
  group.inert = true;
  fields.disabled = true;
  if (group === current() || current() === null) focus(next);
  record(url, values, (answer) => {
    group.remove();
    steps(answer);
    say(said(answer));
    const every = document.getElementById("every");
    if (every) every.textContent = `Merge all ${groups().length} shown`;
    if (!groups().length) load(window.location.href, said(answer));
  }).finally(() => {
    group.inert = false;
    fields.disabled = false;
  });
}

function steps(answer) {
  document.getElementById("undo").disabled = !answer.can_undo;
  document.getElementById("redo").disabled = !answer.can_redo;
}

function step(url, said) {
  record(url, {}, (answer) => {
    steps(answer);
    load(window.location.href, answer.changed ? said : "Nothing to change");
  });
}

const merged = (answer) => `Merged: ${answer.changed} pictures changed`;
const toldApart = () => "Not the same: the group is not shown again";

function decide(button, form) {
  const url = new URL(button.getAttribute("formaction") ?? form.getAttribute("action"), window.location.href).pathname;
  const group = button.closest(".group");
  if (group && button.name === "only" && slide) {
    take(group, url, url.endsWith("/merge") ? merged : toldApart);
    return;
  }
  const values = new URLSearchParams(new FormData(form));
  values.delete("secret");
  if (button.name) values.append(button.name, button.value);
  record(url, values, (answer) => load(window.location.href, `${answer.changed} pictures changed`));
}

function move(by) {
  const all = groups();
  const from = all.indexOf(current());
  focus(all[from < 0 ? 0 : Math.min(Math.max(from + by, 0), all.length - 1)]);
}

const KEYS = {
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  m: () => current()?.querySelector(".decide .main")?.click(),
  n: () => current()?.querySelector(".decide [formaction]")?.click(),
  u: () => document.getElementById("undo")?.click(),
  y: () => document.getElementById("redo")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches('select, input:not([type="radio"], [type="checkbox"])');
  const arrows = event.key.startsWith("Arrow") && event.target.matches('[type="radio"]');
  if (typing || arrows || !slide) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const number = current()?.querySelectorAll('[type="radio"]')[Number(key) - 1];
  if (key >= "1" && key <= "9" && number) number.checked = true;
  else if (key in KEYS && !(event.repeat && key.length === 1)) KEYS[key]();
  else return;
  event.preventDefault();
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches(".steps")) {
    event.preventDefault();
    if (event.submitter.id === "redo") step("/redo", "Done again");
    else step("/undo", "Taken back");
  } else if (form.id === "groups") {
    event.preventDefault();
    decide(event.submitter, form);
  } else if (form === slide) {
    if (slide.elements.collection.type !== "hidden") return; // another collection: the whole page
    event.preventDefault();
    slid();
  }
});

if (slide) {
  slide.addEventListener("input", (event) => {
    if (event.target.type === "range") slide.querySelector("output").value = event.target.value;
  });
  slide.addEventListener("change", (event) => {
    if (event.target.name === "collection") slide.submit();
    else slid();
  });
}
tellKeys();
