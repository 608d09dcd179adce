"use strict";
// The page of the web demo. Only the bytes of a file are sent, never its name; everything that
// comes from a file or from the network is shown as text.

const byId = (id) => document.getElementById(id);
const POLL_MS = 500;
let limits = null;
let busy = false;
let url = null; // of the chosen file, for the player

fetch("/limits").then((answer) => answer.json()).then((said) => {
  limits = said;
  byId("limits").textContent = `Up to ${said.megabytes} MB and ${said.seconds} seconds`;
});

byId("file").addEventListener("change", (event) => {
  choose(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});
const drop = byId("drop");
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.remove("over"); });
}
drop.addEventListener("drop", (event) => choose(event.dataTransfer.files[0]));

async function choose(file) {
  if (!file || busy) return;
  busy = true;
  byId("file").disabled = true;
  drop.classList.add("busy");
  byId("fault").hidden = byId("result").hidden = true;
  try {
    if (limits && file.size > limits.megabytes * 1e6) {
      throw new Error(`The file is too large; up to ${limits.megabytes} MB are taken.`);
    }
    byId("work").hidden = false;
    const job = await upload(file);
    show(file, job, await waitFor(job));
  } catch (error) {
    byId("fault").textContent = error.message;
    byId("fault").hidden = false;
  } finally {
    byId("work").hidden = true;
    drop.classList.remove("busy");
    byId("file").disabled = busy = false;
  }
}

function upload(file) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/jobs");
    request.responseType = "json";
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => say("Uploading", event.loaded / event.total);
    request.onload = () => {
      const said = request.response || {};
      if (request.status === 202) resolve(said.job);
      else reject(new Error(said.fault || `The server answered ${request.status}.`));
    };
    request.onerror = () => reject(new Error("The upload was broken off; is the server there?"));
    say("Uploading", 0);
    request.send(file);
  });
}

async function waitFor(job) {
  const began = Date.now();
  for (;;) {
    let answer;
    try {
      answer = await (await fetch(`/jobs/${job}`)).json();
    } catch {
      throw new Error("The server does not answer any more.");
    }
    if (answer.state === "done") return answer;
    if (answer.state === "failed") throw new Error(answer.fault);
    if (answer.state === "waiting" && answer.before) {
      say(`Waiting; ${answer.before} ${answer.before === 1 ? "video is" : "videos are"} before yours`);
    } else {
      say(`Looking at it, ${Math.round((Date.now() - began) / 1000)} s`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function say(text, share) {
  if (byId("state").textContent !== text) byId("state").textContent = text;
  if (share === undefined) byId("bar").removeAttribute("value");
  else byId("bar").value = share;
}

function show(file, job, answer) {
  byId("name").textContent = file.name;
  byId("labels").replaceChildren(...answer.top.map(({ label, score }) => {
    const bar = make("i");
    bar.style.width = percent(score);
    return make("li", {}, make("span", {}, label), make("span", { className: "track" }, bar),
      make("span", { className: "share" }, `${(100 * score).toFixed(1)} %`));
  }));
  showTimeline(answer);
  byId("explorer").hidden = !answer.explorer;
  byId("plain").hidden = answer.explorer;
  byId("explorer").href = `/jobs/${job}/explorer`;
  const video = byId("video");
  if (url) URL.revokeObjectURL(url);
  url = URL.createObjectURL(file);
  video.onloadeddata = () => { video.hidden = false; };
  video.onerror = () => { video.hidden = true; }; // not a kind that this browser plays
  video.hidden = true;
  video.src = url;
  byId("result").hidden = false;
  byId("result").focus();
}

function showTimeline({ timeline, seconds, windows }) {
  byId("when").textContent = timeline.length
    ? `${windows} windows over ${seconds.toFixed(1)} s; click a stretch to see it.`
    : "No stretch of it has a label.";
  const labels = [...new Set(timeline.map((stretch) => stretch.label))];
  const rows = labels.map((label) => {
    const spans = make("div", { className: "spans" });
    for (const { start, end, score } of timeline.filter((stretch) => stretch.label === label)) {
      const said = `${label}, ${start.toFixed(1)} to ${end.toFixed(1)} s, ${(100 * score).toFixed(0)} %`;
      const button = make("button", { type: "button", title: said });
      button.setAttribute("aria-label", said);
      button.style.left = percent(start / seconds);
      button.style.width = percent((end - start) / seconds);
      button.style.opacity = 0.35 + 0.65 * score;
      button.addEventListener("click", () => { byId("video").currentTime = start; });
      spans.append(button);
    }
    return make("div", { className: "row" }, make("span", {}, label), spans);
  });
  const axis = make("div", { className: "axis" }, make("span", {}, "0 s"),
    make("span", {}, `${seconds.toFixed(1)} s`));
  if (rows.length) rows.push(make("div", { className: "row" }, make("span"), axis));
  byId("timeline").replaceChildren(...rows);
}

function percent(share) {
  return `${Math.min(100, Math.max(0, 100 * share))}%`;
}

function make(tag, properties = {}, ...content) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...content);
  return element;
}
