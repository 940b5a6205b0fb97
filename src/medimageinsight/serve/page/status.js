// The one line that says what goes on; screen readers read it as it changes.

import { $ } from "./dom.js";

let retry = null;

export function say(words, { bad = false, again = null } = {}) {
  $("status").textContent = words;
  $("status").classList.toggle("bad", bad);
  retry = again;
  $("again").hidden = again === null;
}

export function sayError(error, again = null) {
  say(error.message, { bad: true, again: error.mayRetry ? again : null });
}

$("again").addEventListener("click", () => {
  $("status").setAttribute("tabindex", "-1");
  $("status").focus(); // the button goes
  retry?.();
});
