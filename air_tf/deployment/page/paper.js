// The drawing area: strokes over a picture, and frames that show usual sizes.

import {context} from 'air/pixels';
import {settings} from 'air/resources';
import {place} from 'air/view';

// Of a small, a usual and a large object, as shares of the canvas; or null. And the
// longest side of a stroke that the model is shown, in pixels; or null.
const {height, width, objectSizes, drawnSize} = settings;

/** The larger side of a size. */
export const inPixels = ([h, w]) => Math.max(h * height, w * width);

// Passes of a brush with a soft edge: change of its width in pixels, and opacity.
const PASSES = [[1.2, 0.29], [0, 0.58], [-1, 0.9]];

/** Paints a picture with strokes: {points: [[x, y], ...], width, ink}, in pixels. */
export function paint(canvas, picture, strokes) {
  const pen = context(canvas);
  pen.globalAlpha = 1;
  pen.drawImage(picture, 0, 0);
  pen.lineCap = pen.lineJoin = 'round';
  for (const {points, width: brush, ink} of strokes) {
    const [first, ...others] = points;
    const dot = [[first[0] + 0.01, first[1]]];
    pen.strokeStyle = `rgb(${ink})`;
    for (const [wider, opacity] of PASSES) {
      pen.globalAlpha = opacity;
      pen.lineWidth = Math.max(brush + wider, 0.6);
      pen.beginPath();
      pen.moveTo(...first);
      for (const point of others.length ? others : dot) pen.lineTo(...point);
      pen.stroke();
    }
  }
}

/** The zoom at which no stroke is larger than the model should be shown, at most 1. */
export function zoomFor(strokes) {
  const longest = Math.max(...strokes.map(longerSide), 0);
  return drawnSize && longest > drawnSize ? drawnSize / longest : 1;
}

/** Of the ink of a stroke. */
function longerSide({points, width: brush}) {
  const sides = [0, 1].map(axis => {
    const places = points.map(point => point[axis]);
    return Math.max(...places) - Math.min(...places);
  });
  return Math.max(...sides) + brush;
}

/** Strokes drawn smaller, around the middle. */
export function zoomed(strokes, zoom) {
  const toward = (place, middle) => middle + zoom * (place - middle);
  return strokes.map(stroke => ({
    ...stroke,
    points: stroke.points.map(([x, y]) => [toward(x, width / 2), toward(y, height / 2)]),
    width: zoom * stroke.width,
  }));
}

/**
 * Calls `onStart(point)` and `onMove(point)` for mouse, pen and finger, with points in
 * pixels of the model's image; `onHover(point)` without a pressed button, null outside.
 */
export function listen(canvas, {onStart, onMove, onHover}) {
  const at = event => {
    const frame = canvas.getBoundingClientRect();
    return [
      ((event.clientX - frame.left) / frame.width) * width,
      ((event.clientY - frame.top) / frame.height) * height,
    ];
  };
  const isInside = ([x, y]) => x >= 0 && y >= 0 && x <= width && y <= height;
  let active = null;
  canvas.addEventListener('pointerdown', event => {
    if (active !== null || event.button) return;
    active = event.pointerId;
    canvas.setPointerCapture(active);
    onStart(at(event));
  });
  canvas.addEventListener('pointermove', event => {
    if (active === null) onHover(at(event));
    if (event.pointerId !== active) return;
    const events = event.getCoalescedEvents?.() ?? [];
    // What is drawn outside is not seen, so it should not count.
    const points = (events.length ? events : [event]).map(at).filter(isInside);
    points.forEach(onMove);
  });
  for (const name of ['pointerup', 'pointercancel']) {
    canvas.addEventListener(name, event => {
      if (event.pointerId === active) active = null;
    });
  }
  canvas.addEventListener('pointerleave', () => onHover(null));
}

/** Places both frames around a point in pixels; hides them for null. */
export function placeGuide(layer, point) {
  layer.hidden = !objectSizes || !point;
  if (layer.hidden) return;
  const x = point[0] / width, y = point[1] / height;
  [objectSizes[0], objectSizes[2]].forEach(([h, w], i) =>
    place(layer.children[i], y - h / 2, x - w / 2, y + h / 2, x + w / 2),
  );
}
