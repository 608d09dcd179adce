"""Networks of the paper: the video ResNets of Table 1 and their names. Imports nn."""
