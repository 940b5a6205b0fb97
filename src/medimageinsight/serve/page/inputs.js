// Input of images and texts: dropped, chosen, pasted or typed. And their list, with the selected image large.

import { $, make } from "./dom.js";
import { chosenFolder, droppedFolders } from "./folders.js";
import { addFiles, addFolder, addText, remove, select, setFrame } from "./items.js";
import { onChange, state } from "./state.js";

$("choose").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => {
  addFiles($("files").files);
  $("files").value = ""; // so that the same file may be chosen again
});
$("choose-folder").addEventListener("click", () => $("folder").click());
$("folder").addEventListener("change", () => {
  if ($("folder").files.length) addFolder(chosenFolder($("folder").files));
  $("folder").value = "";
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
  if (!event.relatedTarget) $("veil").hidden = true; // the pointer left the window
});
document.addEventListener("drop", (event) => {
  $("veil").hidden = true;
  if (!hasFiles(event)) return;
  event.preventDefault();
  const folders = droppedFolders(event.dataTransfer);
  const names = new Set(folders.map(({ name }) => name));
  addFiles([...event.dataTransfer.files].filter((file) => !names.has(file.name)));
  for (const folder of folders) addFolder(folder);
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
  const selected = item === state.selected;
  return make("li", { class: item.error ? "refused" : "" },
    make("button", { type: "button", class: "item", "aria-pressed": String(selected), onclick: () => choose(item) },
      thumbnail(item),
      make("span", { class: "item-words" }, make("span", { class: "item-name" }, item.name), make("span", { class: "soft" }, details(item)))),
    make("button", { type: "button", class: "quiet", "aria-label": `Remove ${item.name}`, onclick: () => removeItem(item) }, "×"));
}

function thumbnail(item) {
  if (item.kind === "text") return make("span", { class: "thumb text", "aria-hidden": "true" }, "T");
  if (item.error) return make("span", { class: "thumb", "aria-hidden": "true" }, "!");
  return make("span", { class: "thumb" }, item.preview ? make("img", { src: item.preview, alt: "" }) : "");
}

function details(item) {
  if (item.kind === "text") return "text";
  if (item.error) return item.error.message;
  if (!item.preview) return item.previewError ? "not loaded yet" : "…";
  if (item.frames < 2) return size(item);
  return item.select ? `${size(item)}, ${item.frames} images` : `${size(item)}, frame ${item.frame + 1} of ${item.frames}`;
}

const size = (item) => `${item.width} × ${item.height}`;

// Selecting redraws the list, so the focus is set again.
function choose(item) {
  select(item);
  $("items").children[state.items.indexOf(item)]?.querySelector(".item").focus();
}

function removeItem(item) {
  const index = state.items.indexOf(item);
  remove(item);
  const next = $("items").children[Math.min(index, state.items.length - 1)];
  (next?.querySelector(".item") ?? $("choose")).focus();
}

function showViewer() {
  const item = state.selected;
  const visible = item?.kind === "image" && item.preview && !item.error;
  $("viewer").hidden = !visible;
  if (!visible) return;
  const [height, width] = item.modelSize;
  $("viewer-image").src = item.preview;
  $("viewer-image").alt = `${item.name} as the model sees it`;
  $("viewer-caption").textContent = `As the model sees it: ${width} × ${height}`;
  $("frame-field").hidden = item.frames < 2;
  $("frame").max = item.frames;
  $("frame").value = item.frame + 1;
  showFrameNumber();
}

function showFrameNumber() {
  $("frame-shown").textContent = `${$("frame").value} of ${$("frame").max}`;
}

$("frame").addEventListener("input", showFrameNumber);
$("frame").addEventListener("change", () => {
  if (!state.selected.select) setFrame(state.selected, $("frame").valueAsNumber - 1);
});
onChange("items", () => {
  const focused = document.activeElement?.closest?.("#items li");
  const index = focused ? [...$("items").children].indexOf(focused) : -1;
  showItems();
  if (index >= 0) $("items").children[index]?.querySelector(".item").focus();
});
