// Entry point: ask the server what it offers, ask the user for a key if needed, and switch tabs.

import { requiresKey, send } from "./api.js";
import { compare } from "./compare.js";
import { $, setOptions } from "./dom.js";
import "./inputs.js";
import { loadMissingPreviews } from "./items.js";
import { map } from "./map.js";
import { prompts } from "./prompts.js";
import { showRequests } from "./request.js";
import "./series.js";
import { similar } from "./similar.js";
import { changed, onChange, state } from "./state.js";
import { showError, showStatus } from "./status.js";
import { tabs } from "./tabs.js";
import { tags } from "./tags.js";
import { refresh, stop } from "./view.js";
import "./windows.js";

const views = { "tab-prompts": prompts, "tab-tags": tags, "tab-similar": similar, "tab-compare": compare, "tab-map": map };
let current = prompts;

function showTab(tab) {
  current = views[tab.id];
  const lacksStore = Boolean(current.needsStore && state.about && !state.about.stores.length);
  for (const view of Object.values(views)) view.panel.hidden = view !== current;
  for (const part of current.panel.children) part.hidden = lacksStore;
  $("no-store").hidden = !lacksStore;
  if (lacksStore) current.panel.append($("no-store"));
  refreshCurrent(lacksStore);
}

function refreshCurrent(lacksStore = !$("no-store").hidden && current.panel.contains($("no-store"))) {
  if (!state.about) return;
  if (!lacksStore) {
    refresh(current);
    return;
  }
  stop();
  showRequests([]);
  showStatus("No store is served.");
}

async function start() {
  showStatus("Asking the server what it offers…");
  try {
    state.about = await send({ method: "GET", path: "api/about" });
  } catch (error) {
    if (error.status === 401) askForKey();
    else if (error.wait) retryLater(error);
    else showError(error, start);
    return;
  }
  $("key-form").hidden = true;
  const names = state.about.models.map((model) => model.name);
  setOptions($("model"), names.map((name) => [name]));
  $("model-field").hidden = names.length < 2;
  changed("about");
  loadMissingPreviews();
  showTab(document.querySelector('.tabs [aria-selected="true"][id^="tab-"]'));
}

// A model that is loading will answer soon.
function retryLater(error) {
  showError(error, start);
  setTimeout(() => state.about || start(), 1000 * error.wait);
}

function askForKey() {
  state.keyRequired = true;
  if (!$("key-form").hidden) showStatus("The server does not know this key.", { bad: true });
  else showStatus("The server asks for a key.", { bad: true });
  $("key-form").hidden = false;
  $("key").focus();
  $("key").select();
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = $("key").value.trim();
  start();
});
document.addEventListener("key-needed", askForKey);
$("model").addEventListener("change", () => {
  state.model = $("model").value;
  refreshCurrent();
});

const select = tabs(document.querySelector(".tabs"), showTab);
select($("tab-prompts"));
onChange("selected", () => refreshCurrent());
onChange("items", () => current === compare && refreshCurrent());
state.keyRequired = await requiresKey();
start();
