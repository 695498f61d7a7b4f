"""The parts of `menagerie nightly`: a plan, a folder for each night, its stages, its digest."""
