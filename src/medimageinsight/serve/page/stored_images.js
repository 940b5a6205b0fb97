// Images of stored cases. They are fetched with the key, so they are blobs; the most recent ones are cached.

import { fetchStoredImage } from "./api.js";
import { make } from "./dom.js";
import { state } from "./state.js";

const MAX_CACHED = 400;
const cache = new Map(); // key: promise of a blob's URL, or of null if the server has no image

export function showStoredImage(container, storeName, id, size) {
  container.replaceChildren();
  const store = state.about.stores.find(({ name }) => name === storeName);
  if (!store?.["pictures"]) {
    container.append(make("span", {}, "no image"));
    return;
  }
  load(storeName, id, size).then(
    (url) => container.replaceChildren(url ? make("img", { src: url, alt: "" }) : make("span", {}, "no image")),
    () => container.replaceChildren(make("span", {}, "the image could not be loaded")),
  );
}

function load(store, id, size) {
  const key = JSON.stringify([store, id, size]);
  if (!cache.has(key)) {
    cache.set(key, fetchStoredImage(store, id, size).catch((error) => {
      if (error.status === 404) return null;
      cache.delete(key);
      throw error;
    }));
    removeOldest();
  }
  return cache.get(key);
}

function removeOldest() {
  if (cache.size <= MAX_CACHED) return;
  const [key, promise] = cache.entries().next().value;
  cache.delete(key);
  promise.then((url) => url && URL.revokeObjectURL(url), () => {});
}
