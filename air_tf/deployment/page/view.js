// Shows what was found: boxes, probabilities of the counts, and the attend steps.

import {context, makeCanvas, show} from 'air/pixels';
import {settings} from 'air/resources';
import {count} from 'air/scene';

const {height, width, colours, readsDifference} = settings;
const MOST_BARS = 8;

export const colourOf = step => colours[step % colours.length];

export const objects = n => (n === 1 ? '1 object' : `${n} objects`);

const percent = p => `${(100 * p).toFixed(1)} %`;

const share = x => `${100 * x}%`;

/** Places an element over a canvas, by shares of it. */
export function place(element, top, left, bottom, right) {
  Object.assign(element.style, {
    top: share(top),
    left: share(left),
    width: share(right - left),
    height: share(bottom - top),
  });
}

function make(name, text = '', className = '') {
  return Object.assign(document.createElement(name), {textContent: text, className});
}

/** Bars of q(n): those of all counts, or of the most probable if there are many. */
export function showProbabilities(list, probs) {
  let counts = [...probs.keys()];
  if (counts.length > MOST_BARS) {
    counts = counts.sort((a, b) => probs[b] - probs[a]).slice(0, MOST_BARS);
    counts.sort((a, b) => a - b);
  }
  list.replaceChildren(
    ...counts.map(n => {
      const row = make('li'), bar = make('i');
      bar.style.width = share(probs[n]);
      const track = make('span', '', 'track');
      track.append(bar);
      row.append(make('b', n), track, make('span', percent(probs[n])));
      return row;
    }),
  );
}

/** Outlines of the first n boxes with the number of their step. */
export function showBoxes(layer, boxes, n) {
  layer.replaceChildren(
    ...[...Array(n).keys()].map(t => {
      const box = make('span', '', 'found');
      box.append(make('b', t + 1));
      box.style.color = colourOf(t);
      place(box, ...boxes.subarray(4 * t, 4 * t + 4));
      // The number would be cut off above.
      box.classList.toggle('high', boxes[4 * t] < 0.07);
      return box;
    }),
  );
}

/**
 * What each attend step saw and drew.
 *
 * @param image the input, an array.
 * @param scene what was found in it.
 * @param canvases of the first 0, 1, ... objects.
 */
export function showSteps(list, image, scene, canvases) {
  const n = count(scene), steps = [...canvases.keys()].slice(0, settings.maxObjects);
  let atLeast = 1;
  list.replaceChildren(
    ...steps.map(t => {
      atLeast -= scene.num_objects_probs[t]; // q(n >= t + 1)
      const probability = percent(Math.max(0, atLeast));
      const left = image.map((x, i) => x - canvases[t][i]), row = make('div', '', 'row');
      const item = make('li'), title = make('h3', `Step ${t + 1}`);
      if (t < n) {
        const seen = windowOf(scene, t), source = readsDifference ? left : image;
        row.append(
          figure('left to explain', left.map(Math.abs), seen),
          cropped('what it reads', source, seen),
          figure('drawn so far', canvases[t + 1]),
        );
        item.style.borderColor = colourOf(t);
        title.append(make('small', `at least ${objects(t + 1)}: ${probability}`));
      } else {
        row.append(figure('left to explain', left.map(Math.abs)));
        title.append(make('small', `stops; at least ${objects(t + 1)}: ${probability}`));
      }
      item.append(title, row);
      return item;
    }),
  );
}

/** The window of an object as shares of the canvas, from its scale and shifts. */
function windowOf(scene, t) {
  const [scale, down, right] = scene.z_where.subarray(3 * t, 3 * t + 3);
  const [top, left] = [down, right].map(shift => (shift + 1 - scale) / 2);
  return [top, left, top + scale, left + scale];
}

function figure(caption, array, outline) {
  const frame = make('figure'), stage = make('div', '', 'stage'), canvas = makeCanvas();
  show(canvas, array);
  stage.append(canvas);
  if (outline) {
    const box = make('span', '', 'window');
    place(box, ...outline);
    stage.append(box);
  }
  frame.append(stage, make('figcaption', caption));
  return frame;
}

function cropped(caption, array, [top, left, bottom, right]) {
  const frame = figure(caption, array), whole = frame.querySelector('canvas');
  const canvas = makeCanvas(), pen = context(canvas);
  const [x, y] = [left * width, top * height];
  const [w, h] = [(right - left) * width, (bottom - top) * height];
  pen.fillRect(0, 0, width, height);
  pen.drawImage(whole, x, y, w, h, 0, 0, width, height);
  whole.replaceWith(canvas);
  return frame;
}
