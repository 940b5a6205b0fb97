// The tab of stored cases that are similar to the selected image or text, or to a stored case.

import { image } from "./api.js";
import { openCase } from "./case.js";
import { $, make, number, setOptions } from "./dom.js";
import { addSuggestions, clearFilterError, setColumns, showFilterError, where } from "./filters.js";
import { addText, choiceOf } from "./items.js";
import { onChange, state } from "./state.js";
import { showStatus } from "./status.js";
import { showStoredImage } from "./stored_images.js";
import { empty, refresh } from "./view.js";

let like = null; // { id, excluded }: a stored case that is searched for instead of the selected item

export const similar = {
  panel: $("similar"),
  needsStore: true,
  working: "Searching…",

  describe() {
    const item = state.selected;
    showLike();
    if (!like && !item) return { missing: "Add an image, or search by text." };
    if (!like && item.error) return { missing: `${item.name}: ${item.error.message}`, bad: true };
    const k = $("k").valueAsNumber;
    if (!(k >= 1)) return { missing: "Give how many cases to show, 1 or more." };
    const minScore = $("min-score").valueAsNumber;
    const body = {
      store: $("store").value,
      ...query(item),
      k,
      ...(Number.isNaN(minScore) ? {} : { min_score: minScore }),
      ...(where() ? { where: where() } : {}),
    };
    return { requests: [{ method: "POST", path: "api/search", body }] };
  },

  show([{ hits }]) {
    clearFilterError();
    addSuggestions(hits);
    $("hits").replaceChildren(...hits.map(card));
    if (!hits.length) return "No case matches: lower the minimum score, or relax the filter.";
    return `${hits.length} ${hits.length === 1 ? "case" : "cases"}, the most similar first`;
  },

  clear: () => empty("hits"),

  // Show an error of the filter at its field.
  handleError(error) {
    if (error.code !== "filter_invalid") return false;
    showFilterError(error);
    showStatus("The filter cannot be read.", { bad: true });
    return true;
  },
};

function query(item) {
  if (like) return { id: like.id, ...(like.excluded ? { "other_than_same": like.excluded } : {}) };
  return item.kind === "text" ? { text: item.text } : { image: image(item), ...choiceOf(item) };
}

function card(hit) {
  const store = $("store").value;
  const imageBox = make("span", { class: "image" });
  showStoredImage(imageBox, store, hit.id, 256);
  const caption = $("caption").value;
  const label = caption === "id" ? hit.id : hit.metadata[caption];
  return make("li", {}, make(
    "button",
    { type: "button", class: "hit", onclick: () => openCase(store, hit, { score: hit.score, onMore: moreLike }) },
    imageBox,
    make("span", { class: "hit-line" },
      make("span", { class: "hit-label" }, label === null || label === undefined ? "–" : String(label)),
      make("span", { class: "hit-score" }, make("span", { class: "visually-hidden" }, "score "), number(hit.score, 3))),
    caption === "id" ? null : make("span", { class: "hit-id", title: hit.id }, hit.id.split("/").at(-1)),
  ));
}

export function moreLike({ store, id, excluded }) {
  if ($("store").value !== store) {
    $("store").value = store;
    chooseStore();
  }
  like = { id, excluded };
  $("tab-similar").click();
  $("hits-title").focus();
}

function showLike() {
  $("like").hidden = !like;
  $("like-words").textContent = like ? `Like ${like.id}${like.excluded ? `, not of the same ${like.excluded}` : ""}` : "";
}

function chooseStore() {
  const { columns = {} } = state.about.stores.find(({ name }) => name === $("store").value) ?? {};
  setColumns(columns);
  const names = Object.keys(columns);
  const preferred = ["label", "modality", "Modality", "finding"].find((name) => names.includes(name)) ?? names[0] ?? "id";
  setOptions($("caption"), [...names.map((name) => [name]), ["id"]], preferred);
}

$("similar-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("query").value;
  if (!text.trim()) {
    refresh(similar, { force: true });
    return;
  }
  $("query").value = "";
  addText(text); // selects the text, which starts the search
});
for (const id of ["k", "min-score", "where", "caption"]) $(id).addEventListener("change", () => refresh(similar));
$("store").addEventListener("change", () => {
  like = null;
  chooseStore();
  refresh(similar);
});
$("unlike").addEventListener("click", () => {
  like = null;
  refresh(similar);
  $("hits-title").focus();
});

onChange("selected", () => {
  like = null;
});
onChange("about", () => {
  setOptions($("store"), state.about.stores.map(({ name, count }) => [name, `${name} (${count.toLocaleString("en")})`]));
  if (state.about.stores.length) chooseStore();
});
