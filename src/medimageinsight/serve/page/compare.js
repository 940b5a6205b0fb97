// Two of the added items side by side with their similarity, or the similarities of all pairs.

import { image } from "./api.js";
import { $, make, number, setOptions } from "./dom.js";
import { imageViewOf, modelOf, usable } from "./items.js";
import { onChange, state } from "./state.js";
import { refresh } from "./view.js";

export const compare = {
  panel: $("compare"),
  working: "Comparing…",

  describe() {
    const items = usable();
    setChoices(items);
    if (items.length < 2) return { missing: "Add two images, or an image and a text, to compare." };
    const body = $("all-pairs").checked
      ? { a: items.map(toRequest), ...modelOf() }
      : { a: [toRequest(chosen("first"))], b: [toRequest(chosen("second"))], ...modelOf() };
    return { requests: [{ method: "POST", path: "api/compare", body }] };
  },

  show([{ similarity }]) {
    const items = usable();
    const [first, second] = [chosen("first"), chosen("second")];
    const allPairs = $("all-pairs").checked;
    const value = allPairs ? similarity[items.indexOf(first)][items.indexOf(second)] : similarity[0][0];
    showPair(first, second, value);
    $("matrix").hidden = !allPairs;
    $("matrix").replaceChildren(...(allPairs ? [table(items, similarity)] : []));
    return `${first.name} and ${second.name}: ${number(value)}`;
  },

  clear() {
    $("pair").replaceChildren();
    $("matrix").replaceChildren();
    $("matrix").hidden = true;
  },
};

const toRequest = (item) => (item.kind === "text" ? { text: item.text } : { image: image(item), ...imageViewOf(item) });
const chosen = (id) => state.items.find((item) => String(item.number) === $(id).value);

// By default, the selected item is compared with the item that was added last.
function setChoices(items) {
  const options = items.map((item) => [item.number, item.name]);
  const selected = items.includes(state.selected) ? state.selected : items[0];
  setOptions($("first"), options, $("first").dataset.userChoice ? $("first").value : selected?.number);
  setOptions($("second"), options);
  if (items.length > 1 && $("first").value === $("second").value) {
    $("second").value = items.findLast((item) => String(item.number) !== $("first").value).number;
  }
}

function showPair(first, second, value) {
  const scale = make("span", { class: "track", "aria-hidden": "true" }, make("span", { class: "fill" }));
  scale.firstElementChild.style.setProperty("--value", Math.max(0, value));
  $("pair").replaceChildren(
    itemElement(first),
    make("p", { class: "similarity" }, make("strong", {}, number(value)), scale, make("span", { class: "soft" }, "cosine similarity")),
    itemElement(second),
  );
}

function itemElement(item) {
  if (item.kind === "text") return make("blockquote", { class: "pair-item" }, item.text);
  const frame = item.frame ? `, frame ${item.frame + 1}` : "";
  const box = make("div", { class: "image large" }, item.preview ? make("img", { src: item.preview, alt: "" }) : "");
  return make("figure", { class: "pair-item" }, box, make("figcaption", {}, item.name + frame));
}

function table(items, similarity) {
  const head = make("tr", {}, make("td", {}), ...items.map((item, i) => make("th", { scope: "col", title: item.name }, `${i + 1}`)));
  const rows = items.map((item, i) => make("tr", {}, make("th", { scope: "row" }, `${i + 1} · ${item.name}`),
    ...similarity[i].map((value, j) => {
      const cell = make("td", {}, make("button", {
        type: "button", "aria-label": `${item.name} and ${items[j].name}: ${number(value)}`, onclick: () => choose(item, items[j]),
      }, number(value, 2)));
      cell.style.setProperty("--value", Math.max(0, Math.min(1, value)));
      return cell;
    })));
  return make("table", { class: "matrix" }, make("thead", {}, head), make("tbody", {}, ...rows));
}

function choose(first, second) {
  $("first").dataset.userChoice = "yes";
  $("first").value = first.number;
  $("second").value = second.number;
  refresh(compare);
}

$("first").addEventListener("change", () => {
  $("first").dataset.userChoice = "yes";
  refresh(compare);
});
$("second").addEventListener("change", () => refresh(compare));
$("all-pairs").addEventListener("change", () => refresh(compare));
$("compare-form").addEventListener("submit", (event) => event.preventDefault());
onChange("selected", () => delete $("first").dataset.userChoice);
