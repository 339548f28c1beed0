"""Masks as hospitals keep them: DICOM segmentations, contours and reports on the frames that were segmented."""
