// The page's script. Texts reach the page through textContent only, pictures as data URIs from this server.
"use strict";

const data = JSON.parse(document.getElementById("page-data").textContent);
const at = (id) => document.getElementById(id);
const state = { file: null, box: null, running: null, result: null, inspecting: null };

// ---- the prior

async function takeFile(file) {
  state.file = null; state.box = null;
  state.inspecting?.abort();
  for (const id of ["loaded", "force-line", "box"]) at(id).hidden = true;
  at("force").checked = false;
  say("prior-messages", []);
  ready();
  if (!file) return;
  if (file.size > data.max_bytes) {
    return say("prior-messages", [["error", `This file has ${Math.round(file.size / 1048576)} MB; an upload must have at most ${Math.round(data.max_bytes / 1048576)} MB.`]]);
  }
  const control = state.inspecting = new AbortController();
  say("prior-messages", [["hint", "Reading …"]]);
  try {
    const answer = await fetch("/api/inspect", { method: "POST", body: file, signal: control.signal, headers: { "Content-Type": "application/octet-stream" } });
    const seen = await answer.json();
    if (!answer.ok) return say("prior-messages", [["error", seen.message]]);
    showPrior(file, seen);
  } catch (error) {
    if (error.name !== "AbortError") say("prior-messages", [["error", "The server did not answer. Is it still running?"]]);
  }
}

function showPrior(file, seen) {
  state.file = file;
  at("preview").src = seen.preview;
  at("loaded").hidden = false;
  at("drop").classList.add("slim");
  at("prior-facts").textContent = `${seen.kind}, ${seen.width} × ${seen.height} pixels. Image left is the patient’s right.`;
  const lines = seen.warnings.map((text) => ["warning", text]);
  if (seen.refusal) lines.unshift(["error", seen.refusal.message]);
  at("force-line").hidden = !seen.refusal;
  say("prior-messages", lines);
  ready();
}

async function takeExample(number) {
  say("prior-messages", [["hint", "Rendering …"]]);
  const answer = await fetch(`/examples/${number}.png`);
  at("file").value = "";
  await takeFile(await answer.blob());
}

// ---- the box

function drawBox() {
  const stage = at("stage");
  let start = null;
  const place = (event) => {
    const frame = imageFrame();
    return [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height].map((share) => Math.min(1, Math.max(0, share)));
  };
  stage.addEventListener("pointerdown", (event) => {
    if (region() !== "box") return;
    start = place(event);
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!start) return;
    const end = place(event);
    state.box = [Math.min(start[0], end[0]), Math.min(start[1], end[1]), Math.max(start[0], end[0]), Math.max(start[1], end[1])];
    showBox();
  });
  stage.addEventListener("pointerup", () => { start = null; ready(); });
  window.addEventListener("resize", showBox);
}

function imageFrame() {  // the image's position inside its element, which keeps the aspect ratio
  const image = at("preview"), frame = image.getBoundingClientRect();
  const factor = Math.min(frame.width / image.naturalWidth, frame.height / image.naturalHeight);
  const width = image.naturalWidth * factor, height = image.naturalHeight * factor;
  return { left: frame.left + (frame.width - width) / 2, top: frame.top + (frame.height - height) / 2, width, height };
}

function showBox() {
  const shown = region() === "box" && state.box !== null;
  at("box").hidden = !shown;
  if (!shown) return;
  const frame = imageFrame(), stage = at("stage").getBoundingClientRect();
  const [left, top, right, bottom] = state.box, style = at("box").style;
  style.left = `${frame.left - stage.left + left * frame.width}px`;
  style.top = `${frame.top - stage.top + top * frame.height}px`;
  style.width = `${(right - left) * frame.width}px`;
  style.height = `${(bottom - top) * frame.height}px`;
}

const region = () => document.querySelector("input[name=region]:checked").value;

// ---- the description

function suggestion() {
  const [change, finding, severity, side] = ["s-change", "s-finding", "s-severity", "s-side"].map((id) => at(id).value);
  return data.suggestions.find((one) => one.change === change && one.finding === finding && one.severity === severity && one.side === side);
}

function fillChoices() {
  const fitting = data.suggestions.filter((one) => one.change === at("s-change").value && one.finding === at("s-finding").value);
  for (const [id, key] of [["s-severity", "severity"], ["s-side", "side"]]) {
    const kept = at(id).value, values = [...new Set(fitting.map((one) => one[key]))];
    at(id).replaceChildren(...values.map((value) => new Option(value || "–", value)));
    if (values.includes(kept)) at(id).value = kept;
    at(id).disabled = values.length === 1;
  }
  at("suggested").textContent = suggestion().sentence;
}

function useSuggestion(alone) {
  const before = alone ? "" : at("description").value.trim();
  at("description").value = [before, suggestion().sentence].filter(Boolean).join(" ");
  ready();
}

// ---- the request

function settings() {
  const number = (id) => at(id).value.trim() === "" ? null : Number(at(id).value);
  const asked = { description: at("description").value, region: region(), box: state.box, force: at("force").checked, verbatim: at("verbatim").checked };
  for (const id of ["seed", "steps", "samples", "text_guidance_scale", "image_guidance_scale"]) asked[id] = number(id);
  return asked;
}

async function ask(event) {
  event.preventDefault();
  if (!state.file || state.running) return;
  const asked = settings(), control = new AbortController();
  state.running = control;
  working(true);
  say("messages", []);
  try {
    const body = new Blob([JSON.stringify(asked), "\n", state.file]);
    const answer = await fetch("/api/make", { method: "POST", body, signal: control.signal, headers: { "Content-Type": "application/octet-stream" } });
    if (!answer.ok) return say("messages", [["error", (await answer.json()).message]]);
    let ended = false;
    for await (const line of lines(answer.body)) ended = follow(line, asked) || ended;
    if (!ended) say("messages", [["error", "The server stopped before the request was complete."]]);
  } catch (error) {
    say("messages", error.name === "AbortError" ? [["warning", "Cancelled. Nothing was made."]] : [["error", "The server did not answer. Is it still running?"]]);
  } finally {
    state.running = null;
    working(false);
  }
}

async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

function follow(line, asked) {
  const bar = at("bar");
  if (line.state === "waiting") progress(null, `Waiting: ${line.ahead} ${line.ahead === 1 ? "request" : "requests"} ahead.`);
  if (line.state === "reading") progress(null, "Reading the prior …");
  if (line.state === "sampling") progress(line.done / line.steps, `Sampling: step ${line.done} of ${line.steps}`);
  if (line.state === "judging") progress(1, "Judging …");
  if (line.state === "error") say("messages", [["error", line.message]]);
  if (line.state === "done") showResult(line.result, asked);
  return line.state === "done" || line.state === "error";
}

function progress(share, words) {
  if (share === null) at("bar").removeAttribute("value"); else at("bar").value = share;
  at("state").textContent = words;
}

function working(is) {
  document.body.classList.toggle("busy", is);
  at("go").hidden = is;
  at("cancel").hidden = !is;
  at("progress").hidden = !is;
  if (is) progress(null, "Sending …");
  ready();
}

function ready() {
  const missing = !state.file ? "Choose a prior first" : !at("description").value.trim() ? "Describe the change" : region() === "box" && !state.box ? "Draw the box first" : "";
  at("go").disabled = Boolean(missing);
  at("go").textContent = missing || "Make the counterfactual";
}

// ---- the answer

function showResult(result, asked) {
  state.result = result;
  at("empty").hidden = true;
  at("result").hidden = false;
  at("r-description").textContent = asked.description.trim();
  at("r-facts").textContent = `${result.size.width} × ${result.size.height} pixels, made at ${result.size.made_at} × ${result.size.made_at}; seed ${result.seeds[0]}` + (result.seeds.length > 1 ? ` (the first of ${result.seeds.length} samples)` : "");
  at("understood").textContent = result.understood;
  const said = result.warnings.map((text) => ["warning", text]);
  if (result.overruled) said.unshift(["warning", `A refusal was overruled (${result.overruled}); the pictures’ metadata record it.`]);
  say("r-messages", said);
  for (const name of ["prior", "counterfactual", "difference"]) at(`p-${name}`).src = result.shown[name];
  showHeatChoice(result);
  showSpread(result);
  showBars(result);
  showDownloads(result.files);
  compare();
  const facts = Object.entries(result.facts).flatMap(([name, value]) => [element("dt", "", name.replaceAll("_", " ")), element("dd", "", value)]);
  at("r-made").replaceChildren(...facts);
  at("result").scrollIntoView({ behavior: "smooth", block: "nearest" });
}

function showHeatChoice(result) {
  const names = Object.keys(result.heat), choice = document.createElement("select");
  choice.setAttribute("aria-label", "Finding of the heat map");
  choice.append(...names.map((name) => new Option(name.toLowerCase(), name)));
  choice.addEventListener("change", () => { at("p-heat").src = result.heat[choice.value]; compare(); });
  at("heat-choice").replaceChildren(names.length > 1 ? choice : document.createTextNode(`${names[0].toLowerCase()};`));
  at("p-heat").src = result.heat[names[0]];
}

const heatFinding = () => at("heat-choice").querySelector("select")?.value.toLowerCase() ?? at("heat-choice").textContent;

function showSpread(result) {
  at("f-spread").hidden = at("f-samples").hidden = result.spread === null;
  if (result.spread === null) return;
  at("p-spread").src = result.spread;
  at("spread-words").textContent = `standard deviation of ${result.seeds.length} samples, 0 to ${result.highest_deviation.toFixed(2)}`;
  at("samples-shown").replaceChildren(...result.samples.map((uri, index) => {
    const figure = element("figure"), image = new Image();
    image.src = uri;
    image.alt = `Sample with seed ${result.seeds[index]}, synthetic`;
    figure.append(image, element("figcaption", "", `seed ${result.seeds[index]}`));
    return figure;
  }));
}

function showBars(result) {
  const several = result.seeds.length > 1;
  at("whisker-key").hidden = !several;
  at("bars").replaceChildren(...result.findings.map((row) => {
    const line = element("div", row.asked ? "finding asked" : "finding"), top = element("div", "finding-top");
    top.append(element("b", "", row.finding), element("span", "", `${percent(row.before)} → ${percent(row.after)}`));
    line.append(top, track("before", row.before), track("after", row.after, several ? [row.lowest, row.highest] : null));
    return line;
  }));
}

function track(kind, value, range = null) {
  const line = element("div", "track"), bar = element("i", kind);
  bar.style.width = `${value * 100}%`;
  line.append(bar);
  if (range) {
    const whisker = element("i", "whisker");
    whisker.style.left = `${range[0] * 100}%`;
    whisker.style.right = `${100 - range[1] * 100}%`;
    line.append(whisker);
  }
  return line;
}

const percent = (value) => `${Math.round(value * 100)} %`;

const KINDS = { "d-png": ["counterfactual.png", "image/png"], "d-dicom": ["counterfactual.dcm", "application/dicom"], "d-report": ["report.html", "text/html"], "d-all": ["all.zip", "application/zip"] };

function showDownloads(files) {
  for (const [id, [name, type]] of Object.entries(KINDS)) {
    if (at(id).href) URL.revokeObjectURL(at(id).href);
    const bytes = Uint8Array.from(atob(files[name]), (letter) => letter.charCodeAt(0));
    at(id).href = URL.createObjectURL(new Blob([bytes], { type }));
  }
}

function compare() {
  const against = document.querySelector("input[name=against]:checked").value;
  at("w-before").src = at("p-prior").src;
  at("w-after").src = at(`p-${against}`).src;
  at("w-name").textContent = against === "heat" ? "heat map" : against;
}

function wipe() {
  const place = (share) => {
    at("cut").value = share;
    at("wipe").style.setProperty("--cut", `${share}%`);
  };
  at("cut").addEventListener("input", () => place(at("cut").value));
  const follow = (event) => {
    const frame = at("wipe").getBoundingClientRect();
    place(Math.min(100, Math.max(0, 100 * (event.clientX - frame.left) / frame.width)));
  };
  at("wipe").addEventListener("pointerdown", (event) => { at("wipe").setPointerCapture(event.pointerId); follow(event); });
  at("wipe").addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
}

function enlarge(button) {
  const caption = button.parentElement.querySelector("figcaption");
  at("large-picture").src = button.querySelector("img").src;
  at("large-picture").alt = button.querySelector("img").alt;
  at("large-words").textContent = [...caption.childNodes].map((node) => node.tagName === "SPAN" && node.id === "heat-choice" ? heatFinding() : node.textContent).join(" ");
  at("large").showModal();
}

// ---- helper functions and start

function element(name, kind = "", text = "") {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text;
  return made;
}

function say(id, said) {
  at(id).replaceChildren(...said.map(([kind, text]) => element("p", kind, text.charAt(0).toUpperCase() + text.slice(1))));
}

function start() {
  for (const [id, value] of Object.entries(data.defaults)) at(id).value = value;
  for (const [id, shown] of [["text_guidance_scale", "o-text"], ["image_guidance_scale", "o-image"]]) {
    const show = () => { at(shown).textContent = Number(at(id).value).toFixed(1); };
    at(id).addEventListener("input", show);
    show();
  }
  at("file").addEventListener("change", () => takeFile(at("file").files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    at("drop").addEventListener(kind, (event) => { event.preventDefault(); at("drop").classList.toggle("over", kind === "dragover"); });
  }
  at("drop").addEventListener("drop", (event) => takeFile(event.dataTransfer.files[0]));
  for (const button of document.querySelectorAll("[data-example]")) button.addEventListener("click", () => takeExample(button.dataset.example));
  for (const id of ["s-change", "s-finding", "s-severity", "s-side"]) at(id).addEventListener("change", fillChoices);
  at("add").addEventListener("click", () => useSuggestion(false));
  at("replace").addEventListener("click", () => useSuggestion(true));
  at("description").addEventListener("input", ready);
  for (const choice of document.querySelectorAll("input[name=region]")) {
    choice.addEventListener("change", () => {
      at("box-hint").hidden = region() !== "box";
      at("stage").classList.toggle("drawing", region() === "box");
      showBox();
      ready();
    });
  }
  for (const button of document.querySelectorAll(".enlarge")) button.addEventListener("click", () => enlarge(button));
  at("large").addEventListener("click", () => at("large").close());
  for (const choice of document.querySelectorAll("input[name=against]")) choice.addEventListener("change", compare);
  at("dice").addEventListener("click", () => { at("seed").value = Math.floor(Math.random() * 1e6); });
  at("form").addEventListener("submit", ask);
  at("cancel").addEventListener("click", () => state.running?.abort());
  fillChoices();
  drawBox();
  wipe();
  ready();
}

start();
