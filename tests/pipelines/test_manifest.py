"""The manifest survives what kills the run that writes it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from radseg.pipelines.manifest import Manifest


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    assert manifest.read() == []
    manifest.append({"case": "a"})
    manifest.append({"case": "ö"})
    assert manifest.read() == [{"case": "a"}, {"case": "ö"}]


def test_a_torn_line_is_passed_over_and_closed_off(tmp_path: Path) -> None:
    file = tmp_path / "manifest.jsonl"
    file.write_text('{"case": "a"}\n{"case": "b", "sta')
    manifest = Manifest(file)
    assert manifest.read() == [{"case": "a"}]
    manifest.append({"case": "c"})
    assert manifest.read() == [{"case": "a"}, {"case": "c"}]


def test_threads_never_mix_their_lines(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: manifest.append({"case": n, "text": "x" * 5000}), range(50)))
    assert sorted(row["case"] for row in manifest.read()) == list(range(50))


def test_a_line_torn_inside_a_letter_is_passed_over(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    manifest.append({"case": "Mü\u2028ller"})
    with manifest.file.open("ab") as file:
        file.write(b'{"case": "M\xc3')
    manifest.append({"case": "next"})
    assert [row["case"] for row in manifest.read()] == ["Mü\u2028ller", "next"]
