// How images and texts come in: dropped anywhere, chosen, pasted, typed. And the list of them, with the chosen one large.

import { $, make } from "./dom.js";
import { addFiles, addText, remove, select, setFrame } from "./items.js";
import { onChange, state } from "./state.js";

$("choose").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => {
  addFiles($("files").files);
  $("files").value = ""; // so that the same file may be chosen again
});
$("text-form").addEventListener("submit", (event) => {
  event.preventDefault();
  addText($("text").value);
  $("text").value = "";
});

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  $("veil").hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("veil").hidden = true; // it left the window
});
document.addEventListener("drop", (event) => {
  $("veil").hidden = true;
  if (!hasFiles(event)) return;
  event.preventDefault();
  addFiles(event.dataTransfer.files);
});

document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) {
    event.preventDefault();
    addFiles(event.clipboardData.files);
  } else if (!event.target.closest?.("input, textarea")) {
    addText(event.clipboardData.getData("text/plain"));
  }
});

function showItems() {
  $("items").replaceChildren(...state.items.map(entry));
  showViewer();
}

function entry(item) {
  const chosen = item === state.selected;
  return make("li", { class: item.error ? "refused" : "" },
    make("button", { type: "button", class: "item", "aria-pressed": String(chosen), onclick: () => choose(item) },
      thumbnail(item),
      make("span", { class: "item-words" }, make("span", { class: "item-name" }, item.name), make("span", { class: "soft" }, about(item)))),
    make("button", { type: "button", class: "quiet", "aria-label": `Remove ${item.name}`, onclick: () => take(item) }, "×"));
}

function thumbnail(item) {
  if (item.kind === "text") return make("span", { class: "thumb text", "aria-hidden": "true" }, "T");
  if (item.error) return make("span", { class: "thumb", "aria-hidden": "true" }, "!");
  return make("span", { class: "thumb" }, item.picture ? make("img", { src: item.picture, alt: "" }) : "");
}

function about(item) {
  if (item.kind === "text") return "text";
  if (item.error) return item.error.message;
  if (!item.picture) return item.unseen ? "not looked at yet" : "…";
  return item.frames > 1 ? `${size(item)}, frame ${item.frame + 1} of ${item.frames}` : size(item);
}

const size = (item) => `${item.width} × ${item.height}`;

// The list is drawn anew, so the focus is set anew.
function choose(item) {
  select(item);
  $("items").children[state.items.indexOf(item)]?.querySelector(".item").focus();
}

function take(item) {
  const at = state.items.indexOf(item);
  remove(item);
  const next = $("items").children[Math.min(at, state.items.length - 1)];
  (next?.querySelector(".item") ?? $("choose")).focus();
}

function showViewer() {
  const item = state.selected;
  const seen = item?.kind === "image" && item.picture && !item.error;
  $("viewer").hidden = !seen;
  if (!seen) return;
  const [height, width] = item.modelSize;
  $("viewer-picture").src = item.picture;
  $("viewer-picture").alt = `${item.name} as the model sees it`;
  $("viewer-caption").textContent = `As the model sees it: ${width} × ${height}`;
  $("frame-field").hidden = item.frames < 2;
  $("frame").max = item.frames;
  $("frame").value = item.frame + 1;
  sayFrame();
}

function sayFrame() {
  $("frame-shown").textContent = `${$("frame").value} of ${$("frame").max}`;
}

$("frame").addEventListener("input", sayFrame);
$("frame").addEventListener("change", () => setFrame(state.selected, $("frame").valueAsNumber - 1));
onChange("items", () => {
  const held = document.activeElement?.closest?.("#items li");
  const at = held ? [...$("items").children].indexOf(held) : -1;
  showItems();
  if (at >= 0) $("items").children[at]?.querySelector(".item").focus();
});
