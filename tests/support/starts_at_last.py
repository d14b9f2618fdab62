"""A process that is ready at once, or never: ``python -m tests.support.starts_at_last``.

It never is while the folder that ``LATE`` names is there.
"""

import argparse
import os
import signal
from pathlib import Path

from api.infra.lifetime import end_with, settings_from, tell_ready

parser = argparse.ArgumentParser()
for name in ("--settings", "--ready", "--parent"):
    parser.add_argument(name, type=int)
asked = parser.parse_args()
end_with(asked.parent)
settings_from(asked.settings)
if not Path(os.environ["LATE"]).exists():
    tell_ready(asked.ready)
signal.pause()
