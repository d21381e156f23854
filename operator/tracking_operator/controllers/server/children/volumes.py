"""Volume claims that exist already: what cannot be changed about them is kept, and they never shrink. Pure."""

from collections.abc import Callable, Collection, Sequence
from http import HTTPStatus

from tracking_operator.api.labels_and_annotations import APPLIED_ANNOTATION
from tracking_operator.kube.apply import digest
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import PERSISTENT_VOLUME_CLAIM, KubeObject, kind_of, name_of
from tracking_operator.kube.quantities import parse_quantity

LookUp = Callable[[str], KubeObject | None]


def keep_existing_claims(
    desired: Sequence[KubeObject], claim: LookUp, *, of_no_size: Collection[str] = ()
) -> list[KubeObject]:
    """Adapt each desired claim to the one that is there, as one that a server of the same name left behind.

    ``of_no_size`` are the claims whose size the team does not say: what is usual today is for new ones.
    """
    return [
        _adapted(obj, live, keeps_size=name_of(obj) in of_no_size)
        if kind_of(obj) == PERSISTENT_VOLUME_CLAIM and (live := claim(name_of(obj)))
        else obj
        for obj in desired
    ]


def _adapted(desired: KubeObject, live: KubeObject, *, keeps_size: bool) -> KubeObject:
    is_bound = (live.get("status") or {}).get("phase") == "Bound"
    size = _larger(_size(desired), _size(live)) if is_bound and not keeps_size else _size(live)
    applied = (live["metadata"].get("annotations") or {}).get(APPLIED_ANNOTATION)
    if applied == digest(desired) and size == _size(desired):
        return desired  # as it was made; what the API server added to it is not ours to state
    spec = dict(desired["spec"])
    for immutable in ("accessModes", "storageClassName"):
        if immutable in live["spec"]:
            spec[immutable] = live["spec"][immutable]
    spec["resources"] = {"requests": {"storage": size}}
    return desired | {"spec": spec}


def _larger(desired: str, live: str) -> str:
    """The larger size, in the words of the desired one where both are the same; what lives stays where nobody can tell."""
    try:
        return desired if parse_quantity(desired) >= parse_quantity(live) else live
    except ValueError:
        return live


def is_larger(desired: str, live: str) -> bool:
    """Whether a size is above another one; False where nobody can tell."""
    try:
        return parse_quantity(desired) > parse_quantity(live)
    except ValueError:
        return False


def is_refused_growth(obj: KubeObject, error: ApiError) -> bool:
    """Whether the API server refused a claim a larger size because its StorageClass cannot expand volumes.

    The words are those of the admission plugin PersistentVolumeClaimResize.
    """
    is_claim = kind_of(obj) == PERSISTENT_VOLUME_CLAIM
    return is_claim and error.status == HTTPStatus.FORBIDDEN and "can be resized" in error.message


def _size(claim: KubeObject) -> str:
    return str(claim["spec"]["resources"]["requests"]["storage"])
