
"use strict";
// What is on the page already is right without this: it shows another head, and another character that looks.
const data = JSON.parse(document.getElementById("data").textContent);
const weights = data.weights.map(coded => Uint8Array.from(atob(coded), char => char.charCodeAt(0)));
const find = name => document.getElementById(name);
const buttons = [...document.querySelectorAll("button[data-head]")];
const places = [...document.querySelectorAll("[data-place]")];
const count = data.chars.length;
let head = data.head, looking = count - 1;

// The rows of a matrix lie one after the other, each up to its diagonal.
const weight = (query, key) => weights[head][query * (query + 1) / 2 + key] / 255;
const percent = share => Math.round(100 * share) + "\u00a0%";

function arcs() {
  const drawn = [];
  for (let key = 0; key <= looking; key++) {
    const share = weight(looking, key), from = data.arc * (looking + 0.5), to = data.arc * (key + 0.5);
    if (share < 0.01) continue;
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const high = data.height - 4, up = Math.min(high - 6, 12 + Math.abs(from - to) * 0.6);
    path.setAttribute("d", key === looking
      ? `M${from - 3} ${high}C${from - 14} ${high - 24} ${from + 14} ${high - 24} ${from + 3} ${high}`
      : `M${from} ${high}C${from} ${high - up} ${to} ${high - up} ${to} ${high}`);
    path.setAttribute("stroke-width", 1 + 5 * share);
    path.setAttribute("stroke-opacity", 0.25 + 0.75 * share);
    drawn.push(path);
  }
  find("arcs").replaceChildren(...drawn);
  const room = find("arcs").closest("div"), at = data.arc * looking - room.scrollLeft;
  if (at < 0 || at > room.clientWidth - data.arc) room.scrollLeft = data.arc * looking - room.clientWidth / 2;
}

function said() {
  const keys = [...Array(looking + 1).keys()].sort((a, b) => weight(looking, b) - weight(looking, a));
  const first = keys.slice(0, 3).filter(key => weight(looking, key) >= 0.01);
  find("said").textContent = `${data.names[head]}: ${data.chars[looking]} at ${looking} gives ` +
    first.map(key => `${percent(weight(looking, key))} to ${data.chars[key]} at ${key}`).join(", ") + ".";
}

function next() {
  find("after").textContent = data.chars[looking];
  find("next").replaceChildren(...data.next[looking].map(([char, share]) => {
    const row = document.createElement("tr"), bar = document.createElement("progress");
    bar.value = share;
    for (const content of [char, bar, percent(share)]) row.insertCell().append(content);
    return row;
  }));
}

function show() {
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.head == head);
  for (const place of places) place.classList.toggle("on", place.dataset.place == looking);
  const picture = buttons[head].querySelector("img");
  find("matrix").setAttribute("href", picture.src);
  find("large").setAttribute("aria-label", picture.alt);
  find("row").setAttribute("y", data.edge + data.cell * looking);
  find("row").setAttribute("width", data.cell * (looking + 1));
  arcs();
  said();
  next();
}

for (const button of buttons) button.onclick = () => {
  head = +button.dataset.head;
  show();
  find("one").scrollIntoView();
};
for (const place of places) place.onmouseenter = place.onclick = () => { looking = +place.dataset.place; show(); };
find("large").onmousemove = event => {
  const box = find("large").getBoundingClientRect();
  const query = Math.floor(((event.clientY - box.top) / box.height * data.size - data.edge) / data.cell);
  if (query >= 0 && query < count && query !== looking) { looking = query; show(); }
};
document.onkeydown = event => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
  looking = Math.max(0, Math.min(count - 1, looking + step));
  show();
};
show();
