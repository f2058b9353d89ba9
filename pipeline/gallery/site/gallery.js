"use strict";

(() => {
  const MOST_CHIPS = 24; // a group of more classes becomes a list
  const MORE = 12;
  const STEPS = 7;
  const SEEDS = 2 ** 31;
  const about = globalThis.GALLERY;
  const byId = (id) => document.getElementById(id);
  const state = { labels: [...about.first], seed: 0, other: 1, share: 0.5 };
  let session;

  // Drawing ----------------------------------------------------------------------------------------------------
  const jobs = new Map(); // a canvas's name -> what it is to show; a later wish replaces an earlier one
  let drawing = false;

  async function draw(canvas, { noise, labels, text }) {
    const inputs = { noise: new ort.Tensor("float32", Float32Array.from(noise), [1, about.noiseDim]) };
    if (about.conditional) {
      inputs.tags = new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [1, labels.length]);
    }
    const { pictures } = await session.run(inputs);
    const size = about.size;
    const area = size * size;
    const image = new ImageData(size, size);
    for (let place = 0; place < area; place += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        const value = Math.min(1, Math.max(-1, pictures.data[(channel % about.channels) * area + place]));
        image.data[4 * place + channel] = Math.round((value + 1) * 127.5);
      }
      image.data[4 * place + 3] = 255;
    }
    pictures.dispose();
    canvas.getContext("2d").putImageData(image, 0, 0);
    canvas.setAttribute("aria-label", text);
  }

  async function work() {
    if (drawing || !session) return;
    drawing = true;
    document.documentElement.dataset.state = "busy";
    try {
      while (jobs.size) {
        const name = canvases.find((one) => jobs.has(one)); // the large images first
        const job = jobs.get(name);
        jobs.delete(name);
        await draw(byId(name), job);
        byId("save").disabled = jobs.has("image"); // a saved image matches the controls
        await new Promise((resume) => setTimeout(resume)); // lets the page respond between two images
      }
      document.documentElement.dataset.state = "idle";
    } catch (error) {
      jobs.clear();
      fail(error);
    } finally {
      drawing = false;
    }
  }

  function describe(seed) {
    const tags = about.conditional
      ? about.groups.map((group, place) => `${group.classes[state.labels[place]]} ${group.name}`)
      : [];
    return [...tags, seed].join(", ");
  }

  function refresh() {
    const { seed, other, share, labels } = state;
    byId("save").disabled = true;
    const noiseOf = (one) => Noise.normal(one, about.noiseDim);
    const [from, to] = [noiseOf(seed), noiseOf(other)];
    const wish = (name, noise, text) => jobs.set(name, { noise, labels: [...labels], text: describe(text) });
    const way = (part) => `${Math.round(100 * part)}% from seed ${seed} to seed ${other}`;
    wish("image", from, `seed ${seed}`);
    wish("between", Noise.between(from, to, share), way(share));
    for (let step = 0; step < STEPS; step += 1) {
      const part = step / (STEPS - 1);
      wish(`step-${step}`, Noise.between(from, to, part), way(part));
    }
    for (let place = 0; place < MORE; place += 1) {
      const next = (seed + place + 1) % SEEDS;
      wish(`more-${place}`, noiseOf(next), `seed ${next}`);
      byId(`more-${place}`).nextSibling.textContent = next;
    }
    byId("caption").textContent = describe(`seed ${seed}`);
    work();
  }

  // Controls ---------------------------------------------------------------------------------------------------
  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  // Whether some known combination begins with the classes chosen so far and goes on with this one.
  function known(place, label) {
    const begins = (pair) => pair[place] === label && state.labels.slice(0, place).every((one, i) => pair[i] === one);
    return !about.pairs.length || about.pairs.some(begins);
  }

  function choose(place, label) {
    state.labels[place] = label;
    for (let later = place + 1; later < about.groups.length; later += 1) {
      if (!known(later, state.labels[later])) {
        state.labels[later] = about.groups[later].classes.findIndex((_, other) => known(later, other));
      }
    }
    showLabels();
    refresh();
  }

  function showLabels() {
    about.groups.forEach((group, place) => {
      group.classes.forEach((_, label) => {
        const option = byId(`tag-${place}-${label}`);
        option.disabled = !known(place, label);
        option[option.tagName === "OPTION" ? "selected" : "checked"] = state.labels[place] === label;
      });
    });
  }

  function chips(group, place) {
    const all = group.classes.map((name, label) => {
      const input = element("input", { type: "radio", name: `tag-${place}`, id: `tag-${place}-${label}` });
      input.addEventListener("change", () => choose(place, label));
      return element("label", { className: "chip" }, input, element("span", { textContent: name }));
    });
    const legend = element("legend", { textContent: group.name });
    return element("fieldset", {}, legend, element("div", { className: "chips" }, ...all));
  }

  function list(group, place) {
    const options = group.classes.map((name, label) =>
      element("option", { id: `tag-${place}-${label}`, value: label, textContent: name }),
    );
    const select = element("select", { id: `tag-${place}` }, ...options);
    select.addEventListener("change", () => choose(place, Number(select.value)));
    const label = element("label", { htmlFor: select.id, textContent: group.name });
    return element("fieldset", {}, label, select);
  }

  function cell(name, text, take) {
    const canvas = element("canvas", { id: name, width: about.size, height: about.size });
    canvas.setAttribute("role", "img");
    const button = element("button", { type: "button" }, canvas, element("span", { textContent: text }));
    button.addEventListener("click", take);
    return button;
  }

  function setSeed(seed) {
    state.seed = seed;
    byId("seed").value = seed;
    byId("seed-slider").value = Math.min(seed, Number(byId("seed-slider").max));
    refresh();
  }

  function setShare(share) {
    state.share = share;
    byId("share").value = Math.round(100 * share);
    byId("share").setAttribute("aria-valuetext", `${Math.round(100 * share)}%`);
    refresh();
  }

  function onNumber(id, take) {
    byId(id).addEventListener("input", (event) => {
      if (event.target.validity.valid) take(Number(event.target.value));
    });
  }

  function save() {
    byId("image").toBlob((blob) => {
      const name = describe(state.seed).toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-");
      const link = element("a", { href: URL.createObjectURL(blob), download: `${name.slice(0, 120)}.png` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    });
  }

  function build() {
    document.title = `${about.title} – gallery`;
    byId("title").textContent = about.title;
    byId("subtitle").textContent = about.subtitle;
    for (const [name, value] of about.facts) {
      byId("facts").append(element("dt", { textContent: name }), element("dd", { textContent: value }));
    }
    if (about.conditional) {
      const fields = about.groups.map((group, place) => (group.classes.length > MOST_CHIPS ? list : chips)(group, place));
      byId("groups").append(...fields);
      showLabels();
    } else {
      byId("groups").remove();
      byId("more-hint").textContent = "Choose one to take its seed.";
    }
    for (let step = 0; step < STEPS; step += 1) {
      const part = step / (STEPS - 1);
      byId("steps").append(cell(`step-${step}`, `${Math.round(100 * part)}%`, () => setShare(part)));
    }
    for (let place = 0; place < MORE; place += 1) {
      byId("more").append(cell(`more-${place}`, "", () => setSeed((state.seed + place + 1) % SEEDS)));
    }
    for (const name of ["image", "between"]) Object.assign(byId(name), { width: about.size, height: about.size });
    onNumber("seed", setSeed);
    onNumber("seed-slider", setSeed);
    onNumber("other", (seed) => {
      state.other = seed;
      refresh();
    });
    onNumber("share", (percent) => setShare(percent / 100));
    byId("random").addEventListener("click", () => setSeed(Math.floor(Math.random() * SEEDS)));
    byId("save").addEventListener("click", save);
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
  }

  // Loading ----------------------------------------------------------------------------------------------------
  const canvases = [
    "image",
    "between",
    ...Array.from({ length: STEPS }, (_, step) => `step-${step}`),
    ...Array.from({ length: MORE }, (_, place) => `more-${place}`),
  ];

  function bytes(base64) {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  }

  async function unpacked(base64) {
    const stream = new Blob([bytes(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // The files come inside scripts, not by fetch, so that the page also works when it is opened from the disk.
  async function open() {
    const glue = new Blob([bytes(RUNTIME.mjs)], { type: "text/javascript" });
    ort.env.wasm.numThreads = 1; // more would need HTTP headers that a plain file server does not send
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(glue) };
    ort.env.wasm.wasmBinary = await unpacked(RUNTIME.wasm);
    session = await ort.InferenceSession.create(bytes(about.onnx), { executionProviders: ["wasm"] });
  }

  function fail(error) {
    document.documentElement.dataset.state = "failed";
    byId("status").className = "failed";
    byId("status").textContent = `This browser cannot run the generator: ${error.message ?? error}`;
  }

  build();
  byId("save").disabled = true;
  open().then(() => {
    byId("status").textContent = "";
    refresh();
  }, fail);
})();
