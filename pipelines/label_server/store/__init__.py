"""Where images and submitted labels lie: in a folder, or in a DICOMweb archive."""
