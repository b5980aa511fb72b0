"""Gradients of a picture's few parameters, in forward mode."""

from collections.abc import Callable, Sequence

import tensorflow as tf

Draw = Callable[..., tuple[tf.Tensor, ...]]


def forward_mode(draw: Draw) -> Draw:
    """Lets gradients go through the derivatives of the pixels.

    A picture has many pixels and few parameters. In reverse mode, each number that a
    parameter goes through is a sum over pixels; here, each parameter is one sum. No
    pixel is kept for the gradient.

    Args:
      draw: a function of tensors [N], each item for itself, that returns tensors
        [N, ...].

    Returns:
      The same function, with another way to its gradient.
    """

    @tf.custom_gradient
    def drawn(*parameters):
        def backward(*upstream):
            return [
                tf.zeros_like(parameter)
                if derivatives is None
                else _contract(upstream, derivatives)
                for parameter, derivatives in zip(
                    parameters, _derivatives(draw, parameters), strict=True
                )
            ]

        return draw(*parameters), backward

    return drawn


def _derivatives(
    draw: Draw, parameters: Sequence[tf.Tensor]
) -> list[list[tf.Tensor] | None]:
    """The derivatives of all results by each parameter.

    A gradient is linear in the upstream gradient; its derivative by the upstream
    gradient is what a parameter does to the result.
    """
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            inner.watch(parameters)
            results = draw(*parameters)
        upstream = [tf.zeros_like(result) for result in results]
        outer.watch(upstream)
        gradients = inner.gradient(results, parameters, output_gradients=upstream)
    return [
        None if gradient is None else outer.gradient(gradient, upstream)
        for gradient in gradients
    ]


def _contract(
    upstream: Sequence[tf.Tensor], derivatives: Sequence[tf.Tensor | None]
) -> tf.Tensor:
    return tf.add_n(
        [
            tf.reduce_sum(given * found, axis=tf.range(1, tf.rank(given)))
            for given, found in zip(upstream, derivatives, strict=True)
            if found is not None
        ]
    )
