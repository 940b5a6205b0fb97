// One tab's work: it describes its requests, they are sent where they changed, and it shows the answers.
//
//   view = { panel, working, describe(), show(answers, signal), clear() }
//
// `describe` gives { requests } or { missing, bad }, the words for what is not there yet or wrong. `show` gives the words to say.

import { identify, send } from "./api.js";
import { $ } from "./dom.js";
import { lookAgain } from "./items.js";
import { showRequests } from "./request.js";
import { say, sayError } from "./status.js";

let atWork = null; // { view, controller }

export async function refresh(view, { force = false } = {}) {
  stop();
  const { requests, missing, bad = false } = view.describe();
  if (missing) {
    view.clear();
    view.answers = new Map();
    showRequests([]);
    say(missing, { bad });
    return;
  }
  const job = { view, controller: new AbortController() };
  atWork = job;
  const { signal } = job.controller;
  view.panel.setAttribute("aria-busy", "true");
  document.body.classList.add("working");
  say(view.working);
  try {
    const known = force ? new Map() : (view.answers ?? new Map());
    const answers = await Promise.all(requests.map(async (request) => known.get(identify(request)) ?? send(request, signal)));
    if (job !== atWork) return;
    const words = view.show(answers, signal);
    view.answers = new Map(requests.map((request, i) => [identify(request), answers[i]]));
    showRequests(requests);
    say(words);
  } catch (error) {
    if (job !== atWork) return;
    view.clear();
    view.answers = new Map();
    showRequests([]);
    if (!view.refuse?.(error)) sayError(error, () => retry(view));
    if (error.status === 401) document.dispatchEvent(new Event("key-needed"));
  } finally {
    if (job === atWork) stop();
  }
}

function retry(view) {
  lookAgain();
  refresh(view, { force: true });
}

// Nothing is to be done or shown any more.
export const leave = () => stop();

function stop() {
  atWork?.controller.abort();
  atWork?.view.panel.removeAttribute("aria-busy");
  document.body.classList.remove("working");
  atWork = null;
}

// An empty place where a list will be.
export function empty(...ids) {
  for (const id of ids) $(id).replaceChildren();
}
