// The boxes on the scene as it is drawn again: to move, copy and delete objects.

import {settings} from 'air/resources';
import {colourOf, place} from 'air/view';

const KEYS = {
  ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
};

export class Handles {
  /**
   * @param stage the element over which the boxes lie.
   * @param on what to do: start(), move(object, down, right) by shares of the canvas
   *   since start, copy(object), remove(object).
   */
  constructor(stage, on) {
    this.stage = stage;
    this.on = on;
    this.buttons = [];
    this.selected = 0;
  }

  /**
   * Shows the first n boxes, an array of (ymin, xmin, ymax, xmax). If one of them has
   * the focus, it goes to the selected one; returns whether there is none any more.
   */
  show(boxes, n) {
    const hasFocus = this.buttons.includes(document.activeElement);
    while (this.buttons.length < n) this.add();
    this.selected = Math.max(0, Math.min(this.selected, n - 1));
    this.buttons.forEach((button, t) => {
      button.hidden = t >= n;
      if (button.hidden) return;
      place(button, ...boxes.subarray(4 * t, 4 * t + 4));
      button.setAttribute('aria-pressed', t === this.selected);
    });
    if (hasFocus && n) this.buttons[this.selected].focus();
    return hasFocus && !n;
  }

  select(object) {
    this.selected = object;
    this.buttons.forEach((b, t) => b.setAttribute('aria-pressed', t === object));
  }

  add() {
    const t = this.buttons.length, button = document.createElement('button');
    button.className = 'box';
    button.style.borderColor = colourOf(t);
    button.setAttribute('aria-label', `Object ${t + 1}`);
    button.setAttribute('aria-describedby', 'keys');
    button.addEventListener('focus', () => this.select(t));
    button.addEventListener('keydown', event => this.press(event, t));
    this.listen(button, t);
    this.buttons.push(button);
    this.stage.append(button);
  }

  press(event, t) {
    const {height, width} = settings;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in KEYS) {
      const pixels = event.shiftKey ? 5 : 1, [down, right] = KEYS[event.key];
      this.on.start();
      this.on.move(t, (pixels * down) / height, (pixels * right) / width);
    } else if (event.key === 'Delete' || event.key === 'Backspace') {
      this.on.remove(t);
    } else if (event.key === 'c') {
      this.on.copy(t);
    } else {
      return;
    }
    event.preventDefault();
  }

  listen(button, t) {
    let start = null;
    button.addEventListener('pointerdown', event => {
      if (start || event.button) return;
      button.setPointerCapture(event.pointerId);
      button.focus();
      start = {id: event.pointerId, x: event.clientX, y: event.clientY, moved: false};
    });
    button.addEventListener('pointermove', event => {
      if (start?.id !== event.pointerId) return;
      const {width, height} = this.stage.getBoundingClientRect();
      const right = (event.clientX - start.x) / width;
      const down = (event.clientY - start.y) / height;
      if (!start.moved) this.on.start();
      start.moved = true;
      this.on.move(t, down, right);
    });
    for (const name of ['pointerup', 'pointercancel']) {
      button.addEventListener(name, event => {
        if (start?.id === event.pointerId) start = null;
      });
    }
  }
}
