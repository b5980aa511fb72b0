"""The files of generated scenes and of variations. Imports no TensorFlow, so that a
program refuses a folder that holds them without waiting for it."""

FILES = {
    "scenes.npz": "image, count, boxes, z_where, z_what, ground and mask of all scenes",
    "scenes.png": "the first 64 of these scenes",
    "traversals.png": "a code, changed along the dimensions that vary most",
    "interpolation.png": "interpolations between the codes of two objects",
    "editing.png": "scenes with an object moved, removed and duplicated",
    "steps.png": "the canvas after each attend step",
    "attend.gif": "what is looked at, read, drawn and left, step by step",
}
