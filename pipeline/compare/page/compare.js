"use strict";
// Texts go into the page as text only: names of trials and parameters may hold anything.
const { trials, token } = COMPARISON;
const $ = (id) => document.getElementById(id);
const element = (name, text) => Object.assign(document.createElement(name), text === undefined ? {} : { textContent: text });
const lastGrid = (trial, kimg = Infinity) => trial.grids.filter((grid) => grid.kimg <= kimg).at(-1) ?? trial.grids[0];

// Side by side ----------------------------------------------------------------------------------------------------
const steps = [...new Set(trials.flatMap((trial) => trial.grids.map((grid) => grid.kimg)))].sort((a, b) => a - b);
const figures = trials.map((trial) => {
  const figure = element("figure"), image = element("img"), caption = element("figcaption"), list = element("dl");
  const at = element("span");
  caption.append(element("strong", trial.key), `${trial.scores}; images at `, at);
  for (const [name, value] of Object.entries(trial.params)) list.append(element("dt", name), element("dd", value));
  figure.append(image, caption, list);
  $("trials").append(figure);
  return { image, at };
});
function showStep() {
  const kimg = steps[$("kimg").value];
  $("kimg-text").textContent = `${kimg} ${trials[0].unit}`;
  trials.forEach((trial, index) => {
    const grid = lastGrid(trial, kimg);
    figures[index].image.src = grid.png;
    figures[index].image.alt = `images of ${trial.key} at ${grid.kimg} ${trial.unit}`;
    figures[index].at.textContent = `${grid.kimg} ${trial.unit}`;
  });
}
Object.assign($("kimg"), { max: steps.length - 1, value: steps.length - 1 });
$("kimg").addEventListener("input", showStep);
showStep();

// Blind choices ---------------------------------------------------------------------------------------------------
let pair = null, busy = false, made = 0;
const seen = new Map();
const pairName = (a, b) => [a.key, b.key].sort().join("\n");
function nextPair() {
  const pairs = trials.flatMap((a, i) => trials.slice(i + 1).map((b) => [a, b]));
  const fewest = Math.min(...pairs.map(([a, b]) => seen.get(pairName(a, b)) ?? 0));
  const candidates = pairs.filter(([a, b]) => (seen.get(pairName(a, b)) ?? 0) === fewest);
  pair = candidates[Math.floor(Math.random() * candidates.length)];
  if (Math.random() < 0.5) pair = [pair[1], pair[0]];
  $("left").firstChild.src = lastGrid(pair[0]).png;
  $("right").firstChild.src = lastGrid(pair[1]).png;
  $("count").textContent = `${made} choices in this session`;
}
async function choose(chosen) {
  if (busy || !pair) return;
  busy = true;
  try {
    const body = JSON.stringify({ left: pair[0].key, right: pair[1].key, chosen: chosen === null ? null : pair[chosen].key });
    const answer = await fetch("/choices", { method: "POST", body, headers: { "X-Token": token, "Content-Type": "application/json" } });
    if (!answer.ok) throw new Error(await answer.text());
    seen.set(pairName(...pair), (seen.get(pairName(...pair)) ?? 0) + 1);
    made += 1;
    $("problem").hidden = true;
    nextPair();
  } catch (error) {
    $("problem").textContent = `The choice was not saved: ${error.message}`;
    $("problem").hidden = false;
  } finally {
    busy = false;
  }
}
$("left").addEventListener("click", () => choose(0));
$("right").addEventListener("click", () => choose(1));
$("equal").addEventListener("click", () => choose(null));
document.addEventListener("keydown", (event) => {
  const keys = { ArrowLeft: 0, ArrowRight: 1, ArrowDown: null };
  if ($("choice").hidden || event.repeat || !(event.key in keys)) return;
  event.preventDefault();
  choose(keys[event.key]);
});

// Ranking of the choices --------------------------------------------------------------------------------------------
const percent = (share) => `${Math.round(100 * share)}%`;
async function showRanking() {
  const strengths = await (await fetch("/strengths")).json();
  const body = document.querySelector("#ranking tbody");
  body.replaceChildren(...strengths.map((one) => {
    const row = element("tr"), trial = trials.find((other) => other.key === one.key);
    const cells = [one.key, percent(one.share), `${percent(one.low)} to ${percent(one.high)}`, one.choices, trial.scores];
    row.append(...cells.map((text) => element("td", text)));
    return row;
  }));
}

// Tabs --------------------------------------------------------------------------------------------------------------
function show(name) {
  for (const tab of ["grid", "choice", "ranking"]) {
    $(tab).hidden = tab !== name;
    $(`show-${tab}`).setAttribute("aria-selected", tab === name);
  }
  if (name === "choice" && !pair) nextPair();
  if (name === "ranking") showRanking();
}
for (const name of ["grid", "choice", "ranking"]) $(`show-${name}`).addEventListener("click", () => show(name));
if (token) $("show-choice").hidden = $("show-ranking").hidden = false;
