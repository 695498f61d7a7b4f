// Dropping files anywhere on the page, with progress; and choices that are kept as they are made.
// Without this file, both are plain forms.

import { complain, isBusy, record, say, settled } from "./send.js";

const upload = document.querySelector('form[data-from="files"]');
const decide = document.getElementById("decide");

// --- Step 1: from where ---

function send(files) {
  const limit = Number(document.getElementById("drop").dataset.limit);
  const size = files.reduce((sum, { file }) => sum + file.size, 0);
  if (!files.length) return complain(new Error("there is no file in what was dropped"));
  if (size > limit * 2 ** 20) {
    return complain(new Error(`${Math.ceil(size / 2 ** 20)} MB at once, of at most ${limit}: send them in parts`));
  }
  const body = new FormData(upload);
  body.delete("files");
  for (const { file, name } of files) body.append("files", file, name);
  say(`Sending ${files.length === 1 ? files[0].name : `${files.length} files`} …`);
  return post(body);
}

// XMLHttpRequest, since fetch does not tell how much was sent.
function post(body) {
  const request = new XMLHttpRequest();
  const sent = document.getElementById("sent");
  sent.hidden = false;
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) sent.value = event.loaded / event.total;
  });
  request.addEventListener("loadend", () => {
    sent.hidden = true;
    if (request.status >= 200 && request.status < 300) window.location.assign(request.responseURL);
    else complain(new Error(reason(request)));
  });
  request.open("POST", upload.action);
  request.setRequestHeader("Accept", "application/json");
  request.send(body);
}

function reason(request) {
  if (!request.status) return "the connection broke off: send them again";
  try {
    return JSON.parse(request.responseText).error;
  } catch {
    return `the app answered ${request.status}`;
  }
}

// A dropped folder is walked through; each call of readEntries gives some of its entries.
async function walk(entry, path) {
  const name = path ? `${path}/${entry.name}` : entry.name;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, name }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found;
    for (const one of some) found.push(...(await walk(one, name)));
  }
}

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, name: file.name }));
  return (await Promise.all(entries.map((entry) => walk(entry, "")))).flat();
}

if (upload) {
  const page = document.documentElement;
  for (const hint of upload.querySelectorAll(".hint[hidden]")) hint.hidden = false;
  page.addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    page.classList.add("dropping");
  });
  page.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) page.classList.remove("dropping");
  });
  page.addEventListener("drop", (event) => {
    page.classList.remove("dropping");
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    dropped(event.dataTransfer).then(send).catch(complain);
  });
  upload.addEventListener("submit", (event) => {
    event.preventDefault();
    send([...upload.elements.files.files].map((file) => ({ file, name: file.name })));
  });
}

// --- Step 2: what would change ---

const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

function show(answer) {
  decide.elements.plan.value = answer.plan;
  const relabels = decide.querySelector('[data-number="relabels"]');
  decide.querySelector('[data-number="additions"]').textContent = plural(answer.additions, "picture");
  relabels.textContent = `and move ${answer.relabels.toLocaleString("en")} to another class`;
  relabels.hidden = !answer.relabels;
  const lacking = answer.unlicensed && !answer.licence;
  say(lacking ? `${plural(answer.unlicensed, "picture")} without a licence: name one above.` : "Kept.");
  return answer;
}

// What was chosen last is kept last: the form waits for what was chosen before it was sent.
decide?.addEventListener("submit", (event) => {
  if (!isBusy()) return;
  event.preventDefault();
  const by = event.submitter;
  settled().then(() => decide.requestSubmit(by));
});

decide?.addEventListener("change", ({ target }) => {
  // Renamed classes and whole kinds change the page itself: their buttons send them.
  if (!/^(choice-|label-|licence$)/.test(target.name)) return;
  record(decide.action, { [target.name]: target.value }, show);
});
