"use strict";
// The controls beside the image, and the keys: they tell the view what to show.

const find = (id) => document.getElementById(id);
const said = JSON.parse(find("said").textContent);
const view = new View(said);

function setWindow(low, high) {
  [find("low").value, find("high").value] = [Math.round(low * 10) / 10, Math.round(high * 10) / 10];
  const chosen = said.presets.findIndex(([, lower, upper]) => lower === low && upper === high);
  for (const [at, button] of [...find("presets").children].entries()) {
    button.setAttribute("aria-pressed", String(at === chosen));
  }
  view.setWindow(low, high);
}

function showLabels() {
  const shown = [...document.querySelectorAll(".label")].filter((box) => box.checked).map((box) => Number(box.value));
  view.setLabels(find("overlay").checked ? Number(find("opacity").value) : 0, new Set(shown));
}

function showDoubt() {
  view.setUncertainty(find("doubted").checked ? Number(find("doubt-opacity").value) : 0);
}

function showLayout(name) {
  find("stage").className = name === "Planes" ? "stage four" : "stage";
  for (const cell of find("stage").children) cell.hidden = name !== "Planes" && cell.dataset.cell !== name;
  for (const button of find("layouts").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.layout === name));
  }
}

function button(text, key, press) {
  const made = document.createElement("button");
  made.type = "button";
  const cap = document.createElement("kbd");
  cap.textContent = key;
  made.append(`${text} `, cap);
  made.addEventListener("mousedown", (event) => event.preventDefault()); // a click leaves the image its focus
  made.addEventListener("click", press);
  return made;
}

function press(key) {
  const preset = said.presets[Number(key) - 1];
  const layout = view.layouts.find(([, letter]) => letter === key.toUpperCase());
  if (preset) setWindow(preset[1], preset[2]);
  else if (key === "?") find("help").showModal();
  else if (key === "o" || key === "O") find("overlay").click();
  else if ((key === "u" || key === "U") && said.uncertainty) find("doubted").click();
  else if (layout) view.setLayout(layout[0]);
  else return view.key(key);
  return true;
}

// keys that scroll are the image's where it has the focus, arrows also where nothing has it; else tables and the page
// scroll by them
function isOurs({ key, target }) {
  if (find("stage").contains(target)) return true;
  return !/^(Arrow|Page)/.test(key) || (target === document.body && key.startsWith("Arrow"));
}

function listen() {
  said.presets.forEach(([name, low, high], at) => {
    find("presets").append(button(name, String(at + 1), () => setWindow(low, high)));
  });
  for (const [name, key] of view.layouts) {
    const made = button(name, key, () => view.setLayout(name));
    made.dataset.layout = name;
    find("layouts").append(made);
  }
  if (view.layouts.length === 0) {
    for (const [name, key, times] of [["Larger", "+", 1.25], ["Smaller", "−", 0.8], ["Whole", "0", 0]]) {
      find("layouts").append(button(name, key, () => view.enlarge(times)));
    }
  }
  const rows = [...view.keys, ["1 – 5", "window"], ["O", "mask on and off"]];
  if (said.uncertainty) rows.push(["U", "uncertainty on and off"]);
  for (const [keys, does] of [...rows, ["?", "this list"]]) {
    for (const [tag, text] of [["dt", keys], ["dd", does]]) {
      const made = document.createElement(tag);
      made.textContent = text;
      find("keys").append(made);
    }
  }
  find("doubt").hidden = !said.uncertainty;
  for (const id of ["low", "high"]) {
    find(id).addEventListener("change", () => {
      const [low, high] = [find("low").valueAsNumber, find("high").valueAsNumber];
      if (Number.isFinite(low) && Number.isFinite(high) && low !== high) setWindow(low, high);
    });
  }
  for (const box of [find("overlay"), find("opacity"), ...document.querySelectorAll(".label")]) {
    box.addEventListener("input", showLabels);
  }
  for (const box of [find("doubted"), find("doubt-opacity")]) box.addEventListener("input", showDoubt);
  find("help-button").addEventListener("click", () => find("help").showModal());
  find("solid-button")?.addEventListener("click", () => view.solid.open());
  // before NiiVue's own keys
  window.addEventListener("keydown", (event) => {
    const typed = event.target.matches?.("input[type=number], input[type=range]");
    if (typed || event.ctrlKey || event.altKey || event.metaKey || find("help").open) return;
    const pressed = isOurs(event) && press(event.key);
    if (pressed) event.preventDefault();
    if (pressed || event.target.tagName === "CANVAS") event.stopImmediatePropagation();
  }, true);
}

async function open() {
  const cells = Object.fromEntries([...find("stage").children].map((cell) => [cell.dataset.cell, cell.firstElementChild]));
  view.onPlace = (words) => { find("place").textContent = words; };
  view.onLayout = showLayout;
  await view.open(cells);
  listen();
  const [, low, high] = said.presets[said.preset];
  setWindow(low, high);
  showLabels();
  view.setLayout(view.isFlat ? said.flat : "Planes");
  view.tell(view.position);
  requestAnimationFrame(() => requestAnimationFrame(() => { document.documentElement.dataset.state = "ready"; }));
}

open().catch((error) => {
  document.documentElement.dataset.state = "failed";
  find("place").textContent = "";
  find("trouble").textContent = `The image can't be shown: ${error.message}. The preview and all numbers are below.`;
  find("trouble").hidden = false;
});
