// The added images and texts. Each image has a preview, as the model sees it, or an error.

import { image, itemError, send } from "./api.js";
import { packFolder } from "./folders.js";
import { changed, state } from "./state.js";
import { showError } from "./status.js";

const MAX_PENDING = 3; // concurrent requests for previews
const WINDOW_ERRORS = ["window_invalid", "image_window_not_applicable"]; // the image itself can be used
let count = 0;
let pending = 0;
const queue = []; // items whose preview is to be loaded

export async function addFolder(folder) {
  try {
    addFiles([await packFolder(folder)]);
  } catch (error) {
    showError(error);
  }
}

export function addFiles(files) {
  const added = [...files].map((file) => ({
    number: ++count, kind: "image", name: file.name || "pasted.png", file, frame: 0, frames: 1, preview: null, error: null,
    select: null, series: null, shown: null, window: null, windowChoice: "", windows: [], windowError: null, warnings: [],
  }));
  for (const item of added) {
    item.name = uniqueName(item.name);
    state.items.push(item);
    requestPreview(item);
  }
  if (added.length) select(added[0]);
}

export function addText(text) {
  const trimmed = text.trim();
  if (!trimmed) return;
  const existing = state.items.find((item) => item.kind === "text" && item.text === trimmed);
  const item = existing ?? { number: ++count, kind: "text", name: trimmed, text: trimmed, error: null };
  if (!existing) state.items.push(item);
  select(item);
}

export function remove(item) {
  const index = state.items.indexOf(item);
  state.items.splice(index, 1);
  if (state.selected === item) state.selected = state.items[Math.min(index, state.items.length - 1)] ?? null;
  changed("items");
  changed("selected");
}

export function select(item) {
  state.selected = item;
  changed("items");
  changed("selected");
}

export function setFrame(item, frame) {
  item.frame = frame;
  requestPreview(item);
  changed("selected");
}

// Choose the images of a file that are used, as in `select` of requests; null is the chosen frame alone.
export function setSelect(item, select) {
  item.select = select;
  changed("selected");
}

// Choose the window of an image: a text as in the requests, null for the file's own choice.
export function setWindow(item, window) {
  Object.assign(item, { window, windowError: null, series: null, shown: null });
  requestPreview(item);
  changed("selected");
}

// Items without an error.
export const usable = () => state.items.filter((item) => !item.error);
export const usableImages = () => usable().filter((item) => item.kind === "image");

// Which images of the file a request uses: one, the first by default, or several, whose vectors are pooled.
export const choiceOf = (item) => (item.select ? { select: item.select } : frameOf(item));
export const frameOf = (item) => (item.frame ? { frame: item.frame } : {});

// The images and the window in a request. A request to a store has no window: it is the store's.
export const viewOf = (item) => ({ ...choiceOf(item), ...windowOf(item) });

// A request that takes one image alone.
export const imageViewOf = (item) => ({ ...frameOf(item), ...windowOf(item) });
const windowOf = (item) => (item.window ? { window: item.window } : {});

// Append a number to a name that is already listed.
function uniqueName(name) {
  const names = new Set(state.items.map((item) => item.name));
  let unique = name;
  for (let i = 2; names.has(unique); i += 1) unique = `${name} (${i})`;
  return unique;
}

function requestPreview(item) {
  queue.push(item);
  loadNext();
}

async function loadNext() {
  if (pending >= MAX_PENDING || !queue.length) return;
  pending += 1;
  await loadPreview(queue.shift());
  pending -= 1;
  loadNext();
}

async function loadPreview(item) {
  const { frame, window } = item;
  try {
    const body = { image: image(item), ...imageViewOf(item), ...modelOf() };
    const view = await send({ method: "POST", path: "api/view", body });
    if (view.error) throw itemError(view.error);
    if (frame !== item.frame || window !== item.window) return; // the user has chosen another view meanwhile
    const { "picture": preview, width, height, frames, windows = [], warnings = [], model_size: modelSize } = view;
    Object.assign(item, { preview, width, height, frames, windows, warnings, modelSize, error: null });
  } catch (error) {
    if (window !== null && WINDOW_ERRORS.includes(error.code)) {
      if (window !== item.window) return;
      setWindow(item, null);
      Object.assign(item, { windowChoice: "", windowError: error });
    } else if (!error.mayRetry && error.status !== 401) item.error = error;
    item.previewError = error;
    if (error.wait) setTimeout(loadMissingPreviews, 1000 * error.wait);
  }
  changed("items");
  if (item.error && item === state.selected) changed("selected");
}

export function loadMissingPreviews() {
  for (const item of state.items) if (item.kind === "image" && !item.preview && !item.error) requestPreview(item);
}

export const modelOf = () => (state.model ? { model: state.model } : {});
