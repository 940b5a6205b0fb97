// The tab that ranks prompts for the selected image.

import { showAlong } from "./along.js";
import { image, itemError } from "./api.js";
import { showBars } from "./bars.js";
import { $, make, percent } from "./dom.js";
import { evidence, warningsOf } from "./evidence.js";
import { modelOf, viewOf } from "./items.js";
import { onChange, state } from "./state.js";
import { empty, refresh } from "./view.js";

export const prompts = {
  panel: $("prompts"),
  working: "Ranking the prompts…",

  describe() {
    const item = state.selected;
    const labels = $("labels").value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (!item) return { missing: "Add an image to begin. What you add goes to this server and nowhere else." };
    if (item.error) return { missing: `${item.name}: ${item.error.message}`, bad: true };
    if (item.kind === "text") return { missing: "Prompts are ranked for an image: choose or add one." };
    if (!labels.length) return { missing: "Write at least one prompt." };
    if (labels.length === 1) return { missing: "Write at least two prompts: a single one always has 100 %. Compare gives its cosine." };
    const template = $("template").value.trim();
    const body = { images: [image(item)], labels, ...(template ? { template } : {}), ...viewOf(item), ...modelOf() };
    return { requests: [{ method: "POST", path: "api/classify", body }] };
  },

  show([{ results: [result], warnings }]) {
    if (result.error) throw itemError(result.error);
    const rows = Object.entries(result.probabilities).map(([name, value]) => ({ name, value }));
    const [best] = showBars($("ranking"), rows);
    showAlong($("prompts-along"), state.selected, result.images, (part) => part.probabilities);
    return `${state.selected.name}: ${best.name}, ${percent(best.value)}${evidence(result)}${warningsOf(warnings)}`;
  },

  clear: () => empty("ranking", "prompts-along"),
};

$("prompts-form").addEventListener("submit", (event) => {
  event.preventDefault();
  refresh(prompts, { force: true });
});

$("labels").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) refresh(prompts);
});

onChange("about", () => {
  const { vocabularies } = state.about;
  $("presets").replaceChildren(
    ...Object.entries(vocabularies).map(([name, terms]) =>
      make("button", { type: "button", class: "chip", onclick: () => usePreset(terms) }, name)),
  );
  if (!$("labels").value) $("labels").value = (vocabularies.modality ?? []).join("\n");
});

function usePreset(terms) {
  $("labels").value = terms.join("\n");
  refresh(prompts);
}
