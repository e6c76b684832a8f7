"""The command that starts the app: what it refuses before anything is served."""

import importlib.util
import socket

import pytest

from commands import call_lalia


@pytest.fixture
def lalia(capsys):
    def call(*arguments):
        return call_lalia("app", *arguments), capsys.readouterr().err

    return call


def test_a_folder_without_a_rater_is_refused(lalia, tmp_path):
    code, err = lalia(tmp_path, "--port", 0)
    assert code == 2
    assert err.startswith("Error: ")
    assert str(tmp_path) in err


def test_a_token_that_is_short_is_refused(lalia, tmp_path, monkeypatch):
    monkeypatch.setenv("LALIA_APP_TOKEN", "secret")
    code, err = lalia(tmp_path, "--host", "0.0.0.0", "--port", 0)
    assert code == 2
    assert "The token must be at least 16 letters" in err
    assert "secret" not in err


def test_a_port_that_is_taken_is_named(lalia, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, err = lalia(tmp_path, "--port", port)
    assert code == 2
    assert f"Cannot listen at 127.0.0.1, port {port}: Address already in use. Give another --port." in err


def test_without_gradio_its_install_line_is_named(lalia, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "gradio" else real(name, *more)
    )
    code, err = lalia(tmp_path)
    assert code == 2
    assert "pip install 'lalia[app]'" in err
