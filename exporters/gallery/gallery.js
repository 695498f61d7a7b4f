"use strict";

const root = document.documentElement;
const search = document.getElementById("search");
const found = document.getElementById("found");
const grounds = document.getElementById("grounds");
const carousels = [...document.querySelectorAll(".carousel")];
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// Every word has to be in what is said of a sticker: its name, class, description, tags, pack.
function narrow() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const carousel of carousels) {
    let left = 0;
    for (const item of carousel.querySelectorAll(".strip > li")) {
      item.hidden = !words.every((word) => item.dataset.text.includes(word));
      left += item.hidden ? 0 : 1;
    }
    carousel.hidden = left === 0;
    count += left;
  }
  const packs = document.querySelector(".packs");
  if (packs) packs.hidden = words.length > 0;
  found.textContent = words.length ? `${count} sticker${count === 1 ? "" : "s"} found` : "";
  carousels.forEach(showTurns);
}

function showTurns(carousel) {
  const strip = carousel.querySelector(".strip");
  const rest = strip.scrollWidth - strip.clientWidth;
  for (const button of carousel.querySelectorAll(".turn")) {
    button.hidden = rest <= 1;
    const back = button.dataset.turn === "-1";
    button.disabled = back ? strip.scrollLeft <= 1 : strip.scrollLeft >= rest - 1;
  }
}

function keep(key, value) {
  try { localStorage.setItem(key, value); } catch { /* from a disk, or private: not kept */ }
}

function kept(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

for (const carousel of carousels) {
  const strip = carousel.querySelector(".strip");
  strip.addEventListener("scroll", () => showTurns(carousel), { passive: true });
  for (const button of carousel.querySelectorAll(".turn")) {
    button.addEventListener("click", () => {
      const far = Number(button.dataset.turn) * strip.clientWidth * 0.8;
      strip.scrollBy({ left: far, behavior: calm.matches ? "auto" : "smooth" });
    });
  }
}
addEventListener("resize", () => carousels.forEach(showTurns));
grounds.addEventListener("change", (event) => {
  root.dataset.ground = event.target.value;
  keep("ground", event.target.value);
});
const before = grounds.querySelector(`[value="${CSS.escape(kept("ground") || "auto")}"]`);
if (before) {
  before.checked = true;
  root.dataset.ground = before.value;
}
search.addEventListener("input", narrow);
search.hidden = false;
grounds.hidden = false;
narrow();
