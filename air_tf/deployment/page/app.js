// The page: its state, and what its buttons do.

import {Handles} from 'air/handles';
import {Model} from 'air/model';
import {inPixels, listen, paint, placeGuide, zoomed, zoomFor} from 'air/paper';
import {asInk, makeCanvas, read, readPicture, readStrip, show} from 'air/pixels';
import {load, settings} from 'air/resources';
import {canvasesByStep, count, duplicate, move, remove} from 'air/scene';
import {objects, showBoxes, showProbabilities, showSteps} from 'air/view';

const $ = id => document.getElementById(id);
const {height, width, objectSizes, maxObjects} = settings;
const MIDDLE = [width / 2, height / 2];

let model;
let blank; // the canvas without objects
// States of the page: a picture, strokes on it, and the scene as arranged or null.
// They are never changed, but the last one is replaced during a stroke or a move.
const states = [];
// Whether a stroke or a move goes on, which replaces the last state.
let continues = false;
const state = () => states[states.length - 1];
const isBlank = () => state().picture === blank && !state().strokes.length;
let computed = {}; // what was found in `computed.state`
let running = null; // the update in progress

function push(change) {
  continues = false;
  states.push({...state(), ...change});
  update();
}

function replace(change) {
  states.push({...states.pop(), ...change});
  update();
}

/** Brings the page up to date; a promise that ends when it is. */
function update() {
  paint($('paper'), state().picture, state().strokes);
  placeGuide($('guide'), isBlank() ? MIDDLE : null);
  running ??= work()
    .catch(error => complain(`The model failed: ${error.message ?? error}`))
    .finally(() => (running = null));
  return running;
}

async function work() {
  // Later strokes are seen together, once the model is ready for them.
  while (computed.state !== state()) {
    const now = state();
    const sameInput =
      computed.state?.picture === now.picture && computed.state?.strokes === now.strokes;
    if (!sameInput) await infer(now);
    const drawn = now.arranged ? await model.decode(now.arranged) : computed.scene;
    computed = {...computed, state: now, drawn};
    showDrawn(now, drawn);
    await new Promise(requestAnimationFrame);
  }
}

async function infer(now) {
  const large = zoomFor(now.strokes), zoom = now.picture === blank ? large : 1;
  const seen = makeCanvas();
  paint(seen, now.picture, zoomed(now.strokes, zoom));
  const image = read(seen), start = performance.now();
  const scene = await model.infer(image);
  const milliseconds = performance.now() - start;
  computed = {...computed, image, scene};
  const n = count(scene);
  $('count').textContent = objects(n);
  $('time').textContent = `${milliseconds.toFixed(1)} ms in this browser.`;
  $('large').hidden = large === 1;
  $('large').textContent = zoom === 1
    ? 'Drawings of this size are often miscounted. Draw smaller, or on the empty page.'
    : `The model is shown your drawing at ${Math.round(100 * zoom)} % of its size: drawn ` +
      'lines are sharper than what it learned from, and small ones are counted best.';
  showProbabilities($('probabilities'), scene.num_objects_probs);
  // From what the model sees to the drawing.
  showBoxes($('boxes'), scene.boxes.map(x => 0.5 + (x - 0.5) / zoom), n);
  showSteps($('steps'), image, scene, await canvasesByStep(model, scene));
}

function showDrawn(now, drawn) {
  const n = count(now.arranged ?? computed.scene);
  show($('drawn'), drawn.canvas);
  const lostFocus = handles.show(drawn.boxes, n);
  $('arranged').textContent = now.arranged
    ? `${objects(n)}, as you arranged them.`
    : 'As the model found it.';
  $('copy').disabled = !n || n >= maxObjects;
  $('remove').disabled = !n;
  $('undo').disabled = states.length < 2;
  if (lostFocus) $('undo').focus();
}

const scene = () => state().arranged ?? computed.scene;

let before; // the scene when a move began
const handles = new Handles($('handles'), {
  start() {
    before = scene();
    push({arranged: before});
    continues = true;
  },
  move(object, down, right) {
    if (continues) replace({arranged: move(before, object, down, right)});
  },
  copy(object) {
    const n = count(scene());
    if (n >= maxObjects) return;
    const [y, x] = scene().z_where.subarray(3 * object + 1);
    // Towards the middle, so that the copy is seen.
    const toward = place => (place > 0 ? -0.15 : 0.15);
    const copied = duplicate(scene(), object);
    handles.selected = n;
    push({arranged: move(copied, n, toward(y), toward(x))});
  },
  remove(object) {
    if (count(scene())) push({arranged: remove(scene(), object)});
  },
});
$('copy').onclick = () => handles.on.copy(handles.selected);
$('remove').onclick = () => handles.on.remove(handles.selected);

$('undo').onclick = () => {
  continues = false;
  if (states.length > 1) states.pop();
  update();
};
$('clear').onclick = () => use(blank);

function use(picture) {
  $('problem').hidden = true;
  push({picture, strokes: [], arranged: null});
}

listen($('paper'), {
  onStart(point) {
    if (!model) return;
    const ink = asInk($('ink').value), brush = Number($('brush').value);
    const stroke = {points: [point], width: brush, ink};
    push({strokes: [...state().strokes, stroke], arranged: null});
    continues = true;
  },
  onMove(point) {
    if (!continues) return;
    const strokes = [...state().strokes], last = strokes.pop();
    replace({strokes: [...strokes, {...last, points: [...last.points, point]}]});
  },
  onHover(point) {
    if (model) placeGuide($('guide'), point ?? (isBlank() ? MIDDLE : null));
  },
});

function complain(text) {
  $('problem').textContent = text;
  $('problem').hidden = false;
}

async function openPicture(file) {
  let picture;
  try {
    picture = await readPicture(file);
  } catch {
    complain(`${file.name} can't be decoded. Use a PNG or JPEG picture, for example.`);
    return;
  }
  use(picture);
}
$('file').onchange = () => {
  if ($('file').files.length) openPicture($('file').files[0]);
  $('file').value = '';
};
addEventListener('dragover', event => event.preventDefault());
addEventListener('drop', event => {
  event.preventDefault();
  if (model && event.dataTransfer.files.length) openPicture(event.dataTransfer.files[0]);
});

function addSamples(canvases) {
  canvases.forEach((canvas, i) => {
    const button = document.createElement('button');
    button.setAttribute('aria-label', `Held-out scene ${i + 1}`);
    const thumbnail = makeCanvas();
    paint(thumbnail, canvas, []);
    button.append(thumbnail);
    button.onclick = () => use(canvas);
    $('samples').append(button);
  });
}

function prepareTools() {
  for (const stage of document.querySelectorAll('.stage.whole')) {
    stage.style.aspectRatio = `${width} / ${height}`;
  }
  const usual = objectSizes ? inPixels(objectSizes[1]) : Math.min(height, width) / 3;
  Object.assign($('brush'), {min: 1, max: Math.ceil(usual), step: 0.1});
  $('brush').value = Math.max(1.6, 0.13 * usual); // as a pen draws digits
  $('ink').value = settings.ink;
  $('ink-label').hidden = !settings.choosesInk;
}

async function start() {
  prepareTools();
  let samples;
  [blank, ...samples] = await readStrip(await load('pictures'));
  paint($('paper'), blank, []);
  placeGuide($('guide'), MIDDLE);
  model = await Model.load();
  states.push({picture: blank, strokes: [], arranged: null});
  addSamples(samples);
  $('clear').disabled = $('file').disabled = false;
  await update();
  document.body.classList.add('ready');
  return model;
}

if (!self.missing.length) {
  try {
    // For the browser's console.
    self.demo = {model: await start(), state, update, computed: () => computed};
  } catch (error) {
    complain(`The model can't be loaded: ${error.message ?? error}`);
    throw error;
  }
}
