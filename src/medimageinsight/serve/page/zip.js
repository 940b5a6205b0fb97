// Make a ZIP file without compression (APPNOTE 6.3.10): the files of a folder travel as one.

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});
const UTF8_NAMES = 0x0800;
const MAX_FILES = 0xffff; // without ZIP64

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

// The fields of a header: [bytes, number] each, little-endian.
function header(fields, name) {
  const length = fields.reduce((sum, [size]) => sum + size, 0);
  const bytes = new Uint8Array(length + name.length);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 4) view.setUint32(at, value, true);
    else view.setUint16(at, value, true);
    at += size;
  }
  bytes.set(name, at);
  return bytes;
}

// Return a Blob with the files, { name, file } each.
export async function zip(entries) {
  if (entries.length > MAX_FILES) throw new RangeError(`expected at most ${MAX_FILES} files`);
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, file } of entries) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const encoded = new TextEncoder().encode(name);
    const common = [[2, UTF8_NAMES], [2, 0], [4, 0], [4, crc32(bytes)], [4, bytes.length], [4, bytes.length], [2, encoded.length], [2, 0]];
    const local = header([[4, 0x04034b50], [2, 20], ...common], encoded);
    directory.push(header([[4, 0x02014b50], [2, 20], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]], encoded));
    parts.push(local, bytes);
    offset += local.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const none = new Uint8Array();
  const end = header([[4, 0x06054b50], [2, 0], [2, 0], [2, entries.length], [2, entries.length], [4, size], [4, offset], [2, 0]], none);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
