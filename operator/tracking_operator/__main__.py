"""``python -m tracking_operator``."""

import sys

from tracking_operator.cli.operator_program import main

sys.exit(main())
