// What the page knows. It lives in memory alone: closing the page forgets it.

export const state = {
  about: null, // the server's account of itself
  items: [], // what was added, see items.js
  selected: null, // one of them
  model: null, // a name where the server has several, else null
  key: "", // of the API
  keyed: false, // whether the server asks for one
};

const changes = new EventTarget();

export function changed(what) {
  changes.dispatchEvent(new Event(what));
}

export function onChange(what, listener) {
  changes.addEventListener(what, listener);
}
