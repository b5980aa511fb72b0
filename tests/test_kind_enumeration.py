"""The bound of 3D scenes against sums over drawn canvases."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from air_tf.config import RunConfig, TrainingConfig
from air_tf.config.objectives import KindEnumerationConfig
from air_tf.model import distributions
from air_tf.model.air3d import AIR3D
from air_tf.objectives import kind_enumeration
from air_tf.objectives.annealing import annealed
from air_tf.objectives.drawing import closeness, crowding, draw
from air_tf.objectives.kind_enumeration import Estimator, elbo, posterior
from air_tf.objectives.yaw_proposals import Improved
from air_tf.renderers.occlusion import compose, visible

# So wide, with objects of one colour, that the posteriors are no trivial ones.
_SIGMA = 0.3
_KINDS = 3


@pytest.fixture(scope="module")
def air(table_config):
    keras.utils.set_random_seed(0)
    kinds = [
        dataclasses.replace(
            kind, parts=(dataclasses.replace(kind.parts[0], colour=(0.9, 0.5, 0.2)),)
        )
        for kind in table_config.tabletop.kinds
    ]
    tabletop = dataclasses.replace(table_config.tabletop, kinds=tuple(kinds))
    return AIR3D.of_table(
        dataclasses.replace(table_config, tabletop=tabletop, likelihood_scale=_SIGMA)
    )


@pytest.fixture(scope="module")
def truth(air, table_scenes):
    return table_scenes(air.config, 2, counts=(2,))


@pytest.fixture(scope="module")
def scenes(truth):
    return tf.constant(truth.images / 255.0, tf.float32)


@pytest.fixture(scope="module")
def log_prior(air):
    return tf.math.log_softmax(air.count_prior(3).logits)


class _Given:
    """The model, but with results of the attend loop that are given."""

    def __init__(self, air, found):
        self._air, self._found = air, found

    def __call__(self, images, **options):
        return self._found

    def __getattr__(self, name):
        return getattr(self._air, name)


class _Brute:
    """What objects explain, from a canvas for every assignment of kinds."""

    def __init__(self, air, images, found):
        self._air, self._images = air, images
        reach, blur = air.config.tabletop.reach, air.config.blur
        symmetries = [kind.symmetry for kind in air.config.tabletop.kinds]
        steps = found.position.shape[1]
        self.layers = {
            (t, k): air.renderer.layers(
                k,
                reach * found.position[:, t],
                found.phase[:, t, k] / max(1, symmetries[k]),
                blur,
            )
            for t, k in itertools.product(range(steps), range(_KINDS))
        }
        entropy = tfd.Normal(*found.q_position_params).entropy()
        # The density of the prior is 1/2 along x and along y.
        self.kl_position = tf.reduce_sum(np.log(2.0) - entropy, axis=2)
        # Two that are nearer than they may be; the scale is a twentieth of the reach.
        places = reach * np.array(found.position)
        for t, s in itertools.combinations(range(steps), 2):
            apart = np.linalg.norm(places[:, t] - places[:, s], axis=1)
            near = np.maximum(air.config.tabletop.min_distance - apart, 0.0)
            cost = 0.5 * (near / (0.05 * reach)) ** 2
            self.kl_position += cost[:, np.newaxis] * np.eye(steps)[s]
        turned = tf.constant([float(symmetry > 0) for symmetry in symmetries])
        entropy = tfd.Normal(*found.q_phase_params).entropy()
        self.kl_phase = turned * (np.log(2 * np.pi) - entropy)

    def canvas(self, kinds):
        """Of objects 0 .. n - 1: [B, H, W, 3]."""
        layers = [self.layers[t, k] for t, k in enumerate(kinds)]
        alpha, colour, depth = (
            tf.stack(list(fields), axis=1) for fields in zip(*layers, strict=True)
        )
        present = tf.ones_like(depth)
        return compose(self._air.ground.value, alpha, colour, depth, present)

    def log_likelihood(self, kinds):
        canvas = self.canvas(kinds) if kinds else self._air.ground.value[tf.newaxis]
        each = tfd.Normal(canvas, _SIGMA).log_prob(self._images)
        return tf.reduce_sum(each, axis=[1, 2, 3])

    def log_likelihoods(self, n):
        """For all K^n assignments of kinds: the assignments, and [K^n, B] nats."""
        kinds = list(itertools.product(range(_KINDS), repeat=n))
        return kinds, tf.stack([self.log_likelihood(one) for one in kinds])

    def evidence(self, log_prior):
        """E_n, [B, T + 1], and p(kind_t | x, n, z), [B, n, K] for n = 1 .. T."""
        values, posteriors = [], []
        for n in range(self.kl_position.shape[1] + 1):
            kinds, logs = self.log_likelihoods(n)
            value = tf.reduce_logsumexp(logs, axis=0) - n * np.log(_KINDS)
            if n:
                weights = tf.nn.softmax(logs, axis=0)  # [K^n, B]
                chosen = np.eye(_KINDS, dtype=np.float32)[np.array(kinds)]
                posteriors.append(tf.einsum("ab,atk->btk", weights, chosen))
                fixed = tf.stop_gradient(posteriors[-1])
                value -= tf.reduce_sum(self.kl_position[:, :n], axis=1)
                value -= tf.reduce_sum(fixed * self.kl_phase[:, :n], axis=[1, 2])
            values.append(value)
        return tf.stack(values, axis=1) + log_prior, posteriors

    def elbo(self, found, log_prior):
        """The mean over q(n) and q(kind) of all terms: [B]."""
        log_counts = distributions.log_count_probs(found.presence_logits)
        log_kinds = tf.nn.log_softmax(found.kind_logits)
        total = 0.0
        for n in range(self.kl_position.shape[1] + 1):
            mean = log_prior[n] - log_counts[:, n]
            mean -= tf.reduce_sum(self.kl_position[:, :n], axis=1)
            for kinds, log_likelihood in zip(*self.log_likelihoods(n), strict=True):
                log_q = sum((log_kinds[:, t, k] for t, k in enumerate(kinds)), 0.0)
                value = log_likelihood - n * np.log(_KINDS) - log_q
                for t, k in enumerate(kinds):
                    value -= self.kl_phase[:, t, k]
                mean += tf.exp(log_q) * value
            total += tf.exp(log_counts[:, n]) * mean
        return total


@pytest.fixture(scope="module")
def found(air, truth, table_inference):
    """Two objects near the true ones, and a third anywhere."""
    found = table_inference(air.config, 2, 3)
    near = truth.positions / air.config.tabletop.reach + 0.1 * found.position[:, :2]
    return found._replace(position=tf.concat([near, found.position[:, 2:]], axis=1))


@pytest.fixture(scope="module")
def brute(air, scenes, found):
    return _Brute(air, scenes, found)


def test_the_evidence_of_counts_is_a_sum_over_kinds(
    air, scenes, found, brute, log_prior
):
    drawn = draw(air, scenes, found, air.config.blur)
    given = posterior(drawn, log_prior, _SIGMA)
    expected, kinds = brute.evidence(log_prior)
    np.testing.assert_allclose(given.evidence, expected, rtol=1e-5, atol=1e-2)
    for one, other in zip(given.kinds, kinds, strict=True):
        np.testing.assert_allclose(tf.reduce_sum(one, axis=2), 1.0, atol=1e-5)
        np.testing.assert_allclose(one, other, atol=2e-3)
    # The example is no trivial one.
    for one in (given.kinds[0], given.kinds[2], tf.nn.softmax(given.evidence)):
        assert np.max(one, axis=-1).min() < 0.95


def test_positions_and_yaws_learn_the_log_evidence(air, scenes, found, log_prior):
    """After the exploration, the loss is -log of the sum over counts and kinds.

    Cross-entropies, masks and proposals move neither positions nor yaws.
    """
    with tf.GradientTape(persistent=True) as tape:
        samples = [found.position, found.phase]
        tape.watch(samples)
        brute = _Brute(air, scenes, found)
        expected = tf.reduce_logsumexp(brute.evidence(log_prior)[0], axis=1)
        expected = -tf.reduce_mean(expected)
        loss = _estimate(air, scenes, found, progress=1.0).loss
    for sample in samples:
        wanted, got = tape.gradient(expected, sample), tape.gradient(loss, sample)
        assert np.abs(wanted).max() > 0.1
        np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=1e-3)


def test_the_bound_is_the_mean_over_counts_and_kinds(
    air, scenes, found, brute, log_prior
):
    drawn = draw(air, scenes, found, air.config.blur)
    bound = elbo(found, drawn, log_prior, _SIGMA)
    expected = brute.elbo(found, log_prior)
    np.testing.assert_allclose(bound.elbo, expected, rtol=1e-5, atol=1e-2)
    terms = bound.kl_num_objects + bound.kl_where + bound.kl_what
    np.testing.assert_allclose(bound.elbo, bound.log_likelihood - terms, rtol=1e-5)
    # No q(n) and q(kind) gain more than the sum.
    sums = []
    for n in range(4):
        kinds, logs = brute.log_likelihoods(n)
        of_phases = [
            sum((brute.kl_phase[:, t, k] for t, k in enumerate(one)), tf.zeros([2]))
            for one in kinds
        ]
        value = tf.reduce_logsumexp(logs - of_phases, axis=0) - n * np.log(_KINDS)
        sums.append(value - tf.reduce_sum(brute.kl_position[:, :n], axis=1))
    evidence = tf.stack(sums, axis=1) + log_prior
    assert np.all(bound.elbo < tf.reduce_logsumexp(evidence, axis=1))
    # What trains positions is below it, too.
    assert np.all(brute.evidence(log_prior)[0] <= evidence + 1e-2)


def test_objects_that_are_too_close_cost_more(air):
    """The reach is 0.55 and the smallest distance 0.42, 0.764 in units of the reach."""
    places = tf.constant([[[0.0, 0.0], [0.0, 0.7], [0.6, 0.7]]])
    # 0.7 is nearer by 0.0636, 1.27 scales of 0.05; 0.6 by 0.1636; 0.92 is far enough.
    costs = [0.0, 0.5 * (0.063636 / 0.05) ** 2, 0.5 * (0.163636 / 0.05) ** 2]
    np.testing.assert_allclose(crowding(air, places)[0], costs, rtol=1e-3)
    both = closeness(air, places)[0].numpy()
    np.testing.assert_allclose(both, both.T)
    np.testing.assert_array_equal(np.diag(both), np.zeros(3))
    with tf.GradientTape() as tape:
        same = tf.zeros([1, 2, 2])
        tape.watch(same)
        cost = crowding(air, same)
    assert np.all(np.isfinite(tape.gradient(cost, same)))


def test_for_one_object_the_best_q_reaches_the_evidence(air, scenes, found):
    """q(n) and q(kind) are set to the posterior: E_n - log q(n) is the same for all."""
    one = tf.nest.map_structure(lambda x: x if x.shape.rank == 1 else x[:, :1], found)
    log_prior = tf.math.log_softmax(air.count_prior(1).logits)
    brute = _Brute(air, scenes, one)
    _, logs = brute.log_likelihoods(1)
    joint = tf.transpose(logs) - brute.kl_phase[:, 0]  # [B, K]
    with_one = tf.reduce_logsumexp(joint, axis=1) - np.log(_KINDS) + log_prior[1]
    with_one -= brute.kl_position[:, 0]
    none = brute.log_likelihood(()) + log_prior[0]
    best = one._replace(
        kind_logits=joint[:, tf.newaxis], presence_logits=(with_one - none)[:, None]
    )
    drawn = draw(air, scenes, best, air.config.blur)
    expected = tf.reduce_logsumexp([with_one, none], axis=0)
    bound = elbo(best, drawn, log_prior, _SIGMA).elbo
    np.testing.assert_allclose(bound, expected, rtol=1e-5, atol=1e-2)


def test_of_four_objects_the_first_has_its_most_probable_kind(
    air, scenes, table_inference
):
    found = table_inference(air.config, 2, 4, seed=1)
    brute = _Brute(air, scenes, found)
    log_prior = tf.math.log_softmax(air.count_prior(4).logits)
    drawn = draw(air, scenes, found, air.config.blur)
    given = posterior(drawn, log_prior, _SIGMA)
    kinds, logs = brute.log_likelihoods(4)
    first = np.argmax(given.kinds[2][:, 0], axis=1)  # of n = 3
    for image in range(2):
        chosen = [i for i, one in enumerate(kinds) if one[0] == first[image]]
        own = tf.gather(logs[:, image], chosen)
        value = tf.reduce_logsumexp(own) - 4 * np.log(_KINDS) + log_prior[4]
        of_kinds = given.kinds[3][image]
        value -= tf.reduce_sum(brute.kl_position[image])
        value -= tf.reduce_sum(of_kinds * brute.kl_phase[image])
        np.testing.assert_allclose(given.evidence[image, 4], value, atol=1e-2)
        np.testing.assert_array_equal(of_kinds[0], np.eye(3)[first[image]])
        shares = tf.nn.softmax(own).numpy().reshape(3, 3, 3)
        np.testing.assert_allclose(of_kinds[1], shares.sum((1, 2)), atol=2e-3)
        np.testing.assert_allclose(of_kinds[3], shares.sum((0, 1)), atol=2e-3)
    # The bound is exact for any number of objects.
    bound = elbo(found, drawn, log_prior, _SIGMA)
    expected = brute.elbo(found, log_prior)
    np.testing.assert_allclose(bound.elbo, expected, rtol=1e-5, atol=1e-2)


def _estimate(air, images, found, *, progress, **settings):
    """Without annealing and proposals, unless settings say otherwise."""
    settings = {
        "yaw_proposals": 0,
        "initial_blur": air.config.blur,
        "initial_likelihood_scale": _SIGMA,
        **settings,
    }
    config = RunConfig(
        model=air.config,
        training=TrainingConfig(objective=KindEnumerationConfig(**settings)),
    )
    estimator = Estimator(config)
    given = _Given(air, found)
    return estimator.estimate(
        given, images, seed=tf.constant([1, 2]), progress=progress
    )


def test_exploration_tries_one_object_and_more_where_they_help():
    # softmax of 0 and 30 log 3, divided by 30: 1/4 and 3/4.
    evidence = tf.constant([[0.0, 30 * np.log(3.0)]])
    weights = kind_enumeration._exploration(evidence)
    np.testing.assert_allclose(weights, [[0.125, 0.875]], rtol=1e-5)


@pytest.mark.parametrize(
    # Explored fully for 60 % of the share, then less and less.
    "progress, explored",
    [(0.0, 1.0), (0.3, 1.0), (0.4, 0.5), (0.5, 0.0), (1.0, 0.0)],
)
def test_exploration_ends_after_its_share(
    air, scenes, found, log_prior, progress, explored
):
    result = _estimate(air, scenes, found, progress=progress, explore_share=0.5)
    drawn = draw(air, scenes, found, air.config.blur)
    evidence = posterior(drawn, log_prior, _SIGMA).evidence
    tried = kind_enumeration._exploration(evidence)
    weights = explored * tried + (1 - explored) * tf.nn.softmax(evidence)
    expected = -tf.reduce_sum(weights * evidence, axis=1)
    np.testing.assert_allclose(result.bound.loss, expected, rtol=1e-5)


def test_blur_and_sigma_fall_geometrically(table_config):
    settings = KindEnumerationConfig(
        initial_blur=1.2,
        blur_share=0.5,
        initial_likelihood_scale=0.8,
        scale_share=1.0,
    )
    # Both fall to a quarter of the first value.
    config = dataclasses.replace(table_config, blur=0.3, likelihood_scale=0.2)
    for progress, blur, sigma in [
        (0.0, 1.2, 0.8),
        (0.25, 0.6, 0.8 * 4**-0.25),
        (0.5, 0.3, 0.4),
        (1.0, 0.3, 0.2),
    ]:
        found = annealed(settings, config, progress)
        np.testing.assert_allclose(found, [blur, sigma], rtol=1e-5)


def test_a_step_uses_the_annealed_values(air, scenes, found, log_prior):
    annealing = {"initial_blur": 1.5, "initial_likelihood_scale": 0.8}
    result = _estimate(air, scenes, found, progress=0.0, **annealing)
    drawn = draw(air, scenes, found, 1.5)
    np.testing.assert_allclose(
        result.bound.elbo, elbo(found, drawn, log_prior, 0.8).elbo, rtol=1e-5
    )


def test_kinds_and_counts_learn_their_posterior(air, scenes, found, log_prior):
    """The gradient of a cross-entropy by logits: weight (softmax - posterior)."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([found.kind_logits, found.presence_logits])
        result = _estimate(air, scenes, found, progress=1.0, posterior_loss_weight=5.0)
        loss = tf.reduce_sum(result.auxiliary_loss)
        log_counts = distributions.log_count_probs(found.presence_logits)
    drawn = draw(air, scenes, found, air.config.blur)
    given = posterior(drawn, log_prior, _SIGMA)
    counts = tf.nn.softmax(given.evidence).numpy()
    kinds = tf.nn.softmax(found.kind_logits)
    expected = np.zeros((2, 3, _KINDS))
    for n, one in enumerate(given.kinds, start=1):
        weight = 5.0 * counts[:, n, None, None]
        expected[:, :n] += weight * (kinds[:, :n] - one)
    gradient = tape.gradient(loss, found.kind_logits)
    np.testing.assert_allclose(gradient, expected, atol=1e-4)
    gradient = tape.gradient(loss, found.presence_logits)
    expected = tape.gradient(
        log_counts, found.presence_logits, output_gradients=tf.constant(-5.0 * counts)
    )
    np.testing.assert_allclose(gradient, expected, atol=1e-4)


def test_masks_learn_what_is_seen_of_the_objects(air, found, brute, log_prior):
    """Two objects that are there, drawn without noise."""
    images = brute.canvas((0, 1))
    alpha, _, depth = (
        tf.stack(list(fields), axis=1)
        for fields in zip(brute.layers[0, 0], brute.layers[1, 1], strict=True)
    )
    seen = visible(alpha, depth, tf.ones([2, 2]))
    masks = tf.concat([seen + 0.1, found.mask[:, 2:]], axis=1)
    sharp = AIR3D.of_table(dataclasses.replace(air.config, likelihood_scale=0.02))
    result = _estimate(
        sharp,
        images,
        found._replace(mask=masks),
        progress=1.0,
        initial_likelihood_scale=0.02,
    )
    # Masks are off by 0.1 in 16 x 16 pixels; that of the absent third does not count.
    np.testing.assert_allclose(
        result.figures["mask_error"], 2 * 256 * 0.1**2, rtol=1e-3
    )
    np.testing.assert_allclose(result.output.canvas, images, atol=1e-3)


def test_a_plain_estimate_is_the_bound(air, scenes, found, log_prior):
    config = RunConfig(
        model=air.config, training=TrainingConfig(objective=KindEnumerationConfig())
    )
    seed = tf.constant([1, 2])
    result = Estimator(config).estimate(
        _Given(air, found), scenes, seed=seed, progress=0.0, plain=True
    )
    drawn = draw(air, scenes, found, air.config.blur)
    expected = elbo(found, drawn, log_prior, air.config.likelihood_scale).elbo
    np.testing.assert_allclose(result.bound.elbo, expected, rtol=1e-5)
    np.testing.assert_allclose(result.loss, -tf.reduce_mean(expected), rtol=1e-5)


def test_better_yaws_take_the_place_of_samples(air, scenes, found, monkeypatch):
    """Everything else is computed with them; their own loss is added."""
    better = found._replace(phase=found.phase + 0.5)
    given = {}

    def improve(air, found, images, **options):
        given.update(options, phase=found.phase)
        return Improved(better, loss=tf.constant([7.0, 0.0]), accepted=[1.0, 0.0])

    monkeypatch.setattr(kind_enumeration, "improve_yaws", improve)
    result = _estimate(
        air, scenes, found, progress=0.0, yaw_proposals=5, initial_blur=1.5
    )
    assert given["num_proposals"] == 5
    np.testing.assert_allclose([given["blur"], given["likelihood_scale"]], [1.5, 0.3])
    np.testing.assert_array_equal(given["phase"], found.phase)
    expected = _estimate(air, scenes, better, progress=0.0, initial_blur=1.5)
    np.testing.assert_allclose(result.bound.loss, expected.bound.loss, rtol=1e-5)
    added = result.auxiliary_loss - expected.auxiliary_loss
    np.testing.assert_allclose(added, [7.0, 0.0], atol=0.01)
    np.testing.assert_allclose(
        result.figures["training_loss"],
        result.bound.loss + result.auxiliary_loss,
        rtol=1e-5,
    )
    assert result.figures["accepted_yaws"] == [1.0, 0.0]
