"""The programs of pods as a pod has them: in the archive, where nothing of the operator is installed."""

import tempfile
from pathlib import Path

from tracking_operator.api.labels_and_annotations import TOOLS_FILE
from tracking_operator.pod_tools import programs
from tracking_operator.resources.tools_archive import current_archive

Program = tuple[str, str]
"""What follows Python on a command line."""

_folder = tempfile.TemporaryDirectory(prefix="tracking-operator-tools-")
ARCHIVE = Path(_folder.name) / TOOLS_FILE
ARCHIVE.write_bytes(current_archive().content)
ARCHIVE.chmod(0o444)


def _program(name: str) -> Program:
    return str(ARCHIVE), name


BACK_UP = _program(programs.BACK_UP)
CHECK_ARTIFACTS = _program(programs.CHECK_ARTIFACT_STORE)
CHECK_STORE = _program(programs.CHECK_BACKEND_STORE)
COLLECT_GARBAGE = _program(programs.COLLECT_GARBAGE)
DELETE_ARTIFACTS = _program(programs.DELETE_ARTIFACTS)
MIGRATE_STORE = _program(programs.MIGRATE_BACKEND_STORE)
PREPARE_LOGIN = _program(programs.PREPARE_LOGIN)
RESET_LOGIN = _program(programs.RESET_LOGIN)
RESTORE_BACKUP = _program(programs.RESTORE_BACKUP)
START_SERVER = _program(programs.START_SERVER)
