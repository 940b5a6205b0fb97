// Pictures of cases. They are fetched with the key, so they come as blobs; the last few are kept.

import { fetchPicture } from "./api.js";
import { make } from "./dom.js";
import { state } from "./state.js";

const KEPT = 400;
const known = new Map(); // what: promise of a blob's address, or of null where the server has no picture

export function showPicture(place, store, id, size) {
  place.replaceChildren();
  if (!state.about.stores.find((one) => one.name === store)?.pictures) {
    place.append(make("span", {}, "no picture"));
    return;
  }
  load(store, id, size).then(
    (url) => place.replaceChildren(url ? make("img", { src: url, alt: "" }) : make("span", {}, "no picture")),
    () => place.replaceChildren(make("span", {}, "the picture did not come")),
  );
}

function load(store, id, size) {
  const what = JSON.stringify([store, id, size]);
  if (!known.has(what)) {
    known.set(what, fetchPicture(store, id, size).catch((error) => {
      if (error.status === 404) return null;
      known.delete(what);
      throw error;
    }));
    forgetOldest();
  }
  return known.get(what);
}

function forgetOldest() {
  if (known.size <= KEPT) return;
  const [what, promise] = known.entries().next().value;
  known.delete(what);
  promise.then((url) => url && URL.revokeObjectURL(url), () => {});
}
