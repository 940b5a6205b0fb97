// Shows the requests that were sent, as code for a shell or for Python.

import { curl, python } from "./snippet.js";
import { $ } from "./dom.js";
import { showStatus } from "./status.js";
import { tabs } from "./tabs.js";

const languages = { "tab-curl": curl, "tab-python": python };
let current = [];
let language = "tab-curl";

export function showRequests(requests) {
  current = requests;
  $("request").hidden = !requests.length;
  print();
}

function print() {
  $("code").firstElementChild.textContent = current.map(languages[language]).join("\n\n");
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
    showStatus("Copied.");
  } catch {
    showStatus("The browser does not let this page copy: select the text and copy it.", { bad: true });
  }
});

// Browsers offer navigator.clipboard only to pages over TLS or from this machine.
function copySelected() {
  getSelection().selectAllChildren($("code"));
  if (!document.execCommand("copy")) throw new Error("refused");
  getSelection().removeAllRanges();
}
