// Format a request as a shell command or a Python program, which read the image files by name.

import { address, ImageCell } from "./api.js";
import { state } from "./state.js";

const WIDTH = 88;

export function curl(request) {
  const lines = [`curl -sS ${quote(address(request).href)}`];
  if (state.keyRequired) lines.push(`  -H "Authorization: Bearer $MI2_KEY"`);
  if (!request.body) return lines.join(" \\\n");
  lines.push("  -H 'Content-Type: application/json'", "  --data-binary @- <<JSON");
  return `${lines.join(" \\\n")}\n${print(request.body, SHELL)}\nJSON`;
}

export function python(request) {
  const hasImage = JSON.stringify(request, (_, value) => (value instanceof ImageCell ? "image" : value)) !== JSON.stringify(request);
  const lines = [hasImage ? "import base64" : null, "import json", state.keyRequired ? "import os" : null, "import urllib.request", ""];
  if (hasImage) lines.push("", "def image(path):", '    with open(path, "rb") as file:', "        return base64.b64encode(file.read()).decode()", "", "");
  const headers = state.keyRequired ? ['"Authorization": f"Bearer {os.environ[\'MI2_KEY\']}"'] : [];
  const url = JSON.stringify(address(request).href);
  if (request.body) {
    headers.push('"Content-Type": "application/json"');
    lines.push(`body = ${print(request.body, PYTHON)}`);
    lines.push(`request = urllib.request.Request(\n    ${url},\n    json.dumps(body).encode(),\n    {${headers.join(", ")}},\n)`);
  } else {
    lines.push(`request = urllib.request.Request(${url}, headers={${headers.join(", ")}})`);
  }
  lines.push("with urllib.request.urlopen(request) as response:", "    print(json.load(response))");
  return lines.filter((line) => line !== null).join("\n");
}

// The shell interprets \, $ and ` within <<JSON, so they are escaped.
const SHELL = {
  text: (value) => JSON.stringify(value).replace(/[\\$`]/g, "\\$&"),
  literal: (value) => JSON.stringify(value),
  image: (name) => `"$(base64 < ${quote(name)} | tr -d '\\n')"`,
};

const PYTHON = {
  text: (value) => JSON.stringify(value),
  literal: (value) => ({ true: "True", false: "False", null: "None" })[value] ?? JSON.stringify(value),
  image: (name) => `image(${JSON.stringify(name)})`,
};

function print(value, style, indent = "") {
  if (value instanceof ImageCell) return style.image(value.item.file.name || value.item.name);
  if (typeof value === "string") return style.text(value);
  if (value === null || typeof value !== "object") return style.literal(value);
  const inner = `${indent}  `;
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const parts = Array.isArray(value)
    ? value.map((member) => print(member, style, inner))
    : Object.entries(value).map(([name, member]) => `${style.text(name)}: ${print(member, style, inner)}`);
  const line = `${open}${parts.join(", ")}${close}`;
  if (indent.length + line.length <= WIDTH && !line.includes("\n") && indent) return line;
  return `${open}\n${parts.map((part) => inner + part).join(",\n")}\n${indent}${close}`;
}

function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
