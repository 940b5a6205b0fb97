// Requests, to this server only. URLs are relative to the page, so that any root path works.

import { state } from "./state.js";

export class ServerError extends Error {
  constructor(message, { code = "", status = 0, wait = 0 } = {}) {
    super(message);
    Object.assign(this, { code, status, wait });
  }

  // Temporary conditions: no connection, a full queue, a model that loads.
  get mayRetry() {
    return [0, 429, 503].includes(this.status);
  }
}

// An image in a request: sent as its file's bytes, shown as its name.
export class ImageCell {
  constructor(item) {
    this.item = item;
  }
}

export const image = (item) => new ImageCell(item);

export function address(request) {
  const url = new URL(request.path, document.baseURI);
  for (const [name, value] of Object.entries(request.query ?? {})) url.searchParams.set(name, value);
  return url;
}

// A string that is equal for equal requests.
export function requestKey(request) {
  return JSON.stringify(request, (_, value) => (value instanceof ImageCell ? `image ${value.item.number}` : value));
}

export async function send(request, signal) {
  const response = await open(request, signal);
  const body = await response.json().catch(() => null);
  if (body === null) throw new ServerError("The server's answer cannot be read.", { status: response.status });
  return body;
}

export async function fetchStoredImage(store, id, size, signal) {
  const response = await open({ method: "GET", path: "api/picture", query: { store, id, size } }, signal);
  return URL.createObjectURL(await response.blob());
}

export async function fetchSlideRegion(query) {
  const response = await open({ method: "GET", path: "api/slide/region", query });
  return URL.createObjectURL(await response.blob());
}

async function open(request, signal) {
  const headers = state.key ? { Authorization: `Bearer ${state.key}` } : {};
  let body = null;
  if (request.body) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(await withBytes(request.body));
  }
  const response = await fetch(address(request), { method: request.method, headers, body, signal }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server cannot be reached: see whether it still runs, then try again.");
  });
  if (!response.ok) throw await errorOf(response);
  return response;
}

async function errorOf(response) {
  const body = await response.json().catch(() => null);
  const { code, message } = body?.error ?? {};
  const wait = Number(response.headers.get("Retry-After")) || 0;
  const reason = sentence(message ?? `The server answered ${response.status} and gave no reason`);
  const advice = wait ? ` Try again in ${wait} s.` : "";
  return new ServerError(reason + advice, { code, status: response.status, wait });
}

// The error of a single image in a response.
export function itemError(error) {
  return new ServerError(sentence(error.message), { code: error.code, status: 422 });
}

function sentence(text) {
  const capitalized = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capitalized) ? capitalized : `${capitalized}.`;
}

async function withBytes(value) {
  if (value instanceof ImageCell) return base64(value.item);
  if (Array.isArray(value)) return Promise.all(value.map(withBytes));
  if (value === null || typeof value !== "object") return value;
  const pairs = await Promise.all(Object.entries(value).map(async ([name, member]) => [name, await withBytes(member)]));
  return Object.fromEntries(pairs);
}

function base64(item) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new ServerError(`${item.name} cannot be read: add the file again.`, { status: 422 }));
    reader.readAsDataURL(item.file);
  });
}

// Whether the server refuses requests without a key.
export async function requiresKey() {
  const response = await fetch(new URL("api/about", document.baseURI), { credentials: "omit" }).catch(() => null);
  return response?.status === 401;
}
