// Buttons that copy a command. Without this file, a click on the command selects all of it.

const status = document.getElementById("status");

// navigator.clipboard is there on HTTPS and on this computer alone.
async function copy(code) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(code.textContent);
    return;
  }
  const range = document.createRange();
  range.selectNodeContents(code);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  if (!document.execCommand("copy")) throw new Error("the browser does not allow it");
}

function say(text, failed) {
  status.classList.toggle("failed", failed);
  status.textContent = text;
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () =>
    copy(document.getElementById(button.dataset.copy))
      .then(() => say("Copied.", false))
      .catch((error) => say(`Not copied: ${error.message}`, true)));
}
