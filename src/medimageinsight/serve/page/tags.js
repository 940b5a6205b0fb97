// The tab that tags the selected image with the terms of a vocabulary or of a tagger.

import { showAlong } from "./along.js";
import { image, itemError } from "./api.js";
import { showBars } from "./bars.js";
import { $, number, percent, setOptions } from "./dom.js";
import { evidence, warningsOf } from "./evidence.js";
import { modelOf, viewOf } from "./items.js";
import { onChange, state } from "./state.js";
import { empty, refresh } from "./view.js";

export const tags = {
  panel: $("tags"),
  working: "Tagging…",

  describe() {
    const item = state.selected;
    if (!item) return { missing: "Add an image to tag." };
    if (item.error) return { missing: `${item.name}: ${item.error.message}`, bad: true };
    if (item.kind === "text") return { missing: "Tags are given to an image: choose or add one." };
    const [kind, name] = chosen();
    const threshold = $("threshold").valueAsNumber;
    if (kind === "vocabulary" && !(threshold >= 0 && threshold <= 1)) return { missing: "Give a threshold between 0 and 1." };
    const tagSource = kind === "vocabulary" ? { vocabulary: name, threshold, ...modelOf() } : { tagger: name };
    const body = { images: [image(item)], ...tagSource, ...viewOf(item) };
    return { requests: [{ method: "POST", path: "api/tag", body }] };
  },

  show([{ results: [result], warnings }]) {
    if (result.error) throw itemError(result.error);
    const rows = Object.entries(result.tags).map(([name, { score, threshold, present }]) => ({ name, value: score, threshold, present }));
    const format = chosen()[0] === "tagger" ? number : percent; // a tagger's scores may be cosines
    showAlong($("tags-along"), state.selected, result.images, (part) => part.scores, format);
    const sorted = showBars($("tag-bars"), rows, format);
    const present = sorted.filter((row) => row.present).map((row) => row.name);
    const found = present.length ? present.join(", ") : "no tag is present at this threshold";
    return `${state.selected.name}: ${found}${evidence(result)}${warningsOf(warnings)}`;
  },

  clear: () => empty("tag-bars", "tags-along"),
};

// A vocabulary and a tagger may have the same name, so the value includes the kind.
function chosen() {
  const [kind, ...rest] = $("tagger").value.split(":");
  return [kind, rest.join(":")];
}

$("tags-form").addEventListener("submit", (event) => {
  event.preventDefault();
  refresh(tags, { force: true });
});
$("threshold").addEventListener("change", () => refresh(tags));
$("tagger").addEventListener("change", () => {
  $("threshold-field").hidden = chosen()[0] === "tagger";
  refresh(tags);
});

onChange("about", () => {
  const { vocabularies, taggers } = state.about;
  setOptions($("tagger"), [
    ...Object.keys(vocabularies).map((name) => [`vocabulary:${name}`, name]),
    ...(taggers ?? []).map(({ name }) => [`tagger:${name}`, `${name} (tagger)`]),
  ]);
});
