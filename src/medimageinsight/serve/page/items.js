// What was added: images and texts, each with the picture that the model sees or the reason why there is none.

import { image, itemError, send } from "./api.js";
import { changed, state } from "./state.js";

let count = 0;
const waiting = [];
let atWork = 0;
const AT_ONCE = 3; // pictures asked for together

export function addFiles(files) {
  const added = [...files].map((file) => ({
    number: ++count, kind: "image", name: file.name || "pasted.png", file, frame: 0, frames: 1, picture: null, error: null,
  }));
  for (const item of added) {
    item.name = freeName(item.name);
    state.items.push(item);
    look(item);
  }
  if (added.length) select(added[0]);
}

export function addText(text) {
  const words = text.trim();
  if (!words) return;
  const known = state.items.find((item) => item.kind === "text" && item.text === words);
  const item = known ?? { number: ++count, kind: "text", name: words, text: words, error: null };
  if (!known) state.items.push(item);
  select(item);
}

export function remove(item) {
  const at = state.items.indexOf(item);
  state.items.splice(at, 1);
  if (state.selected === item) state.selected = state.items[Math.min(at, state.items.length - 1)] ?? null;
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
  look(item);
  changed("selected");
}

// Items that the server has not refused.
export const usable = () => state.items.filter((item) => !item.error);
export const usableImages = () => usable().filter((item) => item.kind === "image");

// The frame of a request, where it is not the first.
export const frameOf = (item) => (item.frame ? { frame: item.frame } : {});

// Two files of one name are told apart where they are listed.
function freeName(name) {
  const taken = new Set(state.items.map((item) => item.name));
  let free = name;
  for (let i = 2; taken.has(free); i += 1) free = `${name} (${i})`;
  return free;
}

function look(item) {
  waiting.push(item);
  next();
}

async function next() {
  if (atWork >= AT_ONCE || !waiting.length) return;
  atWork += 1;
  await see(waiting.shift());
  atWork -= 1;
  next();
}

async function see(item) {
  const { frame } = item;
  try {
    const body = { image: image(item), ...frameOf(item), ...modelOf() };
    const seen = await send({ method: "POST", path: "api/view", body });
    if (seen.error) throw itemError(seen.error);
    if (frame !== item.frame) return; // another was asked for since
    const { picture, width, height, frames, model_size: modelSize } = seen;
    Object.assign(item, { picture, width, height, frames, modelSize, error: null });
  } catch (error) {
    if (!error.mayRetry && error.status !== 401) item.error = error;
    item.unseen = error;
    if (error.wait) setTimeout(lookAgain, 1000 * error.wait);
  }
  changed("items");
  if (item.error && item === state.selected) changed("selected");
}

export function lookAgain() {
  for (const item of state.items) if (item.kind === "image" && !item.picture && !item.error) look(item);
}

export const modelOf = () => (state.model ? { model: state.model } : {});
