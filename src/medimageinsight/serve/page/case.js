// One case of a store: its picture, what is known of it, and more like it.

import { $, make, number, setOptions } from "./dom.js";
import { showPicture } from "./pictures.js";

let shown = null; // { store, hit, onMore }

export function openCase(store, hit, { score = null, onMore }) {
  shown = { store, hit, onMore };
  $("case-title").textContent = hit.id;
  const facts = [["score", score === null ? null : number(score, 4)], ["path", hit.path], ...Object.entries(hit.metadata)];
  const rows = facts.filter(([, value]) => value !== null && value !== undefined);
  $("case-facts").replaceChildren(
    ...rows.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value)))),
  );
  const columns = Object.keys(hit.metadata).filter((name) => hit.metadata[name] !== null);
  setOptions($("other"), [["", "nothing"], ...columns.map((name) => [name, `the same ${name}`])], "");
  showPicture($("case-picture"), store, hit.id, 768);
  $("case").showModal();
}

$("case-close").addEventListener("click", () => $("case").close());
$("case").addEventListener("click", (event) => {
  if (event.target === $("case")) $("case").close(); // beside it
});
$("case-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const { store, hit, onMore } = shown;
  const other = $("other").value;
  $("case").close();
  onMore({ store, id: hit.id, other: other || null });
});
