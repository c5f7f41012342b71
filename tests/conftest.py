"""Set-up that every test shares."""

from hypothesis import settings

# The same examples in every run, everywhere: a red test is red for everyone. `--hypothesis-profile=explore`
# draws new ones. No deadline in either, since a loaded machine is not a failure.
settings.register_profile("dev", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None, max_examples=1000)
settings.load_profile("dev")
