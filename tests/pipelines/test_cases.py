"""What is found in files, folders and zips, under which names, and what is refused."""

import gc
import hashlib
import os
import pickle
import shutil
import zipfile

import dicom_factory as factory
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from radseg.pipelines.cases import Case, InputKind, Refusal, digest, discover
from radseg.pipelines.errors import InputError
from radseg.pipelines.io import load_volume


def nifti(path, low=-1000):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image((np.arange(60).reshape(5, 4, 3) + low).astype(np.int16), np.eye(4)), path)
    return path


def png(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(35, dtype=np.uint8).reshape(5, 7)).save(path)
    return path


def zipped(path, folder):
    with zipfile.ZipFile(path, "w") as packed:
        for file in sorted(folder.rglob("*")):
            packed.write(file, file.relative_to(folder))
    return path


def test_a_nested_folder_gives_every_image_in_a_fixed_order(tmp_path):
    nifti(tmp_path / "b" / "scan.nii.gz")
    png(tmp_path / "a" / "slice.png")
    factory.write_series(tmp_path / "c" / "deep" / "series")
    (tmp_path / "b" / "readme.txt").write_text("hello")
    for name in ("LICENSE", "Thumbs.db", "DICOMDIR", ".hidden.nii", "a/._slice.png"):
        (tmp_path / name).write_bytes(b"x" * 500)
    found = list(discover(tmp_path))
    assert [(case.kind, case.name) for case in found] == [
        (InputKind.PNG, "slice"),
        (InputKind.NIFTI, "scan"),
        (InputKind.DICOM, hashlib.sha256(factory.SERIES.encode()).hexdigest()[:12]),
    ]
    assert [case.source for case in found] == [
        tmp_path / "a" / "slice.png",
        tmp_path / "b" / "scan.nii.gz",
        tmp_path / "c" / "deep" / "series",
    ]
    assert found == list(discover(str(tmp_path)))


def test_a_series_has_its_files_in_slice_order_whatever_they_are_called(tmp_path):
    factory.write_series(tmp_path, names=lambda k: ["zeta", "IM.7", "a.dcm", "b.ima", "1.2.840.5", "q.dat"][k])
    (case,) = discover(tmp_path)
    assert [file.name for file in case.files] == ["zeta", "IM.7", "a.dcm", "b.ima", "1.2.840.5", "q.dat"]
    assert case.series_uid == factory.SERIES


def test_files_without_preamble_are_dicom_where_the_name_allows_it(tmp_path):
    factory.write_series(tmp_path, names="IM{}".format)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[132:])
    (case,) = discover(tmp_path)
    np.testing.assert_array_equal(load_volume(case).array, factory.phantom())


def test_a_series_spread_over_folders_and_inputs_is_one_case(tmp_path):
    factory.write_series(tmp_path / "a", skip=(1, 3, 5))
    factory.write_series(tmp_path / "b", skip=(0, 2, 4))
    (case,) = discover([tmp_path / "a", tmp_path / "b"])
    assert len(case.files) == 6
    assert case.source == tmp_path
    (same,) = discover(sorted(tmp_path.rglob("*.dcm")))
    assert same.files == case.files


def test_every_usable_series_is_a_case_and_one_can_be_picked(tmp_path):
    factory.write_series(tmp_path, uid="1.2.3", names="a{}.dcm".format)
    factory.write_series(tmp_path, uid="1.2.4", names="b{}.dcm".format)
    nifti(tmp_path / "other.nii")
    assert len(list(discover(tmp_path))) == 3
    (picked,) = discover(tmp_path, series="1.2.4")
    assert picked.series_uid == "1.2.4"
    (refusal,) = discover(tmp_path, series="9.9")
    assert "no usable series 9.9" in refusal.reason


def test_one_bad_series_does_not_hide_a_good_one(tmp_path):
    factory.write_series(tmp_path / "good", uid="1.2.3")
    factory.write_series(tmp_path / "cut", uid="1.2.4")
    last = tmp_path / "cut" / "IM0005.dcm"
    last.write_bytes(last.read_bytes()[:-10])
    factory.write_series(tmp_path / "mr", uid="1.2.5", change=lambda k, dataset: setattr(dataset, "Modality", "MR"))
    cut, good, mr = discover(tmp_path)
    assert isinstance(good, Case)
    assert (cut.source, cut.series_uid) == (tmp_path / "cut", "1.2.4")
    assert "PixelData cut off in IM0005.dcm" in cut.reason
    assert mr.reason == "Modality MR, expected CT"


def test_a_scout_is_refused_and_the_slices_are_used(tmp_path):
    factory.write_series(tmp_path)
    scout = factory.ct_slice(np.zeros((20, 30)))
    factory.place(scout, (0, 0, 0), (0, 1, 0, 0, 0, -1))
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.save_as(tmp_path / "scout", enforce_file_format=True)
    refusal, case = discover(tmp_path)
    assert refusal == Refusal(tmp_path / "scout", "localizer (scout), not a slice", factory.SERIES)
    assert len(case.files) == 6


def test_duplicates_are_one_file_a_slice_with_a_note(tmp_path):
    factory.write_series(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (case,) = discover(tmp_path)
    assert len(case.files) == 6
    assert "6 slices were there twice" in case.notes[0]
    assert load_volume(case).notes == case.notes


def test_series_without_uid_are_told_apart_by_folder(tmp_path):
    for name in ("a", "b"):
        factory.write_series(tmp_path / name, change=lambda k, dataset: setattr(dataset, "SeriesInstanceUID", ""))
    found = list(discover(tmp_path))
    assert [case.source.name for case in found] == ["a", "b"]
    assert len({case.name for case in found}) == 2


def test_multi_frame_files_are_cases_of_their_own(tmp_path):
    factory.write_enhanced(tmp_path / "one", factory.phantom())
    factory.write_enhanced(tmp_path / "two", factory.phantom())
    found = list(discover(tmp_path))
    assert [case.files for case in found] == [(tmp_path / "one",), (tmp_path / "two",)]
    assert len({case.name for case in found}) == 2


def test_a_second_case_of_one_name_gets_a_suffix_of_its_relative_path(tmp_path):
    for patient in ("p1", "p2", "p3"):
        nifti(tmp_path / patient / "ct.nii.gz")
    names = [case.name for case in discover(tmp_path)]
    hashed = [hashlib.sha256(f"{patient}/ct.nii.gz".encode()).hexdigest()[:6] for patient in ("p2", "p3")]
    assert names == ["ct", f"ct-{hashed[0]}", f"ct-{hashed[1]}"]
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    tmp_path.rename(moved)
    assert [case.name for case in discover(moved)] == names
    assert [case.name for case in discover(sorted(moved.rglob("*.gz")))] == names


def test_thousands_of_images_of_one_name_get_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("radseg.pipelines.cases._sha256", lambda text: f"{text.count('q'):02d}" * 16 + text[-20:-10])
    for patient in ("p", "pq", "pr", "pqr"):
        nifti(tmp_path / patient / "ct.nii.gz")
    nifti(tmp_path / "z" / "summary.csv.nii")
    names = [case.name for case in discover(tmp_path)]
    assert len({name.lower() for name in names} | {"summary.csv"}) == 6
    assert names[:3] == ["ct", "ct-010101", "ct-01010101"]


def test_a_name_that_is_no_text_becomes_one(tmp_path):
    odd = os.fsdecode(b"M\xfcller\x1b[31m.nii")
    nifti(tmp_path / "scan.nii").rename(tmp_path / odd)
    nifti(tmp_path / "M_ller_[31m.nii")
    cases = list(discover(tmp_path))
    assert [case.name for case in cases] == ["M_ller_[31m", f"M_ller_[31m-{cases[1].name[-6:]}"]
    assert cases[1].files == (tmp_path / odd,)


def test_a_search_says_how_far_it_is(tmp_path):
    for number in range(4):
        factory.write_series(tmp_path / str(number), uid=f"1.2.{number}")
    png(tmp_path / "9" / "last.png")
    found = discover(tmp_path)
    at = [(case.kind, found.share) for case in found]
    assert [kind for kind, _ in at] == ["dicom"] * 4 + ["png"]
    assert [share for _, share in at] == sorted(share for _, share in at)
    assert 0 < at[0][1] < 0.6 < at[3][1]
    assert found.share == 1


def test_the_same_file_given_twice_is_one_case(tmp_path):
    file = nifti(tmp_path / "ct.nii")
    assert len(list(discover([file, tmp_path, file]))) == 1


def test_only_accepted_kinds_are_taken(tmp_path):
    nifti(tmp_path / "ct.nii")
    picture = png(tmp_path / "slice.png")
    (case,) = discover(tmp_path, accepts=["dicom", "nifti"])
    assert case.kind == "nifti"
    (refusal,) = discover(picture, accepts=["dicom", "nifti"])
    assert refusal.reason == "PNG isn't taken here; give DICOM series, NIfTI"
    with pytest.raises(ValueError, match="tiff"):
        discover(tmp_path, accepts=["tiff"])


def test_an_input_that_is_not_there_is_an_error_at_once(tmp_path):
    with pytest.raises(InputError, match="gone: no such file or folder; check the path"):
        discover([tmp_path, tmp_path / "gone"])
    with pytest.raises(InputError, match="no input given"):
        discover([])


@pytest.mark.parametrize("fill", [lambda folder: None, lambda folder: (folder / "notes.txt").write_text("no images")])
def test_a_folder_with_nothing_usable_says_so(tmp_path, fill):
    fill(tmp_path)
    (refusal,) = discover(tmp_path)
    assert refusal.source == tmp_path
    assert refusal.reason.startswith(f"no DICOM series, NIfTI, NRRD or MHA, PNG, JPEG found in {tmp_path}")


def test_a_named_file_of_unknown_kind_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    (refusal,) = discover(tmp_path / "notes.txt")
    assert refusal.reason == "not a known image; give DICOM series, NIfTI, NRRD or MHA, PNG, JPEG"


def test_a_file_called_dcm_that_is_none_is_refused_even_in_a_folder(tmp_path):
    (tmp_path / "broken.dcm").write_bytes(b"garbage" * 100)
    (refusal,) = discover(tmp_path)
    assert refusal == Refusal(tmp_path / "broken.dcm", "not readable as DICOM; fetch it again")


def test_single_slices_are_refused_where_a_volume_is_needed(tmp_path):
    png(tmp_path / "slice.png")
    factory.write_series(tmp_path, factory.phantom(slices=1))
    found = list(discover(tmp_path, min_slices=16))
    assert all("a single slice, at least 16 are needed" in one.reason for one in found)
    assert len(found) == 2


def test_a_zip_is_searched_like_a_folder_and_its_cases_can_be_loaded_later(tmp_path):
    factory.write_series(tmp_path / "in" / "series")
    nifti(tmp_path / "in" / "ct.nii.gz")
    (tmp_path / "in" / "readme.txt").write_text("x")
    archive = zipped(tmp_path / "scan.zip", tmp_path / "in")
    found = list(discover(archive))
    gc.collect()
    assert [case.kind for case in found] == ["nifti", "dicom"]
    assert all(case.source == archive for case in found)
    np.testing.assert_array_equal(load_volume(found[1]).array, factory.phantom())
    np.testing.assert_array_equal(load_volume(pickle.loads(pickle.dumps(found[1]))).array, factory.phantom())
    assert [case.name for case in discover(archive)] == [case.name for case in found]
    unpacked = found[0].files[0].parent
    del found
    gc.collect()
    assert not unpacked.exists()


def test_zips_in_a_folder_are_searched_and_bad_ones_refused(tmp_path):
    nifti(tmp_path / "in" / "ct.nii.gz")
    folder = tmp_path / "folder"
    folder.mkdir()
    zipped(folder / "a.zip", tmp_path / "in")
    (folder / "b.zip").write_bytes(b"no zip")
    zipped(folder / "c.zip", folder)
    case, bad, nothing = discover(folder)
    assert (case.name, case.source) == ("ct", folder / "a.zip")
    assert bad.reason.startswith("the zip can't be unpacked")
    assert (
        nothing.reason
        == f"no DICOM series, NIfTI, NRRD or MHA, PNG, JPEG found in {folder / 'c.zip'}; check the folder"
    )


def test_one_zip_loads_as_one_volume(tmp_path):
    factory.write_series(tmp_path / "in")
    volume = load_volume(zipped(tmp_path / "scan.zip", tmp_path / "in"))
    np.testing.assert_array_equal(volume.array, factory.phantom())


def test_the_digest_follows_the_contents_of_all_files(tmp_path):
    factory.write_series(tmp_path / "a")
    (case,) = discover(tmp_path / "a")
    contents = b"".join((tmp_path / "a" / f"IM{k:04d}.dcm").read_bytes() for k in range(6))
    assert digest(case) == hashlib.sha256(contents).hexdigest()
    factory.rewrite(case.files[3], lambda dataset: setattr(dataset, "RescaleIntercept", -1000))
    assert digest(case) != hashlib.sha256(contents).hexdigest()


def test_folders_linked_in_a_ring_are_entered_once(tmp_path):
    nifti(tmp_path / "data" / "ct.nii")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data")
    (tmp_path / "linked").symlink_to(tmp_path / "data")
    assert len(list(discover(tmp_path))) == 1


RAMP = np.arange(35, dtype=np.uint16).reshape(5, 7)


def test_two_views_of_one_series_are_two_cases(tmp_path):
    frontal = factory.write_radiograph(tmp_path / "a", RAMP, ViewPosition="PA")
    lateral = factory.write_radiograph(tmp_path / "b", RAMP + 1, ViewPosition="LL", Modality="CR")
    cases = list(discover(tmp_path, modality="DX"))
    assert [case.files for case in cases] == [(frontal,), (lateral,)]
    assert {case.series_uid for case in cases} == {factory.SERIES + ".8"}
    for case in cases:
        assert case.instance_uid is not None
        assert case.name == hashlib.sha256(case.instance_uid.encode()).hexdigest()[:12]
    assert len({case.name for case in cases}) == 2
    assert list(discover(tmp_path, modality="DX", series=factory.SERIES + ".8")) == cases


def test_a_zip_of_radiographs_without_identifiers_keeps_them_apart(tmp_path):
    for name in ("a", "b"):
        factory.write_radiograph(tmp_path / "in" / name, RAMP, SOPInstanceUID="", SeriesInstanceUID="")
    cases = list(discover(zipped(tmp_path / "x.zip", tmp_path / "in"), modality="DX"))
    assert len({case.name for case in cases}) == 2
    assert load_volume(cases[0], modality="DX").array.shape == (7, 5, 1)


def test_a_ct_series_in_an_x_ray_bundle_is_refused_once_and_the_radiograph_beside_it_taken(tmp_path):
    factory.write_series(tmp_path / "ct")
    factory.write_radiograph(tmp_path / "x.dcm", RAMP)
    case, refusal = discover(tmp_path, modality="DX", accepts=["dicom", "png", "jpeg"])
    assert refusal == Refusal(
        tmp_path / "ct", "Modality CT, expected DX, CR or RG; give it to a CT bundle", factory.SERIES
    )
    assert isinstance(case, Case)


def test_a_radiograph_in_a_ct_bundle_is_refused_by_its_modality_with_the_remedy(tmp_path):
    factory.write_radiograph(tmp_path / "x.dcm", RAMP)
    (refusal,) = discover(tmp_path)
    assert refusal.reason == "Modality DX, expected CT; give a radiograph to an X-ray bundle"


def test_one_bad_radiograph_does_not_hide_the_good_one_of_its_series(tmp_path):
    factory.write_radiograph(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="HSV")
    good = factory.write_radiograph(tmp_path / "b.dcm", RAMP)
    case, refusal = discover(tmp_path, modality="DX")
    assert case.files == (good,)
    assert (refusal.source.name, refusal.reason.split(";")[0]) == ("a.dcm", "PhotometricInterpretation HSV isn't known")


def test_jpegs_are_taken_from_a_folder_only_where_they_are_wanted(tmp_path):
    for name in ("a.jpg", "b.JPEG"):
        Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / name)
    png(tmp_path / "a.png")
    assert [case.name for case in discover(tmp_path, modality="DX", accepts=["dicom", "png"])] == ["a"]
    cases = list(discover(tmp_path, modality="DX", accepts=["dicom", "png", "jpeg"]))
    assert [case.kind for case in cases] == [InputKind.JPEG, InputKind.PNG, InputKind.JPEG]
    assert len({case.name for case in cases}) == 3
    (refusal,) = discover(tmp_path / "a.jpg", modality="DX", accepts=["dicom", "png"])
    assert refusal.reason == "JPEG isn't taken here; give DICOM radiograph, PNG"


def test_files_that_are_no_images_are_counted_with_their_endings(tmp_path):
    nifti(tmp_path / "scan.nii.gz")
    for name in ("letter.txt", "list.json", "more/notes.txt", "LICENSE"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    (tmp_path / ".hidden").write_text("of the system's own")
    found = discover(tmp_path)
    assert [case.name for case in found] == ["scan"]
    assert found.note == (
        "4 files in the folders are no images that can be taken here: passed over (.json, .txt, no ending)"
    )


def test_images_of_a_kind_that_is_not_taken_are_counted_too(tmp_path):
    nifti(tmp_path / "scan.nii.gz")
    png(tmp_path / "slice.png")
    found = discover(tmp_path, accepts=["nifti", "dicom"])
    assert [case.name for case in found] == ["scan"]
    assert found.note == "1 file in the folders is no image that can be taken here: passed over (.png)"


def test_folders_of_images_alone_have_nothing_to_say(tmp_path):
    nifti(tmp_path / "scan.nii.gz")
    factory.write_series(tmp_path / "series")
    (tmp_path / "DICOMDIR").write_bytes(b"x" * 500)
    found = discover(tmp_path)
    assert len(list(found)) == 2
    assert found.note == ""
