"""Many runs of one job: which, how long, and what they taught."""
