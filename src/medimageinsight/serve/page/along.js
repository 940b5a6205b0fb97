// Scores along the images of a series, as lines; a click or an arrow key chooses an image.

import { make, percent, svg } from "./dom.js";
import { imageIndex, showImage } from "./series.js";

const WIDTH = 640;
const HEIGHT = 160;
const MAX_LINES = 4; // of the labels with the highest scores

// `parts` are the images of a response, `scores(part)` the scores by label, null for an image with an error.
export function showAlong(container, item, parts, scores, format = percent) {
  const usable = (parts ?? []).filter((part) => scores(part));
  if (usable.length < 2) {
    container.replaceChildren();
    return;
  }
  const labels = Object.keys(scores(usable[0]));
  const highest = (label) => Math.max(...usable.map((part) => scores(part)[label]));
  const shown = labels.map((label) => [label, highest(label)]).sort((a, b) => b[1] - a[1]).slice(0, MAX_LINES).map(([label]) => label);
  const low = Math.min(0, ...usable.flatMap((part) => shown.map((label) => scores(part)[label])));
  const x = (i) => (i / (usable.length - 1)) * (WIDTH - 20) + 10;
  const y = (value) => HEIGHT - 10 - ((value - low) / (1 - low)) * (HEIGHT - 20);
  const lines = shown.map((label, group) => {
    const points = usable.map((part, i) => `${x(i).toFixed(1)},${y(scores(part)[label]).toFixed(1)}`).join(" ");
    return svg("polyline", { class: `line g${group}`, points });
  });
  const mark = svg("line", { class: "here", y1: 0, y2: HEIGHT });
  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...lines, mark);
  const slider = make("input", { type: "range", min: 1, max: usable.length, "aria-label": "Image of the series" });
  const output = make("output", { class: "soft" });
  const show = () => {
    const part = usable[slider.valueAsNumber - 1];
    mark.setAttribute("x1", x(slider.valueAsNumber - 1));
    mark.setAttribute("x2", x(slider.valueAsNumber - 1));
    const position = part["position_mm"] === undefined ? "" : ` at ${part["position_mm"].toFixed(1)} mm`;
    output.textContent = `Image ${part.frame + 1}${position}: ${shown.map((label) => `${label} ${format(scores(part)[label])}`).join(", ")}`;
    showImage(item, imageIndex(item, part));
  };
  slider.addEventListener("input", show);
  chart.addEventListener("click", (event) => {
    const box = chart.getBoundingClientRect();
    slider.value = 1 + Math.round(((event.clientX - box.left) / box.width) * (usable.length - 1));
    show();
  });
  const nearest = usable.findIndex((part) => imageIndex(item, part) >= item.frame);
  slider.value = 1 + Math.max(0, nearest);
  const legend = make("ul", { class: "legend" }, ...shown.map((label, group) => make("li", {}, make("span", { class: `swatch g${group}`, "aria-hidden": "true" }), label)));
  container.replaceChildren(make("h3", {}, "Along the series"), chart, slider, output, legend);
  show();
}
