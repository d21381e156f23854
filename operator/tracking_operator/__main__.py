"""``python -m tracking_operator``."""

import sys

from tracking_operator.cli import main

sys.exit(main())
