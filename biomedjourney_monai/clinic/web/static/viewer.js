// The enlarged picture: zoom, pan, window and level. Every picture of a result is shown in the same view.
"use strict";

const FULL = { scale: 1, x: 0, y: 0, window: 1, level: 0.5 };
const viewer = { ...FULL, pictures: [], shown: 0, cut: 0 };

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function openViewer(pictures, shown, cut = 0) {  // pictures: [name, address, alt, mark] of each, the prior first
  viewer.pictures = pictures;
  at("large-before").src = pictures[0][1];  // shown to the left of the cut, a percentage of the width
  at("v-pictures").replaceChildren(...pictures.map(([name], index) => {
    const label = document.createElement("label"), radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: "enlarged", value: index, checked: index === shown });
    radio.addEventListener("change", () => showEnlarged(index));
    label.append(radio, element("span", "", name));
    return label;
  }));
  setView({ ...FULL, cut });
  showEnlarged(shown);
  at("large").showModal();
  at("viewer").focus();
}

function showEnlarged(index) {
  const [name, address, alt, mark] = viewer.pictures[index];
  viewer.shown = index;
  Object.assign(at("large-picture"), { src: address, alt });
  at("large-words").textContent = name;
  at("v-mark").textContent = mark;
}

function setView(change) {
  Object.assign(viewer, change);
  viewer.scale = clamp(viewer.scale, 1, 16);
  viewer.window = clamp(viewer.window, 0.02, 2);
  viewer.level = clamp(viewer.level, 0.02, 1);
  const frame = at("viewer").getBoundingClientRect(), room = (viewer.scale - 1) / 2;
  viewer.x = clamp(viewer.x, -room * frame.width, room * frame.width);
  viewer.y = clamp(viewer.y, -room * frame.height, room * frame.height);
  const filter = viewer.window === 1 && viewer.level === 0.5 ? "" : `brightness(${1 / (2 * viewer.level)}) contrast(${2 * viewer.level / viewer.window})`;
  for (const image of [at("large-picture"), at("large-before")]) {
    image.style.transform = `translate(${viewer.x}px, ${viewer.y}px) scale(${viewer.scale})`;
    image.style.filter = filter;
  }
  at("viewer").style.setProperty("--cut", `${viewer.cut}%`);
  at("v-line").hidden = viewer.cut === 0;
  at("v-cut").value = viewer.cut;
  at("v-window").value = viewer.window;
  at("v-level").value = viewer.level;
  at("v-scale").textContent = `${Math.round(viewer.scale * 100)} %`;
}

function zoom(factor, clientX = null, clientY = null) {
  const frame = at("viewer").getBoundingClientRect();
  const scale = clamp(viewer.scale * factor, 1, 16), ratio = scale / viewer.scale;
  const x = clientX === null ? 0 : clientX - frame.left - frame.width / 2;
  const y = clientY === null ? 0 : clientY - frame.top - frame.height / 2;
  setView({ scale, x: x - ratio * (x - viewer.x), y: y - ratio * (y - viewer.y) });
}

const VIEW_KEYS = {
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: () => setView(FULL),
  ArrowLeft: () => setView({ x: viewer.x + 40 }), ArrowRight: () => setView({ x: viewer.x - 40 }),
  ArrowUp: () => setView({ y: viewer.y + 40 }), ArrowDown: () => setView({ y: viewer.y - 40 }),
};

function startViewer() {
  const frame = at("viewer");
  let from = null;
  frame.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
  }, { passive: false });
  frame.addEventListener("pointerdown", (event) => {
    from = { x: event.clientX, y: event.clientY, view: { ...viewer }, grey: event.button === 2 || event.shiftKey };
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!from) return;
    const x = event.clientX - from.x, y = event.clientY - from.y;
    if (from.grey) setView({ window: from.view.window + x / 300, level: from.view.level + y / 300 });
    else setView({ x: from.view.x + x, y: from.view.y + y });
  });
  for (const kind of ["pointerup", "pointercancel"]) frame.addEventListener(kind, () => { from = null; });
  frame.addEventListener("contextmenu", (event) => event.preventDefault());
  frame.addEventListener("dblclick", () => setView(FULL));
  frame.addEventListener("keydown", (event) => {
    const act = VIEW_KEYS[event.key];
    if (!act || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    act();
  });
  at("v-in").addEventListener("click", () => zoom(1.25));
  at("v-out").addEventListener("click", () => zoom(0.8));
  at("v-reset").addEventListener("click", () => setView(FULL));
  at("v-cut").addEventListener("input", () => setView({ cut: Number(at("v-cut").value) }));
  at("v-window").addEventListener("input", () => setView({ window: Number(at("v-window").value) }));
  at("v-level").addEventListener("input", () => setView({ level: Number(at("v-level").value) }));
  at("v-close").addEventListener("click", () => at("large").close());
  at("large").addEventListener("click", (event) => { if (event.target === at("large")) at("large").close(); });
}
