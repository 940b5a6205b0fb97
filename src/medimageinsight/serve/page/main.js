// The page's start: what the server offers, a key where it asks for one, and the tab at work.

import { asksForKey, send } from "./api.js";
import { compare } from "./compare.js";
import { $, setOptions } from "./dom.js";
import "./inputs.js";
import { lookAgain } from "./items.js";
import { map } from "./map.js";
import { prompts } from "./prompts.js";
import { showRequests } from "./request.js";
import { similar } from "./similar.js";
import { changed, onChange, state } from "./state.js";
import { say, sayError } from "./status.js";
import { tabs } from "./tabs.js";
import { tags } from "./tags.js";
import { leave, refresh } from "./view.js";

const views = { "tab-prompts": prompts, "tab-tags": tags, "tab-similar": similar, "tab-compare": compare, "tab-map": map };
let current = prompts;

function showTab(tab) {
  current = views[tab.id];
  const lacksStore = Boolean(current.needsStore && state.about && !state.about.stores.length);
  for (const view of Object.values(views)) view.panel.hidden = view !== current;
  for (const part of current.panel.children) part.hidden = lacksStore;
  $("no-store").hidden = !lacksStore;
  if (lacksStore) current.panel.append($("no-store"));
  work(lacksStore);
}

function work(lacksStore = !$("no-store").hidden && current.panel.contains($("no-store"))) {
  if (!state.about) return;
  if (!lacksStore) {
    refresh(current);
    return;
  }
  leave();
  showRequests([]);
  say("No store is served.");
}

async function start() {
  say("Asking the server what it offers…");
  try {
    state.about = await send({ method: "GET", path: "api/about" });
  } catch (error) {
    if (error.status === 401) askForKey();
    else if (error.wait) again(error);
    else sayError(error, start);
    return;
  }
  $("key-form").hidden = true;
  const names = state.about.models.map((model) => model.name);
  setOptions($("model"), names.map((name) => [name]));
  $("model-field").hidden = names.length < 2;
  changed("about");
  lookAgain();
  showTab(document.querySelector('.tabs [aria-selected="true"][id^="tab-"]'));
}

// A model that loads answers soon.
function again(error) {
  sayError(error, start);
  setTimeout(() => state.about || start(), 1000 * error.wait);
}

function askForKey() {
  state.keyed = true;
  if (!$("key-form").hidden) say("The server does not know this key.", { bad: true });
  else say("The server asks for a key.", { bad: true });
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
  work();
});

const select = tabs(document.querySelector(".tabs"), showTab);
select($("tab-prompts"));
onChange("selected", () => work());
onChange("items", () => current === compare && work());
state.keyed = await asksForKey();
start();
