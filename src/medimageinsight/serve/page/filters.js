// A filter from a form: each condition is written into the expression, where it can be edited.

import { $, make, setOptions } from "./dom.js";

const OPERATORS = {
  string: ["=", "!=", "like", "is null", "is not null"],
  boolean: ["=", "!=", "is null", "is not null"],
  number: ["=", "!=", "<", "<=", ">", ">=", "is null", "is not null"],
};
const RESERVED = new Set(["and", "or", "not", "in", "like", "is", "null", "true", "false"]);

let columns = {}; // name: type
let seen = {}; // name: values of the cases shown, to choose from

export function setColumns(found) {
  columns = { id: "string", path: "string", ...found };
  seen = {};
  const names = [...Object.keys(found), "id", "path"];
  setOptions($("filter-column"), names.map((name) => [name]));
  setOperators();
}

export function remember(hits) {
  for (const hit of hits) {
    for (const [name, value] of Object.entries(hit.metadata)) if (value !== null) (seen[name] ??= new Set()).add(String(value));
  }
  setValues();
}

export const where = () => $("where").value.trim();

// The server's words at the field, and the cursor where they point.
export function showFilterError(error) {
  $("filters").open = true;
  $("where-error").textContent = error.message;
  $("where").setAttribute("aria-invalid", "true");
  const at = Number(/at character (\d+)/i.exec(error.message)?.[1] ?? 1) - 1;
  $("where").focus();
  $("where").setSelectionRange(at, Math.min(at + 1, $("where").value.length));
}

export function clearFilterError() {
  $("where-error").textContent = "";
  $("where").removeAttribute("aria-invalid");
}

function kind() {
  const type = columns[$("filter-column").value];
  return OPERATORS[type] ? type : "number"; // integer or float
}

function setOperators() {
  setOptions($("filter-operator"), OPERATORS[kind()].map((operator) => [operator]));
  setValues();
}

function setValues() {
  const values = kind() === "boolean" ? ["true", "false"] : [...(seen[$("filter-column").value] ?? [])].sort().slice(0, 50);
  $("filter-values").replaceChildren(...values.map((value) => make("option", { value })));
  $("filter-value-field").hidden = $("filter-operator").value.startsWith("is");
}

function condition() {
  const name = $("filter-column").value;
  const operator = $("filter-operator").value;
  const column = /^[A-Za-z_]\w*$/.test(name) && !RESERVED.has(name.toLowerCase()) ? name : `"${name.replaceAll('"', '""')}"`;
  if (operator.startsWith("is")) return `${column} ${operator}`;
  const value = $("filter-value").value.trim();
  if (kind() === "string") return `${column} ${operator} '${value.replaceAll("'", "''")}'`;
  if (kind() === "boolean" && !["true", "false"].includes(value.toLowerCase())) throw new Error("Give true or false.");
  if (kind() === "number" && (value === "" || !Number.isFinite(Number(value)))) throw new Error(`Give a number: ${name} has numbers.`);
  return `${column} ${operator} ${value}`;
}

function add() {
  $("filter-value-error").textContent = "";
  $("filter-value").removeAttribute("aria-invalid");
  try {
    const before = where();
    const one = condition();
    $("where").value = !before ? one : `${/\bor\b/i.test(before) ? `(${before})` : before} and ${one}`;
    clearFilterError();
    $("where").dispatchEvent(new Event("change"));
  } catch (error) {
    $("filter-value-error").textContent = error.message;
    $("filter-value").setAttribute("aria-invalid", "true");
    $("filter-value").focus();
  }
}

$("filter-column").addEventListener("change", setOperators);
$("filter-operator").addEventListener("change", setValues);
$("filter-add").addEventListener("click", add);
$("filter-value").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // adds the condition, and does not send the form with what was there before
  add();
});
$("where").addEventListener("input", clearFilterError);
$("filter-clear").addEventListener("click", () => {
  $("where").value = "";
  clearFilterError();
  $("where").dispatchEvent(new Event("change"));
});
