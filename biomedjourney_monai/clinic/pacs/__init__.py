"""DICOMweb archives: find the latest radiograph, retrieve it, store the counterfactual."""
