"""Stored values come out of every transfer syntax as they went in, or the file is refused by its trouble."""

import contextlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, RLELossless

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.dicom import gdcm_process
from radseg.pipelines.io.dicom.codestream import codestream_trouble
from radseg.pipelines.io.dicom.pixels import read_dataset, stored_frames


def written(tmp_path, factory, change=lambda dataset: None, shape=(40, 36)):
    dataset = factory.ct_slice(factory.phantom(*shape, 1)[:, :, 0])
    factory.place(dataset, (10, -20, 30))
    change(dataset)
    dataset.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    return tmp_path / "one.dcm"


def stored_in(path):
    return list(stored_frames(read_dataset(path), path))


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [9, 10, 12, 15])
@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_rubbish_in_the_bits_that_are_not_stored_is_left_out(tmp_path, factory, bits, signed, syntax):
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    stored = np.linspace(low, high - 1, 36 * 40).astype(np.int32).reshape(36, 40)
    rubbish = np.arange(stored.size).reshape(stored.shape) % (1 << 16 - bits) << bits

    def change(dataset):
        factory.store(dataset, (stored & (1 << bits) - 1) | rubbish, bits=bits)
        dataset.PixelRepresentation = int(signed)
        if syntax:
            dataset.compress(syntax)

    (found,) = stored_in(written(tmp_path, factory, change))
    np.testing.assert_array_equal(found, stored)


def test_eight_bits_and_an_odd_length_are_read(tmp_path, factory):
    def change(dataset):
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
        dataset.PixelData = bytes(range(35)) + b"\0"

    (found,) = stored_in(written(tmp_path, factory, change, (7, 5)))
    np.testing.assert_array_equal(found.ravel(), np.arange(35))


def test_values_in_the_high_bits_are_refused_by_name(tmp_path, factory):
    def change(dataset):
        dataset.BitsStored, dataset.HighBit = 12, 15

    with pytest.raises(InputError, match="HighBit 15 with BitsStored 12 isn't supported"):
        stored_in(written(tmp_path, factory, change))


@pytest.mark.parametrize("frames", [2, 5])
def test_fewer_frames_than_stated_are_never_an_image(tmp_path, factory, frames):
    def change(dataset):
        dataset.compress(RLELossless)
        dataset.NumberOfFrames = frames

    path = written(tmp_path, factory, change)
    with pytest.raises(InputError, match="pixels can't be decoded"):
        stored_in(path)


def test_a_codestream_of_another_size_never_reaches_its_decoder(tmp_path, factory):
    def change(dataset):
        dataset.compress(JPEG2000Lossless)
        dataset.Rows = 40

    with pytest.raises(InputError, match="its codestream holds 36×40×1 values where 40×40×1 are stated"):
        stored_in(written(tmp_path, factory, change))


def test_a_codestream_without_its_end_is_cut_off(tmp_path, factory):
    def change(dataset):
        dataset.compress(JPEG2000Lossless)
        (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
        dataset.PixelData = encapsulate([frame[: len(frame) * 3 // 4]])

    with pytest.raises(InputError, match="its codestream is cut off"):
        stored_in(written(tmp_path, factory, change))


def test_a_damaged_run_length_is_an_image_or_an_error_of_ours(tmp_path, factory):
    path = written(tmp_path, factory, lambda dataset: dataset.compress(RLELossless))
    content = path.read_bytes()
    segments = content.index(b"\xfe\xff\x00\xe0", content.index(b"\xe0\x7f\x10\x00OB") + 20) + 8
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for at in random.integers(segments, segments + 110, 4):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        try:
            stored_in(path)
        except InputError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("start", [b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd8" + b"\xff" * 99, b"RIFF"])
def test_what_is_no_codestream_says_so(start):
    assert codestream_trouble(start, 4, 4, 1) != ""


@pytest.mark.parametrize("syntax", [pydicom.uid.HTJ2K, pydicom.uid.MPEG2MPML, "1.2.3"])
def test_a_transfer_syntax_that_can_not_be_read_is_named(tmp_path, factory, syntax):
    def change(dataset):
        dataset.compress(RLELossless)
        dataset.file_meta.TransferSyntaxUID = syntax

    name = getattr(pydicom.uid.UID(syntax), "name", syntax)
    with pytest.raises(InputError) as refused:
        stored_in(written(tmp_path, factory, change))
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture
def lossless(real_data):
    folder = real_data / "dicom" / "cornerstone_testImages" / "testImages"
    return next(folder.glob("*_1.2.840.10008.1.2.4.70.dcm"))


def test_a_decoder_that_dies_ends_the_file_and_not_the_process(lossless, monkeypatch):
    dataset = read_dataset(lossless)
    gdcm_process._end_all()
    monkeypatch.setattr(gdcm_process, "_WORKER", lossless)  # which is no program
    with pytest.raises(InputError, match="the decoder died of it"):
        list(stored_frames(dataset, lossless))
    monkeypatch.undo()
    assert len(list(stored_frames(dataset, lossless))) == 1


def test_a_decoder_that_does_not_end_is_ended(lossless, monkeypatch, tmp_path):
    endless = tmp_path / "endless.py"
    endless.write_text("while True: pass\n")
    gdcm_process._end_all()
    monkeypatch.setattr(gdcm_process, "_WORKER", endless)
    monkeypatch.setattr(gdcm_process, "_LONGEST_S", 0.2)
    with pytest.raises(InputError, match=r"the decoder didn't end within 0\.2 s"):
        stored_in(lossless)
    assert gdcm_process._idle == []


def test_several_threads_each_get_their_own_frames(lossless):
    (expected,) = stored_in(lossless)
    before = threading.active_count()
    with ThreadPoolExecutor(4) as pool:
        for (found,) in pool.map(stored_in, [lossless] * 12):
            np.testing.assert_array_equal(found, expected)
    assert len(gdcm_process._idle) <= 4
    assert threading.active_count() <= before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_starts_a_decoder_of_its_own_and_leaves_its_parent_s_alone(lossless):
    (expected,) = stored_in(lossless)
    before = [worker.pid for worker in gdcm_process._idle]
    child = os.fork()
    if child == 0:  # no test runs on here
        alike = False
        with contextlib.suppress(BaseException):
            forgotten = not gdcm_process._idle
            alike = forgotten and bool((stored_in(lossless)[0] == expected).all())
            gdcm_process._end_all()
        os._exit(0 if alike else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(stored_in(lossless)[0], expected)
    assert [worker.pid for worker in gdcm_process._idle] == before


def test_a_decoder_that_the_system_ended_between_two_files_fails_none_of_them(lossless):
    (expected,) = stored_in(lossless)
    ended = gdcm_process._idle[-1]
    os.kill(ended.pid, signal.SIGKILL)
    (found,) = stored_in(lossless)
    np.testing.assert_array_equal(found, expected)
    assert ended not in gdcm_process._idle
    assert ended.stdin.closed
    assert ended.returncode == -signal.SIGKILL


def test_no_more_decoders_are_kept_than_can_work(lossless, monkeypatch):
    gdcm_process._end_all()
    monkeypatch.setattr(gdcm_process, "_MOST_IDLE", 1)
    answer = gdcm_process._answer
    together = threading.Barrier(3, timeout=60)
    monkeypatch.setattr(gdcm_process, "_answer", lambda *request: (together.wait(), answer(*request))[1])
    with ThreadPoolExecutor(3) as pool:
        assert len(list(pool.map(stored_in, [lossless] * 3))) == 3
    assert len(gdcm_process._idle) == 1


def test_a_decoder_is_out_of_reach_of_ctrl_c_on_the_terminal(lossless):
    stored_in(lossless)
    assert os.getsid(gdcm_process._idle[-1].pid) != os.getsid(0)
