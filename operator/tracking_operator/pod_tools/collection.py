"""Garbage is looked for seldom while a process of MLflow loads, and as Python does by itself once it can serve.

A server that has loaded is 330,000 objects that might be garbage, of which 1,400 are (mlflow.server.auth and
mlflow.server.fastapi_app, 3.18.0). Python looks whenever there are 700 more, and every now and then among all that there are: that
took an eighth of the processor time of the loading, which a server does twice.
"""

import gc
from typing import Final

OBJECTS_WHILE_LOADING: Final = 100_000
"""So many more objects, instead of 700, call for a look. It takes about 2 MiB, and bounds what a process has that never serves."""
PYTHONS_OWN: Final = gc.get_threshold()


def collect_seldom() -> None:
    """Look for garbage seldom from now on."""
    gc.set_threshold(OBJECTS_WHILE_LOADING, *PYTHONS_OWN[1:])


def collect_as_usual() -> None:
    """Look for garbage as often as Python does by itself, but not among what has been loaded, which stays."""
    gc.freeze()
    gc.set_threshold(*PYTHONS_OWN)
