// The requests that were sent, as a program would send them: the same description, printed for a shell or for Python.

import { curl, python } from "./snippet.js";
import { $ } from "./dom.js";
import { say } from "./status.js";
import { tabs } from "./tabs.js";

const languages = { "tab-curl": curl, "tab-python": python };
let shown = [];
let language = "tab-curl";

export function showRequests(requests) {
  shown = requests;
  $("request").hidden = !requests.length;
  print();
}

function print() {
  $("code").firstElementChild.textContent = shown.map(languages[language]).join("\n\n");
  $("code").setAttribute("aria-labelledby", language);
}

const list = $("request").querySelector('[role="tablist"]');
tabs(list, (tab) => {
  language = tab.id;
  print();
})($("tab-curl"));

$("copy").addEventListener("click", async () => {
  const text = $("code").textContent;
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copySelected();
    say("Copied.");
  } catch {
    say("The browser does not let this page copy: select the text and copy it.", { bad: true });
  }
});

// Where the page did not come over TLS or from this machine, browsers have no clipboard for it but this one.
function copySelected() {
  getSelection().selectAllChildren($("code"));
  if (!document.execCommand("copy")) throw new Error("refused");
  getSelection().removeAllRanges();
}
