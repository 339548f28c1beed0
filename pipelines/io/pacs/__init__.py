"""Archives of hospitals: DICOMweb in and out, C-STORE in and out."""
