// Pixels between arrays of floats, canvases and files.

import {settings} from 'air/resources';

const {height, width, channels} = settings;

export function makeCanvas() {
  return Object.assign(document.createElement('canvas'), {width, height});
}

export const context = canvas => canvas.getContext('2d', {willReadFrequently: true});

/** An array [H, W, C] onto a canvas of H x W pixels. */
export function show(canvas, array) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = Math.round(255 * array[channels * i + (c % channels)]);
    }
    image.data[4 * i + 3] = 255;
  }
  context(canvas).putImageData(image, 0, 0);
}

/** The array [H, W, C] that a canvas shows. */
export function read(canvas) {
  const {data} = context(canvas).getImageData(0, 0, width, height);
  const array = new Float32Array(width * height * channels);
  for (let i = 0; i < array.length; i++) {
    array[i] = data[4 * Math.floor(i / channels) + (i % channels)] / 255;
  }
  return array;
}

/** Grey as of ITU-R BT.601, as in training. */
const grey = ([r, g, b]) => Math.round(0.299 * r + 0.587 * g + 0.114 * b);

/** A colour "#rrggbb" as the canvas can show it. */
export function asInk(colour) {
  const rgb = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
  return channels === 3 ? rgb : Array(3).fill(grey(rgb));
}

/** The held-out scenes as canvases; the first shows no object. */
export async function readStrip(bytes) {
  const strip = await decode(new Blob([bytes], {type: 'image/png'}));
  const found = [];
  for (let x = 0; x < strip.width; x += width) {
    const canvas = makeCanvas();
    context(canvas).drawImage(strip, -x, 0);
    found.push(canvas);
  }
  return found;
}

/** A picture file, stretched to the canvas; transparent parts become black. */
export async function readPicture(file) {
  const picture = await decode(file);
  const canvas = makeCanvas(), pen = context(canvas);
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingQuality = 'high';
  pen.drawImage(picture, 0, 0, width, height);
  if (channels === 3) return canvas;
  const image = pen.getImageData(0, 0, width, height);
  for (let i = 0; i < image.data.length; i += 4) {
    image.data.fill(grey(image.data.subarray(i, i + 3)), i, i + 3);
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

const decode = blob => createImageBitmap(blob, {colorSpaceConversion: 'none'});
