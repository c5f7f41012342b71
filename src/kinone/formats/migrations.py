"""From other formats, and later from older ones, to the present: each entry turns a file's contents into newer ones."""

from types import MappingProxyType

from kinone.formats import keydnn
from kinone.formats.json_checkpoint import Migrations

MIGRATIONS: Migrations = MappingProxyType({keydnn.NAME: keydnn.migrated})
"""By the format that is read: what makes `kinone.json.v1`, or a step on the way there, of it."""
