// The slide around a stored tile: pan by dragging or with the arrow keys, zoom with the wheel or the buttons.

import { fetchSlideRegion, send } from "./api.js";
import { $ } from "./dom.js";

const SIZE = 768; // pixels of the longer side that are fetched
const STEP = 0.25; // of the view, for an arrow key
const DELAY_MS = 120; // after the last movement, before the server is asked

let slide = null; // { store, id, width, height, mpp, tile, view: { x, y, width, height } }
let drag = null;
let timer = null;
let shown = null; // URL of the image

export async function openSlide(store, id, origin) {
  closeSlide();
  if (!origin?.includes("region=")) return;
  const opened = { store, id };
  slide = opened;
  try {
    const found = await send({ method: "GET", path: "api/slide", query: { store, id } });
    if (slide !== opened) return;
    const { width, height, region: tile = null, "microns_per_pixel": mpp = null } = found;
    Object.assign(slide, { width, height, tile, mpp });
    slide.view = around(tile ?? [0, 0, width, height], 4);
    $("slide").hidden = false;
    await load();
  } catch {
    if (slide === opened) closeSlide(); // the tile itself stays visible
  }
}

export function closeSlide() {
  clearTimeout(timer);
  slide = null;
  drag = null;
  $("slide").hidden = true;
  $("slide-image").removeAttribute("src");
  if (shown) URL.revokeObjectURL(shown);
  shown = null;
}

// A square view around a region, `factor` times as large.
function around([x, y, width, height], factor) {
  const side = Math.max(width, height) * factor;
  return limit({ x: x + (width - side) / 2, y: y + (height - side) / 2, width: side, height: side });
}

function limit({ x, y, width }) {
  const largest = Math.max(slide.width, slide.height);
  const side = Math.round(Math.min(largest, Math.max(64, width)));
  const within = (value, length) => Math.round(Math.min(Math.max(0, length - side), Math.max(0, value)));
  return { x: within(x, slide.width), y: within(y, slide.height), width: side, height: side };
}

async function load() {
  const current = slide;
  const { store, id, view } = current;
  const url = await fetchSlideRegion({ store, id, ...view, size: SIZE });
  if (slide !== current || current.view !== view) {
    URL.revokeObjectURL(url);
    return;
  }
  if (shown) URL.revokeObjectURL(shown);
  shown = url;
  $("slide-image").src = url;
  const microns = slide.mpp ? `, ${Math.round(view.width * slide.mpp[0]).toLocaleString("en")} µm wide` : "";
  $("slide-where").textContent = `x ${view.x}, y ${view.y}${microns}`;
  $("slide-frame").hidden = !slide.tile;
  showTile();
}

// Outline the stored tile, in percent of the view.
function showTile() {
  if (!slide.tile) return;
  const { view, tile: [x, y, width, height] } = slide;
  const style = $("slide-frame").style;
  style.setProperty("--x", (x - view.x) / view.width);
  style.setProperty("--y", (y - view.y) / view.height);
  style.setProperty("--w", width / view.width);
  style.setProperty("--h", height / view.height);
}

function move(view) {
  slide.view = limit(view);
  showTile();
  clearTimeout(timer);
  timer = setTimeout(() => slide && load().catch(() => {}), DELAY_MS);
}

function zoom(factor, [u, v] = [0.5, 0.5]) {
  const { x, y, width } = slide.view;
  const side = width * factor;
  move({ x: x + (width - side) * u, y: y + (width - side) * v, width: side, height: side });
}

const pan = (dx, dy) => move({ ...slide.view, x: slide.view.x + dx * slide.view.width, y: slide.view.y + dy * slide.view.width });

const keys = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
$("slide-view").addEventListener("keydown", (event) => {
  if (keys[event.key]) pan(...keys[event.key]);
  else if (event.key === "+" || event.key === "=") zoom(0.5);
  else if (event.key === "-") zoom(2);
  else return;
  event.preventDefault();
});
$("slide-view").addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = $("slide-view").getBoundingClientRect();
  zoom(event.deltaY > 0 ? 1.25 : 0.8, [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
}, { passive: false });
$("slide-view").addEventListener("pointerdown", (event) => {
  drag = { x: event.clientX, y: event.clientY, view: slide.view };
  $("slide-view").setPointerCapture(event.pointerId);
});
$("slide-view").addEventListener("pointermove", (event) => {
  if (!drag || !slide) return;
  const box = $("slide-view").getBoundingClientRect();
  const [dx, dy] = [(event.clientX - drag.x) / box.width, (event.clientY - drag.y) / box.height];
  move({ ...drag.view, x: drag.view.x - dx * drag.view.width, y: drag.view.y - dy * drag.view.width });
});
$("slide-view").addEventListener("pointerup", () => {
  drag = null;
});
$("slide-in").addEventListener("click", () => zoom(0.5));
$("slide-out").addEventListener("click", () => zoom(2));
$("slide-tile").addEventListener("click", () => move(around(slide.tile ?? [0, 0, slide.width, slide.height], 4)));
