"""Pictures and pages from plain arrays: arrows, curves, reports. Imports nothing of ours."""
