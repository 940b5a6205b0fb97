// Items with several images: scroll through them, play them, and choose which of them are used.

import { image, send } from "./api.js";
import { $ } from "./dom.js";
import { modelOf, setSelect } from "./items.js";
import { changed, onChange, state } from "./state.js";

const SHOWN = 64; // small images of an item, which are fetched at once
const SIZE = 256; // pixels
const DEFAULT_MS = 100; // between the images of a loop without times
let timer = null;

// The index in the file of an image of a response, { series, frame }.
export function imageIndex(item, { series, frame }) {
  const before = (item.series ?? []).slice(0, series).reduce((sum, { count }) => sum + count, 0);
  return before + frame;
}

// Show an image of the file, or the nearest that was fetched, without using it.
export function showImage(item, index) {
  if (item !== state.selected || !item.shown?.length) return;
  const nearest = item.shown.reduce((best, entry) => (Math.abs(entry.index - index) < Math.abs(best.index - index) ? entry : best));
  $("viewer-image").src = nearest.image;
  $("frame").value = nearest.index + 1;
  $("frame-shown").textContent = `${nearest.index + 1} of ${$("frame").max}`;
}

// Where the shown image is among those that were fetched.
const position = (shown) => shown.findIndex(({ index }) => index >= $("frame").valueAsNumber - 1);

async function loadSeries(item) {
  if (item.series || item.seriesPending || !(item.frames > 1)) return;
  item.seriesPending = true;
  try {
    const body = { image: image(item), select: `even:${SHOWN}`, size: SIZE, ...(item.window ? { window: item.window } : {}), ...modelOf() };
    const { series } = await send({ method: "POST", path: "api/study", body });
    item.series = series;
    item.shown = series.flatMap((part, number) => part.images.filter((entry) => entry.image).map((entry) => ({
      image: entry.image, time: entry["time_ms"], index: imageIndex(item, { series: number, frame: entry.frame }),
    })));
    const notes = series.flatMap((part) => part.warnings ?? []);
    item.warnings = [...item.warnings, ...notes.filter((note) => !item.warnings.some(({ code }) => code === note.code))];
    changed("items");
  } catch (error) {
    item.seriesError = error;
  } finally {
    item.seriesPending = false;
  }
}

function showControls() {
  const item = state.selected;
  const several = item?.kind === "image" && item.frames > 1 && !item.error;
  $("series-field").hidden = !several;
  if (!several) {
    stop();
    return;
  }
  $("used").value = item.select ?? "";
  $("play").hidden = !(item.shown?.length > 1);
  loadSeries(item);
}

function step() {
  const item = state.selected;
  const shown = item?.shown ?? [];
  if (shown.length < 2) {
    stop();
    return;
  }
  const next = (position(shown) + 1) % shown.length;
  showImage(item, shown[next].index);
  const elapsed = shown[next].time - shown[next - 1]?.time;
  timer = setTimeout(step, elapsed > 0 ? Math.min(1000, elapsed) : DEFAULT_MS);
}

function stop() {
  clearTimeout(timer);
  timer = null;
  $("play").setAttribute("aria-pressed", "false");
  $("play").textContent = "Play";
}

$("play").addEventListener("click", () => {
  if (timer !== null) {
    stop();
    return;
  }
  $("play").setAttribute("aria-pressed", "true");
  $("play").textContent = "Stop";
  step();
});
$("used").addEventListener("change", () => setSelect(state.selected, $("used").value || null));
$("frame").addEventListener("input", () => showImage(state.selected, $("frame").valueAsNumber - 1));
$("viewer-image").addEventListener("wheel", (event) => {
  if (!(state.selected?.shown?.length > 1)) return;
  event.preventDefault();
  const shown = state.selected.shown;
  const next = position(shown) + Math.sign(event.deltaY);
  showImage(state.selected, shown[Math.min(shown.length - 1, Math.max(0, next))].index);
}, { passive: false });
onChange("items", showControls);
onChange("selected", () => {
  stop();
  showControls();
});
