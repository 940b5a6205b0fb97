// Refresh a tab: it describes its requests, those that changed are sent, and it shows the responses.
//
//   view = { panel, working, describe(), show(responses, signal), clear(), handleError?(error) }
//
// `describe` returns { requests }, or { missing, bad } with a message about missing or invalid inputs. `show` returns
// the text of the status line, which is `working` until then. `handleError` returns whether it has shown the error.

import { requestKey, send } from "./api.js";
import { $ } from "./dom.js";
import { loadMissingPreviews } from "./items.js";
import { showRequests } from "./request.js";
import { showError, showStatus } from "./status.js";

let activeJob = null; // { view, controller }

export async function refresh(view, { force = false } = {}) {
  stop();
  const { requests, missing, bad = false } = view.describe();
  if (missing) {
    view.clear();
    view.responses = new Map();
    showRequests([]);
    showStatus(missing, { bad });
    return;
  }
  const job = { view, controller: new AbortController() };
  activeJob = job;
  const { signal } = job.controller;
  view.panel.setAttribute("aria-busy", "true");
  document.body.classList.add("working");
  showStatus(view.working);
  try {
    const known = force ? new Map() : (view.responses ?? new Map());
    const responses = await Promise.all(requests.map(async (request) => known.get(requestKey(request)) ?? send(request, signal)));
    if (job !== activeJob) return;
    const text = view.show(responses, signal);
    view.responses = new Map(requests.map((request, i) => [requestKey(request), responses[i]]));
    showRequests(requests);
    showStatus(text);
  } catch (error) {
    if (job !== activeJob) return;
    view.clear();
    view.responses = new Map();
    showRequests([]);
    if (!view.handleError?.(error)) showError(error, () => retry(view));
    if (error.status === 401) document.dispatchEvent(new Event("key-needed"));
  } finally {
    if (job === activeJob) stop();
  }
}

function retry(view) {
  loadMissingPreviews();
  refresh(view, { force: true });
}

// Cancel the requests of the current view.
export function stop() {
  activeJob?.controller.abort();
  activeJob?.view.panel.removeAttribute("aria-busy");
  document.body.classList.remove("working");
  activeJob = null;
}

export function empty(...ids) {
  for (const id of ids) $(id).replaceChildren();
}
