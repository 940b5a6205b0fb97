// The state of the page, in memory only.

export const state = {
  about: null, // the response of api/about
  items: [], // added images and texts, see items.js
  selected: null, // the selected item
  model: null, // a name if the server has several models, else null
  key: "", // the API key
  keyRequired: false,
};

const changes = new EventTarget();

export function changed(name) {
  changes.dispatchEvent(new Event(name));
}

export function onChange(name, listener) {
  changes.addEventListener(name, listener);
}
