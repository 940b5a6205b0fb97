// The status line; screen readers read its changes.

import { $ } from "./dom.js";

let retry = null;

export function showStatus(text, { bad = false, onRetry = null } = {}) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
  retry = onRetry;
  $("retry").hidden = onRetry === null;
}

export function showError(error, onRetry = null) {
  showStatus(error.message, { bad: true, onRetry: error.mayRetry ? onRetry : null });
}

$("retry").addEventListener("click", () => {
  $("status").setAttribute("tabindex", "-1");
  $("status").focus(); // the button will be hidden
  retry?.();
});
