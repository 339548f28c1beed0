"""Random fractures in the numbered vertebrae of a CT: which, of what form and how deep is sampled, then made."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.transforms import RandomizableTransform

from radseg.transforms.tracked import plain, tracked
from radseg.transforms.vertebrae.axis import FloatArray, LabelArray, boxes_of
from radseg.transforms.vertebrae.compression import GENANT_LOSS, KINDS, Kind
from radseg.transforms.vertebrae.fracture import FractureVertebra, affine_of, integers
from radseg.transforms.vertebrae.hounsfield import checked_window
from radseg.transforms.vertebrae.numbering import FRACTURED, INTACT, THORACOLUMBAR, is_vertebra
from radseg.transforms.vertebrae.rand_change import RandVertebraed
from radseg.transforms.vertebrae.reached import as_asked
from radseg.transforms.vertebrae.squeeze import plan


class RandFractureVertebra(RandomizableTransform):
    """Sample intact vertebrae of a numbered map, a form and a loss for each, and apply `FractureVertebra`.

    Chosen are thoracic and lumbar vertebrae (values 108 to 125 and 128, see `numbering`) whose body can be told, lies
    whole in the image and shows the loss when it is measured again; they become 208 to 228. A map without any is given
    back as it is.

    Args:
        prob: probability that an image gets fractures.
        most: greatest number of them, uniform from 1.
        kinds: forms, each as likely as the others.
        grades: Genant's grades 1 (20–25 %), 2 (25–40 %) and 3 (40–60 % of the height), each as likely as the others;
            the loss is uniform within the grade.
        spacing_mm: voxel spacing of arrays in RAS order; None takes the image's affine.
        window_hu: the HU that the image's 0 and 1 stand for; None for an image in HU.

    Raises:
        ValueError: a form or grade is unknown, there is none, ``most`` isn't positive, or the window isn't one.
    """

    def __init__(
        self,
        prob: float = 0.5,
        most: int = 2,
        kinds: Sequence[Kind] = KINDS,
        grades: Sequence[int] = tuple(GENANT_LOSS),
        spacing_mm: Sequence[float] | None = None,
        window_hu: Sequence[float] | None = None,
    ) -> None:
        super().__init__(prob)
        if most < 1:
            raise ValueError(f"most must be at least 1, got {most}.")
        if not kinds or set(kinds) - set(KINDS):
            raise ValueError(f"kinds must be some of {', '.join(KINDS)}, got {kinds}.")
        if not grades or set(grades) - set(GENANT_LOSS):
            raise ValueError(f"grades must be some of {', '.join(map(str, GENANT_LOSS))}, got {grades}.")
        self.most, self.kinds, self.grades = int(most), tuple(kinds), tuple(grades)
        self.spacing_mm, self.window_hu = spacing_mm, checked_window(window_hu)
        self._fractures: tuple[FractureVertebra, ...] = ()

    @property
    def fractures(self) -> tuple[FractureVertebra, ...]:
        """What was sampled last."""
        return self._fractures

    def randomize(self, data: tuple[LabelArray, FloatArray]) -> None:
        """Decide whether to fracture, and sample which vertebrae and how, into ``fractures``.

        Args:
            data: the label map (i, j, k) and its voxel-to-RAS matrix (4, 4).

        Raises:
            ValueError: the map holds something else than vertebrae.
        """
        super().randomize(None)
        self._fractures = ()
        if not self._do_transform:
            return
        labels, affine = data
        boxes = boxes_of(labels)
        strange = [label for label in boxes if not is_vertebra(label)]
        if strange:
            raise ValueError(
                f"the map holds {strange[0]}, which is no vertebra; number intact vertebrae 101 to 128 and fractured "
                "ones 201 to 228, or label them 1 and 2."
            )
        candidates = [label for label in boxes if label - INTACT in THORACOLUMBAR]
        wanted = int(self.R.randint(1, self.most + 1))
        chosen: list[FractureVertebra] = []
        for vertebra in self.R.permutation(candidates):
            if len(chosen) == wanted:
                break
            kind = self.kinds[int(self.R.randint(len(self.kinds)))]
            low, high = GENANT_LOSS[self.grades[int(self.R.randint(len(self.grades)))]]
            loss = float(self.R.uniform(low, high))
            if _can_break(labels, affine, int(vertebra), kind, loss):
                label = int(vertebra) - INTACT + FRACTURED
                chosen.append(FractureVertebra(int(vertebra), kind, loss, label, self.spacing_mm, self.window_hu))
        self._fractures = tuple(chosen)

    def __call__(
        self, image: torch.Tensor, labels: torch.Tensor, randomize: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return image (1, i, j, k) and numbered map, with fractures or as they are.

        ``randomize=False`` repeats the last sample.

        Raises:
            ValueError: the shapes differ or aren't (1, i, j, k), the spacing is unknown, or the map holds something
                else than vertebrae.
        """
        affine = affine_of(image, labels, self.spacing_mm)
        image, labels = tracked(image), tracked(labels)
        if randomize:
            self.randomize((integers(plain(labels).numpy()[0]), affine))
        made: list[FractureVertebra] = []
        for fracture in self._fractures:
            try:
                image, labels = fracture(image, labels)
            except ValueError:
                # the fractures before it may have moved it, and its voxels no longer show so small a loss
                if not (made and randomize):
                    raise
            else:
                made.append(fracture)
        self._fractures = tuple(made)
        return image, labels


class RandFractureVertebrad(RandVertebraed):
    """Dictionary form of `RandFractureVertebra`.

    Args:
        image_key: key of the CT.
        label_key: key of the numbered map.
        prob: see `RandFractureVertebra`, like all that follow.
    """

    def __init__(
        self,
        image_key: str = "image",
        label_key: str = "label",
        prob: float = 0.5,
        most: int = 2,
        kinds: Sequence[Kind] = KINDS,
        grades: Sequence[int] = tuple(GENANT_LOSS),
        spacing_mm: Sequence[float] | None = None,
        window_hu: Sequence[float] | None = None,
    ) -> None:
        super().__init__(image_key, label_key, RandFractureVertebra(prob, most, kinds, grades, spacing_mm, window_hu))

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Return the dictionary with fractures in image and map, or as it is."""
        out = dict(data)
        image_key, label_key = self.keys
        out[image_key], out[label_key] = self.sampler(out[image_key], out[label_key])
        return out


def _can_break(labels: LabelArray, affine: FloatArray, vertebra: int, kind: Kind, loss: float) -> bool:
    """Say whether the vertebra has a body that can be told, whole and with room in the image, that can lose so much."""
    try:
        as_asked(plan(labels, affine, vertebra, kind, loss), labels, affine, vertebra)
    except ValueError:
        return False
    return True
