"""What `render` prints, and the one sentence that it says where it cannot."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

from tracking_operator.api.labels_and_annotations import API_VERSION, DEFAULT_CLASS_ANNOTATION
from tracking_operator.cli.manifests import MOST_BYTES
from tracking_operator.cli.operator_program import main

SERVER: dict[str, object] = {
    "apiVersion": API_VERSION,
    "kind": "TrackingServer",
    "metadata": {"name": "mlflow"},
    "spec": {},
}
ACCESS: dict[str, object] = {"access": {"authentication": {"basic": {}}}}


def a_class(name: str, spec: object = None, *, is_default: bool = False) -> dict[str, object]:
    annotations = {DEFAULT_CLASS_ANNOTATION: "true"} if is_default else {}
    metadata = {"name": name, "annotations": annotations}
    return {
        "apiVersion": API_VERSION,
        "kind": "TrackingServerClass",
        "metadata": metadata,
        "spec": spec or ACCESS,
    }


class Command:
    """The command with files of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def file(self, name: str, *documents: object) -> str:
        path = self.folder / name
        path.write_text(yaml.safe_dump_all(documents))
        return str(path)

    def printed(self, *arguments: str) -> list[dict[str, object]]:
        assert main(["render", *arguments]) == 0, self.capsys.readouterr().err
        return list(yaml.safe_load_all(self.capsys.readouterr().out))

    def refusal(self, *arguments: str) -> str:
        assert main(["render", *arguments]) == 1
        captured = self.capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1, captured.err
        assert "pydantic" not in captured.err
        return captured.err.rstrip()


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, capsys)


def test_what_a_server_becomes_can_be_read(command: Command) -> None:
    objects = command.printed(command.file("server.yaml", SERVER))
    assert {"Deployment", "Service", "NetworkPolicy", "PersistentVolumeClaim"} <= {
        str(one["kind"]) for one in objects
    }
    assert not [one for one in objects if "binaryData" in one]
    assert max(len(line) for line in yaml.safe_dump_all(objects).splitlines()) < 500


def test_a_given_class_is_that_of_a_server_that_names_none(command: Command) -> None:
    class_file = command.file("class.yaml", a_class("two", {**ACCESS, "defaults": {"workers": 3}}))
    with_class = command.printed(command.file("server.yaml", SERVER), "--class", class_file)
    assert with_class != command.printed(command.file("server.yaml", SERVER))
    beside = command.printed(
        command.file("both.yaml", a_class("two", {**ACCESS, "defaults": {"workers": 3}}), SERVER)
    )
    assert beside == with_class


def test_of_several_classes_the_default_one_counts(command: Command) -> None:
    server = command.file("server.yaml", SERVER)
    first = command.file("first.yaml", a_class("one"))
    second = command.file("second.yaml", a_class("two", {**ACCESS, "defaults": {"workers": 3}}))
    default = command.file(
        "default.yaml", a_class("two", {**ACCESS, "defaults": {"workers": 3}}, is_default=True)
    )
    assert command.printed(server, "--class", first, "--class", default) == command.printed(
        server, "--class", second
    )
    assert "none of one, two is annotated" in command.refusal(server, "--class", first, "--class", second)


def test_a_class_that_is_named_has_to_be_given(command: Command) -> None:
    server = command.file("server.yaml", SERVER | {"spec": {"className": "gold"}})
    assert "'gold': give the file of this class with --class." in command.refusal(server)
    other = command.file("class.yaml", a_class("silver"))
    assert "--class, and not silver" in command.refusal(server, "--class", other)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (SERVER | {"spec": {"replica": 2}}, "There is no field spec.replica: is it replicas?"),
        (SERVER | {"spec": {"access": {"hots": "a"}}}, "There is no field spec.access.hots: is it host?"),
        (SERVER | {"specs": {}}, "There is no field specs: is it spec?"),
        (
            SERVER | {"spec": {"version": 3.17}},
            'spec.version is a number here: write it in quotes, as "3.17.2".',
        ),
        (SERVER | {"spec": {"version": date(2026, 1, 1)}}, "spec.version is a date here: write it in quotes"),
        (SERVER | {"spec": {"version": ["3.17.2"]}}, "spec.version is a list here, and has to be text."),
        (
            SERVER | {"spec": {"replicas": "two"}},
            "spec.replicas is text here, and has to be a whole number.",
        ),
        (SERVER | {"spec": {"replicas": -1}}, "spec.replicas should be greater than or equal to 0."),
        (
            SERVER | {"spec": {"suspend": "perhaps"}},
            "spec.suspend is text here, and has to be true or false.",
        ),
        (SERVER | {"spec": ["a"]}, "spec is a list here, and has to be a map."),
        (SERVER | {"spec": None}, "spec is empty here, and has to be a map."),
        (SERVER | {"spec": {"access": {"allowedHosts": "a"}}}, "is text here, and has to be a list."),
        (SERVER | {"metadata": 3}, "metadata with a name is missing."),
        (SERVER | {"metadata": {}}, "metadata.name is missing."),
        (SERVER | {"metadata": {"name": 3}}, "metadata.name is a number here, and has to be text"),
        (SERVER | {"metadata": {"name": "Team_A"}}, "metadata.name has only a-z, 0-9, '-' and '.' in it"),
        ({"kind": ["a"], "spec": {}}, "holds a thing without a kind"),
        (SERVER | {"apiVersion": "v1"}, f"apiVersion of a TrackingServer is {API_VERSION}, and not v1."),
        ({"kind": "Deployment"}, "holds a Deployment, and not a TrackingServer."),
        ({"spec": {}}, "holds a thing without a kind"),
        ("text", "something else than Kubernetes objects"),
        (None, "is empty: put a TrackingServer into it."),
        (a_class("standard"), "put one TrackingServer into it"),
    ],
    ids=str,
)
def test_a_mistake_in_a_file_is_one_sentence(command: Command, document: object, said: str) -> None:
    path = command.file("server.yaml", document)
    refusal = command.refusal(path)
    assert said in refusal
    assert refusal.startswith(path)


def test_several_servers_in_a_file_are_told(command: Command) -> None:
    both = command.file("server.yaml", SERVER, SERVER)
    assert "holds 2 objects that are no TrackingServerClass: put one TrackingServer" in command.refusal(both)


def test_the_standard_input_is_read_like_a_file(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = command.file("server.yaml", SERVER)
    with Path(server).open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        from_input = command.printed("-")
    assert from_input == command.printed(server)
    (tmp_path / "broken.yaml").write_bytes(b"\xff")
    with (tmp_path / "broken.yaml").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert command.refusal("-").startswith("- is no text in UTF-8")


def test_a_merged_map_may_be_overridden(command: Command, tmp_path: Path) -> None:
    text = f"""
apiVersion: {API_VERSION}
kind: TrackingServer
metadata: {{name: mlflow, labels: &labels {{a: "1", b: "2"}}, annotations: {{<<: *labels, b: "3"}}}}
spec: {{}}
"""
    (tmp_path / "merged.yaml").write_text(text)
    assert command.printed(str(tmp_path / "merged.yaml"))


def test_a_file_that_is_no_manifest_is_one_sentence(command: Command, tmp_path: Path) -> None:
    assert "missing.yaml cannot be read: No such file or directory." in command.refusal("missing.yaml")
    assert "cannot be read: Is a directory." in command.refusal(str(tmp_path))
    path = tmp_path / "broken.yaml"
    for content, said in (
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"a: [", "is no YAML: line 1, column 5: "),
        (b"a:\n\tb: 1\n", "is no YAML: line 2, column 1: found character '\\t'"),
        (b"spec: {}\nspec: {workers: 2}\n", "line 2, column 1: 'spec' stands twice in one map"),
        (b"a: !!python/object:os.system {}\n", "is no YAML: line 1, column 4: "),
        (b'a: "\0"', "is no YAML"),
        (b"[" * 5000, "is nested too deeply"),
        (b"\xff\xfe", "is no text in UTF-8"),
        (b"a" * (MOST_BYTES + 1), "has more than 4 MiB"),
    ):
        path.write_bytes(content)
        assert said in command.refusal(str(path)), content[:40]
    server = command.file("server.yaml", SERVER)
    assert "missing.yaml cannot be read" in command.refusal(server, "--class", "missing.yaml")
    assert f"{server} holds a TrackingServer, and not a TrackingServerClass." in command.refusal(
        server, "--class", server
    )


def test_a_label_that_is_none_is_told_before_anything_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["render", "server.yaml", "--namespace-label", "mlflow"])
    assert "a label is KEY=VALUE, and not 'mlflow'" in capsys.readouterr().err


def test_who_reads_a_line_only_gets_it_and_no_traceback() -> None:
    found = shell(f"{sys.executable} -m tracking_operator crds | head -c 1")
    assert len(found.stdout) == 1
    assert found.stderr == ""


def test_who_prints_to_a_full_disk_is_told_in_one_sentence() -> None:
    found = shell(f"{sys.executable} -m tracking_operator crds > /dev/full")
    assert found.stderr == "What was to be printed cannot be written: No space left on device.\n"
    assert found.returncode == 1


def shell(command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
