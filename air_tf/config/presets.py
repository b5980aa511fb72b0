"""Presets: named settings, one for each row of results in the documentation."""

import dataclasses
from typing import NamedTuple

from air_tf.config.canvas import (
    AlphaConfig,
    ConstantConfig,
    LearnedConfig,
    StripedConfig,
)
from air_tf.config.model import AIRConfig, DifferenceConfig, RecurrentConfig
from air_tf.config.model3d import AIR3DConfig
from air_tf.config.objectives import (
    EnumerationConfig,
    KindEnumerationConfig,
    NVILConfig,
)
from air_tf.config.renderers import BlackBoxConfig
from air_tf.config.run import DataConfig, RunConfig, TrainingConfig
from air_tf.config.tabletop import TABLETOPS


class Preset(NamedTuple):
    config: RunConfig
    reason: str  # differences from the defaults, and the reason for them


def _dataset(name: str, **model) -> RunConfig:
    return RunConfig(model=AIRConfig(**model), data=DataConfig(dataset=name))


def _tabletop(name: str, training: TrainingConfig, **model) -> RunConfig:
    return RunConfig(
        model=AIR3DConfig(tabletop=TABLETOPS[name], **model),
        data=DataConfig(dataset=f"tabletop/{name}"),
        training=training,
    )


_TRAINING_3D = TrainingConfig(
    objective=KindEnumerationConfig(),
    steps=600,
    learning_rate=1e-3,
    steps_per_evaluation=200,
)

# For digits of half the size relative to the canvas.
_SMALL_WINDOWS = {
    "where_prior_loc": (0.175, 0.0, 0.0),
    "where_prior_scale": (0.05, 0.5, 0.5),
}

# For objects that hide each other and the ground.
_GROUNDED = {
    "composition": AlphaConfig(),
    "background": LearnedConfig(),
    "glimpse_size": (20, 20),
    "box_threshold": 0.5,
}
# Of one colour each, so that they can be drawn exactly.
_SHAPES = {**_GROUNDED, "likelihood_scale": "learned"}
# In front of a ground of one colour, and touching each other.
_PIECES = {
    **_SHAPES,
    "background": ConstantConfig(),
    "inference": DifferenceConfig(revisions=6),
}
_DSPRITES = {
    **_PIECES,
    "max_objects": 5,
    # The same cells as with a pooling of 2, at a quarter of the time.
    "look_pooling": 4,
    "inference": DifferenceConfig(
        cell_stride=2, cell_patch=7, revisions=15, examined_share=1.0
    ),
}
_TRAINING_PIECES = TrainingConfig(
    objective=EnumerationConfig(count_update="objects"),
    batch_size=32,
    steps=1500,
)
_TRAINING_DIGITS = TrainingConfig(steps=1350, steps_per_evaluation=270)
# The shapes are learned by then, in front of any ground.
_TRAINING_SHAPES = TrainingConfig(steps=900)
_TRAINING_DSPRITES = dataclasses.replace(_TRAINING_PIECES, steps=6000)


def _shapes(name: str) -> RunConfig:
    return dataclasses.replace(_dataset(name, **_SHAPES), training=_TRAINING_SHAPES)


def _pieces(name: str, **model) -> RunConfig:
    return dataclasses.replace(
        _dataset(name, **{**_PIECES, **model}), training=_TRAINING_PIECES
    )


def _dsprites(name: str, **model) -> RunConfig:
    return dataclasses.replace(
        _dataset(f"multi_dsprites/{name}", **{**_DSPRITES, **model}),
        training=_TRAINING_DSPRITES,
    )


_SAME = "The same settings as sprites_plain, on "

PRESETS = {
    "default": Preset(RunConfig(), "The defaults, on scikit-learn's digits."),
    "digits": Preset(
        RunConfig(training=_TRAINING_DIGITS),
        "The same, with fewer training steps, which learn these small digits as well; "
        "the default of --dataset=multi_digits.",
    ),
    "digits_any_size": Preset(
        _dataset(
            "multi_digits/0-2_any_size",
            where_prior_loc=(0.4, 0.0, 0.0),
            where_prior_scale=(0.2, 0.5, 0.5),
            inference=DifferenceConfig(cell_patch=20),
            likelihood_scale=0.2,
        ),
        "Digits of half to twice the usual size, as people draw them: windows of more "
        "sizes, patches around cells that hold a large digit, and a smaller sigma, so "
        "that small digits are worth their cost.",
    ),
    "mnist": Preset(_dataset("multi_mnist"), "The defaults, on MNIST's digits."),
    "mnist_overlap": Preset(
        _dataset("multi_mnist/0-2_overlap"),
        "The defaults, on digits that may touch and overlap.",
    ),
    "sprites": Preset(_dataset("sprites"), "The defaults, on coloured shapes."),
    "omniglot": Preset(
        _dataset("multi_omniglot", count_decay=1e-10),
        "A steeper p(n), so that the parts of unfamiliar shapes that the decoder can't "
        "draw are not inferred as further objects.",
    ),
    "half_size": Preset(
        _dataset("multi_mnist/0-2_half_size", likelihood_scale=0.15, **_SMALL_WINDOWS),
        "Smaller windows, and half of sigma: a digit has a quarter of the pixels, so "
        "its log likelihood would otherwise not exceed the KL of its code.",
    ),
    "large_canvas": Preset(
        _dataset("multi_mnist/0-5_100x100", max_objects=5, **_SMALL_WINDOWS),
        "Up to five objects, and smaller windows relative to the canvas.",
    ),
    "strokes": Preset(
        _dataset(
            "multi_omniglot/1_double_size",
            max_objects=6,
            z_what_size=8,
            decoder_units=(50,),
            where_prior_loc=(0.4, 0.0, 0.0),
            where_prior_scale=(0.05, 0.5, 0.5),
        ),
        "Windows smaller than a character, and codes too small for a whole character, "
        "so that each attend step explains a part of it.",
    ),
    "recurrent": Preset(
        RunConfig(
            model=AIRConfig(inference=RecurrentConfig()),
            data=DataConfig(dataset="multi_mnist"),
            training=TrainingConfig(steps=3300),
        ),
        "Recurrent inference, as in the paper, with our default objective. It needs "
        "more training steps.",
    ),
    "objectives": Preset(
        RunConfig(
            model=AIRConfig(inference=RecurrentConfig()),
            data=DataConfig(dataset="multi_mnist"),
            training=TrainingConfig(steps=2100),
        ),
        "The settings of the comparison of objectives: recurrent inference.",
    ),
    "paper": Preset(
        RunConfig(
            model=AIRConfig(
                inference=RecurrentConfig(),
                look_pooling=1,
                where_head_gain=1.0,
                min_where_scale=1e-4,
                min_what_scale=1e-4,
                where_prior_loc=(0.35, 0.0, 0.0),
                where_prior_scale=(0.05, 1.0, 1.0),
            ),
            data=DataConfig(dataset="multi_mnist/0-2_overlap"),
            training=TrainingConfig(
                objective=NVILConfig(baseline_pooling=1, baseline_units=(256, 200)),
                learning_rate=1e-4,
                constant_rate_share=1.0,
                steps=200_000,
                steps_per_evaluation=2_000,
            ),
        ),
        "Eslami et al. 2016, section 3.1 and appendix, and Pyro's examples/air where "
        "the paper gives no value: recurrent inference, NVIL, Adam with a constant "
        "learning rate of 1e-4, without this project's own methods of inference and "
        "training; docs/differences-from-the-paper.md lists what still differs. Takes "
        "hours.",
    ),
    "sprites_plain": Preset(
        _shapes("sprites/0-3_plain"),
        "Objects with masks on a ground that is learned, and a sigma that is learned, "
        "so that shapes that differ little from the ground are worth their cost. A "
        "mask says where an object ends: boxes enclose what it fills by half. Glimpses "
        "of the size of the shapes, and a third of the training steps, which save "
        "time.",
    ),
    "sprites_gradient": Preset(_shapes("sprites/0-3_gradient"), f"{_SAME}gradients."),
    "sprites_texture": Preset(_shapes("sprites/0-3_texture"), f"{_SAME}textures."),
    "mnist_noisy": Preset(
        _dataset("multi_mnist/0-2_noisy", background=ConstantConfig()),
        "The defaults, but for a ground that is not black.",
    ),
    "mnist_grid": Preset(
        _dataset("multi_mnist/0-2_grid", background=StripedConfig()),
        "The defaults, but for a ground that can draw the grid, which lies elsewhere "
        "in each picture.",
    ),
    "sprites_overlap": Preset(
        _pieces("sprites/0-3_overlap"),
        "As sprites_plain, with shapes that hide parts of others, on a ground of one "
        "colour. The objects of an explanation are explained again, each from what the "
        "others leave; in training, every attend step learns whether its object pays. "
        "Half the batch, for less time.",
    ),
    "tetrominoes": Preset(
        _pieces(
            "tetrominoes",
            encoder_units=(200, 200),
            where_units=(200, 200),
            # All of the 25 cells: the best one comes first without a proposal.
            inference=DifferenceConfig(
                proposals=24, proposal_distance=0.15, revisions=12
            ),
        ).with_training(steps=2400),
        "As sprites_overlap, on three pieces of four squares. What is left to tell "
        "apart are pieces of one colour that touch: deeper networks, a proposal from "
        "every cell, twice the revisions, and more training steps, for sharp masks.",
    ),
    "dsprites_binarised": Preset(
        _dsprites("binarised", likelihood_scale=0.3),
        "As sprites_overlap, with up to five white shapes on black. The search sees "
        "half the resolution, for less time; more objects and more training steps. "
        "Most first explanations of a crowd miss something, so all images are "
        "explained again. Sigma is given: one that is learned falls until outlines "
        "that are drawn a little softly are worth further objects.",
    ),
    "dsprites_on_grey": Preset(
        _dsprites("coloured_on_grey"),
        "As dsprites_binarised, with coloured shapes on grey, and a sigma that is "
        "learned.",
    ),
    "dsprites_on_colour": Preset(
        _dsprites("coloured_on_coloured"),
        "As dsprites_on_grey, on any colour.",
    ),
    "pictures": Preset(
        RunConfig(
            model=AIRConfig(
                z_what_size=8,
                inference=DifferenceConfig(cell_stride=2, cell_patch=12),
                decoder_units=(50,),
                likelihood_scale=0.15,
            ),
            training=TrainingConfig(steps=1800, batch_size=32),
        ),
        "Windows of pictures of any size, whose objects are made white domes on black: "
        "a small decoder, a fine search, half of sigma. Canvas, glimpses, T and "
        "p(z_where) follow from --object_size.",
    ),
    "primitives": Preset(
        _tabletop("primitives", _TRAINING_3D),
        "3D scenes: up to three of cube, sphere and cylinder on a table.",
    ),
    "primitives_one_colour": Preset(
        _tabletop("primitives_one_colour", _TRAINING_3D),
        "The same settings, on objects that differ only in their shape.",
    ),
    "one": Preset(
        _tabletop(
            "one",
            dataclasses.replace(
                _TRAINING_3D,
                objective=KindEnumerationConfig(yaw_proposals=0),
                batch_size=32,
                jit_compile=False,
            ),
            renderer=BlackBoxConfig(),
            max_objects=1,
        ),
        "3D scenes of one object, drawn by a renderer without gradients, as in the "
        "paper. Each picture it draws costs time: half the batch, and no proposals, "
        "which these kinds do not need.",
    ),
    "crockery": Preset(
        _tabletop(
            "crockery",
            dataclasses.replace(_TRAINING_3D, steps=1200),
            glimpse_size=(30, 30),
            look_pooling=2,
        ),
        "3D scenes of plates, cups and pans, whose handles are thin: larger pictures "
        "and glimpses, more training steps; the search sees half the resolution.",
    ),
}


def preset_of(dataset: str | None) -> str:
    """The name of the preset for a dataset if none is chosen.

    Scenes of `tabletop` need the model of 3D scenes, a folder of pictures that of
    pictures of any size; all others get the defaults, with fewer steps for the dataset
    that is used if none is chosen.
    """
    if dataset == "folder":
        return "pictures"
    if dataset in (None, DataConfig().dataset):
        return "digits"
    name, _, config = dataset.partition("/")
    if name != "tabletop":
        return "default"
    found = [preset for preset in TABLETOPS if config.startswith(preset)]
    return max(found, key=len, default="primitives")
