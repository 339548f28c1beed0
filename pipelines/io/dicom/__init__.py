"""DICOM files of one series to one image: what each says, how slices stand to each other, pixels to HU or grey."""
