"""The page of a case in a real browser: what is seen is the image, the mask lies on it, and all controls work."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import page_factory as factory
import pytest
from browser import Browser, Page

from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.io import Volume, load_volume

Picture = npt.NDArray[np.uint8]
Open = Callable[[Path], Page]
LABELS = ["left ball", "right ball"]
AXIAL, SAGITTAL, CORONAL, SOLID = (f"[data-cell='{name}']" for name in ("Axial", "Sagittal", "Coronal", "3D"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser") / "profile") as started:
        yield started


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens pages and, at the end, sees that they asked for nothing but themselves and complained of nothing."""
    opened: list[tuple[str, Page]] = []

    def open_it(file: Path) -> Page:
        page = browser.page(1000, 760)
        opened.append((file.as_uri(), page))
        page.open(file.as_uri())
        page.wait_for("document.documentElement.dataset.state !== 'opening'")
        assert page.run("document.documentElement.dataset.state") == "ready", page.text("#trouble")
        return page

    yield open_it
    for url, page in opened:
        assert page.complaints == []
        assert page.requests == [url]


def set_value(page: Page, selector: str, value: str, event: str) -> None:
    """Gives a control a value, as moving or typing does."""
    page.run(f"document.querySelector('{selector}').value = '{value}'")
    page.run(f"document.querySelector('{selector}').dispatchEvent(new Event('{event}'))")
    page.frame()


def place_words(page: Page) -> list[str]:
    return page.text("#place").split(" · ")


def painted(page: Page, selector: str) -> npt.NDArray[np.bool_]:
    """Where the mask changes what is seen of a plane."""
    with_mask = page.picture(selector).astype(int)
    page.press("o")
    without = page.picture(selector).astype(int)
    page.press("o")
    changed: npt.NDArray[np.bool_] = abs(with_mask - without).max(axis=-1) > 12
    return changed


def expected(plane_rc: npt.NDArray[Any], pixel: tuple[float, float], seen: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """A plane's mask, rows and columns as shown, as large as it can be in the middle of what is seen of it."""
    rows, columns = plane_rc.shape
    scale = min(seen[0] / (rows * pixel[0]), seen[1] / (columns * pixel[1]))
    at = []
    for length, size, room in zip(plane_rc.shape, pixel, seen, strict=True):
        index = np.floor((np.arange(room) + 0.5 - (room - length * size * scale) / 2) / (size * scale)).astype(int)
        at.append((np.clip(index, 0, length - 1), (index >= 0) & (index < length)))
    (row, row_in), (column, column_in) = at
    return np.asarray(plane_rc[np.ix_(row, column)] > 0) & row_in[:, np.newaxis] & column_in


def overlap(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def planes_of(ras: npt.NDArray[Any], at: tuple[int, int, int]) -> dict[str, npt.NDArray[Any]]:
    """The planes through a voxel of an array in RAS order, rows and columns as radiologists look at them."""
    x, y, z = at
    return {
        AXIAL: ras[::-1, ::-1, z].T, CORONAL: ras[::-1, y, ::-1].T, SAGITTAL: ras[x, ::-1, ::-1].T,
    }  # fmt: skip


def position(page: Page) -> tuple[int, int, int]:
    axial, coronal, sagittal = (int(words.split()[1]) - 1 for words in place_words(page)[:3])
    return sagittal, coronal, axial


@pytest.mark.parametrize("axcodes", ["RAS", "PIR", "LSP"])
def test_the_mask_lies_on_the_anatomy_in_all_planes(tmp_path: Path, open_page: Open, axcodes: str) -> None:
    volume, mask = factory.balls(axcodes)
    page = open_page(factory.write_page(tmp_path, volume, mask, LABELS))
    mask_ras = nib.as_closest_canonical(nib.Nifti1Image(mask, volume.affine_ras)).get_fdata()
    size = dict(zip("xyz", factory.SPACING_MM, strict=True))
    pixels = {AXIAL: "yx", CORONAL: "zx", SAGITTAL: "zy"}
    planes = planes_of(mask_ras, position(page))
    page.picture(keep=tmp_path / "planes.png")  # to look at
    for selector, (row, column) in pixels.items():
        seen = painted(page, selector)
        bright = page.picture(selector)
        shape = (seen.shape[0], seen.shape[1])
        wanted = expected(planes[selector], (size[row], size[column]), shape)
        assert wanted.sum() > 500
        assert overlap(seen, wanted) > 0.93  # but for the crosshair and the edges of voxels
        assert bright[wanted].mean() > bright[~wanted].mean() + 30


def test_the_patients_left_is_at_the_right_and_anterior_at_the_top(tmp_path: Path, open_page: Open) -> None:
    volume, mask = factory.balls("LPS")
    page = open_page(factory.write_page(tmp_path, volume, (mask == 1).astype(np.uint8), LABELS[:1]))
    seen = painted(page, AXIAL)
    row, column = np.argwhere(seen).mean(axis=0)
    assert column > seen.shape[1] / 2
    assert row < seen.shape[0] / 2
    seen = painted(page, SAGITTAL)
    row, column = np.argwhere(seen).mean(axis=0)
    assert column < seen.shape[1] / 2  # anterior at the left
    assert row < seen.shape[0] / 2


def test_arrows_scroll_and_the_mask_goes_where_it_ends(tmp_path: Path, open_page: Open) -> None:
    volume, mask = factory.balls()
    page = open_page(factory.write_page(tmp_path, volume, mask, LABELS))
    x, y, z = position(page)
    page.press("ArrowUp", "ArrowUp", "ArrowRight", "PageDown")
    assert position(page) == (x - 1, y - 1, z + 2)
    assert painted(page, AXIAL).any() == mask[:, :, z + 2].any()
    page.press(*["ArrowUp"] * 40)
    assert position(page)[2] == factory.SHAPE[2] - 1
    assert not painted(page, AXIAL).any()
    page.press("c", "ArrowUp", "PageUp")
    assert position(page)[1] == y - 1 + 1 + 10
    assert page.run(f'document.querySelector("{AXIAL}").hidden')
    page.press("p")
    assert not page.run(f'document.querySelector("{AXIAL}").hidden')


def test_a_click_takes_all_planes_there(tmp_path: Path, open_page: Open) -> None:
    volume, mask = factory.balls()
    page = open_page(factory.write_page(tmp_path, volume, mask, LABELS))
    page.click(AXIAL)
    x, y, _ = position(page)
    assert abs(x - factory.SHAPE[0] / 2) <= 1
    assert abs(y - factory.SHAPE[1] / 2) <= 1
    assert place_words(page)[3] == "40 HU"


def test_windows_change_the_grey_and_say_so(tmp_path: Path, open_page: Open) -> None:
    volume, mask = factory.balls()
    page = open_page(factory.write_page(tmp_path, volume, mask, LABELS))
    page.press("o")
    tissue = {}
    for key, low, high in (("1", -1350, 150), ("2", -500, 1300), ("3", -150, 250), ("4", 0, 80), ("5", -200, 1000)):
        page.press(key)
        assert [page.run(f"document.querySelector('#{one}').valueAsNumber") for one in ("low", "high")] == [low, high]
        pressed = page.run("[...document.querySelectorAll('#presets [aria-pressed=true]')].map((one) => one.innerText)")
        assert [words[-1] for words in pressed] == [key]
        seen = page.picture(AXIAL)[:, :, 0]
        grey = 255 * (40 - low) / (high - low)
        tissue[key] = float(np.median(seen[seen > 0]))
        assert tissue[key] == pytest.approx(grey, abs=3)
    set_value(page, "#low", "-60", "change")
    seen = page.picture(AXIAL)[:, :, 0]
    assert float(np.median(seen[seen > 0])) == pytest.approx(255 * 100 / 1060, abs=3)


def test_labels_can_be_hidden_and_seen_through(tmp_path: Path, open_page: Open) -> None:
    volume, mask = factory.balls()
    page = open_page(factory.write_page(tmp_path, volume, mask, LABELS))
    z = position(page)[2]
    shown = mask[:, :, z].max()
    both = painted(page, AXIAL).sum()
    page.click(f".label[value='{shown}']")
    assert painted(page, AXIAL).sum() < both
    page.click(f".label[value='{shown}']")
    strengths = []
    for opacity in ("0.2", "0.9"):
        set_value(page, "#opacity", opacity, "input")
        seen = page.picture(AXIAL).astype(int)
        strengths.append(int((seen.max(axis=-1) - seen.min(axis=-1)).sum()))
    assert strengths[1] > 2 * strengths[0]


def test_uncertainty_is_a_layer_of_its_own(tmp_path: Path, open_page: Open) -> None:
    volume, mask = factory.balls()
    doubt = np.zeros_like(mask)
    doubt[5:35, 10:40, 3:27] = 255
    page = open_page(factory.write_page(tmp_path, volume, mask, LABELS, uncertainty=doubt))
    page.press("o")
    before = page.picture(AXIAL).astype(int)
    page.press("u")
    after = page.picture(AXIAL).astype(int)
    changed = abs(after - before).max(axis=-1) > 12
    x, y, z = position(page)
    shape = (changed.shape[0], changed.shape[1])
    wanted = expected(doubt[::-1, ::-1, z].T, (factory.SPACING_MM[1], factory.SPACING_MM[0]), shape)
    assert overlap(changed, wanted) > 0.93
    assert place_words(page)[-1] == f"uncertainty {doubt[x, y, z] / 255:.2f}"


def test_all_keys_are_listed_and_escape_leads_back(tmp_path: Path, open_page: Open) -> None:
    volume, mask = factory.balls()
    page = open_page(factory.write_page(tmp_path, volume, mask, LABELS))
    page.press("?")
    assert page.run("document.querySelector('#help').open")
    assert {"↑ ↓", "1 – 5", "O", "?"} <= set(
        page.run("[...document.querySelectorAll('#keys dt')].map((d) => d.innerText)")
    )
    page.press("Escape")
    assert not page.run("document.querySelector('#help').open")


def test_every_control_can_be_reached_by_keyboard_and_has_a_name(tmp_path: Path, open_page: Open) -> None:
    volume, mask = factory.balls()
    page = open_page(factory.write_page(tmp_path, volume, mask, LABELS))
    name = "(({labels, ariaLabel, innerText}) => labels?.[0]?.innerText || ariaLabel || innerText)"
    names = []
    while not page.run("document.activeElement.id === 'help-button'"):
        page.press("Tab")
        assert page.run("document.activeElement !== document.body")
        names.append(page.run(f"{name}(document.activeElement)"))
    assert all(names)
    reached = " ".join(names)
    for control in ("Image with mask", "Axial", "Bone", "Lower", "Show the mask", "Opacity", "right ball", "Keys"):
        assert control in reached


def test_the_labels_are_seen_in_3d(tmp_path: Path, open_page: Open) -> None:
    volume, mask = factory.balls()
    page = open_page(factory.write_page(tmp_path, volume, mask, LABELS))
    page.click("#solid-button")
    page.wait_for("document.querySelector('.told').hidden")
    page.press("d")
    page.picture(keep=tmp_path / "solid.png")  # to look at
    seen = page.picture(SOLID).astype(int)
    blue = seen[..., 2] - seen[..., 0] > 25
    orange = seen[..., 0] - seen[..., 2] > 25
    assert (seen.max(axis=-1) > 20).mean() > 0.05
    assert blue.sum() > 200
    assert orange.sum() > 200


def test_a_radiograph_is_shown_in_true_proportion_with_its_mask(tmp_path: Path, open_page: Open) -> None:
    volume, mask = factory.radiograph()
    page = open_page(factory.write_page(tmp_path, volume, mask, ["lung"]))
    seen = painted(page, AXIAL)
    wanted = expected(mask[..., 0].T, (0.4, 0.2), (seen.shape[0], seen.shape[1]))
    assert overlap(seen, wanted) > 0.95
    page.press("o", "5")
    inverted = page.picture(AXIAL)[:, :, 0]
    assert float(np.median(inverted[wanted])) == pytest.approx(255 - 230.5, abs=2)
    page.press("0", "o", "+", "+", "+", "+")
    assert painted(page, AXIAL).sum() > 1.5 * wanted.sum()


def test_hostile_names_are_shown_as_they_are(tmp_path: Path, open_page: Open) -> None:
    hostile = "</script><script>document.title='taken'</script><img src=x onerror=document.title='taken'>"
    case = Case(hostile, InputKind.NIFTI, (tmp_path / "x.nii.gz",), tmp_path / "x.nii.gz")
    volume, mask = factory.balls()
    page = open_page(factory.write_page(tmp_path, volume, mask, [hostile, "b"], case=case))
    assert page.text("h1") == hostile
    assert page.text(".controls").count(hostile) == 1
    assert page.run("document.title").startswith("</script>")


def test_a_browser_that_lost_the_image_still_shows_the_numbers(tmp_path: Path, browser: Browser) -> None:
    volume, mask = factory.balls()
    file = factory.write_page(tmp_path, volume, mask, LABELS)
    text = file.read_text()
    start = text.index('id="image">') + len('id="image">')
    file.write_text(text[:start] + "AAAA" + text[start + 4 :])
    page = browser.page()
    page.open(file.as_uri())
    page.wait_for("document.documentElement.dataset.state === 'failed'")
    assert "The image can't be shown" in page.text("#trouble")
    assert "left ball" in page.text(".numbers")


def test_the_policy_refuses_every_connection(tmp_path: Path, browser: Browser) -> None:
    volume, mask = factory.radiograph()
    page = browser.page()
    page.open(factory.write_page(tmp_path, volume, mask, ["lung"]).as_uri())
    assert page.run("fetch('https://example.invalid/').then(() => 'went', () => 'refused')") == "refused"
    assert any("Content Security Policy" in complaint for complaint in page.complaints)


@pytest.mark.long
def test_a_real_chest_ct_is_whole_on_its_page(tmp_path: Path, open_page: Open, real_data: Path) -> None:
    source = real_data / "chest_ct" / "ct.nii.gz"
    read = load_volume(source)
    volume = Volume(np.asarray(read.array), read.affine_ras, "HU")
    structures = nib.load(real_data / "chest_ct" / "structures.nii.gz")
    ids = np.asarray(structures.dataobj)
    mask = ((ids >= 26) & (ids <= 50)).astype(np.uint8)
    file = factory.write_page(tmp_path, volume, mask, ["vertebra"])
    assert file.stat().st_size < 60e6
    page = open_page(file)
    mask_ras = nib.as_closest_canonical(nib.Nifti1Image(mask, structures.affine)).get_fdata()
    assert "of 512" in page.text("#place")
    for selector, rows, columns in ((AXIAL, 1, 0), (CORONAL, 2, 0), (SAGITTAL, 2, 1)):
        seen = painted(page, selector)
        plane = planes_of(mask_ras, position(page))[selector]
        mm = nib.affines.voxel_sizes(nib.as_closest_canonical(structures).affine)
        assert overlap(seen, expected(plane, (mm[rows], mm[columns]), (seen.shape[0], seen.shape[1]))) > 0.85
