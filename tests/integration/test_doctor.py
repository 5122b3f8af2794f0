import re

from tests.integration.runs import photographs, verger


def doctor(*arguments: str) -> tuple[int, dict[str, str], str]:
    process = verger("doctor", *arguments)
    out, err = process.communicate(timeout=240)
    return process.returncode, dict(re.findall(r"^(?:ok|fails|skipped) +(\S+) +(.*)$", out, re.MULTILINE)), out + err


def test_all_checks_pass(tmp_path):
    photographs(tmp_path / "in", 3)
    code, found, told = doctor("--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--cores", "1")
    assert code == 0, told
    assert found["Spark"].endswith("a Python worker answers")
    assert re.match(r"\d+\.\d+\.\d+", found["TensorFlow"])
    assert found["Weights"].startswith("mobilenet_v2-a1.0-224-f32-")
    assert found["Input"].endswith("3 photographs")
    assert "float32" in found["CPU"] or "unknown" in found["CPU"]
    assert told.count("\n") == len(found) == 15


def test_without_java(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    code, found, told = doctor("--backbone", "pixels", "--input", "/nowhere")
    assert code == 2, told
    assert found["Spark"] == "it needs Java"
