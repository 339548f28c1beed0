"""Write what the Keras models answer, for `compare.py`: random weights, an input, every tap and the logits.

It runs in an environment of its own (see README.md), because neither TensorFlow nor segmentation_models is a
dependency of radseg. For each encoder it writes into the folder given:

- ``<encoder>_notop.h5``: the weights of the classification model without top, as `save_weights` of Keras writes them;
- ``<encoder>.npz``: weights of the U-Net's other layers, inputs, taps and logits at each size, parameter counts, batch
  norm settings and what `get_preprocessing` of segmentation_models makes of a grey ramp.
"""

import json
import os
import platform
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.update(TF_USE_LEGACY_KERAS="1", SM_FRAMEWORK="tf.keras", CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")

import numpy as np
import tensorflow as tf

keras: Any = tf.keras
sys.modules["keras"] = keras  # segmentation_models imports it even when it is told to use tf.keras
keras.backend.set_floatx("float64")  # so that two equal networks differ by 1e-14, not by what rounding makes of 1e-7

import segmentation_models as sm  # noqa: E402
from segmentation_models.backbones.backbones_factory import Backbones  # noqa: E402

ENCODERS = ("inceptionv3", "vgg16", "resnet50", "densenet121", "efficientnetb3", "mobilenetv2")
SIZES = ((96, 64), (64, 64))
PACKAGES = (
    "tensorflow-cpu",
    "tf-keras",
    "segmentation-models",
    "image-classifiers",
    "efficientnet",
    "keras-applications",
)


def randomise(model: Any, rng: np.random.Generator, example: np.ndarray) -> None:
    """Give every tensor random float32 values, running statistics and gammas included; activations stay near one."""
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            role, shape = weight.name.split("/")[-1].split(":")[0], tuple(weight.shape)
            if role in ("kernel", "depthwise_kernel"):
                fan_in = np.prod(shape[:2]) * (1 if role == "depthwise_kernel" else shape[2])
                values.append(rng.normal(0, np.sqrt(2 / fan_in), shape))
            elif role in ("gamma", "moving_variance"):
                values.append(rng.uniform(0.5, 1.5, shape))
            else:
                values.append(rng.normal(0, 0.2, shape))
        layer.set_weights([value.astype(np.float32) for value in values])
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0  # the running statistics become those of the example
    model(example, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
        mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
        moved = mean + rng.normal(0, 0.2, mean.shape) * np.sqrt(variance)
        scaled = variance * rng.uniform(0.5, 2, variance.shape) + 0.01
        layer.moving_mean.assign(moved.astype(np.float32))
        layer.moving_variance.assign(scaled.astype(np.float32))


def record(encoder: str, folder: Path) -> None:
    """Write the two files of one encoder."""
    rng = np.random.default_rng(ENCODERS.index(encoder))
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    unet = sm.Unet(encoder, input_shape=(None, None, 3), classes=1, activation="linear", encoder_weights=None)
    # the same session counter again, so that layers with running numbers have the same names in both models
    keras.backend.clear_session()
    backbone = Backbones.get_backbone(
        encoder,
        input_shape=(None, None, 3),
        weights=None,
        include_top=False,
        backend=keras.backend,
        layers=keras.layers,
        models=keras.models,
        utils=keras.utils,
    )
    randomise(unet, rng, rng.normal(0, 1, (4, 96, 96, 3)))
    in_backbone = set()
    for layer in backbone.layers:
        if layer.weights:
            layer.set_weights(unet.get_layer(layer.name).get_weights())
            in_backbone.add(layer.name)
    backbone.save_weights(folder / f"{encoder}_notop.h5", save_format="h5")

    skips = [
        tap if isinstance(tap, str) else backbone.layers[tap].name for tap in Backbones.get_feature_layers(encoder, 4)
    ]
    taps = [*reversed(skips), backbone.output.node.layer.name]
    probe = keras.Model(unet.input, [*(unet.get_layer(name).output for name in taps), unet.output])
    arrays: dict[str, np.ndarray] = {}
    for index, size in enumerate(SIZES):
        image = rng.normal(0, 1, (2, *size, 3)).astype(np.float32).astype(np.float64)
        arrays[f"input{index}"] = image
        for name, values in zip([*taps, "logits"], probe(image, training=False), strict=True):
            arrays[f"output{index}/{name}"] = values.numpy()
    for layer in unet.layers:
        if layer.weights and layer.name not in in_backbone:
            for weight in layer.weights:
                arrays[f"weight/{layer.name}/{weight.name.split('/')[-1].split(':')[0]}"] = weight.numpy()
    ramp = np.repeat(np.arange(256, dtype=np.float32).reshape(16, 16, 1), 3, axis=-1)
    arrays["normalised_ramp"] = np.asarray(sm.get_preprocessing(encoder)(ramp.copy()))
    norms = Counter(
        f"eps {layer.epsilon:.6g}, torch momentum {1 - layer.momentum:.3g}"
        for layer in unet.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    )
    facts = {
        "taps": taps,
        "total": unet.count_params(),
        "trainable": sum(int(np.prod(weight.shape)) for weight in unet.trainable_weights),
        "batch_norms": dict(sorted(norms.items())),
        "packages": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
    }
    np.savez(folder / f"{encoder}.npz", facts=json.dumps(facts), **arrays)  # type: ignore[arg-type]


def main() -> None:
    """Record the encoders named after the folder on the command line, else all six."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python make_keras.py FOLDER [ENCODER ...]")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for encoder in sys.argv[2:] or ENCODERS:
        record(encoder, folder)
        sys.stdout.write(f"{encoder} recorded\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
