// Sending what a curator did. A request that got no answer is sent again under the same key, so
// that it acts once; requests go one after another, in the order in which things were done.

const token = document.querySelector('meta[name="form-token"]').content;
const RETRIES = 4;
const shown = document.querySelector('.steps input[name="expected"]');
const first = Number(shown?.value ?? 0); // the curator's newest action when the page was made
const own = new Set(); // this page's actions since
let last = first; // what an undo on this page means
let pending = 0;
let queue = Promise.resolve();

// Math.random is enough: a key must differ from others, not be secret; randomUUID needs HTTPS.
export function newKey() {
  return Array.from({ length: 4 }, () => Math.random().toString(36).slice(2, 10)).join("-");
}

// What another window or an import did is not taken back unseen: 0 is no action's number.
function note(url, answer) {
  const step = url === "/undo" || url === "/redo";
  if (!step && answer.action) own.add(answer.action);
  const now = step ? answer.undoes : answer.action;
  if (now) last = now <= first || own.has(now) ? now : 0;
  return answer;
}

async function once(url, body) {
  const headers = { Accept: "application/json", "X-Form-Token": token };
  const response = await fetch(url, { method: "POST", body, headers });
  const answer = await response.json().catch(() => ({}));
  if (response.status >= 500) throw new TypeError(answer.error || `answered ${response.status}`);
  if (!response.ok) throw new Error(answer.error || `the app answered ${response.status}`);
  return answer;
}

async function send(url, values) {
  const body = new URLSearchParams(values);
  if (!body.has("key")) body.set("key", newKey());
  if (shown && url === "/undo") body.set("expected", last);
  for (let attempt = 0; ; attempt += 1) {
    try {
      return note(url, await once(url, body));
    } catch (error) {
      // TypeError is how fetch says that the network failed.
      if (!(error instanceof TypeError) || attempt === RETRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt));
    }
  }
}

// Say what failed where people look; what was not recorded must not look recorded.
export function complain(error) {
  const status = document.getElementById("status");
  status.classList.add("failed");
  status.textContent = `Not recorded: ${error.message}`;
}

export function say(text) {
  const status = document.getElementById("status");
  status.classList.remove("failed");
  status.textContent = text;
}

export function record(url, values, show) {
  pending += 1;
  queue = queue
    .then(async () => show(await send(url, values)))
    .catch(complain)
    .finally(() => { pending -= 1; });
  return queue;
}

// Whether something is still on its way, and when all that was done so far is on record or failed.
export const isBusy = () => pending > 0;
export const settled = () => queue;

// The browser asks before it drops what is still on its way.
window.addEventListener("beforeunload", (event) => {
  if (pending) event.preventDefault();
});
