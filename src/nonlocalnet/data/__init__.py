"""Videos to clips: decoding, sampling, augmentation, data sets. Imports nothing of ours."""
