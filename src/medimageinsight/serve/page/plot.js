// Scatter plot with keyboard access: Tab reaches one point, arrows move to the nearest point in their direction.

import { make, svg } from "./dom.js";
import { shape } from "./groups.js";

const MARGIN = 22;
const LETTER = 7.5; // width of a wide letter, in pixels
const MAX_SLOPE = 1.2; // of the line to a point, relative to the arrow's direction

export function plot(container, groups, marks, onOpen) {
  const width = container.clientWidth;
  const height = Math.round(Math.min(560, Math.max(280, width * 0.6)));
  const toPixels = scale([...groups.flatMap((group) => group.points), ...marks], width, height);
  const size = groups.reduce((sum, group) => sum + group.points.length, 0) > 400 ? 3.5 : 5;
  const dots = groups.flatMap(({ name, points }, i) => points.map((point) => dot(point, name, shape(i, size), toPixels(point))));
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Map of the cases" });
  drawing.append(...dots.map(({ node }) => node), ...marks.map((mark) => flag(mark, toPixels(mark), width)));
  const tip = make("p", { class: "tip", "aria-hidden": "true", hidden: true });
  const frame = make("div", {}, drawing, tip); // has the listeners: an SVG with a focus listener would be focusable
  container.replaceChildren(frame);
  listen(frame, tip, dots, width, onOpen);
}

// Both axes have the same scale, so that distances are comparable.
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
  const label = `${point.id}, ${point.label === null ? group : point.label}`;
  const node = svg("g", { class: "dot", role: "button", tabindex: "-1", "aria-label": label, transform: `translate(${x} ${y})` }, path);
  return { node, point, label, x, y };
}

function flag({ item }, [x, y], width) {
  const label = shorten(item.name);
  const left = x + MARGIN + label.length * LETTER > width; // no space on the right
  const text = svg("text", { x: left ? -13 : 13, y: 4, "text-anchor": left ? "end" : "start" }, label);
  return svg("g", { class: "flag", role: "img", "aria-label": `${item.name}, what you added`, transform: `translate(${x} ${y})` },
    svg("circle", { r: 9 }), svg("path", { d: "M-9 0H-4M9 0H4M0-9V-4M0 9V4" }), text);
}

const shorten = (name) => (name.length > 24 ? `${name.slice(0, 23)}…` : name);

function listen(frame, tip, dots, width, onOpen) {
  const dotsByNode = new Map(dots.map((dot) => [dot.node, dot]));
  const dotOf = (event) => dotsByNode.get(event.target.closest?.(".dot"));
  if (dots.length) dots[0].node.setAttribute("tabindex", "0");

  function showTip(dot) {
    tip.hidden = !dot;
    if (!dot) return;
    const rightHalf = dot.x > width / 2;
    tip.textContent = dot.label;
    tip.style.setProperty("top", `${dot.y}px`);
    tip.style.setProperty(rightHalf ? "right" : "left", `${rightHalf ? width - dot.x : dot.x}px`);
    tip.style.removeProperty(rightHalf ? "left" : "right");
  }

  frame.addEventListener("pointerover", (event) => showTip(dotOf(event)));
  frame.addEventListener("pointerleave", () => showTip(null));
  frame.addEventListener("focusin", (event) => {
    for (const dot of dots) dot.node.setAttribute("tabindex", dot === dotOf(event) ? "0" : "-1");
    showTip(dotOf(event));
  });
  frame.addEventListener("focusout", () => showTip(null));
  frame.addEventListener("click", (event) => dotOf(event) && onOpen(dotOf(event).point));
  frame.addEventListener("keydown", (event) => {
    const dot = dotOf(event);
    const direction = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (!dot || !(direction || event.key === "Enter" || event.key === " ")) return;
    event.preventDefault();
    if (direction) nearest(dots, dot, direction)?.node.focus();
    else onOpen(dot.point);
  });
}

function nearest(dots, from, [dx, dy]) {
  let best = null;
  let minCost = Infinity;
  for (const dot of dots) {
    const along = (dot.x - from.x) * dx + (dot.y - from.y) * dy;
    const across = Math.abs((dot.x - from.x) * dy + (dot.y - from.y) * dx);
    const cost = along + 2 * across;
    if (along > 0.01 && across <= MAX_SLOPE * along && cost < minCost) [best, minCost] = [dot, cost];
  }
  return best;
}
