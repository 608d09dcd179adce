"""The web demo: drop a video, get labels, a timeline and the explorer page."""
