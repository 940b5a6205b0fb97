// Points as shapes, reached by keyboard: one stop for Tab, arrows go to the nearest point that way.

import { make, svg } from "./dom.js";
import { shape } from "./groups.js";

const MARGIN = 22;
const LETTER = 7.5; // pixels of a wide letter
const SECTOR = 1.2; // how far aside of an arrow's way a point may lie, as a slope

export function plot(place, groups, marks, onOpen) {
  const width = place.clientWidth;
  const height = Math.round(Math.min(560, Math.max(280, width * 0.6)));
  const at = scale([...groups.flatMap((group) => group.points), ...marks], width, height);
  const size = groups.reduce((sum, group) => sum + group.points.length, 0) > 400 ? 3.5 : 5;
  const dots = groups.flatMap(({ name, points }, i) => points.map((point) => dot(point, name, shape(i, size), at(point))));
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Map of the cases" });
  drawing.append(...dots.map(({ node }) => node), ...marks.map((mark) => flag(mark, at(mark), width)));
  const tip = make("p", { class: "tip", "aria-hidden": "true", hidden: true });
  const frame = make("div", {}, drawing, tip); // listens, as an SVG that listens for focus would take it itself
  place.replaceChildren(frame);
  listen(frame, tip, dots, width, onOpen);
}

// Both axes in one scale, so that distances are as they are.
function scale(points, width, height) {
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  const [left, right, low, high] = [min(xs), max(xs), min(ys), max(ys)];
  const unit = Math.min((width - 2 * MARGIN) / (right - left || 1), (height - 2 * MARGIN) / (high - low || 1));
  return ({ x, y }) => [width / 2 + (x - (left + right) / 2) * unit, height / 2 - (y - (low + high) / 2) * unit];
}

const min = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const max = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

function dot(point, group, path, [x, y]) {
  const words = `${point.id}, ${point.label === null ? group : point.label}`;
  const node = svg("g", { class: "dot", role: "button", tabindex: "-1", "aria-label": words, transform: `translate(${x} ${y})` }, path);
  return { node, point, words, x, y };
}

function flag({ item }, [x, y], width) {
  const words = shorten(item.name);
  const left = x + MARGIN + words.length * LETTER > width; // no room at its right
  const text = svg("text", { x: left ? -13 : 13, y: 4, "text-anchor": left ? "end" : "start" }, words);
  return svg("g", { class: "flag", role: "img", "aria-label": `${item.name}, what you added`, transform: `translate(${x} ${y})` },
    svg("circle", { r: 9 }), svg("path", { d: "M-9 0H-4M9 0H4M0-9V-4M0 9V4" }), text);
}

const shorten = (name) => (name.length > 24 ? `${name.slice(0, 23)}…` : name);

function listen(frame, tip, dots, width, onOpen) {
  const of = new Map(dots.map((one) => [one.node, one]));
  const under = (event) => of.get(event.target.closest?.(".dot"));
  if (dots.length) dots[0].node.setAttribute("tabindex", "0");

  function show(one) {
    tip.hidden = !one;
    if (!one) return;
    tip.textContent = one.words;
    tip.style.setProperty("top", `${one.y}px`);
    tip.style.setProperty(one.x > width / 2 ? "right" : "left", `${one.x > width / 2 ? width - one.x : one.x}px`);
    tip.style.removeProperty(one.x > width / 2 ? "left" : "right");
  }

  frame.addEventListener("pointerover", (event) => show(under(event)));
  frame.addEventListener("pointerleave", () => show(null));
  frame.addEventListener("focusin", (event) => {
    for (const one of dots) one.node.setAttribute("tabindex", one === under(event) ? "0" : "-1");
    show(under(event));
  });
  frame.addEventListener("focusout", () => show(null));
  frame.addEventListener("click", (event) => under(event) && onOpen(under(event).point));
  frame.addEventListener("keydown", (event) => {
    const one = under(event);
    const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (!one || !(way || event.key === "Enter" || event.key === " ")) return;
    event.preventDefault();
    if (way) nearest(dots, one, way)?.node.focus();
    else onOpen(one.point);
  });
}

function nearest(dots, from, [dx, dy]) {
  let best = null;
  let least = Infinity;
  for (const one of dots) {
    const along = (one.x - from.x) * dx + (one.y - from.y) * dy;
    const aside = Math.abs((one.x - from.x) * dy + (one.y - from.y) * dx);
    const cost = along + 2 * aside;
    if (along > 0.01 && aside <= SECTOR * along && cost < least) [best, least] = [one, cost];
  }
  return best;
}
