"""Looking at what ran: recordings, pictures of graphs, the profile of a step, and where the first NaN came from."""

from kinone.inspection.anomaly import detect_anomaly, rerun
from kinone.inspection.digest import Difference, Digest, Digests, digesting, first_difference
from kinone.inspection.drawing import Box, Edge, draw
from kinone.inspection.observer import Observer, observing
from kinone.inspection.profile import Profile, profile
from kinone.inspection.recording import Call, Recording, record

__all__ = [
    "Box",
    "Call",
    "Difference",
    "Digest",
    "Digests",
    "Edge",
    "Observer",
    "Profile",
    "Recording",
    "detect_anomaly",
    "digesting",
    "draw",
    "first_difference",
    "observing",
    "profile",
    "record",
    "rerun",
]
