// Names with values as bars, with a threshold's mark where there is one. The first is the largest, or what lies the
// furthest above its threshold; a bar begins at 0.

import { make, percent } from "./dom.js";

export function showBars(list, rows, format = percent) {
  const above = ({ value, threshold = 0 }) => value - threshold;
  const sorted = [...rows].sort((a, b) => above(b) - above(a));
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
  const words = make("span", { class: "value" }, format(value));
  const verdict = present === undefined ? null : make("span", { class: "verdict" }, present ? "present" : "");
  const spoken = threshold === undefined ? null : make("span", { class: "unseen" }, `, threshold ${format(threshold)}`);
  return make("li", { class: present === false ? "absent" : "" }, make("span", { class: "name" }, name), verdict, words, spoken, track);
}
