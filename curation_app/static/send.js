// Sending what a curator did. A request that got no answer is sent again under the same key, so
// that it acts once; requests go one after another, in the order in which things were done.

const token = document.querySelector('meta[name="form-token"]').content;
const RETRIES = 4;
let queue = Promise.resolve();

// Math.random is enough: a key must differ from others, not be secret; randomUUID needs HTTPS.
export function newKey() {
  return Array.from({ length: 4 }, () => Math.random().toString(36).slice(2, 10)).join("-");
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
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await once(url, body);
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
  queue = queue.then(async () => show(await send(url, values))).catch(complain);
  return queue;
}
