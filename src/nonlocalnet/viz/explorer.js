// The explorer: plays a clip, and shows where a network looks from the position that is chosen.
//
// A place is (frame, y, x): frames of the clip and px of the network's input, counted from 0 at
// the centre of the first frame's top left pixel. `data` is what viz/explorer.py wrote.
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const [height, width] = data.input;
const total = data.frames.length;
const $ = (id) => document.getElementById(id);
const state = { frame: data.start[0], query: data.start, block: 0, top: data.top, view: "both", shown: total };
let blocks = [];

// ---------------------------------------------------------------------- rows from their bytes

// A byte holds a sign and 127 steps of a logarithm: viz/explorer.py, `pack_rows`.
const unit = Float32Array.from({ length: 256 }, (_, code) => {
  const step = code & 127;
  const size = step && 2 ** ((step - 127) / data.steps_per_octave);
  return code & 128 ? -size : size;
});

async function unpack(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function readBlock(stored) {
  const codes = new Uint8Array(await unpack(stored.rows));
  const peaks = new Float32Array(await unpack(stored.peaks));
  return { ...stored, codes, peaks, size: stored.keys.reduce((n, axis) => n * axis.length, 1) };
}

const nearest = (axis, value) =>
  axis.reduce((best, at, i) => (Math.abs(at - value) < Math.abs(axis[best] - value) ? i : best), 0);

// The cell of the position, and its weights over the keys (frames, rows, columns).
function look() {
  const block = blocks[state.block];
  const cell = block.queries.map((axis, i) => nearest(axis, state.query[i]));
  const row = (cell[0] * block.queries[1].length + cell[1]) * block.queries[2].length + cell[2];
  const peak = block.peaks[row];
  const weights = Float32Array.from(
    block.codes.subarray(row * block.size, (row + 1) * block.size), (code) => peak * unit[code]);
  const order = Array.from(weights.keys()).sort((a, b) => weights[b] - weights[a] || a - b);
  const [, rows, columns] = block.keys.map((axis) => axis.length);
  // A weight that was packed to 0 has no order among the others, so it gets no arrow.
  const keys = order.slice(0, state.top).filter((index) => weights[index]).map((index) => ({
    weight: weights[index],
    at: [
      block.keys[0][Math.floor(index / (rows * columns))],
      block.keys[1][Math.floor(index / columns) % rows],
      block.keys[2][index % columns],
    ],
  }));
  return { block, weights, keys, at: cell.map((c, i) => block.queries[i][c]) };
}

// ------------------------------------------------------------------------------------ drawing

const SVG = "http://www.w3.org/2000/svg";
function svg(parent, name, attributes = {}) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}
function html(parent, name, text = "", attributes = {}) {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

// An arrow between two points, bent a little as in Figure 3; `share` of the strongest weight.
function arrow(layer, from, to, share, scale) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const length = Math.hypot(dx, dy);
  const size = scale * (4 + 5 * share);
  const middle = [(from[0] + to[0]) / 2 + 0.1 * dy, (from[1] + to[1]) / 2 - 0.1 * dx];
  const angle = Math.atan2(to[1] - middle[1], to[0] - middle[0]);
  const group = svg(layer, "g", { opacity: 0.3 + 0.7 * share, "data-x": to[0], "data-y": to[1] });
  if (length > size) {
    const base = [to[0] - 0.8 * size * Math.cos(angle), to[1] - 0.8 * size * Math.sin(angle)];
    const path = `M${from}Q${middle} ${base}`;
    const stroke = scale * (0.6 + 2.2 * share);
    svg(group, "path", { class: "rim", d: path, "stroke-width": stroke + 1.4 * scale });
    svg(group, "path", { class: "arrow", d: path, "stroke-width": stroke });
  }
  const corner = (turn) =>
    [to[0] - size * Math.cos(angle + turn), to[1] - size * Math.sin(angle + turn)];
  svg(group, "path", {
    class: "head", d: `M${to}L${corner(0.42)}L${corner(-0.42)}Z`, "stroke-width": 0.6 * scale,
  });
}

function dot(layer, at, radius, here = true) {
  svg(layer, "circle", {
    class: here ? "dot" : "dot elsewhere", cx: at[0], cy: at[1], r: radius, "stroke-width": radius / 3,
  });
}

// Heat of one frame of those shown: the strongest, at each place, of the keys nearer to it than to
// the others, as a share of the largest weight, or of the furthest below zero where none is above
// (as viz/heat.py), placed where they lie in the picture. A border repeats the outer
// cells: beyond them a pixel still lies nearest to its key.
function heat(canvas, seen, frame, shown) {
  const [times, ys, xs] = seen.block.keys;
  const mine = [...times.keys()].filter((k) => shown[nearest(shown, times[k])] === frame);
  const slices = mine.length ? mine : [nearest(times, frame)];
  const at = (key) => slices.reduce((best, slice) => {
    const weight = seen.weights[slice * ys.length * xs.length + key];
    return Math.abs(weight) > Math.abs(best) ? weight : best;
  }, 0);
  const [least, most] = seen.weights.reduce(
    ([low, high], weight) => [Math.min(low, weight), Math.max(high, weight)], [0, 0]);
  const strongest = Math.max(most > 0 ? most : -least, 1e-30);
  canvas.width = xs.length + 2;
  canvas.height = ys.length + 2;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const within = (value, size) => Math.min(Math.max(value - 1, 0), size - 1);
  for (let i = 0; i < canvas.width * canvas.height; i++) {
    const row = within(Math.floor(i / canvas.width), ys.length);
    const share = at(row * xs.length + within(i % canvas.width, xs.length)) / strongest;
    const strength = Math.min(Math.abs(share), 1);
    image.data.set(
      share < 0 ? [60, 130, 255, 200 * strength ** 0.6]
        : [255, 235 - 200 * strength, 40 * (1 - strength), 215 * strength ** 0.6], 4 * i);
  }
  context.putImageData(image, 0, 0);
  const [tall, wide] = seen.block.cell;
  canvas.style.left = `${(100 * (xs[0] + 0.5 - 1.5 * wide)) / width}%`;
  canvas.style.top = `${(100 * (ys[0] + 0.5 - 1.5 * tall)) / height}%`;
  canvas.style.width = `${(100 * wide * canvas.width) / width}%`;
  canvas.style.height = `${(100 * tall * canvas.height) / height}%`;
}

// -------------------------------------------------------------------------- stage and strip

function picture(parent, tag, frame) {
  const element = html(parent, tag, "", { class: "picture" });
  fill(element, frame);
  return element;
}
function fill(element, frame) {
  element.style.aspectRatio = `${width} / ${height}`;
  const image = html(element, "img", "", { alt: "", draggable: "false" });
  image.src = data.frames[frame];
  html(element, "canvas");
}
// The position under the pointer, in a picture that shows `frame`.
function pointed(event, element, frame) {
  const box = element.getBoundingClientRect();
  const clamp = (value, size) => Math.min(Math.max(value, 0), size - 1);
  return [
    frame,
    clamp(((event.clientY - box.top) / box.height) * height - 0.5, height),
    clamp(((event.clientX - box.left) / box.width) * width - 0.5, width),
  ];
}

function shownFrames() {
  const stride = Math.max(Math.floor(total / state.shown), 1);
  const even = [];
  for (let f = state.query[0] % stride; f < total; f += stride) even.push(f);
  const last = even.slice(-state.shown);
  return last.includes(state.query[0]) ? last : even.slice(0, state.shown);
}

function buildStrip() {
  const strip = $("strip");
  strip.replaceChildren();
  for (const frame of shownFrames()) {
    const element = picture(strip, "button", frame);
    element.type = "button";
    element.dataset.frame = frame;
    element.setAttribute("aria-label", `Frame ${frame + 1} of ${total}, ${data.seconds[frame].toFixed(2)} s`);
    html(element, "span", `${frame + 1} · ${data.seconds[frame].toFixed(2)} s`, { class: "label" });
    element.addEventListener("click", (event) => {
      state.frame = frame;
      // A key press has no place: it keeps the position and goes to this frame.
      choose(event.detail ? pointed(event, element, frame) : [frame, state.query[1], state.query[2]]);
    });
  }
  svg(strip, "svg", { "aria-hidden": "true" });
  layOut();
}

function layOut() {
  const strip = $("strip");
  const count = shownFrames().length;
  const fit = Math.max(2, Math.floor(strip.clientWidth / Math.max(96, Math.min(150, (110 * width) / height))));
  // Rows of equal length where that costs little.
  strip.style.setProperty("--columns", Math.ceil(count / Math.ceil(count / Math.min(fit, count))));
}

function drawStrip(seen) {
  const strip = $("strip");
  const layer = strip.querySelector(":scope > svg");
  const pictures = [...strip.querySelectorAll(".picture")];
  const frames = pictures.map((element) => Number(element.dataset.frame));
  layer.replaceChildren();
  const origin = strip.getBoundingClientRect();
  const boxes = pictures.map((element) => element.getBoundingClientRect());
  const place = ([frame, y, x]) => {
    const box = boxes[nearest(frames, frame)];
    return [
      box.left - origin.left + ((x + 0.5) / width) * box.width,
      box.top - origin.top + ((y + 0.5) / height) * box.height,
    ];
  };
  pictures.forEach((element, i) => {
    const canvas = element.querySelector("canvas");
    canvas.hidden = state.view === "arrows";
    if (!canvas.hidden) heat(canvas, seen, frames[i], frames);
    element.classList.toggle("current", frames[i] === state.frame);
  });
  // The dot stands in the frame that was chosen: a key frame may lie between two frames.
  const from = place([state.query[0], seen.at[1], seen.at[2]]);
  if (state.view !== "heat") drawArrows(layer, seen.keys, from, place, 1);
  dot(layer, from, 4.5);
}

function drawArrows(layer, keys, from, place, scale) {
  const strongest = Math.max(keys.length ? keys[0].weight : 0, 1e-30);
  for (const key of [...keys].reverse()) {
    arrow(layer, from, place(key.at), Math.min(Math.max(key.weight / strongest, 0), 1), scale);
  }
}

function drawStage(seen) {
  const stage = $("stage");
  const image = stage.querySelector("img");
  if (image.dataset.frame !== String(state.frame)) {
    image.src = data.frames[state.frame];
    image.dataset.frame = state.frame;
  }
  const canvas = stage.querySelector("canvas");
  canvas.hidden = state.view === "arrows";
  if (!canvas.hidden) heat(canvas, seen, state.frame, [...data.frames.keys()]);
  const layer = stage.querySelector("svg");
  layer.replaceChildren();
  const scale = width / Math.max(stage.clientWidth, 1); // input px for a px of the screen
  const place = ([, y, x]) => [x + 0.5, y + 0.5];
  const now = seen.block.keys[0][nearest(seen.block.keys[0], state.frame)];
  if (state.view !== "heat") {
    const strongest = seen.keys.length ? seen.keys[0].weight : 0;
    for (const key of [...seen.keys].reverse()) {
      if (key.at[0] !== now) continue;
      const share = strongest > 0 ? Math.max(key.weight / strongest, 0) : 0;
      arrow(layer, place(seen.at), place(key.at), share, 1.6 * scale);
    }
  }
  dot(layer, place(seen.at), 7 * scale, state.query[0] === state.frame);
}

// ------------------------------------------------------------------------------------- words

const percent = (share) => `${(100 * share).toFixed(share > 0.0995 ? 0 : 1)} %`;
function inVideo([frame, y, x]) {
  const low = Math.min(Math.max(Math.floor(frame), 0), total - 1);
  const high = Math.min(low + 1, total - 1);
  const seconds = data.seconds[low] + (frame - low) * (data.seconds[high] - data.seconds[low]);
  const px = (value, size, real) => Math.round(((value + 0.5) * real) / size - 0.5);
  return `${seconds.toFixed(2)} s, (${px(x, width, data.video[1])}, ${px(y, height, data.video[0])}) px`;
}

function say(seen) {
  if (!seen.keys.length) return;
  const sum = seen.keys.reduce((all, key) => all + key.weight, 0);
  const share = seen.block.softmax
    ? ` The ${seen.keys.length} arrows hold ${percent(Math.min(sum, 1))} of the weight.` : "";
  $("said").textContent =
    `From ${inVideo([state.query[0], seen.at[1], seen.at[2]])}, ${seen.block.name} looks most at ` +
    `${inVideo(seen.keys[0].at)}, with weight ${seen.keys[0].weight.toPrecision(2)}.${share}` +
    (seen.keys.length < state.top ? " All other places weigh next to nothing." : "");
}

function showBlock() {
  const body = $("stats").tBodies[0];
  body.replaceChildren();
  for (const [name, value] of blocks[state.block].facts) {
    const line = html(body, "tr");
    html(line, "th", name, { scope: "row" });
    html(line, "td", value);
  }
}

function showScores() {
  data.scores.forEach(([label, score], i) => {
    const item = html($("scores"), "li");
    item.style.setProperty("--colour", `var(--c${i % 5})`);
    html(item, "span", label);
    html(item, "span", percent(score));
  });
}

// Scores of the clips of a test over the video's time; the band is the clip of this page.
let secondsToPx = null;
function drawTimeline() {
  const clips = data.timeline;
  if (clips.length < 2) return;
  const figure = $("timeline");
  figure.hidden = false;
  figure.replaceChildren();
  const [wide, tall, left, bottom] = [Math.max(figure.clientWidth, 200), 120, 38, 16];
  const ranges = data.scores.map(([label], i) => {
    const scores = clips.map((clip) => clip[2][i]);
    return `${label} from ${percent(Math.min(...scores))} to ${percent(Math.max(...scores))}`;
  });
  const chart = svg(figure, "svg", {
    viewBox: `0 0 ${wide} ${tall}`, role: "img",
    "aria-label": `Scores of ${clips.length} clips over ${data.duration.toFixed(1)} seconds: ${ranges.join(", ")}`,
  });
  const x = (seconds) => left + ((wide - left - 4) * seconds) / data.duration;
  const y = (score) => 6 + (tall - bottom - 6) * (1 - score);
  const [begin, end] = [data.seconds[0], data.seconds[total - 1]].map(x);
  svg(chart, "rect", { class: "clip", x: begin, y: 6, width: Math.max(end - begin, 1), height: tall - bottom - 6 });
  for (const score of [0, 0.5, 1]) {
    svg(chart, "line", { class: "grid", x1: left, x2: wide - 4, y1: y(score), y2: y(score) });
    svg(chart, "text", { x: left - 4, y: y(score) + 4, "text-anchor": "end" }).textContent = `${100 * score}%`;
  }
  data.scores.forEach((_, i) => {
    // At the middle of each clip; the outer ones hold to the ends of what they saw.
    const points = clips.map(([from, to, scores]) => `${x((from + to) / 2)},${y(scores[i])}`);
    points.unshift(`${x(clips[0][0])},${y(clips[0][2][i])}`);
    points.push(`${x(clips.at(-1)[1])},${y(clips.at(-1)[2][i])}`);
    svg(chart, "polyline", { class: "line", points: points.join(" "), style: `stroke: var(--c${i % 5})` });
  });
  svg(chart, "text", { x: left, y: tall - 2 }).textContent = "0 s";
  svg(chart, "text", { x: wide - 4, y: tall - 2, "text-anchor": "end" }).textContent = `${data.duration.toFixed(1)} s`;
  svg(chart, "line", { class: "now", id: "now", y1: 2, y2: tall - bottom });
  secondsToPx = x;
}

// --------------------------------------------------------------------------- what one can do

function draw() {
  const seen = look();
  drawStage(seen);
  drawStrip(seen);
  say(seen);
  showFrame();
}
function showFrame() {
  $("seek").value = state.frame;
  const seconds = data.seconds[state.frame];
  $("clock").textContent = `${state.frame + 1} of ${total} · ${seconds.toFixed(2)} s`;
  $("seek").setAttribute("aria-valuetext", $("clock").textContent);
  const now = document.getElementById("now");
  if (now) for (const end of ["x1", "x2"]) now.setAttribute(end, secondsToPx(seconds));
}
function choose(query) {
  const moves = query[0] !== state.query[0] && state.shown < total;
  state.query = query;
  if (moves) buildStrip();
  draw();
}
function go(frame) {
  state.frame = (frame + total) % total;
  const seen = look();
  drawStage(seen);
  for (const element of $("strip").querySelectorAll(".picture")) {
    element.classList.toggle("current", Number(element.dataset.frame) === state.frame);
  }
  showFrame();
}

let timer = 0;
function play(on) {
  clearTimeout(timer);
  timer = 0;
  $("play").textContent = on ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(on));
  if (!on) return;
  const tick = () => {
    const next = (state.frame + 1) % total;
    const wait = next ? data.seconds[next] - data.seconds[state.frame] : 0.6;
    timer = setTimeout(() => { go(next); tick(); }, 1000 * Math.min(Math.max(wait, 0.03), 1.5));
  };
  tick();
}

function setBlock(index) {
  state.block = index;
  $("block").value = index;
  $("top").max = Math.min(blocks[index].size, 100);
  state.top = Math.min(state.top, Number($("top").max));
  setTop(state.top);
  showBlock();
}
function setTop(count) {
  state.top = Math.min(Math.max(count, 1), Number($("top").max));
  $("top").value = state.top;
  $("count").textContent = state.top;
  draw();
}
function setView(view) {
  state.view = view;
  $("view").querySelector(`[value=${view}]`).checked = true;
  draw();
}
function step(axis, sign) {
  const axes = blocks[state.block].queries[axis];
  const cell = Math.min(Math.max(nearest(axes, state.query[axis]) + sign, 0), axes.length - 1);
  const query = [...state.query];
  query[axis] = axes[cell];
  choose(query);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const tag = event.target.tagName;
  if (tag === "SELECT" || (tag === "INPUT" && event.key.startsWith("Arrow"))) return;
  if (event.key === " " && (tag === "BUTTON" || tag === "INPUT" || tag === "SUMMARY")) return;
  const moves = { ArrowLeft: [2, -1], ArrowRight: [2, 1], ArrowUp: [1, -1], ArrowDown: [1, 1] };
  const views = ["arrows", "heat", "both"];
  const actions = {
    " ": () => play(!timer),
    b: () => setBlock((state.block + 1) % blocks.length),
    v: () => setView(views[(views.indexOf(state.view) + 1) % 3]),
    "+": () => setTop(state.top + 1),
    "=": () => setTop(state.top + 1),
    "-": () => setTop(state.top - 1),
    ArrowLeft: () => { play(false); go(state.frame - 1); },
    ArrowRight: () => { play(false); go(state.frame + 1); },
  };
  const action = event.shiftKey && moves[event.key]
    ? () => step(...moves[event.key]) : actions[event.key.toLowerCase()] || actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

async function begin() {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("This browser is too old for this page; any of 2023 or later shows it.");
  }
  blocks = await Promise.all(data.blocks.map(readBlock));
  $("summary").textContent = data.summary;
  $("footer").textContent = data.footer;
  for (const note of data.notes) html($("notes"), "p", note);
  blocks.forEach((block, i) => html($("block"), "option", block.name, { value: i }));
  const counts = [total, 16, 8, 4].filter((n, i) => !i || n < total);
  counts.forEach((n) => html($("shown"), "option", n === total ? `all ${n}` : String(n), { value: n }));
  const stage = $("stage");
  fill(stage, state.frame);
  stage.style.maxWidth = `calc(78vh * ${width / height})`;
  svg(stage, "svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  $("seek").max = total - 1;
  showScores();
  buildStrip();
  drawTimeline();
  setBlock(0);

  stage.addEventListener("click", (event) => choose(pointed(event, stage, state.frame)));
  $("play").addEventListener("click", () => play(!timer));
  $("seek").addEventListener("input", () => { play(false); go(Number($("seek").value)); });
  $("block").addEventListener("change", () => setBlock(Number($("block").value)));
  $("top").addEventListener("input", () => setTop(Number($("top").value)));
  $("view").addEventListener("change", (event) => setView(event.target.value));
  $("shown").addEventListener("change", () => {
    state.shown = Number($("shown").value);
    buildStrip();
    draw();
  });
  document.addEventListener("keydown", onKey);
  new ResizeObserver(() => { layOut(); drawTimeline(); draw(); }).observe($("strip"));
  document.documentElement.dataset.ready = "yes";
}

begin().catch((error) => {
  $("fault").hidden = false;
  $("fault").textContent = error.message;
});
})();
