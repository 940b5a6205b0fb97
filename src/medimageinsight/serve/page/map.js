// The map: a store in two dimensions, with the added images marked.

import { image, send } from "./api.js";
import { openCase } from "./case.js";
import { $, make, number, setOptions, svg } from "./dom.js";
import { groupsOf, shape } from "./groups.js";
import { frameOf, usableImages } from "./items.js";
import { plot } from "./plot.js";
import { moreLike } from "./similar.js";
import { onChange, state } from "./state.js";
import { showError } from "./status.js";
import { refresh } from "./view.js";

const LIMIT = 2000;
let content = null; // { groups, marks }
let drawnWidth = 0; // pixels

export const map = {
  panel: $("map"),
  needsStore: true,
  working: "Drawing the map…",

  describe() {
    const store = $("map-store").value;
    const color = $("color").value;
    const query = { store, limit: LIMIT, ...(color ? { color } : {}) };
    const requests = [{ method: "GET", path: "api/map", query }];
    for (const images of imagesByFrame()) {
      const body = { store, images: images.map(image), ...frameOf(images[0]) };
      requests.push({ method: "POST", path: "api/map", body });
    }
    return { requests };
  },

  show([{ points, count, explained }, ...projected]) {
    const groups = groupsOf(points, columnsOf()[$("color").value]);
    const marks = imagesByFrame()
      .flatMap((images, i) => images.map((item, j) => ({ item, ...projected[i].points[j] })))
      .filter((mark) => !mark.error);
    content = { groups, marks };
    showLegend(groups, marks);
    draw();
    $("map-rows").replaceChildren();
    if ($("map-table").open) showTable();
    const [first, second] = explained;
    $("map-note").textContent =
      `Principal components: left to right is ${share(first)} of the variance, down to up ${share(second)}. `
      + "Neighbours here may be far apart in the other dimensions. Arrow keys move from point to point, Enter opens one.";
    const shown = points.length < count ? `${points.length.toLocaleString("en")} of ${count.toLocaleString("en")} cases` : `${count.toLocaleString("en")} cases`;
    return marks.length ? `${shown}; marked: ${marks.map(({ item }) => item.name).join(", ")}` : shown;
  },

  clear() {
    content = null;
    for (const id of ["plot", "legend", "map-rows", "map-note"]) $(id).replaceChildren();
  },
};

// A request has the same frame for all its images.
function imagesByFrame() {
  const images = usableImages();
  return [...new Set(images.map((item) => item.frame))].map((frame) => images.filter((item) => item.frame === frame));
}

const share = (ratio) => `${Math.round(100 * ratio)} %`;
const columnsOf = () => state.about.stores.find(({ name }) => name === $("map-store").value)?.columns ?? {};

function draw() {
  drawnWidth = $("plot").clientWidth;
  if (content && drawnWidth) plot($("plot"), content.groups, content.marks, open);
}

function showLegend(groups, marks) {
  const entries = groups.map(({ name, points }, i) => entry(shape(i, 6), name, points.length));
  $("legend").replaceChildren(...entries);
  if (marks.length) $("legend").append(make("li", {}, make("span", { class: "mark-key", "aria-hidden": "true" }), "what you added"));
}

function entry(path, name, count) {
  const icon = svg("svg", { viewBox: "-9 -9 18 18", width: 18, height: 18, "aria-hidden": "true" }, path);
  return make("li", {}, icon, name, " ", make("span", { class: "soft" }, count.toLocaleString("en")));
}

function showTable() {
  if (!content) return;
  const row = (point, group) => make("tr", {},
    make("th", { scope: "row" }, make("button", { type: "button", class: "link", onclick: () => open(point) }, point.id)),
    make("td", {}, group), make("td", {}, number(point.x)), make("td", {}, number(point.y)));
  const head = ["case", $("color").value || "group", "x", "y"].map((name) => make("th", { scope: "col" }, name));
  const markRows = content.marks.map(({ item, x, y }) => make("tr", {}, make("th", { scope: "row" }, item.name),
    make("td", {}, "what you added"), make("td", {}, number(x)), make("td", {}, number(y))));
  const rows = content.groups.flatMap(({ name, points }) => points.map((point) => row(point, point.label === null ? name : String(point.label))));
  $("map-rows").replaceChildren(make("table", { class: "facts" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...markRows, ...rows)));
}

// The map has no metadata, so search for the case by its own id.
async function open(point) {
  const store = $("map-store").value;
  const body = { store, id: point.id, k: 1, where: `id = '${point.id.replaceAll("'", "''")}'` };
  try {
    const { hits: [hit] } = await send({ method: "POST", path: "api/search", body });
    if (hit) openCase(store, hit, { onMore: moreLike });
  } catch (error) {
    showError(error, () => open(point));
  }
}

function chooseStore() {
  const names = Object.keys(columnsOf());
  const preferred = ["label", "modality", "Modality", "finding"].find((name) => names.includes(name)) ?? "";
  setOptions($("color"), [["", "nothing"], ...names.map((name) => [name])], preferred);
}

$("map-form").addEventListener("submit", (event) => event.preventDefault());
$("color").addEventListener("change", () => refresh(map));
$("map-store").addEventListener("change", () => {
  chooseStore();
  refresh(map);
});
$("map-table").addEventListener("toggle", () => $("map-table").open && showTable());
new ResizeObserver(() => $("plot").clientWidth !== drawnWidth && draw()).observe($("plot"));
onChange("about", () => {
  setOptions($("map-store"), state.about.stores.map(({ name }) => [name]));
  chooseStore();
});
