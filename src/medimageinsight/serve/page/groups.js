// The points of a map by the value of a column: at most eight groups, each with a shape and a colour of its own.

import { svg } from "./dom.js";

const MOST = 8;
const BINS = 5;

// Outlines within a square from -1 to 1.
const OUTLINES = [
  "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z", // circle
  "M-.9-.9H.9V.9H-.9Z", // square
  "M0-1.15L1.1.85H-1.1Z", // triangle
  "M0-1.25L1.05 0L0 1.25L-1.05 0Z", // diamond
  "M-.35-1.1H.35V-.35H1.1V.35H.35V1.1H-.35V.35H-1.1V-.35H-.35Z", // plus
  "M0 1.15L1.1-.85H-1.1Z", // triangle, point down
  "M-1.1-.6L-.6-1.1L0-.5L.6-1.1L1.1-.6L.5 0L1.1.6L.6 1.1L0 .5L-.6 1.1L-1.1.6L-.5 0Z", // cross
  "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0ZM.5 0A.5 .5 0 1 0-.5 0A.5 .5 0 1 0 .5 0Z", // ring
];

export function shape(group, size) {
  return svg("path", { d: OUTLINES[group], class: `shape g${group}`, transform: `scale(${size})`, "fill-rule": "evenodd" });
}

// [{ name, points }], the most frequent first; numbers as ranges, in order.
export function groupsOf(points, type) {
  const labelled = points.filter((point) => point.label !== null);
  const numeric = ["integer", "float"].includes(type) && new Set(labelled.map((point) => point.label)).size > BINS;
  const groups = numeric ? ranges(labelled) : values(labelled);
  const without = points.filter((point) => point.label === null);
  if (without.length) groups.push({ name: labelled.length ? "no value" : "all", points: without });
  return groups;
}

function values(points) {
  const by = new Map();
  for (const point of points) {
    const name = String(point.label);
    if (!by.has(name)) by.set(name, []);
    by.get(name).push(point);
  }
  const groups = [...by].map(([name, of]) => ({ name, points: of })).sort((a, b) => b.points.length - a.points.length);
  if (groups.length < MOST) return groups;
  const others = groups.splice(MOST - 2); // one place is kept for what has no value
  return [...groups, { name: `${others.length} others`, points: others.flatMap((group) => group.points) }];
}

// Ranges with about as many points each.
function ranges(points) {
  const sorted = [...points].sort((a, b) => Number(a.label) - Number(b.label));
  const groups = [];
  for (let i = 0; i < BINS; i += 1) {
    const of = sorted.slice((i * sorted.length) / BINS, ((i + 1) * sorted.length) / BINS);
    if (of.length) groups.push({ name: `${of[0].label} to ${of.at(-1).label}`, points: of });
  }
  return groups;
}
