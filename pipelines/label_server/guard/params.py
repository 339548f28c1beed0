"""Keys that a request's parameters may hold, by what is asked; what the clients of MONAI Label send, no more."""

from radseg.pipelines.label_server.guard.checks import (
    Check,
    device,
    model,
    number,
    one_of,
    optional_tag,
    or_nothing,
    plain,
    switch,
    tag,
    text,
)

_WHO: dict[str, Check] = {"client_id": or_nothing(text)}
_LOGGING = one_of("DEBUG", "INFO", "WARNING", "ERROR")

INFER: dict[str, Check] = {
    **_WHO,
    "model": model,
    "device": device,
    "result_extension": or_nothing(one_of(".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".png")),
    "result_dtype": or_nothing(one_of("uint8", "uint16", "int16", "int32", "float32")),
    "result_compress": switch,
    "restore_label_idx": switch,
    "label_info": plain,
    "label_colors": plain,
    "save_label": switch,
    "label_tag": tag,
    "logging": _LOGGING,
}
"""Of one segmentation."""

BATCH: dict[str, Check] = {
    **_WHO,
    "model": model,
    "device": device,
    "save_label": switch,
    "label_tag": tag,
    "max_workers": number(0, 64, whole=True),
    "max_batch_size": number(0, 10**6, whole=True),
    "multi_gpu": switch,
    "gpus": text,
    "logging": _LOGGING,
}
"""Of a segmentation of many images."""

TRAIN: dict[str, Check] = {
    **_WHO,
    "model": model,
    "device": device,
    "max_epochs": number(1, 10_000, whole=True),
    "val_split": number(0, 0.9),
    "pretrained": switch,
    "learning_rate": number(0, 1),
    "batch_size": number(1, 1024, whole=True),
    "patience": number(1, 10_000, whole=True),
    "seed": number(0, 2**31 - 1, whole=True),
}
"""Of a training."""

ALL: dict[str, Check] = {**_WHO}
"""Of a training of all models, beside what is said for each."""

SAMPLE: dict[str, Check] = {**_WHO, "strategy": text, "model": model, "label_tag": optional_tag}
"""Of the choice of the next image."""

SCORE: dict[str, Check] = {**_WHO, "method": text, "model": model, "y": tag, "y_pred": tag}
"""Of a scoring."""

SAVED: dict[str, Check] = {**_WHO, "label_info": plain, "model": text, "params": plain}
"""Of a label that is submitted."""

ADDED: dict[str, Check] = {**_WHO, "patient": text}
"""Of an image that is added."""

INFO: dict[str, Check] = {**_WHO, "description": text, "patient": text, "strategy": plain, "label_info": plain}
"""Of what is known about an image or label."""
