"use strict";
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const figures = read("figures"), thumbnails = read("thumbnails");

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const copy = structuredClone(layout);
  copy.font = { ...copy.font, color: colour("--ink") };
  copy.hoverlabel = {
    ...copy.hoverlabel, bgcolor: colour("--paper"), bordercolor: colour("--line"), font: { color: colour("--ink") },
  };
  for (const one of copy.annotations ?? []) {
    if (one.bgcolor) one.bgcolor = colour("--paper");
  }
  for (const name of Object.keys(copy).filter((key) => /^[xy]axis/.test(key))) {
    copy[name] = { ...copy[name], gridcolor: colour("--line"), linecolor: colour("--line"), tickcolor: colour("--line") };
  }
  return copy;
}

function draw(width) {
  for (const [id, figure] of Object.entries(figures)) {
    const place = document.getElementById(id);
    if (!width && !place.clientWidth) continue;  // of screens of another width
    const layout = { ...themed(figure.layout), ...(width ? { width: Math.min(width, place.clientWidth || width) } : {}) };
    Plotly.react(place, figure.data, layout, { responsive: true, displayModeBar: false });
  }
}

function showThumbnails(place) {
  const box = document.getElementById("thumbnail"), image = box.querySelector("img");
  place.on("plotly_hover", (event) => {
    const source = thumbnails[event.points[0].customdata];
    if (!source) return;
    image.src = source;
    box.hidden = false;
    const at = event.event, right = at.clientX + 24 + box.offsetWidth < innerWidth;
    const left = right ? at.clientX + 24 : at.clientX - 24 - box.offsetWidth;
    box.style.left = `${Math.max(8, left)}px`;
    box.style.top = `${Math.max(8, Math.min(at.clientY + 24, innerHeight - box.offsetHeight - 8))}px`;
  });
  place.on("plotly_unhover", () => { box.hidden = true; });
}

async function main() {
  const code = document.createElement("script");
  code.textContent = await inflate(document.getElementById("plotly").textContent.trim());
  document.head.append(code);
  draw();
  const front = document.getElementById("front-figure");
  if (front) showThumbnails(front);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  matchMedia("(max-width: 720px)").addEventListener("change", () => draw());
  addEventListener("beforeprint", () => draw(660));
  addEventListener("afterprint", () => draw());
  document.documentElement.dataset.ready = "true";
}

main().catch(() => {
  for (const id of Object.keys(figures)) document.getElementById(id).classList.add("failed");
  document.documentElement.dataset.ready = "failed";
});
