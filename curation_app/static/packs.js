// Copying a drawing's text. Without this file, "Its text" and the downloads do as well.

const status = document.getElementById("status");

function say(text, failed = false) {
  status.classList.toggle("failed", failed);
  status.textContent = text;
}

// navigator.clipboard is there on HTTPS and on this computer alone.
function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("the browser does not allow it");
}

async function copy(button) {
  const response = await fetch(button.dataset.svg);
  if (!response.ok) throw new Error(`the app answered ${response.status}`);
  const text = await response.text();
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copyBySelection(text);
  button.focus();
  say(`Copied: ${(text.length / 1024).toFixed(1)} KiB of SVG`);
}

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button).catch((error) => say(`Not copied: ${error.message}`, true)));
}
