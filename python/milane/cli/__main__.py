"""`python -m milane.cli`."""

from __future__ import annotations

import sys

from milane.cli import main

sys.exit(main())
