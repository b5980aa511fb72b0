// The converted model: named arrays in, named arrays out.

import {loadAndCompile, loadLiteRt, Tensor} from '@litertjs/core';
import {load} from 'air/resources';

export class Model {
  static async load() {
    self.Module = {wasmBinary: await load('wasm'), printErr: report};
    const script = new Blob([await load('glue')], {type: 'text/javascript'});
    // The runtime asks for a name that ends so.
    await loadLiteRt(`${URL.createObjectURL(script)}#.js`);
    const compiled = await loadAndCompile(await load('model'), {accelerator: 'wasm'});
    return new Model(compiled.signatures);
  }

  constructor(signatures) {
    this.signatures = signatures;
  }

  /** An image [H, W, C] in [0, 1] to scenes. */
  infer(image) {
    return this.run('serving_default', {image});
  }

  /** Latents, named as in scenes and with the present objects first, to a canvas. */
  decode(latents) {
    return this.run('decode', latents);
  }

  async run(signature, arrays) {
    const runner = this.signatures[signature];
    const inputs = {};
    for (const {name, shape} of runner.getInputDetails()) {
      inputs[name] = new Tensor(arrays[name], Array.from(shape));
    }
    const outputs = await runner.run(inputs);
    const found = {};
    for (const [name, tensor] of Object.entries(outputs)) {
      found[name] = (await tensor.data()).slice();
    }
    // The runtime's memory is not collected.
    for (const tensor of [...Object.values(inputs), ...Object.values(outputs)]) {
      tensor.delete();
    }
    return found;
  }
}

// The runtime also writes there what it does, and that it has no other accelerators.
function report(text) {
  if (text.startsWith('ERROR')) console.error(text);
  else console.debug(text);
}
