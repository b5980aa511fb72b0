// What comes with the page: within it, or as files beside it.

export const settings = JSON.parse(document.getElementById('settings').textContent);

/** Bytes of a resource, unpacked. */
export async function load(name) {
  const node = document.getElementById(`data-${name}`);
  const bytes = node.dataset.file
    ? await download(node.dataset.file)
    : Uint8Array.from(atob(node.textContent), c => c.charCodeAt(0));
  node.remove();
  const packed = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return packed ? unpack(bytes) : bytes;
}

async function download(file) {
  const answer = await fetch(file);
  if (!answer.ok) throw new Error(`${file}: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function unpack(bytes) {
  const stream = new Blob([bytes]).stream();
  const plain = stream.pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}
