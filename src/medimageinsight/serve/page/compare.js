// Two of what was added side by side with their similarity, or every one with every one.

import { image } from "./api.js";
import { $, make, number, setOptions } from "./dom.js";
import { modelOf, usable } from "./items.js";
import { onChange, state } from "./state.js";
import { refresh } from "./view.js";

export const compare = {
  panel: $("compare"),
  working: "Comparing…",

  describe() {
    const all = usable();
    setSides(all);
    if (all.length < 2) return { missing: "Add two images, or an image and a text, to compare." };
    const body = $("every").checked
      ? { a: all.map(cell), ...modelOf() }
      : { a: [cell(side("first"))], b: [cell(side("second"))], ...modelOf() };
    return { requests: [{ method: "POST", path: "api/compare", body }] };
  },

  show([{ similarity }]) {
    const all = usable();
    const [first, second] = [side("first"), side("second")];
    const value = $("every").checked ? similarity[all.indexOf(first)][all.indexOf(second)] : similarity[0][0];
    showPair(first, second, value);
    $("matrix").hidden = !$("every").checked;
    $("matrix").replaceChildren(...($("every").checked ? [table(all, similarity)] : []));
    return `${first.name} and ${second.name}: ${number(value)}`;
  },

  clear() {
    $("pair").replaceChildren();
    $("matrix").replaceChildren();
    $("matrix").hidden = true;
  },
};

const cell = (item) => (item.kind === "text" ? { text: item.text } : { image: image(item), ...(item.frame ? { frame: item.frame } : {}) });
const side = (id) => state.items.find((item) => String(item.number) === $(id).value);

// The chosen item is the first; the one added last is the second, until someone chooses another.
function setSides(all) {
  const options = all.map((item) => [item.number, item.name]);
  const chosen = all.includes(state.selected) ? state.selected : all[0];
  const before = $("second").value;
  setOptions($("first"), options, $("first").dataset.own ? $("first").value : chosen?.number);
  setOptions($("second"), options, before);
  if (all.length > 1 && $("first").value === $("second").value) {
    $("second").value = all.findLast((item) => String(item.number) !== $("first").value).number;
  }
}

function showPair(first, second, value) {
  const scale = make("span", { class: "track", "aria-hidden": "true" }, make("span", { class: "fill" }));
  scale.firstElementChild.style.setProperty("--value", Math.max(0, value));
  $("pair").replaceChildren(
    show(first),
    make("p", { class: "similarity" }, make("strong", {}, number(value)), scale, make("span", { class: "soft" }, "cosine similarity")),
    show(second),
  );
}

function show(item) {
  const frame = item.frame ? `, frame ${item.frame + 1}` : "";
  if (item.kind === "text") return make("blockquote", { class: "side" }, item.text);
  const picture = make("div", { class: "picture large" }, item.picture ? make("img", { src: item.picture, alt: "" }) : "");
  return make("figure", { class: "side" }, picture, make("figcaption", {}, item.name + frame));
}

function table(all, similarity) {
  const names = all.map((item, i) => `${i + 1}`);
  const head = make("tr", {}, make("td", {}), ...names.map((name, i) => make("th", { scope: "col", title: all[i].name }, name)));
  const rows = all.map((item, i) => make("tr", {}, make("th", { scope: "row" }, `${names[i]} · ${item.name}`),
    ...similarity[i].map((value, j) => {
      const one = make("td", {}, make("button", {
        type: "button", "aria-label": `${item.name} and ${all[j].name}: ${number(value)}`, onclick: () => choose(item, all[j]),
      }, number(value, 2)));
      one.style.setProperty("--value", Math.max(0, Math.min(1, value)));
      return one;
    })));
  return make("table", { class: "matrix" }, make("thead", {}, head), make("tbody", {}, ...rows));
}

function choose(first, second) {
  $("first").dataset.own = "yes";
  $("first").value = first.number;
  $("second").value = second.number;
  refresh(compare);
}

$("first").addEventListener("change", () => {
  $("first").dataset.own = "yes";
  refresh(compare);
});
$("second").addEventListener("change", () => refresh(compare));
$("every").addEventListener("change", () => refresh(compare));
$("compare-form").addEventListener("submit", (event) => event.preventDefault());
onChange("selected", () => delete $("first").dataset.own);
