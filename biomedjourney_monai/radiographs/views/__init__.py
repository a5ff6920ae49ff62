"""Is an image an upright frontal chest radiograph?"""
