// The page's script. Texts reach the page through textContent only, pictures as data URIs from this server.
"use strict";

const data = JSON.parse(document.getElementById("page-data").textContent);
const at = (id) => document.getElementById(id);
const state = { file: null, box: null, running: null, result: null, inspecting: null, example: null, results: [] };
const MAX_RESULTS = 12, MAX_RESULT_BYTES = 250e6;  // kept in this page's memory

// ---- the prior

async function takeFile(file) {
  state.file = null; state.box = null; state.example = null;
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
  state.example = number;
  keepForm();
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
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] }[event.key];
    if (region() !== "box" || !step) return;
    event.preventDefault();
    state.box = state.box ? movedBox(state.box, step, event.shiftKey) : [0.25, 0.25, 0.75, 0.75];
    showBox();
    ready();
  });
  window.addEventListener("resize", showBox);
}

function movedBox([left, top, right, bottom], [x, y], resize) {
  const within = (value, low, high) => Math.min(high, Math.max(low, value));
  if (resize) return [left, top, within(right + x, left + 0.02, 1), within(bottom + y, top + 0.02, 1)];
  const dx = within(x, -left, 1 - right), dy = within(y, -top, 1 - bottom);
  return [left + dx, top + dy, right + dx, bottom + dy];
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
  at("box-words").textContent = `From ${percent(left)} to ${percent(right)} of the width and ${percent(top)} to ${percent(bottom)} of the height.`;
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
  keepForm();
  ready();
}

// ---- the form, over a reload: kept in this tab, without the image

const FIELDS = ["description", "seed", "steps", "samples", "text_guidance_scale", "image_guidance_scale", "s-change", "s-finding", "s-severity", "s-side"];

function keepForm() {
  const values = Object.fromEntries(FIELDS.map((id) => [id, at(id).value]));
  const kept = { values, region: region(), verbatim: at("verbatim").checked, example: state.example, had: state.file !== null };
  try { sessionStorage.setItem("form", JSON.stringify(kept)); } catch { /* a browser without storage keeps nothing */ }
}

function restoreForm() {
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem("form")); } catch { /* as above */ }
  if (!kept) return;
  for (const id of ["s-change", "s-finding"]) at(id).value = kept.values[id];
  fillChoices();
  for (const id of FIELDS) if (kept.values[id] !== undefined) at(id).value = kept.values[id];
  at("suggested").textContent = suggestion()?.sentence ?? "";
  at("verbatim").checked = kept.verbatim;
  const chosen = document.querySelector(`input[name=region][value="${CSS.escape(kept.region)}"]`);
  if (chosen) chosen.checked = true;
  showRegion();
  if (kept.example !== null) takeExample(kept.example);
  else if (kept.had) say("prior-messages", [["hint", "Choose the prior again: the page does not keep images over a reload."]]);
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
  if (line.state === "done") takeResult(line.result, asked.description.trim());
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

function takeResult(result, description) {
  const files = {};
  let bytes = 0;
  for (const [name, type] of Object.values(KINDS)) {
    const content = Uint8Array.from(atob(result.files[name]), (letter) => letter.charCodeAt(0));
    bytes += content.length;
    files[name] = URL.createObjectURL(new Blob([content], { type }));
  }
  delete result.files;
  const made = { result, description, files, bytes };
  state.results.push(made);
  const sum = () => state.results.reduce((total, one) => total + one.bytes, 0);
  while (state.results.length > 1 && (state.results.length > MAX_RESULTS || sum() > MAX_RESULT_BYTES)) {
    Object.values(state.results.shift().files).forEach((address) => URL.revokeObjectURL(address));
  }
  showResult(made);
  at("result").scrollIntoView({ behavior: "smooth", block: "start" });
  at("result-title").focus({ preventScroll: true });
}

function showHistory() {
  at("history").hidden = state.results.length < 2;
  at("history-shown").replaceChildren(...state.results.map((made, index) => {
    const button = element("button"), image = new Image();
    button.type = "button";
    button.title = made.description;
    button.setAttribute("aria-label", `Result ${index + 1}: ${made.description}, seed ${made.result.seeds[0]}`);
    if (made.result === state.result) button.setAttribute("aria-current", "true");
    image.src = made.result.shown.counterfactual;
    image.alt = "";
    button.append(image, element("span", "", made.description), element("span", "", `seed ${made.result.seeds[0]}`));
    button.addEventListener("click", () => { showResult(made); at("result-title").focus({ preventScroll: true }); });
    return button;
  }));
}

function showResult({ result, description, files }) {
  state.result = result;
  at("empty").hidden = true;
  at("result").hidden = false;
  at("r-description").textContent = description;
  at("r-facts").textContent = `${result.size.width} × ${result.size.height} pixels, made at ${result.size.made_at} × ${result.size.made_at}; seed ${result.seeds[0]}` + (result.seeds.length > 1 ? ` (the first of ${result.seeds.length} samples)` : "");
  at("understood").textContent = result.understood;
  const said = result.warnings.map((text) => ["warning", text]);
  if (result.overruled) said.unshift(["warning", `A refusal was overruled (${result.overruled}); the pictures’ metadata record it.`]);
  say("r-messages", said);
  for (const name of ["prior", "counterfactual", "difference"]) at(`p-${name}`).src = result.shown[name];
  showHeatChoice(result);
  showSpread(result);
  showBars(result);
  for (const [id, [name]] of Object.entries(KINDS)) at(id).href = files[name];
  showHistory();
  compare();
  const facts = Object.entries(result.facts).flatMap(([name, value]) => [element("dt", "", name.replaceAll("_", " ")), element("dd", "", value)]);
  at("r-made").replaceChildren(...facts);
}

function showHeatChoice(result) {
  const names = Object.keys(result.heat), choice = document.createElement("select");
  at("f-heat").hidden = at("against-heat").hidden = names.length === 0;
  if (names.length === 0) {
    at("p-heat").removeAttribute("src");
    document.querySelector("input[name=against][value=counterfactual]").checked = true;
    return;
  }
  choice.setAttribute("aria-label", "Finding of the heat map");
  choice.append(...names.map((name) => new Option(name.toLowerCase(), name)));
  choice.addEventListener("change", () => { at("p-heat").src = result.heat[choice.value]; compare(); });
  at("heat-choice").replaceChildren(names.length > 1 ? choice : document.createTextNode(`${names[0].toLowerCase()};`));
  at("p-heat").src = result.heat[names[0]];
}

const heatFinding = () => at("heat-choice").querySelector("select")?.value.toLowerCase() ?? at("heat-choice").textContent.replace(";", "");

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
  at("no-judge").hidden = result.judge !== null;
  at("judged").hidden = result.judge === null;
  at("judge-name").textContent = result.judge ?? "";
  at("unjudged").hidden = result.unjudged.length === 0;
  at("unjudged-names").textContent = result.unjudged.join(", ");
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

function enlarge(picture, cut = 0) {
  const buttons = [...document.querySelectorAll(".enlarge")].filter((one) => !one.parentElement.hidden);
  openViewer(buttons.map((one) => {
    const image = one.querySelector("img"), title = one.parentElement.querySelector("figcaption b").textContent;
    const name = image.id === "p-heat" ? `${title}: ${heatFinding()}` : title;
    return [name, image.src, image.alt, image.id === "p-prior" ? "PRIOR" : "SYNTHETIC"];
  }), buttons.indexOf(picture.closest(".enlarge")), cut);
}

function showRegion() {
  const is = region() === "box";
  at("box-hint").hidden = !is;
  at("stage").classList.toggle("drawing", is);
  if (is) at("stage").tabIndex = 0; else at("stage").removeAttribute("tabindex");
  showBox();
  ready();
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
    choice.addEventListener("change", showRegion);
  }
  for (const button of document.querySelectorAll(".enlarge")) button.addEventListener("click", () => enlarge(button));
  at("w-large").addEventListener("click", () => enlarge(at(`p-${document.querySelector("input[name=against]:checked").value}`), 50));
  for (const choice of document.querySelectorAll("input[name=against]")) choice.addEventListener("change", compare);
  at("dice").addEventListener("click", () => { at("seed").value = Math.floor(Math.random() * 1e6); keepForm(); });
  for (const kind of ["input", "change"]) at("form").addEventListener(kind, keepForm);
  at("form").addEventListener("submit", ask);
  at("cancel").addEventListener("click", () => state.running?.abort());
  fillChoices();
  drawBox();
  wipe();
  startViewer();
  restoreForm();
  for (const id of ["text_guidance_scale", "image_guidance_scale"]) at(id).dispatchEvent(new Event("input"));
  ready();
}

start();
