"""Pictures and pages from plain arrays: arrows, curves, reports. Imports ops and nn only."""
