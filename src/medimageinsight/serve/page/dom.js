// Find and create elements. Content from servers and files is always inserted as text, never as HTML.

export const $ = (id) => document.getElementById(id);

// make("li", { class: "hit", onclick: open }, "a text", another): attributes, listeners, children.
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Set the options of a select; a choice that still exists is preserved.
export function setOptions(select, options, wanted = select.value) {
  select.replaceChildren(...options.map(([value, text]) => new Option(text ?? value, value)));
  if (options.some(([value]) => String(value) === String(wanted))) select.value = wanted;
}

export const percent = (value) => `${(100 * value).toFixed(1)} %`;
export const number = (value, digits = 3) => value.toFixed(digits).replace("-", "−");
