"""A cache that notes what is opened."""

from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.kube.cache import ObjectCache, Place
from tracking_operator.kube.objects import KubeObject


class CountingCache(ObjectCache):
    """Notes every object that somebody looks into."""

    def __init__(self, owner_label: str = SERVER_LABEL) -> None:
        super().__init__(owner_label=owner_label)
        self.opened: list[Place] = []

    def _open(self, place: Place) -> KubeObject | None:
        self.opened.append(place)
        return super()._open(place)
