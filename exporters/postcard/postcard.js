// Play buttons with a waveform that fills, and cards that turn over. Without this script the
// browser's own players and both sides are there.
for (const card of document.querySelectorAll(".postcard")) {
  const sound = card.querySelector("audio"), voice = card.querySelector(".voice");
  const play = card.querySelector(".play"), bars = [...card.querySelectorAll(".wave path")];
  const name = card.dataset.name, turn = card.querySelector(".turn");
  sound.controls = false;
  sound.hidden = true;
  voice.hidden = false;
  const show = () => {
    const playing = !sound.paused && !sound.ended;
    const share = sound.duration ? sound.currentTime / sound.duration : 0;
    bars.forEach((bar, place) => bar.classList.toggle("heard", playing && place < share * bars.length));
    card.classList.toggle("playing", playing);
    play.setAttribute("aria-label", `${playing ? "Stop" : "Play"} the call of ${name}`);
    if (playing) requestAnimationFrame(show);
  };
  for (const event of ["play", "pause", "ended"]) sound.addEventListener(event, show);
  play.addEventListener("click", () => {
    if (!sound.paused) { sound.pause(); sound.currentTime = 0; return; }
    for (const other of document.querySelectorAll("audio")) if (other !== sound) other.pause();
    sound.currentTime = 0;
    sound.play();
  });
  if (!turn) continue;
  const [front, back] = card.querySelectorAll(".sides img");
  const face = () => {
    const turned = card.classList.contains("turned");
    front.ariaHidden = String(turned);
    back.ariaHidden = String(!turned);
    turn.textContent = turned ? "Show the front" : "Turn over";
  };
  card.classList.add("turnable");
  turn.hidden = false;
  turn.addEventListener("click", () => { card.classList.toggle("turned"); face(); });
  face();
}
