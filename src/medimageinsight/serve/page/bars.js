// Names with values between 0 and 1 as bars, the largest first, with a threshold's mark where there is one.

import { make, percent } from "./dom.js";

export function showBars(list, rows) {
  const sorted = [...rows].sort((a, b) => b.value - a.value);
  list.replaceChildren(...sorted.map(bar));
  return sorted;
}

function bar({ name, value, threshold, present }) {
  const fill = make("span", { class: "fill" });
  fill.style.setProperty("--value", value);
  const track = make("span", { class: "track", "aria-hidden": "true" }, fill);
  if (threshold !== undefined) {
    const mark = make("span", { class: "mark" });
    mark.style.setProperty("--value", threshold);
    track.append(mark);
  }
  const words = make("span", { class: "value" }, percent(value));
  const verdict = present === undefined ? null : make("span", { class: "verdict" }, present ? "present" : "");
  const spoken = threshold === undefined ? null : make("span", { class: "unseen" }, `, threshold ${percent(threshold)}`);
  return make("li", { class: present === false ? "absent" : "" }, make("span", { class: "name" }, name), verdict, words, spoken, track);
}
