// One sound at a time; another one goes on where the last one was. The line in the pictures follows.
"use strict";
const ways = [...document.querySelectorAll(".way")];
const players = ways.map((way) => way.querySelector("audio"));
let current = 0;

function draw() {
  ways.forEach((way, index) => {
    const player = players[index];
    const share = player.duration ? player.currentTime / player.duration : 0;
    way.querySelectorAll(".head").forEach((head) => { head.style.left = `${share * 100}%`; });
    way.classList.toggle("playing", !player.paused);
    way.classList.toggle("started", player.currentTime > 0);
  });
  if (players.some((player) => !player.paused)) requestAnimationFrame(draw);
}

function play(index, time) {
  const player = players[index];
  player.currentTime = Math.min(time, player.duration || time);
  player.play();
}

players.forEach((player, index) => {
  player.addEventListener("play", () => {
    players.forEach((other) => { if (other !== player) other.pause(); });
    current = index;
    draw();
  });
  for (const event of ["pause", "seeked", "ended"]) player.addEventListener(event, draw);
});

ways.forEach((way, index) => {
  way.querySelectorAll(".picture").forEach((picture) => {
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      play(index, ((event.clientX - box.left) / box.width) * (players[index].duration || 0));
    });
  });
});

document.addEventListener("keydown", (event) => {
  if (event.target.closest("audio, a") || event.ctrlKey || event.metaKey || event.altKey) return;
  const number = Number(event.key) - 1;
  if (ways[number]) {
    const time = players[current].ended ? 0 : players[current].currentTime;
    play(number, time);
  } else if (event.key === " ") {
    event.preventDefault();
    if (players[current].paused) players[current].play();
    else players[current].pause();
  }
});
