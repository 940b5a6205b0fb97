// Folders that are dropped or chosen: each becomes one item, a ZIP file of what is in it.

import { zip } from "./zip.js";

const hidden = (path) => path.split("/").some((part) => part.startsWith("."));

// The folders of a drop. To be called before the event ends, as the browser forgets its data then.
export function droppedFolders(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry?.isDirectory);
  return entries.map((entry) => ({ name: entry.name, list: () => listEntry(entry, "") }));
}

// The folder of an input with `webkitdirectory`.
export function chosenFolder(files) {
  const name = files[0].webkitRelativePath.split("/")[0];
  const entries = [...files].map((file) => ({ name: file.webkitRelativePath.split("/").slice(1).join("/"), file }));
  return { name, list: async () => entries };
}

export async function packFolder({ name, list }) {
  const entries = (await list()).filter((entry) => !hidden(entry.name));
  return new File([await zip(entries)], `${name}.zip`);
}

async function listEntry(entry, parent) {
  const path = parent ? `${parent}/${entry.name}` : entry.name;
  if (entry.isFile) return [{ name: path, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) }];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100 at a time
    if (!batch.length) break;
    for (const child of batch) found.push(...(await listEntry(child, path)));
  }
  return found;
}
