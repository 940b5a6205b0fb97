// Group the points of a map by a column's value: at most eight groups, each with its own shape and colour.

import { svg } from "./dom.js";

const MAX_GROUPS = 8;
const BINS = 5; // of numbers

// Paths within a square from about -1 to 1.
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

// Return [{ name, points }], the most frequent first; numbers as ranges, in order.
export function groupsOf(points, type) {
  const labelled = points.filter((point) => point.label !== null);
  const numeric = ["integer", "float"].includes(type) && new Set(labelled.map((point) => point.label)).size > BINS;
  const groups = numeric ? groupByRange(labelled) : groupByValue(labelled);
  const unlabelled = points.filter((point) => point.label === null);
  if (unlabelled.length) groups.push({ name: labelled.length ? "no value" : "all", points: unlabelled });
  return groups;
}

function groupByValue(points) {
  const pointsByName = new Map();
  for (const point of points) {
    const name = String(point.label);
    if (!pointsByName.has(name)) pointsByName.set(name, []);
    pointsByName.get(name).push(point);
  }
  const groups = [...pointsByName].map(([name, members]) => ({ name, points: members }));
  groups.sort((a, b) => b.points.length - a.points.length);
  if (groups.length < MAX_GROUPS) return groups;
  const others = groups.splice(MAX_GROUPS - 2); // two groups remain: the others, and the points without a value
  return [...groups, { name: `${others.length} others`, points: others.flatMap((group) => group.points) }];
}

// Ranges with about the same number of points.
function groupByRange(points) {
  const sorted = [...points].sort((a, b) => Number(a.label) - Number(b.label));
  const groups = [];
  for (let i = 0; i < BINS; i += 1) {
    const members = sorted.slice((i * sorted.length) / BINS, ((i + 1) * sorted.length) / BINS);
    if (members.length) groups.push({ name: `${members[0].label} to ${members.at(-1).label}`, points: members });
  }
  return groups;
}
