"""The page of a case in a real browser: what is seen is the image, the mask lies on it, and all controls work."""

from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import page_factory as factory
import pytest
from browser import Browser, Page
from page_seen import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    SOLID,
    expected,
    overlap,
    painted,
    place_words,
    planes_of,
    position,
    pressed,
    set_value,
)

from radseg.pipelines.cases import Case, InputKind
from radseg.pipelines.io import Volume, load_volume

Open = Callable[[Path], Page]
LABELS = ["left ball", "right ball"]
VOLUME, MASK = factory.balls()
DOUBT = np.zeros_like(MASK)
DOUBT[5:35, 10:40, 3:27] = 255
REGIONS = [
    {"label": "left ball", "voxels": 800, "volume_ml": 3.0, "centre_ras_mm": [18.0, 33.0, -50.0], "mean_entropy": 0.7,
     "mean_probability": 0.81, "doubtful": True, "disagreement": {"voxels": 80, "volume_ml": 0.3}},
]  # fmt: skip
MOST_OF_IT = 0.93  # all but the crosshair and the edges of voxels
SURE = {
    "regions": REGIONS, "regions_left_out": 0, "disagreement": {"voxels": 80, "volume_ml": 0.3},
    "disagreement_elsewhere": {"voxels": 0, "volume_ml": 0.0},
}  # fmt: skip
FOCUS_IMAGE = "document.querySelector('#stage').focus()"
AS_OPENED = """(() => {
  for (const box of document.querySelectorAll("input[type=checkbox]")) {
    if (box.checked !== box.defaultChecked) box.click();
  }
  for (const range of document.querySelectorAll("input[type=range]")) {
    range.value = range.defaultValue;
    range.dispatchEvent(new Event("input"));
  }
  setWindow(said.presets[said.preset][1], said.presets[said.preset][2]);
  view.setLayout("Planes");
  view.enlarge(0);
  view.goTo(said.start);
  document.activeElement.blur();
  scrollTo(0, 0);
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser") / "profile") as started:
        yield started


@pytest.fixture(scope="module")
def opened_once(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str]:
    """The page of a volume with all there is on it, and its address."""
    file = factory.write_page(tmp_path_factory.mktemp("page"), VOLUME, MASK, LABELS, None, DOUBT, SURE)
    page = browser.page(1000, 760)
    show(page, file)
    return page, file.as_uri()


@pytest.fixture
def balls(opened_once: tuple[Page, str]) -> Iterator[Page]:
    """That page as it opens; at the end it has asked for nothing but itself and complained of nothing."""
    page, url = opened_once
    page.run(AS_OPENED)
    page.frame()
    yield page
    assert page.complaints == []
    assert page.requests == [url]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens other pages and, at the end, sees the same of them."""
    opened: list[tuple[str, Page]] = []

    def open_it(file: Path) -> Page:
        page = browser.page(1000, 760)
        opened.append((file.as_uri(), page))
        show(page, file)
        return page

    yield open_it
    for url, page in opened:
        assert page.complaints == []
        assert page.requests == [url]
        page.close()


def show(page: Page, file: Path) -> None:
    page.open(file.as_uri())
    page.wait_for("document.documentElement.dataset.state !== 'opening'")
    assert page.run("document.documentElement.dataset.state") == "ready", page.text("#trouble")


def overlaps(page: Page, volume: Volume, mask: npt.NDArray[np.uint8]) -> list[float]:
    """How well what is painted lies on the mask in each plane, which is where the image is bright."""
    found = []
    mask_ras = nib.as_closest_canonical(nib.Nifti1Image(mask, volume.affine_ras)).get_fdata()
    size = dict(zip("xyz", factory.SPACING_MM, strict=True))
    pixels = {AXIAL: "yx", CORONAL: "zx", SAGITTAL: "zy"}
    planes = planes_of(mask_ras, position(page))
    for selector, (row, column) in pixels.items():
        seen = painted(page, selector)
        bright = page.picture(selector)
        shape = (seen.shape[0], seen.shape[1])
        wanted = expected(planes[selector], (size[row], size[column]), shape)
        assert wanted.sum() > 500
        assert bright[wanted].mean() > bright[~wanted].mean() + 30
        found.append(overlap(seen, wanted))
    return found


def test_the_mask_lies_on_the_anatomy_in_all_planes(balls: Page, tmp_path: Path) -> None:
    balls.picture(keep=tmp_path / "planes.png")  # to look at
    assert min(overlaps(balls, VOLUME, MASK)) > MOST_OF_IT


@pytest.mark.parametrize("axcodes", ["PIR", "LSP"])
def test_so_it_does_however_the_voxels_are_stored(tmp_path: Path, open_page: Open, axcodes: str) -> None:
    volume, mask = factory.balls(axcodes)
    page = open_page(factory.write_page(tmp_path, volume, mask, LABELS))
    assert min(overlaps(page, volume, mask)) > MOST_OF_IT


def test_the_patients_left_is_at_the_right_and_anterior_at_the_top(balls: Page) -> None:
    balls.click(".label[value='2']")
    balls.run("view.goTo([12, 33, 20])")  # the left ball's centre
    balls.frame()
    seen = painted(balls, AXIAL)
    row, column = np.argwhere(seen).mean(axis=0)
    assert column > seen.shape[1] / 2
    assert row < seen.shape[0] / 2
    seen = painted(balls, SAGITTAL)
    row, column = np.argwhere(seen).mean(axis=0)
    assert column < seen.shape[1] / 2  # anterior at the left
    assert row < seen.shape[0] / 2


def test_arrows_scroll_and_the_mask_goes_where_it_ends(balls: Page) -> None:
    x, y, z = position(balls)
    balls.run(FOCUS_IMAGE)
    balls.press("ArrowUp", "ArrowUp", "ArrowRight", "PageDown")
    assert position(balls) == (x - 1, y - 1, z + 2)
    assert painted(balls, AXIAL).any() == MASK[:, :, z + 2].any()
    balls.press(*["ArrowUp"] * 40)
    assert position(balls)[2] == factory.SHAPE[2] - 1
    assert not painted(balls, AXIAL).any()
    balls.press("c", "ArrowUp", "PageUp")
    assert position(balls)[1] == y - 1 + 1 + 10
    assert balls.run(f'document.querySelector("{AXIAL}").hidden')
    balls.press("p")
    assert not balls.run(f'document.querySelector("{AXIAL}").hidden')


def scrolled(page: Page) -> float:
    """How far down the page is."""
    return float(page.run("scrollY"))


def test_the_page_scrolls_by_keyboard_until_the_image_has_the_focus(balls: Page) -> None:
    at = position(balls)
    balls.press("PageDown")
    assert scrolled(balls) > 300
    balls.press("Home")
    assert scrolled(balls) == 0
    balls.press(" ")
    assert scrolled(balls) > 300
    balls.press("PageUp")
    assert scrolled(balls) == 0
    assert position(balls) == at
    balls.press("ArrowDown")  # nothing else wants it
    assert position(balls)[2] == at[2] - 1
    assert scrolled(balls) == 0
    balls.click(AXIAL)
    at, down = position(balls), scrolled(balls)
    balls.press("PageDown")
    assert position(balls)[1] == at[1] - 1
    assert scrolled(balls) == down
    balls.press("End")
    assert scrolled(balls) > down + 300


def test_a_button_clicked_leaves_the_image_its_keys(balls: Page) -> None:
    balls.click(AXIAL)
    z = position(balls)[2]
    balls.click("[data-layout='Axial']")
    balls.press("PageUp")
    assert position(balls)[2] == z + 10


def test_a_table_wider_than_its_box_scrolls_by_keyboard_and_has_a_name(balls: Page) -> None:
    at = position(balls)
    try:
        balls.resize(420, 760)
        balls.run("document.querySelector('.sure .wide').focus()")
        balls.press("ArrowRight")
        assert balls.run("document.activeElement.scrollLeft") > 0
        down = scrolled(balls)
        balls.press("ArrowUp", "PageUp")
        assert scrolled(balls) < down
        assert position(balls) == at
        assert balls.run("document.activeElement.role") == "region"
        assert balls.run("document.activeElement.ariaLabel") == "Table of regions"
    finally:
        balls.resize(1000, 760)


def test_a_click_takes_all_planes_there(balls: Page) -> None:
    balls.click(AXIAL)
    x, y, _ = position(balls)
    assert abs(x - factory.SHAPE[0] / 2) <= 1
    assert abs(y - factory.SHAPE[1] / 2) <= 1
    assert place_words(balls)[3] == "40 HU"


def test_windows_change_the_grey_and_say_so(balls: Page) -> None:
    balls.press("o")
    for key, low, high in (("1", -1350, 150), ("2", -500, 1300), ("3", -150, 250), ("4", 0, 80), ("5", -200, 1000)):
        balls.press(key)
        assert [balls.run(f"document.querySelector('#{one}').valueAsNumber") for one in ("low", "high")] == [low, high]
        assert pressed(balls) == [key]
        seen = balls.picture(AXIAL)[:, :, 0]
        assert float(np.median(seen[seen > 0])) == pytest.approx(255 * (40 - low) / (high - low), abs=3)
    set_value(balls, "#low", "-60", "change")
    seen = balls.picture(AXIAL)[:, :, 0]
    assert float(np.median(seen[seen > 0])) == pytest.approx(255 * 100 / 1060, abs=3)


def test_labels_can_be_hidden_and_seen_through(balls: Page) -> None:
    z = position(balls)[2]
    shown = MASK[:, :, z].max()
    both = painted(balls, AXIAL).sum()
    balls.click(f".label[value='{shown}']")
    assert painted(balls, AXIAL).sum() < both
    balls.click(f".label[value='{shown}']")
    strengths = []
    for opacity in ("0.2", "0.9"):
        set_value(balls, "#opacity", opacity, "input")
        seen = balls.picture(AXIAL).astype(int)
        strengths.append(int((seen.max(axis=-1) - seen.min(axis=-1)).sum()))
    assert strengths[1] > 2 * strengths[0]


def test_uncertainty_is_a_layer_of_its_own_hidden_at_first(balls: Page) -> None:
    balls.press("o")
    before = balls.picture(AXIAL).astype(int)
    balls.press("u")
    after = balls.picture(AXIAL).astype(int)
    changed = abs(after - before).max(axis=-1) > 12
    x, y, z = position(balls)
    shape = (changed.shape[0], changed.shape[1])
    wanted = expected(DOUBT[::-1, ::-1, z].T, (factory.SPACING_MM[1], factory.SPACING_MM[0]), shape)
    assert overlap(changed, wanted) > 0.93
    assert place_words(balls)[-1] == f"uncertainty {DOUBT[x, y, z] / 255:.2f}"
    assert "Entropy of two answers." in balls.text("#doubt")


def test_each_region_says_how_sure_it_is(balls: Page) -> None:
    for said in ("left ball, region 1", "3 ml", "0.81", "0.70", "0.3 ml", "R 18, A 33, I 50 mm", "doubtful"):
        assert said in balls.text(".sure")


def test_no_word_of_a_table_is_broken(balls: Page) -> None:
    lines = balls.run("""[...document.querySelectorAll("th")].filter((one) => !one.innerText.includes(" ")).map(
      (one) => {
        const range = document.createRange();
        range.selectNodeContents(one);
        return new Set([...range.getClientRects()].map(({ top }) => top)).size;
      })""")
    assert lines
    assert max(lines) == 1


def test_nothing_is_wider_than_the_window(balls: Page) -> None:
    try:
        for width in (1600, 420):
            balls.resize(width, 760)
            assert balls.run("document.documentElement.scrollWidth") <= width
    finally:
        balls.resize(1000, 760)


def test_all_keys_are_listed_and_escape_leads_back(balls: Page) -> None:
    balls.press("?")
    assert balls.run("document.querySelector('#help').open")
    assert {"↑ ↓", "1 – 5", "O", "U", "?"} <= set(
        balls.run("[...document.querySelectorAll('#keys dt')].map((d) => d.innerText)")
    )
    balls.press("Escape")
    assert not balls.run("document.querySelector('#help').open")


def test_every_control_can_be_reached_by_keyboard_and_has_a_name(balls: Page) -> None:
    name = "(({labels, ariaLabel, innerText}) => labels?.[0]?.innerText || ariaLabel || innerText)"
    names = []
    balls.run("document.querySelector('#stage').focus()")
    while not balls.run("document.activeElement.id === 'help-button'"):
        names.append(balls.run(f"{name}(document.activeElement)"))
        balls.press("Tab")
        assert balls.run("document.activeElement !== document.body")
    names.append(balls.run(f"{name}(document.activeElement)"))
    assert all(names)
    reached = " ".join(names)
    for control in ("Image with mask", "Axial", "Bone", "Lower", "Show the mask", "Opacity", "right ball", "Keys"):
        assert control in reached


def test_the_labels_are_seen_in_3d(balls: Page, tmp_path: Path) -> None:
    balls.click("#solid-button")
    balls.wait_for("document.querySelector('.told').hidden")
    balls.press("d")
    balls.picture(keep=tmp_path / "solid.png")  # to look at
    seen = balls.picture(SOLID).astype(int)
    blue = seen[..., 2] - seen[..., 0] > 25
    orange = seen[..., 0] - seen[..., 2] > 25
    assert (seen.max(axis=-1) > 20).mean() > 0.05
    assert blue.sum() > 200
    assert orange.sum() > 200


def test_a_radiograph_is_shown_in_true_proportion_with_its_mask(tmp_path: Path, open_page: Open) -> None:
    volume, mask = factory.radiograph()
    page = open_page(factory.write_page(tmp_path, volume, mask, ["lung"]))
    page.run("said.presets[1].splice(1, 2, ...said.presets[0].slice(1))")  # two names of one window
    page.press("1")
    assert pressed(page) == ["1"]
    seen = painted(page, AXIAL)
    wanted = expected(mask[..., 0].T, (0.4, 0.2), (seen.shape[0], seen.shape[1]))
    assert overlap(seen, wanted) > 0.95
    page.press("o", "5")
    inverted = page.picture(AXIAL)[:, :, 0]
    assert float(np.median(inverted[wanted])) == pytest.approx(255 - 230.5, abs=2)
    page.press("0", "o", "+", "+", "+", "+")
    assert painted(page, AXIAL).sum() > 1.5 * wanted.sum()


def test_arrows_move_over_an_enlarged_radiograph_and_scroll_the_page_of_a_whole_one(
    tmp_path: Path, open_page: Open
) -> None:
    volume, mask = factory.radiograph()
    page = open_page(factory.write_page(tmp_path, volume, mask, ["lung"]))
    start = place_words(page)[:2]
    for focus in ("document.activeElement.blur()", FOCUS_IMAGE):
        page.run(f"{focus}; scrollTo(0, 0)")
        page.press("ArrowDown")
        assert scrolled(page) > 0
        assert place_words(page)[:2] == start
    page.run("scrollTo(0, 0)")
    page.press("+", "+", "ArrowDown")
    assert place_words(page)[:2] != start
    assert scrolled(page) == 0
    page.press("PageDown")
    assert scrolled(page) > 0


def test_hostile_names_are_shown_as_they_are(tmp_path: Path, open_page: Open) -> None:
    hostile = "</script><script>document.title='taken'</script><img src=x onerror=document.title='taken'>"
    case = Case(hostile, InputKind.NIFTI, (tmp_path / "x.nii.gz",), tmp_path / "x.nii.gz")
    volume, mask = factory.radiograph()
    page = open_page(factory.write_page(tmp_path, volume, mask, [hostile], case=case))
    assert page.text("h1") == hostile
    assert page.text(".controls").count(hostile) == 1
    assert page.run("document.title").startswith("</script>")


def test_a_browser_that_lost_the_image_still_shows_the_numbers(tmp_path: Path, browser: Browser) -> None:
    volume, mask = factory.radiograph()
    file = factory.write_page(tmp_path, volume, mask, LABELS[:1])
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


@pytest.mark.long
def test_a_volume_of_two_gigabytes_is_reduced_on_its_page_which_says_so(tmp_path: Path, open_page: Open) -> None:
    shape = (1024, 1024, 1000)
    bone = (slice(100, 228), slice(500, 628), slice(300, 428))
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_sform(np.diag([0.5, 0.5, 0.5, 1.0]), code=1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    # but for the bone both files are holes, which take no room on the disk
    (tmp_path / "ct.nii").write_bytes(header.binaryblock + bytes(4))
    with (tmp_path / "ct.nii").open("r+b") as stream:
        stream.truncate(352 + 2 * int(np.prod(shape)))
    np.memmap(tmp_path / "ct.nii", np.int16, "r+", 352, shape, "F")[bone] = 900
    mask = np.memmap(tmp_path / "mask", np.uint8, "w+", 0, shape, "F")
    mask[bone] = 1
    file = factory.write_page(tmp_path, load_volume(tmp_path / "ct.nii"), mask, ["bone"])
    assert file.stat().st_size < 60e6
    page = open_page(file)
    assert "of 1024×1024×1000 voxels, blocks of 3×3×3 are shown as one (1.5 × 1.5 × 1.5 mm)" in page.text(".viewer")
    assert [words.split()[-1] for words in place_words(page)[:3]] == ["334", "342", "342"]
    page.run("view.goTo([54, 188, 121])")  # the middle of the bone, in blocks
    page.frame()
    assert place_words(page)[3:] == ["900 HU", "bone"]
    plane = np.zeros(shape[:2])
    plane[bone[:2]] = 1
    seen = painted(page, AXIAL)
    assert overlap(seen, expected(plane[::-1, ::-1].T, (1, 1), (seen.shape[0], seen.shape[1]))) > 0.85
