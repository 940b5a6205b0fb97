// The dialog of a stored case: its image, its metadata, and a search for similar cases.

import { $, make, number, setOptions } from "./dom.js";
import { closeSlide, openSlide } from "./slide.js";
import { showStoredImage } from "./stored_images.js";

let current = null; // { store, hit, onMore }

export function openCase(store, hit, { score = null, onMore }) {
  current = { store, hit, onMore };
  $("case-title").textContent = hit.id;
  const entries = [["score", score === null ? null : number(score, 4)], ["path", hit.path], ...Object.entries(hit.metadata)];
  const rows = entries.filter(([, value]) => value !== null && value !== undefined);
  $("case-facts").replaceChildren(
    ...rows.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value)))),
  );
  const columns = Object.keys(hit.metadata).filter((name) => hit.metadata[name] !== null);
  setOptions($("exclude-same"), [["", "nothing"], ...columns.map((name) => [name, `the same ${name}`])], "");
  showStoredImage($("case-image"), store, hit.id, 768);
  $("case").showModal();
  openSlide(store, hit.id, hit.metadata.origin);
}

$("case-close").addEventListener("click", () => $("case").close());
$("case").addEventListener("click", (event) => {
  if (event.target === $("case")) $("case").close(); // a click outside the dialog
});
$("case").addEventListener("close", closeSlide);
$("case-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const { store, hit, onMore } = current;
  const excluded = $("exclude-same").value;
  $("case").close();
  onMore({ store, id: hit.id, excluded: excluded || null });
});
