// The window of the selected image: which of its grey values are shown, and embedded, from black to white.

import { $, make } from "./dom.js";
import { setWindow } from "./items.js";
import { onChange, state } from "./state.js";

// Windows of two numbers, by the value of their option.
const NUMBERS = {
  "center-width": { labels: ["Center", "Width"], defaults: [40, 400], text: (center, width) => `${center}/${width}` },
  "percentiles": { labels: ["From %", "To %"], defaults: [1, 99], text: (low, high) => `${low}%-${high}%` },
};

function showWindow() {
  const item = state.selected;
  if (item?.kind !== "image") return;
  const presets = state.about?.windows ?? [];
  $("window").replaceChildren(
    new Option("the file's default", ""),
    group("Windows of the file", item.windows.map((name, index) => [index, name])),
    group("Presets in Hounsfield units", presets.map((name) => [name, name])),
    group("Numbers", [["center-width", "center and width"], ["percentiles", "percentiles"]]),
  );
  $("window").value = item.windowChoice;
  showNumbers(item);
  $("window-note").textContent = [item.windowError, ...item.warnings].map((note) => note?.message).filter(Boolean).join(" ");
}

function group(label, options) {
  return options.length ? make("optgroup", { label }, ...options.map(([value, text]) => new Option(text, value))) : "";
}

let numbersOf = {}; // the image and choice whose numbers the inputs have

function showNumbers(item) {
  const numbers = NUMBERS[item.windowChoice];
  $("window-values").hidden = !numbers;
  if (numbers && item === numbersOf.item && item.windowChoice === numbersOf.choice) return; // someone may be typing
  numbersOf = { item, choice: item.windowChoice };
  if (!numbers) return;
  for (const [i, input] of [$("window-first"), $("window-second")].entries()) {
    input.previousElementSibling.textContent = numbers.labels[i];
    if (item.windowNumbers?.choice !== item.windowChoice) input.value = numbers.defaults[i];
    else input.value = item.windowNumbers.values[i];
  }
}

function applyNumbers(item) {
  const values = [$("window-first").value, $("window-second").value];
  item.windowNumbers = { choice: item.windowChoice, values };
  setWindow(item, NUMBERS[item.windowChoice].text(...values));
}

$("window").addEventListener("change", () => {
  const item = state.selected;
  item.windowChoice = $("window").value;
  showNumbers(item);
  if (NUMBERS[item.windowChoice]) applyNumbers(item);
  else setWindow(item, item.windowChoice || null);
});
$("window-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (NUMBERS[state.selected?.windowChoice]) applyNumbers(state.selected);
});
onChange("items", showWindow);
