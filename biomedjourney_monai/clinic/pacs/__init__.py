"""A DICOMweb archive: finding the latest radiograph, retrieving it, storing the counterfactual."""
