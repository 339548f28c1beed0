"use strict";
// What is packed in the page: NIfTI files as base64 of gzip, in script blocks that aren't run. They are stored in the
// order right, anterior, superior: the voxel (x, y, z) lies at x + columns * (y + rows * z).

const HEADER = 352; // bytes of a NIfTI-1 header in a file of its own

async function unpack(id) {
  const block = document.getElementById(id);
  const text = block.textContent;
  block.remove(); // tens of megabytes that nobody needs any more
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const file = await new Response(stream).arrayBuffer();
  const header = new DataView(file, 0, HEADER);
  const numbers = (from, step, read) => [0, 1, 2].map((axis) => header[read](from + step * axis, true));
  const Voxels = { 2: Uint8Array, 4: Int16Array }[header.getInt16(70, true)];
  return {
    header: file.slice(0, HEADER),
    dims: numbers(42, 2, "getInt16"),
    spacing: numbers(80, 4, "getFloat32"),
    slope: header.getFloat32(112, true),
    voxels: new Voxels(file, HEADER),
  };
}

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at);
  return bytes;
}
