// Names with values as bars, which start at 0, and marks for thresholds. Sorted by value minus threshold.

import { make, percent } from "./dom.js";

export function showBars(list, rows, format = percent) {
  const excess = ({ value, threshold = 0 }) => value - threshold;
  const sorted = [...rows].sort((a, b) => excess(b) - excess(a));
  list.replaceChildren(...sorted.map((row) => bar(row, format)));
  return sorted;
}

function bar({ name, value, threshold, present }, format) {
  const fill = make("span", { class: "fill" });
  fill.style.setProperty("--value", value);
  const track = make("span", { class: "track", "aria-hidden": "true" }, fill);
  if (threshold !== undefined) {
    const mark = make("span", { class: "mark" });
    mark.style.setProperty("--value", Math.min(1, Math.max(0, threshold)));
    track.append(mark);
  }
  const valueText = make("span", { class: "value" }, format(value));
  const verdict = present === undefined ? null : make("span", { class: "verdict" }, present ? "present" : "");
  const thresholdText = threshold === undefined ? null : make("span", { class: "visually-hidden" }, `, threshold ${format(threshold)}`);
  return make("li", { class: present === false ? "absent" : "" }, make("span", { class: "name" }, name), verdict, valueText, thresholdText, track);
}
