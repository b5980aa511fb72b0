// Scenes as the model gives them, and changes of their objects.

import {settings} from 'air/resources';

const {maxObjects} = settings;
const LATENTS = ['z_where', 'z_what', 'presence', 'ground'];

export const count = scene => scene.presence.reduce((sum, p) => sum + Math.round(p), 0);

/** A scene with its first n objects only. */
export function firstObjects(scene, n) {
  return {...scene, presence: scene.presence.map((p, t) => (t < n ? 1 : 0))};
}

/** The canvases of the first 0, 1, ... objects. */
export async function canvasesByStep(model, scene) {
  const canvases = [];
  for (let n = 0; n <= count(scene); n++) {
    canvases.push((await model.decode(firstObjects(scene, n))).canvas);
  }
  return canvases;
}

/** Copies of the latents alone. */
const latents = scene =>
  Object.fromEntries(LATENTS.map(name => [name, scene[name].slice()]));

/** Moves an object by shares of the height and the width. */
export function move(scene, object, down, right) {
  const moved = latents(scene);
  // Scale, shift_y, shift_x; the canvas has size 2.
  moved.z_where[3 * object + 1] += 2 * down;
  moved.z_where[3 * object + 2] += 2 * right;
  return moved;
}

/** Removes an object; those after it move up. */
export function remove(scene, object) {
  const order = [...Array(maxObjects).keys()].filter(t => t !== object);
  return arrange(scene, order, count(scene) - 1);
}

/** Adds a copy of an object as the last; the scene must have room for one more. */
export function duplicate(scene, object) {
  const n = count(scene), order = [...Array(maxObjects).keys()];
  order[n] = object;
  return arrange(scene, order, n + 1);
}

function arrange(scene, order, n) {
  const found = latents(scene);
  for (const name of ['z_where', 'z_what']) {
    const size = scene[name].length / maxObjects;
    order.forEach((from, to) => {
      found[name].set(scene[name].subarray(from * size, (from + 1) * size), to * size);
    });
  }
  return firstObjects(found, n);
}
