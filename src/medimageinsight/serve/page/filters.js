// The filter form: each condition is appended to the filter expression, which can be edited.

import { $, make, setOptions } from "./dom.js";

const OPERATORS = {
  string: ["=", "!=", "like", "is null", "is not null"],
  boolean: ["=", "!=", "is null", "is not null"],
  number: ["=", "!=", "<", "<=", ">", ">=", "is null", "is not null"],
};
const RESERVED = new Set(["and", "or", "not", "in", "like", "is", "null", "true", "false"]);

let columns = {}; // name: type
let suggestions = {}; // name: values of the cases shown

export function setColumns(storeColumns) {
  columns = { id: "string", path: "string", ...storeColumns };
  suggestions = {};
  const names = [...Object.keys(storeColumns), "id", "path"];
  setOptions($("filter-column"), names.map((name) => [name]));
  setOperators();
}

export function addSuggestions(hits) {
  for (const hit of hits) {
    for (const [name, value] of Object.entries(hit.metadata)) {
      if (value !== null) (suggestions[name] ??= new Set()).add(String(value));
    }
  }
  setValues();
}

export const where = () => $("where").value.trim();

// Show the server's message at the field, with the cursor at the error.
export function showFilterError(error) {
  $("filters").open = true;
  $("where-error").textContent = error.message;
  $("where").setAttribute("aria-invalid", "true");
  const position = Number(/at character (\d+)/i.exec(error.message)?.[1] ?? 1) - 1;
  $("where").focus();
  $("where").setSelectionRange(position, Math.min(position + 1, $("where").value.length));
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
  const values = kind() === "boolean" ? ["true", "false"] : [...(suggestions[$("filter-column").value] ?? [])].sort().slice(0, 50);
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

function addCondition() {
  $("filter-value-error").textContent = "";
  $("filter-value").removeAttribute("aria-invalid");
  try {
    const expression = where();
    const added = condition();
    $("where").value = expression ? `${/\bor\b/i.test(expression) ? `(${expression})` : expression} and ${added}` : added;
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
$("filter-add").addEventListener("click", addCondition);
$("filter-value").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // adds the condition instead of submitting the form
  addCondition();
});
$("where").addEventListener("input", clearFilterError);
$("filter-clear").addEventListener("click", () => {
  $("where").value = "";
  clearFilterError();
  $("where").dispatchEvent(new Event("change"));
});
