"""Tests, named test_<package>_<module>.py, and what they share."""
