"""The operator's times in tests with pods: half of production's, which a unit test with a clock of its own has.

The development cluster's kubelet looks at changed Secrets every 5 s, where others take up to 90.
"""

from tracking_operator.timings import Timings

SHORT = Timings(
    until_pods_see_a_secret=60.0,
    without_a_new_session=10.0,
    until_pods_use_new_keys=30.0,
    between_looks_at_old_keys=3.0,
)
