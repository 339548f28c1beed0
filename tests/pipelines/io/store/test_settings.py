"""Credentials come from a private file, never from a command line, and are never told."""

import json
from pathlib import Path
from typing import Any

import pytest

from radseg.pipelines.errors import ConfigError
from radseg.pipelines.io.store.settings import (
    current_storage,
    read_credentials,
    refuse_secret,
    use_storage,
)

CONNECTION = "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=SECRET=="


@pytest.fixture(autouse=True)
def _afterwards_defaults() -> Any:
    yield
    use_storage()


def _private(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_a_private_file_gives_credentials(tmp_path: Path) -> None:
    azure = use_storage({"credentials": str(_private(tmp_path / "azure", CONNECTION + "\n"))})
    assert read_credentials(azure) == {"connection_string": CONNECTION}
    content = {"endpoint_url": "http://127.0.0.1:9", "key": "me", "secret": "SECRET"}
    s3 = use_storage({"credentials": str(_private(tmp_path / "s3", json.dumps(content)))})
    assert read_credentials(s3) == content


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = _private(tmp_path / "azure", CONNECTION)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match=r"mode 640\); chmod 600 .*azure"):
        use_storage({"credentials": str(file)})


@pytest.mark.parametrize("text", ['{"password": "SECRET"}', '{"key": ["SECRET"]}', "{SECRET", ""])
def test_a_file_of_another_form_is_refused_without_telling_it(tmp_path: Path, text: str) -> None:
    settings = use_storage({"credentials": str(_private(tmp_path / "file", text))})
    with pytest.raises(ConfigError, match="it holds a connection string of Azure, or a JSON object") as caught:
        read_credentials(settings)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cach_dir": "x"}, "no key 'cach_dir'"),
        ({"cache_limit_gb": "much"}, "takes a number"),
        ({"cache_limit_gb": 0}, "takes a number"),
        ({"credentials": "missing"}, "no such credentials file"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        use_storage(settings)


def test_the_cache_is_where_other_programs_have_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert use_storage().cache_folder == tmp_path / "radseg"
    assert use_storage({"cache_dir": str(tmp_path / "mine")}).cache_folder == tmp_path / "mine"
    assert current_storage().cache_limit_gb == 20


@pytest.mark.parametrize(
    "value", [CONNECTION, [CONNECTION], {"storage": {"credentials": CONNECTION}}, "az://c?SharedAccessSignature=SECRET"]
)
def test_a_connection_string_on_the_command_line_is_refused_and_not_repeated(value: Any) -> None:
    with pytest.raises(ConfigError, match="file of mode 600") as caught:
        refuse_secret("dataset_dir", value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["az://container/folder", 3, None, ["x=1"], {"a": {"b": "key"}}, Path("data")], ids=repr
)
def test_other_values_pass(value: Any) -> None:
    assert refuse_secret("dataset_dir", value) is None
