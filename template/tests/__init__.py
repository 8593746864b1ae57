"""The tests. They have a database of their own: the service, imported later, finds no other."""

import os

from .scratch import URL

os.environ["DATABASE_URL"] = URL
